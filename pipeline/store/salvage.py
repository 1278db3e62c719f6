"""Read what a damaged store still tells: how it was coded, and what it was made of.

How an array was coded is written in three documents: its own, that of its level (but of lean
stores) and the root's. The sealed root document is believed alone. Where it is damaged or gone, two
that agree are, or the array's own where a manifest that is whole lists it or the level of a lean
store vouches for it.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import zarr

from tilepress.errors import DamagedStore, StoreError
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.bands import exact_of, told_exact
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    MANIFEST,
    ORIGIN,
    ROOT_DOCUMENT,
    ROOT_MANIFEST,
    SEPARATOR,
    SOURCE,
    Separator,
    array_key,
    document_key,
    level_image,
    other_separator,
)
from tilepress.pipeline.store.lean import (
    LAYOUTS,
    layouts_crc,
    lean_source_key,
    unpacked_source,
)
from tilepress.pipeline.store.manifest import Manifest, sha256_hex
from tilepress.pipeline.store.packed import origin_of
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import APART_VERSION, LEAN_VERSION, ROOTED_VERSION, STORE_VERSION

__all__ = ["Layout", "Salvaged", "salvage"]

_DIGEST = re.compile(rb'"([0-9a-f]{64})"')

_WORDY = b'"storage_transformers"'
"""What only earlier versions wrote, into every document of an array."""

AGREEING = 2
"""Documents that must say the same of an array where the root document is not to be believed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How one array was cut and coded."""

    grid: ShardGrid
    dtype: str
    axes: tuple[str, ...]
    config: Mapping[str, Any]
    """The codec configuration, inline weights included."""
    separator: Separator = SEPARATOR
    """What stands between the numbers in the keys of its shards."""
    exact: Mapping[int, str] = field(default_factory=dict)
    """Bands, from 0, that are lossless though a bound was allowed, and why."""

    @classmethod
    def parse(cls, node: object) -> Layout | None:
        """Return the layout in an array's document; None where it tells none."""
        try:
            return cls._parse(node)
        except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError):
            return None

    @classmethod
    def _parse(cls, node: Any) -> Layout:  # noqa: ANN401  # JSON that may be damaged
        (sharding,) = node["codecs"]
        (tile,) = sharding["configuration"]["codecs"]
        grid = ShardGrid(
            tuple(int(n) for n in node["shape"]),
            tuple(int(n) for n in sharding["configuration"]["chunk_shape"]),
            tuple(int(n) for n in node["chunk_grid"]["configuration"]["chunk_shape"]),
        )
        return cls(
            grid=grid,
            dtype=str(node["data_type"]),
            axes=tuple(str(name) for name in node["dimension_names"]),
            config=dict(tile["configuration"]),
            separator=_separator(node),
            exact=exact_of(node.get("attributes", {}).get("tilepress", {})),
        )

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), **told_exact(self.exact)}

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> Layout:
        """Return the layout that ``to_json`` was called on."""
        grid = fields["grid"]
        return cls(
            grid=ShardGrid(*(tuple(grid[name]) for name in ("shape", "chunk", "shard"))),
            dtype=str(fields["dtype"]),
            axes=tuple(fields["axes"]),
            config=dict(fields["config"]),
            separator="." if fields.get("separator") == "." else SEPARATOR,
            exact=exact_of(fields),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Salvaged:
    """What can be read of a store, whatever is damaged."""

    root: bytes | None
    """The root document as it lies there; None where there is none."""
    reader: StoreReader | None
    """None where the root document is not the one that was sealed."""
    refusal: StoreError | None
    """Why there is no reader."""
    manifest: Manifest | None
    """None where it is not the one that the sealed root names."""
    layouts: Mapping[str, Layout]
    """By array name, as far as they are known for sure."""
    unproved: Mapping[str, Layout]
    """What only one document says, which nothing vouches for."""
    digests: frozenset[str]
    """Every sha256 that stands in the documents of root and level, however damaged they are: one
    that matches something is no accident."""
    level: Mapping[str, Any]
    """The document of the full resolution; {} where it is none."""
    wordy: bool
    """Whether its documents are as earlier versions wrote them: see ``StoredImage``."""
    version: int
    """Its format."""
    sealed_by: str | None
    """The version of tilepress that sealed the store, if root or level tell."""
    origin: Mapping[str, Any] | None
    """What the store says that it was made of."""
    attributes: Mapping[str, Any] | None
    """Those of the image, as some document that can be read has them."""

    @property
    def worst(self) -> float:
        """The largest error of lossy coding that was measured; inf where no sealed root tells."""
        return math.inf if self.reader is None else self.reader.worst


def salvage(store: StoragePath) -> Salvaged:
    """Read what there is; raises UnsupportedFormat for a store of a newer tilepress."""
    reader, refusal = None, None
    try:
        reader = StoreReader.open(store)
    except StoreError as error:
        refusal = error
    root = store / ROOT_DOCUMENT
    data = root.read() if root.size() is not None else None
    level = _read(store / document_key(FULL_RESOLUTION))
    copies = _copies(store, data, level, sealed=reader is not None)
    layouts = _believed(store, copies, sealed=reader is not None)
    digests = _DIGEST.findall((data or b"") + level)
    return Salvaged(
        root=data,
        reader=reader,
        refusal=refusal,
        manifest=None if reader is None else _manifest(reader),
        layouts=layouts,
        unproved={name: found[0] for name, found in copies.items() if name not in layouts},
        digests=frozenset(digest.decode() for digest in digests),
        level=_parse(level),
        wordy=_WORDY in (data or b"") + level + _read(store / document_key(array_key("image"))),
        version=_version(store, _parse(data or b""), _parse(level)),
        sealed_by=_sealed_by(_parse(data or b"")) or _sealed_by(_parse(level)),
        origin=_origin(store, reader),
        attributes=_attributes(store, _parse(data or b""), level, sealed=reader is not None),
    )


def _separator(node: Any) -> Separator:  # noqa: ANN401  # JSON that may be damaged
    found = node["chunk_key_encoding"]["configuration"]["separator"]
    return "." if found == "." else SEPARATOR


def _attributes(
    store: StoragePath, root: dict[str, Any], level: bytes, *, sealed: bool
) -> Mapping[str, Any] | None:
    """Return the attributes of the image: a sealed root's, else each as most documents have it."""
    key = array_key("image")
    nodes = [_consolidated(root, key)]
    if not sealed:
        own = _parse(_read(store / document_key(key)))
        nodes += [_consolidated(_parse(level), "image"), own]
    told: dict[str, list[Any]] = {}
    for node in nodes:
        found = node.get("attributes") if isinstance(node, dict) else None
        for name, value in found.items() if isinstance(found, dict) else ():
            told.setdefault(name, []).append(value)
    return {name: max(values, key=values.count) for name, values in told.items()} or None


def _copies(
    store: StoragePath, root: bytes | None, level: bytes, *, sealed: bool
) -> dict[str, list[Layout]]:
    """Return every layout that documents tell, by array; of a sealed root, its own alone."""
    found = {}
    known = _parse(root or b"")
    for name in ("image", *_levels(store, known), "mask"):
        key = array_key(name)
        nodes = [_consolidated(known, key)]
        if not sealed:  # then its own document is the first to tell
            own = _parse(_read(store / document_key(key)))
            number, _, last = key.rpartition("/")
            above = level if name == last else _read(store / document_key(number))
            nodes = [own, _consolidated(_parse(above), last), *nodes]
        copies = [layout for node in nodes if (layout := Layout.parse(node)) is not None]
        if copies:
            found[name] = copies
    return found


def _levels(store: StoragePath, root: dict[str, Any]) -> list[str]:
    """Return the names of levels' images, from 1 on, as far as documents or folders tell."""
    names = map(level_image, itertools.count(1))
    return list(
        itertools.takewhile(
            lambda name: _consolidated(root, name) is not None or (store / name).is_folder(), names
        )
    )


def _believed(
    store: StoragePath, copies: Mapping[str, list[Layout]], *, sealed: bool
) -> dict[str, Layout]:
    found: dict[str, Layout] = {}
    for name, layouts in copies.items():
        agreed = [one for one in layouts if sealed or layouts.count(one) >= AGREEING]
        if not agreed:
            vouched = _vouched(store, document_key(array_key(name)))
            agreed = [one for one in layouts if one == vouched]
        if agreed:
            found[name] = agreed[0]
    return found


def _vouched(store: StoragePath, key: str) -> Layout | None:
    """Return the layout in a document that is listed in a manifest whose checksums are right, or
    that the level of a lean store has the checksum of."""
    data = _read(store / key)
    if _is_in_level(store):
        return Layout.parse(_parse(data))
    try:
        rooted = (store / ROOT_MANIFEST).is_folder()
        path = ROOT_MANIFEST if rooted else MANIFEST
        node = zarr.open_array(store.zarr_store(), path=path, mode="r")
        manifest = Manifest.parse(bytes(node[...]))  # type: ignore[arg-type]  # an array of bytes
    except Exception:  # whatever Zarr makes of damaged documents and chunks
        return None
    listed = manifest.documents.get(key) == sha256_hex(data)
    return Layout.parse(_parse(data)) if listed else None


def _is_in_level(store: StoragePath) -> bool:
    """Whether the documents of image and mask are those that the level has the checksum of."""
    level = _parse(_read(store / document_key(FULL_RESOLUTION)))
    found = [_read(store / document_key(array_key(name))) for name in ("image", "mask")]
    with contextlib.suppress(KeyError, TypeError):
        return bool(level["attributes"]["tilepress"][LAYOUTS] == layouts_crc(found))
    return False


def _version(store: StoragePath, root: dict[str, Any], level: dict[str, Any]) -> int:
    for document in (root, level):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            return int(document["attributes"]["tilepress"]["format_version"])
    source = store / SOURCE
    if not source.is_folder() or (source / ROOT_DOCUMENT).size() is None:
        return LEAN_VERSION
    if not (store / ROOT_MANIFEST).is_folder():
        return STORE_VERSION
    return APART_VERSION if set(source.folders()) - {"origin"} else ROOTED_VERSION


def _sealed_by(document: dict[str, Any]) -> str | None:
    try:
        return str(document["attributes"]["tilepress"]["tools"]["tilepress"])
    except (KeyError, TypeError):
        return None


def _consolidated(document: dict[str, Any], key: str) -> object:
    try:
        return document["consolidated_metadata"]["metadata"][key]
    except (KeyError, TypeError):
        return None


def _read(where: StoragePath) -> bytes:
    """Return an object; nothing where it cannot be read."""
    try:
        return where.read()
    except OSError:
        return b""


def _parse(data: bytes) -> dict[str, Any]:
    """Return a document; {} for what is none."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _manifest(reader: StoreReader) -> Manifest | None:
    try:
        return reader.manifest
    except DamagedStore:
        return None


def _origin(store: StoragePath, reader: StoreReader | None) -> Mapping[str, Any] | None:
    for separator in (SEPARATOR, other_separator(SEPARATOR)) if reader is None else ():
        with contextlib.suppress(OSError, DamagedStore, ValueError):
            origin = origin_of(unpacked_source((store / lean_source_key(separator)).read()))
            return origin if isinstance(origin, dict) and "kind" in origin else None
    try:
        if reader is not None:
            return reader.origin
        node = zarr.open_array(store.zarr_store(), path=ORIGIN, mode="r")
        origin = origin_of(bytes(node[...]))  # type: ignore[arg-type]  # an array of bytes
    except Exception:  # whatever Zarr makes of damaged documents and chunks
        return None
    return origin if isinstance(origin, dict) and "kind" in origin else None
