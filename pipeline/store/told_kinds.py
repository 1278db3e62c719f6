"""Refuse a root document that says of a store what none says: values of other kinds.

A seal proves that a document is as it was sealed, not who sealed it. What is read of it without
another look is listed here, with the kind that it has in every store that tilepress wrote.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from tilepress.codecs.loss import stated_loss
from tilepress.codecs.numbers import number_of
from tilepress.errors import DamagedStore
from tilepress.pipeline.store.bands import exact_of
from tilepress.pipeline.store.keys import ROOT_DOCUMENT
from tilepress.pipeline.store.seal import RootDocument

__all__ = ["refuse_other_kinds"]

_LARGEST = 2**63 - 1
"""Of a number of samples or bytes."""

_CODED = re.compile(r"[0-9]+/(image|mask)")
"""Keys of coded arrays."""

_DECIBELS = re.compile(r"-?[0-9]+\.[0-9]")

_TILES = ("count", "exact")
"""Counts that ``loss_measured.tiles`` has."""

_INDEX_CODECS = [{"name": "bytes", "configuration": {"endian": "little"}}, {"name": "crc32c"}]
"""Of every shard (STORE.md): without the checksum an index is read at another place."""

Kind = Callable[[Any], bool]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_integer(value: object, least: int = 0) -> bool:
    return type(value) is int and least <= value <= _LARGEST


def _is_number(value: object) -> bool:
    """Whether it is a number as ``json_number`` tells it."""
    try:
        return type(number_of(value)) in (int, float)  # type: ignore[arg-type]  # what it is
    except ValueError:
        return False


def _is_positive(value: object) -> bool:
    return _is_number(value) and not isinstance(value, str) and value > 0  # type: ignore[operator]


def _or_null(kind: Kind) -> Kind:
    return lambda value: value is None or kind(value)


def _each(kind: Kind) -> Kind:
    return lambda value: isinstance(value, list) and all(map(kind, value))


def _is_read(*readers: Callable[[Any], object]) -> Kind:
    """Return whether all of these read a value, whatever it is."""

    def kind(value: object) -> bool:
        try:
            for read in readers:
                read(value)
        except (KeyError, TypeError, ValueError, AttributeError):
            return False
        return True

    return kind


def _are_sides(value: object) -> bool:
    return isinstance(value, list) and all(_is_integer(one, 1) for one in value)


def _tells_tiles(value: object) -> bool:
    if not isinstance(value, dict) or not all(map(_is_integer, map(value.get, _TILES))):
        return False
    by_db = value.get("psnr_db")
    return isinstance(by_db, dict) and all(
        _DECIBELS.fullmatch(db) and _is_integer(count) for db, count in by_db.items()
    )


def _tells_shards(value: object) -> bool:
    """Whether codecs are those of shards, with sides and an index as all have."""
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        return False
    told = value[0].get("configuration")
    if value[0].get("name") != "sharding_indexed" or not isinstance(told, dict):
        return False
    return _are_sides(told.get("chunk_shape")) and told.get("index_codecs") == _INDEX_CODECS


_DIGEST = (_is_text, "a digest")
_NUMBER = (_is_number, "a number")
_COUNT = (_is_integer, "a count")
_TEXT = (_is_text, "a text")
_SIDES = (_are_sides, "a list of counts")
_RESCALING = (lambda value: _is_number(value) or _each(_is_number)(value), "numbers")

_REQUIRED: Mapping[str, tuple[Kind, str]] = {
    "codec": _TEXT,
    "tier": _TEXT,
    "model.name": _TEXT,
    "model.sha256": _DIGEST,
    "loss": (_is_read(stated_loss, exact_of), "what coding may have changed"),
    "raw_bytes": _COUNT,
    "stored_bytes": _COUNT,
    "source_digest.sha256": _DIGEST,
    "tools": (lambda value: isinstance(value, dict), "names and versions"),
}
"""What the statement of every store has."""

_MAY_STATE: Mapping[str, tuple[Kind, str]] = {
    "psnr_db": (_or_null(_is_number), "a number"),
    "max_error_measured": (_or_null(_is_number), "a number"),
    "loss_measured": (lambda value: isinstance(value, dict), "numbers by name"),
}

_MEASURED: Mapping[str, tuple[Kind, str]] = {
    "peak": (_is_positive, "a number above 0"),
    "present_samples": _COUNT,
    "bias": (_each(_is_number), "a number for each band"),
}
"""What ``loss_measured`` has."""

_MAY_MEASURE: Mapping[str, tuple[Kind, str]] = {
    "tiles": (_tells_tiles, "how many tiles have which PSNR"),
}

_DOCUMENT: Mapping[str, tuple[Kind, str]] = {
    "shape": _SIDES,
    "dimension_names": (_each(_is_text), "a list of names"),
    "chunk_grid.configuration.chunk_shape": _SIDES,
    "chunk_key_encoding.configuration.separator": (lambda value: value in ("/", "."), "/ or ."),
    "codecs": (_tells_shards, "those of shards"),
    "attributes": (lambda value: isinstance(value, dict), "attributes by name"),
}
"""What the document of every coded array has."""

_MAY_TELL: Mapping[str, tuple[Kind, str]] = {
    "nodata": (_or_null(_is_number), "a number"),
    "band_nodata": (_each(_or_null(_is_number)), "a number or null for each band"),
    "band_names": (_each(_or_null(_is_text)), "a name for each band"),
    "rescale_slope": _RESCALING,
    "rescale_intercept": _RESCALING,
    "coordinates": _TEXT,
    "grid_mapping": _TEXT,
    "remarks": (_each(_is_text), "a list of texts"),
    "tilepress": (_is_read(exact_of), "what coding may have changed"),
}
"""Attributes of a coded array."""


def refuse_other_kinds(document: RootDocument) -> None:
    """Raise DamagedStore where a value is of another kind than in any store, and say which.

    Of a document that this tilepress reads: ``document.statement`` refuses others.
    """
    place, value, want = next(_odd(document), ("", None, ""))
    if place:
        raise DamagedStore(
            f"opening {document.store}: {place} in {ROOT_DOCUMENT} is {_called(value)}, want {want}"
        )


def _odd(document: RootDocument) -> Iterator[tuple[str, object, str]]:
    statement = document.statement
    yield from _odd_among("tilepress", statement, _REQUIRED, required=True)
    yield from _odd_among("tilepress", statement, _MAY_STATE)
    if "loss_measured" in statement:
        measured = statement["loss_measured"]
        yield from _odd_among("tilepress.loss_measured", measured, _MEASURED, required=True)
        yield from _odd_among("tilepress.loss_measured", measured, _MAY_MEASURE)
    try:
        nodes = dict(document.content["consolidated_metadata"]["metadata"])
    except (KeyError, TypeError, ValueError):
        yield "consolidated_metadata", None, "a document for every array"
        return
    for key, node in nodes.items():
        if _CODED.fullmatch(key):
            yield from _odd_among(key, node, _DOCUMENT, required=True)
            yield from _odd_among(f"{key}: attributes", node["attributes"], _MAY_TELL)
            if len({len(node["shape"]), len(node["dimension_names"])}) > 1:
                yield f"{key}.dimension_names", node["dimension_names"], "a name for each axis"


def _odd_among(
    place: str, told: object, kinds: Mapping[str, tuple[Kind, str]], *, required: bool = False
) -> Iterator[tuple[str, object, str]]:
    for name, (kind, want) in kinds.items():
        value, known = told, True
        for part in name.split("."):
            known = isinstance(value, dict) and part in value
            value = value[part] if known else None  # type: ignore[index]  # it is an object
        if (known or required) and not kind(value):
            yield f"{place}.{name}", value, want


def _called(value: object) -> str:
    """Return what a value is, without its texts."""
    if value is None:
        return "null or missing"
    if isinstance(value, bool):
        return "true or false"
    if isinstance(value, int | float):
        return "another number"
    if isinstance(value, str):
        return "a text"
    return "a list" if isinstance(value, list) else "an object"
