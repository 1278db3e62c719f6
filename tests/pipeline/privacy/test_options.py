"""What options keep is told by rules: each where its values can be what it is about, no more."""

from __future__ import annotations

from collections import Counter

import pytest
from pydicom.datadict import dictionary_VR, tag_for_keyword

from tilepress.pipeline.privacy import options
from tilepress.pipeline.privacy.options import action_of, actions_by_option
from tilepress.pipeline.privacy.profile import (
    CHARACTERISTICS,
    DESCRIPTORS,
    DEVICE,
    INSTITUTION,
    MODIFIED_DATES,
    OPTIONS,
    UIDS,
    Profile,
)
from tilepress.pipeline.privacy.table import Action, table


def tag(keyword: str) -> int:
    found = tag_for_keyword(keyword)
    assert found is not None, keyword
    return int(found)


@pytest.mark.parametrize(
    ("keyword", "asked", "action"),
    [
        ("PatientName", "basic", Action.EMPTY),
        ("PatientID", ",".join(OPTIONS), Action.DUMMY),
        ("PatientBirthDate", MODIFIED_DATES, Action.EMPTY),
        ("PatientComments", DESCRIPTORS, Action.REMOVE),
        ("SOPInstanceUID", "basic", Action.UID),
        ("SOPInstanceUID", UIDS, Action.KEEP),
        ("DigitalSignatureUID", UIDS, Action.UID),
        ("StudyDate", "basic", Action.EMPTY),
        ("StudyDate", MODIFIED_DATES, Action.SHIFT),
        ("TimezoneOffsetFromUTC", MODIFIED_DATES, Action.REMOVE),
        ("SeriesDescription", "basic", Action.REMOVE),
        ("SeriesDescription", DESCRIPTORS, Action.CLEAN),
        ("ProtocolName", DESCRIPTORS, Action.CLEAN),
        ("PatientAge", "basic", Action.REMOVE),
        ("PatientAge", CHARACTERISTICS, Action.KEEP),
        ("Allergies", CHARACTERISTICS, Action.CLEAN),
        ("Allergies", DESCRIPTORS, Action.REMOVE),
        ("StationName", "basic", Action.DUMMY),
        ("StationName", DEVICE, Action.KEEP),
        ("DeviceUID", DEVICE, Action.KEEP),
        ("InstitutionName", INSTITUTION, Action.KEEP),
        ("InstitutionName", DEVICE, Action.DUMMY),
        ("SourceImageSequence", UIDS, Action.CLEAN),
        ("Rows", ",".join(OPTIONS), None),
    ],
)
def test_well_known_attributes(keyword: str, asked: str, action: Action | None):
    assert action_of(tag(keyword), Profile.parse(asked)) is action


def test_nothing_is_kept_but_what_its_value_can_be():
    texts = {"LO", "LT", "SH", "ST", "UC", "UT"}
    kinds = {
        UIDS: {"UI"}, MODIFIED_DATES: {"DA", "TM", "DT"}, DESCRIPTORS: texts,
        DEVICE: texts | {"UI", "DS"}, INSTITUTION: texts | {"SQ"},
        CHARACTERISTICS: texts | {"CS", "AS", "DS", "US"},
    }  # fmt: skip
    for number in table():
        for option in actions_by_option(number):
            assert dictionary_VR(number) in kinds[option], f"{number:08X} {option}"


def test_no_option_is_about_what_names_a_patient():
    for number, row in table().items():
        if "Patient" in row.keyword or row.keyword.startswith("Issuer"):
            assert set(actions_by_option(number)) <= {CHARACTERISTICS, UIDS}, row
        if "Birth" in row.keyword or row.keyword.startswith(("GPS", "Other", "Person", "Selector")):
            assert not actions_by_option(number), row


def test_as_many_attributes_as_were_looked_at():
    """A dictionary that knows more of the table's rows may bring more: look at these, too."""
    found = Counter(option for number in table() for option in actions_by_option(number))
    assert found == {
        UIDS: 54, MODIFIED_DATES: 151, DESCRIPTORS: 83, DEVICE: 24, INSTITUTION: 4,
        CHARACTERISTICS: 12,
    }  # fmt: skip


@pytest.mark.parametrize(
    "names",
    [
        "_NO_UIDS", "_NO_EVENTS", "_DESCRIPTORS", "_NO_DESCRIPTORS", "_DEVICES", "_INSTITUTIONS",
        "_CHARACTERISTICS", "_CHARACTERISTICS_IN_WORDS",
    ],
)  # fmt: skip
def test_every_keyword_that_is_written_down_is_one_of_the_table(names: str):
    keywords = {row.keyword for row in table().values()}
    assert getattr(options, names) <= keywords


def test_what_the_table_does_not_have_no_option_is_about():
    assert actions_by_option(tag("Rows")) == {}
    unknown = [number for number, row in table().items() if " " in row.keyword]
    assert unknown
    assert not any(actions_by_option(number) for number in unknown)
