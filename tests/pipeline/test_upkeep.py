"""``tilepress.levels`` and ``tilepress.repair``: the commands as calls, with their options."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tilepress
from tilepress.errors import UsageError

from ..helpers.samples import smooth


@pytest.fixture
def sources(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    for number in range(2):
        np.save(tmp_path / f"in/{number}.npy", smooth((40, 40)) + np.uint16(number))
    return tmp_path / "in"


@pytest.fixture
def archive(sources: Path, tmp_path: Path) -> Path:
    assert tilepress.compress(sources, tmp_path / "out", workers=0, tier="fast").ok
    return tmp_path / "out"


class TestLevels:
    def test_of_a_store_come_of_its_samples(self, archive: Path):
        (done,) = tilepress.levels(archive / "0.zarr", levels=1)
        assert (done.ok, done.state, done.levels) == (True, "written", 1)
        assert tilepress.open(archive / "0.zarr", level=1)["image"].shape == (20, 20)

    def test_of_an_archive_and_its_sources_too(self, archive: Path, sources: Path):
        (archive / "1.zarr/0/image/zarr.json").unlink()
        done = tilepress.levels(archive, sources, levels=2)
        assert [Path(one.store).name for one in done] == ["0.zarr", "1.zarr"]
        assert [one.levels for one in done if one.ok] == [2, 2]

    def test_auto_leaves_small_images_alone(self, archive: Path):
        assert {one.state for one in tilepress.levels(archive)} == {"unchanged"}

    @pytest.mark.parametrize(
        ("given", "said"),
        [
            ({"levels": "none"}, "got levels 'none', want 'auto' or how many"),
            ({"levels": 0}, "levels"),
            ({"stack": "*_B*.tif"}, "stack and driver say how a source is read; name it"),
            ({"driver": "HFA"}, "stack and driver say how a source is read; name it"),
            ({"source": "gone.npy"}, "no such file or folder"),
            ({"source": "in", "driver": "of-nobody"}, "got 'of-nobody', want one of"),
        ],
    )
    def test_what_makes_no_sense_is_refused(
        self, archive: Path, given: Any, said: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(archive.parent)
        with pytest.raises(UsageError, match=said):
            tilepress.levels(archive, **given)


class TestRepair:
    def test_writes_what_is_damaged(self, archive: Path, sources: Path):
        shard = archive / "1.zarr/0/image/c/0/0"
        good = shard.read_bytes()
        shard.write_bytes(good[:-1])
        assert tilepress.verify(archive)
        done = tilepress.repair(archive, sources)
        assert [one.state for one in done] == ["sound", "repaired"]
        assert shard.read_bytes() == good
        assert tilepress.verify(archive, sources) == []

    def test_says_why_it_could_not(self, archive: Path, sources: Path):
        (archive / "1.zarr/0/image/c/0/0").unlink()
        (sources / "1.npy").write_bytes((sources / "0.npy").read_bytes())
        done = tilepress.repair(archive, [sources])
        assert [one.ok for one in done] == [True, False]
        assert done[1].reason

    def test_what_is_not_there_is_refused(self, archive: Path, sources: Path):
        with pytest.raises(UsageError, match="no such file or folder"):
            tilepress.repair(archive / "gone.zarr", sources)
        with pytest.raises(UsageError, match="no such file or folder"):
            tilepress.repair(archive, sources / "gone.npy")


class TestVerify:
    def test_takes_what_says_how_a_source_is_read(self, archive: Path, sources: Path):
        np.save(sources / "1.npy", smooth((40, 40)))
        assert [one.kind for one in tilepress.verify(archive, sources)] == ["source"]
        np.save(sources / "more.npy", smooth((4, 4)))
        kinds = {one.kind for one in tilepress.verify(archive, sources, include="0.npy")}
        assert kinds == {"unknown"}  # the source of the other store is left out
        assert tilepress.verify(archive / "0.zarr", sources, exclude=["1.npy", "more.npy"]) == []
