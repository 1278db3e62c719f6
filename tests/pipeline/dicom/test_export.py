"""Files come back: native ones byte for byte, compressed ones with equal pixels and elements."""

from __future__ import annotations

import json
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGLSLossless,
    RLELossless,
)

from tilepress.errors import DamagedStore, DestinationConflict, UsageError
from tilepress.pipeline.dicom.export import export_dicom
from tilepress.pipeline.dicom.source import DicomSource, group_series

Write = Callable[..., Path]
NATIVE = [
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    ExplicitVRBigEndian,
    DeflatedExplicitVRLittleEndian,
]
random = np.random.default_rng(7)


def noise(shape: tuple[int, ...], dtype: type = np.uint16) -> np.ndarray:
    return random.integers(0, np.iinfo(dtype).max, shape, dtype, endpoint=True)


def colour(planar: int = 0, **elements: Any) -> dict[str, Any]:
    return {
        "Rows": 5,
        "Columns": 6,
        "SamplesPerPixel": 3,
        "PlanarConfiguration": planar,
        "BitsAllocated": 8,
        "BitsStored": 8,
        "PixelRepresentation": 0,
        "PhotometricInterpretation": "RGB",
    } | elements


class TestNativeFilesComeBackByteForByte:
    @pytest.mark.parametrize("syntax", NATIVE)
    @pytest.mark.parametrize(
        ("pixels", "elements"),
        [
            (noise((5, 7), np.uint8), {}),
            (noise((5, 7)), {"BitsStored": 12}),
            (noise((5, 7)), {"BitsStored": 12, "PixelRepresentation": 1}),
            (noise((5, 7)), {"BitsStored": 12, "HighBit": 15}),
            (noise((5, 7)), {"BitsStored": 9, "HighBit": 11, "PixelRepresentation": 1}),
            (noise((5, 7), np.int16), {"PhotometricInterpretation": "MONOCHROME1"}),
            (noise((5, 7), np.uint32), {}),
            (noise((90,), np.uint8).tobytes(), colour()),
            (noise((90,), np.uint8).tobytes(), colour(planar=1)),
            (noise((90,), np.uint8).tobytes(), colour(PhotometricInterpretation="YBR_FULL")),
            (noise((60,), np.uint8).tobytes(), colour(PhotometricInterpretation="YBR_FULL_422")),
            (noise((270,), np.uint8).tobytes(), colour(NumberOfFrames=3)),
            (
                noise((14,), np.uint8).tobytes(),
                {"Rows": 5, "Columns": 7, "NumberOfFrames": 3, "BitsAllocated": 1, "BitsStored": 1,
                 "PixelRepresentation": 0},
            ),
        ],
        ids=[
            "8",
            "12-dirty",
            "12-dirty-signed",
            "12-high",
            "9-middle-signed",
            "16-inverted",
            "32",
            "rgb",
            "rgb-planar",
            "ybr",
            "ybr-422",
            "rgb-odd-frames",
            "bits",
        ],
    )  # fmt: skip
    def test_whatever_the_layout(
        self, write: Write, tmp_path: Path, one_spec, in_memory, syntax, pixels, elements
    ):
        path = write("sub/x.dcm", pixels, syntax=syntax, **elements)
        original = path.read_bytes()
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path / "out")
        assert out.read_bytes() == original

    def test_trailing_bytes_and_elements(self, write: Write, tmp_path: Path, one_spec, in_memory):
        """Padding beyond the frames, data set trailing padding, and what some writers append."""
        path = write("x", noise((5, 7)).tobytes() + b"excess", Rows=5, Columns=7,
                     BitsAllocated=16, BitsStored=16, PixelRepresentation=0)  # fmt: skip
        with path.open("ab") as file:
            file.write(b"\xfc\xff\xfc\xffOB\0\0\x04\0\0\0padd")
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path / "out")
        assert out.read_bytes() == path.read_bytes()

    def test_without_preamble(self, write: Write, tmp_path: Path, one_spec, in_memory):
        content = write("x", noise((5, 7))).read_bytes()
        bare = tmp_path / "bare"
        bare.write_bytes(content[content.find(b"\x08\x00\x05\x00") :])
        (out,) = export_dicom(in_memory(one_spec(bare)), tmp_path / "out")
        assert out.read_bytes() == bare.read_bytes()

    def test_floats_keep_their_bits(self, synthetic, tmp_path: Path, one_spec, in_memory):
        dataset = synthetic(noise((4, 4), np.uint32))
        del dataset.PixelData, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation
        values = np.array([np.nan, -0.0, np.inf, 1e-42] * 4, np.float32)
        values.view(np.uint32)[0] |= 0x1234
        dataset.FloatPixelData = values.tobytes()
        path = tmp_path / "x"
        dataset.save_as(path)
        reader = in_memory(one_spec(path))
        assert reader.dtype == np.float32
        (out,) = export_dicom(reader, tmp_path / "out")
        assert out.read_bytes() == path.read_bytes()

    def test_bytes_swapped_in_big_endian_words(self, synthetic, tmp_path, one_spec, in_memory):
        dataset = synthetic(
            b"", syntax=ExplicitVRBigEndian, **colour(NumberOfFrames=3, Rows=3, Columns=3)
        )
        want = noise((81,), np.uint8)
        padded = np.append(want, np.uint8(9)).view(np.uint16).byteswap().tobytes()
        dataset.PixelData = padded
        dataset["PixelData"].VR = "OW"
        path = tmp_path / "x"
        dataset.save_as(path)
        reader = in_memory(one_spec(path))
        assert np.array_equal(reader.image, want.reshape(3, 3, 3, 3).transpose(0, 3, 1, 2))
        (out,) = export_dicom(reader, tmp_path / "out")
        assert out.read_bytes() == path.read_bytes()

    def test_a_series_in_folders(self, write: Write, tmp_path: Path, one_spec, in_memory):
        turn = [1, 0, 0, 0, 1, 0]
        paths = [
            write(f"{i % 2}/{i}.dcm", noise((5, 7)), instance=i, ImagePositionPatient=[0, 0, -i],
                  ImageOrientationPatient=turn)
            for i in range(5)
        ]  # fmt: skip
        outs = export_dicom(in_memory(one_spec(*paths)), tmp_path / "out")
        root = tmp_path / "out"
        assert {str(o.relative_to(root)): o.read_bytes() for o in outs} == {
            f"{p.parent.name}/{p.name}": p.read_bytes() for p in paths
        }


