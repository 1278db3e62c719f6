"""Compose what a store has beside its shards: auxiliary arrays, manifest, metadata documents.

Everything is handed on as it is made, in the order of sealing: chunks of coordinates and of
``source/``, the manifest, the documents of the leaves, and the root's, which seals the store.
"""

from __future__ import annotations

import itertools
import math
import platform
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

import numpy as np
import zarr

from tilepress.codecs.loss import Loss
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.store.bands import told_exact
from tilepress.pipeline.store.builder import Builder, bytes_array
from tilepress.pipeline.store.conventions import (
    auxiliary_arrays,
    group_attributes,
    image_attributes,
    multiscales_attributes,
)
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.keys import (
    FULL_RESOLUTION,
    SOURCE,
    Separator,
    array_key,
    is_image,
    level_image,
    level_of,
    source_key,
)
from tilepress.pipeline.store.lean import LAYOUTS, layouts_crc, may_be_lean
from tilepress.pipeline.store.manifest import (
    ShardTable,
    samples_digest,
)
from tilepress.pipeline.store.ome import ome_attributes
from tilepress.pipeline.store.packed import pack_items
from tilepress.pipeline.store.seal import (
    APART_VERSION,
    ROOTED_VERSION,
    STORE_VERSION,
)

__all__ = ["COMPOSED", "StoredImage", "compose"]

COMPOSED = frozenset(
    {
        *("format_version", "pip", "codec", "tier", "model", "loss", "raw_bytes", "stored_bytes"),
        *("source_digest", "tools", "manifest_sha256", "seal"),
    }
)
"""What every statement has; the rest is what whoever sealed the store added to it."""

_INSTALL = "pip install tilepress"


