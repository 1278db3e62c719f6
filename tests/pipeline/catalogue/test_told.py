"""What a store or an archive holds, as values and as notebooks show them."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import tilepress
from tilepress.errors import StoreError, UsageError
from tilepress.workflows.cli.app import app

from ...helpers.samples import smooth


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("told")
    (folder / "in").mkdir()
    for name in ("a", "<b>"):
        np.save(folder / "in" / f"{name}.npy", smooth((3, 40, 50)))
    assert tilepress.compress(folder / "in", folder / "out", workers=0).ok
    return folder / "out"


class TestAList:
    def test_has_every_store_and_the_totals(self, archive: Path):
        found = tilepress.ls(archive)
        assert [store.path for store in found] == ["<b>.zarr", "a.zarr"]
        assert found[1].shape == (3, 40, 50)
        assert found.totals.raw_bytes == 2 * 3 * 40 * 50 * 2
        assert found.totals.states == {"sealed": 2}

    def test_is_a_table_in_notebooks_and_names_are_escaped(self, archive: Path):
        shown = tilepress.ls(archive)._repr_html_()
        assert shown.count("<tr>") == 3
        assert "&lt;b&gt;.zarr" in shown
        assert "<b>" not in shown
        assert "2 stores" in shown

    def test_is_a_short_table_at_a_prompt(self, archive: Path):
        found = tilepress.ls(archive)
        lines = repr(found).splitlines()
        told = CliRunner().invoke(app, ["ls", str(archive)]).stdout.splitlines()
        assert lines == told
        found.extend(found * 49)
        *lines, more, totals = repr(found).splitlines()
        assert (len(lines), more) == (21, "… and 80 more")
        assert totals.startswith("100 stores, ")

    def test_of_nothing_is_refused(self, tmp_path: Path):
        with pytest.raises(UsageError, match="no folder at"):
            tilepress.ls(tmp_path / "nothing")


class TestAStore:
    def test_tells_what_the_command_tells(self, archive: Path):
        found = tilepress.info(archive / "a.zarr")
        assert (found.listed.shape, found.chunk, found.levels) == ((3, 40, 50), (3, 40, 50), ())
        assert found.statement["loss"]["lossless"] is True
        told = CliRunner().invoke(app, ["info", str(archive / "a.zarr"), "--json"])
        assert json.loads(told.stdout) == json.loads(json.dumps(found.to_json(), default=str))

    def test_is_a_few_lines_at_a_prompt(self, archive: Path):
        lines = repr(tilepress.info(archive / "a.zarr")).splitlines()
        assert lines[0].endswith("a.zarr: z,y,x 3×40×50 uint16")
        assert "  chunks 3×40×50, levels 1, without mask" in lines
        assert "  lossless" in lines
        assert len(lines) < 8
        assert max(map(len, lines[1:])) <= 110

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"max_error": 3}, r"  no sample off by more than 3"),
            ({"psnr": 40}, r"  lossy \(PSNR 4\d\.\d dB\)"),
            ({"psnr": 40, "max_error": 50},
             r"  lossy \(PSNR 4\d\.\d dB\), no sample off by more than 50"),
        ],
    )  # fmt: skip
    def test_says_what_was_lost(self, options: dict[str, float], told: str, tmp_path: Path):
        """A number alone, as the column of a list has it, says nothing outside of its column."""
        noisy = np.random.default_rng(0).integers(0, 4000, (64, 64)).astype(np.uint16)
        np.save(tmp_path / "a.npy", noisy)
        store = tmp_path / "a.zarr"
        assert tilepress.compress(tmp_path / "a.npy", store, workers=0, **options).ok
        lines = repr(tilepress.info(store)).splitlines()
        assert any(re.fullmatch(told, line) for line in lines), lines

    def test_is_a_table_in_notebooks(self, archive: Path):
        shown = tilepress.info(archive / "a.zarr")._repr_html_()
        assert "[3, 40, 50]" in shown
        assert "<summary>tilepress</summary>" in shown

    def test_of_an_archive_is_the_list_of_its_stores(self, archive: Path):
        assert tilepress.info(archive) == tilepress.ls(archive)
        assert repr(tilepress.info(archive)) == repr(tilepress.ls(archive))
        listed = CliRunner().invoke(app, ["ls", str(archive)])
        assert CliRunner().invoke(app, ["info", str(archive)]).stdout == listed.stdout != ""

    def test_that_is_none_is_refused(self, tmp_path: Path):
        with pytest.raises(UsageError, match="it is no store, and there is none in it"):
            tilepress.info(tmp_path)
        with pytest.raises(UsageError, match="no such file or folder"):
            tilepress.info(tmp_path / "x.zarr")
        (tmp_path / "x.zarr").mkdir()
        with pytest.raises(StoreError):
            tilepress.info(tmp_path / "x.zarr")

    def test_opened_is_a_table_in_notebooks(self, archive: Path):
        assert "image" in tilepress.open(archive / "a.zarr")._repr_html_()
