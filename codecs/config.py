"""The configuration of a codec, closed and versioned: parsed, written, checked (FORMAT.md §1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from tilepress.codecs.loss import Lossless, Within, bounded
from tilepress.codecs.numbers import json_number, number_of
from tilepress.codecs.weights import (
    INLINE_LIMIT_BYTES,
    TIER_MODELS,
    Weights,
    find_model,
    inline_text,
    load_named,
)
from tilepress.errors import UnsupportedFormat

__all__ = ["CodecConfig", "lossless_config"]

_VERSION = 1
_KEYS = {"version", "codec", "tier", "max_error", "nodata", "model"}
_MODEL_KEYS = {"name", "sha256", "weights"}
_CODECS = ("wave",)
_TIERS = tuple(TIER_MODELS)
_LARGEST_ERROR = 2**31


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What a reader must know to decode, and a writer to code in the same way."""

    codec: str
    tier: str
    loss: Lossless | Within
    nodata: float | int | None
    weights: Weights

    @classmethod
    def of(
        cls, codec: str, max_error: float, nodata: float | int | None, tier: str, model: str
    ) -> CodecConfig:
        """Return the configuration of what a user chose; raises UnsupportedFormat, ModelError."""
        if codec not in _CODECS:
            raise UnsupportedFormat(f"making a codec: got codec {codec!r}, want one of {_CODECS}")
        if tier not in _TIERS:
            raise UnsupportedFormat(f"making a codec: got tier {tier!r}, want one of {_TIERS}")
        error = _number("max_error", max_error)
        if not 0 <= error < _LARGEST_ERROR:
            raise UnsupportedFormat(f"making a codec: got max_error {max_error!r}, want 0 … 2^31")
        absent = None if nodata is None else _number("nodata", nodata)
        weights = load_named(TIER_MODELS[tier] if model == "auto" else model)
        return cls(codec, tier, bounded(error), absent, weights)

    @classmethod
    def parse(cls, config: object) -> CodecConfig:
        """Return what ``to_json`` gave; raises UnsupportedFormat or ModelError."""
        if not isinstance(config, dict) or set(config) != _KEYS:
            found = sorted(config) if isinstance(config, dict) else config
            raise _refused(f"got {found}, want {sorted(_KEYS)}")
        if config["version"] != _VERSION:
            raise _refused(
                f"got version {config['version']!r}, this tilepress reads {_VERSION}; "
                "a newer one may be needed: pip install -U tilepress"
            )
        if config["codec"] not in _CODECS or config["tier"] not in _TIERS:
            raise _refused(f"got codec {config['codec']!r}, tier {config['tier']!r}")
        model, error = config["model"], config["max_error"]
        if not isinstance(model, dict) or set(model) != _MODEL_KEYS:
            raise _refused(f"got model {model!r}")
        if not _is_number(error) or not 0 <= error < _LARGEST_ERROR:
            raise _refused(f"got max_error {error!r}")
        nodata = _parse_nodata(config["nodata"])
        weights = find_model(model["name"], model["sha256"], model["weights"])
        return cls(config["codec"], config["tier"], bounded(error), nodata, weights)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it. Weights that are not bundled travel inside, if they are few."""
        inline = None
        if self.weights.origin != "bundled" and len(self.weights.data) <= INLINE_LIMIT_BYTES:
            inline = inline_text(self.weights.data)
        return {
            "version": _VERSION,
            "codec": self.codec,
            "tier": self.tier,
            "max_error": self.loss.max_error,
            "nodata": json_number(self.nodata),
            "model": {
                "name": self.weights.name,
                "sha256": self.weights.sha256,
                "weights": inline,
            },
        }


def lossless_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration as JSON, lossless and without nodata: so masks are coded."""
    return {**config, "max_error": 0, "nodata": None}


def _refused(found: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"reading a codec configuration: {found}")


def _parse_nodata(nodata: object) -> float | int | None:
    try:
        number = number_of(nodata) if isinstance(nodata, str) else nodata
    except ValueError as error:
        raise _refused(f"got nodata {nodata!r}") from error
    if number is None or _is_number(number):
        return number
    raise _refused(f"got nodata {nodata!r}")


def _is_number(value: object) -> TypeGuard[float | int]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(name: str, value: object) -> float | int:
    """Return a Python number; NumPy's are welcome, bool and text are not."""
    if isinstance(value, np.generic):
        value = value.item()
    if not _is_number(value):
        raise UnsupportedFormat(f"making a codec: got {name} {value!r}, want a number")
    return value
