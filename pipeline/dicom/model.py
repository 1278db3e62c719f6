"""Turn a data set into the DICOM JSON model (PS3.18 F), and find what it refers to as bulk data."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

from pydicom.dataelem import DataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence as DicomSequence

from tilepress.pipeline.dicom.bytes import quiet_pydicom

__all__ = ["INLINE_BYTES", "Model", "bulk_value", "json_model"]

Model = dict[str, dict[str, Any]]
"""Attributes by tag, 8 hexadecimal digits: "vr" and "Value", "InlineBinary" or "BulkDataURI"."""

INLINE_BYTES = 1024
"""Longest binary value that stands in the model itself."""

MAX_DEPTH = 32
"""Sequences within sequences that are followed."""

_BINARY = frozenset(("OB", "OD", "OF", "OL", "OV", "OW", "UN"))
_PATH = re.compile(r"[0-9A-Fa-f]{8}(/[0-9]{1,6}/[0-9A-Fa-f]{8}){0,32}")
_CHARACTER_SET = "00080005"


def json_model(dataset: Dataset, bulk_uri: Callable[[str], str] | None = None) -> Model:
    """Return the attributes of a data set; texts are Unicode.

    ``bulk_uri`` gives the address of a binary value of more than ``INLINE_BYTES`` by its path, as
    "00091002" or "00540016/0/00091002"; without it binary values are left out. A value that is
    none of its VR is left out, too.
    """
    with quiet_pydicom():
        model = _modelled(dataset, bulk_uri, "", 0)
    if _CHARACTER_SET in model:
        model[_CHARACTER_SET] = {"vr": "CS", "Value": ["ISO_IR 192"]}
    return model


def bulk_value(dataset: Dataset, path: str) -> bytes | None:
    """Return the binary value at a path of ``json_model``; None where there is none."""
    if not _PATH.fullmatch(path):
        return None
    parts = path.split("/")
    at = dataset
    with quiet_pydicom():
        for tag, number in zip(parts[:-1:2], parts[1::2], strict=True):
            element = at.get(int(tag, 16))
            if element is None or element.VR != "SQ" or int(number) >= len(element.value):
                return None
            at = element.value[int(number)]
        element = at.get(int(parts[-1], 16))
        if element is None or element.VR not in _BINARY:
            return None
        return bytes(element.value or b"")


def _modelled(
    dataset: Dataset, bulk_uri: Callable[[str], str] | None, above: str, depth: int
) -> Model:
    found: Model = {}
    for tag in sorted(dataset.keys()):
        name = f"{int(tag):08X}"
        if int(tag) & 0xFFFF == 0:  # lengths of groups are no attributes
            continue
        try:
            element = dataset[tag]
            value = _attribute(element, bulk_uri, f"{above}{name}", depth)
        except Exception:  # pydicom raises nearly every type on a value that is none of its VR
            raw = dataset.get_item(tag)
            value = {"vr": str(getattr(raw, "VR", None) or "UN")}
        if value is not None:
            found[name] = value
    return found


def _attribute(
    element: DataElement, bulk_uri: Callable[[str], str] | None, path: str, depth: int
) -> dict[str, Any] | None:
    vr = str(element.VR)
    if isinstance(element.value, DicomSequence):
        if depth == MAX_DEPTH:
            return None
        items = [
            _modelled(item, bulk_uri, f"{path}/{number}/", depth + 1)
            for number, item in enumerate(element.value)
        ]
        return {"vr": "SQ", "Value": items} if items else {"vr": "SQ"}
    if vr in _BINARY:
        if bulk_uri is None:
            return None
        if len(element.value or b"") > INLINE_BYTES:
            return {"vr": vr, "BulkDataURI": bulk_uri(path)}
    found: dict[str, Any] = element.to_json_dict(None, 0)
    values = found.get("Value")
    if isinstance(values, list):
        finite = [v if not isinstance(v, float) or math.isfinite(v) else None for v in values]
        found["Value"] = finite
    return found