class TestCompressedFilesComeBackNative:
    @pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless, JPEGLSLossless])
    def test_same_pixels_and_elements(self, synthetic, tmp_path, one_spec, in_memory, syntax):
        dataset = synthetic(noise((40, 48)))
        dataset.add_new(0x00091001, "LO", "private")
        dataset.compress(syntax)
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path / "out")
        before, after = pydicom.dcmread(path), pydicom.dcmread(out)
        assert after.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
        assert np.array_equal(before.pixel_array, after.pixel_array)
        assert out.read_bytes()[:132] == path.read_bytes()[:132]
        del before.PixelData, after.PixelData
        assert before == after

    def test_colour_says_what_was_decoded(self, synthetic, tmp_path, one_spec, in_memory):
        dataset = synthetic(
            noise((40 * 48 * 3,), np.uint8).tobytes(), **colour(Rows=40, Columns=48)
        )
        dataset.compress(JPEG2000Lossless)
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path / "out")
        before, after = pydicom.dcmread(path), pydicom.dcmread(out)
        assert after.PhotometricInterpretation == "RGB"
        assert np.array_equal(before.pixel_array, after.pixel_array)

    @pytest.mark.parametrize("tag", [0x00880200, 0x7FE11001], ids=["before", "after"])
    def test_compressed_icons_are_left_out(self, synthetic, tmp_path, one_spec, in_memory, tag):
        """Native pixels and compressed ones in one file (PS3.5 A.1) end most readers there."""
        icon = synthetic(noise((16, 16)))
        icon.compress(RLELossless)
        compressed, native = pydicom.Dataset(), pydicom.Dataset()
        compressed.add_new(0x7FE00010, "OB", icon.PixelData)
        compressed[0x7FE00010].is_undefined_length = True
        native.add_new(0x7FE00010, "OB", b"12")
        dataset = synthetic(noise((40, 48)))
        dataset.compress(RLELossless)
        inner = pydicom.Dataset()
        inner.add_new(0x00880200, "SQ", [compressed])
        dataset.add_new(tag, "SQ", [inner if tag == 0x7FE11001 else compressed])
        dataset.add_new(0x00081140, "SQ", [native])
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path / "out")
        before, after = pydicom.dcmread(path), pydicom.dcmread(out)
        assert np.array_equal(before.pixel_array, after.pixel_array)
        del before.PixelData, after.PixelData, before[tag]
        assert before == after


