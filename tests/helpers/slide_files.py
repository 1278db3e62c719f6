"""TIFF files of slides: pyramids of tiles in pages or below them, as scanners write them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np

from tilepress.pipeline.geotiff.header import Entry
from tilepress.pipeline.geotiff.slide_record import PageLayout
from tilepress.pipeline.geotiff.tiff_writer import PageBlocks, TiffWriter

from .samples import smooth

APERIO = "Aperio Image Library v11.2.1 \r\n"


Coding = tuple[int, Callable[[np.ndarray], bytes]]


def picture(height: int, width: int, bands: int = 3, dtype: str = "uint8") -> np.ndarray:
    """Return smooth samples (bands, y, x)."""
    found = np.stack([smooth((height, width), seed=seed) for seed in range(1, bands + 1)])
    return (found >> 4).astype(np.uint8) if dtype == "uint8" else found.astype(dtype)


def pyramid(height: int = 150, width: int = 170, levels: int = 3, **more: Any) -> list[np.ndarray]:
    """Return the samples of levels, each half of the one before."""
    whole = picture(height, width, **more)
    return [np.ascontiguousarray(whole[:, :: 2**n, :: 2**n]) for n in range(levels)]


def ome(*images: dict[str, Any]) -> str:
    """Return OME-XML of images, each with its Name and what SizeC, IFD and PlaneCount it has."""
    parts = []
    for number, image in enumerate(images):
        one = {"Name": f"image {number}", "SizeC": 1, "PlaneCount": 1, **image}
        parts.append(
            '<Image ID="Image:{0}" Name="{Name}"><Pixels ID="Pixels:{0}" DimensionOrder="XYCZT" '
            'SizeX="9" SizeY="9" SizeZ="1" SizeT="1" SizeC="{SizeC}" Type="uint8">'
            '<TiffData IFD="{IFD}" PlaneCount="{PlaneCount}"/></Pixels></Image>'.format(
                number, **one
            )
        )
    schema = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
    return f'<?xml version="1.0"?><OME xmlns="{schema}">{"".join(parts)}</OME>'


def write_slide(
    path: Path,
    pages: Sequence[np.ndarray],
    *,
    below: Sequence[Sequence[np.ndarray]] = (),
    texts: Sequence[str] = (),
    tile: int = 32,
    jpeg: bool = False,
    strips: Sequence[int] = (),
    order: str = "<",
    big: bool = False,
    subfile: Sequence[int] = (),
    absent: Sequence[int] = (),
    coding: Coding | None = None,
) -> Path:
    """Write pages (bands, y, x), each with what hangs below it.

    texts : their descriptions; strips : numbers of pages without tiles; subfile : NewSubfileType of
    pages, where it is given for none, tiled pages after the first are reduced ones unless something
    hangs below or Aperio wrote them; absent : numbers of the first page's tiles that are left out;
    coding : the Compression of tiles, and what makes the bytes of one of its samples (y, x, bands).
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        writer = TiffWriter(file, big=big, order=order)
        written = []
        reduced = not subfile and not below and not "".join(texts[:1]).startswith("Aperio")
        for number, samples in enumerate(pages):
            text = texts[number] if number < len(texts) else ""
            tiled = number not in strips
            kind = (
                subfile[number] if number < len(subfile) else int(reduced and tiled and number > 0)
            )
            gone = absent if number == 0 else ()
            how: dict[str, Any] = {"jpeg": jpeg, "coding": coding}
            one = _page(writer, samples, tile if tiled else 0, order, text, kind, gone, **how)
            rest = below[number] if number < len(below) else ()
            subs = [_page(writer, less, tile, order, "", 1, (), **how) for less in rest]
            written.append((one, subs))
        writer.finish(written)
    return path


def _page(
    writer: TiffWriter,
    samples: np.ndarray,
    tile: int,
    order: str,
    text: str,
    kind: int,
    absent: Sequence[int],
    *,
    jpeg: bool,
    coding: Coding | None = None,
) -> PageBlocks:
    bands, height, width = samples.shape
    bits = samples.dtype.itemsize * 8

    def short(*values: int) -> Entry:
        return Entry(3, len(values), np.array(values, f"{order}u2").tobytes())

    def long(value: int) -> Entry:
        return Entry(4, 1, np.array([value], f"{order}u4").tobytes())

    rows, columns = (tile, tile) if tile else (16, width)
    entries = {
        254: long(kind), 256: long(width), 257: long(height), 258: short(*[bits] * bands),
        259: short(7 if jpeg else 1), 262: short((6 if jpeg else 2) if bands == 3 else 1),
        277: short(bands), 284: short(1), 339: short(*[" uif".index(samples.dtype.kind)] * bands),
    }  # fmt: skip
    coding = coding if tile else None
    if coding is not None:
        entries[259] = short(coding[0])
    entries |= {322: short(tile), 323: short(tile)} if tile else {278: short(16)}
    if jpeg and bands == 3:
        entries[530] = short(2, 2)
    if text:
        entries[270] = Entry(2, len(text.encode()) + 1, text.encode() + b"\0")
    layout = PageLayout(
        height=height, width=width, bands=bands, dtype=samples.dtype.name, tiled=bool(tile),
        block=(rows, columns), apart=False, converted=False, entries=entries,
    )  # fmt: skip
    blocks = PageBlocks.of(layout)
    down, across = layout.grid_shape
    for row, column in np.ndindex(down, across):
        if row * across + column in absent:
            continue
        part = samples[:, row * rows : (row + 1) * rows, column * columns : (column + 1) * columns]
        missing = (rows - part.shape[1] if tile else 0, columns - part.shape[2])
        part = np.pad(part, ((0, 0), (0, missing[0]), (0, missing[1])), mode="edge")
        data = np.moveaxis(part, 0, -1).astype(samples.dtype.newbyteorder(order)).tobytes()
        if coding is not None:
            data = coding[1](np.ascontiguousarray(np.moveaxis(part, 0, -1)))
        elif jpeg:
            pixels = np.ascontiguousarray(np.moveaxis(part, 0, -1))
            how: dict[str, Any] = {"colorspace": "RGB", "outcolorspace": "YCBCR"}
            how |= {"subsampling": "420"}
            data = imagecodecs.jpeg8_encode(
                pixels if bands == 3 else pixels[..., 0], level=80, **(how if bands == 3 else {})
            )
        blocks.put(0, row, column, *writer.block(data))
    return blocks


def tiles_of(path: Path) -> list[list[bytes]]:
    """Return the blocks of every page of a file, and of those below it, in order."""
    from tilepress.pipeline.geotiff.block_grid import BlockGrid
    from tilepress.pipeline.geotiff.header import directory_at, walk_directories

    tags = (256, 257, 259, 266, 273, 277, 278, 279, 284, 322, 323, 324, 325, 330)
    found = []
    size = path.stat().st_size
    with path.open("rb") as file:
        chain = [one for _, one in walk_directories(file, size, tags)]
        pages = []
        for one in chain:
            pages.append(one)
            pages += [directory_at(file, size, int(at), tags) for at in one.integers(330)]
        for one in pages:
            grid = BlockGrid.of(one)
            assert grid is not None
            found.append([])
            for at, length in zip(grid.offsets.tolist(), grid.lengths.tolist(), strict=True):
                file.seek(at)
                found[-1].append(file.read(length) if length else b"")
    return found
