"""Files that are no images, kept beside the stores of an archive byte for byte."""
