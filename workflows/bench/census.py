"""Count, file by file, what an archive took, and whether other readers find the same samples.

Every folder is compressed by the command, every store read through Zarr, and every file read by
tifffile, GDAL or pydicom. A file is *equal* if all planes that another reader gives of it are
planes of the stores that it is in, bit by bit.

    python -m tilepress.workflows.bench.census FOLDER... [--archives DIR] [--tier standard]

With ``--archives`` the archives stay below a folder, so that the next run has little to do.
"""

from __future__ import annotations

import argparse
import contextlib
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from pathlib import Path

from tilepress.errors import TilepressError
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.bench.corpus import Corpus, Refusal, compressed
from tilepress.workflows.bench.other_dicom import instance_of
from tilepress.workflows.bench.other_readers import Digest, OtherReaders, Reading, digests, missing

__all__ = ["Census", "Verdict", "count", "main", "reason_of", "table"]


class Verdict(StrEnum):
    """What became of a file."""

    EQUAL = "equal"
    EQUAL_OTHERWISE = "equal in another reading"
    """As GDAL reads it where tifffile reads otherwise, or the first image of several alone."""
    UNCOMPARED = "taken, no other reader"
    REFUSED = "refused"
    KEPT = "kept as a file"
    COPY = "a copy of another"
    """DICOM of an instance that is in the store already, which a remark of the store counts."""
    LEFT_OUT = "left out"
    WRONG = "wrong"
    CRASHED = "crashed"


UNFORESEEN = ("internal", "killed")
"""Kinds of failures that nobody should see."""


@dataclass(frozen=True, slots=True)
class Census:
    """The counts of one folder."""

    name: str
    counts: Counter[Verdict] = field(default_factory=Counter)
    reasons: Counter[str] = field(default_factory=Counter)
    """Why files were refused."""
    told: list[str] = field(default_factory=list)
    """Lines on single files: those that are wrong or crashed, that were left out, or that no other
    reader took."""

    def add(self, verdict: Verdict, path: Path, why: str) -> None:
        self.counts[verdict] += 1
        if verdict is Verdict.REFUSED:
            self.reasons[why] += 1
        elif verdict in (Verdict.UNCOMPARED, Verdict.LEFT_OUT, Verdict.WRONG, Verdict.CRASHED):
            self.told.append(f"{verdict}: {path}{': ' if why else ''}{why}")


def count(corpus: Corpus, readers: OtherReaders) -> Census:
    """Judge every file of a folder."""
    census = Census(corpus.folder.name)
    if corpus.unforeseen is not None:
        census.add(Verdict.CRASHED, corpus.folder, corpus.unforeseen)
    for path in corpus.files:
        census.add(*_judged(path, corpus, readers))
    return census


def _judged(path: Path, corpus: Corpus, readers: OtherReaders) -> tuple[Verdict, Path, str]:
    refusals = corpus.refused.get(path, ())
    crash = next((one for one in refusals if one.kind in UNFORESEEN), None)
    if crash is not None:
        return Verdict.CRASHED, path, crash.reason
    if path in corpus.stores:
        return _compared(path, corpus.stores[path], readers)
    if refusals:
        return Verdict.REFUSED, path, reason_of(refusals[0], path)
    if path in corpus.kept:
        same = sha256_hex(path.read_bytes()) == corpus.kept[path]
        return (Verdict.KEPT, path, "") if same else (Verdict.WRONG, path, "kept with other bytes")
    uid = instance_of(path)
    if uid is not None:
        return _copy(path, uid, corpus)
    return Verdict.LEFT_OUT, path, ""


def _copy(path: Path, uid: str, corpus: Corpus) -> tuple[Verdict, Path, str]:
    """Tell what became of the instance that a DICOM file is a copy of, if it is one."""
    said = set(corpus.with_copies)
    for other, stores in corpus.stores.items():
        if not said.isdisjoint(stores) and instance_of(other) == uid:
            return Verdict.COPY, path, ""
    for other, refusals in corpus.refused.items():
        if instance_of(other) == uid:
            return Verdict.REFUSED, path, reason_of(refusals[0], other)
    return Verdict.LEFT_OUT, path, ""


