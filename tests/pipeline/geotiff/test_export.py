"""GeoTIFF export gives the same file back: samples, profile, and everything beside them."""

from __future__ import annotations

import base64
import json
import struct
import warnings
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
import rasterio.shutil
from affine import Affine
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from tilepress.codecs.loss import bounded
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
    FileInTheWay,
    SourceError,
    StoreError,
    UsageError,
)
from tilepress.pipeline.geotiff.export import export_geotiff
from tilepress.pipeline.geotiff.header import Entry, append_entries, read_header
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.geotiff.stack import StackSource
from tilepress.pipeline.image.grid import Box

UTM = {"crs": "EPSG:32621", "transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)}


class MemoryReader:
    """A store reader that holds the samples of a source in memory."""

    decoder_note = None

    def __init__(self, source: GeoTiffSource, *, max_error: float = 0, chunk: int = 64) -> None:
        info = source.info
        self.axes, self.shape, self.dtype = info.axes, info.shape, info.dtype
        self.attrs: dict[str, Any] = {}
        self.loss = bounded(max_error)
        self.has_mask = info.has_mask
        self.chunk = tuple(min(n, chunk if i > 1 else 2) for i, n in enumerate(self.shape))
        self.image = source.read(Box((0,) * len(self.shape), self.shape))
        self.mask = source.read_mask(Box((0, 0), self.shape[-2:]))
        self.items = dict(source.source_items())
        self.boxes: list[Box] = []

    @property
    def origin(self) -> dict[str, Any]:
        return json.loads(self.items["origin"])

    def read(self, box: Box) -> np.ndarray:
        self.boxes.append(box)
        return np.ascontiguousarray(self.image[box.slices])

    def read_mask(self, box: Box) -> np.ndarray:
        return np.ascontiguousarray(self.mask[box.slices])

    def source_names(self) -> tuple[str, ...]:
        return tuple(self.items)

    def source_bytes(self, name: str) -> bytes:
        return self.items[name]


def write(path: Path, samples: np.ndarray, *, mask: np.ndarray | None = None, **profile) -> Path:
    """Write samples (y, x) or (band, y, x) as a GeoTIFF."""
    planes = samples if samples.ndim == 3 else samples[None]
    count, height, width = planes.shape
    profile = {"driver": "GTiff", "dtype": planes.dtype.name} | profile
    size = {"count": count, "height": height, "width": width}
    internal = profile.pop("internal", True)
    with (
        Env(GDAL_TIFF_INTERNAL_MASK=internal),
        opened(path, "w", **size, **profile) as dataset,
    ):
        dataset.write(planes)
        if mask is not None:
            dataset.write_mask(mask)
    return path


def opened(path: Path, mode: str = "r", **profile):
    """Open a file without the warning that it lies nowhere on Earth."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, mode, **profile)


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def reader_of(path: Path, **options) -> MemoryReader:
    with GeoTiffSource.open(path) as source:
        return MemoryReader(source, **options)


def facts(path: Path) -> dict[str, Any]:
    """Return all that rasterio tells about a file."""
    with opened(path) as dataset:
        structure = dataset.tags(ns="IMAGE_STRUCTURE")
        domains = set(dataset.tag_namespaces()) - {"IMAGE_STRUCTURE", "DERIVED_SUBDATASETS"}
        header = read_header(path)
        assert header is not None
        return {
            "profile": {k: v for k, v in dataset.profile.items() if k != "nodata"},
            "structure": structure,
            "bits": dataset.tags(1, ns="IMAGE_STRUCTURE"),
            "nodata": str(dataset.nodatavals),
            "tags": {domain: dataset.tags(ns=domain) for domain in domains},
            "plain tags": dataset.tags(),
            "band tags": [dataset.tags(i) for i in dataset.indexes],
            "bands": (dataset.descriptions, dataset.units, dataset.scales, dataset.offsets),
            "colours": dataset.colorinterp,
            "masks": dataset.mask_flag_enums,
            "gcps": [point.asdict() for point in dataset.gcps[0]],
            "rpcs": dataset.rpcs,
            "container": (header.big, header.order),
            "sidecars": len(dataset.files),
        }


def bits(samples: np.ndarray) -> np.ndarray:
    """Return samples as integers, so that NaN payloads and signs of zero count."""
    return samples.view(f"u{samples.dtype.itemsize}")


def assert_same(path: Path, exported: Path) -> None:
    first, second = reader_of(path), reader_of(exported)
    np.testing.assert_array_equal(bits(second.image), bits(first.image))
    np.testing.assert_array_equal(second.mask, first.mask)
    assert facts(exported) == facts(path)


LAYOUTS: dict[str, tuple[np.ndarray, dict[str, Any]]] = {
    "plain": (noise((50, 70)), {}),
    "tiles": (
        noise((3, 150, 210)),
        {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"},
    ),
    "bands apart": (noise((5, 90, 70)), {"interleave": "band", "compress": "lzw", "predictor": 2}),
    "pixels together": (noise((5, 90, 70)), {"interleave": "pixel", "compress": "zstd"}),
    "float predictor": (noise((2, 90, 70), "float32"), {"compress": "deflate", "predictor": 3}),
    "bigtiff": (noise((90, 70), "int16"), {"BIGTIFF": "YES", "compress": "packbits"}),
    "big endian": (noise((90, 70), "uint32"), {"ENDIANNESS": "BIG", "compress": "lzma"}),
    "lerc": (noise((90, 70), "float32"), {"compress": "lerc"}),
    "twelve bits": (noise((90, 70)) & 4095, {"NBITS": 12, "compress": "deflate"}),
    "fax": (noise((90, 70), "uint8") & 1, {"NBITS": 1, "compress": "ccittfax4"}),
    "white is zero": (noise((90, 70), "uint8"), {"photometric": "MINISWHITE"}),
    "ink": (noise((4, 90, 70), "uint8"), {"photometric": "CMYK"}),
    "lab": (noise((3, 90, 70), "uint8"), {"photometric": "CIELAB"}),
    "rgba": (noise((4, 90, 70), "uint8"), {"photometric": "RGB", "ALPHA": "PREMULTIPLIED"}),
    "signed bytes": (noise((90, 70), "int8"), {}),
    "nan": (noise((90, 70), "float64"), {"nodata": np.nan, "compress": "zstd"}),
}


class TestTheSameFileComesBack:
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    def test_layout(self, tmp_path: Path, layout: tuple[np.ndarray, dict[str, Any]]) -> None:
        samples, profile = layout
        path = write(tmp_path / "a.tif", samples, **UTM, **profile)
        assert export_geotiff(reader_of(path), tmp_path / "b.tif") == [tmp_path / "b.tif"]
        assert_same(path, tmp_path / "b.tif")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["a.tif", "b.tif"]

    @pytest.mark.parametrize("name", ["complex_int16", "complex64", "complex128"])
    def test_complex(self, tmp_path: Path, name: str) -> None:
        samples = np.empty((2, 20, 30), np.complex128 if name == "complex128" else np.complex64)
        samples.real, samples.imag = noise((2, 2, 20, 30), "int16")
        path = write(tmp_path / "a.tif", samples, dtype=name, compress="deflate")
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert_same(path, tmp_path / "b.tif")

    def test_metadata_of_file_and_bands(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((3, 60, 70), "int16"), nodata=-9999, **UTM)
        with opened(path, "r+") as dataset:
            dataset.update_tags(AREA_OR_POINT="Point", TIFFTAG_SOFTWARE="sén2cor", empty="")
            dataset.update_tags(ns="ACQUISITION", orbit="94=A", note="a <b> & c")
            dataset.update_tags(2, STATISTICS_MEAN="12.5", wavelength="0.655")
            dataset.update_tags(2, ns="CALIBRATION", gain="1e-5")
            dataset.descriptions, dataset.units = ("r", None, "b"), ("DN", "DN", "K")
            dataset.scales, dataset.offsets = (1e-4, 0.1, 1), (-0.1, 0, 273.15)
            dataset.colorinterp = (ColorInterp.blue, ColorInterp.green, ColorInterp.red)
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert_same(path, tmp_path / "b.tif")

    def test_colour_table(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70), "uint8"), photometric="PALETTE", nodata=3)
        with opened(path, "r+") as dataset:
            dataset.write_colormap(1, {i: (i, 255 - i, i // 2, 255) for i in range(256)})
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert_same(path, tmp_path / "b.tif")
        with opened(path) as first, opened(tmp_path / "b.tif") as second:
            assert second.colormap(1) == first.colormap(1)

    @pytest.mark.parametrize("internal", [True, False])
    def test_mask(self, tmp_path: Path, internal: bool) -> None:
        mask = (noise((200, 70), "uint8") > 99).astype(np.uint8) * 255
        samples = noise((3, 200, 70), "uint8")
        path = write(tmp_path / "a.tif", samples, mask=mask, internal=internal, tiled=True)
        files = export_geotiff(reader_of(path), tmp_path / "b.tif")
        names = ["b.tif"] if internal else ["b.tif", "b.tif.msk"]
        assert [file.name for file in files] == names
        assert_same(path, tmp_path / "b.tif")

    def test_control_points_and_polynomials(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)))
        points = [GroundControlPoint(row=i, col=2 * i, x=3.1 + i, y=4.7, z=i) for i in range(5)]
        terms = [float(i) / 7 for i in range(20)]
        with opened(path, "r+") as dataset:
            dataset.gcps = points, rasterio.crs.CRS.from_epsg(4326)
            dataset.rpcs = RPC(
                height_off=1, height_scale=2, lat_off=3, lat_scale=4, line_off=5, line_scale=6,
                long_off=7, long_scale=8, samp_off=9, samp_scale=10, err_bias=0.5, err_rand=0.25,
                line_den_coeff=terms, line_num_coeff=terms, samp_den_coeff=terms,
                samp_num_coeff=terms,
            )  # fmt: skip
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert_same(path, tmp_path / "b.tif")

    @pytest.mark.parametrize("order", ["LITTLE", "BIG"])
    @pytest.mark.parametrize("big", ["YES", "NO"])
    def test_entries_that_gdal_does_not_know(self, tmp_path: Path, order: str, big: str) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)), ENDIANNESS=order, BIGTIFF=big, **UTM)
        entries = {
            274: Entry(3, 1, struct.pack("<H", 6)),
            33723: Entry(7, 5, b"IPTC!"),
            65000: Entry(5, 2, struct.pack("<4I", 1, 2, 3, 4)),
            65001: Entry(12, 3, struct.pack("<3d", 1.5, 2.5, 3.5)),
        }
        exif = {33434: Entry(5, 1, struct.pack("<2I", 1, 250)), 36864: Entry(7, 4, b"0231")}
        append_entries(path, entries, "<", directories={34665: exif})
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        first, second = read_header(path), read_header(tmp_path / "b.tif")
        assert first is not None
        assert second is not None
        for tag, entry in entries.items():
            assert second.first.entries[tag] == first.first.entries[tag]
            assert second.first.entries[tag].count == entry.count
        assert second.first.integer(274) == 6
        assert second.notes == first.notes
        assert second.notes[34665].entries.keys() == exif.keys()
        if big == "YES":
            return  # GDAL cannot follow EXIF in BigTIFF
        with opened(tmp_path / "b.tif") as dataset:
            assert dataset.tags(ns="EXIF")["EXIF_ExposureTime"] == "(0.004)"
        assert_same(path, tmp_path / "b.tif")

    def test_nodata_that_differs_between_bands(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((2, 60, 70), "uint8"))
        bands = "".join(
            f"<PAMRasterBand band='{i}'><NoDataValue>{v}</NoDataValue></PAMRasterBand>"
            for i, v in ((1, 0), (2, 255))
        )
        (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
        files = export_geotiff(reader_of(path), tmp_path / "b.tif")
        assert [file.name for file in files] == ["b.tif", "b.tif.aux.xml"]
        with opened(files[0]) as dataset:
            assert dataset.nodatavals == (0, 255)

    def test_lossy_compression_becomes_lossless(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.tif",
            noise((3, 128, 128), "uint8"),
            compress="jpeg",
            photometric="YCBCR",
            tiled=True,
        )
        export_geotiff(reader_of(path), tmp_path / "b.tif")
        with opened(path) as first, opened(tmp_path / "b.tif") as second:
            np.testing.assert_array_equal(second.read(), first.read())
            assert second.profile["compress"] == "deflate"
            assert second.colorinterp == first.colorinterp

    def test_colour_profile_of_another_format(self, tmp_path: Path) -> None:
        """A PNG has no TIFF entries to carry: its ICC profile goes through GDAL."""
        profile = base64.b64encode(imagecodecs.cms_profile("adobergb")).decode()
        options = {"photometric": "RGB", "SOURCE_ICC_PROFILE": profile}
        plain = write(tmp_path / "plain.tif", noise((3, 20, 30), "uint8"), **options)
        rasterio.shutil.copy(str(plain), str(tmp_path / "a.png"), driver="PNG")
        reader = reader_of(tmp_path / "a.png")
        for bands, found in ((None, {"SOURCE_ICC_PROFILE": profile}), ([2], {})):
            out = tmp_path / f"{bands}.tif"
            export_geotiff(reader, out, bands=bands)
            with opened(out) as dataset:
                assert dataset.tags(ns="COLOR_PROFILE") == found

    def test_windows_are_read_once_and_stay_small(self, tmp_path: Path, monkeypatch) -> None:
        monkeypatch.setattr("tilepress.pipeline.geotiff.export.WINDOW_BYTES", 60_000)
        for profile in ({"tiled": True, "blockxsize": 32, "blockysize": 32}, {}):
            path = write(tmp_path / "a.tif", noise((3, 300, 500)), interleave="pixel", **profile)
            reader = reader_of(path)
            export_geotiff(reader, tmp_path / "b.tif")
            sizes = [np.prod(box.shape) for box in reader.boxes]
            assert sum(sizes) == 3 * 300 * 500
            assert max(sizes) * 2 <= 60_000
            assert_same(path, tmp_path / "b.tif")
            (tmp_path / "b.tif").unlink()


class TestStacks:
    @pytest.fixture
    def stack(self, tmp_path: Path) -> StackSource:
        folder = tmp_path / "in"
        (folder / "sub").mkdir(parents=True)
        samples = noise((4, 60, 70))
        write(folder / "s_B2.TIF", samples[0], nodata=0, **UTM)
        write(folder / "sub" / "s_B3.TIF", samples[1:3], compress="lzw", **UTM)
        write(folder / "s_B10.TIF", samples[3], tiled=True, **UTM)
        names = ("s_B2.TIF", "sub/s_B3.TIF", "s_B10.TIF")
        return StackSource.open(*(folder / name for name in names))

    def test_every_file_comes_back(self, tmp_path: Path, stack: StackSource) -> None:
        with stack:
            files = export_geotiff(MemoryReader(stack), tmp_path / "out")
        names = [file.relative_to(tmp_path / "out").as_posix() for file in files]
        assert names == ["s_B2.TIF", "sub/s_B3.TIF", "s_B10.TIF"]
        for name in names:
            assert_same(tmp_path / "in" / name, tmp_path / "out" / name)

    def test_bands_choose_files(self, tmp_path: Path, stack: StackSource) -> None:
        with stack:
            reader = MemoryReader(stack)
        files = export_geotiff(reader, tmp_path / "out", bands=[4, 3])
        assert {file.name for file in files} == {"s_B3.TIF", "s_B10.TIF"}
        with opened(tmp_path / "out" / "sub" / "s_B3.TIF") as dataset:
            np.testing.assert_array_equal(dataset.read(), reader.image[2:3])

    def test_a_file_is_no_folder(self, tmp_path: Path, stack: StackSource) -> None:
        (tmp_path / "out").write_text("mine")
        with stack, pytest.raises(FileInTheWay, match="exists"):
            export_geotiff(MemoryReader(stack), tmp_path / "out")

    def test_no_link_is_followed(self, tmp_path: Path, stack: StackSource) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "elsewhere").mkdir()
        (tmp_path / "out/sub").symlink_to(tmp_path / "elsewhere")
        with stack, pytest.raises(StoreError, match="is a link"):
            export_geotiff(MemoryReader(stack), tmp_path / "out")
        assert not list((tmp_path / "elsewhere").iterdir())

    def test_a_hostile_store_writes_nowhere_else(self, tmp_path: Path, stack: StackSource) -> None:
        with stack:
            reader = MemoryReader(stack)
        for name in ("../evil.tif", "/tmp/evil.tif", "a/../../evil.tif", ""):
            origin = reader.origin
            origin["files"][1]["name"] = name
            reader.items["origin"] = json.dumps(origin).encode()
            with pytest.raises(DamagedStore, match="unsafe"):
                export_geotiff(reader, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_two_files_never_get_one_name(self, tmp_path: Path, stack: StackSource) -> None:
        """The second would replace the first."""
        with stack:
            reader = MemoryReader(stack)
        origin = reader.origin
        for file, name in zip(origin["files"], ("a\\b.tif", "a_b.tif"), strict=False):
            file["name"] = name
        reader.items["origin"] = json.dumps(origin).encode()
        with pytest.raises(DestinationConflict, match=r"several files would be written as .*a_b"):
            export_geotiff(reader, tmp_path / "out")
        assert not list(tmp_path.rglob("*.tif"))

    @pytest.mark.parametrize(
        ("name", "written"), [("a\\b.tif", "a_b.tif"), ("12:30.tif", "12:30.tif")]
    )
    def test_names_that_are_odd_only_elsewhere(
        self, tmp_path: Path, name: str, written: str
    ) -> None:
        """A file may be called so here: what was taken is given back."""
        path = write(tmp_path / name, noise((20, 30)), **UTM)
        (out,) = export_geotiff(reader_of(path), tmp_path / "out")
        assert out == tmp_path / "out" / written


class TestSubsets:
    def test_bands_in_the_order_asked_for(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((4, 60, 70)), **UTM)
        with opened(path, "r+") as dataset:
            dataset.descriptions = ("b1", "b2", "b3", "b4")
        reader = reader_of(path)
        (out,) = export_geotiff(reader, tmp_path / "b.tif", bands=[4, 2])
        with opened(out) as dataset:
            np.testing.assert_array_equal(dataset.read(), reader.image[[3, 1]])
            assert dataset.descriptions == ("b4", "b2")
            assert dataset.transform == UTM["transform"]

    def test_bounding_box(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((2, 60, 70)), **UTM, tiled=True)
        with opened(path, "r+") as dataset:
            dataset.update_tags(1, STATISTICS_MEAN="1", kept="yes")
        reader = reader_of(path)
        # rows 10 … 30, columns 5 … 25 exactly; then a little more on every side
        for grow, rows, columns in ((0, (10, 30), (5, 25)), (1, (9, 31), (4, 26))):
            bbox = (500_150 - grow, 3_999_100 - grow, 500_750 + grow, 3_999_700 + grow)
            (out,) = export_geotiff(reader, tmp_path / f"b{grow}.tif", bbox=bbox)
            with opened(out) as dataset:
                expected = reader.image[:, slice(*rows), slice(*columns)]
                np.testing.assert_array_equal(dataset.read(), expected)
                left, top = 500_000 + 30 * columns[0], 4_000_000 - 30 * rows[0]
                assert dataset.transform == Affine(30, 0, left, 0, -30, top)
                assert dataset.crs.to_epsg() == 32621
                assert dataset.tags(1) == {"kept": "yes"}

    def test_control_points_move_with_the_window(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)), **UTM)
        with opened(path, "r+") as dataset:
            dataset.rpcs = RPC(
                height_off=0, height_scale=1, lat_off=0, lat_scale=1, line_off=20, line_scale=1,
                long_off=0, long_scale=1, samp_off=30, samp_scale=1,
                line_den_coeff=[1.0] * 20, line_num_coeff=[1.0] * 20,
                samp_den_coeff=[1.0] * 20, samp_num_coeff=[1.0] * 20,
            )  # fmt: skip
        bbox = (500_150, 3_999_100, 500_750, 3_999_700)
        (out,) = export_geotiff(reader_of(path), tmp_path / "b.tif", bbox=bbox)
        with opened(out) as dataset:
            assert (dataset.rpcs.line_off, dataset.rpcs.samp_off) == (10, 25)

    def test_what_cannot_be_cut(self, tmp_path: Path) -> None:
        reader = reader_of(write(tmp_path / "a.tif", noise((60, 70)), **UTM))
        nowhere = reader_of(write(tmp_path / "b.tif", noise((60, 70))))
        out = tmp_path / "c.tif"
        for subject, options, words in (
            (reader, {"bands": [2]}, "bands 1 … 1"),
            (reader, {"bands": []}, "bands 1 … 1"),
            (reader, {"bands": [1, 1]}, "twice"),
            (reader, {"bbox": (0, 0, 1, 1)}, "outside"),
            (nowhere, {"bbox": (0, 0, 1, 1)}, "no geotransform"),
        ):
            with pytest.raises(UsageError, match=words):
                export_geotiff(subject, out, **options)
        assert not out.exists()


class TestNothingHalfWritten:
    def test_an_existing_file_is_kept(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)))
        before = path.read_bytes()
        with pytest.raises(DestinationConflict):
            export_geotiff(reader_of(path), path)
        assert path.read_bytes() == before

    def test_a_folder_gets_the_original_name(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)))
        (tmp_path / "out").mkdir()
        assert export_geotiff(reader_of(path), tmp_path / "out") == [tmp_path / "out" / "a.tif"]

    def test_a_failing_store_leaves_nothing(self, tmp_path: Path) -> None:
        reader = reader_of(write(tmp_path / "a.tif", noise((300, 70))))

        def fail(box: Box) -> np.ndarray:
            raise DamagedStore("chunk 0/1 fails its checksum")

        reader.read = fail  # type: ignore[method-assign]
        with pytest.raises(DamagedStore, match="checksum"):
            export_geotiff(reader, tmp_path / "out" / "b.tif")
        assert list((tmp_path / "out").iterdir()) == []

    def test_a_lost_record_is_damage(self, tmp_path: Path) -> None:
        reader = reader_of(write(tmp_path / "a.tif", noise((60, 70))))
        del reader.items["file-0"]
        with pytest.raises(DamagedStore, match="file-0"):
            export_geotiff(reader, tmp_path / "b.tif")

    def test_a_store_of_something_else(self, tmp_path: Path) -> None:
        reader = reader_of(write(tmp_path / "a.tif", noise((60, 70))))
        reader.items["origin"] = b'{"kind": "dicom"}'
        with pytest.raises(UsageError, match="dicom"):
            export_geotiff(reader, tmp_path / "b.tif")

    def test_near_lossless_samples_are_declared(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((60, 70)))
        with opened(path, "r+") as dataset:
            dataset.update_tags(1, STATISTICS_MAXIMUM="9")
        (out,) = export_geotiff(reader_of(path, max_error=2), tmp_path / "b.tif")
        with opened(out) as dataset:
            assert dataset.tags()["TILEPRESS_MAX_ERROR"] == "2"
            assert dataset.tags(1) == {}


REAL = (
    "public/sat/rasterio-rasterio/data__RGB.byte.tif",
    "public/sat/cogeotiff-rio-cogeo/image_rgb_mask.tif",
    "public/sat/cogeotiff-rio-cogeo/fixtures__slc.tif",
    "public/sat/cogeotiff-rio-tiler-pds/measurement__iw-vv.tiff",
    "public/sat/cogeotiff-rio-tiler-pds/MYD13A1.A2020153.h30v10.006.2020170024036_NDVI_B01.TIF",
    "public/sat/makepath-xarray-spatial/LC80030172015001LGN00_B5.tiff",
    "public/sat/r-spatial-stars/tif__L7_ETMs.tif",
    "public/sat/CNES-demcompare/Copernicus_DSM_10_N45_00_E005_00_DEM.tif",
)


@pytest.mark.shared
class TestRealFiles:
    @pytest.mark.parametrize("name", REAL, ids=lambda name: Path(name).stem[:20])
    def test_satellite_image(self, shared_data: Path, tmp_path: Path, name: str) -> None:
        path = shared_data / name
        export_geotiff(reader_of(path, chunk=512), tmp_path / "b.tif")
        assert_same(path, tmp_path / "b.tif")

    def test_samples_of_the_corpus_of_odd_files(self, shared_data: Path, tmp_path: Path) -> None:
        done = 0
        for path in sorted((shared_data / "corpus" / "tiff").rglob("*.tif*"))[::25]:
            try:
                first = reader_of(path, chunk=512)
            except SourceError:
                continue
            (out, *_) = export_geotiff(first, tmp_path / f"{done}.tif")
            second = reader_of(out)
            np.testing.assert_array_equal(bits(second.image), bits(first.image))
            np.testing.assert_array_equal(second.mask, first.mask)
            done += 1
        assert done > 20
