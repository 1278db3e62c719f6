"""What random patches for training cost, beside a COG, in one run.

The first plane of each image, repeated by mirroring up to the side that is asked for, lies in
files: in stores of tilepress, as they come and as ``--for training`` makes them, and in COGs (zstd,
predictor) of the same tiles, which rasterio reads. All keep as many bytes of decoded chunks. Every
reader gives float32 tensors: "random" in random order over all images, "sampler" those of an epoch
in the order of ``tilepress.torch.TileSampler``, which a COG profits from as well. Speeds are
patches per second of processor time, that of all threads together; the median of the rounds counts.

    python -m tilepress.workflows.bench.training FILE… [--side 4096] [--cache 64MiB] [--rounds 3]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import rasterio
import torch
import zarr
from rasterio.windows import Window

from tilepress.codecs import decoded
from tilepress.codecs.budget import parse_bytes
from tilepress.codecs.decoded import DecodedChunks
from tilepress.errors import UsageError
from tilepress.pipeline.store.keys import IMAGE
from tilepress.torch import TileDataset, TileSampler
from tilepress.workflows.bench.reading import first_plane
from tilepress.workflows.run.compress import compress

__all__ = ["PatchSpeed", "main", "measure"]

Plane = npt.NDArray[Any]
Place = tuple[int, int, int]
"""Image, first row, first column."""
Read = Callable[[Place], torch.Tensor]

BATCH = 64

COVERAGES = (1, 2, 4, 8)


@dataclass
class PatchSpeed:
    """How patches were read in one way."""

    name: str
    stored_bytes: int
    speeds: list[float] = field(default_factory=list)
    """Patches per second of processor time, one for each round."""

    @property
    def median(self) -> float:
        return statistics.median(self.speeds)


def measure(
    planes: Sequence[Plane], *, size: int, patches: int, cache: int, rounds: int
) -> list[PatchSpeed]:
    """Read patches of (y, x) planes in every way; raises AssertionError for wrong ones."""
    results: dict[str, PatchSpeed] = {}

    def add(name: str, stored: int, speed: float) -> None:
        results.setdefault(name, PatchSpeed(name, stored)).speeds.append(speed)

    with ExitStack() as opened:
        folder = Path(opened.enter_context(tempfile.TemporaryDirectory()))
        opened.enter_context(rasterio.Env(GDAL_CACHEMAX=cache))
        kinds = [
            _tilepress(planes, folder / "default"),
            _tilepress(planes, folder / "for", "training"),
        ]
        cogs = [_cogs(planes, folder, tile, opened) for tile in (512, 256)]
        for number in range(rounds):
            random = np.random.default_rng(number)
            places = [_any_place(planes, size, random) for _ in range(patches)]
            for name, archive in kinds:
                stored = _bytes_of(archive)
                for kept in (0, cache):
                    said = ", nothing kept" if kept == 0 else ""
                    with_zarr = _by_zarr(archive, len(planes), size, kept)
                    speed = _speed(with_zarr, places, planes, size)
                    add(f"{name}: zarr, random{said}", stored, speed)
                for coverage in COVERAGES:
                    data = TileDataset(
                        _stores(archive, len(planes)),
                        size,
                        cache=cache,
                        seed=number,
                        coverage=coverage,
                        as_dict=True,
                    )
                    order = list(TileSampler(data, batch_size=BATCH, seed=number))
                    speed = _speed_of(data, order, planes, size)
                    add(f"{name}: sampler, coverage {coverage}", stored, speed)
            same = [_place_of(data, one) for one in order]
            for (name, stored), reads in cogs:
                add(f"{name}: rasterio, random", stored, _speed(reads(size), places, planes, size))
                add(
                    f"{name}: rasterio, sampler, coverage {COVERAGES[-1]}",
                    stored,
                    _speed(reads(size), same, planes, size),
                )
    return list(results.values())


def _any_place(planes: Sequence[Plane], size: int, random: np.random.Generator) -> Place:
    image = int(random.integers(len(planes)))
    height, width = planes[image].shape
    y, x = random.integers(0, height - size + 1), random.integers(0, width - size + 1)
    return image, int(y), int(x)


def _speed(read: Read, places: Sequence[Place], planes: Sequence[Plane], size: int) -> float:
    """Return patches per second of processor time; compare some of them outside of it."""
    seconds = 0.0
    for number, place in enumerate(places):
        start = time.process_time()
        found = read(place)
        seconds += time.process_time() - start
        if number % 16 == 0:
            _check(found, place, planes, size)
    return len(places) / max(seconds, 1e-9)


def _speed_of(data: TileDataset, order: Sequence[int], planes: Sequence[Plane], size: int) -> float:
    """Return that of an epoch of a data set, batch by batch as a DataLoader asks for it."""
    seconds = 0.0
    for start in range(0, len(order), BATCH):
        begun = time.process_time()
        batch = data.__getitems__(order[start : start + BATCH])
        seconds += time.process_time() - begun
        one = batch[0]
        place = data.stores.index(one["store"]), one["y"], one["x"]
        _check(one["image"][0], place, planes, size)
    return len(order) / max(seconds, 1e-9)


def _check(found: torch.Tensor, place: Place, planes: Sequence[Plane], size: int) -> None:
    image, y, x = place
    wanted = planes[image][y : y + size, x : x + size].astype(np.float32)
    if not np.array_equal(found.numpy(), wanted):
        raise AssertionError(f"reading {place}: other samples than were stored")


def _place_of(data: TileDataset, number: int) -> Place:
    store, window = data.place_of(number)
    return store, window.y, window.x


def _tilepress(planes: Sequence[Plane], folder: Path, purpose: str = "") -> tuple[str, Path]:
    folder = folder / (purpose or "default")
    sources = folder / "sources"
    sources.mkdir(parents=True)
    for number, plane in enumerate(planes):
        np.save(sources / f"{number:04}.npy", plane)
    done = compress(sources, folder / "archive", for_=purpose, levels="none")
    if not done.ok:
        raise UsageError(f"writing stores: {next(iter(done.failures)).line}")
    return f"tilepress{' --for ' + purpose if purpose else ''}", folder / "archive"


def _stores(archive: Path, count: int) -> list[Path]:
    return [archive / f"{number:04}.zarr" for number in range(count)]


def _bytes_of(archive: Path) -> int:
    shards = (p for p in archive.rglob("*") if p.is_file() and IMAGE in p.as_posix())
    return sum(path.stat().st_size for path in shards)


def _by_zarr(archive: Path, count: int, size: int, kept: int) -> Read:
    arrays = [zarr.open_array(store, path=IMAGE, mode="r") for store in _stores(archive, count)]
    decoded._chunks = DecodedChunks(kept)

    def read(place: Place) -> torch.Tensor:
        image, y, x = place
        found = np.asarray(arrays[image][y : y + size, x : x + size])
        return torch.from_numpy(found.astype(np.float32))

    return read


def _cogs(
    planes: Sequence[Plane], folder: Path, tile: int, opened: ExitStack
) -> tuple[tuple[str, int], Callable[[int], Read]]:
    paths = [folder / f"{number:04}-{tile}.tif" for number in range(len(planes))]
    profile = {"driver": "COG", "compress": "ZSTD", "predictor": "YES", "blocksize": tile,
               "overviews": "NONE", "count": 1}  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        for path, plane in zip(paths, planes, strict=True):
            height, width = plane.shape
            with rasterio.open(
                path, "w", **profile, height=height, width=width, dtype=plane.dtype.name
            ) as target:
                target.write(plane, 1)

    def reads(size: int) -> Read:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
            # anew, for GDAL keeps blocks with their file
            sources = [opened.enter_context(rasterio.open(path)) for path in paths]

        def read(place: Place) -> torch.Tensor:
            image, y, x = place
            found = sources[image].read(1, window=Window(x, y, size, size))
            return torch.from_numpy(found.astype(np.float32))

        return read

    return (f"COG zstd {tile}", sum(path.stat().st_size for path in paths)), reads


def lines_of(results: Sequence[PatchSpeed]) -> Iterator[str]:
    """Yield a table: bytes, speed, and the speed beside the naive one and the COG's."""
    by_name = {one.name: one for one in results}
    naive = by_name["tilepress: zarr, random"].median
    cog = by_name["COG zstd 512: rasterio, random"].median
    yield f"{'':<52} {'MB':>8} {'patches/CPU-s':>14} {'× naive':>8} {'× COG':>8}"
    for one in results:
        yield (
            f"{one.name:<52} {one.stored_bytes / 1e6:>8.1f} {one.median:>14.1f} "
            f"{one.median / naive:>8.2f} {one.median / cog:>8.2f}"
        )


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--patches", type=int, default=256)
    parser.add_argument("--cache", default="64MiB")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args(arguments)
    planes = [first_plane(file, given.side) for file in given.files]
    results = measure(
        planes,
        size=given.size,
        patches=given.patches,
        cache=parse_bytes(given.cache, "--cache"),
        rounds=given.rounds,
    )
    raw = sum(plane.nbytes for plane in planes) / 1e6
    lines = [f"{len(planes)} images of {given.side}², {raw:.1f} MB of samples", *lines_of(results)]
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    return 0


if __name__ == "__main__":
    sys.exit(main())
