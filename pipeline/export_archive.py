"""Write every store of an archive back below a folder, and the files that the archive keeps.

A store is written into a hidden folder first (``export_staging``), by one process or another, then
moved file by file to where it belongs, in the order of stores: what has its name is whole. A ledger
(``export_ledger``) tells a later run what is there already.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tilepress.errors import (
    FileInTheWay,
    StoreError,
    UsageError,
)
from tilepress.pipeline import formats
from tilepress.pipeline.catalogue.stores import find_stores, gone_stores
from tilepress.pipeline.endings import known_endings
from tilepress.pipeline.export_ledger import COMPANIONS, ExportLedger, signature_of
from tilepress.pipeline.export_staging import (
    RASTERS,
    HereStager,
    Staged,
    Stager,
    StoreTask,
    Wanted,
    seal_of,
)
from tilepress.pipeline.kept.check import export_kept
from tilepress.pipeline.kept.index import FILES, has_kept
from tilepress.pipeline.read.decoders import open_by
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.path import AnyPath, StoragePath, is_url, storage_path
from tilepress.pipeline.storage.placed import place_new, refuse_links
from tilepress.pipeline.storage.unfinished import sweep_unfinished, unfinished

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

    def to_json(self) -> dict[str, Any]:
        """Return it without names of files, which may be those of patients."""
        problem = {} if self.problem is None else {"problem": self.problem}
        return {"store": self.name, "state": self.state, "files": len(self.files), **problem}

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
    wanted: Wanted | str | None = None,
    *,
    stager: Callable[[Sequence[StoragePath]], Stager] = lambda _: HereStager(),
) -> Generator[Exported, None, None]:
    """Export every store of an archive below a folder, and the files that it keeps.

    A raster or an array goes where it lay below its source, a DICOM series into a folder called as
    its store, a file that is no image where it lay, too. Nothing is replaced; what fails, or is of
    a kind that the format is not for, is an item of the stream. What an earlier run into the same
    folder has written is not written again. ``stager`` returns who writes the stores that it is
    given; what comes of it is the same.

    Raises UsageError where there is no archive, no folder to write to, or nothing can be written as
    ``wanted``; StoreError where the folder cannot be written to.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    wanted = wanted if isinstance(wanted, Wanted) else Wanted(format=wanted)
    named_as_folder = str(out).endswith(("/", os.sep))
    where, out = storage_path(archive), Path(out)
    _check(wanted, where.name)
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
        with (
            ExportLedger.open(out) as ledger,
            contextlib.closing(_Run(where, out, wanted, ledger)) as run,
        ):
            with stager(stores) as workers:
                yield from run.exported(stores, workers)
            yield from run.beside()
            sweep_unfinished(out, waits=True)  # of a run that was killed just before this one
    except OSError as error:
        raise StoreError(f"exporting to {out}: {error.strerror or error}") from error


def _check(wanted: Wanted, name: str) -> None:
    """Raise UsageError for a format that nobody knows, and for what no file of it can be."""
    known = formats.exports()
    if wanted.format is None:
        return
    if wanted.format not in known:
        listed = ", ".join(known)
        text = f"format {wanted.format!r} is unknown, want one of {listed}"
        raise UsageError(f"exporting {name}: {text}")
    if wanted.transfer_syntax is not None and "transfer_syntax" not in known[wanted.format].cuts:
        raise UsageError(f"exporting {name}: {wanted.format} has no transfer syntax")
    if wanted.join_stacks and wanted.format not in RASTERS:
        raise UsageError(f"exporting {name}: bands are joined in {' or '.join(RASTERS)} only")


@dataclass(frozen=True, slots=True)
class _Todo:
    """A store, what is known of it before it is written, and where it is written first."""

    key: str
    number: int
    ended: Exported | None = None
    task: StoreTask | None = None
    way: str | None = None
    """How it is written, for the ledger."""
    scratch: contextlib.ExitStack | None = None


