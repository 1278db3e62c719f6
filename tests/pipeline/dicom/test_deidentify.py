"""What the table lists is done as it says; of all else only what can say nothing stays."""

from __future__ import annotations

from datetime import date, timedelta
from io import BytesIO
from typing import Any

import pytest
from pydicom.datadict import DicomDictionary, dictionary_VR, keyword_for_tag, tag_for_keyword
from pydicom.dataset import Dataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import read_dataset
from pydicom.filewriter import write_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage

from tilepress.pipeline.dicom.deidentify import Deidentifier, patient_of
from tilepress.pipeline.dicom.elements import Encoding, element_bytes
from tilepress.pipeline.privacy.keyed import DAYS, Keyed
from tilepress.pipeline.privacy.options import actions_by_option
from tilepress.pipeline.privacy.profile import OPTIONS, Profile
from tilepress.pipeline.privacy.table import table

from ...helpers import canaries
from ...helpers.canaries import Planter

KEYED = Keyed(b"k" * 32)
ENCODINGS = [Encoding(True, True), Encoding(False, True), Encoding(False, False)]


def replaced(what: str, text: str) -> str:
    return KEYED.replacements([(what, text)])[what, text]


def encoded(dataset: Dataset, encoding: Encoding = ENCODINGS[1]) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = encoding.implicit, encoding.little
    write_dataset(stream, dataset)
    return stream.getvalue()


def parsed(data: bytes, encoding: Encoding = ENCODINGS[1]) -> Dataset:
    return read_dataset(BytesIO(data), encoding.implicit, encoding.little)


def done(
    dataset: Dataset | bytes, options: str = "basic", encoding: Encoding = ENCODINGS[1]
) -> tuple[Dataset, Deidentifier]:
    """De-identify the encoded data set, and parse what comes out."""
    data = dataset if isinstance(dataset, bytes) else encoded(dataset, encoding)
    given = parsed(data, encoding)
    work = Deidentifier(Profile.parse(options), replaced)
    made = work.data_set(given, encoding, patient_of(given))
    return parsed(made, encoding), work


def header(**elements: Any) -> Dataset:
    dataset = Dataset()
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, "1.2.3.4"
    dataset.PatientID, dataset.PatientName = "PAT-1", "Doe^Jane"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    return dataset


class TestEveryAttributeOfTheDictionary:
    """Whoever plants a text finds it nowhere, in no option that does not keep it by name."""

    @pytest.mark.parametrize(
        ("option", "encoding"),
        [("basic", encoding) for encoding in ENCODINGS]
        + [(option, ENCODINGS[1]) for option in list(OPTIONS)[1:]],
    )
    def test_no_token_is_left_but_where_an_option_keeps_it(self, option: str, encoding: Encoding):
        planter, dataset = Planter(), Dataset()
        planter._fill(dataset)
        dataset.SOPClassUID = CTImageStorage
        for tag in [tag for tag, row in DicomDictionary.items() if row[0] == "SQ"]:
            dataset.add_new(tag, "SQ", Sequence([planter._nested(3)]))
        made, _ = done(dataset, option, encoding)
        left = {int(e.tag) for e in made if canaries.in_bytes(str(e.value).encode())}
        allowed = {tag for tag in table() if option in actions_by_option(tag)}
        assert left <= allowed, [keyword_for_tag(tag) for tag in left - allowed]
        assert len(planter.tokens) > 1900
        if option in ("basic", "clean-descriptors", "retain-longitudinal-modified-dates"):
            assert not left

    def test_each_row_of_the_table_is_as_it_says(self):
        planter, dataset = Planter(), Dataset()
        planter._fill(dataset)
        made, _ = done(dataset)
        for tag, row in table().items():
            if tag not in dataset or tag >> 16 < 8:
                continue
            value = made[tag].value if tag in made else None
            match row.code:
                case "X":
                    assert value is None, row
                case "Z" if row.keyword != "PatientName":
                    assert value in (None, "", b""), row
                case "U":
                    assert str(value).startswith("2.25."), row
                case "D":
                    assert value, row


