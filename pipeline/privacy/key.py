"""Read the key of an archive's hashes and replacements: ``.tilepress/private/key.json``."""

from __future__ import annotations

import json

from tilepress.errors import DamagedStore
from tilepress.pipeline.image.pseudonyms import UNKEYED, Pseudonyms
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.storage.retry import retried

__all__ = ["KEY", "KEY_VERSION", "PRIVATE", "PRIVATE_NAME", "known_pseudonyms", "private_folder"]

PRIVATE_NAME = "private"
PRIVATE = f".tilepress/{PRIVATE_NAME}"
KEY = "key.json"
KEY_VERSION = 1


def private_folder(archive: StoragePath) -> StoragePath:
    """Return the private folder of an archive, or of the folder that holds a single store."""
    return archive / PRIVATE


def known_pseudonyms(archive: StoragePath) -> Pseudonyms | None:
    """Return what identifiers of an archive are hashed with; None where nothing says so.

    Raises DamagedStore where the key cannot be read.
    """
    where = private_folder(archive) / KEY
    found = retried(where.read_tagged)
    if found is None:
        return None
    try:
        document = json.loads(found[0])
        if document["version"] != KEY_VERSION:
            raise ValueError(document["version"])  # noqa: TRY301  # told below
        key = document["key"]
        return UNKEYED if key is None else Pseudonyms(bytes.fromhex(key))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DamagedStore(
            f"reading the archive's key: {where} is damaged, or of a newer tilepress; bring it "
            "back from a copy"
        ) from None
