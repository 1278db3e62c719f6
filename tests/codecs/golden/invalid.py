"""Write the invalid golden records: each derived from a valid one, with the error it must give.

Run: python tests/codecs/golden/invalid.py

They follow the newest of valid records, so the script is run again where the format changes.
Changes that lie deep inside a payload are found by search: the first change of one or two bytes
that a decoder refuses for the reason wanted. What is written is therefore independent of where
exactly a format keeps its numbers. Faults of context trees, which are coded bit by bit, are made by
coding the samples of a valid record again with another tree. ``index.json`` holds for each the
configuration to read it with, the kind of error and words that its message must contain.
"""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from tilepress.codecs.limits import MAX_SIDE, MAX_TREE_BYTES, MAX_TREE_NODES
from tilepress.codecs.record import (
    HEADER_BYTES,
    crc32c,
    pack_record,
    unpack_record,
)
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import choices, plane_format
from tilepress.codecs.wave.layout import MATCH_LEVELS, OWN_PROPERTIES, PROPERTIES
from tilepress.codecs.wave.tree import ContextTree, pack_tree
from tilepress.errors import CodecError

HERE = Path(__file__).parent
FOLDER = HERE / "invalid"
VALID = {path.stem: path for folder in ("v2", "v3") for path in (HERE / folder).glob("*.tp")}
"""Of each name the newest."""
INDEX = {
    name: json.loads((path.parent / "index.json").read_text())[name] for name, path in VALID.items()
}

MAJOR, FLAGS, CODER, DTYPE = 6, 8, 10, 11
"""Where the fixed header keeps them (FORMAT.md §2)."""

Case = tuple[str, str, bytes, str, str]
"""Name, the valid record it comes from, bytes, kind of error, words of its message."""


def valid(name: str) -> bytes:
    return VALID[name].read_bytes()


def codec(name: str) -> TileCodec:
    return TileCodec.from_config(INDEX[name]["configuration"])


def set_bytes(record: bytes, at: int, new: bytes) -> bytes:
    """Put bytes into a record and make its last checksum right again."""
    body = record[:at] + new + record[at + len(new) : -4]
    return body + struct.pack("<I", crc32c(body))


def with_header(record: bytes, **changes: object) -> bytes:
    """Change what the fixed header says."""
    header, payload = unpack_record(record)
    return pack_record(dataclasses.replace(header, **changes), bytes(payload))


