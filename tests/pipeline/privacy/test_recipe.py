"""A recipe says how, and where the key is; never the key."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from tilepress.errors import DamagedStore
from tilepress.pipeline.archive.digests import NAMES
from tilepress.pipeline.archive.private import archive_pseudonyms
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.privacy.recipe import (
    DEIDENTIFY,
    KEY_FOLDER,
    as_it_was,
    deidentified,
    is_deidentified,
    keyed_of,
    profile_of,
    renamed,
)
from tilepress.pipeline.storage.path import storage_path

SPEC = SourceSpec(kind="any", paths=("/in/DOE.tif",), options={"name": "DOE", "relative": "DOE"})


def test_it_holds_the_profile_and_where_the_key_is(tmp_path: Path):
    archive = storage_path(tmp_path)
    pseudonyms = archive_pseudonyms(archive)
    assert pseudonyms.key is not None
    spec = deidentified(SPEC, Profile.parse("retain-uids"), pseudonyms, archive)
    assert is_deidentified(spec)
    assert not is_deidentified(SPEC)
    assert profile_of(spec) == Profile.parse("retain-uids")
    assert pseudonyms.key.hex() not in json.dumps(asdict(spec))
    assert keyed_of(spec).key == pseudonyms.key
    assert KEY_FOLDER in NAMES
    assert DEIDENTIFY not in NAMES


def test_what_a_store_tells_gives_the_same_recipe(tmp_path: Path):
    archive = storage_path(tmp_path)
    spec = deidentified(SPEC, Profile(), archive_pseudonyms(archive), archive)
    told = {**Profile().to_json(), "key": spec.options[DEIDENTIFY]["key"], "counts": {}}
    assert as_it_was(SPEC, told, archive) == spec
    assert as_it_was(SPEC, None, archive) == SPEC


def test_another_key_is_refused(tmp_path: Path):
    ours, theirs = storage_path(tmp_path / "ours"), storage_path(tmp_path / "theirs")
    archive_pseudonyms(theirs)
    spec = deidentified(SPEC, Profile(), archive_pseudonyms(ours), theirs)
    with pytest.raises(DamagedStore, match="is another one"):
        keyed_of(spec)


def test_a_name_tells_nothing_and_is_the_same_each_time(tmp_path: Path):
    pseudonyms = archive_pseudonyms(storage_path(tmp_path))
    named = renamed(SPEC, "folder/DOE", pseudonyms)
    assert "DOE" not in str(named.options)
    assert named.options["name"] == named.options["relative"]
    assert renamed(SPEC, "folder/DOE", pseudonyms) == named
    assert renamed(SPEC, "other/DOE", pseudonyms) != named
