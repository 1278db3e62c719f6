"""What stands for the identifiers of studies and series: keyed hashes, so that none can be guessed.

A plain hash of a UID tells nobody the UID, but whoever has a list of UIDs could look up which of
them an archive holds. So the hash is keyed (HMAC, RFC 2104) with a random key that never leaves the
archive's private folder.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tilepress.pipeline.image.source import SourceSpec

__all__ = [
    "IDENTITY",
    "KEY_MARK",
    "NO_KEY",
    "UNKEYED",
    "UNNAMED",
    "Pseudonyms",
    "PseudonymsOf",
    "as_stored",
    "told",
]

IDENTITY = "identity"
"""Option of a recipe that holds what stands for its study and series. Where there is no such
option they have unkeyed hashes."""

KEY_MARK = "identifier_key"
"""Attribute of a store that tells which key its hashes were made with."""

NO_KEY = "none"
"""What stands there in a store that tells neither study nor series."""

DIGITS = 12


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """Gives what stands for an identifier, of which a plain hash is known."""

    key: bytes | None = field(default=None, repr=False)
    """None: the plain hash itself, as archives had it before there were keys."""
    tells: bool = True
    """Whether a store says to what study and series it belongs."""

    def of(self, plain: str) -> str:
        """Return 12 hex digits for a plain hash."""
        return plain[:DIGITS] if self.key is None else self._keyed(plain)[:DIGITS]

    @property
    def mark(self) -> str | None:
        """What tells this key from others and nothing about it; None without a key."""
        return None if self.key is None else self._keyed("which key is this?")[:8]

    def options(self, study: str | None, series: str | None) -> dict[str, Any]:
        """Return the options of a recipe whose plain hashes these are; "" and None are unknown."""
        if not self.tells:
            return {IDENTITY: {KEY_MARK: NO_KEY}}
        if self.key is None:
            return {}
        named = (("study", study), ("series", series))
        found = {name: self.of(plain) for name, plain in named if plain}
        return {IDENTITY: {**found, KEY_MARK: self.mark}}

    def _keyed(self, text: str) -> str:
        assert self.key is not None, "asked where there is a key"
        return hmac.new(self.key, text.encode(), hashlib.sha256).hexdigest()


UNKEYED = Pseudonyms()
UNNAMED = Pseudonyms(secrets.token_bytes(32), tells=False)
"""Of a destination that is one store: it is called what the user says, and belongs to nothing."""

PseudonymsOf = Callable[[], Pseudonyms]
"""Asked once there is something to stand for: a key is made for an archive that needs one."""


def as_stored(spec: SourceSpec, attributes: Mapping[str, Any] | None) -> SourceSpec:
    """Return a recipe that gives the identifiers that a store has in its attributes.

    What a store was made of is the same whatever its archive's key has become. None: nothing of
    the store tells them, and what the recipe says is the best guess.
    """
    if attributes is None:
        return spec
    found = {k: attributes[k] for k in ("study", "series", KEY_MARK) if k in attributes}
    return replace(spec, options={**spec.options, IDENTITY: found})


def told(attributes: dict[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return attributes in which study and series are what the options of a recipe say."""
    identity = options.get(IDENTITY)
    if identity is None:
        return attributes
    found: dict[str, Any] = {}
    for name, value in attributes.items():  # in their order: documents come out the same
        if name not in ("study", "series"):
            found[name] = value
        elif name in identity:
            found[name] = identity[name]
    if identity.get(KEY_MARK):
        found[KEY_MARK] = identity[KEY_MARK]
    return found
