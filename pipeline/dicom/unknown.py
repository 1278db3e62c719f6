"""Find the element at which a parser of a data set loses its way."""

from __future__ import annotations

import struct

from pydicom.valuerep import EXPLICIT_VR_LENGTH_16, EXPLICIT_VR_LENGTH_32

from tilepress.pipeline.dicom.bytes import ByteSource, Container

__all__ = ["unknown_element"]

LONG_VRS = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_32)
SHORT_VRS = frozenset(str(vr).encode() for vr in EXPLICIT_VR_LENGTH_16)
_UNDEFINED = 0xFFFFFFFF


def unknown_element(source: ByteSource, container: Container) -> tuple[int, str, int] | None:
    """Return (tag, value representation, offset) of the first element that no parser can pass.

    None where there is none at the top level, and in implicit encodings, which have no such thing.
    """
    position = container.dataset_offset
    order = "<" if container.little else ">"
    while not container.implicit and len(head := source.read(position, 12)) >= 8:
        group, element = struct.unpack_from(order + "HH", head)
        vr = head[4:6]
        if vr in LONG_VRS:
            if (
                len(head) < 12
                or (length := struct.unpack_from(order + "I", head, 8)[0]) == _UNDEFINED
            ):
                return None
            position += 12 + length
        elif vr in SHORT_VRS:
            position += 8 + struct.unpack_from(order + "H", head, 6)[0]
        else:
            text = vr.decode("ascii") if vr.isalpha() and vr.isascii() else vr.hex()
            return group << 16 | element, text, position
    return None