def with_payload(record: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """Change the payload; header, length and last checksum fit it."""
    header, payload = unpack_record(record)
    return pack_record(header, change(bytes(payload)))


def found(name: str, words: str) -> tuple[str, bytes]:
    """Return the first change that is refused with ``words``, and the record that it was made to.

    Searched are the record ``name`` and, should it hold nothing of the kind, all small ones.
    """
    others = (other for other in sorted(INDEX) if other != name and len(valid(other)) < 3000)
    for source in (name, *others):
        record = search(source, words)
        if record:
            return source, record
    raise LookupError(f"no change of any valid record is refused with {words!r}")


def search(name: str, words: str) -> bytes:
    """Return the first change of one or two bytes of a payload that is refused with ``words``."""
    record, reader = valid(name), codec(name)
    header, payload = unpack_record(record)
    whole = bytes(payload)
    values = (0, 1, 2, 3, 4, 5, 0x10, 0x20, 0x40, 0x7F, 0x80, 0xC0, 0xFF)
    single = (((at, v),) for at in range(len(whole)) for v in values)
    double = (
        ((at, a), (at + gap, b))
        for at in range(min(len(whole) - 4, 32))
        for gap in (1, 2, 3)
        for a in values
        for b in values
    )
    for changes in itertools.chain(single, double):
        forged = bytearray(whole)
        for at, value in changes:
            forged[at] = value
        candidate = pack_record(header, bytes(forged))
        try:
            reader.decode(candidate)
        except CodecError as error:
            if words in str(error):
                return candidate
    return b""


def coded_again(name: str, room: ModuleType, **others: Callable[..., Any]) -> bytes:
    """Code the samples of a record again, functions of a module of the encoder replaced."""
    coder = codec(name)
    samples = coder.decode(valid(name))
    with mock.patch.multiple(room, **others):
        return coder.encode(samples)


def packed_as(name: str, pack: Callable[[ContextTree], bytes]) -> bytes:
    """Code the samples of a record again, its context trees packed in another way."""
    return coded_again(name, plane_format, pack_tree=pack)


def with_tree(name: str, change: Callable[[ContextTree], ContextTree]) -> bytes:
    """Return a record whose first tree is another than the one that it is coded with."""
    return packed_as(name, lambda tree: pack_tree(change(tree)))


class Claiming(bytes):
    """Bytes that say of themselves that they are more than a tree may have."""

    def __len__(self) -> int:
        return MAX_TREE_BYTES + 1


def trees() -> Iterator[Case]:
    """Yield records whose context trees are none."""
    refused, name, gain = "invalid-record", "tree-grey", 32
    steep = coded_again(name, choices, choose_gain=lambda *_: gain)
    yield "gain-beyond-the-last", name, steep, refused, f"gain {gain}"
    cut = packed_as(name, lambda tree: pack_tree(tree)[:-12])
    yield "tree-cut", name, cut, refused, "decoding a context tree"
    none = packed_as(name, lambda tree: b"")
    yield "tree-without-nodes", name, none, refused, "it has no nodes"
    long = packed_as(name, lambda tree: pack_tree(tree) + b"\0\0\0\0\1")
    yield "tree-bytes-left-over", name, long, refused, "bytes are left over"
    claims = packed_as(name, lambda tree: Claiming(pack_tree(tree)))
    yield "tree-beyond-limit", name, claims, refused, f"at most {MAX_TREE_BYTES} allowed"

    for label, source, change, words in OTHER_TREES:
        yield f"tree-{label}", source, with_tree(source, change), refused, words


def with_nodes(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[ContextTree], ContextTree]:
    return lambda tree: tree._replace(nodes=change(tree.nodes))


def with_levels(*levels: int) -> Callable[[ContextTree], ContextTree]:
    """Say that the first table of its own has tokens of these levels."""
    return lambda tree: tree._replace(levels=[np.array(levels), *tree.levels[1:]])


def chain(_: ContextTree) -> ContextTree:
    """Return a tree of a node more than there may be."""
    nodes = np.zeros((MAX_TREE_NODES + 1, 4), np.int64)
    nodes[:, 2] = ~np.arange(len(nodes))
    nodes[:, 3] = np.append(np.arange(1, len(nodes)), ~len(nodes))
    leaves = np.zeros((len(nodes) + 1, 3), np.int64)
    return ContextTree(nodes, leaves[:, :2], leaves[:, 2], leaves[:0])


OTHER_TREES = (
    (
        "property-beyond-the-last",
        "tree-two-references",
        with_nodes(lambda n: n + [PROPERTIES, 0, 0, 0] * (n[:, :1] < 5)),
        "a property or threshold",
    ),
    (
        "property-of-no-reference",
        "tree-grey",
        with_nodes(lambda n: np.concatenate([[[OWN_PROPERTIES, *n[0, 1:]]], n[1:]])),
        "a property or threshold",
    ),
    (
        "property-of-no-second-reference",
        "tree-one-reference",
        with_nodes(lambda n: n + [6, 0, 0, 0] * (n[:, :1] >= OWN_PROPERTIES)),
        "a property or threshold",
    ),
    (
        "threshold-of-25-bits",
        "tree-grey",
        with_nodes(lambda n: n - [0, 2**24, 0, 0]),
        "a property or threshold",
    ),
    ("nodes-beyond-limit", "tree-grey", chain, f"more than {MAX_TREE_NODES} nodes"),
    (
        "table-beyond-the-last",
        "tree-grey",
        lambda tree: tree._replace(tables=tree.tables + len(tree.levels)),
        "context tree: a table beyond",
    ),
    (
        "flag-beyond-the-last",
        "tree-flags",
        lambda tree: tree._replace(flags=tree.flags + len(MATCH_LEVELS)),
        "a flag's probability",
    ),
    ("tokens-beyond-the-last", "tree-grey", with_levels(*[9] * 73), "a table without tokens"),
    ("level-beyond-the-last", "tree-grey", with_levels(9, 62, 9), "a table without tokens"),
)
"""Name, valid record, what becomes of its trees, words."""


def stored(**changes: object) -> bytes:
    """Return a stored record of 33 × 35 samples of uint8, its header changed."""
    return with_header(valid("stored"), **changes)


def cases() -> Iterator[Case]:
    """Yield every invalid record."""
    good = valid("uint8")
    header, _ = unpack_record(good)
    refused, newer, broken = "invalid-record", "unsupported-format", "checksum"
    # not a record at all
    yield "empty", "uint8", b"", refused, "got 0 bytes"
    yield "magic", "uint8", b"\x88" + good[1:], refused, "magic"
    yield "cut-header", "uint8", good[: HEADER_BYTES - 9], refused, "bytes, want"
    yield "cut-payload", "uint8", good[:-100], refused, "bytes, want"
    yield "bytes-behind", "uint8", good + b"\0", refused, "bytes, want"
    # of another time
    newest = set_bytes(good, MAJOR, bytes([good[MAJOR] + 1]))
    yield "major-version", "uint8", newest, newer, "version"
    yield "flag", "uint8", set_bytes(good, FLAGS, b"\x81"), newer, "flags"
    yield "coder", "uint8", set_bytes(good, CODER, b"\x77"), newer, "coder 119"
    yield "dtype", "uint8", set_bytes(good, DTYPE, b"\x77"), newer, "dtype code 119"
    foreign = with_header(good, model_id=b"\x5a" * 8)
    yield "weights", "uint8", foreign, newer, "needs model 5a5a"
    # impossible sizes
    rows, columns = header.shape[1:]
    yield (
        "box-beyond-array",
        "uint8",
        with_header(good, shape=(1, rows, columns - 1)),
        refused,
        "box",
    )
    long = stored(shape=(1, MAX_SIDE + 1, 1), coded=(1, 33, 1))
    yield "side-beyond-limit", "stored", long, refused, "beyond the limits"
    huge = stored(shape=(2**10, 2**10, 2**10), coded=(1, 33, 35))
    yield "samples-beyond-limit", "stored", huge, refused, "beyond the limits"
    drawn = with_header(valid("volume"), two_d=True)
    yield "two-axes-of-planes", "volume", drawn, refused, "two axes"
    yield "stored-too-short", "stored", stored(coded=(1, 33, 34)), refused, "bytes of samples"
    yield "empty-box", "uint8", with_header(good, coded=(0, 0, 0)), refused, "empty box"
    # checksums
    flipped = good[:200] + bytes([good[200] ^ 16]) + good[201:]
    yield "record-checksum", "uint8", flipped, broken, "its bytes"
    wrong = header.symbols_crc ^ 1
    yield (
        "samples-checksum",
        "uint8",
        with_header(good, symbols_crc=wrong),
        broken,
        "samples do not",
    )
    other = with_payload(valid("stored"), lambda p: p[:9] + bytes([p[9] ^ 1]) + p[10:])
    yield "stored-checksum", "stored", other, broken, "samples do not"
    source, record = found("constant", "decoding plane 0: samples")
    yield "plane-checksum", source, record, broken, "decoding plane 0"
    # payloads
    yield "payload-cut", "uint8", with_payload(good, lambda p: p[:-40]), refused, "bytes, want"
    yield "payload-too-long", "uint8", with_payload(good, lambda p: p + b"\0"), refused, "left over"
    for label, name, words in FOUND:
        source, record = found(name, words)
        yield label, source, record, refused, words
    yield from trees()


FOUND = (
    ("references-in-a-circle", "copied-planes", "in a circle"),
    ("plane-beyond-the-last", "copied-planes", "got 3, at most 2 allowed"),
    ("too-many-references", "volume", "4 references"),
    ("colour-groups", "rgb", "colour groups"),
    ("colours-of-no-kind", "colour-ycbcr", "colours of kind"),
    ("y-cb-cr-of-two-bytes", "colour-less-green-uint16", "Y, Cb, Cr of uint16"),
    ("y-cb-cr-on-a-grid", "colour-less-green-near", "Y, Cb, Cr of uint8 on a grid"),
    ("y-cb-cr-beyond-a-byte", "colour-ycocg", "Y, Cb or Cr is not within"),
    ("value-map", "uint8", "value map"),
    ("grid-of-floats", "float32-decimal", "a grid of"),
    ("step", "float32-bounded", "step -"),
    ("flag-of-two", "uint8", "got flag 2"),
    ("block-size", "replicated", "block size"),
    ("mask-of-none", "uint8", "refers to a plane that has none"),
    ("levels", "packed", "fewer than two levels"),
    ("weights-width", "uint16", "weights of"),
    ("table-beyond-the-last", "flat-and-steps", "a plane: a table beyond"),
    ("stream", "uint16", "its stream is damaged"),
)
"""Name, valid record, words: what a search finds."""


def derive() -> dict[str, tuple[bytes, dict[str, object]]]:
    """Return every invalid record with its entry in the index."""
    return {
        name: (
            record,
            {
                "configuration": INDEX[source]["configuration"],
                "from": f"{VALID[source].parent.name}/{source}",
                "kind": kind,
                "says": words,
                "sha256": hashlib.sha256(record).hexdigest(),
            },
        )
        for name, source, record, kind, words in cases()
    }


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    derived = derive()
    for old in FOLDER.glob("*.tp"):
        old.unlink()
    for name, (record, _) in derived.items():
        (FOLDER / f"{name}.tp").write_bytes(record)
    index = {name: entry for name, (_, entry) in derived.items()}
    (FOLDER / "index.json").write_text(json.dumps(index, indent=1, sort_keys=True) + "\n")
    print(len(index), "invalid records")


if __name__ == "__main__":
    main()
