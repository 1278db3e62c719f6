"""Weights for a user's own images: trained, or tuned on a run's sample."""
