"""Objects below an address: parts of them, several at a time, and none that lies elsewhere."""

from __future__ import annotations

import pytest

from tilepress.errors import DamagedSource, SourceError
from tilepress.pipeline.storage import below as room
from tilepress.pipeline.storage.below import ObjectsBelow, below, use_below

from ...helpers.s3 import S3Server
from ..remote import put_object

CONTENT = bytes(range(100))


@pytest.fixture
def objects(bucket: str) -> ObjectsBelow:
    for key in ("in/a", "in/b/c", "other"):
        put_object(bucket, key, CONTENT)
    put_object(bucket, "in/empty", b"")
    return ObjectsBelow(f"{bucket}/in")


def test_whole_objects_and_parts(objects: ObjectsBelow) -> None:
    wanted = [("a", 0, None), ("b/c", 10, 20), ("gone", 0, None), ("a", -7, None), ("a", 95, None)]
    wanted += [("empty", 0, None), ("a", 90, 200)]
    found = [CONTENT, CONTENT[10:20], None, CONTENT[-7:], CONTENT[95:], b"", CONTENT[90:]]
    assert objects.fetch(wanted) == found
    assert [objects.fetch([one])[0] for one in wanted] == found


@pytest.mark.parametrize("key", ["../other", "b/../../other", "", "./a", "a\0", "a\n", "x" * 1025])
def test_keys_that_are_none_of_its_own(objects: ObjectsBelow, key: str) -> None:
    with pytest.raises(SourceError, match="asks for an object that is none of its own"):
        objects.fetch([("a", 0, None), (key, 0, None)])


def test_a_leading_slash_leads_nowhere_else(objects: ObjectsBelow) -> None:
    assert objects.fetch([("/other", 0, None)]) == [None]


def test_an_object_that_is_too_short_is_damaged(objects: ObjectsBelow) -> None:
    with pytest.raises(DamagedSource, match="it is shorter than"):
        objects.fetch([("a", 100, 120)])


def test_long_answers_are_cut_and_long_objects_refused(
    objects: ObjectsBelow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "MAX_ANSWER_BYTES", 150)
    wanted = [("gone", 0, None), ("a", 0, None), ("b/c", 0, 50), ("a", 0, None)]
    assert objects.fetch(wanted) == [None, CONTENT, CONTENT[:50]]
    monkeypatch.setattr(room, "MAX_ANSWER_BYTES", 10)
    assert objects.fetch(wanted[1:]) == [CONTENT]
    monkeypatch.setattr(room, "MAX_OBJECT_BYTES", 99)
    assert objects.fetch([("a", 0, 99)]) == [CONTENT[:99]]
    with pytest.raises(SourceError, match="100 bytes are wanted at once, the limit is 99"):
        objects.fetch([("a", 0, None)])


def test_a_service_that_refuses(objects: ObjectsBelow, s3_server: S3Server) -> None:
    s3_server.fail(1, status=403)
    with pytest.raises(PermissionError, match="refused"):
        objects.fetch([("a", 0, None)])


def test_who_is_asked_instead(bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_used", {})

    class Answers:
        def fetch(self, wanted):
            return [key.encode() for key, _, _ in wanted]

    use_below(f"{bucket}/in", Answers())
    assert below(f"{bucket}/in").fetch([("a", 0, None)]) == [b"a"]
    assert isinstance(below(f"{bucket}/elsewhere"), ObjectsBelow)
