"""Which stores' streams go into a file, and where. The rest is in tests/system/test_streams.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress import compress
from tilepress.errors import DamagedStore
from tilepress.pipeline.geotiff.kept_record import parse_record
from tilepress.pipeline.geotiff.part import FilePart
from tilepress.pipeline.geotiff.stream_export import append_streams, stream_options
from tilepress.pipeline.store.reader import StoreReader

from ...helpers.jpeg_files import jpeg_tiff


@pytest.fixture
def reader(tmp_path: Path) -> StoreReader:
    compress(jpeg_tiff(tmp_path / "a.tif", tiled=True), tmp_path / "a.zarr", tile=64, workers=0)
    return StoreReader.open(tmp_path / "a.zarr")


def part(reader: StoreReader, **changes: object) -> FilePart:
    record = parse_record(reader.source_bytes("file-0"))
    fields = {"bands": (0, 1, 2), "window": (0, 0, 150, 170), "target": Path("b.tif")} | changes
    return FilePart(record=record, first=0, **fields)  # type: ignore[arg-type]


def test_a_whole_file_takes_streams(reader: StoreReader):
    found = stream_options(part(reader), reader)
    assert found is not None
    assert (found["COMPRESS"], found["BLOCKXSIZE"], found["SPARSE_OK"]) == ("JPEG", 64, "TRUE")


@pytest.mark.parametrize("changes", [{"bands": (0, 1)}, {"window": (0, 0, 64, 64)}])
def test_a_part_takes_none(reader: StoreReader, changes: dict[str, object]):
    assert stream_options(part(reader, **changes), reader) is None


def test_a_store_of_which_one_chunk_keeps_none_gives_none(
    reader: StoreReader, monkeypatch: pytest.MonkeyPatch
):
    keeps = StoreReader.keeps_streams
    odd = lambda self, index: index != (0, 2, 1) and keeps(self, index)  # noqa: E731
    monkeypatch.setattr(StoreReader, "keeps_streams", odd)
    assert stream_options(part(reader), reader) is None


def test_a_store_of_other_blocks_is_damaged(
    reader: StoreReader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(StoreReader, "streams", lambda *_: [b"", b""])
    path = jpeg_tiff(tmp_path / "c.tif", tiled=True)
    with pytest.raises(DamagedStore, match="has other blocks"):
        append_streams(path, reader, part(reader))
