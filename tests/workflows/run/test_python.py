"""``tilepress.compress``: it shows itself where somebody looks, and is never about nothing."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import tilepress
from tilepress.errors import UsageError
from tilepress.workflows.report.telling import SilentProgress


class TestNothing:
    @pytest.mark.parametrize("sources", [[], "", "empty", "empty/*.tif", "gone.tif", ["a", "b"]])
    def test_is_refused(
        self, sources: str | list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "empty").mkdir()
        with pytest.raises(UsageError, match="compressing: "):
            tilepress.compress(sources, "out", workers=0)
        assert not (tmp_path / "out").exists()

    def test_what_is_missing_beside_others_is_a_failure(self, image: Path, tmp_path: Path):
        report = tilepress.compress([image, tmp_path / "gone.tif"], tmp_path / "out", workers=0)
        assert (report.written, len(report.failures), report.absent) == (1, 1, 1)

    def test_a_file_that_is_no_image_is_a_failure(self, tmp_path: Path):
        (tmp_path / "a.tif").write_text("no image")
        report = tilepress.compress(tmp_path / "a.tif", tmp_path / "out", workers=0)
        assert (len(report.failures), report.absent) == (1, 0)

    def test_the_command_says_so_and_exits_with_1(self, command, tmp_path: Path):  # type: ignore[no-untyped-def]
        done = command("compress", tmp_path / "gone.tif", tmp_path / "out", "--workers", "0")
        assert done.returncode == 1
        assert "there is no such file" in done.stderr


class TestProgress:
    def test_is_shown_where_it_is_asked_for(
        self, image: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ):
        tilepress.compress(image, tmp_path / "a.zarr", workers=0)
        tilepress.compress(image, tmp_path / "b.zarr", workers=0, progress=False)
        assert capsys.readouterr().err == ""
        tilepress.compress(image, tmp_path / "c.zarr", workers=0, progress=True)
        assert "c.zarr: 3×150×200 uint16" in capsys.readouterr().err.replace("\n", "")

    def test_may_be_the_caller_s_own(self, image: Path, tmp_path: Path):
        told = []

        class Mine(SilentProgress):
            def tell(self, event: object) -> None:
                told.append(event)

        tilepress.compress(image, tmp_path / "a.zarr", workers=0, progress=Mine())
        assert told


class TestAReport:
    def test_is_a_table_in_notebooks(self, image: Path, tmp_path: Path):
        np.save(tmp_path / "<i>.npy", np.zeros((9, 9), np.uint8))
        sources = [image, tmp_path / "<i>.npy", tmp_path / "gone.tif"]
        shown = tilepress.compress(sources, tmp_path / "out", workers=0)._repr_html_()
        assert "2 written, 0 unchanged, 1 failed" in shown
        assert "3×150×200" in shown
        assert "&lt;i&gt;.npy" in shown
        assert "<i>" not in shown
        assert "gone.tif: there is no such file" in shown

    def test_is_a_few_lines_at_a_prompt(self, image: Path, tmp_path: Path):
        sources = [image, tmp_path / "gone.tif"]
        first, *rest = repr(tilepress.compress(sources, tmp_path / "out", workers=0)).splitlines()
        assert first.startswith("1 written, 0 unchanged, 1 failed, ")
        assert sum("gone.tif: there is no such file" in line for line in rest) == 1
        assert len(rest) < 4

    def test_of_a_dry_run_tells_what_would_be_done(self, image: Path, tmp_path: Path):
        done = tilepress.compress(image, tmp_path / "out", dry_run=True)
        shown = done._repr_html_()
        assert "<table>" not in shown
        assert "1 image" in shown
        assert "1 image" in repr(done)
