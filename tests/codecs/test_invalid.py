"""Some bytes must never become samples: each invalid record fails, and for the reason it should."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError

FOLDER = Path(__file__).parent / "golden" / "invalid"
INDEX = json.loads((FOLDER / "index.json").read_text())


class TestInvalidGoldenRecords:
    """Whoever writes another decoder tests it with these (FORMAT.md): kind and cause are part."""

    @pytest.mark.parametrize("name", sorted(INDEX))
    def test_fails_as_ever(self, name: str) -> None:
        entry = INDEX[name]
        record = (FOLDER / f"{name}.tp").read_bytes()
        assert hashlib.sha256(record).hexdigest() == entry["sha256"], "an invalid record changed"
        with pytest.raises(CodecError) as caught:
            TileCodec.from_config(entry["configuration"]).decode(record)
        assert caught.value.kind == entry["kind"]
        assert entry["says"] in str(caught.value)

    def test_none_is_missing(self) -> None:
        assert {p.stem for p in FOLDER.glob("*.tp")} == set(INDEX)
        assert len(INDEX) >= 30
        kinds = {entry["kind"] for entry in INDEX.values()}
        assert kinds >= {"invalid-record", "checksum", "unsupported-format"}

    def test_what_they_come_from_decodes(self) -> None:
        """Else all would be refused for what they are, and nothing else would be tested."""
        for name, entry in INDEX.items():
            folder, _, source = entry["from"].partition("/")
            valid = json.loads((FOLDER.parent / folder / "index.json").read_text())[source]
            record = (FOLDER.parent / folder / f"{source}.tp").read_bytes()
            assert entry["configuration"] == valid["configuration"], name
            assert isinstance(
                TileCodec.from_config(entry["configuration"]).decode(record), np.ndarray
            )
