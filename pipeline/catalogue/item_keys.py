"""Where in a catalogue lies what is said of a store: keys that links can have as they are."""

from __future__ import annotations

from urllib.parse import quote, unquote

__all__ = [
    "ITEMS",
    "THUMBNAILS",
    "item_key",
    "quoted",
    "store_of_item",
    "store_of_thumbnail",
    "thumbnail_key",
]

ITEMS = "items"
"""The folder of the items, which mirrors that of the stores; both lie in the catalogue's folder."""

THUMBNAILS = "thumbnails"
"""The folder of the thumbnails, likewise."""

PART_BYTES = 224
"""Length of a part of a key at most: names of files have 255 bytes, temporary ones more."""


def item_key(store: str) -> str:
    """Return the key of a store's item below the catalogue's folder.

    It is the store's own, with ``~20`` for a space and so on: clients do not agree whether a link
    to a file is escaped, so that such a link must hold nothing to escape. A part that no file
    system takes, long or escaped, is cut into folders: ``~/`` stands at each cut.
    """
    return _key(ITEMS, store, ".json")


def store_of_item(key: str) -> str | None:
    """Return the store that an item of this key describes; None where the key is no item's."""
    return _store_of(ITEMS, key, ".json")


def thumbnail_key(store: str) -> str:
    """Return the key of a store's thumbnail, made as that of its item."""
    return _key(THUMBNAILS, store, ".webp")


def store_of_thumbnail(key: str) -> str | None:
    """Return the store that a thumbnail of this key shows; None where the key is none."""
    return _store_of(THUMBNAILS, key, ".webp")


def quoted(href: str) -> str:
    """Escape what a URL cannot hold; a name that is no UTF-8 keeps its bytes."""
    return quote(href, errors="surrogateescape")


def _key(folder: str, store: str, ending: str) -> str:
    name = quoted(store).replace("~", "%7E").replace("%", "~")
    return f"{folder}/{'/'.join(map(_cut, name.split('/')))}{ending}"


def _store_of(folder: str, key: str, ending: str) -> str | None:
    if not key.startswith(f"{folder}/") or not key.endswith(ending):
        return None
    name = key[len(folder) + 1 : -len(ending)].replace("~/", "")
    return unquote(name.replace("~", "%"), errors="surrogateescape")


def _cut(part: str) -> str:
    return "~/".join(part[at : at + PART_BYTES] for at in range(0, len(part), PART_BYTES))
