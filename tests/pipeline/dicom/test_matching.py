"""Attributes match as PS3.4 C.2.2.2 says."""

from __future__ import annotations

import time

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.matching import parse_condition, parse_path

MODEL = {
    "00080020": {"vr": "DA", "Value": ["20200131"]},
    "00080021": {"vr": "DA", "Value": ["2020.02.01"]},
    "00080030": {"vr": "TM", "Value": ["101500.5"]},
    "0008002A": {"vr": "DT", "Value": ["20200131101500+0100"]},
    "00080060": {"vr": "CS", "Value": ["CT"]},
    "00080008": {"vr": "CS", "Value": ["ORIGINAL", "PRIMARY"]},
    "00081030": {"vr": "LO", "Value": ["Head [a] *"]},
    "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Yamada^Tarou", "Ideographic": "山田^太郎"}]},
    "00100030": {"vr": "DA"},
    "0020000D": {"vr": "UI", "Value": ["1.2.3"]},
    "00200013": {"vr": "IS", "Value": [7]},
    "00280030": {"vr": "DS", "Value": [0.5, None]},
    "00400275": {"vr": "SQ", "Value": [{"00400009": {"vr": "SH", "Value": ["S"]}}, {}]},
}


class TestMatches:
    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("StudyDate", "20200131"), ("StudyDate", "2020.01.31"), ("StudyDate", "20200131-")),
            *(("StudyDate", "20200131-20200131"), ("SeriesDate", "20200201")),
            *(("SeriesDate", "20200101-20200301"), ("StudyTime", "101500.5"), ("StudyTime", "10")),
            *(("StudyTime", "1015-"), ("StudyTime", "-1015"), ("AcquisitionDateTime", "2020-2020")),
            *(("Modality", "CT"), ("Modality", "C?"), ("ImageType", "PRIMARY")),
            *(("StudyDescription", "*[a]*"), ("StudyDescription", "Head ??? ?")),
            *(("PatientName", "YAMADA^tarou"), ("PatientName", "山田*"), ("PatientName", "*")),
            *(("PatientName", "Yamada^Tarou^^"), ("PatientName", "Yamada^Tarou=山田^太郎")),
            *(("PatientBirthDate", ""), ("PatientID", "")),
            *(("StudyInstanceUID", "1.2,1.2.3"), ("0020000d", "1.2.3\\9"), ("InstanceNumber", "7")),
            *(("InstanceNumber", "07"), ("PixelSpacing", "0.50")),
            ("RequestAttributesSequence.ScheduledProcedureStepID", "S"),
        ],
    )
    def test_what_is_so(self, key: str, value: str) -> None:
        assert parse_condition(key, value).takes(MODEL)

    @pytest.mark.parametrize(
        ("key", "value"),
        [
            *(("StudyDate", "20200130"), ("StudyDate", "20200201-"), ("StudyDate", "-20200130")),
            *(("StudyTime", "1016-"), ("StudyTime", "-1014"), ("StudyTime", "101500.6")),
            *(("AcquisitionDateTime", "2021-"), ("Modality", "ct"), ("Modality", "C")),
            *(("PatientName", "Yamada"), ("PatientName", "^Tarou"), ("PatientID", "?")),
            *(
                ("PatientBirthDate", "19700101"),
                ("StudyInstanceUID", "1.2.*"),
                ("InstanceNumber", "8"),
            ),
            ("RequestAttributesSequence.ScheduledProcedureStepID", "T"),
            ("00400275.00400275.00400009", "S"),
        ],
    )
    def test_what_is_not(self, key: str, value: str) -> None:
        assert not parse_condition(key, value).takes(MODEL)

    def test_a_pattern_that_goes_back_and_forth_is_fast(self) -> None:
        """No pattern takes more than the product of both lengths in steps."""
        condition = parse_condition("StudyDescription", "*a" * 1000 + "b")
        begun = time.process_time()
        assert not condition.takes({"00081030": {"vr": "LO", "Value": ["a" * 4000]}})
        assert time.process_time() - begun < 20, "minutes, were it exponential"


class TestParsing:
    def test_paths(self) -> None:
        assert parse_path("PatientName") == ("00100010",)
        assert parse_path("0040a730.CodeValue") == ("0040A730", "00080100")

    @pytest.mark.parametrize(
        "key", ["", "Patient Name", "0010", "patientname", "0010.0010", "a" * 90]
    )
    def test_what_names_nothing(self, key: str) -> None:
        with pytest.raises(UsageError, match="neither a DICOM attribute"):
            parse_path(key)

    @pytest.mark.parametrize(
        ("key", "value"),
        [("StudyDate", "2020"), ("InstanceNumber", "x"), ("PatientID", "x" * 4000)],
    )
    def test_values_are_not_quoted(self, key: str, value: str) -> None:
        with pytest.raises(UsageError) as caught:
            parse_condition(key, value)
        assert f" {value}" not in str(caught.value)
