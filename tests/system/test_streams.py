"""JPEG streams go all the way: from files to records, through repair, and back byte by byte."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
import rasterio
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGBaseline8Bit

import tilepress
from tilepress import compress, export
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.verify import verify_store
from tilepress.pipeline.image.grid import ShardGrid, choose_grid
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.reader import StoreReader

from ..helpers.jpeg_files import PICTURE, blocks, jpeg_tiff
from ..pipeline.dicom.conftest import build, save

TIFFS: dict[str, tuple[int, dict[str, Any]]] = {
    "YCbCr tiles": (3, {"photometric": "ycbcr", "tiled": True}),
    "RGB tiles": (3, {"photometric": "rgb", "tiled": True}),
    "strips": (3, {"photometric": "ycbcr", "blockysize": 16}),
    "grey": (1, {"tiled": True}),
    "bands apart": (3, {"interleave": "band", "tiled": True}),
    "white is 0": (1, {"photometric": "miniswhite", "tiled": True}),
    "tiles as wide as the image": (3, {"tiled": True, "blockxsize": 176, "blockysize": 64}),
    "big-endian BigTIFF": (3, {"ENDIANNESS": "BIG", "BIGTIFF": "YES", "tiled": True}),
}


def coded(store: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted((store / "0/image/c").rglob("*")) if p.is_file())


def jpeg_dicom(path: Path, frames: int = 1, fragments: int = 1) -> Path:
    pictures = [PICTURE[0] if at % 2 == 0 else PICTURE[1] for at in range(frames)]
    streams = [imagecodecs.jpeg_encode(one, level=80) for one in pictures]
    pixels = encapsulate(streams, fragments_per_frame=fragments)
    dataset = build(
        pixels, JPEGBaseline8Bit, Rows=150, Columns=170, BitsAllocated=8, BitsStored=8,
        PixelRepresentation=0, **({"NumberOfFrames": frames} if frames > 1 else {}),
    )  # fmt: skip
    dataset["PixelData"].is_undefined_length = True
    return save(dataset, path)


def narrow_shards(shape: tuple[int, ...], itemsize: int, **options: Any) -> ShardGrid:
    """Return a grid with a shard for each column of chunks."""
    grid = choose_grid(shape, itemsize, **options)
    return ShardGrid(grid.shape, grid.chunk, (*grid.shard[:-1], grid.chunk[-1]))


class TestTiff:
    @pytest.mark.parametrize("name", TIFFS)
    def test_gives_tables_and_blocks_back(self, tmp_path: Path, name: str):
        bands, options = TIFFS[name]
        path = jpeg_tiff(tmp_path / "a.tif", bands, **options)
        report = compress(path, tmp_path / "a.zarr", tile=128, workers=0)
        assert not report.failures
        with rasterio.open(path) as file:
            want = file.read()
        stored = StoreReader.open(tmp_path / "a.zarr").image[...]
        assert np.array_equal(stored.reshape(want.shape), want)
        streams = [one for one in blocks(path)[1] if one is not None]
        assert len(coded(tmp_path / "a.zarr")) < sum(map(len, streams)) + len(blocks(path)[0])
        (again,) = export(tmp_path / "a.zarr", tmp_path / "b.tif")
        assert blocks(again) == blocks(path)
        with rasterio.open(again) as file:
            assert np.array_equal(file.read(), want)
            assert file.crs == "EPSG:32631"

    def test_a_window_is_written_without_loss(self, tmp_path: Path):
        path = jpeg_tiff(tmp_path / "a.tif", tiled=True)
        compress(path, tmp_path / "a.zarr", workers=0)
        box = (5e5, 4e6 - 500, 5e5 + 600, 4e6)
        (part,) = export(tmp_path / "a.zarr", tmp_path / "b.tif", bbox=box)
        with rasterio.open(path) as whole, rasterio.open(part) as file:
            assert np.array_equal(file.read(), whole.read()[:, :50, :60])
            assert file.profile["compress"] != "jpeg"

    def test_a_mask_goes_with_them(self, tmp_path: Path):
        path = jpeg_tiff(tmp_path / "a.tif", photometric="ycbcr", tiled=True)
        mask = np.full((150, 170), 255, np.uint8)
        mask[:40] = 0
        with rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True), rasterio.open(path, "r+") as file:
            file.write_mask(mask)
        compress(path, tmp_path / "a.zarr", workers=0)
        (again,) = export(tmp_path / "a.zarr", tmp_path / "b.tif")
        assert blocks(again) == blocks(path)
        with rasterio.open(again) as file:
            assert np.array_equal(file.dataset_mask(), mask)

    def test_a_sparse_block_stays_absent(self, tmp_path: Path):
        path = tmp_path / "a.tif"
        profile = {"driver": "GTiff", "count": 1, "height": 150, "width": 170, "dtype": "uint8"}
        profile |= {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
        with rasterio.open(
            path, "w", **profile, compress="jpeg", tiled=True, blockxsize=64, blockysize=64,
            SPARSE_OK=True,
        ) as file:  # fmt: skip
            file.write(PICTURE[0, :64, :64], 1, window=((0, 64), (0, 64)))
        assert None in blocks(path)[1]
        compress(path, tmp_path / "a.zarr", workers=0)
        (again,) = export(tmp_path / "a.zarr", tmp_path / "b.tif")
        assert blocks(again) == blocks(path)

    def test_chunks_of_absent_blocks_stay_absent(self, tmp_path: Path):
        path = tmp_path / "a.tif"
        profile = {"driver": "GTiff", "count": 1, "height": 300, "width": 300, "dtype": "uint8"}
        place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
        how = {"tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": True}
        with rasterio.open(path, "w", **profile, **place, **how, compress="jpeg") as file:
            file.write(PICTURE[0, :64, :64], 1, window=((0, 64), (0, 64)))
        compress(path, tmp_path / "a.zarr", tile=64, workers=0)
        (again,) = export(tmp_path / "a.zarr", tmp_path / "b.tif")
        assert blocks(again) == blocks(path)

    def test_within_a_bound_the_smaller_one_is_stored(self, tmp_path: Path):
        path = jpeg_tiff(tmp_path / "a.tif", 1, tiled=True)
        sizes = {}
        for bound in (0, 1, 5):
            store = tmp_path / f"{bound}.zarr"
            compress(path, store, max_error=bound, workers=0)
            sizes[bound] = len(coded(store))
        assert sizes[5] < sizes[1] == sizes[0]

    def test_what_is_de_identified_keeps_no_stream(self, tmp_path: Path):
        path = jpeg_tiff(tmp_path / "a.tif", tiled=True)
        compress(path, tmp_path / "out", deidentify="basic", workers=0)
        (store,) = (tmp_path / "out").glob("*.zarr")
        assert not StoreReader.open(store).keeps_streams((0, 0, 0))

    def test_a_stack_is_coded_by_its_samples(self, tmp_path: Path):
        for band in (1, 2):
            jpeg_tiff(tmp_path / f"s_B{band}.tif", 1, tiled=True)
        compress(tmp_path / "s_B?.tif", tmp_path / "s.zarr", stack="*_B*.tif", workers=0)
        assert not StoreReader.open(tmp_path / "s.zarr").keeps_streams((0, 0, 0))


class TestStores:
    @pytest.fixture
    def store(self, tmp_path: Path) -> Path:
        path = jpeg_tiff(tmp_path / "a.tif", photometric="ycbcr", tiled=True)
        compress(path, tmp_path / "a.zarr", tile=64, workers=0)
        return tmp_path / "a.zarr"

    def test_are_read_by_zarr(self, store: Path):
        with rasterio.open(store.parent / "a.tif") as file:
            assert np.array_equal(tilepress.open(store).image[...], file.read())

    def test_are_mended_byte_by_byte(self, store: Path):
        before = coded(store)
        path = next(p for p in (store / "0/image/c").rglob("*") if p.is_file())
        path.write_bytes(b"")
        assert verify_store(storage_path(store))
        (repair,) = repair_stores(store, [store.parent / "a.tif"])
        assert repair.ok
        assert coded(store) == before
        assert not verify_store(storage_path(store))

    def test_of_an_earlier_grid_are_unchanged(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = jpeg_tiff(tmp_path / "a.tif", blockxsize=48, blockysize=48, tiled=True)

        def as_before(*args: Any, block: Any = None, **options: Any) -> Any:
            return choose_grid(*args, **options)

        with monkeypatch.context() as before:
            before.setattr("tilepress.pipeline.archive.plan.choose_grid", as_before)
            compress(path, tmp_path / "a.zarr", tile=64, workers=0)
        assert StoreReader.open(tmp_path / "a.zarr").chunk == (3, 64, 64)
        report = compress(path, tmp_path / "a.zarr", tile=64, workers=0)
        assert [image.status for image in report.images] == ["unchanged"]
        compress(path, tmp_path / "b.zarr", tile=64, workers=0)
        assert StoreReader.open(tmp_path / "b.zarr").chunk == (3, 48, 48)


class TestDicom:
    @pytest.mark.parametrize(("frames", "fragments"), [(1, 1), (1, 3), (20, 1), (3, 2)])
    def test_comes_back_byte_by_byte(self, tmp_path: Path, frames: int, fragments: int):
        path = jpeg_dicom(tmp_path / "in/a.dcm", frames, fragments)
        compress(path, tmp_path / "a.zarr", workers=0)
        (again,) = export(tmp_path / "a.zarr", tmp_path / "out.dcm")
        assert again.read_bytes() == path.read_bytes()

    def test_streams_are_shared_out_to_the_files_of_a_series(self, tmp_path: Path):
        for number in range(1, 4):
            path = jpeg_dicom(tmp_path / f"in/{number}.dcm")
            header = pydicom.dcmread(path)
            header.SOPInstanceUID = header.file_meta.MediaStorageSOPInstanceUID = f"1.2.3.{number}"
            header.InstanceNumber = number
            header.save_as(path)
        compress(tmp_path / "in", tmp_path / "a.zarr", workers=0)
        made = export(tmp_path / "a.zarr", tmp_path / "out")
        assert len(made) == 3
        for path in made:
            assert path.read_bytes() == (tmp_path / "in" / path.name).read_bytes()

    def test_from_samples_that_are_not_those_of_its_streams_decoded_pixels_come(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """As another decoder might give them, far off."""
        path = jpeg_dicom(tmp_path / "in/a.dcm")
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        decoded = imagecodecs.jpeg_decode(next(generate_frames(pydicom.dcmread(path).PixelData)))
        monkeypatch.setattr(
            "tilepress.pipeline.dicom.frame_reader.decode",
            lambda *_: (np.roll(decoded, 5)[None], "MONOCHROME2"),
        )
        compress(path, tmp_path / "a.zarr", workers=0)
        (again,) = export(tmp_path / "a.zarr", tmp_path / "out.dcm")
        assert np.array_equal(pydicom.dcmread(again).pixel_array, np.roll(decoded, 5))
