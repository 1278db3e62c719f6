"""Plain arrays: .npy files and Zarr arrays of any codec."""
