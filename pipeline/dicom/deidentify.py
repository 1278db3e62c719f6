"""De-identify a data set of DICOM: encode anew what may stay, and nothing else.

What Table E.1-1 of PS3.15 lists is done as it says. What it does not list the standard keeps; here
it is kept only if its value can say nothing that was not foreseen: numbers, registered UIDs, codes
of PS3.16, defined terms, words of a description that are known. Private, unknown and malformed
elements go, and so do overlays, curves, and bytes that are no tables of colours.

No byte of a value is copied that was not parsed as what its VR says.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

from pydicom.datadict import keyword_for_tag
from pydicom.dataset import Dataset

from tilepress.pipeline.dicom.elements import (
    BYTES,
    NUMBERS,
    Encoding,
    element_bytes,
    item_bytes,
    items_of,
    raw_bytes,
    text_of,
    texts_of,
    vr_of,
)
from tilepress.pipeline.dicom.multiplicity import COLOUR_TABLES, check_values, colour_table
from tilepress.pipeline.dicom.pixels import is_known_uid
from tilepress.pipeline.privacy.concepts import meaning_of
from tilepress.pipeline.privacy.icc import without_texts
from tilepress.pipeline.privacy.keyed import DAYS, PATIENT, UID
from tilepress.pipeline.privacy.options import action_of
from tilepress.pipeline.privacy.profile import OPTIONS, Profile
from tilepress.pipeline.privacy.table import Action
from tilepress.pipeline.privacy.words import cleaned, is_code

__all__ = [
    "Counts",
    "Deidentifier",
    "Replace",
    "patient_of",
]

Replace = Callable[[str, str], str]
"""(what, text) → what takes its place: see ``privacy.keyed``."""

DUMMY = "REMOVED"

_TEXTS = frozenset({"LO", "SH", "ST", "LT", "UT", "UC"})
_ICC_PROFILE = 0x00282000
_PATTERNS = {
    "DS": re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?"),
    "IS": re.compile(r"[+-]?\d{1,10}"),
    "AS": re.compile(r"\d{3}[DWMY]"),
    "DA": re.compile(r"\d{8}"),
    "TM": re.compile(r"\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?"),
    "DT": re.compile(r"\d{8}(\d{2}(\d{2}(\d{2}(\.\d{1,6})?)?)?)?([+-]\d{4})?"),
    "UI": re.compile(r"[0-9.]{1,64}"),
}

_DUMMIES = {
    **{"DA": "19000101", "TM": "000000", "DT": "19000101000000", "AS": "000Y", "DS": "0"},
    **{"IS": "0", "UR": "urn:removed"},
}

SOP_INSTANCE = 0x00080018
PATIENT_NAME, PATIENT_ID = 0x00100010, 0x00100020
CODE_VALUE, CODING_SCHEME, CODE_MEANING = 0x00080100, 0x00080102, 0x00080104
_STATEMENT = frozenset({0x00120062, 0x00120063, 0x00120064, 0x00280303})
"""What the data set says of its de-identification: written anew."""


@dataclass(slots=True)
class Counts:
    """What was done, as a store tells it: names of attributes, never their values."""

    attributes: dict[str, Counter[str]] = field(default_factory=dict)
    """By action, how many of each keyword."""
    others: Counter[str] = field(default_factory=Counter)
    """Elements that have no keyword, or that went whatever they are called."""

    def add(self, action: str, tag: int) -> None:
        self.attributes.setdefault(action, Counter())[keyword_for_tag(tag) or f"{tag:08X}"] += 1

    def to_json(self) -> dict[str, Any]:
        told = {action: dict(sorted(found.items())) for action, found in self.attributes.items()}
        return dict(sorted(told.items())) | {"others": dict(sorted(self.others.items()))}


@dataclass(slots=True)
class Deidentifier:
    """Works on the data sets of one image."""

    profile: Profile
    replace: Replace
    counts: Counts = field(default_factory=Counts)

    def data_set(self, dataset: Dataset, encoding: Encoding, patient: str) -> bytes:
        """Return the elements before the pixels, with what says that they were de-identified.

        ``patient`` is what names the patient in this archive: ``patient_of`` of the data set.
        """
        found = dict(_Work(self, encoding, patient).elements(dataset, top=True))
        found |= _statement(self.profile, encoding)
        return b"".join(found[tag] for tag in sorted(found))

    def instance_uid(self, dataset: Dataset) -> str:
        """Return the UID that the instance has from now on; "" where it has none."""
        text = text_of(dataset, SOP_INSTANCE)
        if not _PATTERNS["UI"].fullmatch(text):
            return ""
        kept = action_of(SOP_INSTANCE, self.profile) is Action.KEEP or _is_public(text)
        return text if kept else self.replace(UID, text)

    def trailer(self, dataset: Dataset, encoding: Encoding, patient: str) -> bytes:
        """Return the elements after the pixels."""
        found = _Work(self, encoding, patient).elements(dataset, top=True)
        return b"".join(data for _, data in found)


def patient_of(dataset: Dataset) -> str:
    """Return what tells one patient from others: the ID, or the best of what else there is."""
    for tags in ((PATIENT_ID,), (PATIENT_NAME, 0x00100030), (0x0020000D,), (SOP_INSTANCE,)):
        texts = [text_of(dataset, tag) for tag in tags]
        if texts[0]:
            return "|".join(texts)
    return ""


@dataclass(slots=True)
class _Work:
    """One data set, with all that is nested in it."""

    of: Deidentifier
    encoding: Encoding
    patient: str

    def elements(self, dataset: Dataset, *, top: bool = False) -> Iterator[tuple[int, bytes]]:
        """Yield (tag, encoded element) of what stays, in the order of tags."""
        code = _known_code(dataset)
        for key in sorted(dataset.keys()):
            tag = int(key)
            if self._goes(tag):
                continue
            vr = vr_of(dataset, tag)
            if tag in (CODE_VALUE, CODING_SCHEME, CODE_MEANING):
                value = code.get(tag)
                if value is None:
                    self.of.counts.add(Action.CLEAN.value, tag)
            else:
                try:
                    value = self._value(dataset, tag, vr, top=top)
                except (ValueError, OverflowError, KeyError, struct.error):
                    value = None
                    self.of.counts.others["malformed"] += 1
            if value is not None:
                encoded = element_bytes(tag, vr, value, self.encoding)
                if encoded is not None:
                    yield tag, encoded

    def _goes(self, tag: int) -> bool:
        """Whether an element goes, whatever it holds."""
        group, element = tag >> 16, tag & 0xFFFF
        if element == 0 or group in (0x0002, 0x7FE0) or tag in _STATEMENT:
            return True  # lengths of groups, and what is written anew or elsewhere
        why = ""
        if group % 2:
            why = "private"
        elif 0x5000 <= group <= 0x50FF or 0x6000 <= group <= 0x60FF:
            why = "overlays and curves"
        elif group < 0x0008 or not keyword_for_tag(tag):
            why = "unknown"
        if why:
            self.of.counts.others[why] += 1
        return bool(why)

    def _value(self, dataset: Dataset, tag: int, vr: str, *, top: bool) -> bytes | None:
        """Return the value that an element gets; None where it goes."""
        action = action_of(tag, self.of.profile)
        if action is Action.REMOVE:
            self._count(action, tag)
            return None
        if vr == "SQ":
            return self._sequence(dataset, tag, action)
        raw = raw_bytes(dataset, tag, vr, self.encoding)
        if not (raw if vr in NUMBERS else raw.strip(b"\0 ")):
            return b""
        if tag in (PATIENT_NAME, PATIENT_ID):
            self._count(Action.DUMMY, tag)
            text = self.patient if top else raw.decode("latin-1").strip("\0 ")
            return self.of.replace(PATIENT, text).encode()
        match action:
            case Action.EMPTY:
                self._count(action, tag)
                return b""
            case Action.DUMMY:
                self._count(action, tag)
                return self._dummy(vr, raw)
        check_values(tag, vr, raw, self.encoding)
        if tag in COLOUR_TABLES:
            return colour_table(dataset, tag, raw, self.encoding)
        match action:
            case Action.UID:
                return self._uids(tag, raw)
            case Action.SHIFT:
                return self._moved(tag, vr, raw)
            case Action.CLEAN if vr in _TEXTS:
                return self._cleaned(tag, raw)
            case Action.KEEP:
                return self._kept(tag, vr, raw)
        return self._unlisted(tag, vr, raw)

    def _sequence(self, dataset: Dataset, tag: int, action: Action | None) -> bytes | None:
        """Return the items of a sequence: what stays of each, by the same rules."""
        items = items_of(dataset, tag)
        if action in (Action.EMPTY, Action.DUMMY):
            self._count(action, tag)
            return b"" if action is Action.EMPTY else item_bytes(b"", self.encoding)
        pieces = []
        for item in items:
            content = b"".join(data for _, data in self.elements(item))
            if content or not len(item):
                pieces.append(item_bytes(content, self.encoding))
        return b"".join(pieces)

    def _dummy(self, vr: str, raw: bytes) -> bytes:
        if vr == "UI":
            return self._replaced_uids(raw)
        if vr in NUMBERS:
            return bytes(NUMBERS[vr])
        return _DUMMIES.get(vr, DUMMY).encode()

    def _uids(self, tag: int, raw: bytes) -> bytes:
        self._count(Action.UID, tag)
        return self._replaced_uids(raw)

    def _replaced_uids(self, raw: bytes) -> bytes:
        """Return UIDs of which those that are nobody's stay as they are."""
        return b"\\".join(
            (text if _is_public(text) or not text else self.of.replace(UID, text)).encode()
            for text in texts_of(raw)
        )

    def _moved(self, tag: int, vr: str, raw: bytes) -> bytes:
        """Return dates by some days earlier, as many for all of a patient; times as they are."""
        texts = [_plain_time(vr, text) for text in texts_of(raw)]
        if not all(text == "" or _PATTERNS[vr].fullmatch(text) for text in texts):
            raise ValueError(vr)
        self._count(Action.SHIFT, tag)
        if vr == "TM":
            return "\\".join(texts).encode()
        days = int(self.of.replace(DAYS, self.patient))
        return "\\".join(_earlier(text, days) for text in texts).encode()

    def _cleaned(self, tag: int, raw: bytes) -> bytes | None:
        text = raw.decode("latin-1").strip("\0 ")
        left = cleaned(text)
        if left == text:
            return raw
        self._count(Action.CLEAN, tag)
        return left.encode("ascii") if left else None

    def _kept(self, tag: int, vr: str, raw: bytes) -> bytes | None:
        """Return the value that an option keeps."""
        if vr in _TEXTS:
            return None if re.search(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]", raw.rstrip(b"\0")) else raw
        if vr == "UI":
            if not all(_PATTERNS["UI"].fullmatch(text) or not text for text in texts_of(raw)):
                raise ValueError(vr)
            return raw
        return self._unlisted(tag, vr, raw)

    def _unlisted(self, tag: int, vr: str, raw: bytes) -> bytes | None:
        """Return a value that can say nothing but what its VR is for; None for any other."""
        if vr in BYTES:
            return self._tables(tag, raw)
        if vr in NUMBERS:
            return raw
        if vr in _TEXTS:
            return self._cleaned(tag, raw)
        if vr == "UI":
            if all(_is_public(text) for text in texts_of(raw)):
                return raw
            return self._uids(tag, raw)
        if vr in ("DA", "TM", "DT") and self.of.profile.shifts_dates:
            return self._moved(tag, vr, raw)
        if vr in ("DS", "IS", "AS"):
            texts = texts_of(raw)
            if not all(text == "" or _PATTERNS[vr].fullmatch(text) for text in texts):
                raise ValueError(vr)
            return "\\".join(texts).encode()
        if vr == "CS":
            return self._codes(tag, raw)
        self._count(Action.REMOVE, tag)
        return None

    def _codes(self, tag: int, raw: bytes) -> bytes | None:
        """Return code strings, those that are no known terms empty: each has its place."""
        texts = texts_of(raw)
        left = [text if is_code(text) else "" for text in texts]
        if left == texts:
            return "\\".join(texts).encode()
        self._count(Action.CLEAN, tag)
        return "\\".join(left).encode() if any(left) else None

    def _tables(self, tag: int, raw: bytes) -> bytes | None:
        if tag == _ICC_PROFILE and (profile := without_texts(raw)) is not None:
            self._count(Action.CLEAN, tag)
            return profile
        self._count(Action.REMOVE, tag)
        return None

    def _count(self, action: Action, tag: int) -> None:
        self.of.counts.add(action.value, tag)


