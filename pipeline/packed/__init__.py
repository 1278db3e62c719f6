"""Files in files: gzip, zip and tar, unpacked within bounds by parsers that trust nothing."""
