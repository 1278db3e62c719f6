"""A store of objects that are asked for: together, again where the answer is cut, never in vain."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import default_buffer_prototype

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline.arrays.asked_store import AskedStore
from tilepress.pipeline.storage.below import Wanted


class Answers:
    """Objects in memory; remembers what it was asked for."""

    def __init__(self, objects: dict[str, bytes], at_once: int = 99) -> None:
        self.objects, self.at_once = objects, at_once
        self.asked: list[list[Wanted]] = []
        self.failure: Exception | None = None

    def fetch(self, wanted: Sequence[Wanted]) -> list[bytes | None]:
        self.asked.append(list(wanted))
        if self.failure is not None:
            raise self.failure
        found = [(self.objects.get(key), start, stop) for key, start, stop in wanted]
        return [None if data is None else data[a:b] for data, a, b in found[: self.at_once]]


PROTOTYPE = default_buffer_prototype()


def got(store: AskedStore, *wanted: object) -> list[bytes | None]:
    async def all_of_them() -> list[bytes | None]:
        found = await asyncio.gather(*(store.get(key, PROTOTYPE, part) for key, part in wanted))
        return [None if one is None else one.to_bytes() for one in found]

    return asyncio.run(all_of_them())


PARTS = [
    ("a", None),
    ("gone", None),
    ("a", RangeByteRequest(2, 5)),
    ("a", OffsetByteRequest(7)),
    ("b", SuffixByteRequest(3)),
]
FOUND = [b"0123456789", None, b"234", b"789", b"hij"]


@pytest.mark.parametrize("at_once", [1, 2, 99])
def test_what_is_wanted_together_is_asked_for_together(at_once: int) -> None:
    answers = Answers({"a": b"0123456789", "b": b"abcdefghij"}, at_once)
    assert got(AskedStore("x", answers, {}), *PARTS) == FOUND
    assert len(answers.asked) == -(-len(PARTS) // at_once)


def test_no_more_than_may_be_asked_for_at_once() -> None:
    answers = Answers({str(n): b"%d" % n for n in range(40)})
    assert len(got(AskedStore("x", answers, {}), *((str(n), None) for n in range(40)))) == 40
    assert [len(asked) for asked in answers.asked] == [16, 16, 8]


def test_documents_that_were_read_are_not_asked_for() -> None:
    answers = Answers({"zarr.json": b"another", "c": b"c"})
    store = AskedStore("x", answers, {"zarr.json": b"first", ".zarray": None})
    assert got(store, ("zarr.json", None), (".zarray", None), ("c", None)) == [b"first", None, b"c"]
    assert answers.asked == [[("c", 0, None)]]


@pytest.mark.parametrize(
    ("failure", "raised", "text"),
    [
        (OSError(5, "the service failed"), SourceError, "reading x: c: the service failed"),
        (DamagedSource("reading x: too short"), DamagedSource, "reading x: too short"),
    ],
)
def test_storage_that_fails_is_no_missing_chunk(failure, raised, text) -> None:
    answers = Answers({})
    answers.failure = failure
    store = AskedStore("x", answers, {})
    with pytest.raises(raised) as caught:
        got(store, ("c", None), ("d", None))
    assert str(caught.value) == text
    answers.failure = None
    assert got(store, ("c", None)) == [None]


def test_zarr_reads_it_and_writes_nothing() -> None:
    memory: dict[str, object] = {}
    array = zarr.create_array(memory, shape=(40, 40), chunks=(10, 10), shards=(20, 20), dtype="u2")
    array[...] = np.arange(1600).reshape(40, 40)
    objects = {key: value.to_bytes() for key, value in memory.items()}
    answers = Answers(objects)
    read = zarr.open_array(AskedStore("x", answers, {}), mode="r")
    assert np.array_equal(read[5:33, 7:39], array[5:33, 7:39])
    with pytest.raises(NotImplementedError):
        read[0, 0] = 1
