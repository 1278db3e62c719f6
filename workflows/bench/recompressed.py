"""What archives make of files that came compressed with loss, and whether those come back.

A row is a store that keeps the JPEG, JPEG 2000, JPEG XL or WebP streams of its files. Stores whose
chunks were smaller as samples, and files that are in the archive twice, have none.

    python -m tilepress.workflows.bench.recompressed FOLDER... [--archives DIR] [--tier standard]

With ``--archives`` the archives stay below a folder, so that the next run has little to do.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tilepress.errors import TilepressError
from tilepress.pipeline.export import export
from tilepress.pipeline.geotiff.header import read_header, read_pages
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.workflows.bench.corpus import Corpus, compressed, packed_in

__all__ = ["Row", "main", "rows", "table"]

Blocks = tuple[bytes, tuple[bytes | None, ...]]
"""Tables and streams of a page."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One store, and the files that it was made of."""

    name: str
    file_bytes: int
    chunk_bytes: int
    """Of all shards: records and their index."""
    store_bytes: int
    """Of all objects: shards, documents, coordinates, headers."""
    back: str
    """What export gives byte for byte: "file", "streams" (of a file that is laid out otherwise),
    or why not."""

    @property
    def cells(self) -> str:
        """The row in Markdown."""
        change = 100 * (self.store_bytes / self.file_bytes - 1)
        chunks = 100 * (self.chunk_bytes / self.file_bytes - 1)
        sizes = (self.file_bytes, self.store_bytes, self.chunk_bytes)
        numbers = [f"{size:,}".replace(",", " ") for size in (*sizes, sizes[1] - sizes[2])]
        return " | ".join([self.name, *numbers, f"{chunks:+.1f} %", f"{change:+.1f} %", self.back])


def rows(corpora: Iterable[Corpus]) -> Iterator[Row]:
    """Yield a row for every store that keeps streams."""
    seen = set()
    for corpus in corpora:
        for store, files in _files_of(corpus.stores).items():
            if any(packed_in(file) or not file.is_file() for file in files):
                continue
            reader = StoreReader.open(store)
            if not _keeps_streams(reader):
                continue
            content = frozenset(sha256_hex(file.read_bytes()) for file in files)
            if content not in seen:
                seen.add(content)
                yield _row(reader, store, files)


def _files_of(stores: Mapping[Path, Sequence[Path]]) -> dict[Path, list[Path]]:
    found = defaultdict(list)
    for file in sorted(stores):
        for store in stores[file]:
            found[store].append(file)
    return found


def _keeps_streams(reader: StoreReader) -> bool:
    """Whether any chunk of the full resolution keeps its streams."""
    grid = reader.grid("image")
    counts = [-(-size // side) for size, side in zip(grid.shape, grid.chunk, strict=True)]
    return any(reader.keeps_streams(index) for index in np.ndindex(*counts))


def _row(reader: StoreReader, store: Path, files: Sequence[Path]) -> Row:
    more = "" if len(files) == 1 else f" and {len(files) - 1} more"
    return Row(
        name=f"{files[0].name}{more}",
        file_bytes=sum(file.stat().st_size for file in files),
        chunk_bytes=int(reader.statement["stored_bytes"]),
        store_bytes=sum(file.stat().st_size for file in store.rglob("*") if file.is_file()),
        back=_back(store, files),
    )


def _back(store: Path, files: Sequence[Path]) -> str:
    with tempfile.TemporaryDirectory(prefix="tilepress-export-") as folder:
        try:
            written = export(store, Path(folder, "out"))
        except TilepressError as error:
            return f"no: {error}"
        made = [path for one in written for path in _within(one)]
        if {one.read_bytes() for one in files} <= {one.read_bytes() for one in made}:
            return "file"
        want = [page for one in files for page in _blocks(one)]
        found = [page for one in made for page in _blocks(one)]
        return "streams" if found and all(page in want for page in found) else "samples"


def _within(path: Path) -> list[Path]:
    return [one for one in path.rglob("*") if one.is_file()] if path.is_dir() else [path]


def _blocks(path: Path) -> Iterator[Blocks]:
    """Yield the streams of each page of a TIFF file."""
    for page in read_pages(path).found:
        blocks = StreamBlocks.of(path, read_header(path, page))
        if blocks is not None:
            grid = blocks.grid
            planes = range(grid.offsets.size // (grid.down * grid.across))
            found = blocks.streams(planes, range(grid.down), range(grid.across))
            yield found.tables, found.streams


def table(found: Sequence[Row]) -> Iterator[str]:
    """Yield the lines of a table in Markdown."""
    head = ("file", "bytes", "store", "chunks", "documents", "chunks", "store", "comes back")
    yield f"| {' | '.join(head)} |"
    yield "|---" * len(head) + "|"
    whole = {row.back for row in found} <= {"file", "streams"}
    total = Row(
        name=f"these {len(found)}",
        file_bytes=sum(row.file_bytes for row in found),
        chunk_bytes=sum(row.chunk_bytes for row in found),
        store_bytes=sum(row.store_bytes for row in found),
        back="all" if whole else "not all",
    )
    for row in [*found, total] if found else ():
        yield f"| {row.cells} |"


def main(arguments: list[str] | None = None) -> int:
    """Compress, export, and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--archives", type=Path)
    parser.add_argument("--tier", default="standard")
    given = parser.parse_args(arguments)
    with contextlib.ExitStack() as stack:
        archives = given.archives or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        corpora = (
            compressed(folder, archives / folder.resolve().name, given.tier)
            for folder in given.folders
        )
        sys.stdout.write("\n".join(table(list(rows(corpora)))) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
