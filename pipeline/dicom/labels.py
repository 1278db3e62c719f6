"""Say by what the planes at one position differ: echo, diffusion, time, segment. An allow-list.

Numbers, and words that the standard or the makers of scanners have for kinds of frames; any other
word is a hash, so that it separates planes and tells nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from pydicom.dataset import Dataset
from pydicom.tag import Tag

from tilepress.pipeline.dicom.values import (
    Vector,
    codes,
    first_item,
    hashed,
    number,
    numbers,
    numbers_of,
    text_of,
    words,
)

__all__ = ["LABEL_TAGS", "Labels", "labels_of", "told_word"]

Labels = Mapping[str, Any]
"""Numbers, tuples of numbers and words by name; what the file does not tell is absent."""

_SIEMENS, _GE, _PHILIPS = Tag(0x0019, 0x0010), Tag(0x0043, 0x0010), Tag(0x2001, 0x0010)
_SIEMENS_B, _SIEMENS_DIRECTION = Tag(0x0019, 0x100C), Tag(0x0019, 0x100E)
_GE_B, _PHILIPS_B = Tag(0x0043, 0x1039), Tag(0x2001, 0x1003)
_GE_B_OFFSET = 1e9
"""GE adds it to b-values of some sequences."""

LABEL_TAGS = (
    *(_SIEMENS, _SIEMENS_B, _SIEMENS_DIRECTION, _GE, _GE_B, _PHILIPS, _PHILIPS_B),
    *(
        Tag(keyword)
        for keyword in words("""
        ImageType FrameType ComplexImageComponent EchoTime EchoNumbers InversionTime FlipAngle KVP
        DiffusionBValue DiffusionGradientOrientation TemporalPositionIdentifier AcquisitionNumber
        TriggerTime FrameReferenceTime AcquisitionDateTime AcquisitionDate AcquisitionTime
        ContentDate ContentTime
""")
    ),
)
"""Top-level elements that are read here."""

_FRAME_WORDS = words(
    """ORIGINAL DERIVED PRIMARY SECONDARY NONE OTHER MIXED AXIAL LOCALIZER MAGNITUDE PHASE REAL
    IMAGINARY M P R I ADC EADC FA TRACE TRACEW B0 B1 CBF CBV MTT TTP TMAX T1 T2 T2STAR RHO PD MAP
    DIFFUSION ANISO ISOTROPIC VOLUME ANGIO PERFUSION FLOW VELOCITY VEL_MAP SUBTRACT SUBTRACTED SUB
    WATER FAT IN_PHASE OUT_PHASE OPP_PHASE IN OUT W F IP OP FF R2 R2STAR PC MAG MAX_IP MIN_IP MPR
    PROJECTION AVERAGE MEAN ADDITION SWI MIP MNIP ND NORM DIS2D DIS3D MOCO DYNAMIC STATIC GATED
    TOMO WHOLE_BODY RECON EMISSION TRANSMISSION ATTENUATION ENERGY_PROP_WT IODINE BONE SOFT
    MONOENERGETIC VMI EFFECTIVE_Z ELECTRON_DENSITY DOSE STD"""
)
_SYNONYMS = {"M": "MAGNITUDE", "P": "PHASE", "R": "REAL", "I": "IMAGINARY"}


def labels_of(group: Dataset, shared: Dataset, dataset: Dataset) -> Labels:
    """Return what tells one frame from others at its position.

    ``group`` and ``shared`` are its functional groups, empty where the file has none.
    """
    groups = (group, shared)
    content = _from(groups, "FrameContentSequence")
    diffusion = _from(groups, "MRDiffusionSequence")
    cardiac = _from(groups, "CardiacSynchronizationSequence")
    segment = _from(groups, "SegmentIdentificationSequence")
    echo = _from(groups, "MREchoSequence")
    modifier = _from(groups, "MRModifierSequence")
    timing = _from(groups, "MRTimingAndRelatedParametersSequence")
    private = _private_diffusion(dataset)
    inversion = numbers(modifier, "InversionTimes") or numbers(dataset, "InversionTime")
    found: dict[str, Any] = {
        "segment": number(segment, "ReferencedSegmentNumber"),
        "frame_type": _frame_type(groups, dataset),
        "echo_time": _either(number(echo, "EffectiveEchoTime"), number(dataset, "EchoTime")),
        "echo_number": number(dataset, "EchoNumbers"),
        "inversion_time": inversion[0] if inversion else None,
        "flip_angle": _either(number(timing, "FlipAngle"), number(dataset, "FlipAngle")),
        "kvp": number(dataset, "KVP"),
        "b_value": _either(
            number(diffusion, "DiffusionBValue"), number(dataset, "DiffusionBValue"), private[0]
        ),
        "gradient": _gradient(diffusion, dataset) or private[1],
        "temporal_position": _either(
            number(content, "TemporalPositionIndex"), number(dataset, "TemporalPositionIdentifier")
        ),
        "acquisition_number": number(dataset, "AcquisitionNumber"),
        "frame_acquisition_number": number(content, "FrameAcquisitionNumber"),
        "dimension_index": numbers(content, "DimensionIndexValues"),
        "trigger_time": _either(
            number(cardiac, "NominalCardiacTriggerDelayTime"), number(dataset, "TriggerTime")
        ),
        "reference_time": number(dataset, "FrameReferenceTime"),
        "acquisition_time": _either(
            _moment(content, "FrameAcquisitionDateTime"),
            _moment(content, "FrameReferenceDateTime"),
            _moment(dataset, "AcquisitionDateTime"),
            _moment(dataset, "AcquisitionTime", "AcquisitionDate"),
        ),
        "content_time": _moment(dataset, "ContentTime", "ContentDate"),
    }
    return {k: v for k, v in found.items() if v is not None}


def told_word(word: str) -> str:
    """Return a word of a frame's type as it may be told."""
    return word if word in _FRAME_WORDS else "OTHER"


