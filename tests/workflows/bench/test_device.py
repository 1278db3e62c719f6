"""Speeds of ``ntc`` on a device beside the CPU: with torch on the CPU in the device's place."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tilepress.codecs.ntc.device import planes
from tilepress.workflows.bench.device import main, noise

from ...codecs.ntc.pictures import dependent

_SMALL = ["--torch", "cpu", "--chunks", "3", "--side", "40", "--rounds", "1"]


def test_both_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(_SMALL) == 0
    first, device, cpu = capsys.readouterr().out.splitlines()
    assert first.startswith("ntc, 3 chunks of 40 × 40, step 8, weights ntc-")
    assert ": the same records and samples" in first
    assert device.split()[:2] == ["torch's", "cpu"]
    assert "MB/s" in cpu


def test_dependent_values(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = tmp_path / "dependent.safetensors"
    weights.write_bytes(dependent().to_bytes())
    assert main([*_SMALL, "--weights", str(weights)]) == 0
    assert "weights dependent: the same records" in capsys.readouterr().out


def test_weights_that_there_are_none_of(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*_SMALL, "--weights", "ntc-0"]) == 1
    assert "ntc-0" in capsys.readouterr().err


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
