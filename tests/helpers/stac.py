"""Validate STAC documents without a network.

pystac brings the schemas of STAC itself. Those of the extensions lie on the internet only; what
stands here is what their texts say of the fields that we write: anything else with their prefixes
is refused.
"""

from __future__ import annotations

from typing import Any

from pystac import Collection, Item, STACObject
from pystac.validation import JsonSchemaSTACValidator

NUMBER, COUNT, TEXT = {"type": "number"}, {"type": "integer", "minimum": 0}, {"type": "string"}


def _numbers(count: int, kind: str = "number") -> dict[str, Any]:
    return {"type": "array", "minItems": count, "maxItems": count, "items": {"type": kind}}


_FIELDS: dict[str, tuple[str, dict[str, Any]]] = {
    "https://stac-extensions.github.io/projection/v2.0.0/schema.json": (
        "proj",
        {
            "proj:code": {"type": ["string", "null"], "pattern": "^[A-Z]+:[0-9]+$"},
            "proj:wkt2": {"type": "string", "pattern": "^[A-Z]+CRS\\["},
            "proj:shape": _numbers(2, "integer"),
            "proj:transform": _numbers(6),
            "proj:bbox": _numbers(4),
        },
    ),
    "https://stac-extensions.github.io/raster/v2.0.0/schema.json": (
        "raster",
        {
            "raster:scale": NUMBER,
            "raster:offset": NUMBER,
            "raster:spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
        },
    ),
    "https://stac-extensions.github.io/file/v2.1.0/schema.json": (
        "file",
        {"file:size": COUNT, "file:checksum": {"type": "string", "pattern": "^1220[0-9a-f]{64}$"}},
    ),
}


def _schema(prefix: str, fields: dict[str, Any]) -> dict[str, Any]:
    known = {
        "type": "object",
        "properties": fields,
        "patternProperties": {f"^(?!{prefix}:)": {}},
        "additionalProperties": False,
    }
    with_bands = {
        "allOf": [
            known,
            {"properties": {"bands": {"type": "array", "items": known}}},
        ]
    }
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "required": ["stac_extensions"],
        "properties": {
            "properties": known,
            "assets": {"type": "object", "additionalProperties": with_bands},
        },
    }


def validator() -> JsonSchemaSTACValidator:
    made = JsonSchemaSTACValidator()
    for uri, (prefix, fields) in _FIELDS.items():
        made.schema_cache[uri] = {"$id": uri} | _schema(prefix, fields)
    return made


def validate(document: dict[str, Any]) -> STACObject:
    """Return the object of a STAC item, collection or catalog; raise where it is not valid."""
    kinds = {"Feature": Item, "Collection": Collection}
    from pystac import Catalog

    found = kinds.get(document["type"], Catalog).from_dict(document, migrate=False)
    found.validate(validator())
    return found
