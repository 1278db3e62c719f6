"""Priors of the JPEG coder, with their cards."""
