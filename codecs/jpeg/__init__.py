"""JPEG streams kept whole: their coefficients coded better, and the same bytes given back."""
