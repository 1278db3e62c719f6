"""Bytes are for ever: every record gives its streams, and its samples within their standard."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.passed.codec import encode, streams
from tilepress.codecs.passed.payload import unpack
from tilepress.codecs.record import is_irreversible, unpack_record
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent.parent / "golden/passed"
INDEX = json.loads((FOLDER / "index.json").read_text())
STEP = {"uint8": 2, "uint16": 4}
"""What another decoder of lossy streams may be off by."""


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    def test_decodes_as_ever(self, name: str) -> None:
        entry, record = INDEX[name], (FOLDER / f"{name}.tp").read_bytes()
        assert sha256(record) == entry["record_sha256"], "a golden file changed"
        assert is_irreversible(record) == entry["irreversible"]
        found = [None if data is None else sha256(data) for data in streams(record)]
        assert found == entry["streams_sha256"]
        decoded = TileCodec().decode(record)
        assert (decoded.dtype.name, list(decoded.shape)) == (entry["dtype"], entry["shape"])
        with np.load(FOLDER / "samples.npz") as samples:
            off = np.abs(decoded.astype(int) - samples[name].astype(int)).max()
        assert off <= (STEP[entry["dtype"]] if entry["irreversible"] else 0)

    def test_the_encoder_writes_the_same_bytes_as_ever(self, name: str) -> None:
        record = (FOLDER / f"{name}.tp").read_bytes()
        header, payload = unpack_record(record)
        kept = unpack(payload)
        coded = tuple(slice(n) for n in header.coded)
        (family,) = ({1: "jpeg2000", 2: "jpegxl", 3: "webp"}[kept.family.number],)
        again = encode(
            kept.streams,
            TileCodec().decode(record)[coded],
            family=family,
            grid=kept.grid,
            shape=header.shape,
            fill=int.from_bytes(header.fill, "little"),
            lossless=not header.irreversible,
        )
        assert again == record


def test_none_is_missing() -> None:
    assert {path.stem for path in FOLDER.glob("*.tp")} == set(INDEX)
    assert len(INDEX) >= 15
