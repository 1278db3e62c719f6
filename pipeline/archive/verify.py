"""Verify stores: every object and record, and the samples against their source, in one decoding."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from tilepress.errors import (
    DamagedStore,
    InvalidRecord,
    ModelError,
    TilepressError,
    TooMuchMemory,
    UnsupportedFormat,
    UsageError,
)
from tilepress.pipeline.archive.compare import Comparison
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.private import pseudonyms_of_sources
from tilepress.pipeline.archive.replace import Replacement, replacements
from tilepress.pipeline.archive.verified import Damage, StoreCheck
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.find.choose import ALL, Choice
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.find.others import OtherFiles
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.find.told import A_FILE
from tilepress.pipeline.image.made_levels import MADE_LEVELS
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.kept.check import check_kept, differences_from, totals_of_kept
from tilepress.pipeline.kept.index import FILES, FolderIndex, has_kept
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED
from tilepress.pipeline.sources.levelled import with_made_levels
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import (
    IMAGE,
    ROOT_DOCUMENT,
    SIGNATURE,
    Separator,
    array_key,
    is_image,
    shard_key,
)
from tilepress.pipeline.store.manifest import Manifest, ShardEntry, sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard_decode import decode_shard, has_irreversible, samples_sha256

__all__ = ["Damage", "StoreCheck", "check_stores", "source_among", "verify_store"]

IGNORED_NAMES = frozenset({".DS_Store", "Thumbs.db", "desktop.ini"})
"""Files that file managers leave behind; Zarr never looks at them."""

OpenSource = Callable[[StoreReader], contextlib.AbstractContextManager[TileSource]]
"""Opens what a store was made of."""


def verify_store(store: StoragePath, open_its_source: OpenSource | None = None) -> list[Damage]:
    """Return what is wrong with a store: first with itself, then beside its source.

    Every record is decoded once, and compared with the source as it is decoded. A store that was
    replaced meanwhile is verified anew.
    """
    while True:
        tag = (store / ROOT_DOCUMENT).tag()
        found = _verified(store, open_its_source)
        if not found or (store / ROOT_DOCUMENT).tag() == tag:
            return found


def _verified(store: StoragePath, open_its_source: OpenSource | None) -> list[Damage]:
    try:
        reader = StoreReader.open(store)
    except DamagedStore as error:
        return [Damage("changed", ROOT_DOCUMENT, str(error))]
    try:
        manifest = reader.manifest
    except DamagedStore as error:
        return [Damage("changed", reader.manifest_key, str(error))]
    found = list(_check_objects(store, manifest, reader.separator))
    if found:
        found = list(_unexcused(store, manifest, found))
    if open_its_source is None:
        return [*found, *_Shards(reader, None).check()]
    with contextlib.ExitStack() as resources:
        try:
            source = resources.enter_context(open_its_source(reader))
        except DamagedStore:  # it does not tell what it was made of
            found += _Shards(reader, None).check()
            if not found:
                raise
            return found
        shards = _Shards(reader, Comparison(reader, source))
        found += shards.check()
        return [*found, *shards.differences]


def source_among(sources: SourceFinder) -> OpenSource:
    """Return what opens the source of a store that is one of these."""

    @contextlib.contextmanager
    def open_it(reader: StoreReader) -> Iterator[TileSource]:
        spec = sources.find(reader.path, reader.origin)
        spec = with_made_levels(spec, reader.attrs.get(MADE_LEVELS))
        with contextlib.closing(open_source(spec)) as source:
            yield source

    return open_it


def check_stores(
    path: AnyPath,
    source: Sequence[str | Path] = (),
    stack: Stacks = None,
    *,
    show_paths: bool = False,
    choice: Choice = ALL,
) -> Iterator[StoreCheck]:
    """Verify a store, or each of an archive; ``source`` is what all of them were made of.

    ``choice`` says which of its files are meant. In an archive, images of ``source`` that have no
    store are listed as unknown at the end, and so are files that are no images and are not kept as
    they are. What is no store and holds none is unknown; UsageError says that there is nothing at
    ``path``. Names of DICOM files and folders are told with ``show_paths`` alone.
    """
    root = storage_path(path)
    if not root.exists():
        raise UsageError(f"verifying {path}: no such file or folder")
    stores = [storage_path(store) for store in find_stores(root)] if root.is_folder() else []
    if not stores and not has_kept(root):
        what = "it is a folder without tilepress stores" if root.is_folder() else "it is a file"
        text = f"verifying {path}: {what}, want a tilepress store"
        yield StoreCheck(store=str(path), state="unknown", findings=(text,))
        return
    archive = None if stores == [root] else root
    sources = None
    others = None
    if source and archive is not None:
        others = OtherFiles("known" if has_kept(archive) else "none")
    if source:
        folder = root.parent if archive is None else root
        sources = SourceFinder(
            source,
            stack=stack,
            archive=archive,
            pseudonyms=lambda: pseudonyms_of_sources(folder),
            key_folder=folder,
            show_paths=show_paths,
            others=others,
            choice=choice,
        )
    for missing in sources.missing if sources is not None else ():
        raise UsageError(f"verifying against {missing.path}: {missing.error}")
    for store in stores:
        yield _check(store, sources, in_archive=archive is not None)
    if archive is not None:
        for gone, text in gone_stores(archive):
            yield StoreCheck(store=str(gone), state="damaged", findings=(text,))
        if has_kept(archive):
            yield _check_files(archive, others, show_paths=show_paths)
    if sources is not None and archive is not None:
        for left in sources.left_over({store.relative_to(archive) for store in stores}):
            text = f"{path} holds no store of it"
            yield StoreCheck(store=left, state="unknown", findings=(text,))
        for name, error in sources.failures:
            yield StoreCheck(store=name, state="unknown", findings=(str(error),))


def _check_files(
    archive: StoragePath, others: OtherFiles | None, *, show_paths: bool
) -> StoreCheck:
    """Check the files that an archive keeps, also against those of its sources."""
    try:
        found = list(check_kept(archive))
        texts = list(map(str, found))
        states = {one.state for one in found}
        here, known = Destination(archive), dict[str, FolderIndex]()
        for files in others.folders() if others is not None else ():
            known.clear()
            theirs = [one for one in files if not here.holds(one.file.path, known)]
            for other, text in differences_from(archive, theirs):
                private = other.private and not show_paths
                texts.append(f"{A_FILE if private else other.file.path}: {text}")
                states.add("unknown")
        total = totals_of_kept(archive).files
    except OSError as error:
        text = f"reading {archive / FILES}: {error.strerror or type(error).__name__}"
        return StoreCheck(store=str(archive / FILES), state="unknown", findings=(text,))
    state: Literal["sound", "damaged", "unknown"] = "sound"
    if states:
        state = "damaged" if "damaged" in states else "unknown"
    return StoreCheck(store=str(archive / FILES), state=state, findings=tuple(texts), files=total)


def _check(store: StoragePath, sources: SourceFinder | None, *, in_archive: bool) -> StoreCheck:
    found = _checked(store, sources, in_archive=in_archive)
    if sources is None:
        return found
    return replace(
        found,
        findings=tuple(sources.told(store, one) for one in found.findings),
        damages=tuple(
            replace(one, detail=sources.told(store, one.detail)) for one in found.damages
        ),
    )


def _checked(store: StoragePath, sources: SourceFinder | None, *, in_archive: bool) -> StoreCheck:
    try:
        damages = verify_store(store, None if sources is None else source_among(sources))
    except (DamagedStore, InvalidRecord) as error:
        return StoreCheck(store=str(store), state="damaged", findings=(str(error),))
    except TilepressError as error:
        if isinstance(error, UsageError) and not in_archive:
            raise
        return StoreCheck(store=str(store), state="unknown", findings=(str(error),))
    except OSError as error:
        text = f"reading {error.filename or store}: {error.strerror or type(error).__name__}"
        return StoreCheck(store=str(store), state="unknown", findings=(text,))
    state: Literal["sound", "damaged"] = "damaged" if damages else "sound"
    deidentified = sources is not None and not damages and _is_deidentified(store)
    return StoreCheck(
        store=str(store),
        state=state,
        findings=tuple(map(str, damages)),
        damages=tuple(damages),
        differs=bool(damages) and all(damage.kind == "source" for damage in damages),
        deidentified=deidentified,
    )


def _is_deidentified(store: StoragePath) -> bool:
    return DEIDENTIFIED in StoreReader.open(store).origin


def _unexcused(store: StoragePath, manifest: Manifest, damages: list[Damage]) -> Iterator[Damage]:
    """Leave out what is no damage while the store is being replaced, or its old one swept."""
    found = replacements(store)
    root = (store / ROOT_DOCUMENT).sha256()
    for damage in damages:
        if not any(_excuses(one, root, manifest, damage) for one in found):
            yield damage


def _excuses(
    replacement: Replacement, root: str | None, manifest: Manifest, damage: Damage
) -> bool:
    if damage.kind == "unexpected":
        ended = replacement.replaced.root != root
        return ended or replacement.has(damage.key)
    entry = manifest.files.get(damage.key)
    digest = manifest.documents.get(damage.key, "") if entry is None else entry.sha256
    return damage.kind == "changed" and replacement.excuses(damage.key, digest)


def _check_objects(path: StoragePath, manifest: Manifest, separator: Separator) -> Iterator[Damage]:
    """Check the documents and auxiliary objects, and that nothing else lies in the store."""
    for key, digest in manifest.documents.items():
        yield from _check_object(path, key, None, digest)
    for key, entry in manifest.files.items():
        yield from _check_object(path, key, entry.length, entry.sha256)
    for key, _ in path.walk():
        expected = key == SIGNATURE or manifest.lists(key, separator)
        if not expected and key.rpartition("/")[2] not in IGNORED_NAMES:
            yield Damage("unexpected", key, "the manifest does not list it")


def _check_object(path: StoragePath, key: str, length: int | None, digest: str) -> Iterator[Damage]:
    try:
        data = (path / key).read()
    except FileNotFoundError:
        yield Damage("missing", key, "there is no such object")
        return
    except OSError as error:
        yield Damage("missing", key, f"it cannot be read ({error.strerror})")
        return
    if length is not None and len(data) != length:
        yield Damage("changed", key, f"it has {len(data)} bytes, want {length}")
    elif sha256_hex(data) != digest:
        yield Damage("changed", key, "its bytes do not match their sha256")


class _Shards:
    """The shards of a store, checked one after another, and compared with a source if one is given.

    ``differences`` is what the comparison found.
    """

    def __init__(self, reader: StoreReader, comparison: Comparison | None) -> None:
        self._reader = reader
        self._comparison = comparison
        self.differences: list[Damage] = []
        if comparison is not None and comparison.of_shape is not None:
            self.differences.append(Damage("source", IMAGE, comparison.of_shape))
            self._comparison = None

    def check(self) -> Iterator[Damage]:
        """Yield what is wrong with the shards themselves."""
        for name, table in self._reader.manifest.arrays.items():
            grid = self._reader.grid(name)
            if grid.counts == table.counts:
                for index in grid.indices():
                    yield from self._check_shard(table.get(name, index))
                continue
            text = f"{grid.counts} shards, the manifest {table.counts}"
            yield Damage("changed", array_key(name), text)
            for index in grid.indices():
                self._compare(name, index, None)
        told = None if self._comparison is None else self._comparison.of_image
        if told is not None:
            self.differences.append(Damage("source", IMAGE, told))

    def _check_shard(self, entry: ShardEntry) -> Iterator[Damage]:
        """Check one shard's bytes, its index, and every record by decoding it."""
        key = self._key(entry.array, entry.index)
        samples = None
        try:
            data = (self._reader.path / key).read()
        except OSError as error:
            yield Damage("missing", key, f"it cannot be read ({error.strerror})")
        else:
            if len(data) != entry.length:
                yield Damage("changed", key, f"it has {len(data)} bytes, want {entry.length}")
            elif sha256_hex(data) != entry.sha256:
                yield Damage("changed", key, "its bytes do not match their sha256")
            samples = yield from self._decode(entry, data)
        self._compare(entry.array, entry.index, samples)

    def _decode(
        self, entry: ShardEntry, data: bytes
    ) -> Generator[Damage, None, npt.NDArray[Any] | None]:
        """Return the samples of a shard; None where not all of its records decode."""
        key = self._key(entry.array, entry.index)
        grid = self._reader.grid(entry.array)
        dtype = self._reader.dtype if is_image(entry.array) else np.dtype(np.uint8)
        codec = self._reader.codec(entry.array).codec
        try:
            samples, wrong = decode_shard(codec, data, grid, entry.index, dtype)
        except DamagedStore as error:
            yield Damage("undecodable", key, str(error))
            return None
        for chunk, reason in wrong.items():
            if isinstance(reason, (ModelError, TooMuchMemory, UnsupportedFormat)):
                raise reason
            yield Damage("undecodable", key, f"chunk {chunk}: {reason}")
        if wrong:
            return None
        same = samples_sha256(samples) == entry.samples_sha256
        if not same and not has_irreversible(data, grid):
            yield Damage("samples", key, "the decoded samples are not those that were sealed")
        return samples

    def _compare(
        self, array: str, index: tuple[int, ...], samples: npt.NDArray[Any] | None
    ) -> None:
        if self._comparison is not None:
            text = self._comparison.of_shard(array, index, samples)
            if text is not None:
                self.differences.append(Damage("source", self._key(array, index), text))

    def _key(self, array: str, index: tuple[int, ...]) -> str:
        return shard_key(array, index, self._reader.separator)
