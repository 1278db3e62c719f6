"""A planned store can have its own keys, and no other ones."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.archive.own_keys import OwnKeys
from tilepress.pipeline.storage.atomic import partial_of

SLASH = OwnKeys({"image": (2, 3)}, ("x", "spatial_ref"), "/")
DOT = OwnKeys({"image": (2, 3)}, ("x", "spatial_ref"), ".")

DOCUMENTS = ["zarr.json", "0/zarr.json", "0/image/zarr.json", "0/x/zarr.json", "source/zarr.json",
             "source/origin/zarr.json", "source/a/b/zarr.json", "manifest/zarr.json",
             "0/spatial_ref/c"]  # fmt: skip
CHUNKS = ["0/image/c/1/2", "0/image/c/0/0", "0/x/c/7", "source/origin/c/0", "source/a/b/c/1",
          "manifest/c/3"]  # fmt: skip
OTHERS = ["c/0/0", "0/c/0/0", "0/image/c/2/0", "0/image/c/0/3", "0/image/c/0", "0/image/c/0/0/0",
          "0/image/c/0/00", "0/mask/c/0/0", "0/mask/zarr.json", "0/labels/zarr.json", "1/zarr.json",
          "0/image/c/notes.txt", "source/c/0/1", "source/notes.txt", "manifest/c/x", "labels/c/0",
          "signature.json", "0/image/c/c/zarr.json", "x/c", "0/image/.zarray"]  # fmt: skip


def dotted(key: str) -> str:
    head, _, index = key.partition("/c/")
    return f"{head}/c.{index.replace('/', '.')}"


@pytest.mark.parametrize("key", DOCUMENTS)
def test_documents_are_those_of_either_separator(key: str):
    assert SLASH.has(key)
    assert DOT.has(key)


@pytest.mark.parametrize("key", CHUNKS)
def test_chunks_are_those_of_its_own(key: str):
    assert (SLASH.has(key), DOT.has(key)) == (True, False)
    assert (SLASH.has(dotted(key)), DOT.has(dotted(key))) == (False, True)


@pytest.mark.parametrize("key", OTHERS)
def test_nothing_else_is(key: str):
    assert not SLASH.has(key)
    assert not DOT.has(key)


def test_half_an_object_is_as_the_whole_one():
    assert all(SLASH.has(str(partial_of(Path(key)))) for key in DOCUMENTS + CHUNKS)
    assert not any(SLASH.has(str(partial_of(Path(key)))) for key in OTHERS)


def test_they_are_told_by_json():
    assert OwnKeys.from_json(DOT.to_json()) == DOT
    with pytest.raises(KeyError):
        OwnKeys.from_json({"separator": "/"})


def test_a_sealed_store_has_no_others(tmp_path: Path):
    from .test_destination import begin_and_seal, plan_of

    plan = plan_of(tmp_path, np.arange(150 * 90, dtype=np.uint16).reshape(150, 90))
    store = begin_and_seal(plan)
    own = OwnKeys.of(plan, "/")
    assert len(own.counts["image"]) == 2
    assert all(own.has(key) for key, _ in store.walk())
