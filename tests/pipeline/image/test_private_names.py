"""What is told of a file that may be called after a patient holds no part of its name."""

from __future__ import annotations

from urllib.parse import quote

import pytest

from tilepress.pipeline.image.private_names import file_names, may_name_patient, without_paths

PATH = "/archive/Müller JANE^/1961 02 03/scan DOE.dcm"
LABEL = "CT-0123456789ab.zarr"


class TestWhatMayNameAPatient:
    @pytest.mark.parametrize(
        "name", ["a.dcm", "a.DCM", "IM0001", "1.2.840.113.7", "DOE.JANE", "a.ima", "folder", ".DS"]
    )
    def test_whatever_is_not_known_to_be_else(self, name: str):
        assert may_name_patient(f"/archive/{name}")

    @pytest.mark.parametrize("name", ["a.tif", "a.TIFF", "B04.jp2", "a.png", "x.zarr", "a.npy"])
    def test_other_images_do_not(self, name: str):
        assert not may_name_patient(f"/archive/{name}")


class TestNoPartOfAPathIsTold:
    @pytest.mark.parametrize(
        "said",
        [
            PATH,
            " ".join(PATH.split()),
            repr(PATH),
            quote(PATH),
            "/archive/Müller JANE^/1961 02 03",
            "scan DOE.dcm",
            "SCAN doe",
            "/scratch/7f/scan DOE.dcm",
            "'Müller JANE^'",
        ],
    )
    def test_however_a_message_says_it(self, said: str):
        text = without_paths(f"reading a DICOM header: too short, in {said}", [PATH], [LABEL])
        for part in ("müller", "jane", "doe", "1961", quote("Müller").lower()):
            assert part not in text.lower()
        assert text.startswith("reading a DICOM header: too short, in ")

    def test_which_file_of_many_it_was_is_told(self):
        paths = [f"/a/DOE/{n}.dcm" for n in range(1, 13)]
        text = without_paths(f"cut off, in {paths[11]}", paths, file_names(LABEL, 12))
        assert text == f"cut off, in file 12 of {LABEL}"

    def test_a_path_that_begins_another_one_does_not_spoil_it(self):
        paths = ["/a/DOE/1", "/a/DOE/11"]
        text = without_paths("cut off, in /a/DOE/11", paths, file_names(LABEL, 2))
        assert text == f"cut off, in file 2 of {LABEL}"

    def test_words_of_messages_stay(self):
        path = "/data/dicom/image/file"
        text = without_paths(f"reading an image file of dicom, {path}", [path], [LABEL])
        assert text == f"reading an image file of dicom, {LABEL}"

    def test_names_that_are_no_text(self):
        path = "/a/DOE\udcff/1\n2"
        for said in (path, ascii(path)[1:-1]):
            text = without_paths(f"cut off, in {said}", [path], [LABEL])
            assert text == f"cut off, in {LABEL}"
