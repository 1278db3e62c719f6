"""A run in a notebook: executed in a kernel of its own, without a browser."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tilepress.workflows.report.notebook import NotebookProgress, in_notebook

CELL = """
import tilepress

tilepress.compress({image!r}, {store!r}, workers={workers})
"""


def outputs(code: str) -> list[dict[str, str]]:
    """Return what the cells of a notebook with this code show, by their kinds."""
    cells = [nbformat.v4.new_code_cell(code)]
    notebook = nbformat.v4.new_notebook(cells=cells)
    NotebookClient(notebook, timeout=200, kernel_name="python3").execute()
    shown = notebook.cells[0].outputs
    assert not [one for one in shown if one.output_type == "stream"], shown
    return [one.data for one in shown]


@pytest.mark.filterwarnings("ignore")  # of the kernel's client, which is not ours
class TestANotebook:
    @pytest.mark.parametrize("workers", [0, 1])
    def test_shows_a_bar_that_ends_full_and_a_table(
        self, image: Path, tmp_path: Path, workers: int
    ):
        store = str(tmp_path / "x.zarr")
        bar, report = outputs(CELL.format(image=str(image), store=store, workers=workers))
        assert '<progress max="1" value="1.0000">' in bar["text/html"]
        assert "1 of 1 images, 100%" in bar["text/html"]
        assert "x.zarr: 3×150×200 uint16" in bar["text/html"]
        assert "1 written, 0 unchanged, 0 failed" in report["text/html"]

    def test_shows_none_where_it_is_not_wanted(self, image: Path, tmp_path: Path):
        code = CELL.format(image=str(image), store=str(tmp_path / "x.zarr"), workers=0)
        (report,) = outputs(code.replace("workers=0", "workers=0, progress=False"))
        assert "1 written" in report["text/html"]


class TestWhereThereIsNone:
    def test_that_is_known(self):
        assert not in_notebook()

    def test_lines_are_escaped(self):
        progress = NotebookProgress()
        progress._line("<b>")
        assert "&lt;b&gt;" in progress._page()
