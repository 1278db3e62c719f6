"""Sizes and speeds beside established codecs, and what the workflow itself costs."""
