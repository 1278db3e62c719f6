"""Bytes are for ever: every record ever released decodes to the samples that it held."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec

FOLDER = Path(__file__).parent / "golden" / "v1"
INDEX = json.loads((FOLDER / "index.json").read_text())


class TestGoldenRecords:
    @pytest.mark.parametrize("name", sorted(INDEX))
    def test_decodes_as_ever(self, name: str) -> None:
        entry = INDEX[name]
        record = (FOLDER / f"{name}.tp").read_bytes()
        assert hashlib.sha256(record).hexdigest() == entry["record_sha256"], "a golden file changed"
        samples = TileCodec.from_config(entry["configuration"]).decode(record)
        assert samples.dtype.name == entry["dtype"]
        assert list(samples.shape) == entry["shape"]
        assert hashlib.sha256(np.ascontiguousarray(samples)).hexdigest() == entry["samples_sha256"]

    def test_none_is_missing(self) -> None:
        assert {p.stem for p in FOLDER.glob("*.tp")} == set(INDEX)
        assert len(INDEX) >= 30
