"""Files are looked at in guests: one that kills its reader is a failure, the next is found."""

from __future__ import annotations

import contextlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from tests.helpers.hostile_format import HOSTILE, MAGIC

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline import formats
from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.dicom.header import read_instance
from tilepress.pipeline.formats import GEOTIFF, advices
from tilepress.pipeline.guests import client, look
from tilepress.pipeline.guests.look import Looks
from tilepress.pipeline.image.format import Candidate, FileImage, FileImages

from ..images import dicom
from .conftest import find_hostile_format

pytestmark = pytest.mark.skipif(not client.are_possible(), reason="guests need Linux")


@pytest.fixture(autouse=True)
def _hostile(monkeypatch):
    find_hostile_format(monkeypatch)
    monkeypatch.setattr(formats, "FORMATS", (*formats.FORMATS, HOSTILE))


def looked(looks: Looks, path: Path):
    with path.open("rb") as stream:
        size, head = path.stat().st_size, path.read_bytes()[:132]
        return looks.look(Candidate(path=str(path), size=size, head=head, stream=stream))


def test_a_file_that_kills_its_reader_is_one_failure(tmp_path):
    good, bad, foreign = tmp_path / "good", tmp_path / "bad", tmp_path / "foreign"
    good.write_bytes(MAGIC + b"nothing")
    bad.write_bytes(MAGIC + b"crash")
    foreign.write_bytes(b"text")
    with contextlib.closing(Looks()) as looks:
        assert looked(looks, good)[0] is HOSTILE
        with pytest.raises(DamagedSource, match=r"^opening .*bad: its decoder crashed"):
            looked(looks, bad)
        format_, content = looked(looks, good)
        assert format_ is HOSTILE
        assert content.images[0].kind == "hostile"
        assert looked(looks, foreign)[0] is None


def test_a_reader_raises_what_it_raises(tmp_path):
    bad = tmp_path / "bad"
    bad.write_bytes(MAGIC + b"fail foreign")
    with (
        contextlib.closing(Looks()) as looks,
        pytest.raises(SourceError, match="unexpected KeyError"),
    ):
        looked(looks, bad)


LIES = ["name", "ending", "kind", "member", "companions", "problem", "format"]


@pytest.mark.parametrize("about", LIES)
def test_what_a_guest_says_names_no_other_file_and_no_other_place(tmp_path, about):
    """A reader that was taken over cannot choose where a store goes, nor what is read next."""
    bad = tmp_path / "bad"
    bad.write_bytes(MAGIC + f"lie {about}".encode())
    with (
        contextlib.closing(Looks()) as looks,
        pytest.raises(SourceError, match="answered nonsense"),
    ):
        looked(looks, bad)


def test_a_dicom_header_names_its_own_file_and_a_known_modality(tmp_path):
    path = dicom(tmp_path / "in", 1, 1)
    member = read_instance(str(path))
    file = Candidate(path=str(path), size=1, head=b"", stream=None)
    assert DICOM.is_sound_member(member, file)
    for lie in (
        replace(member, modality="../../x"),
        replace(member, series="../x"),
        replace(member, identity="zz"),
        replace(member, number="1"),
        replace(member, element=replace(member.element, value_offset=-1)),
        replace(member, element=replace(member.element, value_length="9")),
        replace(member, container=replace(member.container, path="/root/.ssh/id_rsa")),
        None,
        "text",
    ):
        assert not DICOM.is_sound_member(lie, file)