# values


def _is_public(text: str) -> bool:
    """Whether a UID is one of the standard's."""
    return bool(_PATTERNS["UI"].fullmatch(text)) and is_known_uid(text)


def _plain_time(vr: str, text: str) -> str:
    """Return a date or time without the separators of old files (PS3.5 §6.2)."""
    if vr == "DA" and re.fullmatch(r"\d{4}\.\d{2}\.\d{2}", text):
        return text.replace(".", "")
    if vr == "TM" and re.fullmatch(r"\d{2}:\d{2}(:\d{2}(\.\d{1,6})?)?", text):
        return text.replace(":", "")
    return text


def _earlier(text: str, days: int) -> str:
    """Return a date, or a date with time, by some days earlier."""
    if not text:
        return ""
    day = date(int(text[:4]), int(text[4:6]), int(text[6:8])) - timedelta(days)
    return f"{day.year:04}{day.month:02}{day.day:02}{text[8:]}"


def _known_code(dataset: Dataset) -> dict[int, bytes]:
    """Return a code of PS3.16 with the meaning that it has there; {} for any other."""
    scheme, code = text_of(dataset, CODING_SCHEME), text_of(dataset, CODE_VALUE)
    meaning = meaning_of(scheme, code)
    if meaning is None:
        return {}
    told = meaning.encode("ascii", "replace")[:64]
    return {CODE_VALUE: code.encode(), CODING_SCHEME: scheme.encode(), CODE_MEANING: told}


def _statement(profile: Profile, encoding: Encoding) -> dict[int, bytes]:
    """Return the elements that say what was done (PS3.15 E.1.1, PS3.3 C.7.1.1)."""
    plain = [OPTIONS[name] for name in profile.names]
    method = f"tilepress: PS3.15 {profile}"[:64]
    codes = b"".join(
        item_bytes(
            b"".join(
                element_bytes(tag, vr, text.encode(), encoding) or b""
                for tag, vr, text in (
                    (CODE_VALUE, "SH", option.code),
                    (CODING_SCHEME, "SH", "DCM"),
                    (CODE_MEANING, "LO", option.meaning),
                )
            ),
            encoding,
        )
        for option in plain
    )
    dates = "MODIFIED" if profile.shifts_dates else "REMOVED"
    told: tuple[tuple[int, str, bytes], ...] = (
        (0x00120062, "CS", b"YES"),
        (0x00120063, "LO", method.encode()),
        (0x00120064, "SQ", codes),
        (0x00280303, "CS", dates.encode()),
    )
    return {tag: element_bytes(tag, vr, value, encoding) or b"" for tag, vr, value in told}
