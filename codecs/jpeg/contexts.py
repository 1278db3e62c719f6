"""How many slots and weights the contexts of coefficients have (FORMAT.md §12.4).

Where those of each context lie, and the classes that numbers fall in, is said in native/contexts.h.
"""

from __future__ import annotations

__all__ = ["SLOTS", "WEIGHT_SETS"]

SLOTS = 279831
"""Slots of a kind of component."""

WEIGHT_SETS = 641
"""Sets of six weights: one for each slot of a kind and place, one for each place's sign."""
