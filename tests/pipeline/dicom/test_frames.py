"""How many frames there are, and how they lie, is what the bytes say."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import JPEGLSLossless

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.export import export_dicom
from tilepress.pipeline.dicom.source import DicomSource, group_series

Write = Callable[..., Path]
SHAPE = {"Rows": 4, "Columns": 6, "BitsAllocated": 16, "BitsStored": 16, "PixelRepresentation": 0}
COLOUR = {"Rows": 4, "Columns": 6, "BitsAllocated": 8, "BitsStored": 8, "PixelRepresentation": 0,
          "SamplesPerPixel": 3, "PlanarConfiguration": 0,
          "PhotometricInterpretation": "YBR_FULL_422"}  # fmt: skip


def frames(count: int) -> np.ndarray:
    return np.arange(count * 24, dtype=np.uint16).reshape(count, 4, 6)


class TestNativeFrames:
    @pytest.mark.parametrize("said", [None, 0, ""])
    def test_the_bytes_tell_where_the_header_does_not(self, write: Write, one_spec, read_all, said):
        told = {} if said is None else {"NumberOfFrames": said}
        spec = one_spec(write("x", frames(3).tobytes(), **SHAPE, **told))
        assert np.array_equal(read_all(spec), frames(3))
        assert "hold 3 frames" in DicomSource(spec).info.remarks[0]

    @pytest.mark.parametrize("said", [0, 1])
    def test_one_frame_is_one(self, write: Write, one_spec, said):
        info = DicomSource(one_spec(write("x", frames(1).tobytes(), **SHAPE, NumberOfFrames=said)))
        assert info.info.axes == ("y", "x")
        assert info.info.remarks == ()

    def test_frames_beyond_the_number_are_told(
        self, write: Write, one_spec, in_memory, tmp_path: Path
    ):
        path = write("x", frames(3).tobytes(), **SHAPE, NumberOfFrames=1)
        spec = one_spec(path)
        assert DicomSource(spec).info.remarks == (
            "NumberOfFrames is 1, and the pixel data hold 3 frames",
        )
        (out,) = export_dicom(in_memory(spec), tmp_path / "out")
        assert out.read_bytes() == path.read_bytes()

    def test_padding_is_no_frame(self, write: Write, one_spec):
        info = DicomSource(one_spec(write("x", frames(1).tobytes() + b"\0" * 16, **SHAPE))).info
        assert info.axes == ("y", "x")


class TestCompressedFrames:
    def path(self, synthetic, folder: Path, said: int) -> Path:
        coded = []
        for frame in frames(3):
            dataset = synthetic(frame)
            dataset.compress(JPEGLSLossless)
            coded += generate_frames(dataset.PixelData, number_of_frames=1)
        dataset.PixelData = encapsulate(coded)
        dataset.NumberOfFrames = said
        dataset.save_as(folder / "x.dcm")
        return folder / "x.dcm"

    def test_frames_beyond_the_number_are_taken(
        self, synthetic, tmp_path: Path, one_spec, read_all, in_memory
    ):
        """The export says how many there are: nothing of the file is lost."""
        spec = one_spec(self.path(synthetic, tmp_path, 2))
        assert np.array_equal(read_all(spec), frames(3))
        assert DicomSource(spec).info.remarks == (
            "NumberOfFrames is 2, and the pixel data hold 3 frames",
        )
        (out,) = export_dicom(in_memory(spec), tmp_path / "out")
        assert np.array_equal(pydicom.dcmread(out).pixel_array, frames(3))

    def test_fewer_are_damage(self, synthetic, tmp_path: Path, one_spec, read_all):
        spec = one_spec(self.path(synthetic, tmp_path, 4))
        with pytest.raises(DamagedSource, match="3 fragments for 4 frames"):
            read_all(spec)


class TestSubsampledOrNot:
    """YBR_FULL_422 is written over bytes that are not subsampled, too."""

    def test_full_chroma(self, write: Write, one_spec, read_all, in_memory, tmp_path: Path):
        want = np.random.default_rng(1).integers(0, 255, (2, 4, 6, 3), np.uint8)
        path = write("x", want.tobytes(), **COLOUR, NumberOfFrames=2)
        spec = one_spec(path)
        assert np.array_equal(read_all(spec), want.transpose(0, 3, 1, 2))
        info = DicomSource(spec).info
        assert info.attributes["photometric_interpretation"] == "YBR_FULL"
        assert "nothing is subsampled" in info.remarks[0]
        assert DicomSource(spec).fingerprint()["chroma"] == "full"  # earlier stores are others
        (out,) = export_dicom(in_memory(spec), tmp_path / "out")
        assert out.read_bytes() == path.read_bytes()

    def test_half_chroma(self, write: Write, one_spec):
        info = DicomSource(one_spec(write("x", bytes(96), **COLOUR, NumberOfFrames=2))).info
        assert info.remarks == ()

    @pytest.mark.parametrize("length", [100, 120, 150])
    def test_neither(self, write: Write, length: int):
        _, ((_, error),) = group_series([write("x", bytes(length), **COLOUR, NumberOfFrames=2)])
        assert isinstance(error, DamagedSource)
        assert "have 96, or 144 where nothing is subsampled" in str(error)


class TestMessagesSayWhatWasFound:
    def refusal(self, path: Path) -> str:
        _, ((_, error),) = group_series([path])
        assert isinstance(error, UnsupportedSource)
        return str(error)

    @pytest.mark.parametrize(
        ("photometric", "told"),
        [
            (b"monochrome2 ", "is 'monochrome2', want one of MONOCHROME1"),
            (b"HSV         ", "is 'HSV', want"),
            (b"Doe^John    ", "is missing or no term of the standard"),
        ],
    )
    def test_photometric_interpretation(self, write: Write, photometric: bytes, told: str):
        path = write("x", frames(1)[0])
        path.write_bytes(path.read_bytes().replace(b"MONOCHROME2 ", photometric))
        assert told in self.refusal(path)
        assert "Doe" not in self.refusal(path)

    def test_an_unknown_value_representation(self, write: Write):
        """No parser can tell where such an element ends."""
        path = write("x", frames(1)[0])
        content = path.read_bytes()
        at = content.index(b"\x10\0\x10\0PN")
        path.write_bytes(content[:at] + b"\x09\0\x10\x10OX\0\0\4\0\0\0abcd" + content[at:])
        told = self.refusal(path)
        assert f"element (0009,1010) at byte {at} has value representation 'OX'" in told

    def test_an_instance_number_that_is_none(self, write: Write, synthetic, one_spec):
        dataset = synthetic(frames(1)[0])
        dataset.add_new("InstanceNumber", "LO", "1A")
        path = write("x", frames(1)[0])
        dataset.save_as(path)
        content = path.read_bytes()
        path.write_bytes(content.replace(b"\x20\0\x13\0LO", b"\x20\0\x13\0IS"))
        assert DicomSource(one_spec(path)).info.shape == (4, 6)
