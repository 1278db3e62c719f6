"""DICOM series: found by content, grouped, sorted, read by windows; no patient text leaks."""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.dicom import header
from tilepress.pipeline.dicom.bytes import scan_container
from tilepress.pipeline.dicom.header import read_instance
from tilepress.pipeline.dicom.source import DicomSource, group_series
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec

Write = Callable[..., Path]
NATIVE = [
    ExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ImplicitVRLittleEndian,
    DeflatedExplicitVRLittleEndian,
]
AXIAL = [1, 0, 0, 0, 1, 0]


def plane(value: int = 0, dtype: type = np.int16) -> np.ndarray:
    return (np.arange(20).reshape(4, 5) + value).astype(dtype)


def write_slices(write: Write, depths: list[float], **elements: Any) -> list[Path]:
    """Write one file per depth (mm), numbered in the order given; samples tell the number."""
    return [
        write(
            f"{i:02d}",
            plane(100 * i),
            instance=i + 1,
            ImagePositionPatient=[0, 0, depth],
            ImageOrientationPatient=AXIAL,
            PixelSpacing=[0.5, 0.7],
            **elements,
        )
        for i, depth in enumerate(depths)
    ]


def order_of(image: np.ndarray) -> list[int]:
    """Return the file numbers in the order of the image's planes."""
    return (image.reshape(-1, 4, 5)[:, 0, 0] // 100).tolist()


class TestPlanesAreInAnatomicalOrder:
    def test_by_position_not_by_name_or_number(self, write: Write, one_spec, read_all):
        spec = one_spec(*write_slices(write, [5.0, -2.5, 0.0, 2.5]))
        info = DicomSource(spec).info
        assert info.axes == ("z", "y", "x")
        assert order_of(read_all(spec)) == [1, 2, 3, 0]
        assert info.coordinates["z"].tolist() == [-2.5, 0, 2.5, 5]
        assert info.medical is not None
        assert info.medical.slice_spacing_mm == 2.5
        assert info.medical.pixel_spacing_mm == (0.5, 0.7)
        assert info.medical.origin_mm == (0, 0, -2.5)
        assert info.remarks == ()

    def test_along_the_normal_of_oblique_slices(self, write: Write, one_spec, read_all):
        """z alone would give the opposite order."""
        turn = [1, 0, 0, 0, 0.6, 0.8]
        normal = np.cross(turn[:3], turn[3:])
        paths = [
            write(
                f"{i}",
                plane(100 * i),
                instance=i,
                ImagePositionPatient=[float(v) for v in normal * depth + [0, 0, -9 * depth]],
                ImageOrientationPatient=turn,
            )
            for i, depth in enumerate((3.0, 1.0, 2.0))
        ]
        depths = [normal @ (normal * d + [0, 0, -9 * d]) for d in (3.0, 1.0, 2.0)]
        assert order_of(read_all(one_spec(*paths))) == np.argsort(depths).tolist()

    def test_a_gap_is_told(self, write: Write, one_spec):
        spec = one_spec(*write_slices(write, [0, 1, 2, 5, 6]))
        assert "3 mm after slice 2" in " ".join(DicomSource(spec).info.remarks)

    def test_time_points_become_an_axis(self, write: Write, one_spec, read_all):
        spec = one_spec(*write_slices(write, [0, 2, 4, 0, 2, 4]))
        info = DicomSource(spec).info
        assert info.axes == ("t", "z", "y", "x")
        assert info.shape == (2, 3, 4, 5)
        assert order_of(read_all(spec)) == [0, 1, 2, 3, 4, 5]

    def test_unequal_repeats_stay_flat(self, write: Write, one_spec, read_all):
        spec = one_spec(*write_slices(write, [0, 2, 4, 2]))
        info = DicomSource(spec).info
        assert info.axes == ("z", "y", "x")
        assert order_of(read_all(spec)) == [0, 1, 3, 2]
        assert "repeat 1 to 2 times" in info.remarks[0]

    def test_without_positions_by_instance_number(self, write: Write, one_spec, read_all):
        paths = [write(f"{9 - i}", plane(100 * i), instance=i) for i in range(3)]
        spec = one_spec(*paths)
        assert order_of(read_all(spec)) == [0, 1, 2]
        assert "no position" in DicomSource(spec).info.remarks[0]


class TestGrouping:
    def test_series_and_shapes_are_images(self, write: Write):
        paths = [
            write("a", plane(), series=1, instance=1),
            write("b", plane(), series=2, instance=2),
            write("c", np.zeros((3, 3), np.int16), series=2, instance=3),
        ]
        specs, failures = group_series([paths[0].parent])
        names = [s.options["name"] for s in specs]
        assert not failures
        assert len(set(names)) == 3
        assert all(n.startswith("CT-") for n in names)
        assert names[1][:15] == names[2][:15] != names[0][:15]

    def test_copies_are_left_out_with_a_remark(self, write: Write, tmp_path: Path, one_spec):
        paths = write_slices(write, [0, 1])
        copy = tmp_path / "in" / "copy"
        copy.write_bytes(paths[0].read_bytes())
        info = DicomSource(one_spec(*paths, copy)).info
        assert info.shape[0] == 2
        assert "1 exact copies" in info.remarks[0]

    def test_clips_of_one_series_are_images_of_their_own(self, write: Write):
        frames = np.arange(60).reshape(3, 4, 5).astype(np.uint8)
        common = {"NumberOfFrames": 3, "Rows": 4, "Columns": 5, "Modality": "US"}
        common |= {"BitsAllocated": 8, "BitsStored": 8, "PixelRepresentation": 0, "FrameTime": 40}
        paths = [write(n, frames.tobytes(), instance=ord(n), **common) for n in "ab"]
        specs, _ = group_series(paths)
        infos = [DicomSource(s).info for s in specs]
        assert [i.axes for i in infos] == [("t", "y", "x")] * 2
        assert infos[0].coordinates["t"].tolist() == [0, 40, 80]

    def test_the_order_of_the_paths_does_not_matter(self, write: Write):
        paths = write_slices(write, [0, 1, 2])
        assert group_series(paths) == group_series(paths[::-1])

    def test_a_spec_is_plain(self, write: Write, one_spec):
        spec = one_spec(*write_slices(write, [0, 1]))
        plain = json.loads(json.dumps({"paths": spec.paths, "options": dict(spec.options)}))
        again = SourceSpec(kind="dicom", paths=tuple(plain["paths"]), options=plain["options"])
        assert DicomSource(again).info.name == DicomSource(spec).info.name


class TestPadding:
    @pytest.mark.parametrize(
        ("elements", "padding"),
        [
            ({}, None),
            ({"PixelPaddingValue": -2000}, (-2000, -2000)),
            ({"PixelPaddingValue": -1500, "PixelPaddingRangeLimit": -2000}, (-2000, -1500)),
        ],
    )
    def test_a_value_or_a_range(self, write: Write, one_spec, elements, padding):
        info = DicomSource(one_spec(*write_slices(write, [0, 1], **elements))).info
        assert info.padding == padding
        assert info.nodata is None


class TestWindows:
    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.uint16, np.int16, np.uint32])
    def test_every_encoding(self, write: Write, one_spec, syntax: str, dtype: type):
        want = np.random.default_rng(3).integers(0, 100, (9, 7)).astype(dtype)
        source = DicomSource(one_spec(write("x", want, syntax=syntax)))
        assert source.info.dtype == dtype
        got = source.read(Box((2, 1), (9, 6)))
        assert got.flags.c_contiguous
        assert np.array_equal(got, want[2:9, 1:6])

    @pytest.mark.parametrize("planar", [0, 1])
    def test_colour_has_a_band_axis(self, write: Write, one_spec, planar: int):
        want = np.random.default_rng(3).integers(0, 255, (2, 3, 4, 6), np.uint8)
        content = want if planar else want.transpose(0, 2, 3, 1)
        path = write("x", content.tobytes(), NumberOfFrames=2, Rows=4, Columns=6,
                     SamplesPerPixel=3, PlanarConfiguration=planar, BitsAllocated=8, BitsStored=8,
                     PixelRepresentation=0, PhotometricInterpretation="RGB")  # fmt: skip
        source = DicomSource(one_spec(path))
        assert source.info.axes == ("z", "band", "y", "x")
        assert np.array_equal(source.read(Box((1, 1, 0, 2), (2, 3, 4, 5))), want[1:, 1:, :, 2:5])

    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
    def test_compressed_frames(self, synthetic, tmp_path: Path, one_spec, read_all, syntax: str):
        want = np.random.default_rng(3).integers(-99, 99, (40, 48)).astype(np.int16)
        dataset = synthetic(want)
        dataset.compress(syntax)
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        assert np.array_equal(read_all(one_spec(path)), want)

    def test_more_frames_than_its_bytes_can_hold_are_refused_at_once(
        self, synthetic, tmp_path: Path, monkeypatch
    ):
        dataset = synthetic(plane())
        dataset.compress(RLELossless)
        dataset.NumberOfFrames = 10**6
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        monkeypatch.setattr(header, "planes_of", None)  # nothing is made of a million frames
        with pytest.raises(DamagedSource, match=r"1000000 frames, but its \d+ bytes of pixel data"):
            read_instance(path)

    def test_stored_bits_bound_the_range_and_extend_the_sign(
        self, write: Write, one_spec, read_all
    ):
        words = np.array([[0x0FFF, 0x07FF], [0x0800, 0xF001]], np.uint16)
        path = write("x", words, BitsStored=12, PixelRepresentation=1)
        info = DicomSource(one_spec(path)).info
        assert info.valid_range == (-2048, 2047)
        assert read_all(one_spec(path)).tolist() == [[-1, 2047], [-2048, 1]]

    def test_indices_and_masks_refuse_loss(self, write: Write, one_spec):
        palette = write("p", plane(dtype=np.uint8), PhotometricInterpretation="PALETTE COLOR")
        assert "palette" in str(DicomSource(one_spec(palette)).info.lossy_refusal)
        mask = write("m", b"\x55", Rows=2, Columns=3, BitsAllocated=1, BitsStored=1,
                     PixelRepresentation=0, series=3, instance=3)  # fmt: skip
        info = DicomSource(one_spec(mask)).info
        assert info.lossy_refusal
        assert info.valid_range == (0, 1)


