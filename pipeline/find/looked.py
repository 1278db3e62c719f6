"""Look at files and objects: what is each, by its content?"""

from __future__ import annotations

import contextlib
import os
from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from tilepress.errors import SourceError, failure_of
from tilepress.pipeline import formats
from tilepress.pipeline.find.companions import is_passed_over
from tilepress.pipeline.find.walk import Batch, Failure, InputFile, printable_name, unsupported
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import HEAD_BYTES, Candidate, Certainty, FileImages, Format
from tilepress.pipeline.image.names import scene_of
from tilepress.pipeline.packed import unpack
from tilepress.pipeline.packed.gzip_file import gzip_head, gzip_size, unpacked_name
from tilepress.pipeline.storage.path import is_url
from tilepress.pipeline.storage.ranges import RemoteFile, look_up, reader
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
    packing: str | None = None
    """Of what is no image: how it is packed, where we unpack such; see ``packing_of``."""

    @property
    def is_packed_folder(self) -> bool:
        """Whether there are files in it that are looked at."""
        return self.packing in ("zip", "tar", "tar.gz")

    @property
    def packed(self) -> str | None:
        """How a file is packed; None where it is not."""
        found = next((how for mark, how in _PACKED if self.head.startswith(mark)), None)
        return "tar" if found is None and self.packing == "tar" else found


def look_at_all(
    batch: Batch, looks: Looks, max_expansion: float = 0, drivers: tuple[str, ...] = ()
) -> Iterator[Looked | Failure]:
    """Look at every file in order; at those of a bucket several at a time.

    A packed byte may stand for ``max_expansion`` bytes, 0 for any number. Files of this machine
    that are not packed are also taken where one of ``drivers`` reads them.
    """
    if batch.container is not None:
        with unpack.heads_in(batch.container) as head_of:
            for file in batch.files:
                yield _look(file, looks, batch, max_expansion, head_of)
        return
    if not any(is_url(file.path) for file in batch.files):
        beside = _Beside()
        for file in batch.files:
            yield _look(file, looks, batch, max_expansion, drivers=drivers, beside=beside)
        return
    pool = ThreadPoolExecutor(REMOTE_LOOKS, thread_name_prefix="look")
    try:
        yield from pool.map(lambda file: _look(file, looks, batch), batch.files)
    finally:
        pool.shutdown(cancel_futures=True)


def _look(
    file: InputFile,
    looks: Looks,
    batch: Batch,
    max_expansion: float = 0,
    head_of: Callable[[str], bytes] | None = None,
    drivers: tuple[str, ...] = (),
    beside: _Beside | None = None,
) -> Looked | Failure:
    """Tell what a file is, by its content; ``head_of`` reads the first bytes of a packed one."""
    path = printable_name(file.path)
    try:
        if is_url(file.path):
            return _look_at_object(file, looks, batch)
        with _told(path):
            if head_of is not None:
                return _look_into(file, looks, batch, max_expansion, head_of(file.path))
            return _look_at_file(file, looks, max_expansion, drivers, beside or _Beside())
    except RefusedFile as error:
        return unsupported(path, error.strerror or "it is refused")
    except Exception as error:  # the edge of an item, as above
        return Failure(path, failure_of(f"opening {path}", error))


@contextlib.contextmanager
def _told(path: str) -> Iterator[None]:
    """Begin what is wrong with a packed file with its path."""
    try:
        yield
    except SourceError as error:
        text = str(error)
        raise type(error)(text if path in text else f"opening {path}: {text}") from None


def _look_at_file(
    file: InputFile,
    looks: Looks,
    max_expansion: float,
    drivers: tuple[str, ...],
    beside: _Beside,
) -> Looked | Failure:
    path = Path(file.path)
    with open_regular(path) as opened:  # to open a pipe would wait for a writer
        size = os.fstat(opened.fileno()).st_size
        head = opened.read(unpack.HEAD_BYTES)
        found = Candidate(
            path=file.path, size=size, head=head[:HEAD_BYTES], stream=opened, drivers=drivers
        )
        looked = _looked(file, found, looks)
        if isinstance(looked, Failure) or looked.format is not None:
            return looked
        packing = unpack.packing_of(head, opened)
        if packing == "gzip" and _may_be_unpacked(file, opened):
            return _look_at_gzip(replace(file, packed_bytes=size), looks, max_expansion, beside)
        return replace(looked, packing=packing)


