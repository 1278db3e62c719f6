"""The JPEG streams of an NDPI file are kept, in chunks of whole intervals, and come back."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import openslide
import pytest
import rasterio

import tilepress
from tilepress.codecs.record import keeps_streams
from tilepress.errors import DamagedStore, SourceError, UsageError
from tilepress.pipeline.archive import coding, plan
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.export import export
from tilepress.pipeline.geotiff.header import Entry, Page, read_header
from tilepress.pipeline.geotiff.ndpi_export import is_whole_ndpi
from tilepress.pipeline.geotiff.ndpi_export import write_ndpi as write_again
from tilepress.pipeline.geotiff.ndpi_scan import StripWriting
from tilepress.pipeline.geotiff.slide_record import StoredSlide, parse_slide
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.image.grid import Box, choose_grid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.kept import keep_streams, kept_streams
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.ndpi_files import beyond_4_gib, markers_of, pages_of, write_ndpi
from ...helpers.slide_files import picture, pyramid

NOISE = np.random.default_rng(5).integers(0, 60, (3, 150, 256), np.uint8)
LEVELS = [
    one // 2 + NOISE[:, : one.shape[1], : one.shape[2]] for one in pyramid(150, 256, levels=3)
]
MACRO = picture(40, 100)
LENSES = (20.0, 10.0, 5.0)

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def opened(path: Path, **options: object) -> SlideSource:
    return SlideSource(
        SourceSpec(kind="slide", paths=(str(path),), options={"pages": [], **options})
    )


def samples_of(path: Path) -> list[np.ndarray]:
    with opened(path) as source:
        shapes = [source.info.at_level(n).shape for n in range(1 + len(source.info.levels))]
        return [source.read_level(n, Box((0,) * len(s), s)) for n, s in enumerate(shapes)]


def stored(path: Path, tile: int = 64, **options: object) -> Path:
    (image,) = compress(path, path.parent / "out", workers=0, tile=tile, **options).images
    return Path(image.store)


def check_holds(store: Path, path: Path) -> None:
    """A store has the samples of a slide, and keeps them."""
    assert verify(store, path) == []
    for number, want in enumerate(samples_of(path)):
        with tilepress.open(store, level=number) as found:
            np.testing.assert_array_equal(found.image.values, want)


def keeps_all(store: Path) -> bool:
    reader = StoreReader.open(store)
    slide = parse_slide(reader.source_bytes("slide-0"))
    return is_whole_ndpi([reader.at_level(n) for n in range(reader.level_count)], slide)


class TestTheFile:
    @pytest.mark.parametrize(
        ("interval", "subsampling", "told"),
        [(4, 0, True), (4, 2, False), (16, 1, True), (64, 0, True), (0, 2, False), (5, 2, True)],
    )
    def test_comes_back_with_the_same_streams_and_entries(
        self, tmp_path: Path, interval: int, subsampling: int, told: bool
    ):
        """Intervals are parts of a row, a row, several rows, all, or none of these."""
        path = write_ndpi(
            tmp_path / "a.ndpi", [*LEVELS, MACRO], (*LENSES, -1.0), interval=interval,
            subsampling=subsampling, told=told, ending=b"\0\1",
        )  # fmt: skip
        store = stored(path)
        assert keeps_all(store)
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back")
        assert out.name == "a.ndpi"
        assert pages_of(out) == pages_of(path)[:3]
        for one, other in zip(samples_of(out), samples_of(path), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("tile", [16, 512])
    def test_of_one_level_in_grey(self, tmp_path: Path, tile: int):
        path = write_ndpi(tmp_path / "a.ndpi", [LEVELS[0][:1]], (20.0,))
        store = stored(path, tile)
        assert keeps_all(store)
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back.ndpi")
        assert pages_of(out) == pages_of(path)

    def test_has_what_directory_and_frame_say_otherwise(self, tmp_path: Path):
        odd = {
            256: Entry(4, 1, (255).to_bytes(4, "little")),
            65430: Entry(2, 3, b"No\0"),
        }
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,), interval=0, changed=odd)
        store = stored(path)
        assert keeps_all(store)
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back")
        assert pages_of(out) == pages_of(path)
        (tiles,) = export(store, tmp_path / "b.tif")
        with rasterio.open(tiles) as file:
            np.testing.assert_array_equal(file.read(), samples_of(path)[0])

    def test_is_read_by_openslide_as_it_was(self, tmp_path: Path):
        pages = [*LEVELS[:2], MACRO]
        path = write_ndpi(tmp_path / "a.ndpi", pages, (20.0, 10.0, -1.0), subsampling=1)
        (out,) = export(stored(path), tmp_path / "back")
        with openslide.OpenSlide(path) as one, openslide.OpenSlide(out) as other:
            assert other.properties["openslide.vendor"] == "hamamatsu"
            assert one.level_dimensions == other.level_dimensions
            for level, size in enumerate(one.level_dimensions):
                want, found = (s.read_region((0, 0), level, size) for s in (one, other))
                np.testing.assert_array_equal(np.asarray(found), np.asarray(want))
            assert "macro" not in other.associated_images

    def test_lies_beyond_4_gib(self, tmp_path: Path):
        small = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        path = beyond_4_gib(small, tmp_path / "b.ndpi")
        store = stored(path)
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back")
        assert pages_of(out) == pages_of(small)

    def test_is_written_beyond_4_gib(self, tmp_path: Path):
        """Into a hole, which takes no room on the disk."""
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        reader = StoreReader.open(stored(path))
        slide = parse_slide(reader.source_bytes("slide-0"))
        out = tmp_path / "b.ndpi"
        with out.open("w+b") as file:
            file.truncate(2**32 + 1)
            write_again(file, [reader.at_level(n) for n in range(3)], slide)
        assert [stream for _, stream in pages_of(out)] == [stream for _, stream in pages_of(path)]
        for one, other in zip(samples_of(out), samples_of(path), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_is_a_pyramid_of_tiles_where_that_is_asked_for(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        store = stored(path)
        for name in ("b.tif", "c.ome.tif"):
            (out,) = export(store, tmp_path / name, "ome-tiff" if "ome" in name else None)
            with opened(path) as one, opened(out) as other:
                assert one.info.slide == other.info.slide
            for one, other in zip(samples_of(out), samples_of(path), strict=True):
                np.testing.assert_array_equal(one, other)
        assert len(export(store, tmp_path / "dicom", "dicom")) == len(LEVELS)

    def test_says_of_nobody_who_they_are_once_deidentified(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        store = stored(path, deidentify="basic")
        assert not keeps_all(store)
        for file in store.rglob("*"):
            assert not file.is_file() or b"Jane" not in file.read_bytes()
        record = parse_slide(StoreReader.open(store).source_bytes("slide-0"))
        assert all(page.scan is None for (page,) in record.levels)
        (out,) = export(store, tmp_path / "back")
        assert (out.suffix, b"Jane" in out.read_bytes()) == (".tif", False)


class TestChunks:
    def test_are_whole_intervals(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,), subsampling=2)
        with opened(path) as source:
            assert source.info.stream_block == (3, 16, 64)
            assert source.streams(Box((0, 0, 0), (3, 16, 60))) is None
            assert source.streams(Box((0, 8, 0), (3, 32, 64))) is None
            found = source.streams(Box((0, 112, 128), (3, 150, 256)))
        assert found is not None
        (stream,) = found.streams
        assert stream is not None
        assert len(markers_of(stream)) == 3 * 2
        assert (found.rows, found.columns, found.height, found.width) == (1, 1, 38, 128)

    @pytest.mark.parametrize("told", [True, False])
    @pytest.mark.parametrize("interval", [0, 1, 2, 3, 4, 5, 8, 16, 32, 64])
    def test_give_their_streams_back(self, tmp_path: Path, interval: int, told: bool):
        for subsampling in range(3):
            path = write_ndpi(
                tmp_path / "a.ndpi", LEVELS[:1], (20.0,), interval=interval,
                subsampling=subsampling, told=told,
            )  # fmt: skip
            assert gives_its_stream_back(path)

    def test_of_wide_intervals_are_not_low(self, tmp_path: Path):
        """Colours of half of the rows are corrected at each border of rows."""
        samples = np.pad(picture(300, 64), ((0, 0), (0, 0), (0, 1024 - 64)), mode="wrap")
        for subsampling, rows in ((0, 8), (1, 8), (2, 256)):
            path = write_ndpi(
                tmp_path / "a.ndpi", [samples], (20.0,), interval=64 if subsampling else 128,
                subsampling=subsampling,
            )  # fmt: skip
            with opened(path) as source:
                assert source.info.stream_block == (3, rows, 1024)
            assert gives_its_stream_back(path)

    def test_have_no_texts_of_the_head(self, tmp_path: Path):
        """They are in the record of the slide, once."""
        text = b"\xff\xfe\x00\x06Jane"
        path = write_ndpi(
            tmp_path / "a.ndpi", LEVELS[:1], (20.0,), altered=lambda s: s[:2] + text + s[2:]
        )
        store = stored(path)
        assert b"Jane" not in (store / "0/image/c/0/0/0").read_bytes()
        (out,) = export(store, tmp_path / "back")
        assert pages_of(out) == pages_of(path)


def with_fill_bytes(stream: bytes) -> bytes:
    """Return a stream with a needless FF before its second marker: decoders pass over it."""
    at = markers_of(stream)[2] - 2
    return stream[:at] + b"\xff" + stream[at:]


class TestStreamsThatCannotBeKept:
    def test_are_samples_and_told(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES, altered=with_fill_bytes)
        report = compress(path, tmp_path / "out", workers=0, tile=64)
        (image,) = report.images
        store = Path(image.store)
        assert any("coded by their samples" in remark for remark in image.remarks)
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back")
        assert out.name == "a.tif"
        for one, other in zip(samples_of(out), samples_of(path), strict=True):
            np.testing.assert_array_equal(one, other)
        with pytest.raises(UsageError, match=r"not the JPEG streams of all levels"):
            export(store, tmp_path / "b.ndpi")

    def test_of_levels_that_are_too_large_without_markers(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr("tilepress.pipeline.geotiff.ndpi.MAX_UNIT_SAMPLES", 30_000)
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES, interval=0)
        with opened(path) as source:
            said = [level.stream_block for level in source.info.levels]
            assert (source.info.stream_block, *said) == (None, (3, 75, 128), (3, 38, 64))
            remarks = source.info.remarks
        assert "the JPEG streams of 1 of 3 levels cannot be kept: their samples are" in remarks

    @pytest.mark.parametrize(
        "altered",
        [
            lambda s: s.replace(b"\xff\xd3", b"\xff\xd5", 1),
            lambda s: s.replace(b"\xff\xd3", b"\x00\x00", 1),
            lambda s: s.replace(b"\xff\xdd\x00\x04\x00\x04", b"\xff\xdd\x00\x04\x00\x08"),
            lambda s: s.replace(b"\xff\xc0", b"\xff\xc2", 1),
            lambda s: s[: len(s) // 2],
        ],
        ids=["order", "missing", "interval", "progressive", "cut"],
    )
    @pytest.mark.parametrize("told", [True, False])
    def test_that_are_wrong_are_named(
        self, tmp_path: Path, altered: Callable[[bytes], bytes], told: bool
    ):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,), altered=altered, told=told)
        report = compress(path, tmp_path / "out", workers=0, tile=64)
        assert not report.ok
        (failure,) = report.failures
        assert "\n" not in failure.message
        assert not list((tmp_path / "out").glob("*.zarr/zarr.json"))

    def test_in_damaged_files_come_back_or_are_refused(self, tmp_path: Path):
        """Whatever bytes are changed, what is kept gives the very stream back."""
        rng = np.random.default_rng(12)
        path = tmp_path / "a.ndpi"
        noisy = picture(48, 64) // 2 + rng.integers(0, 60, (3, 48, 64), np.uint8)
        came_back = 0
        for case in range(200):
            how = {"interval": int(rng.choice([0, 2, 3, 8])), "subsampling": case % 3}
            data = bytearray(write_ndpi(path, [noisy], (20.0,), **how).read_bytes())
            head = data.index(b"\xff\xda")
            for at in (rng.integers(8, head), rng.integers(head, len(data))):
                if rng.random() < 0.5:
                    data[at] ^= 1 << int(rng.integers(8))
            path.write_bytes(data)
            with contextlib.suppress(SourceError):
                came_back += gives_its_stream_back(path)
        assert came_back > 40


def gives_its_stream_back(path: Path) -> bool:
    """Whether the streams of a level are kept; then they are the file's, and its samples right."""
    with opened(path) as source:
        info = source.info
        slide = parse_slide(dict(source.source_items())["slide-0"])
        ((page,),) = slide.levels
        if info.stream_block is None or np.prod(info.shape) > 2**20:
            return False
        assert page.scan is not None
        grid = choose_grid(info.shape, 1, tile=32, block=info.stream_block)
        strip = StripWriting(page.scan, page.height, page.width)
        lefts = [min(n * grid.chunk[-1], page.width) for n in range(grid.chunk_counts[-1] + 1)]
        out = [page.scan.head.data]
        for row in range(grid.chunk_counts[-2]):
            streams = []
            for column in range(grid.chunk_counts[-1]):
                index = (0, row, column)[-len(grid.chunk) :]
                box = Box.of_chunk(index, grid.chunk, grid.shape)
                found = source.streams(box)
                record = found and keep_streams(found, source.read(box), grid.chunk, 0)
                if not record:
                    return False
                streams += kept_streams(record)
            out += strip.rows(streams, row * grid.chunk[-2], lefts)
        out.append(page.scan.tail)
        level = source._levels[0].ndpi
    assert level is not None
    whole = path.read_bytes()
    assert b"".join(out) == whole[level.offset : level.offset + level.length]
    header = read_header(path, Page(0, int.from_bytes(whole[4:8], "little")))
    assert header is not None
    found_entries = page.scan.entries_of_page(page.entries, strip.starts)
    for tag, entry in found_entries.items():
        assert header.first.entries[tag] == entry
    return True


