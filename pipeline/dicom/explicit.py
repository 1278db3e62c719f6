"""Give instances of a store as readers ask for them: their data set, or all of it in one encoding.

What readers take without asking is Explicit VR Little Endian (PS3.5 A.2). Files that were implicit,
deflated or compressed become that; big-endian ones do not: their bulk values have no length of a
word that could be known.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import replace
from io import BytesIO

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from tilepress.errors import UsageError
from tilepress.pipeline.dicom.bytes import (
    EXPLICIT_BIG,
    EXPLICIT_LITTLE,
    foreign_errors,
    quiet_pydicom,
)
from tilepress.pipeline.dicom.instances import (
    Surroundings,
    instance_bytes,
    made_length,
    pixel_value,
    surroundings,
)
from tilepress.pipeline.dicom.rewrite import derived_uid, explicit_little, meta_of
from tilepress.pipeline.dicom.stored import StoredFrames, StoredInstance
from tilepress.pipeline.image.source import ExportReader

__all__ = ["data_set", "explicit_bytes", "instance_uid", "keeps_streams", "written_syntax"]

_SOP_INSTANCE_UID = 0x00080018

_DOING = "reading the header of a DICOM instance"


def keeps_streams(instance: StoredInstance, planes: StoredFrames) -> bool:
    """Whether the frames of an instance are kept, and written, as the streams they came in."""
    return bool(instance.encapsulation) and planes.keep_streams(instance.frames)


def written_syntax(instance: StoredInstance, planes: StoredFrames) -> str:
    """Return the transfer syntax that ``instance_bytes`` writes."""
    if instance.encapsulated and not keeps_streams(instance, planes):
        return EXPLICIT_LITTLE
    return instance.syntax


def data_set(instance: StoredInstance, planes: StoredFrames, reader: ExportReader) -> Dataset:
    """Return all elements that ``instance_bytes`` writes but the pixel element.

    Raises DamagedStore or DamagedSource for what cannot be parsed.
    """
    with quiet_pydicom(), foreign_errors(_DOING, _name_of(reader)):
        if keeps_streams(instance, planes):
            body = instance.before[instance.dataset_offset :]
            around = Surroundings(b"", body, b"", instance.after)
            little, implicit, rest = instance.little, instance.implicit, 0
        else:
            around = surroundings(instance, planes, reader)
            little = instance.little or instance.encapsulated
            implicit = instance.implicit and not instance.encapsulated
            rest = _rest(instance, around)
        found = _parsed(around.dataset, implicit, little)
        for element in _parsed(around.after[rest:], implicit, little):
            found.add(element)
    return found


def instance_uid(instance: StoredInstance, planes: StoredFrames, reader: ExportReader) -> str:
    """Return the SOPInstanceUID that ``instance_bytes`` writes; "" where there is none."""
    body = instance.before[instance.dataset_offset : instance.element_offset]
    with quiet_pydicom(), foreign_errors(_DOING, _name_of(reader)):
        head = read_dataset(
            BytesIO(body),
            instance.implicit,
            instance.little,
            stop_when=lambda tag, vr, length: tag > _SOP_INSTANCE_UID,
            specific_tags=[_SOP_INSTANCE_UID],
        )
        uid = str(head.get("SOPInstanceUID") or "").strip()
    if reader.loss.is_lossless or keeps_streams(instance, planes):
        return uid
    return derived_uid(uid, instance, reader)


def explicit_bytes(
    instance: StoredInstance, planes: StoredFrames, reader: ExportReader
) -> Iterator[bytes]:
    """Yield an instance as Explicit VR Little Endian; the bytes of an export where that is it.

    Raises UsageError for a big-endian one.
    """
    if instance.syntax == EXPLICIT_BIG:
        raise UsageError(
            "writing DICOM: the file is kept in Explicit VR Big Endian, which is not changed; ask "
            "for transfer-syntax=*"
        )
    plain = replace(instance, encapsulation=b"", deflate=None)
    if instance.encapsulated or instance.syntax == EXPLICIT_LITTLE:
        yield from instance_bytes(plain, planes, reader)
        return
    around = surroundings(plain, planes, reader)
    with quiet_pydicom(), foreign_errors(_DOING, _name_of(reader)):
        yield meta_of(around.meta, _parsed(around.dataset, instance.implicit, True))
    if not instance.implicit:  # deflated: that is all
        yield around.dataset + around.pixel_header
        yield from pixel_value(plain, planes)
        yield around.after
        return
    rest = _rest(instance, around)
    (length,) = struct.unpack_from("<I", around.pixel_header, 4)
    vr = b"OB" if instance.pixels.allocated <= 8 else b"OW"
    if instance.pixels.floating:
        vr = b"OF" if instance.pixels.allocated == 32 else b"OD"
    with quiet_pydicom(), foreign_errors(_DOING, _name_of(reader)):
        body = explicit_little(around.dataset)
        after = explicit_little(around.after[rest:])
    yield body + around.pixel_header[:4] + vr + b"\0\0" + struct.pack("<I", length)
    yield from pixel_value(plain, planes)
    yield around.after[:rest] + after


def _rest(instance: StoredInstance, around: Surroundings) -> int:
    """Return how many bytes of the pixel value lie in what follows the samples."""
    if instance.encapsulated:
        return 0
    order = "<" if instance.little else ">"
    (length,) = struct.unpack_from(order + "I", around.pixel_header, len(around.pixel_header) - 4)
    return max(0, min(int(length) - made_length(instance), len(around.after)))


def _parsed(content: bytes, implicit: bool, little: bool) -> Dataset:
    return read_dataset(BytesIO(content), implicit, little) if content else Dataset()


def _name_of(reader: ExportReader) -> str:
    """Return what a store is called, where it is known."""
    path = getattr(reader, "path", None)
    return str(getattr(path, "name", "a store"))