class TestNothingOfThePatientLeaks:
    def test_only_source_items_hold_header_text(self, synthetic, tmp_path: Path, one_spec, canary):
        """Canaries in texts, identifiers and in codes that should hold a listed term."""
        dataset = synthetic(plane())
        for keyword in ("RescaleType", "ImageComments", "Manufacturer", "Units", "StudyID"):
            setattr(dataset, keyword, canary)
        dataset.Modality = canary[:16]
        dataset.RescaleSlope, dataset.RescaleIntercept = 1, -1024
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        spec = one_spec(path)
        source = DicomSource(spec)
        told = repr((source.info, spec.options, source.fingerprint()))
        assert canary not in told
        assert dataset.SeriesInstanceUID not in told
        assert dataset.SOPInstanceUID not in told
        assert source.info.attributes["rescale_intercept"] == -1024
        assert canary.encode() in dict(source.source_items())["dicom-headers"]

    def test_errors_tell_the_path_and_no_header(self, synthetic, tmp_path: Path, canary: str):
        for n, change in enumerate(
            [
                {"PhotometricInterpretation": canary},
                {"BitsAllocated": 13},
                {"NumberOfFrames": 7},
            ]
        ):
            dataset = synthetic(plane())
            for keyword, value in change.items():
                setattr(dataset, keyword, value)
            path = tmp_path / f"{n}.dcm"
            dataset.save_as(path)
            _, [(_, error)] = group_series([path])
            assert path.name in str(error)
            assert canary not in str(error)
            assert error.__cause__ is None


