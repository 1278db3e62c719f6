"""Samples are OpenSlide's, whatever the window; companions are part of the image."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageCms

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec, TileSource, read_level
from tilepress.pipeline.sources.open import open_source

from ...helpers.scanner_files import (
    TRESTLE,
    bif,
    mirax,
    philips,
    picture,
    scn,
    svslide,
    tiff,
    trestle,
    vms,
)

openslide = pytest.importorskip("openslide")
OpenSlideSource = pytest.importorskip("tilepress.pipeline.openslide.source").OpenSlideSource

SLIDE = picture(256, 320)
BACKGROUNDS = {"mirax": (0xA0, 0xFF, 0xA0), "trestle": (0xF0, 0xF1, 0xF2)}


def one(path: Path) -> SourceSpec:
    (spec,) = discover([path])
    assert isinstance(spec, SourceSpec), spec
    return spec


def make_mirax(folder: Path) -> Path:
    return mirax(folder / "m.mrxs", SLIDE, gap=3)


MAKERS: dict[str, Callable[[Path], Path]] = {
    "mirax": make_mirax,
    "hamamatsu": lambda folder: vms(folder / "v.vms", SLIDE),
    "ventana": lambda folder: bif(folder / "b.bif", SLIDE[:, :256]),
    "sakura": lambda folder: svslide(folder / "s.svslide", picture(150, 170)),
    "leica": lambda folder: scn(folder / "l.scn", picture(150, 170)),
    "philips": lambda folder: philips(folder / "p.tiff", picture(150, 300)),
    "trestle": lambda folder: trestle(folder / "t.tif", picture(150, 170)),
}


@pytest.fixture(params=MAKERS)
def slide(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path]:
    return request.param, MAKERS[request.param](tmp_path)


@pytest.fixture
def closed() -> Iterator[list[TileSource]]:
    opened: list[TileSource] = []
    yield opened
    for source in opened:
        source.close()


def expected(path: Path, vendor: str) -> list[np.ndarray]:
    """Return all levels (bands, y, x) of a slide as OpenSlide reads each at once."""
    found = []
    with openslide.OpenSlide(path) as slide:
        assert slide.properties["openslide.vendor"] == vendor
        for level, size in enumerate(slide.level_dimensions):
            whole = np.asarray(slide.read_region((0, 0), level, size))
            back = np.array(BACKGROUNDS.get(vendor, (255, 255, 255)), np.uint8)
            assert set(np.unique(whole[..., 3])) <= {0, 255}
            found.append(np.where(whole[..., 3:] == 255, whole[..., :3], back).transpose(2, 0, 1))
    return found


def test_every_level_is_what_openslide_gives(slide: tuple[str, Path], closed: list[TileSource]):
    vendor, path = slide
    source = open_source(one(path))
    closed.append(source)
    levels = expected(path, vendor)
    info = source.info
    assert [info.at_level(n).shape for n in range(1 + len(info.levels))] == [
        whole.shape for whole in levels
    ]
    for number, whole in enumerate(levels):
        every = read_level(source, number, Box((0, 0, 0), whole.shape))
        np.testing.assert_array_equal(every, whole)
        height, width = whole.shape[1:]
        part = Box((1, height // 3, width // 4), (3, height - 1, width - 2))
        np.testing.assert_array_equal(read_level(source, number, part), whole[part.slices])


def test_where_nothing_was_taken_is_the_background(tmp_path: Path, closed: list[TileSource]):
    source = open_source(one(make_mirax(tmp_path)))
    closed.append(source)
    found = source.read(Box((0, 0, 192), (3, 64, 256)))
    assert found.reshape(3, -1).T.tolist() == [[0xA0, 0xFF, 0xA0]] * 64**2
    assert source.info.attributes["background_color"] == "#A0FFA0"
    assert "where the scanner took nothing, samples are #A0FFA0" in source.info.remarks


def test_what_is_told(tmp_path: Path, closed: list[TileSource]):
    found = {}
    for name, make in MAKERS.items():
        source = open_source(one(make(tmp_path / name)))
        closed.append(source)
        found[name] = source.info
    sizes = {name: info.slide.pixel_size_um for name, info in found.items() if info.slide}
    assert sizes["mirax"] == sizes["philips"] == (0.25, 0.25)
    assert sizes["hamamatsu"] == pytest.approx((0.46, 0.46))
    assert sizes["trestle"] is None
    assert sizes["sakura"] == (0.5, 0.5)
    assert sizes["ventana"] == (0.465, 0.465)
    assert found["leica"].attributes["objective_power"] == 20
    assert found["mirax"].stream_block == (3, 64, 64)
    assert found["leica"].stream_block is None
    left_out = {name: " ".join(info.remarks) for name, info in found.items()}
    assert (
        "1 picture beside the slide left out, for they may show names: label"
        in (left_out["philips"])
    )
    assert "macro" in left_out["leica"]
    assert "macro" in left_out["hamamatsu"]
    assert "beside" not in left_out["mirax"]


def test_kept_is_what_it_tells_and_its_colour_profile(tmp_path: Path):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    path = tiff(tmp_path / "t.tif", [(picture(150, 170), {34675: profile})])
    spec = SourceSpec(kind="openslide", paths=(str(path),))
    source = OpenSlideSource(spec)  # of those that come here OpenSlide 4.0 gives none
    items = dict(source.source_items())
    source.close()
    assert items["icc-profile"] == profile
    told = json.loads(items["openslide-properties"])
    assert told["openslide.vendor"] == "generic-tiff"
    assert json.loads(items["origin"])["files"] == [{"name": path.name}]


def test_focal_planes_that_are_not_given_are_told(tmp_path: Path):
    path = bif(tmp_path / "b.bif", SLIDE[:, :256])
    path.write_bytes(path.read_bytes().replace(b'Z-layers="1"', b'Z-layers="5"'))
    source = OpenSlideSource(one(path))
    source.close()
    assert "of 5 focal planes only the one that OpenSlide gives" in source.info.remarks


def test_levels_of_no_whole_fraction_do_not_depend_on_windows(tmp_path: Path):
    rng = np.random.default_rng(1)
    whole = rng.integers(0, 255, (301, 403, 3), np.uint8)
    less = rng.integers(0, 255, (75, 101, 3), np.uint8)
    source = OpenSlideSource(one(tiff(tmp_path / "t.tif", [(whole, TRESTLE), (less, {})])))
    every = source.read_level(1, Box((0, 0, 0), (3, 75, 101)))
    for left, right in ((0, 70), (60, 101), (64, 65)):
        part = source.read_level(1, Box((0, 10, left), (3, 75, right)))
        np.testing.assert_array_equal(part, every[:, 10:, left:right])
    assert "OpenSlide resamples them" in source.info.remarks[-1]
    source.close()


class TestCompanions:
    def test_all_are_the_image(self, tmp_path: Path):
        spec = one(make_mirax(tmp_path))
        names = [os.path.relpath(path, tmp_path) for path in spec.paths]
        assert names == ["m.mrxs", "m/Data0000.dat", "m/Index.dat", "m/Slidedat.ini"]
        assert spec.source_bytes == sum(os.stat(path).st_size for path in spec.paths)
        listed = one(vms(tmp_path / "v/v.vms", SLIDE))
        assert [Path(path).name for path in listed.paths] == [
            "v.vms", "v(0,0).jpg", "v(1,0).jpg", "v_macro.jpg", "v_map.jpg",
        ]  # fmt: skip

    def test_all_enter_the_fingerprint(self, tmp_path: Path, closed: list[TileSource]):
        spec = one(make_mirax(tmp_path))
        source = open_source(spec)
        closed.append(source)
        before = source.fingerprint()
        for path in spec.paths:
            status = os.stat(path)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
            after = source.fingerprint()
            assert after != before
            before = after

    def test_no_other_file_is_opened(self, tmp_path: Path):
        """OpenSlide opens what a slide names, wherever that is: its guest may not."""
        path = mirax(tmp_path / "in/m.mrxs", SLIDE, data="../../secret.dat")
        (path.with_suffix("") / "Data0000.dat").rename(tmp_path / "secret.dat")
        with openslide.OpenSlide(path) as slide:
            assert slide.read_region((0, 0), 0, (9, 9)).getpixel((0, 0))[3] == 255
        with pytest.raises(DamagedSource, match=r"OpenSlide: .*Permission denied"):
            open_source(one(path))

    def test_links_out_of_the_folder_are_refused(self, tmp_path: Path):
        path = make_mirax(tmp_path / "in")
        data = path.with_suffix("") / "Data0000.dat"
        data.rename(tmp_path / "else.dat")
        data.symlink_to(tmp_path / "else.dat")
        (failure,) = discover([path])
        assert "leads outside the folder" in str(failure.error)  # type: ignore[union-attr]

    def test_nothing_is_read_without_a_box(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        with pytest.raises(UnsupportedSource, match=r"need Linux 5\.13"):
            open_source(one(make_mirax(tmp_path)))


def test_damage_is_one_line(tmp_path: Path, closed: list[TileSource]):
    path = make_mirax(tmp_path)
    data = path.with_suffix("") / "Data0000.dat"
    data.write_bytes(b"\0" * data.stat().st_size)
    source = open_source(one(path))
    closed.append(source)
    with pytest.raises(DamagedSource, match=r"m\.mrxs: level 0, y 0, x 0: OpenSlide: [^\n]+$"):
        source.read(Box((0, 0, 0), (3, 64, 64)))


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("IMAGE_FORMAT=JPEG", "IMAGE_FORMAT=DOE JANE", "Unrecognized image format"),
        ("IMAGE_FORMAT=JPEG", "IMAGE_FORMAT=DOE: JANE", "Unrecognized image format"),
        (
            "FILE_0=Data0000.dat", "FILE_0=DOE JANE.dat",
            "Can't hash images: Couldn't open: No such file or directory",
        ),
        (
            "FILE_0=Data0000.dat", "FILE_0=Data0001.dat",
            "Can't hash images: Couldn't open Data0001.dat: No such file or directory",
        ),
        ("IMAGENUMBER_X=5", "IMAGENUMBER_X=-5", "images_x <= 0"),
    ],
)  # fmt: skip
def test_messages_say_nothing_that_a_slide_says(tmp_path: Path, old: str, new: str, told: str):
    path = make_mirax(tmp_path)
    document = path.with_suffix("") / "Slidedat.ini"
    text = document.read_text()
    assert old in text
    document.write_text(text.replace(old, new))
    with pytest.raises(DamagedSource) as caught:
        open_source(one(path))
    assert str(caught.value) == f"open {path}: OpenSlide: {told}"


def test_names_that_are_no_text_are_left_out(tmp_path: Path, closed: list[TileSource]):
    path = make_mirax(tmp_path)
    document = path.with_suffix("") / "Slidedat.ini"
    document.write_bytes(document.read_bytes() + b"[OTHER\xff]\r\nA=\xff\r\n[B]\r\nC=1\r\n")
    source = open_source(one(path))
    closed.append(source)
    told = json.loads(dict(source.source_items())["openslide-properties"])
    assert told["mirax.B.C"] == "1"


@pytest.mark.parametrize("cut", [0, 1, 40, 200])
def test_what_is_no_slide_fails_by_name(tmp_path: Path, cut: int):
    path = make_mirax(tmp_path)
    index = path.with_suffix("") / "Index.dat"
    index.write_bytes(index.read_bytes()[:cut])
    with pytest.raises(SourceError, match=r"open .*m\.mrxs: OpenSlide"):
        open_source(one(path))
