"""Write the golden records of JPEG streams, on purpose only.

Run: python tests/codecs/golden/regenerate_jpeg.py

Records are never changed: the script adds those that are missing. The streams are kept beside them,
for another version of libjpeg-turbo may write others.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np

from tilepress.codecs.jpeg.codec import Grid, encode, streams
from tilepress.codecs.jpeg.render import FINE, IJG, NO_TRANSFORM, PLAIN_TALL, YCC, render
from tilepress.codecs.jpeg.stream import read_stream, read_tables, write_stream
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent / "jpeg"

Case = tuple[str, list[bytes | None], np.ndarray, Grid | None, bytes]


def picture(height: int, width: int, bands: int = 3) -> np.ndarray:
    """Return an image of integers alone, so that every machine makes the same."""
    y, x = np.mgrid[:height, :width]
    planes = [(x * (3 + b) + y * y // (5 + b) + (x * y // 7) % (17 + 9 * b)) % 256
              for b in range(bands)]  # fmt: skip
    image = np.stack(planes, axis=-1).astype(np.uint8)
    return image if bands > 1 else image[..., 0]


def jpeg(image: np.ndarray, quality: int = 80, **options: object) -> bytes:
    return bytes(imagecodecs.jpeg_encode(np.ascontiguousarray(image), level=quality, **options))


def samples_of(data: bytes, **options: object) -> np.ndarray:
    image = imagecodecs.jpeg_decode(data, **options)
    return np.ascontiguousarray(image[None] if image.ndim == 2 else image.transpose(2, 0, 1))


def abbreviated(stream: bytes) -> tuple[bytes, bytes]:
    tables, rest, at = bytearray(stream[:2]), bytearray(stream[:2]), 2
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        (tables if stream[at + 1] in (0xDB, 0xC4) else rest).extend(stream[at:end])
        at = end
    return bytes(tables + b"\xff\xd9"), bytes(rest + stream[at:])


def as_read_by(data: bytes, manner: int) -> np.ndarray:
    stream, blocks = read_stream(data, read_tables(b""))
    frame = stream.frame
    out = np.zeros((len(frame.components), frame.height, frame.width), np.uint8)
    grid = Grid(1, 1, 1, frame.height, frame.width)
    colour = NO_TRANSFORM if manner == FINE else YCC
    render(grid, 0, stream, blocks, stream.own_places()[0], colour, False, manner, out)
    return out


def cases() -> Iterator[Case]:
    """Yield every record: name, streams, samples, grid, tables."""
    for sampling in ("444", "422", "420", "440", "411"):
        data = jpeg(picture(45, 70), subsampling=sampling)
        yield f"frame-{sampling}", [data], samples_of(data), None, b""
    grey = jpeg(picture(37, 61, 1), 92)
    yield "grey", [grey], samples_of(grey), None, b""
    rgb = jpeg(picture(40, 48), 90, subsampling="444", colorspace="RGB", outcolorspace="RGB")
    yield "rgb-as-coded", [rgb], samples_of(rgb, colorspace="RGB"), None, b""
    yield "inverted", [grey], 255 - samples_of(grey), None, b""
    twelve = bytes(
        imagecodecs.jpeg_encode(picture(30, 40, 1).astype(np.uint16) * 16, bitspersample=12)
    )
    yield "twelve-bits", [twelve], samples_of(twelve), None, b""
    yield "ijg", [jpeg(picture(45, 70))], as_read_by(jpeg(picture(45, 70)), IJG), None, b""
    tall = jpeg(picture(45, 70), subsampling="440")
    yield "before-2.1", [tall], as_read_by(tall, PLAIN_TALL), None, b""
    for sampling in ("444", "422", "420", "440"):
        data = jpeg(picture(45, 70), subsampling=sampling)
        yield f"fine-{sampling}", [data], as_read_by(data, FINE), None, b""
    yield "fine-grey", [grey], as_read_by(grey, FINE), None, b""
    changed = samples_of(grey)
    changed[0, ::9, ::7] ^= 1
    yield "corrected", [grey], changed, None, b""
    cut = samples_of(grey)
    cut[:, :, 0] ^= 0x5A
    yield "corrected-by-any-size", [grey], cut, None, b""
    image, tiles, tables = picture(96, 96), [], b""
    whole = np.zeros((3, 96, 96), np.uint8)
    for y in (0, 48):
        for x in (0, 48):
            data = jpeg(image[y : y + 48, x : x + 48])
            whole[:, y : y + 48, x : x + 48] = samples_of(data)
            tables, rest = abbreviated(data)
            tiles.append(rest)
    grid = Grid(1, 2, 2, 48, 48)
    yield "tiles", tiles, whole[:, :90, :77].copy(), grid, tables
    sparse = whole.copy()
    sparse[:, :48, 48:] = 0
    yield "sparse", [tiles[0], None, *tiles[2:]], sparse, grid, tables
    frames = [jpeg(picture(24 + 8 * i, 40)[-24:], 70 + i) for i in range(3)]
    yield "frames", frames, np.concatenate([samples_of(f) for f in frames]), None, b""
    odd = jpeg(picture(33, 50), optimize=True)
    odd = odd[:-2] + b"\x00\xff\xff\xff\xd9 after"
    yield "odd-bytes", [odd], samples_of(odd), None, b""
    yield "zero-bits", [_padded(grey, 0)], samples_of(grey), None, b""


def _padded(data: bytes, pad: int) -> bytes:
    stream, blocks = read_stream(data, read_tables(b""))
    stream.pads = [np.full_like(pads, pad) for pads in stream.pads]
    return write_stream(stream, blocks, stream.own_places()[0])


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    """Write what is missing."""
    FOLDER.mkdir(exist_ok=True)
    index_path = FOLDER / "index.json"
    index = json.loads(index_path.read_text()) if index_path.is_file() else {}
    for name, given, samples, grid, tables in cases():
        if name in index:
            continue
        record = encode(given, samples, grid=grid, tables=tables)
        assert streams(record) == given
        assert np.array_equal(TileCodec().decode(record), samples)
        (FOLDER / f"{name}.tp").write_bytes(record)
        index[name] = {
            "record_sha256": sha256(record),
            "samples_sha256": sha256(np.ascontiguousarray(samples).tobytes()),
            "shape": list(samples.shape),
            "dtype": samples.dtype.name,
            "streams_sha256": [None if s is None else sha256(s) for s in given],
        }
    index_path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
