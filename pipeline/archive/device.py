"""Where this process codes: on the CPU unless it was set up otherwise."""

from __future__ import annotations

from typing import Literal

__all__ = ["Device", "WantedDevice", "code_on", "device"]

Device = Literal["cpu", "cuda"]
WantedDevice = Literal["auto", "cpu", "cuda"]

_device: Device = "cpu"


def device() -> Device:
    """Return where this process codes."""
    return _device


def code_on(where: Device) -> None:
    """Let this process code there from now on."""
    global _device
    _device = where