class TestValues:
    def test_numbers_and_registered_uids_stay(self):
        kept = {
            "Rows": 7, "PixelSpacing": [0.5, 0.5], "SliceThickness": "1.25", "EchoTime": "90",
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0], "FrameIncrementPointer": 0x00181063,
            "PhotometricInterpretation": "MONOCHROME2", "ImageType": ["ORIGINAL", "PRIMARY"],
            "RescaleSlope": "1.5", "WindowCenter": ["40", "400"], "PixelPaddingValue": 0,
            "FrameOfReferenceUID": "1.2.840.10008.1.4.1.1",
        }  # fmt: skip
        given = header(**kept)
        made, _ = done(given)
        for keyword in kept:
            assert made[keyword].value == given[keyword].value, keyword

    def test_what_pydicom_has_parsed_to_know_the_vr_of_others_stays(self):
        item = Dataset()
        item.add_new(0x00280106, "US", 3)
        given = header(PixelRepresentation=0, Rows=0, ReferencedSeriesSequence=Sequence([item]))
        for encoding in ENCODINGS:
            made, work = done(given, encoding=encoding)
            assert made.PixelRepresentation == made.Rows == 0
            assert made.ReferencedSeriesSequence[0].SmallestImagePixelValue == 3
            assert not work.counts.others

    def test_codes_that_are_no_terms_leave_their_place(self):
        made, _ = done(header(ImageType=["ORIGINAL", "PRIMARY", "DOE_JANE", "AXIAL"]))
        assert list(made.ImageType) == ["ORIGINAL", "PRIMARY", "", "AXIAL"]

    @pytest.mark.parametrize(
        ("tag", "vr", "value"),
        [
            (0x00180050, "DS", b"1.5 Jane"),
            (0x00180050, "DS", b"1.5\0Jane"),
            (0x00200013, "IS", b"Jane"),
            (0x00280010, "US", b"Jan"),
            (0x00280034, "LO", b"Jane"),
            (0x00282000, "OB", b"Jane"),
            (0x00081140, "LO", b"Jane"),
            (0x0020000E, "UI", b"Jane"),
        ],
    )
    def test_a_text_where_none_belongs_goes(self, tag: int, vr: str, value: bytes):
        raw = header()
        number = tag.to_bytes(4, "big")
        swapped = number[1::-1] + number[3:1:-1]
        value += b" " * (len(value) % 2)
        head = swapped + vr.encode()
        long = vr in ("OB",)
        head += (
            b"\0\0" + len(value).to_bytes(4, "little") if long else len(value).to_bytes(2, "little")
        )
        data = encoded(raw) if tag > 0x00100020 else b""
        made, _ = done(data + head + value)
        assert b"Jane" not in encoded(made)

    def test_dates_go_or_all_of_a_patient_move_by_the_same_days(self):
        given = header(
            StudyDate="20200301", SeriesDate="20200302", ContentDate="20200301",
            AcquisitionDateTime="20200301121314.5+0100", StudyTime="121314",
            PatientBirthDate="19700101",
        )  # fmt: skip
        gone, _ = done(given)
        assert gone.StudyDate == ""
        assert gone.StudyTime == ""
        assert gone.LongitudinalTemporalInformationModified == "REMOVED"
        assert "2020" not in str(gone)
        moved, _ = done(given, "retain-longitudinal-modified-dates")
        days = int(replaced(DAYS, "PAT-1"))
        assert moved.LongitudinalTemporalInformationModified == "MODIFIED"
        assert moved.StudyTime == "121314"
        assert moved.PatientBirthDate == ""
        want = date(2020, 3, 1) - timedelta(days)
        assert moved.StudyDate == moved.ContentDate == want.strftime("%Y%m%d")
        assert moved.SeriesDate == (want + timedelta(1)).strftime("%Y%m%d")
        assert str(moved.AcquisitionDateTime) == f"{want:%Y%m%d}121314.5+0100"

    @pytest.mark.parametrize("text", ["20209999", "Jane", "00010101", "2020"])
    def test_a_date_that_is_none_goes(self, text: str):
        given = header()
        data = encoded(given)
        value = text.encode()
        element = b"\x08\0\x20\0DA" + len(value).to_bytes(2, "little") + value
        made, _ = done(element + data, "retain-longitudinal-modified-dates")
        assert "StudyDate" not in made or not made.StudyDate

    def test_uids_are_the_same_for_the_same_and_references_hold(self):
        reference = Dataset()
        reference.ReferencedSOPClassUID = CTImageStorage
        reference.ReferencedSOPInstanceUID = "1.2.3.4"
        made, _ = done(header(SourceImageSequence=Sequence([reference])))
        item = made.SourceImageSequence[0]
        assert item.ReferencedSOPInstanceUID == made.SOPInstanceUID != "1.2.3.4"
        assert item.ReferencedSOPClassUID == CTImageStorage
        kept, _ = done(header(SourceImageSequence=Sequence([reference])), "retain-uids")
        assert kept.SOPInstanceUID == "1.2.3.4"

    def test_a_patient_has_one_pseudonym(self):
        one, other = done(header())[0], done(header(PatientName="Doe^J.", PatientID=" PAT-1"))[0]
        assert one.PatientID == other.PatientID == str(one.PatientName) == str(other.PatientName)
        assert done(header(PatientID="PAT-2"))[0].PatientID != one.PatientID

    def test_codes_of_ps3_16_keep_the_meaning_that_they_have_there(self):
        def code(scheme: str, value: str, meaning: str) -> Dataset:
            item = Dataset()
            item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = value, scheme, meaning
            return item

        items = [
            code("DCM", "113040", "Doe"), code("SCT", "76752008", "Doe"),
            code("SRT", "T-04000", "Doe"), code("99DOE", "4711", "Doe"), code("DCM", "4711", "Doe"),
        ]  # fmt: skip
        made, _ = done(header(DerivationCodeSequence=Sequence(items)))
        told = [str(item.CodeMeaning) for item in made.DerivationCodeSequence]
        assert told[0] == "Lossy Compression"
        assert all("reast" in text for text in told[1:])
        assert len(told) == 3

    def test_descriptions_are_removed_or_cleaned(self):
        given = header(SeriesDescription="CT Thorax Doe", Manufacturer="SIEMENS Doe")
        gone, _ = done(given)
        assert "SeriesDescription" not in gone
        assert gone.Manufacturer == "SIEMENS"
        cleaned, _ = done(given, "clean-descriptors")
        assert cleaned.SeriesDescription == "CT Thorax"


