"""What a format names beside a file has to be there, regular, and below the file's folder."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.find.pieces import with_pieces, without_pieces
from tilepress.pipeline.image.source import SourceSpec


@pytest.fixture
def slide(tmp_path: Path) -> SourceSpec:
    (tmp_path / "in/m").mkdir(parents=True)
    for name in ("m.mrxs", "m/Slidedat.ini", "m/Data.dat"):
        (tmp_path / "in" / name).write_bytes(b"1234")
    path = str(tmp_path / "in/m.mrxs")
    return SourceSpec(kind="openslide", paths=(path,), source_bytes=4)


def names(spec: SourceSpec) -> list[str]:
    return [os.path.relpath(path, os.path.dirname(spec.paths[0])) for path in spec.paths]


def test_files_and_all_of_a_folder(slide: SourceSpec):
    found = with_pieces(slide, ("m/Slidedat.ini", "m/*.dat"))
    assert (names(found), found.source_bytes) == (["m.mrxs", "m/Data.dat", "m/Slidedat.ini"], 12)
    found = with_pieces(slide, ("m/Data.dat", "m/Data.dat"))
    assert (names(found), found.source_bytes) == (["m.mrxs", "m/Data.dat"], 8)
    assert with_pieces(slide, ()) is slide


def test_what_is_not_there(slide: SourceSpec):
    for name in ("m(1,0).jpg", "m_map.jpg", "m/Index.dat"):
        with pytest.raises(UnsupportedSource) as caught:
            with_pieces(slide, (name,))
        told = f"{name}, which belongs to it, is not opened: No such file or directory"
        assert str(caught.value) == f"opening {slide.paths[0]}: {told}"
    with pytest.raises(UnsupportedSource, match=": its folder, which belongs to it, is not opened"):
        with_pieces(slide, ("m/no/*.dat",))


@pytest.mark.parametrize("name", ["JANE DOE.jpg", "m_JANE.jpg", "m/Müller.dat", "mJANE"])
def test_names_that_a_slide_gives_are_not_told(slide: SourceSpec, name: str):
    with pytest.raises(UnsupportedSource) as caught:
        with_pieces(slide, ("m/Slidedat.ini", name))
    assert re.search(r": file [12] of 2, which belongs to it, is not opened", str(caught.value))


def test_what_is_no_regular_file_or_lies_elsewhere(slide: SourceSpec, tmp_path: Path):
    os.mkfifo(tmp_path / "in/m/pipe.dat")
    with pytest.raises(UnsupportedSource, match="it is no regular file"):
        with_pieces(slide, ("m/Slidedat.ini", "m/*.dat"))
    (tmp_path / "in/m/pipe.dat").unlink()
    (tmp_path / "else.dat").write_bytes(b"1")
    (tmp_path / "in/m/link.dat").symlink_to(tmp_path / "else.dat")
    with pytest.raises(UnsupportedSource, match="leads outside the folder"):
        with_pieces(slide, ("m/Slidedat.ini", "m/*.dat"))
    (tmp_path / "in/m").rename(tmp_path / "m")
    (tmp_path / "in/m").symlink_to(tmp_path / "m")
    with pytest.raises(UnsupportedSource, match="leads outside the folder"):
        with_pieces(slide, ("m/Slidedat.ini", "m/*.dat"))


def test_files_of_a_slide_are_known_by_the_file_beside_their_folder(
    slide: SourceSpec, tmp_path: Path
):
    every = [str(tmp_path / "in/m" / name) for name in ("Data.dat", "Slidedat.ini", "a.tif")]
    assert without_pieces(every) == every[2:]
    assert without_pieces(list(slide.paths)) == list(slide.paths)
    (tmp_path / "in/m/Slidedat.ini").unlink()
    assert without_pieces(every) == every
