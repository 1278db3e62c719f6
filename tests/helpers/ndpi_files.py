"""Slides of Hamamatsu's scanners (NDPI): a JPEG stream with restart markers for each level."""

from __future__ import annotations

import io
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tilepress.pipeline.geotiff.header import Entry, Page, read_header, walk_directories
from tilepress.pipeline.geotiff.slide_record import PageLayout
from tilepress.pipeline.geotiff.tiff_writer import PageBlocks, TiffWriter

__all__ = ["beyond_4_gib", "jpeg_with_restarts", "markers_of", "pages_of", "write_ndpi"]


def jpeg_with_restarts(samples: np.ndarray, interval: int, subsampling: int = 0) -> bytes:
    """Return a stream of (bands, y, x); interval : MCUs between markers, 0 for none."""
    pixels = np.moveaxis(samples, 0, -1)
    image = Image.fromarray(np.ascontiguousarray(pixels if len(samples) > 1 else pixels[..., 0]))
    out = io.BytesIO()
    how: dict[str, Any] = {"restart_marker_blocks": interval} if interval else {}
    if len(samples) > 1:
        how["subsampling"] = subsampling
    image.save(out, "JPEG", quality=85, **how)
    return out.getvalue()


def markers_of(stream: bytes) -> list[int]:
    """Return where the intervals of a stream begin."""
    scan = stream.index(b"\xff\xda")
    begin = scan + 2 + int.from_bytes(stream[scan + 2 : scan + 4], "big")
    data = np.frombuffer(stream, np.uint8)
    found = np.flatnonzero((data[:-1] == 0xFF) & (data[1:] & 0xF8 == 0xD0)) + 2
    return [begin, *found[found > begin].tolist()]


def write_ndpi(
    path: Path,
    pages: Sequence[np.ndarray],
    lenses: Sequence[float],
    *,
    interval: int = 4,
    subsampling: int = 0,
    told: bool = True,
    depths: Sequence[int] = (),
    changed: dict[int, Entry] | None = None,
    ending: bytes = b"",
    altered: Callable[[bytes], bytes] = bytes,
) -> Path:
    """Write pages (bands, y, x), each with its magnification; −1 is a macro image, −2 a map.

    told : whether McuStarts are; changed : other entries of every page; altered : what is made of
    the stream of the first one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = TiffWriter(file, big=False, order="<")
        written = []
        for number, (samples, lens) in enumerate(zip(pages, lenses, strict=True)):
            bands, height, width = samples.shape
            stream = jpeg_with_restarts(samples, interval, subsampling) + ending
            stream = altered(stream) if number == 0 else stream

            def short(*values: int) -> Entry:
                return Entry(3, len(values), np.array(values, "<u2").tobytes())

            def long(*values: int) -> Entry:
                return Entry(4, len(values), np.array(values, "<i4").tobytes())

            def signed(value: int) -> Entry:
                return Entry(9, 1, np.array([value], "<i4").tobytes())

            entries = {
                254: long(0), 256: long(width), 257: long(height), 258: short(*[8] * bands),
                259: short(7), 262: short(6 if bands == 3 else 1),
                271: Entry(2, 10, b"Hamamatsu\0"), 272: Entry(2, 5, b"C999\0"),
                277: short(bands), 278: long(height), 284: short(1),
                282: Entry(5, 1, np.array([20000, 1], "<u4").tobytes()),
                283: Entry(5, 1, np.array([20000, 1], "<u4").tobytes()), 296: short(3),
                306: Entry(2, 20, b"2010:08:19 14:29:33\0"),
                65420: long(1), 65421: Entry(11, 1, np.array([lens], "<f4").tobytes()),
                65422: signed(0), 65423: signed(0), 65424: signed(depths[number] if depths else 0),
                65427: Entry(2, 5, b"Jane\0"),
            }  # fmt: skip
            if told and interval:
                entries[65426] = long(*markers_of(stream))
            layout = PageLayout(
                height=height, width=width, bands=bands, dtype="uint8", tiled=False,
                block=(height, width), apart=False, converted=False,
                entries=entries | (changed or {}),
            )  # fmt: skip
            blocks = PageBlocks.of(layout)
            blocks.put(0, 0, 0, *writer.block(stream))
            written.append((blocks, ()))
        writer.finish(written)
    return path


def pages_of(path: Path) -> list[tuple[dict[int, Entry], bytes]]:
    """Return the entries of each page but its offset, and its stream."""
    found = []
    with path.open("rb") as file:
        chain = list(walk_directories(file, path.stat().st_size, (256,)))
        for start, _ in chain:
            header = read_header(path, Page(0, start))
            assert header is not None
            file.seek(header.first.integer(273))
            stream = file.read(header.first.integer(279))
            entries = {tag: one for tag, one in header.first.entries.items() if tag != 273}
            found.append((entries, stream))
    return found


def beyond_4_gib(path: Path, out: Path) -> Path:
    """Write a file of NDPI again, its streams and directories behind a hole of 4 GiB.

    Offsets are halved then: the upper 32 bits of entries stand behind their directory.
    """
    tags = range(254, 65500)
    with path.open("rb") as file, out.open("wb") as wide:
        pages = list(walk_directories(file, path.stat().st_size, tags))
        wide.write(b"II*\0" + bytes(8))
        pointer = 4
        wide.seek(2**32 + 4096)
        for _, page in pages:
            entries = dict(page.entries)
            file.seek(page.integer(273))
            stream = file.read(page.integer(279))
            entries[273] = Entry(4, 1, wide.tell().to_bytes(8, "little"))
            wide.write(stream)
            lower, upper = [], []
            for tag, entry in sorted(entries.items()):
                value = entry.data
                if len(value) > 4 and tag != 273:
                    value = wide.tell().to_bytes(8, "little")
                    wide.write(entry.data)
                value = value.ljust(8, b"\0")
                lower.append(struct.pack("<HHI", tag, entry.kind, entry.count) + value[:4])
                upper.append(value[4:])
            start = wide.tell()
            wide.write(struct.pack("<H", len(lower)) + b"".join(lower))
            following = wide.tell()
            wide.write(bytes(8) + b"".join(upper))
            end = wide.tell()
            wide.seek(pointer)
            wide.write(start.to_bytes(8, "little"))
            wide.seek(end)
            pointer = following
    return out
