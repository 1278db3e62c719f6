"""What an image is: its grid, its description, and the source that it is read from."""
