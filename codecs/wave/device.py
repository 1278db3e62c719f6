"""Run planes of many chunks on one CUDA device: a thread that owns it gathers them to batches.

    chunk threads ─► ask for a plane each ─► owner: gathers ─► one launch a group ─► answers

Planes of a chunk follow from one another, planes of several chunks do not. So every chunk has a
thread of its own, which waits while its plane is on the device; the owner starts once all of them
wait, or one has waited ``PATIENCE_S``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tilepress.codecs.wave import cuda
from tilepress.codecs.wave.backend import (
    Choices,
    Choose,
    DecodedStream,
    PlaneStream,
    PlaneToDecode,
    PlaneToEncode,
    Prediction,
)
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.symbols import flag_probabilities
from tilepress.errors import CodecError, UnsupportedFormat

__all__ = ["MAX_CHUNKS", "PATIENCE_S", "DeviceBackend", "open_device"]

MAX_CHUNKS = 64
"""Chunks of one call that are under way at a time, each in a thread."""
PATIENCE_S = 0.01
"""How long a plane waits for company at most: less than a plane of 512² takes by itself."""

Item = TypeVar("Item")
Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class _ToDecode:
    plane: PlaneToDecode
    answer: Future[DecodedStream] = field(default_factory=Future)


@dataclass(frozen=True, slots=True)
class _ToEncode:
    plane: PlaneToEncode
    choose: Choose
    answer: Future[PlaneStream] = field(default_factory=Future)


Request = TypeVar("Request", _ToDecode, _ToEncode)


class DeviceBackend:
    """The backend ``cuda``: planes that threads ask for at the same time run side by side.

    Only the owner's thread touches the device; a process needs one of these (``open_device``).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._pending: list[_ToDecode | _ToEncode] = []
        self._active = 0
        """Threads that have asked, or will."""
        self._owner: threading.Thread | None = None

    def encode_stream(self, plane: PlaneToEncode, choose: Choose) -> PlaneStream:
        if not cuda.fits(plane.height, plane.width):
            return CPU.encode_stream(plane, choose)
        request = _ToEncode(plane, choose)
        self._hand_over(request)
        return _result(request.answer)

    def decode_stream(self, plane: PlaneToDecode) -> DecodedStream:
        if not cuda.fits(plane.height, plane.width):
            return CPU.decode_stream(plane)
        request = _ToDecode(plane)
        self._hand_over(request)
        return _result(request.answer)

    def map(self, function: Callable[[Item], Result], items: Sequence[Item]) -> list[Result]:
        """Run ``function`` on every chunk, as many at a time as the device may gather.

        All of them end, whatever happens to one; then the first error in order is raised.
        """
        count = min(MAX_CHUNKS, len(items))
        if not count:
            return []
        left = len(items)
        self._expect(count)

        def work(item: Item) -> Result:
            nonlocal left
            try:
                return function(item)
            finally:
                with self._changed:
                    left -= 1
                    if left < count:  # no item is left for this thread
                        self._expect(-1)

        if count == 1:
            return [work(item) for item in items]
        with ThreadPoolExecutor(count, thread_name_prefix="tilepress-device") as pool:
            futures = [pool.submit(work, item) for item in items]
        return [future.result() for future in futures]

    def _expect(self, threads: int) -> None:
        with self._changed:
            self._active += threads
            self._changed.notify_all()

    def _hand_over(self, request: _ToDecode | _ToEncode) -> None:
        with self._changed:
            if self._owner is None or not self._owner.is_alive():
                self._owner = threading.Thread(
                    target=self._serve, name="tilepress-device-owner", daemon=True
                )
                self._owner.start()
            self._pending.append(request)
            self._changed.notify_all()

    def _serve(self) -> None:
        while True:
            requests = self._gather()
            _answer([r for r in requests if isinstance(r, _ToDecode)], _decode)
            _answer([r for r in requests if isinstance(r, _ToEncode)], _encode)

    def _gather(self) -> list[_ToDecode | _ToEncode]:
        """Wait for planes until every thread waits for one, or the first has waited enough."""
        with self._changed:
            while not self._pending:
                self._changed.wait()
            end = time.monotonic() + PATIENCE_S
            while len(self._pending) < self._active and (left := end - time.monotonic()) > 0:
                self._changed.wait(left)
            requests, self._pending = self._pending, []
        return requests


def _result(answer: Future[Result]) -> Result:
    """Wait for what becomes of a plane; what the device says against it becomes a CodecError."""
    try:
        return answer.result()
    except CodecError:
        raise
    except Exception as error:
        raise CodecError(f"coding a plane on the device: {error!r}") from error


def _answer(requests: list[Request], run: Callable[[list[Request]], Sequence[Any]]) -> None:
    """Run requests and answer them; what fails in company is tried in halves, down to one.

    So a batch too large for the device's memory still runs, and only who is to blame has an error.
    """
    if not requests:
        return
    results: Sequence[Any] | None = None
    try:
        results = _each_answered(requests, run(requests))
    except BaseException as error:  # whatever it is, somebody waits for an answer
        if len(requests) == 1:
            requests[0].answer.set_exception(error)
            return
    if results is None:  # no longer in the handler, whose error keeps the failed run's arrays
        middle = len(requests) // 2
        _answer(requests[:middle], run)
        _answer(requests[middle:], run)
        return
    for request, result in zip(requests, results, strict=False):
        request.answer.set_result(result)


def _each_answered(requests: Sequence[Request], results: Sequence[Any]) -> Sequence[Any]:
    """Return the results; fewer or more than requests would leave somebody waiting for ever."""
    if len(results) != len(requests):
        raise CodecError(f"coding planes: {len(results)} answers to {len(requests)} requests")
    return results


def _decode(requests: list[_ToDecode]) -> Sequence[Any]:
    return cuda.decode_planes([r.plane for r in requests])


def _encode(requests: list[_ToEncode]) -> Sequence[Any]:
    made: dict[int, Choices] = {}

    def decide(number: int, found: Prediction) -> cuda.Decisions:
        coding = requests[number].choose(found)
        made[number] = choices = coding.choices
        flags = flag_probabilities(choices.match_levels)
        if choices.tree is None:
            return cuda.Decisions(choices.gain, flags, choices.table_map)
        return cuda.Decisions(
            choices.gain,
            flags,
            choices.table_map,
            tree=choices.tree.arrays(),
            leaves=coding.matches,
        )

    coded = cuda.encode_planes([r.plane for r in requests], decide)
    return [
        PlaneStream(made[i], plane.states, plane.words, plane.raw, plane.errors)
        for i, plane in enumerate(coded)
    ]


_lock = threading.Lock()
_device: DeviceBackend | None = None


def open_device() -> DeviceBackend:
    """Return the process's device; raises UnsupportedFormat where there is none."""
    global _device
    with _lock:
        if _device is None:
            if not cuda.cuda_available():
                raise UnsupportedFormat(
                    "making a codec: device 'cuda' was asked for, and no CUDA device was found"
                )
            _device = DeviceBackend()
        return _device


def _forget_after_fork() -> None:
    """A forked child has neither the owner's thread nor, if the parent used it, the device."""
    global _lock, _device
    _lock, _device = threading.Lock(), None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
