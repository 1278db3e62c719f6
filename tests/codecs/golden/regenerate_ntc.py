"""Write the golden records of ``ntc``, on purpose only.

Run: python tests/codecs/golden/regenerate_ntc.py

Records are never changed: the script adds those that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk
from tilepress.codecs.ntc.codec import NtcCoder, parse_model
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.record import RecordHeader, pack_record, samples_crc, unpack_record
from tilepress.codecs.weights import load_named

FOLDER = Path(__file__).parent / "ntc"
FIRST, MODELS = "ntc-1", ("ntc-1", "ntc-2", "ntc-3")
"""The names of records of the first have no model in them."""


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


def cases() -> Iterator[tuple[str, str, np.ndarray, np.ndarray | None, int, float, int]]:
    """Yield name, model, samples, mark of absent ones, bands, step, transform."""
    for model in MODELS:
        for name, *case in pictures():
            yield name if model == FIRST else f"{model}-{name}", model, *case


def pictures() -> Iterator[tuple[str, np.ndarray, np.ndarray | None, int, float, int]]:
    """Yield name, samples, mark of absent ones, bands, step, transform."""
    for name, kind in (("lapped", LAPPED), ("wavelet", WAVELET)):
        for step in (0.5, 8.0, 90.0):
            yield f"{name}-{step:g}", picture(75, 90, 1, "uint16"), None, 1, step, kind
        yield f"{name}-rgb", picture(40, 52, 3, "uint8"), None, 3, 3.0, kind
        yield f"{name}-bands", picture(33, 47, 5, "int16"), None, 5, 12.0, kind
        yield f"{name}-slices", picture(48, 40, 4, "int16", 3), None, 1, 10.0, kind
        holed = picture(50, 61, 2, "uint16", 5)
        holed[:, 8:20, 10:40] = 0
        holed[1, 30:, 50:] = 0
        yield f"{name}-absent", holed, np.array(0, np.uint16), 1, 9.0, kind
        yield f"{name}-one-sample", np.full((1, 1, 1), 70, np.uint8), None, 1, 4.0, kind
        yield f"{name}-thin", picture(3, 400, 1, "uint16"), None, 1, 6.0, kind
        yield f"{name}-far", picture(30, 30, 1, "uint32") + np.uint32(4e9), None, 1, 7.0, kind
    yield "frames", picture(24, 30, 6, "uint8", 2), None, 3, 5.0, WAVELET


def record(
    model: str, samples: np.ndarray, absent: np.ndarray | None, bands: int, step: float, kind: int
) -> bytes:
    """Return the record of a chunk under one transform."""
    weights = load_named(model)
    analysis = Analysis.of(samples, absent, bands)
    assert analysis is not None
    analysis.kinds = (kind,)
    del analysis.ways[1:]
    payload, decoded = analysis.encode(step, parse_model(weights.data))
    header = RecordHeader(
        coder=NtcCoder.number,
        dtype=samples.dtype,
        shape=samples.shape,
        coded=samples.shape,
        fill=bytes(samples.dtype.itemsize),
        two_d=False,
        max_error=0.0,
        model_id=bytes.fromhex(weights.sha256)[:8],
        symbols_crc=samples_crc(decoded),
    )
    return pack_record(header, payload)


def decoded(data: bytes, model: str) -> np.ndarray:
    header, payload = unpack_record(data)
    net = parse_model(load_named(model).data)
    return decode_chunk(payload, header.coded, header.dtype, net, Budget("decoding", 2**30))


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    table = FOLDER / "index.json"
    index = json.loads(table.read_text()) if table.exists() else {}
    for name, model, *case in cases():
        if name in index:
            continue
        data = record(model, *case)
        out = decoded(data, model)
        (FOLDER / f"{name}.tp").write_bytes(data)
        index[name] = {
            "record_sha256": hashlib.sha256(data).hexdigest(),
            "samples_sha256": hashlib.sha256(out.tobytes()).hexdigest(),
            "shape": list(out.shape),
            "dtype": out.dtype.name,
            "model": model,
        }
    table.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    main()