def test_a_companion_is_nothing_else(tmp_path):
    """It is passed over: a file can say that of itself only, and then holds no image."""
    file = Candidate(path=str(tmp_path / "in"), size=1, head=b"", stream=None)
    member = read_instance(str(dicom(tmp_path / "in", 1, 1)))
    assert look._is_sound(FileImages(is_companion=True), DICOM, file)
    assert look._is_sound(FileImages(member=member), DICOM, file)
    assert not look._is_sound(FileImages(is_companion=True, member=member), DICOM, file)
    assert not look._is_sound(FileImages(is_companion=1), DICOM, file)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "lie",
    [
        FileImages(advice="\x1b[2J"),
        FileImages(former=(FileImage(kind="geotiff", ending="/../x"),)),
        FileImages(former=(FileImage(kind="what nobody knows"),)),
        FileImages(images=(FileImage(kind="geotiff", files=("../x",)),)),
        FileImages(images=(FileImage(kind="geotiff", files=("/etc/",)),)),
        FileImages(images=(FileImage(kind="geotiff", files=("a\0b",)),)),
        FileImages(images=(FileImage(kind="geotiff", is_slide=1),)),  # type: ignore[arg-type]
    ],
)
def test_further_files_and_former_images_name_nothing_else(tmp_path, lie):
    file = Candidate(path=str(tmp_path / "in"), size=1, head=b"", stream=None)
    sound = FileImage(kind="geotiff", files=("a b.jpg", "m/*.dat"), is_slide=True)
    fine = FileImages(images=(sound,), former=(sound,), advice=min(advices()))
    assert look._is_sound(fine, GEOTIFF, file)
    assert not look._is_sound(lie, GEOTIFF, file)


def test_only_the_file_that_is_looked_at_is_read(tmp_path):
    from tilepress.pipeline.guests import landlock

    if not landlock.version():
        pytest.skip("this kernel has no Landlock")
    with contextlib.closing(Looks()) as looks:
        for name, other in (("a", "b"), ("b", "a")):
            (tmp_path / name).write_bytes(MAGIC + f"tell read {tmp_path / other}".encode())
            (tmp_path / other).touch()
            with pytest.raises(SourceError, match=r"told: errno 13"):
                looked(looks, tmp_path / name)
        (tmp_path / "c").write_bytes(MAGIC + f"tell list {tmp_path}".encode())
        with pytest.raises(SourceError, match=r"told: errno 13"):
            looked(looks, tmp_path / "c")


class TestHowLongAGuestLooks:
    """One that was taken over can lie about few files that come after, and of few folders."""

    @pytest.fixture
    def path(self, tmp_path: Path) -> Path:
        (tmp_path / "good").write_bytes(MAGIC + b"nothing")
        return tmp_path / "good"

    def begun(self, looks: Looks, path: Path, monkeypatch, folders: list[int]) -> int:
        """Return how many guests it takes to look at folders of so many files."""
        guests: list[object] = []

        class Counted(client.Guest):
            def __init__(self, *args, **kwargs):
                guests.append(None)
                super().__init__(*args, **kwargs)

        monkeypatch.setattr(look, "Guest", Counted)
        for files in folders:
            for _ in range(files):
                looked(looks, path)
            looks.end_folder()
        return len(guests)

    @pytest.mark.parametrize(
        ("folders", "guests"), [([1] * 5, 1), ([5], 1), ([6], 2), ([3, 2], 2), ([2, 3, 1], 2)]
    )
    def test_files_and_folders_are_counted(self, path, monkeypatch, folders, guests):
        monkeypatch.setattr(look, "MAX_LOOKS", 5)
        monkeypatch.setattr(look, "MAX_BEFORE_FOLDER", 5 if folders == [1] * 5 else 3)
        with contextlib.closing(Looks()) as looks:
            assert self.begun(looks, path, monkeypatch, folders) == guests

    def test_those_of_several_threads_go_with_the_folder(self, path):
        with contextlib.closing(Looks()) as looks:
            with ThreadPoolExecutor(4) as pool:
                for _ in pool.map(lambda _: looked(looks, path), range(20)):
                    pass
            looks.end_folder()
            assert len(looks._free) == 1


def test_a_guest_has_what_later_formats_need(tmp_path):
    """None imports for itself what the next one would import again."""
    (tmp_path / "first").write_bytes(MAGIC + b"nothing")
    series = dicom(tmp_path / "in", 1, 1)
    with contextlib.closing(Looks()) as looks:
        looked(looks, tmp_path / "first")
        looked(looks, series)
        looked(looks, tmp_path / "first")
        assert [one.looks for one in looks._free] == [1, 2]
