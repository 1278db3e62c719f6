"""The seal: what it is on, and what it is taken from first."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path
from typing import Any

import pytest
import zarr

from tilepress.errors import (
    StoreError,
    UnsealedStore,
    UnsupportedFormat,
)
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import remove_store


class TestRemoval:
    def test_begins_with_the_seal(self, geo_store: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        import shutil

        def stop(path: Path) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(shutil, "rmtree", stop)
        with pytest.raises(OSError, match="Input/output"):
            remove_store(geo_store.path)
        with pytest.raises(UnsealedStore):
            StoreReader.open(geo_store.path)
        monkeypatch.undo()
        remove_store(geo_store.path)
        assert not geo_store.path.exists()


class TestWhatIsNoStoreOfOurs:
    def test_a_store_of_another_format(self, geo_store: Any) -> None:
        """Sealed by a tilepress to come: refused by name, not guessed at."""
        path = geo_store.path / "zarr.json"
        text = re.sub(r'"format_version":\d', '"format_version":9', path.read_text())
        zero = '"seal":"' + "0" * 64 + '"'
        blank = re.sub(r'"seal":"[0-9a-f]{64}"', zero, text)
        seal = hashlib.sha256(blank.encode()).hexdigest()
        path.write_text(blank.replace(zero, f'"seal":"{seal}"'))
        with pytest.raises(UnsupportedFormat, match="store format 9"):
            StoreReader.open(geo_store.path)

    def test_what_is_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="no store"):
            StoreReader.open(tmp_path / "none.zarr")
        zarr.create_group(tmp_path / "other.zarr")
        with pytest.raises(StoreError, match="no store of tilepress"):
            StoreReader.open(tmp_path / "other.zarr")
        with pytest.raises(StoreError, match="it is an archive; name one of its stores"):
            StoreReader.open(tmp_path)
