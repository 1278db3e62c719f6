"""Write the golden records of ``mlp``, on purpose only.

Run: python tests/codecs/golden/regenerate_mlp.py

Records are never changed: the script adds those that are missing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilepress.codecs.budget import Budget
from tilepress.codecs.mlp.chunk import Asked, decode_chunk, encode_chunk
from tilepress.codecs.mlp.codec import MlpCoder, parse_model
from tilepress.codecs.record import RecordHeader, pack_record, samples_crc, unpack_record
from tilepress.codecs.weights import load_named

FOLDER = Path(__file__).parent / "mlp"
MODELS = ("mlp-1-4", "mlp-1", "mlp-1-16", "mlp-2-16")
ALL = Asked(256, 22)


def picture(height: int, width: int, planes: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Return planes of integers alone, so that every machine makes the same."""
    y, x = np.mgrid[:height, :width].astype(np.int64)
    noise = (x * 7919 + y * 104729 + seed * 31) * 2654435761 % 2**32 >> 26
    base = 3 * x + 2 * y + 300 * ((x // 23 + y // 17) % 2) + noise
    out = np.stack(
        [base * (p + 2) // (p + 3) + 11 * p + noise * (p + 1) % 29 for p in range(planes)]
    )
    if dtype.startswith("float"):
        return (out / 64).astype(dtype)
    limits = np.iinfo(dtype)
    return np.clip(out // (8 if limits.bits == 8 else 1), limits.min, limits.max).astype(dtype)


def cases() -> Iterator[tuple[str, str, np.ndarray, np.ndarray | None, int, float, Asked]]:
    """Yield name, model, samples, mark of absent ones, bands, step, what is asked."""
    for model in MODELS:
        for step in (0.5, 8.0, 90.0):
            yield f"{model}-{step:g}", model, picture(75, 90, 1, "uint16"), None, 1, step, ALL
        yield f"{model}-rgb", model, picture(40, 52, 3, "uint8"), None, 3, 3.0, ALL
        yield f"{model}-few", model, picture(40, 52, 1, "uint16"), None, 1, 4.0, Asked(6, 5)
    yield "bands", "mlp-1", picture(33, 47, 5, "int16"), None, 5, 12.0, ALL
    yield "slices", "mlp-1", picture(48, 40, 4, "int16", 3), None, 1, 10.0, ALL
    holed = picture(50, 61, 2, "uint16", 5)
    holed[:, 8:20, 10:40] = 0
    holed[1, 30:, 50:] = 0
    yield "absent", "mlp-1", holed, np.array(0, np.uint16), 1, 9.0, ALL
    odd = picture(30, 37, 2, "float32", 5)
    odd[0, 3:9, 5:20], odd[1, 0, 0] = np.nan, np.inf
    yield "floats", "mlp-1", odd, None, 2, 0.25, ALL
    yield "one-sample", "mlp-1", np.full((1, 1, 1), 70, np.uint8), None, 1, 4.0, ALL
    yield "far", "mlp-1", picture(30, 30, 1, "uint64") + np.uint64(2**52), None, 1, 7.0, ALL


def record(
    model: str,
    samples: np.ndarray,
    absent: np.ndarray | None,
    bands: int,
    step: float,
    asked: Asked,
) -> bytes:
    """Return the record of a chunk."""
    weights = load_named(model)
    coded = encode_chunk(samples, absent, bands, step, parse_model(weights.data), asked)
    assert coded is not None
    header = RecordHeader(
        coder=MlpCoder.number,
        dtype=samples.dtype,
        shape=samples.shape,
        coded=samples.shape,
        fill=bytes(samples.dtype.itemsize),
        two_d=False,
        max_error=0.0,
        model_id=bytes.fromhex(weights.sha256)[:8],
        symbols_crc=samples_crc(coded[1]),
    )
    return pack_record(header, coded[0])


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
