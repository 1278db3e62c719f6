"""A bucket with a small image in it, and a folder for its copies."""

from __future__ import annotations

from ..remote import scene, scratch

__all__ = ["scene", "scratch"]
