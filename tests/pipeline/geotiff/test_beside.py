"""What lies beside a raster is looked at before GDAL sees it; nothing else is opened."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff import beside as looking
from tilepress.pipeline.geotiff.beside import files_beside
from tilepress.pipeline.geotiff.source import GeoTiffSource

from .test_source import UTM, edit, noise, read_all, write

SAMPLES = noise((32, 48), "uint8")


@pytest.fixture
def image(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    return write(tmp_path / "in" / "a.tif", SAMPLES, **UTM)


@pytest.fixture
def outside(tmp_path: Path) -> Path:
    """A file that nobody has named."""
    (tmp_path / "out").mkdir()
    return write(tmp_path / "out" / "secret.tif", noise((32, 48), "uint8", 2))


def vrt(of: Path, kind: str = "VRTRasterBand") -> str:
    return (
        '<VRTDataset rasterXSize="48" rasterYSize="32"><VRTRasterBand dataType="Byte" band="1">'
        f'<SimpleSource><SourceFilename relativeToVRT="0">{of}</SourceFilename>'
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def pam(body: str) -> str:
    return f"<PAMDataset>{body}</PAMDataset>"


def overview_file(name: object, key: str = "OVERVIEW_FILE") -> str:
    return pam(f'<Metadata domain="OVERVIEWS"><MDI key="{key}">{name}</MDI></Metadata>')


def write_mask(image: Path, mask: np.ndarray) -> None:
    with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False), edit(image) as file:
        file.write_mask(mask)
    assert image.with_name("a.tif.msk").exists()


def opened(image: Path) -> GeoTiffSource:
    with GeoTiffSource.open(image) as source:
        assert np.array_equal(read_all(source), SAMPLES)
        list(source.source_items())
        source.fingerprint()
        return source


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    """A server that nobody may call."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.2)
        yield server


