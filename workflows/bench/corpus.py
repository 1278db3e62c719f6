"""What became of every file of a folder that was compressed: a store, a reason, a copy, or nothing.

The command does it as anybody would run it, into an archive that stays if it is asked to: a run
over what is there already takes seconds.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tilepress.pipeline.kept.index import FolderIndex, folder_indexes
from tilepress.pipeline.storage.path import storage_path

__all__ = ["Corpus", "Refusal", "compressed", "packed_in"]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file, or one of its images, is no store."""

    kind: str
    reason: str
    """One line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """One folder, and the archive that was made of it."""

    folder: Path
    archive: Path
    stores: Mapping[Path, tuple[Path, ...]]
    """The stores that a file is in, by file; what is in a packed file lies below its path."""
    refused: Mapping[Path, tuple[Refusal, ...]]
    kept: Mapping[Path, str]
    """SHA-256 of files that are kept as they are."""
    with_copies: tuple[Path, ...] = ()
    """Stores that say that copies of their instances were left out."""
    unforeseen: str | None = None
    """How the command ended, if it did as no command should."""

    @property
    def files(self) -> Iterator[Path]:
        """Yield every file of the folder, sorted; of packed ones what is known to be in them.

        A Zarr array is one, though it is a folder.
        """
        below = defaultdict(list)
        folders = set()
        for path in {*self.stores, *self.refused}:
            packed = packed_in(path)
            if packed is not None:
                below[packed].append(path)
            elif path.is_dir():
                folders.add(path)
        for path in sorted(self.folder.rglob("*")):
            if path in folders:
                yield path
            elif path.is_file() and folders.isdisjoint(path.parents):
                yield from sorted(below.get(path, [path]))


def packed_in(path: Path) -> Path | None:
    """Return the packed file that a path leads into; None for a file of its own."""
    return next((parent for parent in path.parents if parent.is_file()), None)


@dataclass(slots=True)
class _Table:
    """What the names in a report stand for, which tell no paths of patients."""

    numbers: dict[str, Path] = field(default_factory=dict)
    stores: dict[str, tuple[Path, ...]] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> _Table:
        table = cls()
        for line in path.read_text().splitlines() if path.is_file() else ():
            row = json.loads(line)
            if "number" in row:
                table.numbers[f"file #{row['number']:08}"] = Path(row["path"])
            else:
                files = tuple(Path(row["folder"], name) for name in row["files"])
                table.stores[row["store"]] = files
        return table

    def files(self, source: str) -> tuple[Path, ...]:
        if source in self.numbers:
            return (self.numbers[source],)
        return self.stores.get(source, (Path(source),))


def compressed(folder: Path, archive: Path, tier: str = "standard") -> Corpus:
    """Compress a folder; return what became of its files."""
    folder, archive = folder.resolve(), archive.resolve()
    archive.mkdir(parents=True, exist_ok=True)
    told = archive.with_name(f"{archive.name}.report.json")
    told.unlink(missing_ok=True)
    status, said = _compress(folder, archive, tier, told)
    if not told.is_file():
        raise RuntimeError(f"compressing {folder}: it ended with {status}: {said}")
    table = _Table.read(told.with_name(f"{told.name}.paths.jsonl"))
    report = json.loads(told.read_text())
    return Corpus(
        folder=folder,
        archive=archive,
        stores=_stores(report, table),
        refused=_refused(report, table),
        kept=_kept(folder, archive),
        with_copies=tuple(
            Path(image["store"])
            for image in report["images"]
            if any("were left out" in remark for remark in image["remarks"])
        ),
        unforeseen=None if status in (0, 1) else f"exit status {status}",
    )


def _compress(folder: Path, archive: Path, tier: str, report: Path) -> tuple[int, str]:
    """Run the command; return its exit status and what it said."""
    line = [sys.executable, "-m", "tilepress", "compress", str(folder), str(archive)]
    done = subprocess.run(  # noqa: S603  # our own command
        [*line, "--tier", tier, "--report", str(report)],
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stderr


def _stores(report: Mapping[str, Any], table: _Table) -> dict[Path, tuple[Path, ...]]:
    found: dict[Path, list[Path]] = defaultdict(list)
    for image in report["images"]:
        for path in table.files(image["source"]):
            found[path].append(Path(image["store"]))
    return {path: tuple(stores) for path, stores in found.items()}


def _refused(report: Mapping[str, Any], table: _Table) -> dict[Path, tuple[Refusal, ...]]:
    found: dict[Path, list[Refusal]] = defaultdict(list)
    for failure in [*report["failures"], *report.get("excluded", ())]:
        for path in table.files(failure["source"]):
            found[path].append(Refusal(failure["kind"], failure["message"]))
    return {path: tuple(reasons) for path, reasons in found.items()}


def _kept(folder: Path, archive: Path) -> dict[Path, str]:
    found = {}
    for index in folder_indexes(storage_path(archive)):
        if not isinstance(index, FolderIndex):
            raise index
        for file in index.files.values():
            found[folder / index.relative(file)] = file.sha256
    return found
