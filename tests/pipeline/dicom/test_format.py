"""Which series a store was made of, where no key tells."""

from __future__ import annotations

from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.image.format import FoundImages
from tilepress.pipeline.image.source import SourceSpec

A = SourceSpec(kind="dicom", paths=("/in/DOE/1", "/in/DOE/2"))
B = SourceSpec(kind="dicom", paths=("/in/ROE/1", "/in/ROE/2", "/in/ROE/3"))
C = SourceSpec(kind="dicom", paths=("/in/POE/x", "/in/POE/y"))


def origin(*names: str) -> dict[str, object]:
    return {"kind": "dicom", "instances": [{"name": name} for name in names]}


class TestASeriesIsFoundAgain:
    def test_by_the_names_of_its_files(self):
        found = FoundImages([A, B, C])
        assert DICOM.find_again(origin("2", "1"), [], found) == [A]
        assert DICOM.find_again(origin("x", "y"), [A, B, C], found) == [C]

    def test_the_one_that_the_key_names_needs_no_more(self):
        assert DICOM.find_again(origin("other"), [A], FoundImages([A, B])) == [A]

    def test_none_where_nothing_fits(self):
        assert DICOM.find_again(origin("other"), [], FoundImages([A, B])) == []

    def test_its_files_have_no_names_for_others(self):
        assert DICOM.private_names
