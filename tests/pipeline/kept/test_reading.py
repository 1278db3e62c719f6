"""A file is read as one version of it, or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilepress.errors import DamagedSource
from tilepress.pipeline.find.walk import InputFile
from tilepress.pipeline.kept.reading import LeftOut, look, read
from tilepress.pipeline.storage.ranges import look_up

from ..images import upload


def test_a_file_that_is_a_while_old_has_a_mark(source: Path):
    file = InputFile(str(source / "a.txt"), "a.txt")
    data, found = read(file)
    assert data == b"first"
    assert found == look(file)
    assert found.mark == str(10**18)


def test_one_of_this_moment_has_none(source: Path):
    (source / "a.txt").write_text("new")
    assert look(InputFile(str(source / "a.txt"), "a.txt")).mark == ""


def test_an_object_is_read_as_the_version_that_was_found(source: Path, bucket: str):
    upload(source, bucket)
    remote = look_up(f"{bucket}/a.txt")
    file = InputFile(remote.url, "a.txt", remote)
    assert read(file)[0] == b"first"
    (source / "a.txt").write_text("second")
    upload(source, bucket)
    with pytest.raises(DamagedSource, match="changed"):
        read(file)


@pytest.mark.parametrize("relative", ["sub/link.txt", "link.txt"])
def test_a_link_may_lead_anywhere_below_what_was_named(source: Path, relative: str):
    (source / "sub").mkdir()
    (source / "sub/link.txt").symlink_to(source / "a.txt")
    file = InputFile(str(source / "sub/link.txt"), relative)
    if relative == "sub/link.txt":
        assert read(file)[0] == b"first"
    else:  # the folder above was not named
        with pytest.raises(LeftOut):
            read(file)


def test_a_pipe_is_not_opened(source: Path):
    os.mkfifo(source / "pipe")
    with pytest.raises(LeftOut):
        read(InputFile(str(source / "pipe"), "pipe"))
