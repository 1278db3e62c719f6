"""Levels of NDPI are read in windows, each as the whole stream decodes; labels stay out."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tilepress.errors import SourceError
from tilepress.pipeline.geotiff import ndpi
from tilepress.pipeline.geotiff.header import Entry, Page, find_pages, read_header
from tilepress.pipeline.geotiff.ndpi import NdpiLevel, is_ndpi_level
from tilepress.pipeline.geotiff.slide_pages import SlidePages, find_slides
from tilepress.pipeline.geotiff.slide_record import parse_slide
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec

from ...helpers.ndpi_files import beyond_4_gib, jpeg_with_restarts, write_ndpi
from ...helpers.slide_files import picture, pyramid

NOISE = np.random.default_rng(5).integers(0, 60, (3, 150, 256), np.uint8)
LEVELS = [
    one // 2 + NOISE[:, : one.shape[1], : one.shape[2]] for one in pyramid(150, 256, levels=3)
]
MACRO = picture(40, 100)
LENSES = (20.0, 10.0, 5.0)


def found(path: Path) -> SlidePages | None:
    with path.open("rb") as file:
        size = path.stat().st_size
        return find_slides(file, size, find_pages(file, size).found)


def opened(path: Path) -> SlideSource:
    return SlideSource(SourceSpec(kind="slide", paths=(str(path),), options={"pages": []}))


def decoded(samples: np.ndarray, interval: int, subsampling: int = 0) -> np.ndarray:
    image = Image.open(io.BytesIO(jpeg_with_restarts(samples, interval, subsampling)))
    pixels = np.asarray(image)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, -1, 0)


def level(path: Path) -> NdpiLevel:
    with path.open("rb") as file:
        (page, *_) = find_pages(file, path.stat().st_size).found
    header = read_header(path, Page(0, page.offset))
    assert header is not None
    assert is_ndpi_level(header)
    return NdpiLevel.of(path, header)


class TestSamples:
    @pytest.mark.parametrize("told", [True, False])
    @pytest.mark.parametrize(
        ("interval", "subsampling"),
        [(4, 0), (4, 1), (4, 2), (16, 2), (32, 0), (64, 0), (0, 2), (5, 2)],
    )
    def test_are_those_of_the_whole_stream(
        self, tmp_path: Path, interval: int, subsampling: int, told: bool,
        monkeypatch: pytest.MonkeyPatch,
    ):  # fmt: skip
        """Intervals are parts of a row, a row, several rows, all, or none of these."""
        monkeypatch.setattr(ndpi, "PIECE", 48)
        path = write_ndpi(
            tmp_path / "a.ndpi", LEVELS[:1], (20.0,), interval=interval, subsampling=subsampling,
            told=told, ending=b"\0\0",
        )  # fmt: skip
        want = decoded(LEVELS[0], interval, subsampling)
        with opened(path) as source:
            np.testing.assert_array_equal(source.read(Box((0, 0, 0), (3, 150, 256))), want)
            for box in (Box((1, 37, 101), (3, 90, 203)), Box((0, 149, 255), (1, 150, 256))):
                np.testing.assert_array_equal(source.read(box), want[box.slices])

    def test_of_grey(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", [LEVELS[0][:1]], (20.0,))
        with opened(path) as source:
            want = decoded(LEVELS[0][:1], 4)[0]
            np.testing.assert_array_equal(source.read(Box((0, 0), (150, 256))), want)

    def test_of_a_size_that_frames_cannot_say(self, tmp_path: Path):
        """Hamamatsu's frames say 0 where a side has more than 65500 samples."""
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,))
        data = path.read_bytes()
        frame = b"\xff\xc0\x00\x11\x08" + (150).to_bytes(2, "big") + (256).to_bytes(2, "big")
        assert data.count(frame) == 1
        path.write_bytes(data.replace(frame, frame[:5] + bytes(4)))
        with opened(path) as source:
            box = Box((0, 20, 30), (3, 100, 200))
            np.testing.assert_array_equal(source.read(box), decoded(LEVELS[0], 4)[box.slices])

    @pytest.mark.parametrize("interval", [0, 4])
    def test_of_a_size_that_the_frame_says_otherwise(self, tmp_path: Path, interval: int):
        """Directories of small levels are rounded otherwise: where there are no intervals, the
        frame is right."""
        sizes = {257: Entry(4, 1, (151).to_bytes(4, "little")), 278: Entry(4, 1, b"\x97\0\0\0")}
        path = write_ndpi(
            tmp_path / "a.ndpi", LEVELS[:1], (20.0,), interval=interval, changed=sizes
        )
        with opened(path) as source:
            assert source.info.shape == (3, 151 if interval else 150, 256)
            box = Box((0, 0, 0), (3, 150, 256))
            np.testing.assert_array_equal(source.read(box), decoded(LEVELS[0], interval))

    def test_of_texts_that_lie_elsewhere(self, tmp_path: Path):
        """Hamamatsu's are never in their entries, however short."""
        text = {65427: Entry(4, 1, (12).to_bytes(4, "little"))}
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,), changed=text)
        data = bytearray(path.read_bytes())
        at = data.index(struct.pack("<HHII", 65427, 4, 1, 12))
        data[at : at + 12] = struct.pack("<HHII", 65427, 2, 3, len(data))
        path.write_bytes(data + b"No\0")
        header = read_header(path)
        assert header is not None
        assert header.first.entries[65427] == Entry(2, 3, b"No\0")
        data[at : at + 12] = struct.pack("<HHI", 65427, 2, 3) + b"Oh\0\0"
        path.write_bytes(data)
        header = read_header(path)
        assert header is not None
        assert header.first.entries[65427].data == b"Oh\0"


