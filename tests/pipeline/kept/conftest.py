"""Folders with files that are no images, and what keeps them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tilepress.pipeline.find.others import OtherFile
from tilepress.pipeline.find.walk import InputFile
from tilepress.pipeline.image.pseudonyms import Pseudonyms
from tilepress.pipeline.kept.keep import Kept, keep_folder
from tilepress.pipeline.storage.path import storage_path

KEY = Pseudonyms(b"k" * 32)

Keep = Callable[..., list[Kept]]


def other(
    path: Path, relative: str = "", kind: str = ".txt", *, private: bool = False
) -> OtherFile:
    return OtherFile(InputFile(str(path), relative or path.name), kind, private)


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "out"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Return a folder with two files that are a while old."""
    import os

    folder = tmp_path / "in"
    folder.mkdir()
    for name, text in {"a.txt": "first", "b.xml": "<b/>"}.items():
        (folder / name).write_text(text)
        os.utime(folder / name, (1e9, 1e9))
    return folder


@pytest.fixture
def keep(archive: Path) -> Keep:
    """Return what keeps files of one folder, by path or as they are."""

    def run(*files: Path | OtherFile, **options: Any) -> list[Kept]:
        others = [other(file) if isinstance(file, Path) else file for file in files]
        return keep_folder(storage_path(archive), others, lambda: KEY, **options)

    return run
