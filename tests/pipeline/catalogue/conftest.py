"""DICOM files to catalogue: made as the tests of the DICOM room make them."""

from __future__ import annotations

from ..dicom.conftest import canary, one_spec, write

__all__ = ["canary", "one_spec", "write"]
