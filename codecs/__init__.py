"""Arrays to bytes and back: no files, no Dask, no DICOM."""
