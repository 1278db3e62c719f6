"""What an archive holds: its stores, STAC items, DICOM studies, and an index."""
