"""The table is that of the standard: rows that everybody knows, and what holds for all of them."""

from __future__ import annotations

from collections import Counter

import pytest
from pydicom.datadict import keyword_for_tag, tag_for_keyword

from tilepress.pipeline.privacy.table import Action, table


def test_it_has_every_row_of_the_edition():
    codes = Counter(row.code for row in table().values())
    assert len(table()) == 652
    assert set(codes) == {"X", "Z", "D", "U", "Z/D", "X/Z", "X/D", "X/Z/D", "X/Z/U*"}


def test_keywords_are_those_of_the_dictionary():
    wrong = [
        (f"{number:08X}", row.keyword)
        for number, row in table().items()
        if keyword_for_tag(number) not in ("", row.keyword)
    ]
    assert not wrong


@pytest.mark.parametrize(
    ("keyword", "action"),
    [
        ("PatientName", Action.EMPTY),
        ("PatientID", Action.DUMMY),
        ("SOPInstanceUID", Action.UID),
        ("StudyDate", Action.EMPTY),
        ("SeriesDescription", Action.REMOVE),
        ("StationName", Action.DUMMY),
        ("SourceImageSequence", Action.CLEAN),
    ],
)
def test_well_known_rows(keyword: str, action: Action):
    number = tag_for_keyword(keyword)
    assert number is not None
    assert table()[int(number)].basic is action
