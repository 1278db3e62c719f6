"""DICOM series: their headers, pixels and planes, and the files put together again."""
