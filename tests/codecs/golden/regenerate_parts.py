"""Write the golden records of parts, and of other coders, in arrays of ``ntc``, on purpose only.

Run: python tests/codecs/golden/regenerate_parts.py

Records are never changed: the script adds those that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent / "parts"


def picture(height: int, width: int, planes: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Return planes of integers alone, so that every machine makes the same."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    noise = (x * 7919 + y * 104729 + seed * 31) * 2654435761 % 2**32 >> 26
    base = 3 * x + 2 * y + 300 * ((x // 23 + y // 17) % 2) + noise
    out = np.stack(
        [base * (p + 2) // (p + 3) + 11 * p + noise * (p + 1) % 29 for p in range(planes)]
    )
    limits = np.iinfo(dtype)
    return np.clip(out // (8 if limits.bits == 8 else 1), limits.min, limits.max).astype(dtype)


def cases() -> Iterator[tuple[str, np.ndarray, int, float, dict[str, Any], tuple[int, ...]]]:
    """Yield name, samples, bands, level, options, exact bands."""
    rgba = picture(48, 60, 4, "uint8")
    rgba[3] = np.where(np.add.outer(np.arange(48), np.arange(60)) % 50 < 30, 255, 0)
    yield "alpha", rgba, 4, 40.0, {}, (3,)
    yield "first-and-last", rgba, 4, 30.0, {}, (0, 3)
    yield "frames", np.concatenate([rgba, rgba[:, ::-1]]), 4, 30.0, {}, (3,)
    holed = rgba.copy()
    holed[:, 8:20, 10:40] = 7
    yield "alpha-absent", holed, 4, 30.0, {"nodata": 7}, (3,)
    wide = picture(40, 44, 2, "uint32").astype(np.uint32) * np.uint32(3000017)
    yield "wide", wide, 2, 40.0, {}, ()
    wide_holed = wide.copy()
    wide_holed[:, 5:20, 9:30] = 2**32 - 1
    yield "wide-absent", wide_holed, 2, 30.0, {"nodata": 2**32 - 1}, ()
    middle = int(np.sort(wide.ravel())[wide.size // 2])
    yield "wide-absent-inside", wide, 1, 20.0, {"nodata": middle}, ()
    yield "wide-signed", (wide // 2).astype(np.int32) - 2**30, 1, 30.0, {}, ()
    yield "bounded", picture(50, 61, 2, "uint16"), 2, 30.0, {"max_error": 40}, ()
    bounded = picture(50, 61, 3, "int16", 5)
    bounded[:, 8:20, 10:40] = 200
    yield "bounded-absent", bounded, 3, 40.0, {"max_error": 9, "nodata": 200}, ()
    for nodata, level, bound in ((150, 20.0, 25), (333, 10.0, 40)):  # sums that become it
        moved = picture(70, 81, 2, "uint16", 5)
        moved[:, 8:20, 10:40] = nodata
        options = {"max_error": bound, "nodata": nodata}
        yield f"bounded-moved-{nodata}", moved, 2, level, options, ()
    yield "bounded-8-bits", rgba, 4, 20.0, {"max_error": 4}, (3,)
    yield "lossless", picture(40, 50, 2, "uint16"), 2, float("inf"), {}, ()


def codec(options: dict[str, Any], exact: tuple[int, ...] = ()) -> TileCodec:
    first = TileCodec("ntc", psnr=40, model="ntc-1", **options)  # for ever, as these records are
    return TileCodec.from_config(first.to_config(), exact=exact)


def record(
    samples: np.ndarray, bands: int, level: float, options: dict[str, Any], exact: tuple[int, ...]
) -> bytes:
    peak = 255.0 if samples.itemsize == 1 else float(np.ptp(samples.astype(np.int64)))
    return codec(options, exact).encode_at(samples, level, bands=bands, peak=peak)[0]


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    table = FOLDER / "index.json"
    index = json.loads(table.read_text()) if table.exists() else {}
    for name, samples, bands, level, options, exact in cases():
        if name in index:
            continue
        data = record(samples, bands, level, options, exact)
        out = codec(options).decode(data)
        (FOLDER / f"{name}.tp").write_bytes(data)
        index[name] = {
            "record_sha256": hashlib.sha256(data).hexdigest(),
            "samples_sha256": hashlib.sha256(out.tobytes()).hexdigest(),
            "scaled_sha256": [
                hashlib.sha256(codec(options).decode(data, scale=s).tobytes()).hexdigest()
                for s in (2, 4, 8)
            ],
            "shape": list(out.shape),
            "dtype": out.dtype.name,
            "coder": unpack_record(data)[0].coder,
            "options": options,
        }
    table.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
