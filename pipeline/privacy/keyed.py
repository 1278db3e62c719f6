"""Replace what identifies by what only the holder of the archive's key could have made of it.

    UID       2.25.<39 digits>, those of a UUID (PS3.5 B.2): 44 characters, whatever it stands for
    patient   TP-<12 hexadecimal digits>, in place of ID and name
    days      1 to 10 years, by which all dates of a patient are moved back
    name      image-<12 hexadecimal digits>, of a store that was called as its file

The same comes out for the same, in the whole archive and for ever, so that references hold; another
archive has another key, and nothing that matches.
"""

from __future__ import annotations

import hashlib
import hmac
import uuid
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import count

__all__ = ["DAYS", "PATIENT", "UID", "Keyed", "Replacements"]

UID, PATIENT, DAYS = "uid", "patient", "days"
"""What may be replaced. Dates of a patient ask for ``DAYS``."""

Replacements = dict[tuple[str, str], str]
"""(what it is, as it stands in the file) → what takes its place."""

MIN_DAYS, MAX_DAYS = 366, 3652

_SMALLEST = 10**38
"""So that every UID has 39 digits after "2.25."."""


@dataclass(frozen=True, slots=True)
class Keyed:
    """Makes replacements with the key of an archive."""

    key: bytes = field(repr=False)

    def replacements(self, wanted: Iterable[tuple[str, str]]) -> Replacements:
        """Return what takes the place of everything that is wanted."""
        return {(what, text): self._of(what, text) for what, text in wanted}

    def name(self, path: str) -> str:
        """Return the name of a store without what its file was called."""
        return f"image-{self._digest('name', path).hex()[:12]}"

    def _of(self, what: str, text: str) -> str:
        if what == UID:
            return self._uid(text)
        digest = self._digest(what, text)
        if what == PATIENT:
            return f"TP-{digest.hex()[:12]}"
        if what == DAYS:
            number = int.from_bytes(digest[:8], "big")
            return str(MIN_DAYS + number % (MAX_DAYS - MIN_DAYS + 1))
        raise ValueError(what)

    def _uid(self, text: str) -> str:
        for number in count():
            found = uuid.UUID(bytes=self._digest(f"{UID} {number}", text)[:16], version=4).int
            if found >= _SMALLEST:
                return f"2.25.{found}"
        raise AssertionError("every second digest is large enough")

    def _digest(self, what: str, text: str) -> bytes:
        message = f"de-identify|{what}|{text}".encode("utf-8", "surrogateescape")
        return hmac.new(self.key, message, hashlib.sha256).digest()
