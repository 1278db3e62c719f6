"""Streams come out of a guest as they lie in the file, and only as streams."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import SourceError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.guests.source import GuestSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source

from ...helpers.jpeg_files import jpeg_tiff


@pytest.fixture
def guest(tmp_path: Path) -> GuestSource:
    (spec,) = discover([jpeg_tiff(tmp_path / "a.tif", photometric="ycbcr", tiled=True)])
    assert isinstance(spec, SourceSpec)
    source = open_source(spec)
    assert isinstance(source, GuestSource)
    return source


def test_they_are_those_of_this_process(guest: GuestSource, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")
    box = Box((0, 64, 0), (3, 150, 128))
    found = guest.streams(box)
    assert found == open_source(guest.spec).streams(box)
    assert (found.rows, found.columns, len(found.streams)) == (2, 2, 4)
    assert guest.streams(Box((0, 3, 0), (3, 150, 128))) is None


@pytest.mark.parametrize(
    "change",
    [
        {"rows": 0},
        {"rows": 3},
        {"width": "64"},
        {"streams": ()},
        {"streams": ("text",)},
        {"family": "other"},
        {"family": b"jpeg"},
        {"tables": None},
        {"more": 1},
    ],
)
def test_nonsense_is_one_error(
    guest: GuestSource, monkeypatch: pytest.MonkeyPatch, change: dict[str, object]
):
    sound = {"streams": (b"a", None), "rows": 1, "columns": 2, "height": 64, "width": 64}
    monkeypatch.setattr(guest, "_ask", lambda *_: {**sound, "tables": b"", **change})
    with pytest.raises(SourceError, match="nonsense"):
        guest.streams(Box((0, 0, 0), (3, 64, 128)))
