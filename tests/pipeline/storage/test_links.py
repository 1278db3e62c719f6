"""What a folder's maker has linked elsewhere is not written to."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.errors import DestinationConflict
from tilepress.pipeline.storage.links import check_no_link, check_no_links_below
from tilepress.pipeline.storage.path import storage_path


def test_links_below_the_root_are_refused_and_the_root_may_be_one(tmp_path: Path):
    (tmp_path / "archive/a").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "archive/b").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "link").symlink_to(tmp_path / "archive")
    for root in (storage_path(tmp_path / "archive"), storage_path(tmp_path / "link")):
        check_no_link(root, root / "a/x.zarr")
        check_no_link(root, root / "not/there")
        for place in ("b", "b/x.zarr"):
            with pytest.raises(DestinationConflict, match="b is a link, which may lead anywhere"):
                check_no_link(root, root / place)


def test_folders_that_are_links_are_refused_wherever_they_lie(tmp_path: Path):
    root = storage_path(tmp_path / "archive")
    place = tmp_path / "archive/catalogue"
    check_no_links_below(root, root / "catalogue")
    (place / "a/b").mkdir(parents=True)
    (place / "a/file").symlink_to(tmp_path / "nothing")
    check_no_links_below(root, root / "catalogue")
    (place / "a/b/c").symlink_to(tmp_path)
    with pytest.raises(DestinationConflict, match="a/b/c is a link, which may lead anywhere"):
        check_no_links_below(root, root / "catalogue")


def test_a_bucket_has_none():
    root = storage_path("s3://bucket/archive")
    check_no_link(root, root / "a.zarr")
    check_no_links_below(root, root / "catalogue")
