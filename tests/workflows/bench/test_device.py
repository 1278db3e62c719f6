"""Speeds of ``ntc`` on a device beside the CPU: with torch on the CPU in the device's place."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tilepress.codecs.ntc.device import planes
from tilepress.workflows.bench.device import main, noise

_SMALL = ["--torch", "cpu", "--chunks", "3", "--side", "40", "--rounds", "1"]


def test_both_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_SMALL) == 0
    first, device, cpu = capsys.readouterr().out.splitlines()
    assert first.startswith("ntc, 3 chunks of 40 × 40, step 8: the same records and samples")
    assert device.split()[:2] == ["torch's", "cpu"]
    assert "MB/s" in cpu


@pytest.mark.parametrize(
    ("what", "off", "said"),
    [
        (
            "encode_planes",
            lambda one: replace(one, low_table=one.low_table ^ 1),
            "it writes other bytes",
        ),
        (
            "decode_planes",
            lambda one: one._replace(plane=one.plane + 9),
            "does not match its crc32c",
        ),
    ],
)
def test_a_device_that_codes_otherwise_fails(
    what: str, off: Any, said: str, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    run = getattr(planes, what)
    broken = lambda *given: [off(one) for one in run(*given)]  # noqa: E731
    monkeypatch.setattr(planes, what, broken)
    assert main(_SMALL) == 1
    assert said in capsys.readouterr().err


def test_planes_are_noise_of_16_bits() -> None:
    first, second = noise(2, 32)
    assert first.shape == (1, 32, 32)
    assert (first != second).mean() > 0.9
