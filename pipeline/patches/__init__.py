"""Patches of many stores, for training: which, in which order, read with few decodings."""
