"""Reading bodies: what FORMAT.md §4 forbids is refused."""

from __future__ import annotations

import pytest

from tilepress.codecs.wave import choices
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

from .planes import MODEL, field


class TestFlagsThatContradict:
    @pytest.mark.parametrize("flags", [12, 24, 40, 72, 48, 80, 96, 130])
    def test_are_refused(self, flags: int) -> None:
        body = bytes([flags]) + b"\0" * 40
        with pytest.raises(InvalidRecord, match="contradict"):
            decode_body(Reader(memoryview(body)), (4, 4), [], MODEL)


class TestGain:
    def test_beyond_the_last_is_refused(self, monkeypatch) -> None:
        samples = field(13, (12, 13), 90, 2)  # too small for weights of its own
        monkeypatch.setattr(choices, "choose_gain", lambda *sums: 32)
        body, _ = encode_body(samples, None, [], Coder(MODEL))
        with pytest.raises(InvalidRecord, match="gain 32"):
            decode_body(Reader(memoryview(body)), samples.shape, [], MODEL)
