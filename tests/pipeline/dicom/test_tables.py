"""What stored values stand for is told to readers, in numbers and in words of the standard."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence

from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.dicom.tables import tables_of
from tilepress.pipeline.image.info import ImageInfo

Write = Callable[..., Path]


def item(**elements: object) -> Dataset:
    made = Dataset()
    for keyword, value in elements.items():
        setattr(made, keyword, Sequence([value]) if isinstance(value, Dataset) else value)
    return made


def mapping(slope: float = 0.0125, unit: str = "mm2/s") -> Dataset:
    found = item(RealWorldValueSlope=slope, RealWorldValueIntercept=-3.0, LUTLabel="KANARIENVOGEL")
    found.add_new("RealWorldValueFirstValueMapped", "US", 0)
    found.add_new("RealWorldValueLastValueMapped", "US", 4095)
    found.MeasurementUnitsCodeSequence = Sequence([item(CodeValue=unit)])
    return found


def table(
    entries: int = 4, first: int = 0, bits: int = 16, data: bytes | None = None, **more: object
) -> Dataset:
    found = item(**more)
    found.add_new("LUTDescriptor", "US", [entries, first, bits])
    values = np.arange(entries, dtype="<u2") * 10
    found.add_new("LUTData", "OW", values.tobytes() if data is None else data)
    return found


@pytest.fixture
def info_of(write: Write, one_spec) -> Callable[..., ImageInfo]:
    def info(**elements: object) -> ImageInfo:
        return DicomSource(one_spec(write("x", np.zeros((4, 5), np.uint8), **elements))).info

    return info


class TestRealWorldValues:
    def test_slope_intercept_and_units(self, info_of):
        info = info_of(RealWorldValueMappingSequence=Sequence([mapping()]))
        assert info.attributes["real_world_value_mapping"] == [
            {"first": 0, "last": 4095, "slope": 0.0125, "intercept": -3, "units": "mm2/s"}
        ]
        assert "KANARIENVOGEL" not in json.dumps(dict(info.attributes))

    def test_units_that_nobody_knows_are_not_told(self, info_of):
        info = info_of(RealWorldValueMappingSequence=Sequence([mapping(unit="Doe^John")]))
        assert "units" not in info.attributes["real_world_value_mapping"][0]

    def test_a_table_of_values(self, info_of):
        one = mapping()
        del one.RealWorldValueSlope, one.RealWorldValueIntercept
        one.RealWorldValueLUTData = [0.5, 1.5, 9.0]
        info = info_of(RealWorldValueMappingSequence=Sequence([one]))
        assert info.attributes["real_world_value_mapping"][0]["values"] == [0.5, 1.5, 9]

    def test_of_all_frames_or_of_none(self):
        groups = [item(RealWorldValueMappingSequence=mapping(slope)) for slope in (1.0, 2.0)]
        given = {"little": True, "signed": False, "is_palette": False}
        found, remarks = tables_of(Dataset(), groups[:1] * 2, **given)
        assert found["real_world_value_mapping"][0]["slope"] == 1
        found, remarks = tables_of(Dataset(), groups, **given)
        assert not found
        assert "frames differ" in remarks[0]

    def test_files_that_differ_in_it_say_so(self, write: Write, one_spec):
        paths = [
            write(f"{i}", np.zeros((4, 5), np.uint8), instance=i,
                  ImagePositionPatient=[0, 0, i], ImageOrientationPatient=[1, 0, 0, 0, 1, 0],
                  RealWorldValueMappingSequence=Sequence([mapping(slope)]))
            for i, slope in enumerate((1.0, 2.0))
        ]  # fmt: skip
        info = DicomSource(one_spec(*paths)).info
        assert "real_world_value_mapping" not in info.attributes
        assert info.remarks == ("files differ in their real world values: none is told",)


class TestModalityTable:
    def test_values_and_type(self, info_of):
        info = info_of(ModalityLUTSequence=Sequence([table(ModalityLUTType="OD")]))
        assert info.attributes["modality_lut"] == {
            "first": 0,
            "bits": 16,
            "values": [0, 10, 20, 30],
            "type": "OD",
        }

    @pytest.mark.parametrize("data", [bytes([1, 2, 3, 4]), np.array([1, 2, 3, 4], "<u2").tobytes()])
    def test_eight_bits_in_bytes_or_in_words(self, info_of, data):
        info = info_of(ModalityLUTSequence=Sequence([table(bits=8, data=data)]))
        assert info.attributes["modality_lut"]["values"] == [1, 2, 3, 4]

    def test_the_first_value_has_the_sign_of_the_samples(self):
        dataset = item(ModalityLUTSequence=table(first=65535))
        for signed, first in ((True, -1), (False, 65535)):
            found, _ = tables_of(dataset, (), little=True, signed=signed, is_palette=False)
            assert found["modality_lut"]["first"] == first

    @pytest.mark.parametrize("broken", [{"data": b"ab"}, {"entries": 5000}, {"bits": 32}])
    def test_what_is_not_told_is_remarked(self, info_of, broken):
        info = info_of(ModalityLUTSequence=Sequence([table(**broken)]))
        assert "modality_lut" not in info.attributes
        assert "Modality LUT" in info.remarks[0]


class TestPalette:
    def colours(self, entries: int = 256) -> dict[str, object]:
        found: dict[str, object] = {"PhotometricInterpretation": "PALETTE COLOR"}
        for at, colour in enumerate(("Red", "Green", "Blue")):
            name = f"{colour}PaletteColorLookupTable"
            found[f"{name}Descriptor"] = [entries, 0, 16]
            found[f"{name}Data"] = (np.arange(entries, dtype="<u2") + 256 * at).tobytes()
        return found

    def test_three_colours(self, info_of):
        palette = info_of(**self.colours()).attributes["palette"]
        assert palette["red"][:2] == [0, 1]
        assert palette["blue"][-1] == 767
        assert palette["bits"] == 16

    def test_a_colour_that_is_missing(self, info_of):
        given = self.colours()
        del given["GreenPaletteColorLookupTableData"]
        info = info_of(**given)
        assert "palette" not in info.attributes
        assert "palette" in info.remarks[0]

    def test_grey_images_have_none(self, info_of):
        given = self.colours() | {"PhotometricInterpretation": "MONOCHROME2"}
        assert "palette" not in info_of(**given).attributes