def _from(groups: tuple[Dataset, Dataset], sequence: str) -> Dataset:
    """Return the item of the first functional group that has one; an empty one if none does."""
    return next((item for item in (first_item(g, sequence) for g in groups) if len(item)), _NOTHING)


_NOTHING = Dataset()


def _either(*values: float | None) -> float | None:
    return next((value for value in values if value is not None), None)


def _frame_type(groups: tuple[Dataset, Dataset], dataset: Dataset) -> str | None:
    """Return the words of FrameType or ImageType and of the complex component, joined by "/"."""
    types = [
        _from(groups, f"{kind}FrameTypeSequence")
        for kind in ("MRImage", "CTImage", "PETImage", "XAXRF", "MRSpectroscopy")
    ]
    item = next((one for one in types if len(one)), _NOTHING)
    said = codes(item, "FrameType") or codes(dataset, "ImageType")
    component = codes(item, "ComplexImageComponent") or codes(dataset, "ComplexImageComponent")
    known = [_SYNONYMS.get(word, word) for word in (*said, *component)]
    kept = [word if word in _FRAME_WORDS else f"X{hashed(word)}" for word in known]
    return "/".join(dict.fromkeys(kept)) or None


def _gradient(diffusion: Dataset, dataset: Dataset) -> Vector | None:
    nested = first_item(diffusion, "DiffusionGradientDirectionSequence")
    keyword = "DiffusionGradientOrientation"
    found = numbers(nested, keyword, 3) or numbers(dataset, keyword, 3)
    return None if found is None else tuple(round(value, 6) + 0.0 for value in found)


def _private_diffusion(dataset: Dataset) -> tuple[float | None, Vector | None]:
    """Return b-value and direction from the private elements of Siemens, GE or Philips."""
    if _private_text(dataset, _SIEMENS) == "SIEMENS MR HEADER":
        direction = _loose(dataset, _SIEMENS_DIRECTION)
        value = _loose(dataset, _SIEMENS_B)
        return value[0] if value else None, direction if len(direction) == 3 else None
    if _private_text(dataset, _GE) == "GEMS_PARM_01" and (value := _loose(dataset, _GE_B)):
        return value[0] % _GE_B_OFFSET, None
    if _private_text(dataset, _PHILIPS) == "Philips Imaging DD 001":
        value = _loose(dataset, _PHILIPS_B)
        return value[0] if value else None, None
    return None, None


def _private_text(dataset: Dataset, creator: int) -> str:
    return str(dataset[creator].value or "").strip() if creator in dataset else ""


def _loose(dataset: Dataset, tag: int) -> Vector:
    """Return the numbers of a private element; () where its value representation is not known."""
    return (numbers_of(dataset[tag].value) if tag in dataset else None) or ()


def _moment(dataset: Dataset, keyword: str, date: str = "") -> float | None:
    """Return a date with time, or a time and the date beside it, in ms from some fixed day."""
    text = text_of(dataset, keyword)
    if date:
        text = (text_of(dataset, date) or "20000101").replace(".", "") + text.replace(":", "")
    digits, _, fraction = text.partition(".")
    sign = next((sign for sign in "+-" if sign in fraction or sign in digits), "")
    if sign:
        digits, fraction = digits.partition(sign)[0], fraction.partition(sign)[0]
    if not (digits + fraction).isascii() or not (digits + fraction).isdigit() or len(digits) < 10:
        return None
    try:
        whole = datetime.strptime(digits.ljust(14, "0")[:14], "%Y%m%d%H%M%S")
    except ValueError:
        return None
    since = whole.replace(tzinfo=UTC) - datetime(2000, 1, 1, tzinfo=UTC)
    return since / timedelta(milliseconds=1) + float(f"0.{fraction or 0}") * 1000
