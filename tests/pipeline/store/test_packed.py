"""Small items of ``source/`` share one array; large ones have their own, as all had before."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tilepress.pipeline.store.packed import (
    MAX_PACKED_BYTES,
    item_of,
    names_of,
    origin_of,
    pack_items,
)

ORIGIN = ("origin", b'{"kind": "dicom", "instances": []}')
OTHERS = [("dicom-headers", bytes(range(256))), ("empty", b""), ("tail", b"a\nb")]


def packed() -> bytes:
    ((name, data),) = pack_items([ORIGIN, *OTHERS])
    assert name == "origin"
    return data


def test_all_come_back():
    data = packed()
    assert origin_of(data) == json.loads(ORIGIN[1])
    assert names_of(data) == [name for name, _ in OTHERS]
    assert [(name, item_of(data, name)) for name in names_of(data)] == OTHERS
    with pytest.raises(KeyError):
        item_of(data, "other")


def test_origin_alone_stays_as_it_is():
    assert pack_items([ORIGIN]) == [ORIGIN]
    assert origin_of(ORIGIN[1]) == json.loads(ORIGIN[1])
    assert names_of(ORIGIN[1]) == []


def test_much_is_not_held():
    given = [ORIGIN, ("a", bytes(MAX_PACKED_BYTES)), *OTHERS]
    taken = []

    def items() -> Iterator[tuple[str, bytes]]:
        for item in given:
            taken.append(item[0])
            yield item

    found = pack_items(items())
    assert taken == ["origin", "a"]
    assert list(found) == given


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"{",
        b'{"packed_items": [["a", 1]]}',
        b'{"packed_items": [["a", -1], ["b", 2]]}\nx',
        b'{"packed_items": [["a", 1], ["a", 0]]}\nx',
        b'{"packed_items": [["a"]]}\n',
        b'{"packed_items": 3}\n',
        b'{"packed_items": [["a", "x"]]}\n',
    ],
)
def test_nonsense_is_told(data: bytes):
    with pytest.raises(ValueError, match=r"items|line 1"):
        item_of(data, "a")
