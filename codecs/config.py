"""The configuration of a codec, closed and versioned: parsed, written, checked (FORMAT.md §1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, TypeGuard

import numpy as np

from tilepress.codecs.loss import WANTED, Loss, Lossless, Lossy, bounded, lossy, parse_target
from tilepress.codecs.numbers import json_number, number_of, shown
from tilepress.codecs.registry import (
    CODECS,
    DEFAULT_CODEC,
    LOSSY_CODEC,
    canonical,
    codec_of_weights,
    coder_class,
)
from tilepress.codecs.weights import (
    NO_WEIGHTS,
    Weights,
    find_model,
    inline_text,
    keep,
    load_named,
)
from tilepress.errors import ModelError, UnsupportedFormat

__all__ = [
    "CodecConfig",
    "loss_of",
    "lossless_codec",
    "lossless_config",
    "scoped",
    "without_target",
]

_VERSION, _LOSSY_VERSION, _BOUNDED_VERSION, _SCOPED_VERSION = 1, 2, 3, 4
_KEYS = {"version", "codec", "tier", "max_error", "nodata", "model"}
_LOSSY_KEYS = _KEYS | {"target"}
_MODEL_KEYS = {"name", "sha256", "weights"}
_LARGEST_ERROR = 2**31


@dataclass(frozen=True, slots=True)
class CodecConfig:
    """What a reader must know to decode, and a writer to code in the same way."""

    codec: str
    tier: str
    loss: Loss
    nodata: float | int | None
    weights: Weights

    @classmethod
    def of(
        cls,
        codec: str,
        max_error: float,
        nodata: float | int | None,
        tier: str,
        model: str,
        targets: Mapping[str, float | None] | None = None,
        peak: float | None = None,
    ) -> CodecConfig:
        """Return the configuration of what a user chose; raises UnsupportedFormat, ModelError.

        targets : by name (loss.py); at most one has a value. A ``max_error`` beside it is a bound
            that it is held within, by codecs that can.
        """
        if (spelt := canonical(codec)) is None:
            raise _unwanted(f"got codec {shown(codec)}, want one of {', '.join(CODECS)}")
        codec = spelt
        models = coder_class(codec).models
        if not isinstance(tier, str) or tier not in models:
            raise _unwanted(f"got tier {shown(tier)}, want one of {', '.join(models)}")
        error = _number("max_error", max_error)
        if not 0 <= error < _LARGEST_ERROR:
            raise _unwanted(f"got max_error {shown(max_error)}, want 0 … 2^31")
        loss = _wanted_loss(error, targets or {}, peak)
        if refusal := _refusal(codec, loss):
            raise _unwanted(refusal)
        absent = None if nodata is None else _number("nodata", nodata)
        if not isinstance(model, str):
            raise _unwanted(f"got model {shown(model)}, want a name, a path or 'auto'")
        name = models[tier] if model == "auto" else model
        weights = NO_WEIGHTS if name is None else load_named(name)
        if model != "auto":
            _check_kind(codec, weights, model)
        if weights.origin == "inline" and weights.data and not weights.travels:
            keep(weights)  # too many for a configuration: readers look for them there
        return cls(codec, tier, loss, absent, weights)

    @classmethod
    def parse(cls, config: object) -> CodecConfig:
        """Return what ``to_json`` gave; raises UnsupportedFormat or ModelError."""
        if not isinstance(config, dict) or set(config) not in (_KEYS, _LOSSY_KEYS):
            found = sorted(config, key=str) if isinstance(config, dict) else config
            raise _refused(f"got {shown(found)}, want {sorted(_KEYS)}")
        version = config["version"]
        lossy_ones = (_LOSSY_VERSION, _BOUNDED_VERSION, _SCOPED_VERSION)
        known = lossy_ones if "target" in config else (_VERSION,)
        if type(version) is not int or version not in known:
            raise _refused(
                f"got version {shown(version)}, this tilepress reads {_VERSION}, "
                f"and {_LOSSY_VERSION} to {_SCOPED_VERSION} with a target; "
                "a newer one may be needed: pip install -U tilepress"
            )
        codec, tier = config["codec"], config["tier"]
        named = isinstance(tier, str) and canonical(codec) == codec is not None
        if not named or tier not in coder_class(codec).models:
            raise _refused(f"got codec {shown(codec)}, tier {shown(tier)}")
        model, error = config["model"], config["max_error"]
        if not isinstance(model, dict) or set(model) != _MODEL_KEYS:
            raise _refused(f"got model {shown(model)}, want one with {sorted(_MODEL_KEYS)}")
        loss: Loss
        if version != _VERSION:
            loss = _parse_lossy(version, config["target"], error)
        elif not _is_number(error) or not 0 <= error < _LARGEST_ERROR:
            raise _refused(f"got max_error {shown(error)}, want 0 … 2^31")
        else:
            loss = bounded(error)
        if refusal := _refusal(codec, loss):
            raise _refused(refusal)
        nodata = _parse_nodata(config["nodata"])
        for key, kinds in (("name", str), ("sha256", str), ("weights", str | None)):
            if not isinstance(model[key], kinds):
                raise _refused(f"got {key} {shown(model[key])} of a model, want text")
        weights = find_model(model["name"], model["sha256"], model["weights"])
        return cls(codec, tier, loss, nodata, weights)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it. Weights that are not bundled travel inside, if they are few."""
        inline = None
        if self.weights.travels:
            inline = inline_text(self.weights.data)
        target = {"target": self.loss.target_json()} if isinstance(self.loss, Lossy) else {}
        return {
            "version": _version_of(self.loss),
            "codec": self.codec,
            "tier": self.tier,
            "max_error": self.loss.max_error,
            "nodata": json_number(self.nodata),
            "model": {
                "name": self.weights.name,
                "sha256": self.weights.sha256,
                "weights": inline,
            },
            **target,
        }


