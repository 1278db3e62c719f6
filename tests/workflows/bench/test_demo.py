"""The demonstration says "all checks passed" only if they did."""

from __future__ import annotations

import io
from importlib import metadata
from pathlib import Path

import pytest
from rich.console import Console

from tilepress.errors import UsageError
from tilepress.examples import data
from tilepress.workflows.bench import demo
from tilepress.workflows.bench.demo import run_demo


@pytest.fixture
def console() -> Console:
    return Console(record=True, width=160, file=io.StringIO())


@pytest.mark.slow
class TestTheWholeMainJob:
    """What `make demo` shows, on real images, with real workers."""

    def test_all_checks_pass(
        self, tmp_path: Path, console: Console, dicom_samples: dict[str, Path], monkeypatch
    ):
        # The radiograph shows nothing that the MR slice does not, and JPEG XL takes long over it.
        few = {name: path for name, path in dicom_samples.items() if name != "radiograph"}
        monkeypatch.setattr(data, "dicom_files", lambda: few)
        out = tmp_path / "out"
        code = run_demo(out, console, workers=2)
        told = console.export_text()
        assert code == 0, told
        assert "all checks passed" in told
        assert "JPEG XL" in told
        stores = sorted(path.relative_to(out / "archive") for path in out.glob("archive/**/*.zarr"))
        assert [store.parent.as_posix() for store in stores] == ["."] * 3 + ["landsat"]


class TestNothingIsSkippedSilently:
    """Half a demonstration is no pass."""

    @pytest.mark.slow
    def test_without_dicom_samples_it_says_how_to_get_them(
        self, tmp_path: Path, console: Console, monkeypatch
    ):
        found = metadata.distribution

        def distribution(name: str):
            if name == "pydicom-data":
                raise metadata.PackageNotFoundError(name)
            return found(name)

        monkeypatch.setattr(metadata, "distribution", distribution)
        monkeypatch.setattr(demo, "ANCHORS", {"jpegls": "JPEG-LS"})
        code = run_demo(tmp_path / "out", console, workers=0)
        told = console.export_text()
        assert code == 1, told
        assert "pip install 'tilepress[demo]'" in told
        assert "checks passed, but none on DICOM" in told

    def test_a_folder_with_other_things_is_left_alone(self, tmp_path: Path, console: Console):
        (tmp_path / "mine.txt").write_text("keep")
        with pytest.raises(UsageError, match="holds other things"):
            run_demo(tmp_path, console)
        assert (tmp_path / "mine.txt").read_text() == "keep"
