"""Write the golden records of the current format, on purpose only.

Run: python tests/codecs/golden/regenerate.py

Records are never changed: the script adds those that are missing and refuses to touch the others.
``index.json`` holds, for each, the configuration to read it with and hashes of record and samples.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent / "v1"


def field(seed: int, shape: tuple[int, ...], top: float, noise: float = 1.0) -> np.ndarray:
    """A smooth field with noise, 0 … about ``top``, float64; the same on every machine."""
    rng = np.random.default_rng(seed)
    steps = rng.integers(-8, 9, shape).astype(np.int64)
    smooth = np.cumsum(np.cumsum(steps, -1), -2)
    smooth -= smooth.min()
    scaled = smooth * int(top) // max(1, int(smooth.max()))
    return scaled + rng.integers(0, int(noise) + 1, shape)


def cases() -> Iterator[tuple[str, dict, np.ndarray, int]]:
    """Yield (name, codec arguments, array, bands)."""
    for dtype, top in (
        ("uint8", 200),
        ("int8", 100),
        ("uint16", 3000),
        ("int16", 3000),
        ("uint32", 90_000),
        ("int32", 10**6),
        ("uint64", 10**9),
        ("int64", 10**9),
    ):
        yield dtype, {}, field(1, (64, 61), top, 3).astype(dtype), 1
    yield "bool", {}, field(2, (50, 40), 9) % 3 == 0, 1
    yield "float16", {}, (field(3, (30, 31), 200) / 8).astype(np.float16), 1
    yield "float32-decimal", {}, (field(4, (40, 41), 9000) / 10_000).astype(np.float32), 1
    yield "float32-ordered", {}, (field(5, (40, 41), 9000) * np.pi).astype(np.float32), 1
    yield "float64-stored", {}, field(6, (12, 13), 9000) * np.pi, 1
    odd = (field(7, (20, 21), 900) / 4).astype(np.float32)
    odd[3:9, 4:] = np.nan
    odd[0, 0] = -0.0
    yield "float32-nan", {"nodata": float("nan")}, odd, 1
    yield "float32-bounded", {"nodata": float("nan"), "max_error": 0.25}, odd, 1
    for k in (1, 2, 16):
        yield f"near-{k}", {"max_error": k}, field(8, (60, 64), 3000, 40).astype(np.uint16), 1
    volume = field(9, (5, 48, 50), 1500, 6).astype(np.int16) - 700
    yield "volume", {}, volume, 1
    holes = field(10, (3, 40, 50), 900, 4).astype(np.uint16) + 1
    holes[:, 5:20, 8:30] = 0
    yield "nodata", {"nodata": 0}, holes, 1
    yield (
        "nodata-near",
        {"nodata": 450, "max_error": 2},
        field(11, (40, 50), 900, 4).astype(np.uint16),
        1,
    )
    yield "packed", {}, (field(12, (64, 64), 700, 2) * 5).astype(np.uint16), 1
    blocks = np.repeat(np.repeat(field(13, (20, 22), 900), 3, 0), 2, 1)[1:, :-1]
    yield "replicated", {}, blocks.astype(np.uint16), 1
    rgb = np.stack(
        [field(14, (40, 44), 150, 2), field(14, (40, 44), 130, 2) + 9, field(15, (40, 44), 150)]
    )
    yield "rgb", {}, rgb.astype(np.uint8), 3
    yield "copied-planes", {}, np.stack([volume[0]] * 3), 1
    yield "constant", {}, np.full((2, 30, 30), 7, np.uint16), 1
    yield "fill-only", {}, np.zeros((2, 30, 30), np.uint16), 1
    padded = np.zeros((3, 64, 64), np.uint16)
    padded[:2, :33, :47] = field(16, (2, 33, 47), 900, 3)
    yield "cropped-edges", {}, padded, 1
    noise = np.random.default_rng(17).integers(0, 256, (33, 35))
    yield "stored", {}, noise.astype(np.uint8), 1
    yield "flat-and-steps", {}, (field(18, (64, 64), 40, 0) // 9 * 9).astype(np.uint8), 1
    for shape in ((1, 1), (1, 37), (41, 1), (2, 3), (13, 17)):
        yield f"size-{shape[0]}x{shape[1]}", {}, field(19, shape, 500, 2).astype(np.uint16), 1
    yield "lanes-32", {}, field(20, (192, 190), 2000, 20).astype(np.uint16), 1


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    for name, arguments, array, bands in cases():
        if name in index:
            continue
        codec = TileCodec(**arguments)
        record = codec.encode(array, bands=bands)
        samples = codec.decode(record)
        (FOLDER / f"{name}.tp").write_bytes(record)
        index[name] = {
            "configuration": codec.to_config(),
            "record_sha256": hashlib.sha256(record).hexdigest(),
            "dtype": samples.dtype.name,
            "shape": list(samples.shape),
            "samples_sha256": hashlib.sha256(np.ascontiguousarray(samples)).hexdigest(),
        }
        print(name, len(record), "bytes")
    path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
