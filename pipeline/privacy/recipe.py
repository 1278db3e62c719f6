"""What the recipe of an image says of its de-identification, and what its store does.

    options["deidentify"]        {"options": ["basic", …], "key": what tells the key from others}
    options["key_folder"]        the archive whose private folder has the key: where, never the key

The first decides the bytes and enters the digest of a plan; the second is a place, and does not.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.pseudonyms import Pseudonyms
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.key import known_pseudonyms
from tilepress.pipeline.privacy.keyed import Keyed
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.storage.path import StoragePath, storage_path

__all__ = [
    "DEIDENTIFIED",
    "DEIDENTIFY",
    "KEY_FOLDER",
    "as_it_was",
    "deidentified",
    "is_deidentified",
    "keyed_of",
    "profile_of",
    "renamed",
]

DEIDENTIFY = "deidentify"
KEY_FOLDER = "key_folder"

DEIDENTIFIED = "deidentified"
"""Attribute of a store's image, and of its origin: how it was de-identified."""


def is_deidentified(spec: SourceSpec) -> bool:
    """Whether a store of this recipe holds nothing that identifies; nobody is told its paths."""
    return DEIDENTIFY in spec.options


def profile_of(spec: SourceSpec) -> Profile:
    """Return the profile that a recipe asks for."""
    return Profile.parse(",".join(map(str, spec.options[DEIDENTIFY]["options"])))


def deidentified(
    spec: SourceSpec, profile: Profile, pseudonyms: Pseudonyms, folder: StoragePath
) -> SourceSpec:
    """Return the recipe of the same image de-identified, with the key that lies in ``folder``."""
    asked = {"options": list(profile.names), "key": pseudonyms.mark}
    options = {**spec.options, DEIDENTIFY: asked, KEY_FOLDER: str(folder)}
    return replace(spec, options=options)


def renamed(spec: SourceSpec, path: str, pseudonyms: Pseudonyms) -> SourceSpec:
    """Return a recipe with a name that tells nothing of ``path``, where its store would lie."""
    assert pseudonyms.key is not None, "asked where there is a key"
    name = Keyed(pseudonyms.key).name(path)
    return replace(spec, options={**spec.options, "name": name, "relative": name})


def as_it_was(spec: SourceSpec, told: Mapping[str, Any] | None, folder: StoragePath) -> SourceSpec:
    """Return the recipe that gives what a store says of its de-identification; None: none."""
    options = {k: v for k, v in spec.options.items() if k not in (DEIDENTIFY, KEY_FOLDER)}
    if told is not None:
        asked = {"options": list(map(str, told["options"])), "key": told["key"]}
        options |= {DEIDENTIFY: asked, KEY_FOLDER: str(folder)}
    return replace(spec, options=options)


def keyed_of(spec: SourceSpec) -> Keyed:
    """Return what makes a recipe's replacements; raise DamagedStore where its key is gone."""
    folder = storage_path(str(spec.options[KEY_FOLDER]))
    found = known_pseudonyms(folder)
    wanted = spec.options[DEIDENTIFY]["key"]
    if found is None or found.key is None or found.mark != wanted:
        there = "is not there" if found is None else "is another one"
        raise DamagedStore(
            f"de-identifying: the key of {folder} that this was done with {there}; bring "
            ".tilepress/private/key.json back from a copy"
        )
    return Keyed(found.key)