class TestHostileFiles:
    @pytest.mark.parametrize("cut", [0, 100, 140, 400, -30])
    def test_truncated(self, write: Write, cut: int):
        path = write("x", np.zeros((64, 64), np.int16))
        path.write_bytes(path.read_bytes()[:cut])
        _, [(_, error)] = group_series([path])
        assert isinstance(error, SourceError)

    def test_without_pixels(self, synthetic, tmp_path: Path):
        dataset: FileDataset = synthetic(plane())
        del dataset.PixelData
        dataset.save_as(tmp_path / "x")
        _, [(_, error)] = group_series([tmp_path / "x"])
        assert isinstance(error, UnsupportedSource)
        assert "no pixel data" in str(error)

    def test_claims_of_size_are_checked_first(self, write: Write):
        path = write("x", b"\0\0", Rows=30000, Columns=30000, BitsAllocated=16, BitsStored=16,
                     PixelRepresentation=0)  # fmt: skip
        _, [(_, error)] = group_series([path])
        assert "2 bytes of pixel data" in str(error)

    def test_a_codestream_of_another_size_is_not_decoded(self, synthetic, tmp_path: Path, one_spec):
        dataset = synthetic(np.zeros((64, 64), np.uint16))
        dataset.compress(JPEG2000Lossless)
        path = tmp_path / "x"
        dataset.save_as(path)
        content = path.read_bytes()
        at = content.find(b"\xff\x4f\xff\x51") + 8
        path.write_bytes(content[:at] + struct.pack(">I", 2**31) + content[at + 4 :])
        source = DicomSource(one_spec(path))
        with pytest.raises(DamagedSource, match="codestream declares"):
            source.read(Box((0, 0), (64, 64)))

    def test_a_bomb_is_not_inflated(self, write: Write):
        path = write("x", plane(), syntax=DeflatedExplicitVRLittleEndian)
        content = path.read_bytes()
        start = scan_container(path).dataset_offset
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        bomb = packer.compress(bytes(70 * 2**20)) + packer.flush()
        path.write_bytes(content[:start] + bomb)
        _, [(_, error)] = group_series([path])
        assert "inflating" in str(error)

    def test_an_unknown_syntax_is_named(self, synthetic, tmp_path: Path):
        dataset = synthetic(plane())
        dataset.compress(RLELossless)
        dataset.file_meta.TransferSyntaxUID = "1.2.840.10008.1.2.4.100"
        dataset.save_as(tmp_path / "x")
        _, [(_, error)] = group_series([tmp_path / "x"])
        assert isinstance(error, UnsupportedSource)
        assert "MPEG2" in str(error)

    def test_flipped_bytes_are_our_errors_or_samples(self, synthetic, tmp_path: Path):
        random = np.random.default_rng(5)
        dataset = synthetic(random.integers(0, 999, (16, 16)).astype(np.uint16))
        dataset.compress(RLELossless)
        path = tmp_path / "x"
        dataset.save_as(path)
        content = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(150):
            damaged = content.copy()
            damaged[random.integers(132, content.size, 4)] = random.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            specs, failures = group_series([path])
            assert len(specs) + len(failures) == 1
            for spec in specs:
                try:
                    source = DicomSource(spec)
                    source.read(Box((0,) * len(source.info.shape), source.info.shape))
                except SourceError:
                    pass


