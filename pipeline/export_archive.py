"""Write every store of an archive back below a folder, and the files that the archive keeps.

A store is written into a hidden folder first, then moved file by file to where it belongs: what
has its name is whole. A ledger (``export_ledger``) tells a later run what is there already.
"""

from __future__ import annotations

import functools
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tilepress.codecs.registry import BASE
from tilepress.errors import (
    NO_ROOM,
    FileInTheWay,
    StoreError,
    TilepressError,
    UsageError,
    describe_error,
)
from tilepress.pipeline import formats
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.endings import chosen_export, known_endings
from tilepress.pipeline.export import export_part
from tilepress.pipeline.export_ledger import COMPANIONS, ExportLedger, signature_of
from tilepress.pipeline.image.format import ExportPart
from tilepress.pipeline.kept.check import export_kept
from tilepress.pipeline.kept.index import FILES, has_kept
from tilepress.pipeline.read.decoders import open_by
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.path import AnyPath, StoragePath, is_url, storage_path
from tilepress.pipeline.storage.placed import place_new, refuse_links
from tilepress.pipeline.storage.unfinished import sweep_unfinished, unfinished
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["Exported", "export_archive"]

ROOM_BYTES = 2**20
"""A folder with less room than this is full: GDAL does not say why it could not write."""

State = Literal["written", "there", "left out", "failed"]


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a store, or of the files beside stores."""

    name: str
    files: tuple[Path, ...] = ()
    problem: str | None = None
    """Why it could not be written, or not all of it."""
    state: State = "written"
    """"there": by an earlier run; "left out": the format that was asked for is not for it."""
    number: int = 0
    """How many stores have been looked at, this one among them…"""
    total: int = 0
    """…of how many."""
    stops: bool = False
    """Whether nothing more can be written: there is no room."""

    def lines(self, out: Path) -> list[str]:
        """Return what to say of it."""
        if not self.files or self.state == "there":
            return []
        count = f"{len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        no_images = "that is no image" if len(self.files) == 1 else "that are no images"
        of = no_images if self.name == FILES else f"of {self.name}"
        return [f"{out}: {count} {of}"]


def export_archive(
    archive: AnyPath,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # the word users type
    *,
    decoder: str = BASE,
    force_generative: bool = False,
) -> Iterator[Exported]:
    """Export every store of an archive below a folder, and the files that it keeps.

    A raster or an array goes where it lay below its source, a DICOM series into a folder called as
    its store, a file that is no image where it lay, too. Nothing is replaced; what fails, or is of
    a kind that ``format`` is not for, is an item of the stream. What an earlier run into the same
    folder has written is not written again. ``decoder`` is for the stores whose codec has several.

    Raises UsageError where there is no archive, or no folder to write to; StoreError where the
    folder cannot be written to.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    named_as_folder = str(out).endswith(("/", os.sep))
    where, out = storage_path(archive), Path(out)
    if format is not None and format not in formats.exports():
        listed = ", ".join(formats.exports())
        raise UsageError(
            f"exporting {where.name}: format {format!r} is unknown, want one of {listed}"
        )
    if out.exists() and not out.is_dir():
        raise UsageError(f"exporting {where.name}: {out} is a file; an archive goes into a folder")
    if not named_as_folder and not out.is_dir() and out.name.lower().endswith(known_endings()):
        text = f"got {out.name}, and an archive goes into a folder; {out.name}/ is one"
        raise UsageError(f"exporting {where.name}: {text}")
    if not is_url(archive) and Path(str(archive)).resolve() in (
        out.resolve(),
        *out.resolve().parents,
    ):
        raise UsageError(f"exporting {where.name}: {out} lies in the archive; name another folder")
    stores = find_stores(where)
    try:
        make_directory(out)
        sweep_unfinished(out)
        with ExportLedger.open(out) as ledger:
            opened = functools.partial(
                open_by, decoder=decoder, force_generative=force_generative, any_codec=True
            )
            run = _Run(where, out, format, ledger, opened, force_generative=force_generative)
            yield from run.exported(stores)
            sweep_unfinished(out)  # of a run that was killed a moment before this one began
    except OSError as error:
        raise StoreError(f"exporting to {out}: {error.strerror or error}") from error


