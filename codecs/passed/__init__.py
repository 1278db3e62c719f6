"""Streams of JPEG 2000, JPEG XL and WebP, kept as they came."""
