"""A power cut after every single operation: a kept file is the old one, the new one, or not yet."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.find.walk import InputFile
from tilepress.pipeline.image.pseudonyms import UNKEYED
from tilepress.pipeline.kept.check import check_kept
from tilepress.pipeline.kept.keep import Kept, keep_folder
from tilepress.pipeline.storage.path import storage_path

from .recording import DAMAGES, Journal, read_tree, watched, write_tree

NAMES = ("a.txt", "b.txt")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "in"
    folder.mkdir()
    for name in NAMES:
        (folder / name).write_text(f"old {name}")
    return folder


def keep(source: Path, out: Path, *, force: bool = False) -> list[Kept]:
    files = [OtherFile(InputFile(str(source / n), f"sub/{n}"), ".txt", False) for n in NAMES]
    return keep_folder(storage_path(out), files, lambda: UNKEYED, force=force)


def check_every_crash(
    journal: Journal, folder: Path, source: Path, contents: set[bytes], *, force: bool
) -> int:
    """Look at every state that a crash leaves, run the line again in each; return how many."""
    seen = set()
    for damage in DAMAGES:
        for count in range(len(journal) + 1):
            tree = journal.after(count, damage)
            if (key := tuple(tree.items())) in seen:
                continue
            seen.add(key)
            out = folder / f"state{len(seen)}"
            write_tree(out, tree)
            found = list(check_kept(storage_path(out)))
            assert not [one for one in found if one.state == "damaged"], (count, damage)
            for name in NAMES:
                path = out / "files/sub" / name
                assert not path.exists() or path.read_bytes() in contents
            done = keep(source, out, force=force)
            assert all(one.status in ("written", "unchanged") for one in done), (count, damage)
            assert not list(check_kept(storage_path(out)))
            for name in NAMES:
                kept = (out / "files/sub" / name).read_bytes()
                assert kept == (source / name).read_bytes()
            shutil.rmtree(out)
    return len(seen)


def test_of_a_run_that_keeps_files(source: Path, folder: Path):
    out = folder / "out"
    out.mkdir()
    with watched(out) as journal:
        keep(source, out)
    assert journal.after(len(journal), "intact") == read_tree(out)
    contents = {f"old {name}".encode() for name in NAMES}
    assert check_every_crash(journal, folder, source, contents, force=False) > 10


def test_of_a_run_that_replaces_them(source: Path, folder: Path):
    out = folder / "out"
    out.mkdir()
    keep(source, out)
    for name in NAMES:
        (source / name).write_text(f"the new {name}")
    contents = {f"{age} {name}".encode() for name in NAMES for age in ("old", "the new")}
    with watched(out) as journal:
        keep(source, out, force=True)
    assert check_every_crash(journal, folder, source, contents, force=True) > 10


def test_of_one_that_is_given_up(source: Path, folder: Path):
    """The source is what it was: what is kept is the old content again, without force."""
    out = folder / "out"
    out.mkdir()
    keep(source, out)
    for name in NAMES:
        (source / name).write_text(f"the new {name}")
    with watched(out) as journal:
        keep(source, out, force=True)
    for name in NAMES:
        (source / name).write_text(f"old {name}")
    for count in range(len(journal)):
        at = folder / f"state{count}"
        write_tree(at, journal.after(count, "intact"))
        done = keep(source, at)
        for one in done:
            there = (at / "files/sub" / one.file.name).read_text()
            wanted = "old" if one.status != "failed" else "the new"
            assert there == f"{wanted} {one.file.name}"
        assert not list(check_kept(storage_path(at)))
        shutil.rmtree(at)
