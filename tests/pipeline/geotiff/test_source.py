"""GeoTIFF sources: right samples by windows, truthful metadata, one clear error otherwise."""

from __future__ import annotations

import json
import pickle
import struct
import warnings
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine
from hypothesis import given
from hypothesis import strategies as st
from rasterio.control import GroundControlPoint
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.grid import Box

UTM = {"crs": "EPSG:32621", "transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)}


def write(path: Path, samples: np.ndarray, *, mask: np.ndarray | None = None, **profile) -> Path:
    """Write samples (y, x) or (band, y, x) as a GeoTIFF."""
    planes = samples if samples.ndim == 3 else samples[None]
    count, height, width = planes.shape
    profile = {"driver": "GTiff", "dtype": planes.dtype.name} | profile
    size = {"count": count, "height": height, "width": width}
    with warnings.catch_warnings(), Env(GDAL_TIFF_INTERNAL_MASK=True):
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with rasterio.open(path, "w", **size, **profile) as dataset:
            dataset.write(planes)
            if mask is not None:
                dataset.write_mask(mask)
    return path


def edit(path: Path):
    """Open a file to change its metadata."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        return rasterio.open(path, "r+")


def noise(shape: tuple[int, ...], dtype: str = "uint16", seed: int = 1) -> np.ndarray:
    generator = np.random.default_rng(seed)
    if np.dtype(dtype).kind == "f":
        return generator.normal(0, 1000, shape).astype(dtype)
    limits = np.iinfo(dtype)
    return generator.integers(limits.min, limits.max, shape, dtype, endpoint=True)


def read_all(source: GeoTiffSource) -> np.ndarray:
    shape = source.info.shape
    return source.read(Box((0,) * len(shape), shape))


def refusal(path: Path, size: int) -> str | None:
    """Open a file and read its first samples; return the message of our error if there is one."""
    try:
        with GeoTiffSource.open(path) as source:
            shape = source.info.shape
            box = Box((0,) * len(shape), tuple(min(n, size) for n in shape))
            samples = source.read(box)
            list(source.source_items())
    except SourceError as error:
        return str(error)
    assert (samples.shape, samples.dtype) == (box.shape, source.info.dtype)
    return None


def tiny_tiff(pages: int = 1, *, sub_ifd: bool = False) -> bytes:
    """Return an uncompressed 2 × 2 grey TIFF of so many directories, one more below the first."""
    out = bytearray(b"II*\0\0\0\0\0")
    pixels = len(out)
    out += b"\1\2\3\4"
    link = 4

    def directory(extra: dict[int, tuple[int, int]]) -> int:
        values = {
            256: (3, 2), 257: (3, 2), 258: (3, 8), 259: (3, 1), 262: (3, 1), 273: (4, pixels),
            277: (3, 1), 278: (3, 2), 279: (4, 4),
        } | extra  # fmt: skip
        out.extend(b"\0" * (-len(out) % 2))
        at = len(out)
        out.extend(struct.pack("<H", len(values)))
        for tag, (kind, value) in sorted(values.items()):
            out.extend(struct.pack("<HHII", tag, kind, 1, value))
        out.extend(b"\0\0\0\0")
        return at

    below = {330: (4, directory({}))} if sub_ifd else {}
    for _ in range(pages):
        at = directory(below)
        struct.pack_into("<I", out, link, at)
        link = len(out) - 4
    return bytes(out)


LAYOUTS = {
    "strips": {},
    "tiles": {"tiled": True, "blockxsize": 64, "blockysize": 32, "compress": "deflate"},
    "bands apart": {"interleave": "band", "compress": "lzw", "predictor": 2},
    "pixels together": {"interleave": "pixel", "compress": "zstd", "tiled": True},
    "bigtiff": {"BIGTIFF": "YES", "compress": "packbits"},
    "big endian": {"ENDIANNESS": "BIG"},
    "one long strip": {"blockysize": 150, "compress": "deflate", "interleave": "pixel"},
}


class TestWindowsHoldTheFilesSamples:
    @pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
    def test_any_window_of_any_layout(self, tmp_path: Path, layout: dict) -> None:
        samples = noise((3, 150, 210))
        path = write(tmp_path / "a.tif", samples, **layout)
        with GeoTiffSource.open(path) as source:
            assert source.info.axes == ("band", "y", "x")
            assert source.info.shape == samples.shape
            for box in (
                Box((0, 0, 0), (3, 150, 210)),
                Box((1, 140, 199), (2, 150, 210)),
                Box((1, 31, 63), (3, 65, 129)),
            ):
                window = source.read(box)
                assert window.flags.c_contiguous
                np.testing.assert_array_equal(window, samples[box.slices])

    @pytest.mark.parametrize(
        "dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32", "float32", "float64"]
    )
    def test_every_type(self, tmp_path: Path, dtype: str) -> None:
        samples = noise((40, 30), dtype)
        with GeoTiffSource.open(write(tmp_path / "a.tif", samples)) as source:
            assert (source.info.axes, source.info.dtype) == (("y", "x"), np.dtype(dtype))
            np.testing.assert_array_equal(read_all(source), samples)

    @pytest.mark.parametrize(
        ("stored", "part"),
        [("complex_int16", "int16"), ("complex64", "float32"), ("complex128", "float64")],
    )
    def test_complex_samples_become_two_components(
        self, tmp_path: Path, stored: str, part: str
    ) -> None:
        parts = noise((2, 2, 20, 30), part)
        joined = np.empty((2, 20, 30), np.complex128 if part == "float64" else np.complex64)
        joined.real, joined.imag = parts
        path = write(tmp_path / "slc.tif", joined, dtype=stored)
        with GeoTiffSource.open(path) as source:
            assert source.info.axes == ("component", "band", "y", "x")
            assert source.info.dtype == np.dtype(part)
            np.testing.assert_array_equal(read_all(source), parts)
            box = Box((1, 1, 3, 4), (2, 2, 9, 30))
            np.testing.assert_array_equal(source.read(box), parts[box.slices])

    def test_a_strip_too_long_for_the_cache_is_read_in_pieces(self, tmp_path: Path) -> None:
        """GDAL splits one huge strip into rows; jumping back must still be right."""
        samples = noise((3, 2500, 300), "uint8")
        profile = {"blockysize": 2500, "compress": "deflate", "interleave": "pixel"}
        path = write(tmp_path / "a.tif", samples, **profile)
        with GeoTiffSource.open(path) as source:
            for top in (2000, 0, 1024):
                box = Box((0, top, 100), (3, top + 300, 300))
                np.testing.assert_array_equal(source.read(box), samples[box.slices])

    def test_a_worker_opens_the_same_from_the_pickled_spec(self, tmp_path: Path) -> None:
        samples = noise((20, 30))
        path = write(tmp_path / "a.tif", samples)
        with GeoTiffSource.open(path, name="a-tif", relative="in/a.tif") as first:
            spec = pickle.loads(pickle.dumps(first.spec))
            assert first.info.name == "a-tif"
        with GeoTiffSource(spec) as again:
            assert again.info == first.info
            np.testing.assert_array_equal(read_all(again), samples)


class TestMetadataIsTruthful:
    def test_georeference(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((20, 30)), **UTM)
        with edit(path) as dataset:
            dataset.update_tags(AREA_OR_POINT="Point")
        with GeoTiffSource.open(path) as source:
            geo = source.info.geo
            assert geo is not None
            assert geo.crs_wkt is not None
            assert rasterio.crs.CRS.from_wkt(geo.crs_wkt).to_epsg() == 32621
            with rasterio.open(path) as dataset:
                assert geo.transform == tuple(dataset.transform)[:6]
            assert geo.area_or_point == "Point"

    def test_none_of_it(self, tmp_path: Path) -> None:
        with GeoTiffSource.open(write(tmp_path / "a.tif", noise((20, 30)))) as source:
            info = source.info
        assert (info.geo, info.nodata, info.has_mask, dict(info.attributes)) == (
            None, None, False, {},
        )  # fmt: skip
        assert (info.lossy_refusal, info.valid_range, info.remarks) == (None, None, ())

    def test_nodata_is_a_sample_of_the_type(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((20, 30), "int16"), nodata=-32768)
        with GeoTiffSource.open(path) as source:
            assert source.info.nodata == -32768
            assert isinstance(source.info.nodata, int)
        path = write(tmp_path / "b.tif", noise((20, 30), "float32"), nodata=np.nan)
        with GeoTiffSource.open(path) as source:
            assert np.isnan(source.info.nodata)

    def test_nodata_that_no_sample_can_have_is_none(self, tmp_path: Path) -> None:
        """A writer's −9999 on unsigned data marks nothing."""
        path = write(tmp_path / "a.tif", noise((20, 30), "uint8"), nodata=7)
        sidecar = "<PAMDataset><PAMRasterBand band='1'><NoDataValue>-9999</NoDataValue>"
        (tmp_path / "a.tif.aux.xml").write_text(sidecar + "</PAMRasterBand></PAMDataset>")
        with GeoTiffSource.open(path) as source:
            assert source.info.nodata is None

    def test_bands_that_differ_in_nodata_are_listed(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((2, 20, 30), "uint8"))
        bands = "".join(
            f"<PAMRasterBand band='{i}'><NoDataValue>{v}</NoDataValue></PAMRasterBand>"
            for i, v in ((1, 0), (2, 255))
        )
        (tmp_path / "a.tif.aux.xml").write_text(f"<PAMDataset>{bands}</PAMDataset>")
        with GeoTiffSource.open(path) as source:
            assert source.info.nodata is None
            assert source.info.attributes["band_nodata"] == [0, 255]

    def test_scale_units_names_colours(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((3, 20, 30), "uint8"), photometric="RGB")
        with edit(path) as dataset:
            dataset.scales, dataset.offsets = (0.5, 0.5, 0.5), (0, 1, 2)
            dataset.units, dataset.descriptions = ("K", "K", "K"), ("r", "g", "b")
        with GeoTiffSource.open(path) as source:
            assert dict(source.info.attributes) == {
                "rescale_slope": 0.5,
                "rescale_intercept": [0.0, 1.0, 2.0],
                "units": "K",
                "band_names": ["r", "g", "b"],
                "color_interpretation": ["red", "green", "blue"],
            }
            assert source.info.coordinates["band"].tolist() == [1, 2, 3]

    def test_palettes_and_bits_refuse_loss(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((20, 30), "uint8"), photometric="PALETTE")
        with edit(path) as dataset:
            dataset.write_colormap(1, {i: (i, 255 - i, 0, 255) for i in range(256)})
        with GeoTiffSource.open(path) as source:
            assert "colour table" in (source.info.lossy_refusal or "")
        path = write(tmp_path / "b.tif", noise((20, 30), "uint8") & 1, NBITS=1)
        with GeoTiffSource.open(path) as source:
            assert source.info.lossy_refusal
            assert source.info.valid_range == (0, 1)

    def test_fewer_bits_than_the_type_bound_the_samples(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((20, 30)) & 4095, NBITS=12)
        with GeoTiffSource.open(path) as source:
            assert source.info.valid_range == (0, 4095)

    def test_internal_mask(self, tmp_path: Path) -> None:
        mask = (noise((20, 30), "uint8") > 99).astype(np.uint8) * 255
        path = write(tmp_path / "a.tif", noise((3, 20, 30), "uint8"), mask=mask)
        with GeoTiffSource.open(path) as source:
            assert source.info.has_mask
            box = Box((3, 4), (20, 17))
            np.testing.assert_array_equal(source.read_mask(box), mask[box.slices])

    def test_alpha_is_a_band_and_no_mask(self, tmp_path: Path) -> None:
        samples = noise((4, 20, 30), "uint8")
        path = write(tmp_path / "a.tif", samples, photometric="RGB", ALPHA="YES")
        with GeoTiffSource.open(path) as source:
            assert not source.info.has_mask
            assert source.read_mask(Box((0, 0), (20, 30))).min() == 255
            np.testing.assert_array_equal(read_all(source), samples)

    def test_jpeg_is_remarked(self, tmp_path: Path) -> None:
        path = write(
            tmp_path / "a.tif", noise((3, 64, 64), "uint8"), compress="jpeg", photometric="YCBCR"
        )
        with GeoTiffSource.open(path) as source:
            assert "lossless" in source.info.remarks[0]
            with edit(path) as dataset:
                np.testing.assert_array_equal(read_all(source), dataset.read())

    def test_cmyk_samples_stay_cmyk(self, tmp_path: Path) -> None:
        """GDAL's default would turn them into RGBA and drop what does not fit."""
        samples = noise((4, 20, 30), "uint8")
        path = write(tmp_path / "a.tif", samples, photometric="CMYK")
        with GeoTiffSource.open(path) as source:
            np.testing.assert_array_equal(read_all(source), samples)

    def test_planes_of_chroma_with_fewer_samples_are_refused(self, tmp_path: Path) -> None:
        samples = noise((3, 20, 30), "uint8")
        path = write(tmp_path / "a.tif", samples, photometric="RGB", interleave="band")
        data = path.read_bytes()
        rgb, ycbcr = (struct.pack("<HHIHH", 262, 3, 1, kind, 0) for kind in (2, 6))
        assert data.count(rgb) == 1
        path.write_bytes(data.replace(rgb, ycbcr))
        with pytest.raises(UnsupportedSource, match="Cb and Cr lie in planes of their own"):
            GeoTiffSource.open(path)


class TestSourceItems:
    def test_all_is_json_and_the_same_twice(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((2, 20, 30), "float32"), nodata=np.nan, **UTM)
        points = [GroundControlPoint(row=1, col=2, x=3.25, y=4.5, z=5, id="1", info="i")]
        with edit(path) as dataset:
            dataset.update_tags(ns="MINE", key="valué")
            dataset.gcps = points, dataset.crs
        with GeoTiffSource.open(path) as source:
            items = dict(source.source_items())
            assert items == dict(source.source_items())
        origin = json.loads(items["origin"])
        assert origin["kind"] == "geotiff"
        assert origin["files"] == [{"name": "a.tif", "bands": 2, "item": "file-0"}]
        record = json.loads(items["file-0"])
        assert record["tags"]["MINE"] == {"key": "valué"}
        assert record["gcps"]["points"][0]["x"] == 3.25
        assert record["nodata"] == ["NaN", "NaN"]

    def test_fingerprint_sees_a_change_at_either_end(self, tmp_path: Path) -> None:
        path = write(tmp_path / "a.tif", noise((400, 400)))
        with GeoTiffSource.open(path) as source:
            before = source.fingerprint()
            assert source.fingerprint() == before
        data = bytearray(path.read_bytes())
        data[-1] ^= 1
        path.write_bytes(data)
        with GeoTiffSource.open(path) as source:
            after = source.fingerprint()
        assert after["files"][0]["header_sha256"] != before["files"][0]["header_sha256"]
        assert json.loads(json.dumps(after)) == after


class TestWhatIsNotTakenSaysWhy:
    @pytest.mark.parametrize(
        ("content", "words"),
        [
            (b"hello, I am a text", "no TIFF, JPEG 2000"),
            (b"<VRTDataset rasterXSize='9'/>", "no TIFF, JPEG 2000"),
            (tiny_tiff(3), "3 images"),
            (tiny_tiff(1, sub_ifd=True), "1 more images"),
        ],
    )
    def test_unsupported(self, tmp_path: Path, content: bytes, words: str) -> None:
        path = tmp_path / "a.tif"
        path.write_bytes(content)
        with pytest.raises(UnsupportedSource, match=words) as caught:
            GeoTiffSource.open(path)
        assert str(path) in str(caught.value)
        assert "\n" not in str(caught.value)

    def test_missing_file(self, tmp_path: Path) -> None:
        with pytest.raises(DamagedSource, match="No such file"):
            GeoTiffSource.open(tmp_path / "nowhere.tif")

    def test_claimed_size_without_the_blocks_for_it(self, tmp_path: Path) -> None:
        content = bytearray(tiny_tiff())
        at = content.index(struct.pack("<HHI", 257, 3, 1)) + 8
        struct.pack_into("<H", content, at, 60_000)
        path = tmp_path / "a.tif"
        path.write_bytes(content)
        with pytest.raises(DamagedSource, match="need 30000 strips"):
            GeoTiffSource.open(path)

    @pytest.mark.parametrize("compress", [None, "deflate", "lzw", "jpeg"])
    def test_truncated(self, tmp_path: Path, compress: str | None) -> None:
        path = write(
            tmp_path / "a.tif", noise((3, 300, 200), "uint8"), compress=compress, interleave="band"
        )
        content = path.read_bytes()
        path.write_bytes(content[: len(content) - len(content) // 4])
        with pytest.raises(DamagedSource), GeoTiffSource.open(path) as source:
            read_all(source)

    def test_jpeg_that_ends_early_is_not_grey(self, tmp_path: Path) -> None:
        """GDAL only warns and invents the rest."""
        path = write(tmp_path / "a.tif", noise((256, 256), "uint8"), compress="jpeg", tiled=True)
        content = bytearray(path.read_bytes())
        content[len(content) // 2 :] = bytes(len(content) - len(content) // 2)
        path.write_bytes(content)
        with pytest.raises(DamagedSource), GeoTiffSource.open(path) as source:
            read_all(source)

    # rasterio cannot decode some of GDAL's messages about garbage; they are only log lines
    @pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
    @given(
        flips=st.lists(st.tuples(st.integers(0, 700), st.integers(1, 255)), min_size=1, max_size=4)
    )
    def test_mutants_give_samples_or_our_errors(
        self, tmp_path_factory: pytest.TempPathFactory, flips: list[tuple[int, int]]
    ) -> None:
        folder = tmp_path_factory.getbasetemp()
        path = folder / "seed.tif"
        if not path.exists():
            write(path, noise((2, 40, 30)), compress="lzw", **UTM)
        content = bytearray(path.read_bytes())
        for at, flip in flips:
            content[at] ^= flip
        mutant = folder / "mutant.tif"
        mutant.write_bytes(content)
        assert "\n" not in (refusal(mutant, 8) or "")


@pytest.mark.shared
class TestRealFiles:
    def test_corpus_of_odd_and_hostile_files(self, shared_data: Path) -> None:
        """Every file gives samples or one of our errors, and most give samples."""
        files = sorted((shared_data / "corpus" / "tiff").rglob("*.tif*"))
        good = 0
        for path in files[::4]:
            message = refusal(path, 256)
            assert message is None or path.name in message
            good += message is None
        assert good > len(files[::4]) * 0.8


def test_a_codec_that_gdal_was_built_without_is_no_damage(tmp_path: Path) -> None:
    """Other builds have it, so that no file of ours is sure to lack one."""
    from rasterio.errors import RasterioIOError

    from tilepress.pipeline.geotiff.gdal import gdal_calls

    text = "a.tif: Cannot open TIFF file due to missing codec JXL."
    with (
        pytest.raises(UnsupportedSource, match=r"open .*a\.tif: this GDAL cannot read JPEG XL"),
        gdal_calls("open", tmp_path / "a.tif"),
    ):
        raise RasterioIOError(text)


@pytest.mark.parametrize(
    ("text", "size"), [(None, 64 * 2**20), ("256", 256 * 2**20), ("300000", 300_000), ("5%", 2**26)]
)
def test_gdal_keeps_no_more_blocks_than_the_environment_says(
    monkeypatch: pytest.MonkeyPatch, text: str | None, size: int
):
    """GDAL looks once: a guest, forked from a process that looked before, held 5 % of memory."""
    from rasterio.env import get_gdal_config

    from tilepress.pipeline.geotiff.gdal import gdal_calls

    monkeypatch.delenv("GDAL_CACHEMAX", raising=False)
    if text is not None:
        monkeypatch.setenv("GDAL_CACHEMAX", text)
    with gdal_calls("trying", Path("nothing")):
        assert get_gdal_config("GDAL_CACHEMAX") == size
