"""What lies along the axes of an image, and what is told there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.info import ImageInfo

AXIAL = [1, 0, 0, 0, 1, 0]
Write = Callable[..., Path]


def plane(value: int = 0) -> np.ndarray:
    return np.full((4, 5), value, np.int16)


@pytest.fixture
def info_of(write: Write, one_spec) -> Callable[..., ImageInfo]:
    """Return a function that writes one file per entry and tells of their image."""

    def info(*files: dict[str, Any]) -> ImageInfo:
        paths = [
            write(
                f"{(7 * i) % 13:02}",
                plane(i),
                **{
                    "ImageOrientationPatient": AXIAL,
                    "PixelSpacing": [0.5, 0.7],
                    "instance": i,
                    **elements,
                },
            )
            for i, elements in enumerate(files)
        ]
        return DicomSource(one_spec(*paths)).info

    return info


def at(depth: float, **elements: Any) -> dict[str, Any]:
    return {"ImagePositionPatient": [-10, -20, depth], **elements}


def told(info: ImageInfo, name: str) -> tuple[tuple[str, ...], list[Any]]:
    return info.labels[name].axes, info.labels[name].values.tolist()


class TestAxisTHasItsValues:
    def test_echo_times(self, info_of):
        """InstanceNumber begins anew with each echo, so that it says nothing."""
        info = info_of(
            *(at(z, EchoTime=echo, InstanceNumber=z) for echo in (7.38, 4.92) for z in (0, 3, 6))
        )
        assert info.axes == ("t", "z", "y", "x")
        assert told(info, "echo_time") == (("t",), [4.92, 7.38])
        assert info.labels["echo_time"].attributes["units"] == "ms"

    def test_phases_begin_at_their_times(self, info_of):
        info = info_of(
            *(
                at(z, AcquisitionTime=f"12000{t}.5", AcquisitionDate="20200101", InstanceNumber=1)
                for t in (2, 0, 1)
                for z in (0, 3)
            )
        )
        assert info.coordinates["t"].tolist() == [0, 1000, 2000]

    def test_gradients_have_a_component_for_each_axis(self, info_of):
        info = info_of(
            *(
                at(z, DiffusionBValue=b, DiffusionGradientOrientation=g, InstanceNumber=1)
                for b, g in ((1000, [0, 1, 0]), (0, [0, 0, 0]), (1000, [1, 0, 0]))
                for z in (0, 3)
            )
        )
        assert told(info, "b_value") == (("t",), [0, 1000, 1000])
        assert told(info, "gradient_x") == (("t",), [0, 0, 1])
        assert told(info, "gradient_y") == (("t",), [0, 1, 0])

    def test_b_values_of_private_elements(self, info_of, write: Write, synthetic, one_spec):
        def file(b: int, z: int) -> Path:
            dataset = synthetic(plane(b), instance=z + b, ImagePositionPatient=[0, 0, z],
                                ImageOrientationPatient=AXIAL)  # fmt: skip
            block = dataset.private_block(0x0019, "SIEMENS MR HEADER", create=True)
            block.add_new(0x0C, "IS", b)
            path = write(f"{z}{b}", plane())
            dataset.save_as(path)
            return path

        info = DicomSource(one_spec(*(file(b, z) for b in (500, 0) for z in (0, 3)))).info
        assert told(info, "b_value") == (("t",), [0, 500])

    def test_kinds_of_frames_in_words_of_the_standard(self, info_of):
        info = info_of(
            *(
                at(z, ImageType=["ORIGINAL", "PRIMARY", kind], InstanceNumber=1)
                for kind in ("P", "M", "KANARIENVOGEL")
                for z in (0, 3)
            )
        )
        label = info.labels["frame_type"]
        assert label.axes == ("t",)
        meanings = label.attributes["flag_meanings"].split()
        assert {meanings[v] for v in label.values} == {"MAGNITUDE", "PHASE", "OTHER"}

    def test_nothing_tells_volumes_apart(self, info_of):
        info = info_of(*(at(z, InstanceNumber=1) for _ in range(2) for z in (0, 3, 6)))
        assert info.axes == ("z", "y", "x")
        assert info.coordinates["z"].tolist() == [0, 0, 3, 3, 6, 6]
        assert info.medical is not None
        assert info.medical.slice_spacing_mm is None
        assert "nothing but names" in info.remarks[0]

    def test_a_volume_of_one_time_has_no_labels(self, info_of):
        info = info_of(*(at(z, EchoTime=5, AcquisitionTime=f"12000{z}") for z in (0, 3, 6)))
        assert info.labels == {}

    def test_frames_of_one_file_in_any_order(self, synthetic, tmp_path: Path, one_spec, read_all):
        """Dimension indices and directions say what belongs together; frame numbers do not."""
        shuffled = [(1, 0), (0, 0), (0, 1), (1, 1)]
        frames = np.stack([plane(10 * t + z) for t, z in shuffled])
        dataset = synthetic(frames.tobytes(), Rows=4, Columns=5, BitsAllocated=16, BitsStored=16,
                            PixelRepresentation=1, NumberOfFrames=4)  # fmt: skip
        dataset.PerFrameFunctionalGroupsSequence = Sequence([group(t, z) for t, z in shuffled])
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        spec = one_spec(path)
        assert DicomSource(spec).info.axes == ("t", "z", "y", "x")
        assert read_all(spec)[..., 0, 0].tolist() == [[0, 1], [10, 11]]


def group(t: int, z: int) -> Dataset:
    found = Dataset()
    content, position, turn = Dataset(), Dataset(), Dataset()
    content.DimensionIndexValues = [z + 1, t + 1]
    position.ImagePositionPatient = [0, 0, 3 * z]
    turn.ImageOrientationPatient = AXIAL
    found.FrameContentSequence = Sequence([content])
    found.PlanePositionSequence = Sequence([position])
    found.PlaneOrientationSequence = Sequence([turn])
    return found


class TestARerunOfAnArchive:
    def test_what_was_in_order_has_the_fingerprint_that_it_had(self, write: Write, one_spec):
        """Plans of earlier versions hold: TemporalPositionIdentifier ordered volumes then, too."""
        paths = [
            write(f"{t}{z}", plane(), instance=10 * t + z, TemporalPositionIdentifier=t,
                  ImagePositionPatient=[0, 0, z], ImageOrientationPatient=AXIAL)
            for t in (1, 2) for z in (0, 3)
        ]  # fmt: skip
        assert set(DicomSource(one_spec(*paths)).fingerprint()) == {"files"}

    def test_another_order_is_another_fingerprint(self, write: Write, one_spec):
        """Files are called so that sorting by name mixes the echoes: no store goes on with that."""
        names = iter("abdc")
        paths = [
            write(next(names), plane(), instance=z, EchoTime=echo,
                  SOPInstanceUID=f"1.2.{echo}.{z}",
                  ImagePositionPatient=[0, 0, z], ImageOrientationPatient=AXIAL)
            for z in (1, 4) for echo in (5, 9)
        ]  # fmt: skip
        assert "order" in DicomSource(one_spec(*paths)).fingerprint()


class TestRescale:
    def test_a_value_for_each_plane(self, info_of):
        info = info_of(*(at(z, RescaleSlope=s, RescaleIntercept=-5) for z, s in ((0, 1.5), (3, 2))))
        assert told(info, "rescale_slope") == (("z",), [1.5, 2])
        assert "rescale_intercept" not in info.labels
        assert info.attributes["rescale_slope"] == [1.5, 2]

    def test_one_plane_without(self, info_of):
        scale = {"RescaleSlope": 1, "RescaleIntercept": -1024}
        info = info_of(at(0, **scale), at(3), at(6, **scale))
        assert str(info.labels["rescale_slope"].values.tolist()) == "[1.0, nan, 1.0]"
        assert str(info.labels["rescale_intercept"].values.tolist()) == "[-1024.0, nan, -1024.0]"
        assert "rescale_slope" not in info.attributes
        assert info.remarks == ("rescale slope and intercept of 1 of 3 planes are not in the file",)

    @pytest.mark.parametrize("count", [1, 3])
    def test_what_cannot_be_read_is_not_zero(self, synthetic, tmp_path, one_spec, count):
        paths = []
        for number in range(count):
            dataset = synthetic(plane(), instance=number, ImagePositionPatient=[0, 0, number],
                                ImageOrientationPatient=AXIAL, RescaleSlope=1)  # fmt: skip
            dataset.add_new("RescaleIntercept", "LO", "-1024" if number else "-1,024")
            dataset["RescaleIntercept"].VR = "LO"
            dataset.save_as(tmp_path / f"{number}", implicit_vr=False)
            content = (tmp_path / f"{number}").read_bytes()
            (tmp_path / f"{number}").write_bytes(
                content.replace(b"\x28\0\x52\x10LO", b"\x28\0\x52\x10DS")
            )
            paths.append(tmp_path / f"{number}")
        info = DicomSource(one_spec(*paths)).info
        assert "rescale_intercept" not in info.attributes
        assert "cannot be read" in info.remarks[0]
        if count > 1:
            assert (
                str(info.labels["rescale_intercept"].values.tolist()) == "[nan, -1024.0, -1024.0]"
            )
