"""The profile of DICOM PS3.15 Annex E and its options, as users and as files name them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tilepress.errors import UsageError

__all__ = [
    "BASIC",
    "CHARACTERISTICS",
    "DESCRIPTORS",
    "DEVICE",
    "INSTITUTION",
    "MODIFIED_DATES",
    "OPTIONS",
    "UIDS",
    "Option",
    "Profile",
]

BASIC = "basic"
"""The name of the profile itself."""

DESCRIPTORS = "clean-descriptors"
MODIFIED_DATES = "retain-longitudinal-modified-dates"
CHARACTERISTICS = "retain-patient-characteristics"
DEVICE = "retain-device-identity"
UIDS = "retain-uids"
INSTITUTION = "retain-institution-identity"

_NAMED_OTHERWISE = "retain-longitudinal-temporal-information-with-modified-dates"


@dataclass(frozen=True, slots=True)
class Option:
    """The profile, or an option of it (PS3.15 E.3), in the terms of PS3.16 CID 7050."""

    code: str
    """Of the coding scheme DCM."""
    meaning: str


OPTIONS: Mapping[str, Option] = {
    BASIC: Option("113100", "Basic Application Confidentiality Profile"),
    DESCRIPTORS: Option("113105", "Clean Descriptors Option"),
    MODIFIED_DATES: Option(
        "113107", "Retain Longitudinal Temporal Information Modified Dates Option"
    ),
    CHARACTERISTICS: Option("113108", "Retain Patient Characteristics Option"),
    DEVICE: Option("113109", "Retain Device Identity Option"),
    UIDS: Option("113110", "Retain UIDs Option"),
    INSTITUTION: Option("113112", "Retain Institution Identity Option"),
}
"""What can be asked for, in the order of the codes.

Not offered: whatever would keep dates or private elements as they are, and what wants somebody to
look at the picture or to understand a text (clean pixel data, graphics, structured content).
"""


@dataclass(frozen=True, slots=True)
class Profile:
    """The basic profile with some of its options."""

    names: tuple[str, ...] = (BASIC,)
    """In the order of ``OPTIONS``, "basic" always among them."""

    @classmethod
    def parse(cls, text: object) -> Profile:
        """Return the profile of e.g. "basic,retain-uids"; raise UsageError for other words."""
        given = str(text).lower().replace(" ", "").split(",")
        words = [_NAMED_SHORT.get(word, word) for word in given]
        unknown = [word for word in words if word not in OPTIONS]
        if unknown:
            raise UsageError(
                f"de-identifying: got {unknown[0]!r}, want one or more of {', '.join(OPTIONS)}, "
                "with commas between"
            )
        return cls(tuple(name for name in OPTIONS if name in words or name == BASIC))

    def __str__(self) -> str:
        return ",".join(self.names)

    @property
    def shifts_dates(self) -> bool:
        """Whether dates are moved; else they are removed."""
        return MODIFIED_DATES in self.names

    def to_json(self) -> dict[str, Any]:
        """Return what a store says of how it was de-identified."""
        chosen = [OPTIONS[name] for name in self.names]
        return {
            "options": list(self.names),
            "codes": [option.code for option in chosen],
            "meanings": [option.meaning for option in chosen],
        }


_NAMED_SHORT = {_NAMED_OTHERWISE: MODIFIED_DATES}
