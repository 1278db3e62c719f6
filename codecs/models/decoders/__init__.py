"""Bundled weights of decoders: what the same records may be decoded by."""
