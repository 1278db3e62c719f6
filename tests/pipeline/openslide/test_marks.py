"""Slides of scanners are known by their content, and nothing else is taken for one."""

from __future__ import annotations

import sqlite3
from io import BytesIO
from pathlib import Path

import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.openslide.marks import (
    Maker,
    files_of_key_file,
    maker_of,
    tiff_maker,
)

from ...helpers.scanner_files import TRESTLE, philips, picture, scn, tiff, trestle
from ...helpers.slide_files import pyramid, write_slide

LIST = b"[Virtual Microscope Specimen]\r\nNoLayers=1\r\n"


def of_tiff(path: Path) -> Maker | None:
    with path.open("rb") as file:
        return tiff_maker(file)


def test_tiff_files_by_their_first_directory(tmp_path: Path):
    whole = picture(70, 90)
    assert of_tiff(trestle(tmp_path / "t.tif", whole)) is Maker.TRESTLE
    assert of_tiff(philips(tmp_path / "p.tif", whole)) is Maker.PHILIPS
    assert of_tiff(scn(tmp_path / "l.tif", whole)) is Maker.LEICA
    ventana = tiff(tmp_path / "v.tif", [(whole, {700: b'<?xml version="1.0"?><iScan/>'})])
    assert of_tiff(ventana) is Maker.VENTANA


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("big", [False, True])
def test_in_both_kinds_and_orders_of_tiff(tmp_path: Path, order: str, big: bool):
    text = "http://www.leica-microsystems.com/scn/2010/03/10"
    path = write_slide(tmp_path / "a.tif", pyramid(), texts=[text], order=order, big=big)
    assert of_tiff(path) is Maker.LEICA
    assert of_tiff(write_slide(tmp_path / "b.tif", pyramid(), order=order, big=big)) is None


def test_strips_of_such_software_are_no_slides(tmp_path: Path):
    software = {305: "Philips MR"}
    assert of_tiff(tiff(tmp_path / "a.tif", [(picture(20, 30), {278: [20], **software})])) is None
    text = {305: "Philips MR", 270: TRESTLE[270]}
    assert of_tiff(tiff(tmp_path / "b.tif", [(picture(20, 30), text)])) is None


def test_what_is_cut_off_has_no_mark(tmp_path: Path):
    data = scn(tmp_path / "l.tif", picture(70, 90)).read_bytes()
    found = [tiff_maker(BytesIO(data[:length])) for length in (0, 3, 4, 7, 8, 20)]
    assert set(found) == {None}
    loop = b"II*\0" + (8).to_bytes(4, "little") + b"\xff" * 100
    assert tiff_maker(BytesIO(loop)) is None


@pytest.mark.parametrize("at", [2**62, 2**63 - 1, 2**63, 2**64 - 1])
def test_offsets_that_no_file_has_are_no_mark(tmp_path: Path, at: int):
    (tmp_path / "a.tif").write_bytes(b"II+\0\x08\0\0\0" + at.to_bytes(8, "little"))
    with (tmp_path / "a.tif").open("rb") as file:
        assert tiff_maker(file) is None


def test_other_files_by_how_they_begin(tmp_path: Path):
    assert maker_of(LIST, "a.txt", BytesIO(LIST)) is Maker.VMS
    vmu = b"[Uncompressed Virtual Microscope Specimen]\n"
    assert maker_of(vmu, "a", BytesIO(vmu)) is Maker.VMS
    assert maker_of(b"\xff\xd8\xff", "a.MRXS", BytesIO()) is Maker.MIRAX
    assert maker_of(b"\xff\xd8\xff", "a.jpg", BytesIO()) is None
    for name, table in (("a", "DataManagerSQLiteConfigXPO"), ("b", "Other")):
        with sqlite3.connect(tmp_path / name) as database:
            database.execute(f"CREATE TABLE {table} (TableName TEXT)")
        database.close()
    for name, found in (("a", Maker.SAKURA), ("b", None)):
        data = (tmp_path / name).read_bytes()
        assert maker_of(data[:132], name, BytesIO(data)) is found


def test_a_list_names_files_of_its_folder():
    text = LIST + b"ImageFile=a b.jpg\nImageFile(1,0)=c.jpg\nMapFile=m.jpg\nMacroImage=\nX=y\n"
    assert files_of_key_file(BytesIO(text), "a.vms") == ("a b.jpg", "c.jpg", "m.jpg")
    for name in (b"../a.jpg", b"/etc/passwd", b"..", b"x/a.jpg", b"*.jpg"):
        with pytest.raises(UnsupportedSource, match="of another folder"):
            files_of_key_file(BytesIO(text + b"ImageFile(0,1)=" + name), "a.vms")
    with pytest.raises(UnsupportedSource, match="names no files"):
        files_of_key_file(BytesIO(LIST), "a.vms")
