"""Bytes are for ever: every record of JPEG streams decodes to its samples and its streams."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.jpeg.codec import encode, streams
from tilepress.codecs.jpeg.payload import unpack
from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent.parent / "golden/jpeg"
INDEX = json.loads((FOLDER / "index.json").read_text())


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    def test_decodes_as_ever(self, name: str) -> None:
        entry, record = INDEX[name], (FOLDER / f"{name}.tp").read_bytes()
        assert sha256(record) == entry["record_sha256"], "a golden file changed"
        samples = TileCodec().decode(record)
        assert (samples.dtype.name, list(samples.shape)) == (entry["dtype"], entry["shape"])
        assert sha256(np.ascontiguousarray(samples).tobytes()) == entry["samples_sha256"]
        found = [None if data is None else sha256(data) for data in streams(record)]
        assert found == entry["streams_sha256"]

    def test_the_encoder_writes_the_same_bytes_as_ever(self, name: str) -> None:
        record = (FOLDER / f"{name}.tp").read_bytes()
        head = unpack(unpack_record(record)[1], Budget("reading", 2**30)).head
        again = encode(
            streams(record), TileCodec().decode(record), grid=head.grid, tables=head.tables
        )
        assert again == record


def test_none_is_missing() -> None:
    assert {path.stem for path in FOLDER.glob("*.tp")} == set(INDEX)
    assert len(INDEX) >= 17
