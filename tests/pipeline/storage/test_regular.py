"""Only regular files are opened, and none outside the folder that was meant."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from tilepress.pipeline.storage.regular import RefusedFile, given, open_regular, read_regular


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").mkdir()
    (tmp_path / "in" / "plain").write_bytes(b"inside")
    (tmp_path / "out" / "plain").write_bytes(b"outside")
    return tmp_path / "in"


class TestOnlyRegularFiles:
    def test_a_file_is_read(self, folder: Path) -> None:
        with open_regular(folder / "plain") as file:
            assert file.read() == b"inside"

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device", "link to a pipe"])
    def test_what_could_wait_for_ever_is_refused(self, folder: Path, kind: str) -> None:
        path = folder / "odd"
        if kind == "device":
            path = Path("/dev/zero")
        elif kind == "socket":
            with socket.socket(socket.AF_UNIX) as bound:
                bound.bind(str(path))
        else:
            os.mkfifo(folder / "pipe")
            path = folder / "pipe"
            if kind == "link to a pipe":
                path = folder / "odd"
                path.symlink_to("pipe")
        with pytest.raises(RefusedFile, match="no regular file"):
            open_regular(path)

    def test_a_folder_is_none(self, folder: Path) -> None:
        with pytest.raises(IsADirectoryError):
            open_regular(folder)

    def test_a_link_to_itself_is_an_error_of_the_system(self, folder: Path) -> None:
        (folder / "loop").symlink_to("loop")
        with pytest.raises(OSError, match="symbolic links"):
            open_regular(folder / "loop")


class TestNothingOutside:
    def test_a_link_that_stays_below_is_followed(self, folder: Path) -> None:
        (folder / "link").symlink_to("plain")
        assert read_regular(folder / "link", 100, (folder,)) == b"inside"

    @pytest.mark.parametrize("target", ["../out/plain", "/etc/passwd", "../in/../out/plain"])
    def test_a_link_that_leads_outside_is_refused(self, folder: Path, target: str) -> None:
        (folder / "link").symlink_to(target)
        with pytest.raises(RefusedFile, match="outside"):
            open_regular(folder / "link", (folder,))

    def test_a_folder_on_the_way_may_not_lead_outside(self, folder: Path) -> None:
        (folder / "c").symlink_to("../out")
        with pytest.raises(RefusedFile, match="outside"):
            open_regular(folder / "c" / "plain", (folder,))

    def test_a_folder_that_begins_with_the_same_letters_is_outside(self, folder: Path) -> None:
        (folder.parent / "inner").mkdir()
        (folder.parent / "inner" / "plain").write_bytes(b"x")
        (folder / "link").symlink_to("../inner/plain")
        with pytest.raises(RefusedFile, match="outside"):
            open_regular(folder / "link", (folder,))

    def test_a_link_of_the_folder_itself_is_the_folder(self, folder: Path) -> None:
        named = folder.parent / "named"
        named.symlink_to(folder)
        assert read_regular(named / "plain", 100, (named,)) == b"inside"


def test_a_file_larger_than_the_limit_is_refused(folder: Path) -> None:
    with pytest.raises(RefusedFile, match="more than 3 bytes"):
        read_regular(folder / "plain", 3)


class TestAFileThatIsGiven:
    def test_it_is_read_from_its_start_in_place_of_what_lies_there(self, folder: Path) -> None:
        with open_regular(folder / "plain") as opened:
            opened.seek(3)
            with given("/none/such", opened.fileno()), open_regular("/none/such") as file:
                assert file.read(2) == b"in"
                with open_regular(Path("/none/such")) as again:
                    assert again.read() == b"inside"
                assert file.read() == b"side"
                assert file.seek(-2, os.SEEK_END) == 4
                assert (file.read(), file.tell()) == (b"de", 6)
                assert os.fstat(file.fileno()).st_size == 6
            with pytest.raises(FileNotFoundError):
                open_regular("/none/such")
            assert os.fstat(opened.fileno()).st_size == 6

    def test_a_pipe_is_refused(self, folder: Path) -> None:
        ends = os.pipe()
        with given("/none/such", ends[0]), pytest.raises(RefusedFile, match="no regular file"):
            open_regular("/none/such")
        for end in ends:
            os.close(end)
