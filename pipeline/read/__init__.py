"""Read the samples of a store: as a dataset, by window."""
