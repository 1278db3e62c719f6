"""Tiles of JPEG 2000 and JPEG XL that GDAL does not decode are read all the same, and come back."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.passed.colours import rgb_of_ycbcr
from tilepress.errors import SourceError, UnsupportedSource
from tilepress.pipeline.export import export
from tilepress.pipeline.geotiff.decoded_blocks import MAX_CACHED_BYTES
from tilepress.pipeline.geotiff.header import Entry, append_entries
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.workflows.run.compress import compress

from ...codecs.passed.subsampled import HALF, QUARTER
from ...helpers.slide_files import APERIO, Coding, pyramid, tiles_of, write_slide

NOISE = np.random.default_rng(7).integers(0, 40, (3, 70, 90), np.uint8)
LEVELS = [one // 2 + NOISE[:, : one.shape[1], : one.shape[2]] for one in pyramid(70, 90, levels=2)]
"""With noise, which streams leave out: else they are larger than what is coded of their samples."""

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def jpeg2000(tile: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(tile, codecformat="j2k", level=28, mct=False))


def jpegxl(tile: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(tile, lossless=True))


def decoded(path: Path, level: int, tile: int = 32) -> np.ndarray:
    """Return what imagecodecs decodes the tiles of a level to, put together."""
    _, high, wide = LEVELS[level].shape
    down, across = -(-high // tile), -(-wide // tile)
    whole = np.zeros((3, down * tile, across * tile), np.uint8)
    for number, data in enumerate(tiles_of(path)[level]):
        row, column = divmod(number, across)
        if data:
            place = np.s_[:, row * tile : (row + 1) * tile, column * tile : (column + 1) * tile]
            read = imagecodecs.jpegxl_decode if data[:2] == b"\xff\x0a" else None
            whole[place] = np.moveaxis((read or imagecodecs.jpeg2k_decode)(data), -1, 0)
    return whole[:, :high, :wide]


def slide(path: Path) -> SlideSource:
    return SlideSource(SourceSpec(kind="slide", paths=(str(path),), options={"pages": []}))


def page(path: Path) -> GeoTiffSource:
    return GeoTiffSource(SourceSpec(kind="geotiff", paths=(str(path),)))


def whole(level: int) -> Box:
    return Box((0, 0, 0), LEVELS[level].shape)


@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("compression", [33003, 33004, 33005, 34712])
def test_a_slide_is_what_its_tiles_decode_to(tmp_path: Path, compression: int, order: str):
    path = write_slide(
        tmp_path / "a.svs", LEVELS, texts=(APERIO + "90x70 |MPP = 0.5|AppMag = 20",),
        coding=(compression, jpeg2000), absent=(1,), order=order,
    )  # fmt: skip
    with slide(path) as source:
        assert source.info.slide is not None
        assert source.info.slide.pixel_size_um == (0.5, 0.5)
        for level in (0, 1):
            want = decoded(path, level)
            if compression == 33003:
                want = rgb_of_ycbcr(want).astype(np.uint8)
            if level == 0:
                want[:, :32, 32:64] = 0  # absent
            np.testing.assert_array_equal(source.read_level(level, whole(level)), want)
        part = Box((1, 3, 40), (2, 65, 90))
        np.testing.assert_array_equal(source.read(part), source.read(whole(0))[part.slices])


@pytest.mark.parametrize("data", [HALF, QUARTER])
def test_colours_of_aperio_may_have_fewer_samples(tmp_path: Path, data: bytes):
    coding = (33003, lambda _: data)
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=(APERIO,), coding=coding)
    with slide(path) as source:
        np.testing.assert_array_equal(source.read(whole(0)), decoded(path, 0))
    path = write_slide(tmp_path / "b.svs", LEVELS, texts=(APERIO,), coding=(33005, coding[1]))
    with slide(path) as source, pytest.raises(UnsupportedSource, match="fewer samples of some col"):
        source.read(whole(0))


@pytest.mark.parametrize("compression", [33003, 33005])
def test_a_slide_comes_back_tile_by_tile(tmp_path: Path, compression: int):
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=(APERIO,), coding=(compression, jpeg2000))
    (image,) = compress(path, tmp_path / "out", workers=0, tile=64).images
    (back,) = export(Path(image.store), tmp_path / "back.svs")
    assert tiles_of(path) == tiles_of(back)
    with slide(path) as one, slide(back) as other:
        for level in (0, 1):
            read = one.read_level(level, whole(level))
            np.testing.assert_array_equal(other.read_level(level, whole(level)), read)


@pytest.mark.parametrize("coding", [(34712, jpeg2000), (52546, jpegxl)])
def test_an_image_of_one_page_is_read_and_comes_back(tmp_path: Path, coding: Coding):
    path = write_slide(tmp_path / "a.tif", LEVELS[:1], coding=coding, absent=(2,))
    (image,) = compress(path, tmp_path / "out", workers=0, tile=64).images
    (back,) = export(Path(image.store), tmp_path / "back.tif")
    want = decoded(path, 0)
    with page(path) as one, page(back) as other:
        np.testing.assert_array_equal(one.read(whole(0)), want)
        np.testing.assert_array_equal(other.read(whole(0)), want)
    if coding[0] == 34712:
        assert tiles_of(path) == tiles_of(back)


def test_colours_of_a_page_are_rgb(tmp_path: Path):
    path = write_slide(tmp_path / "a.tif", LEVELS[:1], coding=(34712, jpeg2000))
    append_entries(path, {262: Entry(3, 1, b"\6\0")}, "<")
    with page(path) as source:
        want = rgb_of_ycbcr(decoded(path, 0)).astype(np.uint8)
        np.testing.assert_array_equal(source.read(whole(0)), want)


@pytest.mark.parametrize(
    ("coding", "text"),
    [
        (lambda tile: jpeg2000(tile)[:60], "is damaged, or of a kind that is not read: it"),
        (lambda tile: jpeg2000(tile[:16]), "its stream has 16 × 32 samples of 8 bits"),
        (lambda tile: jpeg2000(tile.astype(np.uint16)), "samples of 16 bits, unsigned"),
        (lambda tile: jpeg2000(tile.astype(np.int8)), "signed; the directory says"),
        (lambda tile: jpeg2000(tile[..., 0]), "it gives"),
    ],
)
def test_what_does_not_fit_is_refused(tmp_path: Path, coding: object, text: str):
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=(APERIO,), coding=(33005, coding))  # type: ignore[arg-type]
    with slide(path) as source, pytest.raises(SourceError, match=text) as caught:
        source.read(whole(0))
    assert "\n" not in str(caught.value)


def test_other_compressions_are_named(tmp_path: Path):
    for number, name in ((22610, r"JPEG XR \(Compression 22610\)"), (65123, "Compression 65123")):
        path = write_slide(tmp_path / "a.svs", LEVELS, coding=(number, jpeg2000))
        with pytest.raises(UnsupportedSource, match=f"this GDAL cannot read {name}$"):
            slide(path)


def test_what_lies_beside_is_not_dropped(tmp_path: Path):
    path = write_slide(tmp_path / "a.tif", LEVELS[:1], coding=(34712, jpeg2000))
    (tmp_path / "a.tfw").write_text("1\n0\n0\n-1\n0\n0\n")
    with pytest.raises(UnsupportedSource, match=r"it has a\.tfw beside tiles"):
        page(path)


def test_decoded_blocks_are_kept_within_bounds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    assert MAX_CACHED_BYTES <= 2**27
    monkeypatch.setattr("tilepress.pipeline.geotiff.decoded_blocks.MAX_CACHED_BYTES", 4000)
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=(APERIO,), coding=(33005, jpeg2000))
    with slide(path) as source:
        source.read(whole(0))
        (file,) = source._levels[0].pages
        assert file.decoded is not None
        assert sum(one.nbytes for one in file.decoded._kept.values()) <= 4000 + 3 * 32 * 32