def _compared(
    path: Path, stores: Sequence[Path], readers: OtherReaders
) -> tuple[Verdict, Path, str]:
    found = readers.read(path)
    given = [reading for reading in found if reading.planes]
    if not given:
        return Verdict.UNCOMPARED, path, _errors(found)
    try:
        equal = [reading.reader for reading in given if _is_in(stores, reading)]
    except TilepressError as error:
        return Verdict.WRONG, path, str(error)
    if not equal:
        return Verdict.WRONG, path, f"not as {', '.join(one.reader for one in given)} read it"
    whole = any(reading.is_whole for reading in given if reading.reader in equal)
    return (Verdict.EQUAL if whole else Verdict.EQUAL_OTHERWISE), path, ", ".join(equal)


def _errors(found: Sequence[Reading]) -> str:
    return "; ".join(dict.fromkeys(f"{one.reader}: {one.error}" for one in found))


def _is_in(stores: Sequence[Path], reading: Reading) -> bool:
    have = frozenset[Digest]().union(*(_planes_of(store, reading.tile) for store in stores))
    return have.issuperset(reading.planes)


@lru_cache(maxsize=256)
def _planes_of(store: Path, tile: tuple[int, int] | None) -> frozenset[Digest]:
    """Return digests of all planes of a store: its image at every level, and its mask."""
    reader = StoreReader.open(store)
    found: set[Digest] = set()
    for number in range(reader.level_count):
        level = reader.at_level(number)
        found.update(digests(level.read(_whole(level.shape)), tile))
    if reader.has_mask:
        mask = reader.read_mask(_whole(reader.shape[-2:]))
        found.update([*digests(mask, tile), *digests(mask != 0, tile)])
    return frozenset(found)


def _whole(shape: tuple[int, ...]) -> Box:
    return Box((0,) * len(shape), shape)


def reason_of(refusal: Refusal, path: Path) -> str:
    """Return why something was refused, without what is of this file alone: names and numbers."""
    text = refusal.reason
    for name in (str(path), path.name):
        text = text.replace(name, "…")
    text = re.sub(r",? in (file #?\d+|the file)( of \S+)?( \(frame \d+\))?$", "", text)
    text = re.sub(r"file #\d+", "…", text)
    return re.sub(r"(?<![\w.])-?\d[\d.]*", "N", text)


def table(found: Sequence[Census]) -> Iterator[str]:
    """Yield the lines of a table in Markdown, the reasons, and what there is to say of files."""
    yield f"| folder | files | {' | '.join(Verdict)} |"
    yield "|---" * (len(Verdict) + 2) + "|"
    total = Census("all of them")
    for one in found:
        total.counts.update(one.counts)
        total.reasons.update(one.reasons)
    for one in [*found, total] if len(found) > 1 else found:
        numbers = " | ".join(str(one.counts[verdict]) for verdict in Verdict)
        yield f"| {one.name} | {one.counts.total()} | {numbers} |"
    yield ""
    for reason, number in total.reasons.most_common():
        yield f"{number:5} refused: {reason}"
    for one in found:
        yield from one.told


def main(arguments: list[str] | None = None) -> int:
    """Count, and print; 1 where something is wrong or crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--tier", default="standard")
    given = parser.parse_args(arguments)
    for line in missing():
        sys.stderr.write(f"{line}\n")
    found = []
    with contextlib.ExitStack() as stack:
        archives = given.archives or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        readers = stack.enter_context(OtherReaders())
        for folder in given.folders:
            corpus = compressed(folder, archives / folder.resolve().name, given.tier)
            found.append(count(corpus, readers))
    sys.stdout.write("\n".join(table(found)) + "\n")
    return int(any(one.counts[Verdict.WRONG] + one.counts[Verdict.CRASHED] for one in found))


if __name__ == "__main__":
    raise SystemExit(main())
