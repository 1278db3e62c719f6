"""Look at files and objects: what is each, by its content?"""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

from tilepress.errors import failure_of
from tilepress.pipeline import formats
from tilepress.pipeline.find.walk import Batch, Failure, InputFile, printable_name, unsupported
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import HEAD_BYTES, Candidate, Certainty, FileImages, Format
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import look_up, reader
from tilepress.pipeline.storage.regular import RefusedFile, open_regular

__all__ = ["Looked", "look_at_all", "no_image"]

REMOTE_LOOKS = 16
"""Objects of a bucket that are looked at at the same time: each waits for answers mostly."""


@dataclass(frozen=True, slots=True)
class Looked:
    """What one file is."""

    file: InputFile
    size: int | None
    """In bytes; None where nobody has counted: a Zarr array of many files."""
    format: Format | None
    """None where it is no image."""
    content: FileImages = field(default_factory=FileImages)
    head: bytes = b""
    """Its first bytes, where they were read."""

    @property
    def packed(self) -> str | None:
        """How a file is packed; None where it is not."""
        return next((how for mark, how in _PACKED if self.head.startswith(mark)), None)


def look_at_all(batch: Batch, looks: Looks) -> Iterator[Looked | Failure]:
    """Look at every file in order; at those of a bucket several at a time."""
    if not any(is_url(file.path) for file in batch.files):
        yield from (_look(file, looks) for file in batch.files)
        return
    pool = ThreadPoolExecutor(REMOTE_LOOKS, thread_name_prefix="look")
    try:
        yield from pool.map(lambda file: _look(file, looks, batch), batch.files)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(file: InputFile, looks: Looks, batch: Batch | None = None) -> Looked | Failure:
    """Tell what a file is, by its content."""
    path = printable_name(file.path)
    try:
        if is_url(file.path):
            return _look_at_object(file, looks, batch)
        return _look_at_file(file, looks)
    except RefusedFile as error:
        return unsupported(path, error.strerror or "it is refused")
    except Exception as error:  # the edge of an item, as above
        return Failure(path, failure_of(f"opening {path}", error))


def _look_at_file(file: InputFile, looks: Looks) -> Looked | Failure:
    path = Path(file.path)
    with open_regular(path) as opened:  # to open a pipe would wait for a writer
        size = os.fstat(opened.fileno()).st_size
        head = opened.read(HEAD_BYTES)
        found = Candidate(path=file.path, size=size, head=head, stream=opened)
        return _looked(file, found, looks)


def _look_at_object(file: InputFile, looks: Looks, batch: Batch | None) -> Looked | Failure:
    """Look at an object by ranged reads."""
    source = reader(file.remote or look_up(file.path))
    candidate = Candidate(
        path=file.path,
        size=source.size,
        head=source.read(0, HEAD_BYTES),
        stream=source.stream(),
        remote=source.file,
        neighbours=None if batch is None else batch.companions,
    )
    return _looked(replace(file, remote=source.file), candidate, looks)


def _looked(file: InputFile, candidate: Candidate, looks: Looks) -> Looked | Failure:
    """Look at a file. One that cannot be read may still be known to be called after a patient."""
    try:
        return Looked(file, candidate.size, *looks.look(candidate), candidate.head[:16])
    except Exception as error:  # the edge of an item, as above
        path = printable_name(file.path)
        private = any(
            format_.private_names and format_.sniff(candidate) >= Certainty.MARKED
            for format_ in formats.FORMATS
        )
        return Failure(path, failure_of(f"opening {path}", error), private=private)


def no_image(looked: Looked) -> str:
    """Say what a file is that is of no format."""
    if looked.packed is not None:
        return f"it is packed ({looked.packed}): unpack it first"
    return f"it is not an image that tilepress takes ({formats.names()})"


_PACKED = (
    (b"\x1f\x8b", "gzip"),
    (b"PK\x03\x04", "a ZIP archive"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\0", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
)
"""What packed files begin with."""
