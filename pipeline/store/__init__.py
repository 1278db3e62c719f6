"""The Zarr store of one image."""
