"""Profiles as YAML files that a person writes: read, checked key by key, and one to start from."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, get_args

import pydantic
from pydantic import BaseModel

from tilepress.errors import UsageError
from tilepress.workflows.cluster.profiles import (
    ADDRESS_EXAMPLE,
    SPECIAL_KEYS,
    USUAL_KEYS,
    AddressProfile,
    BatchProfile,
    Profile,
)
from tilepress.workflows.cluster.systems import SYSTEMS, batch_system

__all__ = ["example_profile", "known_kinds", "load_profile", "parse_profile"]


def known_kinds() -> tuple[str, ...]:
    """Return what ``kind`` may say."""
    return (*SYSTEMS, "address")


def example_profile(kind: str, *, gpu: bool = False) -> str:
    """Return the text of a profile to start from. ``examples/cluster`` has the same texts."""
    if kind == "address":
        return ADDRESS_EXAMPLE
    return batch_system(kind).example_profile(gpu=gpu)


def load_profile(path: str | Path) -> Profile:
    """Read and check a profile.

    UsageError has a line for every mistake, with file, key, what was found and what is wanted.
    """
    import yaml

    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise UsageError(f"reading profile {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"reading profile {path}: it is not text") from error
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark is not None else ""
        raise UsageError(f"reading profile {path}{line}: it is not YAML") from error
    return parse_profile(content, str(path))


def parse_profile(content: object, name: str) -> Profile:
    """Check what a profile holds."""
    if not isinstance(content, Mapping):
        raise UsageError(f"reading profile {name}: got no keys, want kind: slurm and so on")
    kind, kinds = content.get("kind"), known_kinds()
    if kind not in kinds:
        meant = _meant(str(kind), kinds)
        told = f"got {kind!r}, want one of" if "kind" in content else "it is missing; want one of"
        raise UsageError(f"reading profile {name}: kind: {told} {', '.join(kinds)}{meant}")
    model: type[Profile] = AddressProfile if kind == "address" else BatchProfile
    try:
        profile = model.model_validate(dict(content))
    except pydantic.ValidationError as error:
        lines = [f"reading profile {name}: {text}" for text in _mistakes(error, model)]
        raise UsageError("\n".join(lines)) from error
    if isinstance(profile, BatchProfile):
        text = _misfit(profile)
        if text is not None:
            raise UsageError(f"reading profile {name}: {text}")
    return profile


def _misfit(profile: BatchProfile) -> str | None:
    """Return which key its batch system does not take, or lacks; None: all fit."""
    system = batch_system(profile.kind)
    mistake = system.mistake(profile)
    if mistake is not None:
        return mistake
    for key in SPECIAL_KEYS:
        if getattr(profile, key) and key not in system.keys:
            return f"{key} is for {_who_takes(key)}"
    for key, example in system.needs.items():
        if not getattr(profile, key):
            return f"{system.name} needs {key}, e.g. {key}: {example}"
    for key in USUAL_KEYS:
        if getattr(profile, key) and key not in system.keys:
            return f"{system.name} takes no {key}"
    return None


def _who_takes(key: str) -> str:
    """Return the names of the batch systems that take a key."""
    *others, last = (name for name in SYSTEMS if key in batch_system(name).keys)
    return f"{', '.join(others)} and {last}" if others else f"{last} only"


_WANTED = {
    "bool_": "true or false",
    "dict_": "keys and values",
    "float_": "a number",
    "int_": "a whole number",
    "greater_than_equal": "{ge} or more",
    "less_than_equal": "{le} or less",
    "model_": "keys and values",
    "string_": "text; put it in quotes",
    "tuple_": "a list: [one, two]",
}
"""What is wanted in place of a value, by how pydantic's type of the error begins."""

_WANTED_OF_KEY = {
    "address": "tcp://HOST:PORT, tls://HOST:PORT or gateway://HOST:PORT",
    "memory": "256MB or more",
    "memory_per_gpu": "256MB or more",
    "disk": "256MB or more",
    "walltime": 'hours:minutes:seconds in quotes, e.g. "04:00:00"',
}
"""What is wanted of keys whose values are more than numbers and text."""


def _mistakes(error: pydantic.ValidationError, model: type[BaseModel]) -> list[str]:
    """Return what is wrong: unknown keys first, for a typo makes the right key missing."""
    found = error.errors(include_url=False)
    order = ("extra_forbidden", "missing")
    found.sort(key=lambda one: order.index(one["type"]) if one["type"] in order else len(order))
    return [_mistake(dict(one), model) for one in found]


def _mistake(found: dict[str, Any], model: type[BaseModel]) -> str:
    """Return one line about one mistake."""
    key = ".".join(map(str, found["loc"]))
    if found["type"] == "extra_forbidden":
        *above, name = map(str, found["loc"])
        known = _model_at(model, above).model_fields
        meant = _meant(name, known)
        return f"unknown key {key!r}{meant or '; known are ' + ', '.join(known)}"
    if found["type"] == "missing":
        return f"{key}: it is missing"
    wanted = _wanted(found)
    if wanted is None:
        wanted = found["msg"].removeprefix("Value error, ").removeprefix("want ")
        if not key:
            return str(wanted)
    return f"{key}: got {found['input']!r}, want {wanted}"


def _wanted(found: dict[str, Any]) -> str | None:
    """Return what is wanted instead; None: a check of our own says so."""
    if found["type"] == "value_error":
        return None
    of_key = _WANTED_OF_KEY.get(str(found["loc"][-1]))
    if of_key is not None:
        return of_key
    for kind, text in _WANTED.items():
        if str(found["type"]).startswith(kind):
            return text.format(**found.get("ctx", {}))
    return None


def _model_at(model: type[BaseModel], keys: list[str]) -> type[BaseModel]:
    """Return what describes the value of nested keys."""
    for key in keys:
        annotation = model.model_fields[key].annotation
        (model,) = (
            one
            for one in (annotation, *get_args(annotation))
            if isinstance(one, type) and issubclass(one, BaseModel)
        )
    return model


def _meant(word: str, known: Iterable[str]) -> str:
    """Return a question where a word is like a known one, else nothing."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
