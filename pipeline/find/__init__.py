"""What the user named, to images."""