def lossless_codec(codec: str) -> str:
    """Return ``codec`` if it can be lossless, else the default one."""
    return codec if _refusal(codec, Lossless()) is None else DEFAULT_CODEC


def lossless_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the configuration, as JSON, that codes losslessly and has no nodata: that of a mask.

    Of the same codec where that can be lossless, else of the default one.
    """
    if lossless_codec(config["codec"]) == config["codec"]:
        return {**without_target(config), "max_error": 0, "nodata": None}
    return CodecConfig.of(DEFAULT_CODEC, 0, None, "standard", "auto").to_json()


def loss_of(config: Mapping[str, Any]) -> Loss:
    """Return the loss of a configuration, as JSON, that was parsed before."""
    target, bound = parse_target(config.get("target")), config["max_error"]
    if target is None:
        return bounded(bound)
    return target if bound is None else replace(target, within=bound)


def scoped(
    config: Mapping[str, Any], *, per_tile: bool = False, visible: bool = False
) -> dict[str, Any]:
    """Return a configuration, as JSON, whose target says of what it holds: of each chunk, and over
    samples that nothing hides. One without a target, or without either, stays as it is.
    """
    loss = loss_of(config)
    if not isinstance(loss, Lossy):
        return dict(config)
    loss = replace(loss, per_tile=per_tile, visible=visible)
    return {**config, "version": _version_of(loss), "target": loss.target_json()}


def without_target(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return a configuration, as JSON, without its target; what bound it has is to be set."""
    return {**{k: v for k, v in config.items() if k != "target"}, "version": _VERSION}


def _check_kind(codec: str, weights: Weights, model: str) -> None:
    """Raise ModelError for weights that the codec has not; it names the codec whose they are."""
    try:
        coder_class(codec).check_weights(weights.data)
    except ModelError as error:
        other = codec_of_weights(weights.data)
        if other is None:  # of none: the file is damaged, which the error tells
            raise
        raise ModelError(
            f"loading a model: {shown(model)} is of codec {other!r}, not of {codec!r}; choose "
            f"another, or none for that of the codec"
        ) from error


def _version_of(loss: Loss) -> int:
    if not isinstance(loss, Lossy):
        return _VERSION
    if loss.is_scoped:
        return _SCOPED_VERSION
    return _LOSSY_VERSION if loss.within is None else _BOUNDED_VERSION


def _parse_lossy(version: int, target: object, error: object) -> Lossy:
    """Return the loss of a configuration's target and bound, which its version is that of."""
    found = parse_target(target)
    if found is not None and error is not None:
        if _is_number(error) and 0 < error < _LARGEST_ERROR:
            found = replace(found, within=error)
        else:
            found = None
    if found is None or _version_of(found) != version:
        raise _refused(f"got max_error {shown(error)}, target {shown(target)}")
    return found


def _wanted_loss(max_error: float, targets: Mapping[str, float | None], peak: float | None) -> Loss:
    given = {name: value for name, value in targets.items() if value is not None}
    if not given:
        return bounded(max_error)
    if len(given) > 1:
        raise _unwanted(f"got {' and '.join(sorted(given))}, want one of them")
    ((name, value),) = given.items()
    found = lossy(name, _number(name, value), None if peak is None else _number("peak", peak))
    if found is None:
        raise _unwanted(f"got {name} {shown(value)}, want {WANTED[name]}")
    return replace(found, within=max_error) if max_error else found


def _refusal(codec: str, loss: Loss) -> str | None:
    """Tell why a codec may not be asked for a loss; None where it may."""
    losses = coder_class(codec).losses
    if isinstance(loss, Lossy) and loss.within is not None and type(loss) in losses:
        if coder_class(codec).bounds_lossy:
            return None
        bounding = [name for name in CODECS if coder_class(name).bounds_lossy]
        return (
            f"codec {codec!r} has no max_error beside {loss.target}; leave one of them out, or "
            f"choose {' or '.join(bounding)}"
        )
    if type(loss) in losses:
        return None
    others = [name for name in CODECS if type(loss) in coder_class(name).losses]
    others.sort(key=lambda name: name != LOSSY_CODEC)
    choose = f"choose {' or '.join(others)}"
    if isinstance(loss, Lossy) and any(issubclass(one, Lossy) for one in losses):
        known = sorted(one.target for one in losses if issubclass(one, Lossy))
        return f"codec {codec!r} takes no {loss.target}, but {' or '.join(known)}; {choose}"
    kinds = " or ".join(sorted({one.kind for one in losses}))
    if not isinstance(loss, Lossy) and all(issubclass(one, Lossy) for one in losses):
        targets = " or ".join(sorted(one.target for one in losses if issubclass(one, Lossy)))
        choose = f"say how much may be lost ({targets}), or {choose}"
    return f"codec {codec!r} is never {loss.kind}, it is {kinds}; {choose}"


def _unwanted(found: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"making a codec: {found}")


def _refused(found: str) -> UnsupportedFormat:
    return UnsupportedFormat(f"reading a codec configuration: {found}")


def _parse_nodata(nodata: object) -> float | int | None:
    try:
        number = number_of(nodata) if isinstance(nodata, str) else nodata
    except ValueError as error:
        raise _refused(f"got nodata {shown(nodata)}") from error
    if number is None or _is_number(number):
        return number
    raise _refused(f"got nodata {shown(nodata)}")


def _is_number(value: object) -> TypeGuard[float | int]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(name: str, value: object) -> float | int:
    """Return a Python number; NumPy's are welcome, bool and text are not."""
    if isinstance(value, np.generic):
        value = value.item()
    if not _is_number(value):
        raise _unwanted(f"got {name} {shown(value)}, want a number")
    return value
