"""The table of files that came compressed tells sizes of stores, and what comes back."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.workflows.bench.corpus import Corpus
from tilepress.workflows.bench.recompressed import Row, rows, table
from tilepress.workflows.run.compress import compress

from ...helpers.jpeg_files import jpeg_tiff
from ...pipeline.images import tiff


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Return an archive of two equal JPEG files, and of one that is none."""
    folder = tmp_path_factory.mktemp("in")
    files = [jpeg_tiff(folder / "a.tif", tiled=True), folder / "b.tif", tiff(folder / "c.tif")]
    files[1].write_bytes(files[0].read_bytes())
    archive = folder.parent / "out"
    report = compress(folder, archive, workers=0, tier="fast")
    stores = {Path(image.source): (Path(image.store),) for image in report.images}
    assert set(stores) == set(files)
    return Corpus(folder=folder, archive=archive, stores=stores, refused={}, kept={})


class TestRows:
    def test_are_of_streams_alone_and_of_each_content_once(self, corpus: Corpus) -> None:
        (row,) = rows([corpus])
        store = corpus.archive / "a.zarr"
        objects = [path.stat().st_size for path in store.rglob("*") if path.is_file()]
        assert row.name == "a.tif"
        assert row.file_bytes == (corpus.folder / "a.tif").stat().st_size
        assert row.store_bytes == sum(objects)
        assert 0 < row.chunk_bytes < row.store_bytes
        assert row.back in ("file", "streams")

    def test_tell_when_other_streams_come_back(self, corpus: Corpus) -> None:
        """The same store, and a file of which it has none of the streams."""
        other = jpeg_tiff(corpus.folder / "d.tif", tiled=True, jpeg_quality=30)
        changed = Corpus(
            folder=corpus.folder, archive=corpus.archive, refused={}, kept={},
            stores={other: (corpus.archive / "a.zarr",)},
        )  # fmt: skip
        (row,) = rows([changed])
        assert row.back == "samples"


class TestTable:
    def test_adds_up(self) -> None:
        one = Row(name="a", file_bytes=2000, chunk_bytes=1000, store_bytes=1500, back="file")
        two = Row(name="b", file_bytes=2000, chunk_bytes=2000, store_bytes=2500, back="samples")
        lines = list(table([one, two]))
        assert lines[2] == "| a | 2 000 | 1 500 | 1 000 | 500 | -50.0 % | -25.0 % | file |"
        assert lines[4] == (
            "| these 2 | 4 000 | 4 000 | 3 000 | 1 000 | -25.0 % | +0.0 % | not all |"
        )

    def test_of_nothing_is_a_head(self) -> None:
        assert len(list(table([]))) == 2