class _Run:
    """One run: the archive, the folder, and what has been written there so far."""

    def __init__(
        self, archive: StoragePath, out: Path, wanted: Wanted, ledger: ExportLedger
    ) -> None:
        self._archive, self._out, self._wanted, self._ledger = archive, out, wanted, ledger
        self._written: set[Path] = set()
        """Files of stores, by this run or an earlier one."""
        self._waiting: list[_Todo] = []
        """What was taken up and is not placed, in order."""
        self._stopped = False

    def close(self) -> None:
        """Remove what was not placed."""
        for todo in self._waiting:
            if todo.scratch is not None:
                todo.scratch.close()

    def exported(self, stores: Sequence[StoragePath], stager: Stager) -> Iterator[Exported]:
        """Yield what became of each store, in their order; the rest is left where no room is."""
        for staged in stager.staged(self._tasks(stores)):
            todo = self._waiting[0]
            done = self._placed(todo, staged, len(stores))
            if todo.scratch is not None:
                todo.scratch.close()
            self._waiting.pop(0)
            self._written.update(done.files)
            self._stopped = done.stops
            yield done
            if done.stops:
                return

    def beside(self) -> Iterator[Exported]:
        """Yield the stores that are gone, and the files that are no images."""
        if self._stopped:
            return
        for gone, text in gone_stores(self._archive):
            key = gone.relative_to(self._archive)
            yield Exported(key, problem=f"exporting {key}: {text}", state="failed")
        if has_kept(self._archive):
            yield from self._kept()

    def _tasks(self, stores: Sequence[StoragePath]) -> Iterator[StoreTask | None]:
        for number, store in enumerate(stores, 1):
            todo = self._todo(store, number, len(stores))
            self._waiting.append(todo)
            yield todo.task

    def _todo(self, store: StoragePath, number: int, total: int) -> _Todo:
        """Look whether a store has to be written, whatever goes wrong."""
        key, wanted = store.relative_to(self._archive), self._wanted
        try:
            reader = open_by(
                store,
                decoder=wanted.decoder,
                force_generative=wanted.force_generative,
                any_codec=True,
            )
            seal = seal_of(reader)
            _, _, way = wanted.of(reader)
            files = self._ledger.is_done(key, seal, way)
            if files is not None:
                ended = Exported(key, tuple(files), None, "there", number, total)
                return _Todo(key, number, ended)
            stack = contextlib.ExitStack()
            scratch = stack.enter_context(unfinished(self._out / "store", folder=True))
        except Exception as error:  # the rest of the archive goes on, whatever a store holds
            return _Todo(key, number, self._failed(key, Staged.of_error(key, error), number, total))
        task = StoreTask(store=str(store), key=key, seal=seal, scratch=str(scratch), wanted=wanted)
        return _Todo(key, number, task=task, way=way, scratch=stack)

    def _placed(self, todo: _Todo, staged: Staged | None, total: int) -> Exported:
        """Move what was written to where it belongs."""
        if todo.ended is not None:
            return todo.ended
        assert staged is not None, "it was written by somebody"
        assert todo.task is not None, "there was something to write"
        if staged.problem is not None:
            return self._failed(todo.key, staged, todo.number, total)
        try:
            files = self._place(todo.task, todo.way, [Path(file) for file in staged.files])
        except Exception as error:  # the rest of the archive goes on
            failed = Staged.of_error(todo.key, error)
            return self._failed(todo.key, failed, todo.number, total)
        return Exported(todo.key, tuple(files), None, "written", todo.number, total)

    def _failed(self, key: str, found: Staged, number: int, total: int) -> Exported:
        is_full = found.state == "failed" and (found.is_full or self._is_full())
        if is_full:
            text = f"exporting {key}: there is no room left in {self._out}"
            return Exported(key, (), text, "failed", number, total, stops=True)
        return Exported(key, (), found.problem, found.state, number, total)

    def _place(self, task: StoreTask, way: str | None, staged: Sequence[Path]) -> list[Path]:
        """Move a store's files from their scratch folder to where they belong."""
        key, seal = task.key, task.seal
        pairs = [(file, self._target(file, Path(task.scratch), key)) for file in staged]
        marks = []
        for file, target in pairs:
            refuse_links(self._out, target, f"exporting {key}")
            ours = self._ledger.is_ours(key, seal, way, target)
            if os.path.lexists(target) and not ours:
                text = f"exporting {key}: {target} exists; remove it or choose another folder"
                raise FileInTheWay(text, str(target))
            mark = signature_of(target if ours else file)
            assert mark is not None, "it was written a moment ago"
            marks.append((target, mark))
        self._ledger.add(key, seal, way, marks)
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


def _is_companion(path: Path, written: set[Path]) -> bool:
    """Whether a file was written beside a raster, and is called after it."""
    return any(
        path.name.endswith(ending) and path.with_name(path.name.removesuffix(ending)) in written
        for ending in COMPANIONS
    )
