"""The backend ``device="cuda"`` of ``ntc``: planes that threads ask for together run together.

    chunk threads ─► transform, encode, decode, networks ─► owner ─► batches of one kind and size

Nothing of torch or CUDA is imported before there is a plane for it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterable, Sequence
from importlib import util
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from tilepress.codecs.ntc.backend import AnyMaps
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import FAULTS, CodedPlane, Stream
from tilepress.codecs.owner import DEVICE_BYTES, OfProcess, Owner, batches
from tilepress.errors import InvalidRecord, UnsupportedFormat

if TYPE_CHECKING:
    import torch

    from tilepress.codecs.ntc.device.planes import DeviceModel

__all__ = ["DEVICE_BYTES", "DeviceBackend", "open_device", "why_no_device"]

Floats = npt.NDArray[np.float32]
Item = TypeVar("Item")
Request = TypeVar("Request")
Result = TypeVar("Result")

_SAMPLE_BYTES = 64
"""Of a batch's, a sample's coefficients, values, tables, maps, and copies on the way."""
_MODELS = 4
"""That stay on the device."""


class _ToTransform(NamedTuple):
    kind: int
    planes: Floats


class _ToEncode(NamedTuple):
    kind: int
    plane: Floats
    previous: Any
    model: NtcModel
    price: float


class _ToDecode(NamedTuple):
    kind: int
    sides: tuple[int, int]
    previous: Any
    model: NtcModel
    stream: Stream


class DeviceBackend:
    """See ``Backend``. Only the owner's thread touches the device.

    Parameters
    ----------
    device : torch's name of it. Any that torch has will do; on the CPU it is for tests, for native
        code is faster there.
    """

    def __init__(self, device: str = "cuda") -> None:
        self.name = device
        self._owner = Owner("coding a plane of ntc on the device")
        self._models: dict[int, tuple[NtcModel, DeviceModel]] = {}

    def transform(self, kind: int, planes: Floats) -> None:
        planes[:] = self._owner.ask(self._transform, _ToTransform(kind, planes))

    def encode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, price: float
    ) -> CodedPlane:
        request = _ToEncode(kind, plane, previous, model, price)
        plane[:], coded = self._owner.ask(self._encode, request)
        return coded

    def decode(
        self, kind: int, plane: Floats, previous: AnyMaps, model: NtcModel, stream: Stream
    ) -> AnyMaps:
        sides = plane.shape[0], plane.shape[1]
        request = _ToDecode(kind, sides, previous, model, stream)
        made, maps, fault = self._owner.ask(self._decode, request)
        if fault:
            raise InvalidRecord(f"decoding a plane of ntc: {FAULTS[fault]}")
        plane[:] = made
        return maps

    def blank(self, kind: int, sides: tuple[int, int]) -> AnyMaps:
        from tilepress.codecs.ntc.device.features import Maps
        from tilepress.codecs.ntc.device.places import layout

        return self._owner.ask(
            lambda places: [Maps.blank(one, 1, self._device()) for one in places],
            layout(kind, *sides),
        )

    def ask(self, run: Callable[[list[Request]], Sequence[Result]], request: Request) -> Result:
        """Have something else run on the device, as ``Owner.ask``: networks of decoders."""
        return self._owner.ask(run, request)

    def map(self, function: Callable[[Item], Result], items: Iterable[Item]) -> list[Result]:
        """Run ``function`` on every chunk, as many at a time as the device may gather."""
        return self._owner.map(function, items)

    def _device(self) -> torch.device:
        import torch

        return torch.device(self.name)

    def _model(self, model: NtcModel) -> DeviceModel:
        from tilepress.codecs.ntc.device.planes import DeviceModel

        found = self._models.get(id(model))  # held, so that nothing else has its number
        if found is None:
            while len(self._models) >= _MODELS:
                del self._models[next(iter(self._models))]
            found = self._models[id(model)] = model, DeviceModel(model, self._device())
        return found[1]

    def _transform(self, requests: list[_ToTransform]) -> list[Floats]:
        import torch

        from tilepress.codecs.ntc.device.transform import forward

        answers: list[Any] = [None] * len(requests)

        def alike(r: _ToTransform) -> Hashable:
            return r.kind, r.planes.shape[1:]

        for some in batches(requests, alike, lambda r: _SAMPLE_BYTES * r.planes.size, DEVICE_BYTES):
            given = np.concatenate([requests[k].planes for k in some])
            with torch.inference_mode():
                planes = torch.from_numpy(given).to(self._device())
                forward(requests[some[0]].kind, planes)
                made = planes.cpu().numpy()
            first = 0
            for k in some:
                count = len(requests[k].planes)
                answers[k] = made[first : first + count]
                first += count
        return answers

    def _encode(self, requests: list[_ToEncode]) -> list[tuple[Floats, CodedPlane]]:
        import torch

        from tilepress.codecs.ntc.device.features import Maps
        from tilepress.codecs.ntc.device.planes import encode_planes

        def alike(r: _ToEncode) -> Hashable:
            return r.kind, r.plane.shape, r.previous is None, id(r.model), r.price

        answers: list[Any] = [None] * len(requests)
        for some in batches(requests, alike, lambda r: _SAMPLE_BYTES * r.plane.size, DEVICE_BYTES):
            chosen = [requests[k] for k in some]
            kind, _, previous, model, price = chosen[0]
            with torch.inference_mode():
                planes = torch.from_numpy(np.stack([r.plane for r in chosen])).to(self._device())
                before = None if previous is None else Maps.together([r.previous for r in chosen])
                coded = encode_planes(kind, planes, before, self._model(model), price)
                made = planes.cpu().numpy()
            for k, plane, one in zip(some, made, coded, strict=True):
                answers[k] = plane, one
        return answers

    def _decode(self, requests: list[_ToDecode]) -> list[tuple[Floats, Any, int]]:
        import torch

        from tilepress.codecs.ntc.device.features import Maps
        from tilepress.codecs.ntc.device.planes import decode_planes

        def alike(r: _ToDecode) -> Hashable:
            return r.kind, r.sides, r.previous is None, id(r.model)

        def need(r: _ToDecode) -> int:
            return _SAMPLE_BYTES * math.prod(r.sides)

        answers: list[Any] = [None] * len(requests)
        for some in batches(requests, alike, need, DEVICE_BYTES):
            chosen = [requests[k] for k in some]
            kind, sides, previous, model, _ = chosen[0]
            with torch.inference_mode():
                before = None if previous is None else Maps.together([r.previous for r in chosen])
                streams = [r.stream for r in chosen]
                found = decode_planes(kind, sides, streams, before, self._model(model))
                made = torch.stack([one.plane for one in found]).cpu().numpy()
            for k, plane, one in zip(some, made, found, strict=True):
                answers[k] = plane, one.maps, one.fault
        return answers


def why_no_device() -> str | None:
    """Return why nothing of ``ntc`` can run on a GPU here; None where it can, or is simulated."""
    if util.find_spec("torch") is None:
        return "torch is not installed; pip install 'tilepress[torch]'"
    if util.find_spec("numba") is None:
        return "numba is not installed; pip install 'tilepress[cuda]'"
    import torch

    if _is_simulated():
        return None
    if not torch.cuda.is_available():
        return "torch finds no CUDA device"
    from numba import cuda

    found: Any = cuda.is_available
    return None if found() else "numba finds no CUDA device"


def _is_simulated() -> bool:
    """Whether numba's simulator takes the device's place; torch's is the CPU then."""
    from numba import config

    settings: Any = config
    return bool(settings.ENABLE_CUDASIM)


def _opened() -> DeviceBackend:
    reason = why_no_device()
    if reason is not None:
        raise UnsupportedFormat(f"making a codec: device 'cuda' was asked for, and {reason}")
    return DeviceBackend("cpu" if _is_simulated() else "cuda")


OPEN = OfProcess(_opened)


def open_device() -> DeviceBackend:
    """Return the process's device; raises UnsupportedFormat where there is none."""
    return OPEN.get()
