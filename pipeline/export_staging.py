"""Write one store of an archive into a folder of its own, in whichever process.

From there its files are moved to where they belong by the one process that keeps the ledger.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Literal, Protocol, Self

from tilepress.codecs.coder import BASE
from tilepress.errors import NO_ROOM, TilepressError, UsageError, describe_error
from tilepress.pipeline import formats
from tilepress.pipeline.endings import chosen_export
from tilepress.pipeline.export import export_part
from tilepress.pipeline.image.format import Export, ExportPart
from tilepress.pipeline.read.decoders import open_by
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader

__all__ = [
    "RASTERS",
    "HereStager",
    "Staged",
    "Stager",
    "StoreTask",
    "Wanted",
    "naming",
    "seal_of",
    "stage_store",
]

RASTERS = ("geotiff", "cog")
"""What a stack may become one of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What stores of an archive are written as."""

    format: str | None = None
    """None: as what each was made of."""
    transfer_syntax: str | None = None
    """What the frames of DICOM files are coded as; None as they came. Of other files nothing."""
    join_stacks: bool = False
    """Whether bands that came in files of their own become one raster."""
    decoder: str = BASE
    force_generative: bool = False

    def of(self, reader: StoreReader) -> tuple[str | None, ExportPart, str | None]:
        """Return format, parts and, for the ledger, how a store is written."""
        kind = str(reader.origin["kind"])
        own = formats.format_of_kind(kind)
        wanted = self.format
        if wanted is None and own is formats.ARRAY:
            wanted = str(reader.origin.get("format", "zarr"))
        chosen = chosen_export(kind, reader.path.name, Path(), wanted)
        way, part = self.format, ExportPart()
        if self.transfer_syntax is not None and "transfer_syntax" in chosen.cuts:
            if own is not None and chosen in own.exports:
                part = ExportPart(transfer_syntax=self.transfer_syntax)
                way = f"{way or chosen.name} {self.transfer_syntax}"
            elif own is not None and own.slide_to_write(reader) is not None:
                text = "frames of what came as no DICOM are not coded anew; leave out the syntax"
                raise UsageError(f"exporting {reader.path.name}: {text}")
        if self.joins(kind, chosen):
            way = f"{way or chosen.name} joined"
        return wanted, part, way

    def joins(self, kind: str, chosen: Export) -> bool:
        """Whether a store of this kind is one file of what came as several."""
        own = formats.format_of_kind(kind)
        stacking = None if own is None else own.stacking
        is_stack = stacking is not None and stacking.kind == kind
        return self.join_stacks and is_stack and chosen.name in RASTERS


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreTask:
    """A store that is to be written; picklable."""

    store: str
    """Path or URL."""
    key: str
    """What it is called below its archive."""
    seal: str
    """See ``seal_of``: what was found there when the task was made."""
    scratch: str
    """An empty folder; what an earlier try left there goes."""
    wanted: Wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class Staged:
    """What became of a task."""

    files: tuple[str, ...] = ()
    """What was written, in the scratch folder."""
    state: Literal["written", "left out", "failed"] = "written"
    problem: str | None = None
    is_full: bool = False
    """Whether there was no room."""

    @classmethod
    def of_error(cls, key: str, error: Exception) -> Staged:
        """Return what an error is to whoever exports the archive."""
        if isinstance(error, UsageError):
            return cls(state="left out", problem=naming(key, str(error)))
        kind, text = describe_error(error)
        known = isinstance(error, TilepressError)
        text = naming(key, text) if known else f"exporting {key}: {text}"
        return cls(state="failed", problem=text, is_full=kind == NO_ROOM)


class Stager(Protocol):
    """Has tasks done, here or by other processes."""

    def staged(self, tasks: Iterable[StoreTask | None]) -> Iterator[Staged | None]:
        """Yield what became of each task, in their order; None of None.

        Takes a bounded number of them ahead.
        """
        ...

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...


class HereStager:
    """Has tasks done one after another in this process."""

    def staged(self, tasks: Iterable[StoreTask | None]) -> Iterator[Staged | None]:
        for task in tasks:
            yield None if task is None else stage_store(task)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave nothing: there is nothing to end."""


def seal_of(reader: StoreReader) -> str:
    """Return what tells the samples that a reader gives from those of any other store."""
    seal = sha256_hex(reader.root_document)
    # another decoder gives other samples of the same store
    return seal if reader.decoder_note is None else f"{seal} {reader.decoder}"


def stage_store(task: StoreTask) -> Staged:
    """Write a store into its scratch folder, whatever goes wrong."""
    wanted, scratch = task.wanted, Path(task.scratch)
    try:
        for left in scratch.iterdir():
            shutil.rmtree(left) if left.is_dir() and not left.is_symlink() else left.unlink()
        reader = open_by(
            storage_path(task.store),
            decoder=wanted.decoder,
            force_generative=wanted.force_generative,
            any_codec=True,
        )
        if seal_of(reader) != task.seal:
            text = "another process has written it meanwhile; run the same line again"
            return Staged(state="failed", problem=f"exporting {task.key}: {text}")
        format_, part, _ = wanted.of(reader)
        files = export_part(
            reader,
            _place(reader, task.key, scratch, format_, wanted),
            format_,
            part,
            force_generative=wanted.force_generative,
        )
    except Exception as error:  # the rest of the archive goes on, whatever a store holds
        return Staged.of_error(task.key, error)
    return Staged(files=tuple(map(str, files)))


def naming(key: str, text: str) -> str:
    """Return an error's text, with the store's name before it unless it is there."""
    return text if Path(key).name in text else f"{key}: {text}"


def _place(reader: StoreReader, key: str, out: Path, format_: str | None, wanted: Wanted) -> Path:
    """Return where a store of an archive is written to: a folder, or the store or file itself."""
    parts = [part for part in key.split("/") if part not in ("", ".", "..")]
    folder, stem = out.joinpath(*parts[:-1]), Path(parts[-1]).stem
    folder.mkdir(parents=True, exist_ok=True)
    kind = str(reader.origin["kind"])
    own = formats.format_of_kind(kind)
    chosen = chosen_export(kind, reader.path.name, folder, format_)
    if chosen.is_file or wanted.joins(kind, chosen):
        return folder / f"{stem}{chosen.suffixes[0]}"
    is_own = own is not None and chosen in own.exports
    if formats.has_private_names(kind) or (chosen.write_slide is not None and not is_own):
        folder = folder / stem
        folder.mkdir(exist_ok=True)  # it may be called as a file: a.svs
    return folder