class StoredImage(Protocol):
    """An image, how its arrays are cut, and how they are coded."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def grids(self) -> Mapping[str, ShardGrid]:
        """Grid by array name: "image", "1/image" … of levels, "mask" where the source has one."""
        ...

    @property
    def separator(self) -> Separator:
        """What stands between the numbers in the key of a chunk."""
        ...

    @property
    def wordy(self) -> bool:
        """Whether documents are as earlier versions wrote them: the text of a CRS eleven times."""
        ...

    @property
    def newest(self) -> int:
        """The newest format that the store may have: that of one that is composed again."""
        ...

    def codec_config(self, array: str) -> dict[str, Any]: ...

    def loss(self, array: str) -> Loss: ...

    def fill(self, array: str) -> float | int: ...


def compose(
    image: StoredImage,
    source_items: Iterable[tuple[str, bytes]],
    tables: Mapping[str, ShardTable],
    write: Callable[[str, bytes], None],
    attributes: Mapping[str, Any] | None = None,
    tools: Mapping[str, str] | None = None,
    omero: Mapping[str, Any] | None = None,
) -> None:
    """Hand every object but the shards to ``write``, by key, in the order of sealing.

    ``attributes`` are added to the statement in the root document. ``tools`` are the versions that
    the store names: those at work, unless a store that another installation sealed is composed
    again. ``omero`` says how the image is shown; formats up to 3 do not.
    """
    version, lean, items = _format_of(image, source_items, tables)
    builder = Builder(write, image.separator, version, wordy=image.wordy, lean=lean)
    statement = _statement(image, version, tables, tools or _tools())
    added = dict(attributes or {})
    levels = range(1 + len(image.info.levels))
    for level in levels:
        _add_level(builder, image, level, statement, added)
    paths = [array_key(level_image(level)) for level in levels]
    if version < STORE_VERSION:
        told = ome_attributes(image.info, paths, every=False)
    else:
        told = ome_attributes(image.info, paths, omero) | multiscales_attributes(image.info)
    if lean:
        ((_, origin),) = items
        builder.seal_lean(statement | added, told, tables, origin)
        return
    builder.group(SOURCE, {})
    for name, data in items:
        builder.array(source_key(name), bytes_array(data, f"{name}-byte"))
    for level in levels:
        builder.consolidate(str(level))
    added["manifest_sha256"] = builder.add_manifest(tables)
    builder.seal(statement | added, told)


def _format_of(
    image: StoredImage,
    source_items: Iterable[tuple[str, bytes]],
    tables: Mapping[str, ShardTable],
) -> tuple[int, bool, Iterable[tuple[str, bytes]]]:
    """Return the format of a store, whether it is lean, and the items of its ``source/``."""
    if image.newest == APART_VERSION:
        return APART_VERSION, False, source_items
    roomy = STORE_VERSION if image.newest >= STORE_VERSION else ROOTED_VERSION
    items = iter(pack_items(source_items))
    if image.newest == roomy or not may_be_lean(image.info, tables):
        return roomy, False, items
    held = list(itertools.islice(items, 2))
    if len(held) == 1 and held[0][0] == "origin":
        return image.newest, True, held
    return roomy, False, itertools.chain(held, items)


def _add_level(
    builder: Builder,
    image: StoredImage,
    level: int,
    statement: Mapping[str, Any],
    added: Mapping[str, Any],
) -> None:
    info, wordy = image.info.at_level(level), image.wordy
    told = {"tilepress": statement} if level == 0 else {}
    if builder.is_lean:  # what the group says of its place, its image says once more
        builder.group(FULL_RESOLUTION, {})
    else:
        builder.group(str(level), group_attributes(info, wordy=wordy) | told)
    for name, grid in image.grids.items():
        if level_of(name) != level and (is_image(name) or level > 0):
            continue
        config, loss = image.codec_config(name), image.loss(name)
        hint = {"pip": _INSTALL, "lossless": loss.is_lossless, "codec": config["codec"]}
        hint |= loss.statement()
        hint |= told_exact(info.exact) if is_image(name) else {}
        if is_image(name) and IRREVERSIBLE in added:
            hint[IRREVERSIBLE] = added[IRREVERSIBLE]
        attributes = (
            image_attributes(info, wordy=wordy, affine=builder.version >= STORE_VERSION)
            if is_image(name)
            else _mask_attributes(info)
        )
        builder.coded_array(
            array_key(name),
            grid=grid,
            dtype=info.dtype if is_image(name) else np.dtype(np.uint8),
            dims=info.axes if is_image(name) else info.axes[-2:],
            fill=image.fill(name),
            config=config,
            attributes=attributes | {"tilepress": hint},
        )
    for name, array in auxiliary_arrays(info, wordy=wordy).items():
        builder.array(f"{level}/{name}", array)
    if builder.is_lean:
        documents = [builder.document(array_key(name)) for name in image.grids]
        traces = _traces({**statement, **added}) | {LAYOUTS: layouts_crc(documents)}
        builder.tell(FULL_RESOLUTION, {"tilepress": traces})


def _mask_attributes(info: ImageInfo) -> dict[str, Any]:
    attributes: dict[str, Any] = {
        "long_name": "validity of the image's pixels",
        "flag_values": [0, 255],
        "flag_meanings": "absent valid",
    }
    if info.geo is not None:
        attributes |= {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref"}
    return attributes


def _traces(statement: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the level of a lean store says beside the root document: what coding did, and
    what its source is known by where that document is lost."""
    kept = ("format_version", "loss", "plan_digest")
    return {
        **{key: statement[key] for key in kept if key in statement},
        "source_digest": {"sha256": statement["source_digest"]["sha256"]},
        "tools": {k: v for k, v in statement["tools"].items() if k == "tilepress"},
    }


def _statement(
    stored: StoredImage,
    version: int,
    tables: Mapping[str, ShardTable],
    tools: Mapping[str, str],
) -> dict[str, Any]:
    """Return ``attrs["tilepress"]``: what was done to the samples, and what reads them."""
    config = stored.codec_config("image")
    info = stored.info
    images = [tables[level_image(level)] for level in range(1 + len(info.levels))]
    samples = sum(math.prod(info.at_level(n).shape) for n in range(len(images)))
    image_bytes = sum(image.stored_bytes for image in images)
    return {
        "format_version": version,
        "pip": _INSTALL,
        "codec": config["codec"],
        "tier": config["tier"],
        "model": {key: config["model"][key] for key in ("name", "sha256")},
        "loss": stored.loss("image").statement()
        | {"bits_per_sample": round(8 * image_bytes / max(1, samples), 4)}
        | told_exact(info.exact),
        "raw_bytes": sum(image.raw_bytes for image in images),
        "stored_bytes": sum(table.stored_bytes for table in tables.values()),
        "source_digest": {"sha256": samples_digest(images), "of": "sha256 of each shard's samples"},
        "tools": dict(tools),
    }


def _tools() -> dict[str, str]:
    tools = {"python": platform.python_version(), "numpy": np.__version__, "zarr": zarr.__version__}
    with suppress(PackageNotFoundError):
        tools["tilepress"] = version("tilepress")
    return tools
