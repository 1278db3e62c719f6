"""Sources around sources: what every image is read through, whatever its format."""
