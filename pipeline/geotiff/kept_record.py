"""Read the record of a raster file that a store keeps, without GDAL: readers of stores have no use
for a quarter of a second of its imports.
"""

from __future__ import annotations

import json
from typing import Any

__all__ = ["RECORD_VERSION", "parse_record"]

RECORD_VERSION = 1


def parse_record(data: bytes) -> dict[str, Any]:
    """Return the record that ``record.dump_record`` wrote."""
    record = json.loads(data)
    if not isinstance(record, dict) or record.get("version") != RECORD_VERSION:
        raise ValueError(f"no raster record of version {RECORD_VERSION}")
    return record