class _Run:
    """One run: the archive, the folder, and what has been written there so far."""

    def __init__(
        self,
        archive: StoragePath,
        out: Path,
        wanted: str | None,
        ledger: ExportLedger,
        opened: Callable[[StoragePath], StoreReader],
        *,
        force_generative: bool,
    ) -> None:
        self._archive, self._out, self._wanted, self._ledger = archive, out, wanted, ledger
        self._opened, self._force_generative = opened, force_generative
        self._written: set[Path] = set()
        """Files of stores, by this run or an earlier one."""

    def exported(self, stores: Sequence[StoragePath]) -> Iterator[Exported]:
        for number, store in enumerate(stores, 1):
            done = self._store(store, number, len(stores))
            self._written.update(done.files)
            yield done
            if done.stops:
                return
        for gone, text in gone_stores(self._archive):
            key = gone.relative_to(self._archive)
            yield Exported(key, problem=f"exporting {key}: {text}", state="failed")
        if has_kept(self._archive):
            yield from self._kept()

    def _store(self, store: StoragePath, number: int, total: int) -> Exported:
        """Export a store, whatever goes wrong."""
        key = store.relative_to(self._archive)

        def told(
            state: State,
            files: Sequence[Path] = (),
            problem: str | None = None,
            *,
            stops: bool = False,
        ) -> Exported:
            return Exported(key, tuple(files), problem, state, number, total, stops)

        try:
            reader = self._opened(store)
            seal = sha256_hex(reader.root_document)
            if reader.decoder_note is not None:  # which gives other samples of the same store
                seal = f"{seal} {reader.decoder}"
            files = self._ledger.is_done(key, seal, self._wanted)
            if files is not None:
                return told("there", files)
            return told("written", self._export(reader, key, seal))
        except UsageError as error:
            return told("left out", problem=_naming(key, str(error)))
        except Exception as error:  # the rest of the archive goes on, whatever a store holds
            kind, text = describe_error(error)
            if kind == NO_ROOM or self._is_full():
                text = f"exporting {key}: there is no room left in {self._out}"
                return told("failed", problem=text, stops=True)
            known = isinstance(error, TilepressError)
            return told(
                "failed", problem=_naming(key, text) if known else f"exporting {key}: {text}"
            )

    def _export(self, reader: StoreReader, key: str, seal: str) -> list[Path]:
        """Write a store in a folder of its own, then move its files to where they belong."""
        with unfinished(self._out / "store", folder=True) as scratch:
            place = _place(reader, key, scratch, self._wanted)
            staged = export_part(
                reader,
                place,
                self._wanted,
                ExportPart(),
                force_generative=self._force_generative,
            )
            pairs = [(file, self._target(file, scratch, key)) for file in staged]
            marks = []
            for file, target in pairs:
                refuse_links(self._out, target, f"exporting {key}")
                ours = self._ledger.is_ours(key, seal, self._wanted, target)
                if os.path.lexists(target) and not ours:
                    text = f"exporting {key}: {target} exists; remove it or choose another folder"
                    raise FileInTheWay(text, str(target))
                mark = signature_of(target if ours else file)
                assert mark is not None, "it was written a moment ago"
                marks.append((target, mark))
            self._ledger.add(key, seal, self._wanted, marks)
            for file, target in pairs:
                if os.path.lexists(target):
                    continue
                make_directory(target.parent)
                place_new(file, target)
            for folder in {target.parent for _, target in pairs}:
                sync_directory(folder)
        return [target for _, target in pairs]

    def _target(self, file: Path, scratch: Path, key: str) -> Path:
        """Return where a file belongs.

        Where another store of the archive gave a file of the same name (scene.tif beside
        scene.tif.gz), it goes into a folder called as the store.
        """
        target = self._out / file.relative_to(scratch)
        if target in self._written:
            return target.parent / Path(key).stem / target.name
        return target

    def _is_full(self) -> bool:
        return shutil.disk_usage(self._out).free < ROOM_BYTES

    def _kept(self) -> Iterator[Exported]:
        """Yield the files that are kept as one item, and what went wrong."""
        files: list[Path] = []
        problems: list[str] = []
        companions = {path for path in self._written if _is_companion(path, self._written)}
        images = self._written - companions
        for found in export_kept(self._archive, self._out, images, companions):
            if isinstance(found, Path):
                files.append(found)
            else:
                problems.append(str(found))
        yield Exported(FILES, tuple(files))
        yield from (Exported(FILES, problem=problem, state="failed") for problem in problems)


def _naming(key: str, text: str) -> str:
    """Return an error's text, with the store's name before it unless it is there."""
    return text if Path(key).name in text else f"{key}: {text}"


def _place(reader: StoreReader, key: str, out: Path, wanted: str | None) -> Path:
    """Return where a store of an archive is written to: a folder, or the store or file itself."""
    parts = [part for part in key.split("/") if part not in ("", ".", "..")]
    folder, stem = out.joinpath(*parts[:-1]), Path(parts[-1]).stem
    folder.mkdir(parents=True, exist_ok=True)
    kind = str(reader.origin["kind"])
    own = formats.format_of_kind(kind)
    if wanted is None and own is formats.ARRAY:
        wanted = str(reader.origin.get("format", "zarr"))
    chosen = chosen_export(kind, reader.path.name, folder, wanted)
    if chosen.is_file:
        return folder / f"{stem}{chosen.suffixes[0]}"
    is_own = own is not None and chosen in own.exports
    if formats.has_private_names(kind) or (chosen.write_slide is not None and not is_own):
        folder = folder / stem
        folder.mkdir(exist_ok=True)  # it may be called as a file: a.svs
    return folder


def _is_companion(path: Path, written: set[Path]) -> bool:
    """Whether a file was written beside a raster, and is called after it."""
    return any(
        path.name.endswith(ending) and path.with_name(path.name.removesuffix(ending)) in written
        for ending in COMPANIONS
    )
