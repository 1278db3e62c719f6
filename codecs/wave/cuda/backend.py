"""The backend ``device="cuda"``: planes that threads ask for at the same time run side by side.

Nothing of CUDA is imported before there is a plane for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple, TypeVar

from tilepress.codecs.owner import OfProcess, Owner
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
from tilepress.codecs.wave.cuda.batches import Decisions, fits
from tilepress.codecs.wave.symbols import flag_probabilities
from tilepress.errors import UnsupportedFormat

__all__ = ["DeviceBackend", "cuda_available", "open_device"]

Item = TypeVar("Item")
Result = TypeVar("Result")


class _ToEncode(NamedTuple):
    plane: PlaneToEncode
    choose: Choose


class DeviceBackend:
    """See ``Backend``. Only the owner's thread touches the device.

    Planes that it cannot hold, and those whose weights follow them, are the CPU's.

    A process needs one of these (``open_device``).
    """

    def __init__(self) -> None:
        self._owner = Owner("coding a plane on the device")

    def encode_stream(self, plane: PlaneToEncode, choose: Choose) -> PlaneStream:
        if plane.linear.memory or not fits(plane.height, plane.width):
            return CPU.encode_stream(plane, choose)
        return self._owner.ask(_encode, _ToEncode(plane, choose))

    def decode_stream(self, plane: PlaneToDecode) -> DecodedStream:
        if plane.linear.memory or not fits(plane.height, plane.width):
            return CPU.decode_stream(plane)
        return self._owner.ask(_decode, plane)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Run ``function`` on every chunk, as many at a time as the device may gather."""
        return self._owner.map(function, items)


def _decode(planes: list[PlaneToDecode]) -> list[DecodedStream]:
    from tilepress.codecs.wave.cuda import launch

    return launch.decode_planes(planes)


def _encode(requests: list[_ToEncode]) -> list[PlaneStream]:
    from tilepress.codecs.wave.cuda import launch

    made: dict[int, Choices] = {}

    def decide(number: int, found: Prediction) -> Decisions:
        coding = requests[number].choose(found)
        made[number] = choices = coding.choices
        flags = flag_probabilities(choices.match_levels)
        if choices.tree is None:
            return Decisions(choices.gain, flags, choices.table_map)
        return Decisions(
            choices.gain,
            flags,
            choices.table_map,
            tree=choices.tree.arrays(),
            leaves=coding.matches,
        )

    coded = launch.encode_planes([r.plane for r in requests], decide)
    return [
        PlaneStream(made[i], plane.states, plane.words, plane.raw, plane.errors)
        for i, plane in enumerate(coded)
    ]


def cuda_available() -> bool:
    """Whether numba finds a device, or its simulator is switched on."""
    try:
        from numba import cuda
    except ImportError:
        return False
    found: Any = cuda.is_available
    return bool(found())


def _opened() -> DeviceBackend:
    if not cuda_available():
        raise UnsupportedFormat(
            "making a codec: device 'cuda' was asked for, and no CUDA device was found"
        )
    return DeviceBackend()


OPEN = OfProcess(_opened)


def open_device() -> DeviceBackend:
    """Return the process's device; raises UnsupportedFormat where there is none."""
    return OPEN.get()
