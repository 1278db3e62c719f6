"""Example scripts: each runs as it is, on the images bundled beside it."""
