"""Read what a sealed store says of itself: one document, and a listing for its size."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Loss, stated_loss
from tilepress.pipeline.image.made_levels import MADE_LEVELS
from tilepress.pipeline.storage.path import AnyPath, storage_path
from tilepress.pipeline.store.keys import IMAGE, SEPARATOR, array_key
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.seal import read_root, store_bytes
from tilepress.pipeline.store.told_kinds import refuse_other_kinds

__all__ = ["StoreSummary", "read_seal", "read_summary", "source_bytes"]


@dataclass(frozen=True, kw_only=True)
class StoreSummary:
    """What a catalogue tells of a store. Allow-listed: a store's documents hold no patient text."""

    statement: Mapping[str, Any]
    """``attrs["tilepress"]`` of the root: codec, model, loss, digests, seal."""
    image: Mapping[str, Any]
    """The document of the array ``0/image``."""
    place: Mapping[str, Any]
    """Attributes of ``0/spatial_ref``; none where the image lies nowhere on the ground."""
    labels: tuple[str, ...]
    """Names along the axis ``band``; none where bands are numbered."""
    stored_bytes: int
    """All objects of the store, headers and documents included: what it takes in storage."""
    root_bytes: int
    """Length of the root document."""
    root_sha256: str
    """Its digest, hexadecimal: it seals the manifest, which has a digest of every object."""

    @cached_property
    def attributes(self) -> Mapping[str, Any]:
        """Attributes of the image."""
        return dict(self.image["attributes"])

    @property
    def seal(self) -> str:
        return str(self.statement["seal"])

    @property
    def axes(self) -> tuple[str, ...]:
        return tuple(str(name) for name in self.image["dimension_names"])

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(int(n) for n in self.image["shape"])

    @property
    def dtype(self) -> str:
        """Name of the samples' type as numpy has it, e.g. "uint16"."""
        return str(self.image["data_type"])

    @property
    def raw_bytes(self) -> int:
        """Decoded size of the image as it came: ``source_bytes``."""
        return source_bytes(self.statement, self.attributes, self.shape, self.dtype)

    @property
    def ratio(self) -> float:
        """Decoded size of the image as it came over that of the whole store."""
        return self.raw_bytes / max(1, self.stored_bytes)

    @property
    def loss(self) -> Loss:
        """What coding may have changed of the image's samples."""
        return stated_loss(self.statement["loss"])

    @property
    def modality(self) -> str | None:
        """DICOM modality, e.g. "CT"; None for what is no DICOM."""
        found = self.attributes.get("modality")
        return found if isinstance(found, str) else None

    @property
    def crs(self) -> str | None:
        """E.g. "EPSG:32621"; "local" for a CRS without a code; None without a CRS."""
        if code := self.attributes.get("proj:code"):
            return str(code)
        return "local" if self.attributes.get("proj:wkt2") else None

    @property
    def bands(self) -> tuple[str, ...]:
        """Name of every band: as the source has it, else its number from 1."""
        sizes = dict(zip(self.axes, self.shape, strict=True))
        count = sizes.get("band", 1)
        given = self.labels or self.attributes.get("band_names") or ()
        names = [str(name) for name in given] if len(given) == count else [""] * count
        return tuple(name or str(i) for i, name in enumerate(names, 1))


def source_bytes(
    statement: Mapping[str, Any],
    attributes: Mapping[str, Any],
    shape: tuple[int, ...],
    dtype: npt.DTypeLike,
) -> int:
    """Return the decoded size of a store's image as it came, without its mask.

    A store states that of all levels. Levels that the source had, as slides have, are of it; those
    that were made of the full resolution take room and are no samples of the source.
    """
    if MADE_LEVELS in attributes:
        return math.prod(shape) * np.dtype(dtype).itemsize
    return int(statement["raw_bytes"])


def read_summary(store: AnyPath) -> StoreSummary:
    """Return what a sealed store says of itself.

    Raises what opening it raises (UnsealedStore, DamagedStore, UnsupportedFormat, StoreError).
    """
    where = storage_path(store)
    root = read_root(where)
    refuse_other_kinds(root)
    try:
        nodes = root.content["consolidated_metadata"]["metadata"]
        labels = nodes.get(array_key("band"), {}).get("attributes", {}).get("labels", ())
        place = dict(nodes.get(array_key("spatial_ref"), {}).get("attributes", {}))
        image = nodes[IMAGE]
        found = image["chunk_key_encoding"]["configuration"]["separator"]
    except (KeyError, TypeError, AttributeError) as error:
        raise root.lacks(error) from error
    return StoreSummary(
        statement=root.statement,
        image=image,
        place=place,
        labels=tuple(map(str, labels)),
        stored_bytes=store_bytes(where, "." if found == "." else SEPARATOR),
        root_bytes=len(root.data),
        root_sha256=sha256_hex(root.data),
    )


def read_seal(store: AnyPath) -> str:
    """Return the digest that seals a store; raises as ``read_summary`` does."""
    return read_root(store).seal