class TestLossIsTold:
    @pytest.mark.parametrize("syntax", NATIVE)
    def test_a_derived_instance(self, write: Write, tmp_path, one_spec, in_memory, syntax):
        path = write("x", noise((5, 7)), syntax=syntax, ImageType=["ORIGINAL", "PRIMARY", "AXIAL"])
        reader = in_memory(one_spec(path), max_error=2)
        reader.image[0, 0] ^= 1
        (out,) = export_dicom(reader, tmp_path / "out")
        before, after = pydicom.dcmread(path), pydicom.dcmread(out)
        assert after.LossyImageCompression == "01"
        assert after.LossyImageCompressionRatio == 8
        assert after.LossyImageCompressionMethod == "TILEPRESS_WAVE"
        assert list(after.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
        assert after.SOPInstanceUID != before.SOPInstanceUID
        assert after.SOPInstanceUID.is_valid
        assert after.file_meta.MediaStorageSOPInstanceUID == after.SOPInstanceUID
        assert "within 2" in after.DerivationDescription
        source = after.SourceImageSequence[0]
        assert source.ReferencedSOPInstanceUID == before.SOPInstanceUID
        assert after.PatientName == before.PatientName
        assert after.SeriesInstanceUID == before.SeriesInstanceUID
        assert np.array_equal(after.pixel_array, reader.image)

    def test_an_earlier_loss_stays_told(self, write: Write, tmp_path, one_spec, in_memory):
        path = write("x", noise((5, 7)), LossyImageCompression="01", LossyImageCompressionRatio=10,
                     DerivationDescription="Gerät")  # fmt: skip
        (out,) = export_dicom(in_memory(one_spec(path), max_error=1), tmp_path / "out")
        after = pydicom.dcmread(out)
        assert list(after.LossyImageCompressionRatio) == [10, 8]
        assert list(after.LossyImageCompressionMethod) == ["UNKNOWN", "TILEPRESS_WAVE"]
        assert after.DerivationDescription.startswith("Gerät; tilepress")

    def test_the_same_export_has_the_same_identity(
        self, write: Write, tmp_path, one_spec, in_memory
    ):
        spec = one_spec(write("x", noise((5, 7))))
        first, second = (
            export_dicom(in_memory(spec, max_error=1), tmp_path / n)[0].read_bytes() for n in "ab"
        )
        assert first == second
        other = export_dicom(in_memory(spec, max_error=4), tmp_path / "c")[0]
        uids = {
            pydicom.dcmread(BytesIO(first)).SOPInstanceUID,
            pydicom.dcmread(other).SOPInstanceUID,
        }
        assert len(uids) == 2


class TestRefusals:
    def test_dropped_headers(self, write: Write, tmp_path: Path, one_spec, in_memory):
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        del reader.items["dicom-headers"]
        with pytest.raises(UsageError, match="deidentify"):
            export_dicom(reader, tmp_path / "out")
        assert not (tmp_path / "out").exists()

    def test_another_kind_of_source(self, write: Write, tmp_path: Path, one_spec, in_memory):
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        reader.items["origin"] = b'{"kind": "geotiff"}'
        with pytest.raises(UsageError, match="geotiff"):
            export_dicom(reader, tmp_path / "out")

    @pytest.mark.parametrize(
        "change",
        [
            {"header_bytes": 1},
            {"frames": [5]},
            {"frames": {"start": -1, "count": 1}},
            {"pixels": {"rows": 1}},
            {"patches": [[0, 3]]},
        ],
    )
    def test_an_index_that_contradicts_itself(self, write, tmp_path, one_spec, in_memory, change):
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        origin = reader.origin
        origin["instances"][0] |= change
        reader.items["origin"] = json.dumps(origin).encode()
        with pytest.raises(DamagedStore):
            export_dicom(reader, tmp_path / "out")

    @pytest.mark.parametrize(
        ("name", "written"),
        [
            ("../../evil", "evil"), ("/etc/evil", "etc-evil"), ("a/../../evil", "a-evil"),
            ("..", "instance"), ("", "instance"), ("../c/1.dcm", "c-1.dcm"),
            ("C:\\evil", "C:_evil"), ("a/12:30", "a/12:30"), ("..x", "..x"),
        ],
    )  # fmt: skip
    def test_names_stay_below_the_folder(self, write, tmp_path, one_spec, in_memory, name, written):
        """Earlier versions kept names with ".." where folders were named so."""
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        origin = reader.origin
        origin["instances"][0]["name"] = name
        reader.items["origin"] = json.dumps(origin).encode()
        (out,) = export_dicom(reader, tmp_path / "deep" / "out")
        assert (tmp_path / "deep" / "out") in out.resolve().parents
        assert out == tmp_path / "deep" / "out" / written

    def test_another_file_is_not_replaced(self, write: Write, tmp_path: Path, one_spec, in_memory):
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        out = tmp_path / "out"
        export_dicom(reader, out)
        export_dicom(reader, out)  # equal files may be there
        (out / "x").write_bytes(b"precious")
        with pytest.raises(DestinationConflict):
            export_dicom(reader, out)
        assert (out / "x").read_bytes() == b"precious"
        assert [p.name for p in out.iterdir()] == ["x"]


class TestSlices:
    def test_chosen_files_only(self, write: Write, tmp_path: Path, one_spec, in_memory):
        paths = [write(f"{i}", noise((5, 7)), instance=i) for i in range(4)]
        outs = export_dicom(in_memory(one_spec(*paths)), tmp_path / "out", slices=slice(1, 3))
        assert [o.name for o in outs] == ["1", "2"]

    def test_multi_frame_files_are_not_cut(self, write: Write, tmp_path: Path, one_spec, in_memory):
        reader = in_memory(
            one_spec(write("x", noise((270,), np.uint8).tobytes(), **colour(NumberOfFrames=3)))
        )
        with pytest.raises(UsageError, match="multi-frame"):
            export_dicom(reader, tmp_path / "out", slices=[1])
        assert len(export_dicom(reader, tmp_path / "out", slices=[0, 1, 2])) == 1

    def test_outside(self, write: Write, tmp_path: Path, one_spec, in_memory):
        reader = in_memory(one_spec(write("x", noise((5, 7)))))
        with pytest.raises(UsageError, match="got slice 1, want 0 to 0"):
            export_dicom(reader, tmp_path / "out", slices=[1])


@pytest.mark.shared
class TestRealFiles:
    @pytest.mark.parametrize(
        "name",
        [
            "emri_small_big_endian.dcm",
            "SC_ybr_full_422_uncompressed.dcm",
            "liver_nonbyte_aligned.dcm",
            "liver_expb.dcm",
            "rtdose_expb.dcm",
            "SC_rgb_small_odd_big_endian.dcm",
            "ExplVR_BigEnd.dcm",
            "image_dfl.dcm",
            "parametric_map_double_float.dcm",
            "color-pl.dcm",
            "US1_UNC",
            "XA1_UNC",
            "implicit_little.dcm",
        ],
    )
    def test_native(self, shared_data: Path, tmp_path: Path, one_spec, in_memory, name: str):
        path = next(shared_data.rglob(name))
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path)
        assert out.read_bytes() == path.read_bytes()

    @pytest.mark.parametrize(
        "name",
        [
            "emri_small_RLE.dcm",
            "liver_j2k.dcm",
            "GDCMJ2K_TextGBR.dcm",
            "SC_rgb_jpeg.dcm",
            "SC_rgb_rle_16bit_2frame.dcm",
            "JPEGLSNearLossless_16.dcm",
            "jpeg2000-multiframe-multifragments.dcm",
            "sm_image_jpegls_nobot.dcm",
            "JPEG-LL.dcm",
        ],
    )
    @pytest.mark.filterwarnings("ignore")  # pydicom's, on files that are odd on purpose
    def test_compressed(self, shared_data: Path, tmp_path: Path, one_spec, in_memory, name: str):
        path = next(shared_data.rglob(name))
        (out,) = export_dicom(in_memory(one_spec(path)), tmp_path)
        assert np.array_equal(pydicom.dcmread(out).pixel_array, pydicom.dcmread(path).pixel_array)

    def test_twelve_bit_jpeg_that_the_plug_in_refuses(self, shared_data: Path, one_spec, in_memory):
        """Compared with the uncompressed image of the same set: lossy, so only near."""
        lossy = in_memory(one_spec(next(shared_data.rglob("MR4_JPLY"))))
        exact = in_memory(one_spec(next(shared_data.rglob("MR4_UNC"))))
        assert np.abs(lossy.image.astype(int) - exact.image).mean() < 5

    def test_deflated_frames(self, shared_data: Path, one_spec, in_memory):
        deflated = in_memory(one_spec(next(shared_data.rglob("liver_deflate.dcm"))))
        native = in_memory(one_spec(next(shared_data.rglob("liver.dcm"))))
        assert np.array_equal(deflated.image, native.image)


def test_a_large_frame_is_read_by_rows(write: Write, one_spec, monkeypatch: pytest.MonkeyPatch):
    """A window of a native frame reads its rows only."""
    from tilepress.pipeline.dicom import bytes as dicom_bytes
    from tilepress.pipeline.image.grid import Box

    path = write("x", np.zeros((400, 300), np.uint16))
    source = DicomSource(one_spec(path))
    asked: list[int] = []
    read = dicom_bytes.FileBytes.read

    def spy(self: Any, offset: int, length: int) -> bytes:
        asked.append(length)
        return read(self, offset, length)

    monkeypatch.setattr(dicom_bytes.FileBytes, "read", spy)
    source.read(Box((10, 0), (20, 50)))
    assert asked == [10 * 300 * 2]
    assert group_series([path])[0]
