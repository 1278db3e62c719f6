"""The thread that owns a device: what is asked at a time runs together, everybody is answered."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import pytest

from tilepress.codecs import owner
from tilepress.codecs.owner import Owner
from tilepress.errors import CodecError, InvalidRecord


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owner, "PATIENCE_S", 20.0)


class Device:
    """Squares and negates numbers; remembers in which batches and in which thread."""

    def __init__(self, largest_batch: int = 99) -> None:
        self.owner = Owner("working on the device")
        self.largest_batch = largest_batch
        self.batches: list[list[int]] = []
        self.threads: set[str] = set()

    def square(self, numbers: list[int]) -> Sequence[int]:
        self.threads.add(threading.current_thread().name)
        self.batches.append(sorted(numbers))
        if len(numbers) > self.largest_batch:
            raise MemoryError
        if -1 in numbers:
            raise InvalidRecord("no square of −1 is wanted")
        if 0 in numbers:
            raise ZeroDivisionError("zero")
        return [n * n for n in numbers]

    def negate(self, numbers: list[int]) -> Sequence[int]:
        return [-n for n in numbers]

    def ask(self, number: int) -> int:
        return self.owner.ask(self.square, number)


class TestRequestsMadeAtATimeRunTogether:
    def test_in_one_batch_and_in_the_owners_thread(self) -> None:
        device = Device()
        assert device.owner.map(device.ask, [1, 2, 3]) == [1, 4, 9]
        assert device.batches == [[1, 2, 3]]
        assert device.threads == {"tilepress-device-owner"}

    def test_those_of_another_kind_apart(self) -> None:
        device = Device()

        def either(number: int) -> int:
            if number % 2:
                return device.ask(number)
            return device.owner.ask(device.negate, number)

        assert device.owner.map(either, [1, 2, 3, 4]) == [1, -2, 9, -4]
        assert device.batches == [[1, 3]]

    def test_as_many_as_may_be_under_way(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(owner, "MAX_CHUNKS", 2)
        device = Device()
        assert device.owner.map(device.ask, [1, 2, 3, 4, 5]) == [1, 4, 9, 16, 25]
        assert [len(batch) for batch in device.batches] == [2, 2, 1]

    def test_one_alone_waits_for_nobody(self) -> None:
        device = Device()
        assert device.owner.map(device.ask, [7]) == [49]
        assert device.owner.map(device.ask, []) == []


class TestEverybodyIsAnswered:
    def test_a_batch_that_fails_is_tried_in_halves(self) -> None:
        device = Device(largest_batch=1)
        assert device.owner.map(device.ask, [1, 2, 3]) == [1, 4, 9]
        assert [len(batch) for batch in device.batches] == [3, 1, 2, 1, 1]

    def test_only_who_is_to_blame_has_the_error(self) -> None:
        device = Device()
        seen: dict[int, int] = {}

        def keep(number: int) -> None:
            seen[number] = device.ask(number)

        with pytest.raises(CodecError, match=r"working on the device: ZeroDivisionError\('zero'\)"):
            device.owner.map(keep, [3, 0, 4])
        assert seen == {3: 9, 4: 16}

    def test_what_the_codec_says_is_told_as_it_is(self) -> None:
        device = Device()
        with pytest.raises(InvalidRecord, match=r"^no square of −1 is wanted$"):
            device.owner.map(device.ask, [2, -1])

    def test_too_few_answers_are_an_error(self) -> None:
        with pytest.raises(CodecError, match="0 answers to 1 requests"):
            Owner("working").ask(lambda _: [], 1)

    def test_after_an_error_too(self) -> None:
        device = Device()
        with pytest.raises(CodecError):
            device.owner.map(device.ask, [0])
        assert device.owner.map(device.ask, [5]) == [25]
