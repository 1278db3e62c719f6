"""Say in few bytes what only we read of the store of a small image (STORE.md §5a).

Manifest and ``source/`` as arrays of their own take two thousand bytes of documents, whatever they
hold. Of a small image the manifest is a text in the root document, base64 of a zlib stream, and the
items of ``source/`` are one object without a document, a zlib stream, too. They are not in the root
document: headers hold names of patients, and documents hold none.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from typing import Any

from tilepress.codecs.record import crc32c
from tilepress.errors import DamagedStore
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.store.keys import ROOT_DOCUMENT, SOURCE, Separator, document_key
from tilepress.pipeline.store.manifest import ShardTable, sha256_hex

__all__ = [
    "LAYOUTS",
    "LEAN_STORED_BYTES",
    "LISTED",
    "MAX_ROWS_BYTES",
    "copied_documents",
    "document_of",
    "layouts_crc",
    "lean_source_key",
    "listed_in",
    "may_be_lean",
    "packed_source",
    "unpacked_source",
    "with_listed",
]

LEAN_STORED_BYTES = 2**20
"""Bytes of all shards of a lean store at most: of what is larger, documents are a per cent."""

MAX_ROWS_BYTES = 2**13
"""Bytes of the manifest's rows at most: whoever opens the store reads them."""

LISTED = "tilepress_manifest"
"""The root attribute that has the manifest."""

LAYOUTS = "layouts_crc32c"
"""What the level says, to vouch for the documents of coded arrays where the root's is lost."""

_TEXT = re.compile(rb'"tilepress_manifest":"([A-Za-z0-9+/=]*)"')

_MAX_UNPACKED = 2**22
"""Bytes that a stream may unpack to: a store may come from anybody, and writers pack 2^18."""


def may_be_lean(info: ImageInfo, tables: Mapping[str, ShardTable]) -> bool:
    """Whether a store is so small that the bytes of documents count; it has no further levels."""
    stored = sum(table.stored_bytes for table in tables.values())
    rows = sum(len(table.to_bytes()) for table in tables.values())
    return not info.levels and stored <= LEAN_STORED_BYTES and rows <= MAX_ROWS_BYTES


# the manifest


def with_listed(document: bytes, manifest: bytes) -> bytes:
    """Put a manifest into a root document whose attribute for it is an empty text."""
    text = base64.b64encode(zlib.compress(manifest, 9)).decode()
    blank = f'"{LISTED}":""'.encode()
    assert document.count(blank) == 1, "the root document has one such attribute"
    return document.replace(blank, f'"{LISTED}":"{text}"'.encode())


def listed_in(document: bytes) -> bytes:
    """Return the manifest in a root document. Raises DamagedStore where it cannot be had."""
    found = _TEXT.search(document)
    if found is None:
        raise DamagedStore(f"{ROOT_DOCUMENT} has no {LISTED}")
    try:
        data = base64.b64decode(found[1], validate=True)
    except binascii.Error as error:
        raise DamagedStore(f"{LISTED} is no base64") from error
    return _unpacked(data, LISTED)


def copied_documents(content: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of every document by key, by the copies in a root document.

    Of a lean store they are the only list: a copy is the document but for what groups lack.
    """
    nodes = content["consolidated_metadata"]["metadata"]
    return {document_key(name): sha256_hex(document_of(node)) for name, node in nodes.items()}


def document_of(node: Mapping[str, Any]) -> bytes:
    """Return the document that a copy is one of."""
    own = {key: value for key, value in node.items() if key != "consolidated_metadata"}
    return json.dumps(own, separators=(",", ":")).encode()


def layouts_crc(documents: Iterable[bytes]) -> int:
    """Return the checksum of the documents of an image and its mask, in this order."""
    return crc32c(b"".join(documents))


# the source


def lean_source_key(separator: Separator) -> str:
    """Return the key of the object that has the items of ``source/``: a chunk of no array."""
    return f"{SOURCE}/c{separator}0"


def packed_source(origin: bytes) -> bytes:
    """Return the object; ``origin`` has all items packed into it (§8)."""
    return zlib.compress(origin, 9)


def unpacked_source(data: bytes) -> bytes:
    """Return what was packed. Raises DamagedStore."""
    return _unpacked(data, SOURCE)


def _unpacked(data: bytes, what: str) -> bytes:
    unpacker = zlib.decompressobj()
    try:
        found = unpacker.decompress(data, _MAX_UNPACKED)
    except zlib.error as error:
        raise DamagedStore(f"the zlib stream of {what} is damaged") from error
    if not unpacker.eof or unpacker.unused_data:
        raise DamagedStore(f"the zlib stream of {what} is cut or too long")
    return found
