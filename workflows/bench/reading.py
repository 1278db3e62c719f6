"""What reading windows costs through Zarr, beside other codecs and a COG, in one run.

The first plane of an image, repeated by mirroring up to the side that is asked for, lies in
stores of chunks of 512 × 512 in memory: tilepress with what the process keeps of decoded chunks,
and without; zstd (Blosc, bitshuffle), JPEG XL e3 and e7 and HTJ2K of imagecodecs; and in a COG
(zstd, predictor) that rasterio reads. Read are all windows of 2048 × 2048 in order, random ones of
512 × 512, and random ones of 224 × 224. Speeds are samples per second of processor time, that of
all threads together; each reading of each store is timed in every round, and the median counts.

    python -m tilepress.workflows.bench.reading FILE [--side 8192] [--patches 256] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import zarr
from imagecodecs.numcodecs import Htj2k, Jpegxl
from rasterio.windows import Window
from zarr.codecs import BloscCodec, BytesCodec
from zarr.storage import MemoryStore

from tilepress.codecs import decoded
from tilepress.codecs.decoded import DecodedChunks, allowed_cache
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import UsageError
from tilepress.workflows.bench.images import read_images

__all__ = ["ReadSpeed", "first_plane", "main", "measure"]

TILE = 512
SCAN = 2048

Plane = npt.NDArray[Any]
Box = tuple[int, int, int, int]
"""First row and column, rows and columns."""
Reader = Callable[[Box], Plane]
Stored = tuple[str, int, Reader, bool]
"""Name, bytes, how to read it, and whether decoded chunks are kept."""


@dataclass
class ReadSpeed:
    """How one store was read."""

    name: str
    stored_bytes: int
    speeds: dict[str, list[float]] = field(default_factory=dict)
    """Samples per second of processor time, by pattern, one for each round."""

    def median(self, pattern: str) -> float:
        return statistics.median(self.speeds[pattern])


def measure(plane: Plane, patches: int, rounds: int) -> list[ReadSpeed]:
    """Read a (y, x) plane from every store by every pattern."""
    patterns = _patterns(plane.shape, patches)
    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        opened.enter_context(rasterio.Env(GDAL_CACHEMAX=256))
        stores = [*_stores(plane), _cog(plane, folder / "image.tif", opened)]
        results = [ReadSpeed(name, size) for name, size, _, _ in stores]
        for number in range(rounds):
            for (_, _, read, keeping), result in zip(stores, results, strict=True):
                for pattern, boxes in patterns.items():
                    with _fresh(keeping):
                        speed = _read_all(read, boxes, plane if number == 0 else None)
                    result.speeds.setdefault(pattern, []).append(speed)
    return results


def _patterns(shape: tuple[int, ...], patches: int) -> dict[str, list[Box]]:
    draw = np.random.default_rng(0)
    corners = [(y, x) for y in range(0, shape[0], SCAN) for x in range(0, shape[1], SCAN)]
    found = {"scan": [(y, x, min(SCAN, shape[0] - y), min(SCAN, shape[1] - x)) for y, x in corners]}
    for side in (512, 224):
        tops = draw.integers(0, max(1, shape[0] - side + 1), patches)
        lefts = draw.integers(0, max(1, shape[1] - side + 1), patches)
        size = min(side, shape[0]), min(side, shape[1])
        found[f"random {side}²"] = [
            (int(y), int(x), *size) for y, x in zip(tops, lefts, strict=True)
        ]
    return found


def _read_all(read: Reader, boxes: Iterable[Box], truth: Plane | None) -> float:
    """Return samples per second of processor time; compare them outside of it."""
    samples, seconds = 0, 0.0
    for box in boxes:
        start = time.process_time()
        found = read(box)
        seconds += time.process_time() - start
        samples += found.size
        y, x, rows, columns = box
        if truth is not None and not np.array_equal(found, truth[y : y + rows, x : x + columns]):
            raise AssertionError(f"reading {box}: other samples than were stored")
    return samples / max(seconds, 1e-9)


@contextmanager
def _fresh(keeping: bool) -> Iterator[None]:
    """Start with no decoded chunks, and keep as many as a process does, or none."""
    before = decoded._chunks
    decoded._chunks = DecodedChunks(allowed_cache() if keeping else 0)
    try:
        yield
    finally:
        decoded._chunks = before


def _stores(plane: Plane) -> Iterator[Stored]:
    for tier in ("standard", "fast"):
        ours = TilepressTileV3(TileCodec(tier=tier))
        array = _sharded(plane, {"serializer": ours, "compressors": None})
        yield f"tilepress {tier}", _stored(array), _by_zarr(array), True
        yield f"tilepress {tier}, nothing kept", _stored(array), _by_zarr(array), False
    blosc = BloscCodec(cname="zstd", clevel=5, shuffle="bitshuffle", typesize=plane.itemsize)
    array = _sharded(plane, {"serializer": BytesCodec(), "compressors": blosc})
    yield "zstd (Blosc)", _stored(array), _by_zarr(array), False
    others: dict[str, Any] = {
        "JPEG XL e3": Jpegxl(lossless=True, effort=3, numthreads=1),
        "JPEG XL e7": Jpegxl(lossless=True, effort=7, numthreads=1),
        "HTJ2K": Htj2k(reversible=True),
    }
    for name, codec in others.items():
        array = zarr.create_array(
            MemoryStore(), shape=plane.shape, dtype=plane.dtype, chunks=(TILE, TILE),
            zarr_format=2, compressors=codec,
        )  # fmt: skip
        array[...] = plane
        yield name, _stored(array), _by_zarr(array), False


def _cog(plane: Plane, file: Path, opened: ExitStack) -> Stored:
    profile = {"driver": "COG", "compress": "ZSTD", "predictor": "YES", "blocksize": TILE,
               "overviews": "NONE", "height": plane.shape[0], "width": plane.shape[1], "count": 1,
               "dtype": plane.dtype.name}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        with rasterio.open(file, "w", **profile) as target:
            target.write(plane, 1)
        source = opened.enter_context(rasterio.open(file))
    return "COG zstd (rasterio)", file.stat().st_size, _by_rasterio(source), False


def _sharded(plane: Plane, codecs: dict[str, Any]) -> zarr.Array[Any]:
    sides = tuple(-(-n // TILE) * TILE for n in plane.shape)
    array = zarr.create_array(
        MemoryStore(), shape=plane.shape, dtype=plane.dtype, chunks=(TILE, TILE), shards=sides,
        filters=None, config={"write_empty_chunks": True}, **codecs,
    )  # fmt: skip
    array[...] = plane
    return array


def _stored(array: zarr.Array[Any]) -> int:
    return int(array.nbytes_stored())


def _by_zarr(array: zarr.Array[Any]) -> Reader:
    def read(box: Box) -> Plane:
        y, x, rows, columns = box
        return np.asarray(array[y : y + rows, x : x + columns])

    return read


def _by_rasterio(source: Any) -> Reader:  # noqa: ANN401  # rasterio has no types
    def read(box: Box) -> Plane:
        y, x, rows, columns = box
        return np.asarray(source.read(1, window=Window(x, y, columns, rows)))

    return read


def first_plane(file: Path, side: int) -> Plane:
    """Return the first plane of a file's image, mirrored on and on up to ``side``²."""
    image = next(iter(read_images([file])), None)
    if image is None or image.samples is None:
        raise UsageError(f"reading {file}: {image.failure if image else 'there is no image'}")
    plane = image.samples.reshape(-1, *image.samples.shape[-2:])[0]
    while plane.shape[0] < side:
        plane = np.concatenate([plane, plane[::-1]])
    while plane.shape[1] < side:
        plane = np.concatenate([plane, plane[:, ::-1]], axis=1)
    return np.ascontiguousarray(plane[:side, :side])


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("file", type=Path)
    parser.add_argument("--side", type=int, default=8192)
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    plane = first_plane(given.file, given.side)
    results = measure(plane, given.patches, given.rounds)
    patterns = list(results[0].speeds)
    lines = [f"{given.file.name}: {plane.shape[0]} × {plane.shape[1]} {plane.dtype}"]
    lines.append(f"{'':<34} {'MB':>7} " + " ".join(f"{p + ', MB/s':>18}" for p in patterns))
    for one in results:
        speeds = (one.median(p) * plane.itemsize / 1e6 for p in patterns)
        row = " ".join(f"{speed:>18.1f}" for speed in speeds)
        lines.append(f"{one.name:<34} {one.stored_bytes / 1e6:>7.1f} {row}")
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