class TestPages:
    def test_are_levels_and_a_macro_image(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", [*LEVELS, MACRO, MACRO], (*LENSES, -1.0, -2.0))
        slides = found(path)
        assert slides is not None
        assert [len(slide.levels) for slide in slides.slides] == [3]
        assert (slides.pages, slides.beside) == ((), ("macro", "map"))
        with opened(path) as source:
            assert source.info.slide is not None
            assert source.info.slide.pixel_size_um == (0.5, 0.5)
            assert source.info.attributes["objective_power"] == 20.0
            assert source.info.stream_block == (3, 8, 32)
            for number, samples in enumerate(LEVELS):
                got = source.read_level(number, Box((0, 0, 0), samples.shape))
                if number == 0:
                    np.testing.assert_array_equal(got, decoded(samples, 4))

    @pytest.mark.parametrize(
        ("pages", "more"),
        [
            (([*LEVELS[:2], LEVELS[1]], (20.0, 10.0, 10.0)), {"depths": (0, 0, 500)}),
            (([LEVELS[0], MACRO], (20.0, 5.0)), {}),
            (([LEVELS[0], LEVELS[1]], (20.0, 0.0)), {}),
        ],
    )
    def test_of_other_kinds_are_taken_one_by_one(self, tmp_path: Path, pages: tuple, more: dict):
        path = write_ndpi(tmp_path / "a.ndpi", *pages, **more)
        assert found(path) is None

    def test_lie_beyond_4_gib(self, tmp_path: Path):
        """The file has a hole: it takes a few blocks of the disk."""
        small = write_ndpi(tmp_path / "a.ndpi", [*LEVELS, MACRO], (*LENSES, -1.0))
        path = beyond_4_gib(small, tmp_path / "b.ndpi")
        assert path.stat().st_size > 2**32
        slides = found(path)
        assert slides is not None
        assert (len(slides.slides[0].levels), slides.beside) == (3, ("macro",))
        with opened(small) as one, opened(path) as other:
            assert other.info.slide == one.info.slide
            for number, samples in enumerate(LEVELS):
                box = Box((0, 0, 0), samples.shape)
                np.testing.assert_array_equal(
                    one.read_level(number, box), other.read_level(number, box)
                )
            assert parse_slide(dict(other.source_items())["slide-0"]).big


class TestDamage:
    @pytest.mark.parametrize(
        ("changed", "text"),
        [
            (
                {65426: Entry(4, 152, np.arange(700, 1004, 2, dtype="<u4").tobytes())},
                "McuStarts|restart m",
            ),
            (
                {tag: Entry(4, 1, (70000).to_bytes(4, "little")) for tag in (256, 257, 278)},
                "samples of it are decoded together at least",
            ),
            (
                {tag: Entry(4, 1, (3000).to_bytes(4, "little")) for tag in (257, 278)},
                "152 restart int",
            ),
            ({277: Entry(3, 1, b"\1\0"), 258: Entry(3, 1, b"\x08\0")}, "has 3 components"),
        ],
    )
    def test_is_named(self, tmp_path: Path, changed: dict[int, Entry], text: str):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,), changed=changed)
        with pytest.raises(SourceError, match=text) as caught, opened(path) as source:
            source.read(Box((0, 0, 0), source.info.shape))
        assert "\n" not in str(caught.value)

    def test_no_byte_that_is_changed_does_anything_else(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", [picture(32, 64)], (20.0,), interval=2)
        data, rng = path.read_bytes(), np.random.default_rng(11)
        head = data.index(b"\xff\xda")
        for at in [*rng.integers(8, head, 150), *rng.integers(head, len(data), 150)]:
            changed = bytearray(data)
            changed[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(changed)
            try:
                with opened(path) as source:
                    if np.prod(source.info.shape) < 2**22:
                        source.read(Box((0,) * len(source.info.shape), source.info.shape))
            except SourceError:
                pass