class TestNumbers:
    @pytest.mark.parametrize("encoding", ENCODINGS)
    def test_no_binary_number_of_the_dictionary_is_a_text(self, encoding: Encoding):
        given = b""
        for tag, (vr, *_) in sorted(DicomDictionary.items()):
            vr = vr.split(" or ")[0]
            if vr in ("US", "SS", "UL", "SL", "UV", "SV", "FL", "FD", "AT") and tag >> 16 >= 8:
                given += element_bytes(tag, vr, b"JOHNQZ77DOEXYYYY", encoding) or b""
        made = Deidentifier(Profile.parse("basic"), replaced).data_set(
            parsed(given, encoding), encoding, "P"
        )
        assert len(given) > 10000
        assert b"JOHN" not in made
        assert b"NHOJ" not in made

    @pytest.mark.parametrize(
        ("keyword", "value"),
        [("SeriesNumber", b"719\\88\\0431"), ("PixelSpacing", b"1\\2\\3 "),
         ("SliceThickness", b"1\\2 "),
         ("InversionTimes", b"444f484e31323334"), ("Rows", b"JOHN")],
    )  # fmt: skip
    def test_more_values_than_the_dictionary_has_are_malformed(self, keyword: str, value: bytes):
        tag = int(tag_for_keyword(keyword) or 0)
        vr = dictionary_VR(tag)
        data = element_bytes(tag, vr, value, ENCODINGS[1]) or b""
        made, work = done(data)
        assert keyword not in made
        assert work.counts.others["malformed"] == 1

    def test_numbers_of_the_usual_size_stay(self):
        kept = {
            "ReconstructionTargetCenterPatient": [9.6, 38.4, 0.7], "InversionTimes": [9.5, 100.0],
            "LUTFrameRange": [1, 2], "FrameIncrementPointer": [0x00181063, 0x00181065],
        }  # fmt: skip
        made, work = done(header(**kept))
        assert {k for k in kept if k in made} == {k for k in kept if k in header(**kept)}
        assert not work.counts.others["malformed"]

    @pytest.mark.parametrize(("bits", "size", "stays"), [
        (16, 512, True), (8, 256, True), (8, 512, True), (16, 528, False), (16, 256, False),
        (70, 512, False),
    ])  # fmt: skip
    def test_a_table_of_colours_is_as_long_as_it_says(self, bits: int, size: int, stays: bool):
        given = header(RedPaletteColorLookupTableDescriptor=[256, 0, bits])
        given.RedPaletteColorLookupTableData = b"JD" * (size // 2)
        given.SegmentedRedPaletteColorLookupTableData = b"JOHN"
        item = Dataset()
        item.LUTDescriptor = [256, 0, bits]
        item.add_new(0x00283006, "OW", bytes(size))
        given.VOILUTSequence = Sequence([item])
        for encoding in ENCODINGS:
            made, _ = done(given, encoding=encoding)
            assert ("RedPaletteColorLookupTableData" in made) == stays
            assert ("LUTData" in made.VOILUTSequence[0]) == stays
            assert "SegmentedRedPaletteColorLookupTableData" not in made


class TestElements:
    def test_private_unknown_overlay_and_malformed_ones_go_and_are_counted(self):
        given = header()
        block = given.private_block(0x0011, "Doe", create=True)
        block.add_new(1, "LO", "Doe")
        given.add_new(Tag(0x60000010), "US", 3)
        given.add_new(Tag(0x60000022), "LO", "Doe")
        given.add_new(Tag(0x60003000), "OW", b"Doe ")
        given.add_new(Tag(0x50003000), "OW", b"Doe ")
        given.add_new(Tag(0x00182FFE), "LO", "Doe")
        given.add_new(Tag(0x00280010), "US", 5)
        made, work = done(given)
        assert "Doe" not in str(made)
        assert work.counts.others["private"] == 2
        assert work.counts.others["overlays and curves"] == 4
        assert work.counts.others["unknown"] == 1
        assert made.Rows == 5

    def test_nested_ones_are_treated_alike_at_all_depths(self):
        planter = Planter()
        given = header(ReferencedSeriesSequence=Sequence([planter._nested(8)]))
        made, _ = done(given)
        assert not canaries.in_bytes(encoded(made))
        assert len(made.ReferencedSeriesSequence) == 1

    def test_it_says_what_was_done(self):
        given = header(PatientIdentityRemoved="NO", DeidentificationMethod="by Doe")
        made, _ = done(given, "retain-uids,clean-descriptors")
        assert made.PatientIdentityRemoved == "YES"
        assert (
            made.DeidentificationMethod == "tilepress: PS3.15 basic,clean-descriptors,retain-uids"
        )
        codes = [item.CodeValue for item in made.DeidentificationMethodCodeSequence]
        assert codes == ["113100", "113105", "113110"]
        assert {
            item.CodingSchemeDesignator for item in made.DeidentificationMethodCodeSequence
        } == {"DCM"}

    def test_counts_name_attributes_and_no_values(self):
        _, work = done(header(AccessionNumber="4711", OtherPatientIDs="4712"))
        told = work.counts.to_json()
        assert told["emptied"]["AccessionNumber"] == 1
        assert told["removed"]["OtherPatientIDs"] == 1
        assert "471" not in str(told)

    def test_the_same_bytes_each_time(self):
        planter, dataset = Planter(), header()
        planter._fill(dataset)
        encodings = {done(dataset)[0].to_json() for _ in range(3)}
        assert len(encodings) == 1