def _may_be_unpacked(file: InputFile, opened: BinaryIO) -> bool:
    """Whether what a gzip file holds begins as an image does."""
    opened.seek(0)
    head = gzip_head(opened, HEAD_BYTES)
    size = gzip_size(opened)
    path = f"{os.path.dirname(file.path)}/{unpacked_name(file.name)}"
    inner = Candidate(path=path, size=size, head=head, stream=opened)
    return any(format_.sniff(inner) > Certainty.NONE for format_ in formats.FORMATS)


def _look_at_gzip(
    file: InputFile, looks: Looks, max_expansion: float, beside: _Beside
) -> Looked | Failure:
    """Look at what a gzip file holds, unpacked."""
    remote = unpack.measured(file.path, max_expansion)
    relative = f"{file.relative[: len(file.relative) - len(file.name)]}{unpacked_name(file.name)}"
    inner = replace(file, remote=remote, relative=relative)
    name = f"{os.path.dirname(file.path)}/{inner.name}"
    return _look_unpacked(inner, remote, name, beside.files(file.path), looks)


class _Beside:
    """The files beside packed ones that may say more of them; a folder is listed once."""

    def __init__(self) -> None:
        self._folder: str | None = None
        self._names: list[str] = []
        """Of the folder that was listed last, sorted."""

    def files(self, path: str) -> tuple[RemoteFile, ...]:
        """Return the files of a packed one, as they are now."""
        folder, scene = os.path.dirname(path), scene_of(os.path.basename(path))
        if folder != self._folder:
            with os.scandir(folder) as entries:
                names = (entry.name for entry in entries)
                self._names = sorted(
                    name for name in names if is_passed_over(name) and not name.endswith(".ovr")
                )
            self._folder = folder
        found = []
        for name in self._names[bisect_left(self._names, scene) :]:
            if not name.startswith(scene):
                break
            with contextlib.suppress(OSError):  # a pipe, a link that leads elsewhere, or gone
                found.append(unpack.look_beside(os.path.join(folder, name)))
        return tuple(found)


def _look_into(
    file: InputFile, looks: Looks, batch: Batch, max_expansion: float, head: bytes
) -> Looked | Failure:
    """Look at a file in a packed one; what is no image by its first bytes is not unpacked."""
    assert file.remote is not None, "found in a packed file"
    inner = Candidate(
        path=file.path, size=file.remote.size, head=head[:HEAD_BYTES], stream=BytesIO(head)
    )
    if all(format_.sniff(inner) == Certainty.NONE for format_ in formats.FORMATS):
        packing = unpack.packing_of(head, BytesIO(head))
        return Looked(file, file.remote.size, None, head=head[:16], packing=packing)
    unpack.check_expansion(file.remote.size, file.packed_bytes or 0, max_expansion)
    return _look_unpacked(file, file.remote, file.path, batch.companions or (), looks)


def _look_unpacked(
    file: InputFile, remote: RemoteFile, name: str, beside: Sequence[RemoteFile], looks: Looks
) -> Looked | Failure:
    with unpack.unpacked(remote) as (found, stream):
        candidate = Candidate(
            path=file.path,
            size=found.size,
            head=stream.read(HEAD_BYTES),
            stream=stream,
            remote=replace(found, url=name),
            neighbours=tuple(beside),
        )
        return _looked(replace(file, remote=found), candidate, looks)


def _look_at_object(file: InputFile, looks: Looks, batch: Batch) -> Looked | Failure:
    """Look at an object by ranged reads."""
    source = reader(file.remote or look_up(file.path))
    candidate = Candidate(
        path=file.path,
        size=source.size,
        head=source.read(0, HEAD_BYTES),
        stream=source.stream(),
        remote=source.file,
        neighbours=batch.companions,
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
    if looked.packing == "gzip":
        return f"it is packed (gzip), and holds no image that tilepress takes ({formats.names()})"
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
