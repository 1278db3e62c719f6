"""From what the user named to the stores that patches are taken from, and those of their labels."""

from __future__ import annotations

import glob
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from tilepress.errors import UsageError
from tilepress.pipeline.catalogue.stores import READERS, find_stores, is_store
from tilepress.pipeline.patches.stored import PatchStore
from tilepress.pipeline.storage.http import is_http
from tilepress.pipeline.storage.path import AnyPath, is_url, storage_path

__all__ = ["Stores", "check_alike", "check_labels", "named_stores", "open_stores"]

Stores: TypeAlias = AnyPath | Sequence[AnyPath]
"""A store, an archive, a pattern or an address; or several of them."""


def named_stores(named: Stores) -> list[AnyPath]:
    """Return every store that is named, in this order, those of an archive in that of their names.

    Raises UsageError where one of them names none.
    """
    given = [named] if isinstance(named, str) or not isinstance(named, Sequence) else list(named)
    found: list[AnyPath] = []
    for one in given:
        some = _stores_of(one)
        if not some:
            raise UsageError(f"looking for stores: {one} holds none")
        found += some
    if not found:
        raise UsageError("looking for stores: none were named")
    return found


def _stores_of(one: AnyPath) -> list[AnyPath]:
    if is_http(one):
        return [one]
    if isinstance(one, str) and not is_url(one) and glob.has_magic(one) and not Path(one).exists():
        paths = sorted(Path(path) for path in glob.glob(one, recursive=True))
        return [store for path in paths if path.is_dir() for store in find_stores(path)]
    where = storage_path(one)
    return [where] if is_store(where) else list(find_stores(where))


def open_stores(
    stores: Sequence[AnyPath],
    *,
    bands: Sequence[str | int] | None = None,
    level: int = 0,
    hu: bool = False,
    masked: bool = False,
) -> list[PatchStore]:
    """Open stores, several at a time."""
    with ThreadPoolExecutor(READERS, thread_name_prefix="open") as pool:
        return list(
            pool.map(
                lambda one: PatchStore.open(one, bands=bands, level=level, hu=hu, masked=masked),
                stores,
            )
        )


def check_alike(stores: Sequence[PatchStore], size: int, *, same_dtype: bool) -> None:
    """Raise UsageError unless patches of all stores have one shape, and one dtype if asked."""
    first = stores[0]
    for one in stores:
        if len(one.bands) != len(first.bands):
            raise UsageError(
                f"taking patches: {one.where} has {_bands(one)}, {first.where} {_bands(first)}; "
                "choose some with bands=[…]"
            )
        if min(one.shape[-2:]) < size:
            height, width = one.shape[-2:]
            raise UsageError(
                f"taking patches: {one.where} has {height} × {width} samples, too few for "
                f"patches of {size} × {size}"
            )
        if same_dtype and one.image.dtype != first.image.dtype:
            raise UsageError(
                f"taking patches: {one.where} has {one.image.dtype} samples, {first.where} "
                f"{first.image.dtype}; choose one with dtype='float32'"
            )


def check_labels(images: Sequence[PatchStore], labels: Sequence[PatchStore]) -> None:
    """Raise UsageError unless every image has labels, on its very grid."""
    if len(images) != len(labels):
        raise UsageError(
            f"taking patches: there are {len(images)} stores of images and {len(labels)} of labels"
        )
    for image, label in zip(images, labels, strict=True):
        said = f"taking patches: labels {label.where}"
        if _planes(image) != _planes(label):
            raise UsageError(
                f"{said} have {_spelt(_planes(label))} samples, {image.where} has "
                f"{_spelt(_planes(image))}: resample the labels to its grid first"
            )
        for what, ours, theirs in (
            ("another CRS than", image.crs, label.crs),
            ("another transform than", image.transform, label.transform),
        ):
            if ours is not None and theirs is not None and ours != theirs:
                raise UsageError(
                    f"{said} have {what} {image.where}: warp the labels to its grid first"
                )


def _bands(store: PatchStore) -> str:
    count = len(store.bands)
    return "1 band" if count == 1 else f"{count} bands"


def _planes(store: PatchStore) -> tuple[int, ...]:
    """Return the sizes of all axes but that of bands."""
    axes = zip(store.axes, store.shape, strict=True)
    return tuple(length for name, length in axes if name != "band")


def _spelt(sizes: Sequence[int]) -> str:
    return " × ".join(map(str, sizes))
