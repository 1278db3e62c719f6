"""Ask dciodvfy (dicom3tools) what is wrong with exported DICOM files, and right in their sources.

Every store of DICOM files is exported, and every instance checked beside the one that it was made
of: an error counts where the source has not as many of it. Instances that are their sources byte by
byte need no check.

    python -m tilepress.workflows.bench.conformance FOLDER... [--archives DIR] [--tier standard]
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pydicom

from tilepress.errors import TilepressError
from tilepress.pipeline.export import export
from tilepress.workflows.bench.corpus import Corpus, compressed, packed_in
from tilepress.workflows.bench.other_dicom import instance_of

__all__ = ["Conformance", "check", "errors_in", "main"]


@dataclass(slots=True)
class Conformance:
    """What was exported, and what dciodvfy says of it."""

    stores: int = 0
    instances: int = 0
    equal: int = 0
    """Instances that are their sources byte by byte."""
    worse: int = 0
    """Instances with errors that their sources have not."""
    errors: Counter[str] = field(default_factory=Counter)
    """These errors, by instances."""
    failed: list[str] = field(default_factory=list)
    """Stores that could not be exported, and why."""

    def lines(self) -> Iterator[str]:
        yield (
            f"{self.stores} stores, {self.instances} instances: {self.equal} equal to their "
            f"sources byte by byte, {self.worse} with errors that their sources have not"
        )
        yield from (f"{count:5} {error}" for error, count in self.errors.most_common())
        yield from self.failed


def errors_in(path: Path) -> Counter[str]:
    """Return the errors that dciodvfy finds in a file."""
    done = subprocess.run(  # noqa: S603
        ["dciodvfy", str(path)],  # noqa: S607
        capture_output=True, text=True, errors="replace", check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    return Counter(line.strip() for line in lines if line.startswith("Error"))


def check(corpus: Corpus, found: Conformance) -> None:
    """Export the DICOM stores of an archive, and add up what is wrong."""
    sources = {}
    stores: set[Path] = set()
    for path, made in corpus.stores.items():
        uid = None if packed_in(path) else instance_of(path)
        if uid is not None:
            sources[uid] = path
            stores.update(made)
    for store in sorted(stores):
        found.stores += 1
        with tempfile.TemporaryDirectory(prefix="tilepress-export-") as folder:
            try:
                export(store, Path(folder, "out"), "dicom")
            except TilepressError as error:
                found.failed.append(f"{store.name}: {error}")
                continue
            for path in sorted(Path(folder).rglob("*")):
                if path.is_file():
                    _check_instance(path, _source_of(path, sources), found)


def _source_of(path: Path, sources: Mapping[str, Path]) -> Path | None:
    """Return the file of the same instance, else that of one which it says it was made of."""
    uid = instance_of(path)
    if uid is not None and uid in sources:
        return sources[uid]
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True)
        named = [
            str(one.ReferencedSOPInstanceUID) for one in dataset.get("SourceImageSequence", [])
        ]
    except Exception:  # whatever pydicom raises on a header that it cannot read
        return None
    return next((sources[one] for one in named if one in sources), None)


def _check_instance(path: Path, source: Path | None, found: Conformance) -> None:
    found.instances += 1
    if source is not None and source.read_bytes() == path.read_bytes():
        found.equal += 1
        return
    new = errors_in(path) - (Counter() if source is None else errors_in(source))
    if new:
        found.worse += 1
        found.errors.update(set(new))


def main(arguments: Sequence[str] | None = None) -> int:
    """Compress, export, check, and print; 1 where something became worse."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--tier", default="standard")
    given = parser.parse_args(arguments)
    if shutil.which("dciodvfy") is None:
        sys.stderr.write("dciodvfy is not installed: it comes with dicom3tools\n")
        return 2
    found = Conformance()
    with contextlib.ExitStack() as stack:
        archives = given.archives or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for folder in given.folders:
            check(compressed(folder, archives / folder.resolve().name, given.tier), found)
    sys.stdout.write("\n".join(found.lines()) + "\n")
    return int(bool(found.worse or found.failed))


if __name__ == "__main__":
    raise SystemExit(main())