class TestTheMask:
    def test_a_tiff_is_taken(self, image: Path) -> None:
        mask = np.where(SAMPLES > 100, 255, 0).astype(np.uint8)
        write_mask(image, mask)
        with GeoTiffSource.open(image) as source:
            assert source.info.has_mask
            assert np.array_equal(source.read_mask(_all(source)), mask)
            assert [file["name"] for file in source.fingerprint()["files"]] == [
                *("a.tif", "a.tif.msk"),
            ]

    def test_anything_else_fails_the_image(self, image: Path, outside: Path) -> None:
        """Taken without it, the image would have samples that it says are none."""
        image.with_name("a.tif.msk").write_text(vrt(outside))
        with pytest.raises(UnsupportedSource, match=r"a\.tif\.msk beside it .* no TIFF"):
            GeoTiffSource.open(image)

    def test_a_link_may_not_lead_outside(self, image: Path, outside: Path) -> None:
        image.with_name("a.tif.msk").symlink_to(outside)
        with pytest.raises(UnsupportedSource, match=r"a\.tif\.msk .* leads outside"):
            GeoTiffSource.open(image)

    def test_a_link_to_nothing_is_no_missing_mask(self, image: Path) -> None:
        image.with_name("a.tif.msk").symlink_to("gone")
        with pytest.raises(UnsupportedSource, match=r"a\.tif\.msk .* No such file"):
            GeoTiffSource.open(image)

    def test_the_mask_names_no_overviews_either(self, image: Path, listener: socket.socket) -> None:
        write_mask(image, SAMPLES)
        with edit(image.with_name("a.tif.msk")) as file:
            address = f"/vsicurl/http://127.0.0.1:{listener.getsockname()[1]}/a.tif"
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=address)
        source = opened(image)
        assert source.info.has_mask
        assert source._files[0].record["mask"] == "external"
        with pytest.raises(TimeoutError):
            listener.accept()

    def test_its_metadata_are_read_where_it_is_open(
        self, image: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Not by its name, under which another file may lie by now."""
        write_mask(image, SAMPLES)
        mask, innocent = image.with_name("a.tif.msk"), image.with_name("other")
        innocent.write_bytes(mask.read_bytes())
        with edit(mask) as file:
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE="b.tif")
        real = looking._wrong

        def exchange(*what: Any) -> str | None:
            found = real(*what)
            innocent.replace(mask)
            return found

        monkeypatch.setattr(looking, "_wrong", exchange)
        with files_beside(image) as found:
            assert found.names_others

    def test_a_file_that_only_the_mask_names_is_not_opened(
        self, image: Path, outside: Path
    ) -> None:
        write_mask(image, SAMPLES)
        image.with_name("a.tif.msk.aux.xml").write_text(overview_file(outside))
        image.with_name("a.tif.msk.ovr").write_text(vrt(outside))
        assert opened(image).info.has_mask


class TestOverviews:
    def test_tiffs_are_told_of(self, image: Path) -> None:
        with edit(image) as file, rasterio.Env(TIFF_USE_OVR=True):
            file.build_overviews([2])
        assert image.with_name("a.tif.ovr").exists()
        with GeoTiffSource.open(image) as source:
            assert source._files[0].record["overviews"] == [2]
            assert source._files[0].record["sidecars"] == ["a.tif.ovr"]

    @pytest.mark.parametrize("kind", ["vrt", "link outside", "pipe"])
    def test_others_are_left_out_and_told(self, image: Path, outside: Path, kind: str) -> None:
        beside = image.with_name("a.tif.ovr")
        if kind == "vrt":
            beside.write_text(vrt(outside))
        elif kind == "pipe":
            os.mkfifo(beside)
        else:
            beside.symlink_to(outside)
        source = opened(image)
        assert source._files[0].record["overviews"] == []
        assert any("a.tif.ovr beside it is not opened" in one for one in source.info.remarks)

    @pytest.mark.parametrize("key", ["OVERVIEW_FILE", "overview_file", "&#79;VERVIEW_FILE"])
    def test_files_that_metadata_name_are_not_opened(
        self, image: Path, listener: socket.socket, key: str
    ) -> None:
        address = f"/vsicurl/http://127.0.0.1:{listener.getsockname()[1]}/a.tif"
        image.with_name("a.tif.aux.xml").write_text(overview_file(address, key))
        opened(image)
        with pytest.raises(TimeoutError):
            listener.accept()

    def test_not_even_where_the_image_itself_names_them(
        self, image: Path, listener: socket.socket
    ) -> None:
        with edit(image) as file:
            address = f"/vsicurl/http://127.0.0.1:{listener.getsockname()[1]}/a.tif"
            file.update_tags(ns="OVERVIEWS", OVERVIEW_FILE=address)
        assert not image.with_name("a.tif.aux.xml").exists()
        opened(image)
        with pytest.raises(TimeoutError):
            listener.accept()


class TestMetadata:
    def test_what_is_sound_is_read(self, image: Path) -> None:
        image.with_name("a.tif.aux.xml").write_text(
            pam('<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>')
        )
        assert opened(image).info.nodata == 7

    def test_files_whose_metadata_name_overviews_keep_the_rest(self, image: Path) -> None:
        band = '<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>'
        text = overview_file("a.rrd").replace("</PAMDataset>", band + "</PAMDataset>")
        image.with_name("a.tif.aux.xml").write_text(text)
        source = opened(image)
        assert source.info.nodata == 7
        assert source._files[0].record["sidecars"] == ["a.tif.aux.xml"]

    @pytest.mark.parametrize("name", ["a.tif.aux.xml", "a.tfw", "a.wld", "a.tab", "A.TFW"])
    def test_what_may_say_what_samples_mean_is_needed(
        self, image: Path, outside: Path, name: str
    ) -> None:
        image.with_name(name).symlink_to(outside)
        with pytest.raises(UnsupportedSource, match=f"{name} beside it is not opened"):
            GeoTiffSource.open(image)

    def test_a_pipe_is_not_waited_for(self, image: Path) -> None:
        os.mkfifo(image.with_name("a.tif.aux.xml"))
        with pytest.raises(UnsupportedSource, match="no regular file"):
            GeoTiffSource.open(image)

    def test_notes_that_are_not_opened_are_told(self, image: Path, outside: Path) -> None:
        """Labels of a data set are often links, and have names as notes have."""
        image.with_name("a.txt").symlink_to(outside)
        assert any("a.txt beside it is not opened" in one for one in opened(image).info.remarks)

    def test_neighbours_are_not_companions(self, image: Path, outside: Path) -> None:
        for name in ("ab.tif.aux.xml", "a.raw", "a.csv", "b.tfw", "a.tex.aux"):
            image.with_name(name).symlink_to(outside)
        assert not opened(image).info.remarks

    def test_the_image_may_be_called_after_a_text(self, image: Path) -> None:
        image.with_name("a.txt").write_text("told")
        image.rename(image.with_name("a.txt.tif"))
        assert not opened(image.with_name("a.txt.tif")).info.remarks

    def test_what_a_scene_and_a_product_share_is_shown(self, image: Path) -> None:
        """As GDAL's readers of Landsat, GeoEye, Pléiades, SPOT and ALOS look for it."""
        for name, beside in (
            ("LC08_1_B2.TIF", "LC08_1_MTL.txt"),
            ("po_1_rgb_000.tif", "po_1_rgb_000_rpc.txt"),
            ("IMG_PHR1A_PMS_2011.TIF", "DIM_PHR1A_PMS_2011.XML"),
            ("IMG-01-ALPSMW220152800.tif", "HDR-ALPSMW220152800.txt"),
            ("a.tif", "METADATA.DIM"),
            ("a.tif", "a.IMD"),
        ):
            (image.parent / beside).write_text("told")
            with files_beside(image.with_name(name)) as found:
                assert [one.name for one in found.companions if one.name == beside] == [beside]

    def test_links_of_a_farm_have_their_companions_with_them(
        self, image: Path, tmp_path: Path
    ) -> None:
        image.with_name("a.tif.aux.xml").write_text(
            pam('<PAMRasterBand band="1"><NoDataValue>7</NoDataValue></PAMRasterBand>')
        )
        (tmp_path / "farm").mkdir()
        for name in ("a.tif", "a.tif.aux.xml"):
            (tmp_path / "farm" / name).symlink_to(image.with_name(name))
        assert opened(tmp_path / "farm" / "a.tif").info.nodata == 7


def test_links_for_gdal_are_gone_when_the_image_is_open(
    image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    image.with_name("a.tif.aux.xml").write_text(pam(""))
    write_mask(image, SAMPLES)
    with GeoTiffSource.open(image) as source:
        assert not list((tmp_path / "temporary").iterdir())
        assert np.array_equal(read_all(source), SAMPLES)
        assert np.array_equal(source.read_mask(_all(source)), SAMPLES)


def test_a_jpeg_2000_is_read_by_several_threads_from_its_view(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    samples = noise((300, 300), "uint8")
    options = {"REVERSIBLE": "YES", "QUALITY": 100, "BLOCKXSIZE": 64, "BLOCKYSIZE": 64}
    path = write(tmp_path / "a.jp2", samples, driver="JP2OpenJPEG", **options)
    path.with_name("a.jp2.aux.xml").write_text(pam(""))
    with rasterio.Env(GDAL_NUM_THREADS=2), GeoTiffSource.open(path) as source:
        assert np.array_equal(read_all(source), samples)
    del source
    assert not list((tmp_path / "temporary").iterdir())


def _all(source: GeoTiffSource):
    from tilepress.pipeline.image.grid import Box

    return Box((0, 0), source.info.shape)
