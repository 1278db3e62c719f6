"""What is kept of a folder is one document, which is right or known to be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.kept.index import FolderIndex, KeptFile, folder_indexes, is_kept
from tilepress.pipeline.storage.path import storage_path

FILE = KeptFile(
    name="a.txt", key="f/a.txt", bytes=5, sha256="0" * 64, kind="", origin="1", mark="7"
)


def saved(archive: Path, *files: KeptFile) -> Path:
    index = FolderIndex.load(storage_path(archive), "f")
    for file in files or (FILE,):
        index.set(file)
    index.save()
    return Path(str(index.place))


class TestOneDocument:
    def test_comes_back_as_it_was_written(self, tmp_path: Path):
        odd = KeptFile(
            name="caf\udce9", key="file-1", bytes=0, sha256="1", kind=".x", origin="2",
            private=True, next_sha256="2", next_bytes=3,
        )  # fmt: skip
        saved(tmp_path, FILE, odd)
        (index,) = folder_indexes(storage_path(tmp_path))
        assert isinstance(index, FolderIndex)
        assert index.folder == "f"
        assert index.files == {"f/a.txt": FILE, "file-1": odd}

    def test_runs_at_the_same_time_lose_nothing(self, tmp_path: Path):
        one, two = (FolderIndex.load(storage_path(tmp_path), "f") for _ in range(2))
        one.set(FILE)
        two.set(KeptFile(name="b", key="f/b", bytes=1, sha256="2", kind="", origin="2"))
        one.save()
        two.save()
        assert set(FolderIndex.load(storage_path(tmp_path), "f").files) == {"f/a.txt", "f/b"}

    def test_any_flipped_byte_is_seen(self, tmp_path: Path):
        place = saved(tmp_path)
        data = place.read_bytes()
        for at in range(len(data) - 1):
            place.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
            with pytest.raises(DamagedStore):
                FolderIndex.load(storage_path(tmp_path), "f")

    @pytest.mark.parametrize(
        "change",
        [
            {"key": "../a"}, {"key": "/etc/a"}, {"key": ".index/a"}, {"name": ".."},
            {"name": "a/b"}, {"bytes": "5"}, {"private": 1}, {"next_bytes": 1.5}, {"mark": 7},
            {"more": 1}, {"sha256": None},
        ],
    )  # fmt: skip
    def test_of_somebody_else_leads_nowhere(self, tmp_path: Path, change: dict[str, object]):
        """With the right digest, too."""
        from tilepress.pipeline.kept.index import digest_of

        place = saved(tmp_path)
        document = json.loads(place.read_bytes())
        del document["sha256"]
        document["files"][0] |= change
        document["sha256"] = digest_of(document)
        place.write_text(json.dumps(document))
        with pytest.raises(DamagedStore, match="it is damaged"):
            FolderIndex.load(storage_path(tmp_path), "f")

    def test_a_folder_that_no_system_has_is_none(self, tmp_path: Path):
        index = FolderIndex(storage_path(tmp_path), "f\0")
        index.set(FILE)
        with pytest.raises(DamagedStore):
            index.save()

    def test_under_another_name_is_none(self, tmp_path: Path):
        place = saved(tmp_path)
        place.rename(place.with_name(f"{'0' * 32}.json"))
        (found,) = folder_indexes(storage_path(tmp_path))
        assert isinstance(found, DamagedStore)


def test_what_is_kept_is_no_source(tmp_path: Path):
    saved(tmp_path)
    archive = storage_path(tmp_path)
    assert is_kept(archive, "files/f/a.txt", {})
    assert not is_kept(archive, "files/f/b.txt", {})
    assert not is_kept(archive, "f/a.txt", {})
    assert is_kept(archive, "files/dicom-012.dcm", {})
