"""The command find prints the paths of stores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from .conftest import Command, write_tiff


@pytest.fixture
def archive(call: Command, tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    write_tiff(tmp_path / "in" / "S2A_29RKH_20200219_0_L2A__B08.tif")
    write_tiff(tmp_path / "in" / "map.tif")
    call("compress", tmp_path / "in", tmp_path / "out", "--workers", 0)
    return tmp_path / "out"


class TestFind:
    def test_prints_a_path_a_line(self, call: Command, archive: Path) -> None:
        done = call("find", archive, "--datetime", "2020-02")
        assert done.returncode == 0
        assert done.stdout == f"{archive}/S2A_29RKH_20200219_0_L2A__B08.zarr\n"
        done = call("find", archive, "--bbox", "-10,30,10,40", "--json")
        assert json.loads(done.stdout) == [
            f"{archive}/S2A_29RKH_20200219_0_L2A__B08.zarr",
            f"{archive}/map.zarr",
        ]

    def test_nothing_found_is_no_error(self, call: Command, archive: Path) -> None:
        done = call("find", archive, "--modality", "CT")
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_a_condition_has_to_be_named(self, call: Command, archive: Path) -> None:
        done = call("find", archive)
        assert done.returncode == 2
        assert "say what to look for" in done.stderr

    def test_nonsense_is_one_line(self, call: Command, archive: Path, tmp_path: Path) -> None:
        for line in (
            ["--bbox", "1,2"],
            ["--datetime", "soon"],
            ["--patient-hash", "x"],
            ["--uid", "x"],
        ):
            done = call("find", archive, *line)
            assert done.returncode == 2
            assert len(done.stderr.splitlines()) == 1
        assert call("find", tmp_path / "absent", "--modality", "CT").returncode == 2
