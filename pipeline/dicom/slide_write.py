"""Write a slide of another format as a DICOM series: an instance for each of its levels."""

from __future__ import annotations

import os
import shutil
import struct
import tempfile
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filewriter import dcmwrite
from pydicom.uid import generate_uid

from tilepress.errors import DestinationConflict
from tilepress.pipeline.dicom.slide_header import SlideIdentity, file_meta_of, header_of
from tilepress.pipeline.dicom.slide_tiles import TileFrames
from tilepress.pipeline.image.slide import SlideToWrite
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["write_slide"]

ITEM, END = b"\xfe\xff\x00\xe0", b"\xfe\xff\xdd\xe0"
COPIED_BYTES = 2**24
"""Of a level's frames at a time."""


def write_slide(slide: SlideToWrite, out: Path) -> list[Path]:
    """Write a slide below a folder; return its files, the full resolution first.

    All UIDs are new. Raises UsageError for samples that DICOM has no slides of, DestinationConflict
    where a file of such a name is there.
    """
    identity = SlideIdentity.new()
    make_directory(out)
    targets = [out / f"level-{number}.dcm" for number in range(len(slide.levels))]
    for target in targets:
        if target.exists():
            raise DestinationConflict(f"export: {target} exists; remove it or choose another name")
    for number, target in enumerate(targets):
        frames = TileFrames(slide.levels[number], is_colour=slide.is_colour)
        _write_level(target, slide, number, identity, frames)
    sync_directory(out)
    return targets


def _write_level(
    target: Path, slide: SlideToWrite, number: int, identity: SlideIdentity, frames: TileFrames
) -> None:
    """Write the instance of a level: frames first, for its header tells of their bytes."""
    uid = str(generate_uid(prefix=None))
    with unfinished(target) as partial:
        with tempfile.TemporaryFile(dir=target.parent) as body, open(partial, "wb") as file:
            lengths = np.array([_write_fragment(body, frame) for frame in frames], "<u8")
            coding = frames.coding(int(lengths.sum()))
            header = header_of(slide, number, identity, uid, coding)
            file.write(_encoded(file_meta_of(uid, coding.syntax), header))
            file.write(_pixel_element(lengths))
            body.seek(0)
            shutil.copyfileobj(body, file, COPIED_BYTES)
            file.write(END + bytes(4))
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, target)


def _write_fragment(file: BinaryIO, frame: bytes) -> int:
    """Write a frame as one fragment; return its length, made even: wsidicom takes no other."""
    even = frame + b"\0" * (len(frame) % 2)
    file.write(ITEM + struct.pack("<I", len(even)) + even)
    return len(even)


def _encoded(meta: FileMetaDataset, header: Dataset) -> bytes:
    """Return a file as far as its pixels."""
    stream = BytesIO()
    header.file_meta = meta
    dcmwrite(stream, header, enforce_file_format=True)
    return stream.getvalue()


def _pixel_element(lengths: npt.NDArray[np.uint64]) -> bytes:
    """Return where frames lie (extended offset table, PS3.3 C.7.6.3.1.8), and how pixels begin."""
    whole = lengths + 8
    offsets = (np.cumsum(whole) - whole).astype("<u8")
    tables = b"".join(
        struct.pack("<HH2sHI", 0x7FE0, number, b"OV", 0, 8 * len(lengths)) + table.tobytes()
        for number, table in ((1, offsets), (2, lengths))
    )
    start = struct.pack("<HH2sHI", 0x7FE0, 0x0010, b"OB", 0, 0xFFFFFFFF)
    return tables + start + ITEM + bytes(4)
