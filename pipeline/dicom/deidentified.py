"""De-identify the bytes of DICOM files that a store keeps beside the samples.

before   preamble, file meta information     written anew: zeros, and what the file is
         data set                            see ``deidentify``
         header of the pixel element         as it was
after    rest of the pixel value             zeros, save samples that end within a byte
         elements after the pixels           see ``deidentify``; none that cannot be parsed
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from tilepress.errors import DamagedSource
from tilepress.pipeline.dicom.bytes import foreign_errors, quiet_pydicom
from tilepress.pipeline.dicom.deidentify import (
    Counts,
    Deidentifier,
    patient_of,
)
from tilepress.pipeline.dicom.elements import Encoding, element_bytes, text_of
from tilepress.pipeline.dicom.header import Instance
from tilepress.pipeline.dicom.kept import made_bytes, surroundings
from tilepress.pipeline.dicom.pixels import is_known_uid, is_pair_swapped
from tilepress.pipeline.privacy.keyed import DAYS, UID, Replacements
from tilepress.pipeline.privacy.profile import Profile

__all__ = ["Around", "DeidentifiedFiles", "identifiers", "told_of"]

IMPLEMENTATION_UID = "2.25.174302847013926465203791483905712345981"
"""Of what writes the file meta information."""
IMPLEMENTATION_NAME = "TILEPRESS"

_DEFLATE = {"settings": [6, 8], "tail": "", "exact": False}

_META = Encoding(implicit=False, little=True)
SOP_CLASS = 0x00080016


@dataclass(frozen=True, slots=True)
class Around:
    """What lies around the pixels of one file, and where its parts begin."""

    before: bytes
    after: bytes
    entry: Mapping[str, Any]
    """What the origin of a store says of it otherwise than of the file itself."""


def identifiers(instances: Sequence[Instance], profile: Profile) -> list[tuple[str, str]]:
    """Return all that is to be replaced by somebody who has the archive's key."""
    wanted: dict[tuple[str, str], None] = {}

    def note(what: str, text: str) -> str:
        wanted[what, text] = None
        return "1" if what == DAYS else f"2.25.{'1' * 39}" if what == UID else "1"

    for _ in DeidentifiedFiles(Deidentifier(profile, note)).around(instances):
        pass
    return list(wanted)


class DeidentifiedFiles:
    """De-identifies the files of one image, and counts what it does."""

    def __init__(self, work: Deidentifier) -> None:
        self._work = work

    @classmethod
    def replacing(cls, profile: Profile, replacements: Replacements) -> DeidentifiedFiles:
        """Return what works with replacements that were made for these very files."""
        return cls(Deidentifier(profile, lambda what, text: replacements[what, text]))

    @property
    def counts(self) -> Counts:
        return self._work.counts

    def around(self, instances: Sequence[Instance]) -> Iterator[Around]:
        """Yield the surroundings of every file; raises DamagedSource."""
        for instance in instances:
            with quiet_pydicom(), foreign_errors("de-identifying a DICOM header", instance.path):
                made = self._around(instance)
            yield made

    def _around(self, instance: Instance) -> Around:
        before, after = surroundings(instance)
        container, element = instance.container, instance.element
        encoding = Encoding(container.implicit, container.little)
        dataset = _parsed(before[container.dataset_offset : element.element_offset], encoding)
        patient = patient_of(dataset)
        body = self._work.data_set(dataset, encoding, patient)
        meta = self._meta(dataset, instance)
        pixel_header = before[element.element_offset :]
        if not encoding.implicit:  # tag, VR, two reserved bytes, which are 0 (PS3.5 §7.1.2), length
            pixel_header = pixel_header[:6] + b"\0\0" + pixel_header[8:]
        padding = b""
        if not element.encapsulated:
            rest = max(0, element.value_length - made_bytes(instance))
            padding, after = _without_padding(instance, after[:rest]), after[rest:]
        trailer = self._trailer(after, encoding, patient)
        return Around(
            before=meta + body + pixel_header,
            after=padding + trailer,
            entry={
                "dataset_offset": len(meta),
                "element_offset": len(meta) + len(body),
                "deflate": _DEFLATE if container.deflated else None,
            },
        )

    def _trailer(self, content: bytes, encoding: Encoding, patient: str) -> bytes:
        if not content:
            return b""
        try:
            dataset = _parsed(content, encoding)
        except Exception:  # bytes that are no elements, whatever they make the parser raise
            self.counts.others["unreadable trailers"] += 1
            return b""
        return self._work.trailer(dataset, encoding, patient)

    def _meta(self, dataset: Dataset, instance: Instance) -> bytes:
        """Return preamble and file meta information, where the file has any."""
        container = instance.container
        if not container.dataset_offset:
            return b""
        sop_class = text_of(dataset, SOP_CLASS)
        told = (
            (0x00020001, "OB", b"\0\1"),
            (0x00020002, "UI", sop_class.encode() if is_known_uid(sop_class) else b""),
            (0x00020003, "UI", self._work.instance_uid(dataset).encode()),
            (0x00020010, "UI", container.syntax.encode()),
            (0x00020012, "UI", IMPLEMENTATION_UID.encode()),
            (0x00020013, "SH", IMPLEMENTATION_NAME.encode()),
        )
        group = b"".join(element_bytes(*one, _META) or b"" for one in told if one[2])
        length = element_bytes(0x00020000, "UL", struct.pack("<I", len(group)), _META) or b""
        return (bytes(128) + b"DICM" if container.has_preamble else b"") + length + group


def told_of(profile: Profile, counts: Counts, mark: str) -> Mapping[str, Any]:
    """Return what the origin of a store says of how its files were de-identified."""
    return {**profile.to_json(), "key": mark, "counts": counts.to_json()}


def _parsed(content: bytes, encoding: Encoding) -> Dataset:
    if not content:
        return Dataset()
    dataset = read_dataset(BytesIO(content), encoding.implicit, encoding.little)
    if bool(dataset.original_encoding[0]) != encoding.implicit:
        raise DamagedSource("its elements are not encoded as its transfer syntax says")
    return dataset


def _without_padding(instance: Instance, rest: bytes) -> bytes:
    """Return the last bytes of a pixel value with samples that they hold, and zeros."""
    pixels = instance.pixels
    bits = pixels.frame_bits * len(instance.planes) - 8 * made_bytes(instance)
    blank = bytearray(len(rest))
    swapped = is_pair_swapped(instance.container, instance.element, pixels)
    for number in range(-(-bits // 8)):
        at = number ^ 1 if swapped else number
        if at < len(rest):
            blank[at] = rest[at] & (0xFF >> max(0, 8 * (number + 1) - bits))
    return bytes(blank)