@pytest.mark.shared
class TestRealSeries:
    @pytest.mark.parametrize(
        ("folder", "axes", "shape"),
        [
            ("dcmqi_prostate_adc", ("z", "y", "x"), (20, 256, 256)),
            ("xa30_enh_dwi", None, None),
            ("papaya_fse_pd", ("z", "y", "x"), (20, 256, 256)),
            ("nema_enh_mr_knee", ("t", "y", "x"), (19, 256, 256)),
            ("cptac_brca_wsi", ("z", "band", "y", "x"), (49, 3, 240, 240)),
        ],
    )
    def test_is_read_as_pydicom_reads_it(self, shared_data: Path, folder: str, axes, shape):
        root = next((shared_data / "public" / "med").rglob(folder))
        specs, failures = group_series([root])
        assert not failures
        source = DicomSource(specs[0])
        if axes:
            assert (source.info.axes, source.info.shape) == (axes, shape)
        items = json.loads(dict(source.source_items())["origin"])
        entry = items["instances"][0]
        frames = entry["frames"]
        number = frames["start"] if isinstance(frames, dict) else frames[0]
        rest = len(source.info.shape) - (3 if "band" in source.info.axes else 2)
        index = np.unravel_index(number, source.info.shape[:rest]) if rest else ()
        box = Box(
            (*(int(i) for i in index), *[0] * (len(source.info.shape) - rest)),
            (*(int(i) + 1 for i in index), *source.info.shape[rest:]),
        )
        dataset = pydicom.dcmread(source.spec.paths[0])
        want = dataset.pixel_array
        if int(dataset.get("NumberOfFrames", 1)) > 1:
            want = want[0]
        want = want.transpose(2, 0, 1) if want.ndim == 3 else want
        assert np.array_equal(np.squeeze(source.read(box)), want)
