"""Write the golden records of streams that are kept as they came, on purpose only.

Run: python tests/codecs/golden/regenerate_passed.py

Records are never changed: the script adds those that are missing.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from tilepress.codecs.grid import Grid
from tilepress.codecs.passed.codec import encode, streams
from tilepress.codecs.record import is_irreversible

ROOT = Path(__file__).parent
FOLDER = ROOT / "passed"


def cases() -> Iterator[tuple[str, bytes]]:
    """Yield names and records."""
    sys.path.insert(0, str(ROOT.parent / "passed"))
    from pictures import LOSSLESS, LOSSY, family, picture, samples_of, stream

    for kind in LOSSLESS:
        for bands, dtype in ((1, "uint8"), (3, "uint8"), (4, "uint8"), (1, "uint16")):
            if (kind, bands) in (("jpegxl", 4), ("htj2k", 4), ("webp", 1)):
                continue
            for lossy in (False, True) if kind in LOSSY else (False,):
                data = stream(kind, picture(40, 55, bands, dtype), lossy=lossy)
                record = encode(
                    [data], samples_of(kind, data), family=family(kind), lossless=not lossy
                )
                yield f"{kind}-{bands}-{dtype}{'-lossy' if lossy else ''}", record
    image = picture(20, 30, 1, "uint16")
    data = stream("jpeg2000", image)
    yield "signed", encode([data], image.astype("int16")[None], family="jpeg2000", lossless=True)
    data = stream("jpeg2000", image.astype("int16"))
    yield "unsigned", encode([data], image[None], family="jpeg2000", lossless=True)
    data = stream("webp", picture(32, 32), lossy=True)
    one = samples_of("webp", data)
    whole = np.concatenate([one, np.zeros_like(one), one], axis=2)[:, :30, :90]
    grid = Grid(1, 1, 3, 32, 32)
    given = [data, None, data]
    yield from _colours()
    yield (
        "grid",
        encode(
            given, np.ascontiguousarray(whole), family="webp", grid=grid, shape=(4, 32, 96), fill=9
        ),
    )


def _colours() -> Iterator[tuple[str, bytes]]:
    """Codestreams of Y, Cb, Cr whose samples are R, G, B."""
    import imagecodecs
    from pictures import picture, samples_of, stream
    from subsampled import HALF

    from tilepress.codecs.passed.colours import rgb_of_ycbcr

    data = stream("jpeg2000", picture(32, 32), lossy=True)
    rgb = rgb_of_ycbcr(samples_of("jpeg2000", data)).astype(np.uint8)
    yield "ycbcr", encode([data], rgb, family="jpeg2000")
    rgb = np.moveaxis(np.asarray(imagecodecs.jpeg2k_decode(HALF)), -1, 0).copy()
    yield "ycbcr-subsampled", encode([HALF], rgb, family="jpeg2000")


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main() -> None:
    from tilepress.codecs.tile import TileCodec

    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / "index.json"
    index = json.loads(path.read_text()) if path.exists() else {}
    samples = dict(np.load(FOLDER / "samples.npz")) if index else {}
    for name, record in cases():
        if name in index:
            continue
        decoded = TileCodec().decode(record)
        samples[name] = decoded
        index[name] = {
            "record_sha256": sha256(record),
            "dtype": decoded.dtype.name,
            "shape": list(decoded.shape),
            "irreversible": is_irreversible(record),
            "streams_sha256": [None if one is None else sha256(one) for one in streams(record)],
        }
        (FOLDER / f"{name}.tp").write_bytes(record)
    path.write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    np.savez_compressed(FOLDER / "samples.npz", **samples)


if __name__ == "__main__":
    main()
