"""Metadata that may make GDAL open another file are known, wherever they stand."""

from __future__ import annotations

import io
import socket
import struct
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.geotiff import references
from tilepress.pipeline.geotiff.header import read_header
from tilepress.pipeline.geotiff.references import names_others, raster_names_others
from tilepress.pipeline.geotiff.source import GeoTiffSource

from .test_source import edit, noise, read_all, write


@pytest.mark.parametrize(
    "text",
    [
        *(b"OVERVIEW_FILE", b"overview_file", b"&#79;VERVIEW_FILE", b"\0RRDNamesList\0"),
        *(b"x" * 100 + b"OVERVIEWS", b"ExternalRasterDMS", b"DependentFile"),
    ],
)
@pytest.mark.parametrize("piece", [7, 64, 2**20])
def test_names_are_found_over_any_cut(
    monkeypatch: pytest.MonkeyPatch, text: bytes, piece: int
) -> None:
    monkeypatch.setattr(references, "PIECE_BYTES", piece)
    file = io.BytesIO(b"<a>" * 50 + text + b"</a>" * 50)
    assert names_others(file)
    assert not names_others(file, 0, 150)
    assert not names_others(io.BytesIO(b"<PAMDataset><SRS>EPSG:4326</SRS></PAMDataset>"))


def test_tags_of_a_tiff(tmp_path: Path) -> None:
    path = write(tmp_path / "a.tif", noise((8, 8)))
    assert not raster_names_others(path, "GTiff", read_header(path))
    with edit(path) as file:
        file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="b.tif")
    assert raster_names_others(path, "GTiff", read_header(path))
    assert raster_names_others(path, "GTiff", None), "GDAL may read what we cannot"


@pytest.mark.parametrize("wrapped", [False, True])
def test_boxes_of_jpeg_2000(tmp_path: Path, wrapped: bool) -> None:
    samples = noise((64, 64), "uint8")
    path = write(tmp_path / "a.jp2", samples, driver="JP2OpenJPEG", REVERSIBLE="YES", QUALITY=100)
    assert not raster_names_others(path, "JP2OpenJPEG", None)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        item = f"/vsicurl/http://127.0.0.1:{server.getsockname()[1]}/a.tif"
        xml = (
            '<GDALMultiDomainMetadata><Metadata domain="OVERVIEWS"><MDI key="OVERVIEW_FILE">'
            f"{item}</MDI></Metadata></GDALMultiDomainMetadata>"
        ).encode()
        box = struct.pack(">I4s", 8 + len(xml), b"xml ") + xml
        if wrapped:
            box = struct.pack(">I4s", 8 + len(box), b"asoc") + box
        data = path.read_bytes()
        at = data.index(b"jp2c") - 4
        path.write_bytes(data[:at] + box + data[at:])
        assert raster_names_others(path, "JP2OpenJPEG", None)
        with GeoTiffSource.open(path) as source:
            assert np.array_equal(read_all(source), samples)
            list(source.source_items())
        with pytest.raises(TimeoutError):
            server.accept()


def test_boxes_that_make_no_sense_may_say_anything(tmp_path: Path) -> None:
    path = tmp_path / "a.jp2"
    path.write_bytes(b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\3junk")
    assert raster_names_others(path, "JP2OpenJPEG", None)
