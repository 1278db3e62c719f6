"""Slides of DICOM series: put together of their tiles, and taken apart into the same files."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

import imagecodecs
import numpy as np
import pydicom
import pytest
import zarr
from ome_zarr_models.v05.image import Image
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import ExplicitVRLittleEndian

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.dicom.groups import SeriesGroups
from tilepress.pipeline.dicom.slide_source import DicomSlideSource
from tilepress.pipeline.dicom.source import group_series
from tilepress.pipeline.export import export
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.verify import verify
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import picture, pyramid
from ...helpers.wsi_files import SERIES, tiles_of, write_levels, write_tiles

LEVELS = pyramid(40, 55, levels=2)


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def slide_in(folder: Path) -> SourceSpec:
    (spec,), failures = group_series([folder])
    assert not failures
    assert spec.kind == "dicom-slide"
    return spec


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[DicomSlideSource]:
    source = DICOM.open(slide_in(folder))
    assert isinstance(source, DicomSlideSource)
    with contextlib.closing(source):
        yield source


def level(source: DicomSlideSource, number: int = 0) -> np.ndarray:
    shape = source.info.at_level(number).shape
    return source.read_level(number, Box((0,) * len(shape), shape))


def there_and_back(folder: Path, tmp_path: Path, **options: object) -> Path:
    """Compress, verify, and compare every exported file; return the store."""
    report = compress(folder, tmp_path / "out", workers=0, **options)
    assert report.ok, report
    (image,) = report.images
    store = Path(image.store)
    assert verify(store, folder) == []
    out = tmp_path / "back"
    export(store, out)
    found = {path.name: path.read_bytes() for path in out.rglob("*.dcm")}
    given = {path.name: path.read_bytes() for path in folder.rglob("*.dcm")}
    assert found == {name: given[name] for name in found}
    return store


class TestPutTogether:
    @pytest.mark.parametrize("sparse", [False, True])
    def test_levels_of_tiles(self, tmp_path: Path, sparse: bool):
        folder = tmp_path / "in"
        for number, samples in enumerate(LEVELS, 1):
            tiles, size = tiles_of(samples, 16), samples.shape[1:]
            across = -(-size[1] // 16)
            places = [(n // across * 16, n % across * 16) for n in range(len(tiles))]
            if sparse:  # in any order
                tiles, places = tiles[::-1], places[::-1]
            write_tiles(
                folder / f"{number}.dcm", tiles, size, number=number,
                places=places if sparse else None,
            )  # fmt: skip
        with opened(folder) as source:
            assert source.info.axes == ("band", "y", "x")
            assert source.info.slide is not None
            assert source.info.slide.pixel_size_um == (0.5, 0.5)
            for number, samples in enumerate(LEVELS):
                np.testing.assert_array_equal(level(source, number), samples)
            part = Box((1, 13, 7), (3, 34, 55))
            np.testing.assert_array_equal(source.read(part), LEVELS[0][part.slices])

    def test_a_sparse_slide_has_0_where_tiles_are_absent(self, tmp_path: Path):
        tiles = tiles_of(LEVELS[0], 16)
        write_tiles(tmp_path / "in/a.dcm", tiles[5:7], (40, 55), places=[(16, 16), (16, 32)])
        with opened(tmp_path / "in") as source:
            samples = level(source)
            assert "10 of 12 tiles are absent" in source.info.remarks[0]
        np.testing.assert_array_equal(samples[:, 16:32, 16:48], LEVELS[0][:, 16:32, 16:48])
        samples[:, 16:32, 16:48] = 0
        assert not samples.any()

    def test_parts_of_a_concatenation(self, tmp_path: Path):
        tiles = tiles_of(LEVELS[0], 16)
        write_tiles(tmp_path / "in/b.dcm", tiles[:5], (40, 55), number=2, offset=0)
        write_tiles(tmp_path / "in/a.dcm", tiles[5:], (40, 55), number=1, offset=5)
        with opened(tmp_path / "in") as source:
            np.testing.assert_array_equal(level(source), LEVELS[0])

    def test_optical_paths_and_focal_planes(self, tmp_path: Path):
        """Frames follow by column, row, focal plane, path (PS3.3 C.7.6.17.3)."""
        paths = [
            [picture(20, 30, bands=1, dtype="uint16") + 10 * p + z for z in range(3)]
            for p in (0, 1)
        ]
        frames = [tile for path in paths for plane in path for tile in tiles_of(plane, 16)]
        write_tiles(tmp_path / "in/a.dcm", frames, (20, 30), paths=("A", "B"), planes=3)
        with opened(tmp_path / "in") as source:
            samples = level(source)
            assert source.info.axes == ("z", "band", "y", "x")
            assert source.info.slide is not None
            assert source.info.slide.plane_spacing_um == pytest.approx(2.0)
        for path in range(2):
            for plane in range(3):
                np.testing.assert_array_equal(samples[plane, path], paths[path][plane][0])

    def test_optical_paths_of_several_instances(self, tmp_path: Path):
        gray = [picture(20, 30, bands=1) // (n + 1) for n in range(2)]
        for number, (samples, path) in enumerate(zip(gray, ("B", "A"), strict=True), 1):
            write_tiles(
                tmp_path / f"in/{number}.dcm", tiles_of(samples, 16), (20, 30), number=number,
                paths=(path,),
            )  # fmt: skip
        with opened(tmp_path / "in") as source:
            found = level(source)
        assert found.shape == (2, 20, 30)
        assert {found[n].tobytes() for n in range(2)} == {one.tobytes() for one in gray}

    def test_colour_has_its_bands_path_by_path(self, tmp_path: Path):
        colours = [picture(20, 30) // (n + 1) for n in range(2)]
        frames = [tile for one in colours for tile in tiles_of(one, 16)]
        write_tiles(tmp_path / "in/a.dcm", frames, (20, 30), paths=("A", "B"))
        with opened(tmp_path / "in") as source:
            np.testing.assert_array_equal(level(source), np.concatenate(colours))


class TestTakenApart:
    @pytest.mark.parametrize("jpeg", [False, True])
    def test_files_come_back_byte_by_byte(self, tmp_path: Path, jpeg: bool):
        """Tiles at the border of a matrix have samples beyond it, which nobody reads there."""
        folder = tmp_path / "in"
        for number, samples in enumerate(LEVELS, 1):
            tiles = tiles_of(samples, 16, fill=200)
            write_tiles(
                folder / f"{number}.dcm", tiles, samples.shape[1:], number=number, jpeg=jpeg
            )
        store = there_and_back(folder, tmp_path, tile=32)
        reader = StoreReader.open(store)
        assert "slide-margins" in reader.source_names()
        assert reader.keeps_streams((0, 0, 0)) is jpeg
        multiscale = Image.from_zarr(zarr.open_group(store, mode="r")).ome_attributes.multiscales[0]
        assert [one.coordinateTransformations[0].scale[1:] for one in multiscale.datasets] == [
            [0.5, 0.5], [1.0, pytest.approx(55 / 28 / 2)],
        ]  # fmt: skip

    def test_what_lies_beyond_the_matrix_is_kept_beside_streams(self, tmp_path: Path):
        """One stream that cannot be kept (it ends too early), and the whole file is of samples."""
        folder = tmp_path / "in"
        path = write_tiles(folder / "a.dcm", tiles_of(LEVELS[0], 16, 200), (40, 55), jpeg=True)
        given = pydicom.dcmread(path)
        streams = list(generate_frames(given.PixelData, number_of_frames=given.NumberOfFrames))
        streams[0] = streams[0][: len(streams[0]) * 8 // 10 // 2 * 2]
        given.PixelData = encapsulate(streams)
        given["PixelData"].is_undefined_length = True
        given.save_as(path)
        (image,) = compress(folder, tmp_path / "out", workers=0, tile=32).images
        (written,) = export(image.store, tmp_path / "back")
        back = pydicom.dcmread(written)
        assert back.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert np.array_equal(back.pixel_array, given.pixel_array)

    @pytest.mark.parametrize("jpeg", [False, True])
    def test_of_paths_and_planes_and_absent_tiles(self, tmp_path: Path, jpeg: bool):
        folder = tmp_path / "in"
        frames, places, names, depths = [], [], [], []
        for path in ("A", "B"):
            for depth in (0.0, 1.5, 3.0):
                samples = picture(20, 30) // (1 + (path == "B")) + int(depth)
                tiles = tiles_of(samples, 16)
                for at in (0, 3):
                    frames.append(tiles[at])
                    places.append((at // 2 * 16, at % 2 * 16))
                    names.append(path)
                    depths.append(depth)
        write_tiles(
            folder / "a.dcm", frames, (20, 30), places=places, paths=("A", "B"),
            frame_paths=names, depths=depths, jpeg=jpeg,
        )  # fmt: skip
        store = there_and_back(folder, tmp_path, tile=16)
        assert StoreReader.open(store).shape == (3, 6, 20, 30)

    def test_within_a_bound_frames_are_derived_ones(self, tmp_path: Path):
        folder = write_levels(tmp_path / "in", LEVELS)
        (image,) = compress(folder, tmp_path / "out", workers=0, tile=32, max_error=2).images
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            written = [pydicom.dcmread(one) for one in export(image.store, tmp_path / "back")]
        assert [one.LossyImageCompression for one in written] == ["01", "01"]
        first = written[0].pixel_array[0].astype(int)
        given = np.moveaxis(tiles_of(LEVELS[0], 16)[0], 0, -1)
        assert 0 < abs(first - given).max() <= 2

    def test_deidentified_tiles_are_samples(self, tmp_path: Path):
        folder = write_levels(tmp_path / "in", LEVELS, jpeg=True)
        report = compress(folder, tmp_path / "out", workers=0, tile=32, deidentify="basic")
        (image,) = report.images
        assert not StoreReader.open(image.store).keeps_streams((0, 0, 0))
        written = export(image.store, tmp_path / "back")
        assert len(written) == 2
        assert all(b"Doe" not in path.read_bytes() for path in written)

    def test_it_comes_whole(self, tmp_path: Path):
        folder = write_levels(tmp_path / "in", LEVELS)
        (image,) = compress(folder, tmp_path / "out", workers=0, tile=32).images
        with pytest.raises(UsageError, match="whole"):
            export(image.store, tmp_path / "back", slices=[0])


class TestWhatIsLeftOut:
    def test_labels_are_counted_and_named(self, tmp_path: Path):
        folder = write_levels(tmp_path / "in", LEVELS)
        for number, shows in ((7, "LABEL"), (8, "OVERVIEW")):
            write_tiles(
                folder / f"{number}.dcm", tiles_of(picture(20, 20), 20), (20, 20), number=number,
                shows=shows,
            )  # fmt: skip
        spec = slide_in(folder)
        assert len(spec.paths) == 2
        with opened(folder) as source:
            (remark,) = [one for one in source.info.remarks if "left out" in one]
        assert remark.startswith("2 pictures beside the slide left out")
        assert remark.endswith("label, overview")
        assert len(DICOM.former(spec)) == 3  # both pictures have one size: they were one image

    @pytest.mark.parametrize("assembled", [True, False])
    @pytest.mark.parametrize("more", [{}, {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.77.1.4"}])
    def test_labels_without_tiles_and_of_slides_that_are_not_assembled(
        self, tmp_path: Path, assembled: bool, more: dict[str, str]
    ):
        places = [(0, 0), (16, 0)] if assembled else [(0, 0), (0, 0)]
        write_tiles(tmp_path / "a.dcm", tiles_of(LEVELS[0], 16)[:2], (40, 55), places=places)
        label = tiles_of(picture(20, 20), 20)
        write_tiles(tmp_path / "b.dcm", label, (20, 20), number=7, shows="LABEL", **more)
        (spec,), failures = group_series([tmp_path])
        assert ([Path(path).name for path in spec.paths], failures) == (["a.dcm"], [])
        assert spec.kind == ("dicom-slide" if assembled else "dicom")
        with contextlib.closing(DICOM.open(spec)) as source:
            (remark,) = [one for one in source.info.remarks if "left out" in one]
        assert remark.endswith("label")

    def test_a_label_of_the_size_of_a_level_is_no_plane_of_it(self, tmp_path: Path):
        """Single frames of one size make one image where they make no slide."""
        tile = tiles_of(picture(20, 20), 20)
        for number, places in ((1, [(0, 0)]), (2, [(0, 0)])):
            write_tiles(tmp_path / f"{number}.dcm", tile, (20, 20), number=number, places=places)
        write_tiles(tmp_path / "b.dcm", tile, (20, 20), number=7, shows="LABEL")
        specs, _ = group_series([tmp_path])
        assert not any("b.dcm" in path for spec in specs for path in spec.paths)
        assert sum(len(spec.paths) for spec in specs) == 2

    def test_a_label_alone_is_an_image(self, tmp_path: Path):
        write_tiles(tmp_path / "a.dcm", tiles_of(picture(20, 20), 20), (20, 20), shows="LABEL")
        (spec,), _ = group_series([tmp_path])
        assert spec.kind == "dicom"


def test_levels_that_decode_to_other_colours_are_refused(tmp_path: Path):
    """Both headers say RGB; the streams of one are YCbCr. An image has one interpretation."""
    folder = tmp_path / "in"
    for number, samples in enumerate(LEVELS, 1):
        tiles = tiles_of(samples, 16)
        path = write_tiles(
            folder / f"{number}.dcm", tiles, samples.shape[1:], number=number, jpeg=True
        )
    second = pydicom.dcmread(path)
    streams = [
        imagecodecs.jpeg8_encode(
            np.ascontiguousarray(np.moveaxis(one, 0, -1)), colorspace="RGB", outcolorspace="RGB"
        )
        for one in tiles
    ]
    second.PixelData = encapsulate([one + b"\0" * (len(one) % 2) for one in streams])
    second["PixelData"].is_undefined_length = True
    second.save_as(path)
    report = compress(folder, tmp_path / "out", workers=0, tile=32)
    assert not report.ok
    assert "frames before it are" in report.failures[0].message


class TestWhatIsNoSlide:
    """Tiles stay the planes of their instances, as before, where they cannot be taken apart."""

    @pytest.mark.parametrize(
        ("how", "more"),
        [
            ("grid", {"places": [(0, 0), (0, 9)]}),
            ("place", {"places": [(0, 0), (0, 0)]}),
            ("beyond", {"places": [(0, 0), (48, 0)]}),
            ("path", {"places": [(0, 0), (16, 0)], "TotalPixelMatrixRows": 2**31 - 1}),
            (
                "size",
                {"offset": 0, "TotalPixelMatrixRows": 2**31 - 1, "NumberOfOpticalPaths": 4096},
            ),
            ("count", {}),
        ],
    )
    def test_places_that_are_none(self, tmp_path: Path, how: str, more: dict[str, object]):
        write_tiles(tmp_path / "a.dcm", tiles_of(LEVELS[0], 16)[:2], (40, 55), **more)
        (spec,), failures = group_series([tmp_path])
        assert (spec.kind, failures) == ("dicom", []), how
        with contextlib.closing(DICOM.open(spec)) as source:
            assert source.info.axes == ("z", "band", "y", "x")
            assert any("not assembled" in remark for remark in source.info.remarks)
            if how in ("grid", "place"):
                assert any("no slide is made of it: " in text for text in source.info.remarks)

    def test_instances_of_another_kind_stay_images_of_their_own(self, tmp_path: Path):
        write_levels(tmp_path, LEVELS)
        gray = tiles_of(LEVELS[1][:1], 16)
        write_tiles(tmp_path / "gray.dcm", gray, LEVELS[1].shape[1:], number=5)
        paths = [tile for _ in "AB" for tile in tiles_of(LEVELS[1], 16)]
        size = LEVELS[1].shape[1:]
        write_tiles(tmp_path / "paths.dcm", paths, (size[0] - 1, size[1]), number=6, paths="AB")
        specs, failures = group_series([tmp_path])
        assert failures == []
        found = sorted((spec.kind, [Path(path).name for path in spec.paths]) for spec in specs)
        assert found == [
            ("dicom", ["gray.dcm"]), ("dicom", ["paths.dcm"]),
            ("dicom-slide", ["level1.dcm", "level2.dcm"]),
        ]  # fmt: skip
        for spec in specs:
            DICOM.open(spec).close()

    def test_other_series_are_other_slides(self, tmp_path: Path):
        for n in (1, 2):
            write_levels(tmp_path / str(n), LEVELS, series=f"{SERIES}.{n}")
        specs, _ = group_series([tmp_path])
        assert [(spec.kind, len(spec.paths)) for spec in specs] == [("dicom-slide", 2)] * 2


def test_an_archive_of_tiles_stays_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What a version made that knew of no slides is unchanged, and verified."""
    from tilepress.pipeline.archive.verify import check_stores

    folder = write_levels(tmp_path / "in", LEVELS)
    with monkeypatch.context() as before:
        before.setattr(SeriesGroups, "_slide_series", lambda *_: None)
        assert compress(folder, tmp_path / "out", workers=0).ok
    names = sorted(path.name for path in (tmp_path / "out").glob("*.zarr"))
    assert len(names) == 2
    report = compress(folder, tmp_path / "out", workers=0)
    assert {image.status for image in report.images} == {"unchanged"}
    assert sorted(path.name for path in (tmp_path / "out").glob("*.zarr")) == names
    checks = list(check_stores(tmp_path / "out", [folder]))
    assert [(check.state, check.findings) for check in checks] == [("sound", ())] * 2
