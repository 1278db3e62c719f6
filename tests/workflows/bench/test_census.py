"""A census finds every file of a folder again: in a store, refused, kept, or left out."""

from __future__ import annotations

import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import census, corpus
from tilepress.workflows.bench.census import Census, Verdict, count, reason_of, table
from tilepress.workflows.bench.corpus import Corpus, Refusal, compressed
from tilepress.workflows.bench.other_readers import Reading, readings
from tilepress.workflows.run.compress import compress

from ...pipeline.images import IMAGE, dicom, npy, tiff


class Here:
    """The other readers, in this process."""

    def read(self, path: Path) -> list[Reading]:
        return readings(path)


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    """Return what became of a folder with a file of every kind."""
    folder, beside = tmp_path_factory.mktemp("in"), tmp_path_factory.mktemp("out")
    tiff(folder / "a.tif")
    npy(folder / "b.npy", IMAGE.astype(np.float32))
    dicom(folder / "series/1", 1, 1)
    dicom(folder / "series/2", 1, 2)
    dicom(folder / "series/2 again", 1, 2)
    (folder / "cut.tif").write_bytes((folder / "a.tif").read_bytes()[:200])
    (folder / "notes.txt").write_text("kept")
    (folder / "odd.xyz").write_bytes(b"left out")
    with zipfile.ZipFile(folder / "c.zip", "w") as packed:
        packed.write(tiff(beside / "c.tif", IMAGE + 1), "inner/c.tif")

    def run(folder: Path, archive: Path, tier: str, report: Path) -> tuple[int, str]:
        done = compress(folder, archive, workers=0, tier=tier, report=report)
        return (0 if done.ok else 1), ""

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corpus, "_compress", run)
        return compressed(folder, beside / "archive", "fast")


@contextmanager
def changed(path: Path) -> Iterator[Path]:
    """Give a file its bytes back at the end."""
    before = path.read_bytes()
    yield path
    path.write_bytes(before)


class TestCounting:
    def test_finds_every_file(self, found: Corpus) -> None:
        counted = count(found, Here())
        assert counted.counts == {
            Verdict.EQUAL: 5, Verdict.REFUSED: 1, Verdict.KEPT: 1, Verdict.COPY: 1,
            Verdict.LEFT_OUT: 1,
        }  # fmt: skip
        assert counted.told == [f"left out: {found.folder / 'odd.xyz'}"]

    def test_sees_another_sample(self, found: Corpus) -> None:
        """A store of the same plane but for one sample is wrong, whatever other stores hold."""
        image = IMAGE.copy()
        image[7, 9] += 1
        with changed(found.folder / "a.tif") as path:
            tiff(path, image)
            counted = count(found, Here())
        assert counted.counts[Verdict.WRONG] == 1
        assert counted.told[0].startswith(f"wrong: {found.folder / 'a.tif'}: not as ")

    def test_sees_other_bytes_of_a_kept_file(self, found: Corpus) -> None:
        with changed(found.folder / "notes.txt") as path:
            path.write_text("other")
            counted = count(found, Here())
        assert counted.counts[Verdict.WRONG] == 1

    def test_what_nobody_foresaw_is_a_crash(self, found: Corpus) -> None:
        path = found.folder / "cut.tif"
        one = Corpus(
            folder=found.folder, archive=found.archive, stores=found.stores, kept=found.kept,
            refused={path: (Refusal("internal", "opening: list index out of range"),)},
        )  # fmt: skip
        assert count(one, Here()).counts[Verdict.CRASHED] == 1

    def test_a_copy_of_what_is_refused_is_refused(self, found: Corpus) -> None:
        first, again = found.folder / "series/2", found.folder / "series/2 again"
        stores = {path: s for path, s in found.stores.items() if path not in (first, again)}
        one = Corpus(
            folder=found.folder, archive=found.archive, stores=stores, kept=found.kept,
            refused={first: (Refusal("damaged-source", "why"),)},
        )  # fmt: skip
        assert count(one, Here()).reasons["why"] == 2


class TestTelling:
    def test_reasons_are_those_of_kinds(self) -> None:
        refusal = Refusal("x", "reading a DICOM image: BitsAllocated is 12, in file #94950217")
        assert reason_of(refusal, Path("a.dcm")) == "reading a DICOM image: BitsAllocated is N"
        refusal = Refusal("x", "opening /in/a.tif: 3 bytes")
        assert reason_of(refusal, Path("/in/a.tif")) == "opening …: N bytes"

    def test_a_table_adds_up(self) -> None:
        some = Census("some", Counter({Verdict.EQUAL: 3}))
        lines = list(table([some, Census("more", Counter({Verdict.REFUSED: 2}), Counter(why=2))]))
        assert lines[2].startswith("| some | 3 | 3 | 0 |")
        assert lines[4].startswith("| all of them | 5 | 3 | 0 | 0 | 2 |")
        assert "    2 refused: why" in lines

    def test_the_exit_status_says_whether_something_is_wrong(
        self, found: Corpus, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(census, "compressed", lambda *_: found)
        assert census.main([str(found.folder)]) == 0
        assert f"| {found.folder.name} | 9 | 5 |" in capsys.readouterr().out
