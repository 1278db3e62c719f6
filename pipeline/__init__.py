"""Images and stores: reading sources, writing and checking Zarr, exporting. No Dask."""
