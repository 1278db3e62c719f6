"""A name in a packed file is a path below it, or none at all."""

from __future__ import annotations

import pytest

from tilepress.pipeline.packed.member import clean_name


class TestNames:
    @pytest.mark.parametrize(
        ("name", "clean"),
        [
            ("a.tif", "a.tif"),
            ("./x/./a.tif", "x/a.tif"),
            ("x\\y\\a.tif", "x/y/a.tif"),
            ("ä/é.dcm", "ä/é.dcm"),
            ("n" * 255, "n" * 255),
            ("..a/b..", "..a/b.."),
        ],
    )
    def test_that_files_can_have(self, name: str, clean: str):
        assert clean_name(name) == clean

    @pytest.mark.parametrize(
        "name",
        [
            *("../a", "a/../../b", "..", "/etc/passwd", "..\\a", "\\\\host\\a", "C:\\a", "c:/a"),
            *("", ".", "a//b", "a/", "a\0b", "n" * 256, "ä" * 128, "x/" * 1100 + "a", "\udcff"),
        ],
    )
    def test_that_none_can_have(self, name: str):
        assert clean_name(name) is None
