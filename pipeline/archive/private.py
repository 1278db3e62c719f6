"""The archive's private folder: the key of its hashes, and tables of the files that have no name.

    ARCHIVE/.tilepress/private/            0700: nobody else may enter
        key.json                           0600: what identifiers are hashed with
        paths.jsonl, paths-part-3-of-64…   0600: which files stand behind names in messages

The key is made once, by the first run that finds DICOM; runs that come at the same time take the
one that is there. An archive whose stores were named before there were keys keeps its unkeyed
names: its key file says so. In a bucket, who may read the folder is for the bucket's policy to say.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from typing import Any

from tilepress.errors import DestinationConflict, TilepressError, UsageError
from tilepress.pipeline.catalogue.stores import walk_stores
from tilepress.pipeline.image.pseudonyms import KEY_MARK, NO_KEY, UNKEYED, Pseudonyms
from tilepress.pipeline.kept.index import has_kept
from tilepress.pipeline.privacy.key import (
    KEY,
    KEY_VERSION,
    PRIVATE,
    PRIVATE_NAME,
    known_pseudonyms,
    private_folder,
)
from tilepress.pipeline.storage.atomic import make_directory
from tilepress.pipeline.storage.links import check_no_link
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.seal import is_sealed

__all__ = [
    "PRIVATE",
    "PRIVATE_NAME",
    "archive_pseudonyms",
    "check_deidentified_as_a_whole",
    "deidentifying_pseudonyms",
    "known_pseudonyms",
    "make_private",
    "mark_deidentified",
    "private_folder",
    "pseudonyms_of_sources",
    "pseudonyms_to_be",
]

KEY_BYTES = 32

DEIDENTIFIED_MARK = "deidentified.json"
"""In the private folder of an archive in which every store is de-identified."""

_OF_SERIES = re.compile(r"[A-Z0-9]{2,16}-[0-9a-f]{12}(-[0-9a-f]{6})?\.zarr")
"""Names of stores of DICOM series."""


def make_private(folder: StoragePath) -> None:
    """Make a folder that nobody else may enter; nothing is done in a bucket.

    Raises OSError, and DestinationConflict where it, or the folder above it, is a link.
    """
    if not isinstance(folder, FolderPath):
        return
    check_no_link(folder.parent.parent, folder)
    make_directory(folder.path.parent)
    with contextlib.suppress(FileExistsError):
        os.mkdir(folder.path, 0o700)
    if folder.path.stat().st_mode & 0o077:
        with contextlib.suppress(PermissionError):  # another user's, who decides
            os.chmod(folder.path, 0o700)


def pseudonyms_of_sources(archive: StoragePath) -> Pseudonyms:
    """Return what names the series that stores were made of, for one who only reads them."""
    with contextlib.suppress(PermissionError):
        return known_pseudonyms(archive) or UNKEYED
    return UNKEYED  # somebody else's archive: what is inside the stores has to tell


def archive_pseudonyms(archive: StoragePath) -> Pseudonyms:
    """Return what identifiers of an archive are hashed with; make the key where there is none.

    Raises DestinationConflict where stores are named with a key that is gone: their images would
    be stored a second time.
    """
    known = known_pseudonyms(archive)
    if known is not None:
        return known
    key = None if _has_unkeyed_stores(archive) else secrets.token_bytes(KEY_BYTES)
    folder = private_folder(archive)
    make_private(folder)
    document = {"version": KEY_VERSION, "key": None if key is None else key.hex()}
    data = json.dumps(document, separators=(",", ":")).encode()
    retried(lambda: (folder / KEY).create(data))  # another process may have been faster
    if isinstance(folder, FolderPath):
        os.chmod(folder.path / KEY, 0o600)
    known = known_pseudonyms(archive)
    assert known is not None, "it is there by now"
    return known


def pseudonyms_to_be(archive: StoragePath) -> Pseudonyms:
    """Return what identifiers would be hashed with here, and write nothing.

    Where a run would make a key, names are those of a key that nobody will know. Raises as
    ``archive_pseudonyms`` does.
    """
    known = known_pseudonyms(archive)
    if known is not None:
        return known
    return UNKEYED if _has_unkeyed_stores(archive) else Pseudonyms(secrets.token_bytes(KEY_BYTES))


def deidentifying_pseudonyms(folder: StoragePath) -> Pseudonyms:
    """Return what replaces identifiers of what is de-identified into ``folder``.

    Raises UsageError where the archive has no key because it was begun before there were keys.
    """
    found = archive_pseudonyms(folder)
    if found.key is None:
        raise UsageError(
            f"de-identifying into {folder}: the archive was begun without a key, by which "
            "identifiers would be replaced; choose another destination"
        )
    return found


def check_deidentified_as_a_whole(archive: StoragePath, *, asked: bool) -> None:
    """Raise UsageError where a run would leave an archive half de-identified.

    Who gives a de-identified archive away must not have to look which of its stores are not.
    ``asked`` is whether the run de-identifies.
    """
    marked = retried((private_folder(archive) / DEIDENTIFIED_MARK).size) is not None
    if marked and not asked:
        raise UsageError(
            f"compressing into {archive}: the archive is de-identified; say --deidentify again, "
            "or choose another destination"
        )
    if not asked or marked:
        return
    what = "stores" if next(walk_stores(archive), None) is not None else ""
    what = what or ("files" if has_kept(archive) else "")
    if what:
        raise UsageError(
            f"de-identifying into {archive}: the archive has {what} that are not de-identified; "
            "choose another destination"
        )


def mark_deidentified(archive: StoragePath) -> None:
    """Say of an archive that every store in it is de-identified."""
    folder = private_folder(archive)
    make_private(folder)
    retried(lambda: (folder / DEIDENTIFIED_MARK).create(b'{"version":1}'))


def _has_unkeyed_stores(archive: StoragePath) -> bool:
    """Whether an archive without a key has stores of DICOM series, or began or planned some."""
    if not archive.is_folder():
        return False
    for name in archive.folders():
        attributes = _attributes(archive / name) if _OF_SERIES.fullmatch(name) else {}
        if attributes.get(KEY_MARK, NO_KEY) != NO_KEY:
            raise DestinationConflict(
                f"opening the archive {archive}: {name} is named with a key that is not there; "
                f"bring {PRIVATE}/{KEY} back from a copy, or choose another destination"
            )
        if "modality" in attributes and KEY_MARK not in attributes:
            return True
    state = archive / ".tilepress"
    begun = state.folders() if state.is_folder() else []
    return any(map(_OF_SERIES.fullmatch, begun)) or _has_series_planned(state / "plan")


def _attributes(store: StoragePath) -> Mapping[str, Any]:
    """Return the attributes of a sealed store's image; {} where it has none that can be read."""
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError):
        if is_sealed(store):
            return StoreReader.open(store).attrs
    return {}


def _has_series_planned(plan: StoragePath) -> bool:
    """Whether a finished plan for parts names DICOM series."""
    if (plan / "head.json").size() is None:
        return False
    objects = [key for key, _ in plan.walk() if key.endswith(".jsonl")]
    return any(b'"kind":"dicom' in (plan / key).read() for key in objects)
