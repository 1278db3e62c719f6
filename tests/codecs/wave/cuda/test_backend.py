"""What a device cannot do is the CPU's, in the same calls."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave.backend import DecodedStream, PlaneToDecode, PlaneToEncode
from tilepress.codecs.wave.cpu import CPU
from tilepress.codecs.wave.cuda.backend import DeviceBackend
from tilepress.codecs.wave.following import Following
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.wire import Reader

from ...test_determinism import textures
from ..planes import MODEL


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> DeviceBackend:
    """Return a backend whose device is asked for nothing."""
    backend = DeviceBackend()
    monkeypatch.setattr(backend._owner, "ask", lambda *_: pytest.fail("the device was asked"))
    return backend


def test_planes_whose_weights_follow_them(
    device: DeviceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[PlaneToEncode | PlaneToDecode] = []
    decode = CPU.decode_stream

    def decode_stream(plane: PlaneToDecode) -> DecodedStream:
        asked.append(plane)
        return decode(plane)

    monkeypatch.setattr(CPU, "decode_stream", decode_stream)
    plane = textures(0, (80, 90))
    coder = Coder(MODEL, backend=device, following=Following(-9.0))
    body, _ = encode_body(plane, None, [], coder)
    back, _ = decode_body(Reader(memoryview(body)), plane.shape, [], MODEL, device)
    assert np.array_equal(back, plane)
    assert asked[0].linear.memory > 0


def test_planes_whose_weights_do_not(device: DeviceBackend) -> None:
    """Without this, nothing above would show that the device is asked for others."""
    with pytest.raises(pytest.fail.Exception, match="the device was asked"):
        encode_body(textures(0, (80, 90)), None, [], Coder(MODEL, backend=device, following=None))
