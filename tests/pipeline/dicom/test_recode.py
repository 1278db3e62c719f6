"""Series in other transfer syntaxes: the same samples and elements, for pydicom and GDCM."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
import SimpleITK as itk
from pydicom.uid import ExplicitVRBigEndian, HTJ2KLossless, ImplicitVRLittleEndian, JPEGLSLossless

import tilepress
from tilepress.errors import StoreError, UsageError
from tilepress.pipeline.dicom.frame_codecs import NATIVE, SYNTAXES, FrameCodec
from tilepress.workflows.run.compress import compress

from .conftest import build, save

CODED = [name for name in SYNTAXES if name != NATIVE]


def noise(dtype: str, low: int, high: int, size: tuple[int, ...] = (33, 47)) -> np.ndarray:
    return np.random.default_rng(1).integers(low, high, size).astype(dtype)


def stored(dataset: pydicom.FileDataset, folder: Path, **coding: Any) -> Path:
    save(dataset, folder / "in/1.dcm")
    assert compress(folder / "in", folder / "x.zarr", workers=0, **coding).ok
    return folder / "x.zarr"


@pytest.mark.parametrize("name", CODED)
class TestASeries:
    @pytest.mark.parametrize(
        ("dtype", "bits", "low", "high"),
        [
            ("uint8", 8, 0, 256),
            ("uint16", 12, 0, 4096),
            ("uint16", 16, 0, 65536),
            ("uint16", 10, 0, 1024),
            ("int16", 16, -32768, 32768),
            ("int16", 12, -2048, 2048),
            ("int16", 9, -256, 256),
            ("uint8", 5, 0, 32),
        ],
    )
    def test_has_the_same_samples(
        self, tmp_path: Path, name: str, dtype: str, bits: int, low: int, high: int
    ):
        pixels = noise(dtype, low, high)
        store = stored(build(pixels, BitsStored=bits), tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        found, given = pydicom.dcmread(out), pydicom.dcmread(tmp_path / "in/1.dcm")
        assert found.file_meta.TransferSyntaxUID == SYNTAXES[name]
        np.testing.assert_array_equal(found.pixel_array, pixels)
        others = [element for element in given if element.keyword != "PixelData"]
        assert all(found[element.tag].value == element.value for element in others)
        assert len(found) == len(given)
        assert found.SOPInstanceUID == given.SOPInstanceUID, "nothing was lost"

    @pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
    def test_of_another_encoding(self, tmp_path: Path, name: str, syntax: str):
        pixels = noise("int16", -2048, 2048)
        store = stored(build(pixels, syntax, BitsStored=12), tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        found = pydicom.dcmread(out)
        np.testing.assert_array_equal(found.pixel_array, pixels)
        assert found.PatientName == pydicom.dcmread(tmp_path / "in/1.dcm").PatientName

    def test_of_colours(self, tmp_path: Path, name: str):
        pixels = noise("uint8", 0, 256, (33, 48, 3))
        dataset = build(pixels.transpose(2, 0, 1).tobytes(), Rows=33, Columns=48, BitsAllocated=8,
                        BitsStored=8, PixelRepresentation=0, PlanarConfiguration=1)  # fmt: skip
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.HighBit = 7
        store = stored(dataset, tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        found = pydicom.dcmread(out)
        assert found.PhotometricInterpretation == ("YBR_RCT" if name == "htj2k" else "RGB")
        assert found.PlanarConfiguration == 0
        np.testing.assert_array_equal(found.pixel_array, pixels)

    def test_of_several_frames(self, tmp_path: Path, name: str):
        pixels = noise("uint16", 0, 4096, (5, 33, 48))
        dataset = build(pixels.tobytes(), Rows=33, Columns=48, BitsAllocated=16, BitsStored=12,
                        PixelRepresentation=0, NumberOfFrames=5)  # fmt: skip
        store = stored(dataset, tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        np.testing.assert_array_equal(pydicom.dcmread(out).pixel_array, pixels)

    def test_within_a_bound_says_so(self, tmp_path: Path, name: str):
        store = stored(build(noise("uint16", 0, 4096), BitsStored=12), tmp_path, max_error=2)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        found = pydicom.dcmread(out)
        assert found.LossyImageCompression == "01"
        assert found.SOPInstanceUID != pydicom.dcmread(tmp_path / "in/1.dcm").SOPInstanceUID


class TestOtherReaders:
    @pytest.mark.parametrize("name", ["jpegls", "jpeg2000", "rle"])
    def test_gdcm_reads_the_same(self, tmp_path: Path, name: str):
        """Through SimpleITK, whose GDCM does not know the high-throughput kind."""
        pixels = noise("int16", -2048, 2048)
        store = stored(build(pixels, BitsStored=12), tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        np.testing.assert_array_equal(itk.GetArrayFromImage(itk.ReadImage(str(out)))[0], pixels)

    def test_native_is_what_came(self, tmp_path: Path):
        store = stored(build(noise("uint16", 0, 4096), BitsStored=12), tmp_path)
        (out,) = tilepress.export(store, tmp_path / "y.dcm", transfer_syntax="native")
        assert out.read_bytes() == (tmp_path / "in/1.dcm").read_bytes()

    def test_what_came_coded_is_native_or_coded_otherwise(self, tmp_path: Path):
        pixels = noise("uint16", 0, 4096)
        dataset = build(pixels, BitsStored=12)
        dataset.compress(pydicom.uid.JPEG2000Lossless, generate_instance_uid=False)
        store = stored(dataset, tmp_path)
        syntaxes = {"native": pydicom.uid.ExplicitVRLittleEndian, "jpegls": JPEGLSLossless}
        for name, syntax in syntaxes.items():
            (out,) = tilepress.export(store, tmp_path / f"{name}.dcm", transfer_syntax=name)
            found = pydicom.dcmread(out)
            assert found.file_meta.TransferSyntaxUID == syntax
            np.testing.assert_array_equal(found.pixel_array, pixels)


class TestRefusals:
    def test_of_samples_that_no_stream_holds(self, tmp_path: Path):
        store = stored(build(noise("uint32", 0, 2**32)), tmp_path)
        for name in CODED:
            with pytest.raises(UsageError, match="8 or 16 bits"):
                tilepress.export(store, tmp_path / "y.dcm", transfer_syntax=name)
        assert not (tmp_path / "y.dcm").exists()

    def test_of_bits_beside_the_samples(self, tmp_path: Path):
        """Overlays in unused bits, which native pixels have."""
        pixels = noise("uint16", 0, 65536)
        store = stored(build(pixels, BitsStored=12), tmp_path)
        with pytest.raises(UsageError, match="bits beside their samples"):
            tilepress.export(store, tmp_path / "y.dcm", transfer_syntax="htj2k")

    def test_of_an_unknown_name(self, tmp_path: Path):
        store = stored(build(noise("uint16", 0, 4096), BitsStored=12), tmp_path)
        with pytest.raises(UsageError, match="want one of native, jpegls"):
            tilepress.export(store, tmp_path / "y.dcm", transfer_syntax="jpeg")
        with pytest.raises(UsageError, match="npy has no transfer syntax"):
            tilepress.export(store, tmp_path / "y.npy", transfer_syntax="rle")

    def test_of_several_files_under_one_name(self, tmp_path: Path):
        for number in (1, 2):
            place = {"ImagePositionPatient": [0, 0, number], "instance": number}
            turn = {"ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "PixelSpacing": [1, 1]}
            dataset = build(noise("uint16", 0, 4096), **place, **turn)
            save(dataset, tmp_path / f"in/{number}.dcm")
        assert compress(tmp_path / "in", tmp_path / "x.zarr", workers=0).ok
        with pytest.raises(UsageError, match=r"got y\.dcm for 2 files, want a folder"):
            tilepress.export(tmp_path / "x.zarr", tmp_path / "y.dcm")

    def test_a_stream_that_does_not_come_back_is_not_written(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        store = stored(build(noise("uint16", 0, 4096), BitsStored=12), tmp_path)
        monkeypatch.setattr(FrameCodec, "decode", lambda self, stream: np.zeros((33, 47, 1)))
        with pytest.raises(StoreError, match="does not come back from"):
            tilepress.export(store, tmp_path / "y.dcm", transfer_syntax="jpegls")
        assert not (tmp_path / "y.dcm").exists()


def test_a_codestream_is_as_deep_as_its_samples():
    """PS3.5 8.2.4: readers go by what the stream says."""
    layout = {"rows": 33, "columns": 47, "bands": 1, "allocated": 16, "photometric": "MONOCHROME2"}
    for signed, stored_bits, byte in ((False, 12, 0x0B), (True, 12, 0x8B), (False, 16, 0x0F)):
        codec = FrameCodec.of("htj2k", stored=stored_bits, signed=signed, **layout)
        low, high = (-2048, 2048) if signed else (0, 1 << stored_bits)
        samples = noise("int16" if signed else "uint16", low, high)[None]
        stream = codec.encode(samples)
        assert stream[:2] == b"\xff\x4f"
        assert stream[stream.index(b"\xff\x51") + 40] == byte
        np.testing.assert_array_equal(codec.decode(stream)[..., 0], samples[0])
    assert codec.syntax == HTJ2KLossless
