"""What tells planes at one position apart is read from wherever a header has it."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tilepress.pipeline.dicom.labels import labels_of, told_word
from tilepress.pipeline.dicom.values import code, codes, integer_or, numbers


def item(**elements: object) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, Sequence([value]) if isinstance(value, Dataset) else value)
    return made


NOTHING = Dataset()


class TestLabels:
    def test_of_functional_groups(self):
        """An enhanced image: of the frame, else of all frames, else of the instance."""
        group = item(
            MRDiffusionSequence=item(
                DiffusionBValue=1000.0,
                DiffusionGradientDirectionSequence=item(DiffusionGradientOrientation=[0, 0.6, 0.8]),
            ),
            FrameContentSequence=item(TemporalPositionIndex=2, DimensionIndexValues=[1, 7]),
            MRImageFrameTypeSequence=item(
                FrameType=["ORIGINAL", "PRIMARY", "P", "NONE"], ComplexImageComponent="PHASE"
            ),
        )
        shared = item(MREchoSequence=item(EffectiveEchoTime=4.6))
        found = labels_of(group, shared, item(EchoTime="9", TriggerTime="12.5"))
        assert found == {
            "b_value": 1000,
            "gradient": (0, 0.6, 0.8),
            "temporal_position": 2,
            "dimension_index": (1, 7),
            "frame_type": "ORIGINAL/PRIMARY/PHASE/NONE",
            "echo_time": 4.6,
            "trigger_time": 12.5,
        }

    def test_zero_is_a_value(self):
        """A b-value of 0 is told, and is not that of the instance."""
        group = item(MRDiffusionSequence=item(DiffusionBValue=0.0))
        assert labels_of(group, NOTHING, item(DiffusionBValue=700.0))["b_value"] == 0

    @pytest.mark.parametrize(
        ("elements", "seconds"),
        [
            ({"AcquisitionDateTime": "20200101120001.25"}, 1.25),
            ({"AcquisitionDateTime": "20200101120001.25+0100"}, 1.25),
            ({"AcquisitionDate": "20200101", "AcquisitionTime": "120001.25"}, 1.25),
            ({"AcquisitionDate": "20200102", "AcquisitionTime": "120001"}, 86401),
            ({"AcquisitionDate": "20200101", "AcquisitionTime": "1200"}, 0),
        ],
    )
    def test_times(self, elements: dict[str, str], seconds: float):
        noon = labels_of(NOTHING, NOTHING, item(AcquisitionDateTime="20200101120000"))
        found = labels_of(NOTHING, NOTHING, item(**elements))
        assert found["acquisition_time"] - noon["acquisition_time"] == pytest.approx(1000 * seconds)

    @pytest.mark.parametrize("text", ["noon", "", "129999", "12:99", "9" * 20])
    def test_times_that_are_none(self, text: str):
        dataset = Dataset()
        dataset.add_new("AcquisitionTime", "LO", text)
        assert "acquisition_time" not in labels_of(NOTHING, NOTHING, dataset)

    def test_ge_adds_a_constant_to_b_values(self):
        dataset = Dataset()
        block = dataset.private_block(0x0043, "GEMS_PARM_01", create=True)
        block.add_new(0x39, "IS", [1000000700, 8, 0, 0])
        assert labels_of(NOTHING, NOTHING, dataset)["b_value"] == 700

    def test_no_text_of_the_header_is_told(self):
        found = labels_of(NOTHING, NOTHING, item(ImageType=["ORIGINAL", "PRIMARY", "JOERG"]))
        assert "JOERG" not in str(found)
        assert told_word(str(found["frame_type"]).split("/")[-1]) == "OTHER"


class TestValues:
    def test_whatever_a_writer_put_there(self):
        dataset = Dataset()
        dataset.add_new("InstanceNumber", "LO", "1A")
        dataset.add_new("PhotometricInterpretation", "LO", "Jörg")
        dataset.add_new("ImageType", "LO", ["ORIGINAL", "a\tb", "x"])
        assert integer_or(dataset, "InstanceNumber", 0) == 0
        assert numbers(dataset, "InstanceNumber") is None
        assert code(dataset, "PhotometricInterpretation") is None
        assert codes(dataset, "ImageType") == ("ORIGINAL", "X")