class TestStores:
    def test_are_mended_to_the_byte(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES, subsampling=2)
        store = stored(path)
        shard = store / "1/image/c/0/0/0"
        before = shard.read_bytes()
        shard.write_bytes(before[:-9] + bytes(9))
        assert {damage.key for damage in verify(store)} == {"1/image/c/0/0/0"}
        (done,) = repair_stores(store, [path])
        assert done.state == "repaired"
        assert not done.resealed
        assert shard.read_bytes() == before

    def test_of_the_version_before_stay_as_they_are(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES, subsampling=2)
        with monkeypatch.context() as before:
            whole = plan.choose_grid
            before.setattr(plan, "choose_grid", lambda *a, block=None, **more: whole(*a, **more))
            before.setattr(coding, "_streams_of", lambda *_: None)
            store = stored(path)
        assert not keeps_all(store)
        root = (store / "zarr.json").read_bytes()
        (image,) = compress(path, tmp_path / "out", workers=0, tile=64).images
        assert image.status == "unchanged"
        assert (store / "zarr.json").read_bytes() == root
        check_holds(store, path)
        shutil.rmtree(store / "1/image/c")
        (done,) = repair_stores(store, [path])
        assert done.state == "repaired"
        check_holds(store, path)
        (out,) = export(store, tmp_path / "back")
        assert out.name == "a.tif"
        for one, other in zip(samples_of(out), samples_of(path), strict=True):
            np.testing.assert_array_equal(one, other)

    def test_take_fewer_bytes_than_their_files(self, tmp_path: Path):
        noise = np.random.default_rng(1).integers(0, 40, (3, 512, 768), np.uint8)
        levels = [
            one // 2 + noise[:, : one.shape[1], : one.shape[2]]
            for one in pyramid(512, 768, levels=2)
        ]
        for subsampling in range(3):
            path = write_ndpi(
                tmp_path / f"{subsampling}/a.ndpi", levels, LENSES[:2], interval=16,
                subsampling=subsampling,
            )  # fmt: skip
            store = stored(path, 512)
            size = sum(file.stat().st_size for file in store.rglob("*") if file.is_file())
            assert size < path.stat().st_size

    @pytest.mark.parametrize("at_fault", ["head", "interval", "first"])
    def test_whose_record_is_none_are_named(self, tmp_path: Path, at_fault: str):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        with opened(path) as source:
            record = json.loads(dict(source.source_items())["slide-0"])
        assert record["version"] == 2
        record["levels"][0][0]["scan"][at_fault] = {
            "head": "AAAA",
            "interval": [0, 4],
            "first": -1,
        }[at_fault]
        with pytest.raises(ValueError, match=r"head|interval|record"):
            parse_slide(json.dumps(record).encode())

    def test_whose_streams_are_others_are_named(self, tmp_path: Path):
        path = write_ndpi(tmp_path / "a.ndpi", LEVELS, LENSES)
        reader = StoreReader.open(stored(path))
        data = reader.source_bytes("slide-0")
        record = json.loads(data)
        for change in ([8, 64], [16, 32]):
            record["levels"][0][0]["scan"]["interval"] = change
            slide: StoredSlide = parse_slide(json.dumps(record).encode())
            with (
                (tmp_path / "b.ndpi").open("w+b") as file,
                pytest.raises(DamagedStore, match="lev"),
            ):
                write_again(file, [reader.at_level(n) for n in range(3)], slide)


def test_a_record_keeps_what_it_should(tmp_path: Path):
    """McuStarts are found again, unless they are not as Hamamatsu writes them."""
    path = write_ndpi(tmp_path / "a.ndpi", LEVELS[:1], (20.0,))
    odd = {65426: Entry(4, 2, b"\1\0\0\0\2\0\0\0")}
    other = write_ndpi(tmp_path / "b.ndpi", LEVELS[:1], (20.0,), told=False, changed=odd)
    for one, has in ((path, False), (other, True)):
        with opened(one) as source:
            slide = parse_slide(dict(source.source_items())["slide-0"])
        scan = slide.levels[0][0].scan
        assert scan is not None
        assert (65426 in scan.entries, scan.first is None) == (has, has)
        store = stored(one)
        assert keeps_streams(_first_record(store))
        (out,) = export(store, tmp_path / f"back-{one.stem}")
        assert pages_of(out) == pages_of(one)


def _first_record(store: Path) -> bytes:
    return bytes(StoreReader.open(store).record((0, 0, 0)))
