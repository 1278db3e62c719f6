"""Write the golden records of established codecs, on purpose only.

Run: python tests/codecs/golden/regenerate_classical.py

Records are never changed: the script adds those that are missing. ``samples.npz`` has what each
decoded to when it was written.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.classical import STREAMS
from tilepress.codecs.record import is_irreversible
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent / "classical"

Array = np.ndarray[Any, Any]


def scene(planes: int, rows: int = 40, columns: int = 53) -> Array:
    """Return bands that have much in common, (planes, y, x), values 0 … 4000."""
    rng = np.random.default_rng(planes)
    y, x = np.mgrid[:rows, :columns]
    base = 2000 + 900 * np.sin(x / 9) + 700 * np.cos(y / 7 + x / 17)
    bands = [base * (1 - 0.1 * n) + rng.normal(0, 20, base.shape) for n in range(planes)]
    return np.stack(bands).clip(0, 4000)


def cases() -> Iterator[tuple[str, dict[str, Any], Array, int]]:
    """Yield name, arguments of the codec, array and bands."""
    rgb = (scene(3) / 16).astype(np.uint8)
    bands = scene(4).astype(np.uint16)
    bands[:, 9:20, 5:30] = 0
    real = (scene(1) / 1000).astype(np.float32)
    real[0, 3, 4:9] = np.nan, np.inf, -np.inf, -9999, -9999
    for name in sorted(STREAMS):
        yield f"{name}-rgb", {"codec": name}, rgb, 3
        yield f"{name}-rgb-lossy", {"codec": name, "psnr": 40}, rgb, 3
        yield f"{name}-grey-lossy", {"codec": name, "quality": 60}, rgb[0], 1
        if name in ("avif", "webp"):
            continue
        options = {"codec": name, "nodata": 0}
        yield f"{name}-bands", options, bands, 4
        yield f"{name}-bands-lossy", {**options, "bits_per_sample": 2.0}, bands, 4
        options = {"codec": name, "nodata": -9999.0}
        yield f"{name}-float32", options, real, 1
        yield f"{name}-float32-lossy", {**options, "psnr": 50}, real, 1
    for name in ("jpegls", "lerc", "zstd"):
        yield f"{name}-near", {"codec": name, "nodata": 0, "max_error": 3}, bands, 4
        yield f"{name}-int32-near", {"codec": name, "max_error": 7}, bands.astype(np.int32) << 9, 1
        yield f"{name}-float32-near", {"codec": name, "max_error": 0.01}, real, 1


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    index_path, samples_path = FOLDER / "index.json", FOLDER / "samples.npz"
    index = json.loads(index_path.read_text()) if index_path.exists() else {}
    samples = dict(np.load(samples_path)) if samples_path.exists() else {}
    for name, arguments, array, bands in cases():
        if name in index:
            continue
        codec = TileCodec(**arguments)
        record = codec.encode(array, bands=bands)
        if record[10] != 5:
            raise SystemExit(f"{name}: its coder is {record[10]}")
        decoded = codec.decode(record)
        (FOLDER / f"{name}.tp").write_bytes(record)
        samples[name] = decoded
        index[name] = {
            "configuration": codec.to_config(),
            "bands": bands,
            "record_sha256": hashlib.sha256(record).hexdigest(),
            "irreversible": is_irreversible(record),
            "dtype": decoded.dtype.name,
            "shape": list(decoded.shape),
        }
        print(name, len(record), "bytes")
    index_path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    np.savez_compressed(samples_path, **samples)


if __name__ == "__main__":
    main()
