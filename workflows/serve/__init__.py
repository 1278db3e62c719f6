"""Look at stores in a browser."""
