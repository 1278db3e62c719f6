"""Bytes are for ever: every record of established codecs gives its samples, lossy ones within what
decoders may differ by."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.record import is_irreversible
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent.parent / "golden/classical"
INDEX = json.loads((FOLDER / "index.json").read_text())
STEP = {"uint8": 2, "uint16": 4, "float32": 0.002}
"""What another decoder of lossy streams may be off by."""


@pytest.mark.parametrize("name", sorted(INDEX))
def test_decodes_as_ever(name: str) -> None:
    entry, record = INDEX[name], (FOLDER / f"{name}.tp").read_bytes()
    assert hashlib.sha256(record).hexdigest() == entry["record_sha256"], "a golden file changed"
    assert is_irreversible(record) == entry["irreversible"]
    decoded = TileCodec.from_config(entry["configuration"]).decode(record)
    assert (decoded.dtype.name, list(decoded.shape)) == (entry["dtype"], entry["shape"])
    with np.load(FOLDER / "samples.npz") as samples:
        then = samples[name]
    if not entry["irreversible"]:
        assert decoded.tobytes() == then.tobytes()
        return
    present = np.isfinite(then)
    assert decoded[~present].tobytes() == then[~present].tobytes()
    off = np.abs(decoded[present].astype(float) - then[present].astype(float)).max()
    assert off <= STEP[entry["dtype"]]


def test_any_of_their_configurations_reads_them() -> None:
    """Payloads say which codec they are of: there is one number for all."""
    record = (FOLDER / "jpegxl-rgb.tp").read_bytes()
    assert np.array_equal(TileCodec("zstd").decode(record), TileCodec("jpegxl").decode(record))


def test_none_is_missing() -> None:
    assert {path.stem for path in FOLDER.glob("*.tp")} == set(INDEX)
