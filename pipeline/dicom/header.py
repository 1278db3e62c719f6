"""Read what tilepress needs of one DICOM header: pixel layout, geometry, rescale. An allow-list.

Everything that leaves this room is a number, a checked code or a hash; no text of the header does.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any

import numpy as np
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.bytes import (
    Container,
    PixelElement,
    foreign_errors,
    locate_pixel_element,
    open_bytes,
    quiet_pydicom,
    scan_container,
)
from tilepress.pipeline.dicom.pixels import (
    UNCUT_SYNTAXES,
    PixelFormat,
    declared_precision,
    is_known_uid,
    require_syntax,
)

__all__ = ["Instance", "Plane", "hashed", "looks_like_data_set", "read_instance"]

MAX_ELEMENT_BYTES = 256 * 2**20
"""Longest element that is read at all (functional groups of large multi-frame images)."""
ITEM_HEADER_BYTES = 8
"""Of each item of encapsulated pixel data; every frame has one of its own (PS3.5 A.4)."""
MAX_FRAMES = 2**20


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_MODALITIES = _words(
    """AR ASMT AU BDUS BI BMD CR CT CTPROTOCOL DG DMS DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL
    IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN
    POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT
    RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC"""
)
_UNITS = _words(
    """CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS PROPCPS
    MLMINML MLML GML STDDEV"""
)
_RESCALE_TYPES = _words("""OD HU US MGML Z_EFF ED EDW HU_MOD PCT EDGEENHANCED IU NORMALIZED""")
_OWN_IMAGE_MODALITIES = frozenset({"SEG"})
_TIME_MODALITIES = frozenset({"US", "XA", "RF", "ES", "IVUS", "XC", "GM", "OP"})

_TAGS = [
    Tag(keyword)
    for keyword in _words("""
    SOPClassUID SOPInstanceUID StudyInstanceUID SeriesInstanceUID Modality InstanceNumber
    AcquisitionNumber
    Rows Columns SamplesPerPixel BitsAllocated BitsStored HighBit PixelRepresentation
    PhotometricInterpretation PlanarConfiguration NumberOfFrames
    PixelPaddingValue PixelPaddingRangeLimit RescaleSlope RescaleIntercept RescaleType Units
    WindowCenter WindowWidth VOILUTFunction PixelSpacing ImagerPixelSpacing
    NominalScannedPixelSpacing PixelAspectRatio SliceThickness SpacingBetweenSlices
    ImagePositionPatient ImageOrientationPatient TemporalPositionIdentifier EchoNumbers EchoTime
    DiffusionBValue TriggerTime FrameTime CineRate FrameIncrementPointer GridFrameOffsetVector
    DoseGridScaling LossyImageCompression SegmentationType DimensionOrganizationType
    SharedFunctionalGroupsSequence PerFrameFunctionalGroupsSequence
    TotalPixelMatrixRows TotalPixelMatrixColumns ExtendedOffsetTable BurnedInAnnotation ImageType
""")
]
_PIXEL_GROUP_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})

Vector = tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """One frame of one instance: where it lies and how its values are meant."""

    instance: int
    """Index of the instance in the series; -1 while that is not known."""
    frame: int
    position: Vector | None
    """ImagePositionPatient in mm."""
    orientation: Vector | None
    """ImageOrientationPatient: six direction cosines."""
    order: tuple[float, ...]
    """What separates planes at one position: time, acquisition, b-value, echo, trigger, segment,
    instance number. Missing numbers are 0."""
    rescale: tuple[float, float] | None
    """(slope, intercept)."""
    window: tuple[Vector, Vector] | None
    """(centres, widths)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Instance:
    """One DICOM file that holds pixels."""

    container: Container
    element: PixelElement
    pixels: PixelFormat
    stored: int
    """BitsStored of the header; ``pixels.stored`` is the codestream's precision where that is
    more, as some JPEG 2000 and JPEG-LS decoders' output is not cut to the header's."""
    modality: str
    series: str
    """12 hex digits of a hash of SeriesInstanceUID; "" where the file has none."""
    identity: str
    """Hash of SOPInstanceUID; "" where the file has none."""
    number: int
    """InstanceNumber; 0 where there is none."""
    planes: tuple[Plane, ...]
    leading: str
    """"z" or "t": what the frames of a multi-frame image without positions are."""
    alone: bool
    """Whether this instance is an image of its own, whatever else its series holds."""
    frame_time_ms: float | None
    offsets: bytes
    """Value of ExtendedOffsetTable."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What holds for every plane, allow-listed."""
    remarks: tuple[str, ...] = ()
    burned_in: str = ""
    """BurnedInAnnotation: "YES" or "NO"; "" where the file does not say."""
    slide_label: str = ""
    """"LABEL" or "OVERVIEW" where it shows that of a slide (ImageType, PS3.3 C.8.12.4.1.1)."""

    @property
    def path(self) -> str:
        return self.container.path

    @property
    def sort_key(self) -> tuple[int, str]:
        return self.number, self.container.path


class _MalformedError(ValueError):
    """An element that is needed is absent or malformed; the message names its keyword only."""


def is_sound(instance: Instance) -> bool:
    """Whether what names images and stores is of the form that ``read_instance`` gives it."""
    texts = (instance.modality, instance.series, instance.identity, instance.element.keyword)
    return (
        all(isinstance(text, str) for text in texts)
        and instance.modality in _MODALITIES
        and re.fullmatch(r"([0-9a-f]{2}){0,64}", instance.series + instance.identity) is not None
        and type(instance.number) is int
        and type(instance.container.file_size) is int
    )


def hashed(text: str) -> str:
    """Return 12 hex digits that stand for an identifier of the source."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()[:12]


def looks_like_data_set(path: str) -> bool:
    """Whether a file without preamble parses as a data set with a SOP class or with pixels."""
    try:
        dataset, _, element = _parse(scan_container(path))
        sop_class = str(dataset.get("SOPClassUID", ""))
    except Exception:  # nothing but a yes or no is asked, whatever the bytes make a parser raise
        return False
    has_image = element is not None and "Rows" in dataset and "Columns" in dataset
    return has_image or sop_class.startswith("1.2.840.10008.")


def read_instance(path: str) -> Instance:
    """Read one file's header.

    Raises
    ------
    UnsupportedSource
        no pixels, or a layout or transfer syntax that is not taken
    DamagedSource
        the header cannot be parsed or promises more pixels than the file has
    """
    with foreign_errors("reading a DICOM header", path):
        container = scan_container(path)
    return _read_instance(container)


@lru_cache(maxsize=4096)
def _read_instance(container: Container) -> Instance:
    try:
        return _read_checked(container)
    except _MalformedError as exc:
        raise DamagedSource(f"reading a DICOM header: {exc}, in {container.path}") from None


def _read_checked(container: Container) -> Instance:
    path = container.path
    with foreign_errors("reading a DICOM header", path, passing=(_MalformedError,)):
        dataset, container, element = _parse(container)
        if element is None:
            raise UnsupportedSource(f"reading a DICOM image: it has no pixel data, in {path}")
        pixels = _pixel_format(dataset, element, path)
        frames = _integer(dataset, "NumberOfFrames", 1)
        _check_size(container, element, pixels, frames)
        bits = max(pixels.stored, min(element.precision, pixels.allocated))
        deep = replace(pixels, stored=bits, high=bits - 1) if bits > pixels.stored else pixels
        with quiet_pydicom():
            instance = _instance(dataset, container, element, pixels, frames)
        return replace(instance, pixels=deep)


def _parse(container: Container) -> tuple[Dataset, Container, PixelElement | None]:
    """Parse the allow-listed elements before the pixel element, and locate that."""
    source = open_bytes(container)
    try:
        with quiet_pydicom(), source.stream() as stream:
            stream.seek(container.dataset_offset)
            dataset = read_dataset(
                stream,
                container.implicit,
                container.little,
                stop_when=lambda tag, vr, length: tag in _PIXEL_GROUP_TAGS,
                defer_size=MAX_ELEMENT_BYTES,
                specific_tags=list(_TAGS),
            )
            implicit = bool(dataset.original_encoding[0])
            element = locate_pixel_element(source, container, stream.tell(), implicit=implicit)
            if element is not None and container.syntax in UNCUT_SYNTAXES:
                element = replace(element, precision=declared_precision(source, element))
    finally:
        source.close()
    return dataset, replace(container, implicit=implicit), element


def _pixel_format(dataset: Dataset, element: PixelElement, path: str) -> PixelFormat:
    with quiet_pydicom():
        allocated = _integer(dataset, "BitsAllocated")
        floating = element.keyword != "pixels"
        stored = allocated if floating else _integer(dataset, "BitsStored", allocated)
        high = _integer(dataset, "HighBit", stored - 1)
        shifted = stored - 1 <= high < allocated and not element.encapsulated
        pixels = PixelFormat(
            rows=_integer(dataset, "Rows"),
            columns=_integer(dataset, "Columns"),
            bands=_integer(dataset, "SamplesPerPixel", 1),
            allocated=allocated,
            stored=stored,
            high=high if shifted else stored - 1,
            signed=_integer(dataset, "PixelRepresentation", 0) == 1 and allocated > 1,
            photometric=_code(dataset, "PhotometricInterpretation") or "",
            planar=_integer(dataset, "PlanarConfiguration", 0) == 1,
            floating=floating,
        )
    want = {"float32": 32, "float64": 64}.get(element.keyword, allocated)
    if allocated != want:
        raise DamagedSource(
            f"reading a DICOM image: BitsAllocated is {allocated} for {element.keyword} pixel "
            f"data, in {path}"
        )
    pixels.check(path)
    return pixels


def _check_size(
    container: Container, element: PixelElement, pixels: PixelFormat, frames: int
) -> None:
    """Compare what the header promises with what the file holds, before anything is allocated."""
    doing, path = "reading a DICOM image", container.path
    require_syntax(container, encapsulated=element.encapsulated)
    if not 1 <= frames <= MAX_FRAMES:
        raise UnsupportedSource(f"{doing}: {frames} frames, want 1 … {MAX_FRAMES}, in {path}")
    if element.encapsulated:
        if element.value_length < 16:
            raise DamagedSource(f"{doing}: the encapsulated pixel data is empty, in {path}")
        most = element.value_length // ITEM_HEADER_BYTES - 1  # without the offset table
        if frames > most:
            raise DamagedSource(
                f"{doing}: {frames} frames, but its {element.value_length} bytes of pixel data "
                f"hold {most} fragments at most, in {path}"
            )
        return
    if pixels.halved and pixels.columns % 2:
        raise UnsupportedSource(f"{doing}: YBR_FULL_422 of an odd width, in {path}")
    want = pixels.pixel_bytes(frames)
    in_file = element.value_length
    if not container.deflated:
        in_file = min(in_file, container.file_size - element.value_offset)
    if in_file < want:
        raise DamagedSource(
            f"{doing}: {in_file} bytes of pixel data, but {frames} frames of {pixels.rows} × "
            f"{pixels.columns} need {want}, in {path}"
        )


def _instance(
    dataset: Dataset, container: Container, element: PixelElement, pixels: PixelFormat, frames: int
) -> Instance:
    modality = _code(dataset, "Modality") or ""
    modality = modality if modality in _MODALITIES else "OT"
    planes, tiled = _planes(dataset, frames)
    placed = all(p.position is not None for p in planes)
    series, identity = _text(dataset, "SeriesInstanceUID"), _text(dataset, "SOPInstanceUID")
    remarks = []
    if tiled:
        remarks.append("a tiled slide: its tiles are kept as planes, not assembled")
    frame_time = _number(dataset, "FrameTime")
    timed = frame_time is not None or "CineRate" in dataset or modality in _TIME_MODALITIES
    return Instance(
        container=container,
        element=element,
        pixels=pixels,
        stored=pixels.stored,
        modality=modality,
        series=hashed(series) if series else "",
        identity=hashlib.sha256(identity.encode()).hexdigest() if identity else "",
        number=_integer(dataset, "InstanceNumber", 0),
        planes=planes,
        leading="t" if timed and not tiled else "z",
        alone=modality in _OWN_IMAGE_MODALITIES or (frames > 1 and not placed),
        frame_time_ms=frame_time,
        offsets=_binary(dataset, "ExtendedOffsetTable"),
        attributes=_attributes(dataset, pixels, container, modality),
        remarks=tuple(remarks),
        burned_in=_listed(dataset, "BurnedInAnnotation", {"YES", "NO"}) or "",
        slide_label=_slide_label(dataset),
    )


def _slide_label(dataset: Dataset) -> str:
    kinds = dataset.get("ImageType")
    words = [kinds] if isinstance(kinds, str) else list(kinds or ())
    return next((str(word) for word in words if str(word) in ("LABEL", "OVERVIEW")), "")


def _attributes(
    dataset: Dataset, pixels: PixelFormat, container: Container, modality: str
) -> dict[str, Any]:
    """Return the allow-listed attributes that hold for the whole instance."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    measures = _first(shared, "PixelMeasuresSequence")
    mapping = _first(shared, "PixelValueTransformationSequence")
    sop_class = _text(dataset, "SOPClassUID")
    study, series = _text(dataset, "StudyInstanceUID"), _text(dataset, "SeriesInstanceUID")
    found: dict[str, Any] = {
        "modality": modality,
        "study": hashed(study) if study else None,
        "series": hashed(series) if series else None,
        "sop_class_uid": sop_class if is_known_uid(sop_class) else None,
        "transfer_syntax_uid": container.syntax if is_known_uid(container.syntax) else None,
        "bits_stored": None if pixels.floating else pixels.stored,
        "rescale_type": _listed(dataset, "RescaleType", _RESCALE_TYPES)
        or _listed(mapping, "RescaleType", _RESCALE_TYPES),
        "units": _listed(dataset, "Units", _UNITS),
        "dose_grid_scaling": _number(dataset, "DoseGridScaling"),
        "pixel_spacing_mm": _numbers(dataset, "PixelSpacing", 2)
        or _numbers(measures, "PixelSpacing", 2),
        "imager_pixel_spacing_mm": _numbers(dataset, "ImagerPixelSpacing", 2),
        "nominal_scanned_pixel_spacing_mm": _numbers(dataset, "NominalScannedPixelSpacing", 2),
        "pixel_aspect_ratio": _numbers(dataset, "PixelAspectRatio", 2),
        "slice_thickness_mm": _number(dataset, "SliceThickness")
        or _number(measures, "SliceThickness"),
        "spacing_between_slices_mm": _number(dataset, "SpacingBetweenSlices")
        or _number(measures, "SpacingBetweenSlices"),
        "pixel_padding_value": _padding(dataset, "PixelPaddingValue", pixels),
        "pixel_padding_range_limit": _padding(dataset, "PixelPaddingRangeLimit", pixels),
        "lossy_image_compression": _listed(dataset, "LossyImageCompression", {"00", "01"}),
        "segmentation_type": _listed(
            dataset, "SegmentationType", {"BINARY", "FRACTIONAL", "LABELMAP"}
        ),
        "total_pixel_matrix": _pair(dataset, "TotalPixelMatrixRows", "TotalPixelMatrixColumns"),
    }
    return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None}


def _planes(dataset: Dataset, frames: int) -> tuple[tuple[Plane, ...], bool]:
    """Return one plane per frame, and whether the frames are tiles of a slide."""
    shared = _first(dataset, "SharedFunctionalGroupsSequence")
    groups = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
    tiled = "TotalPixelMatrixRows" in dataset or (
        _code(dataset, "DimensionOrganizationType") in ("TILED_FULL", "TILED_SPARSE")
    )
    common = _order(dataset, dataset)
    position = _numbers(dataset, "ImagePositionPatient", 3)
    orientation = _numbers(dataset, "ImageOrientationPatient", 6)
    offsets = _numbers(dataset, "GridFrameOffsetVector", frames)
    planes = []
    for frame in range(frames):
        group = groups[frame] if frame < len(groups) else Dataset()
        both = (group, shared)
        place = _from(both, "PlanePositionSequence", "ImagePositionPatient", 3)
        turn = _from(both, "PlaneOrientationSequence", "ImageOrientationPatient", 6) or orientation
        if place is None and position is not None:
            place = _at_offset(position, turn, offsets, frame, frames)
        planes.append(
            Plane(
                instance=-1,
                frame=frame,
                position=None if tiled else place,
                orientation=turn,
                order=_order(group, dataset) if groups else common,
                rescale=_rescale(both, dataset),
                window=_window(both, dataset),
            )
        )
    return tuple(planes), tiled and frames > 1


def _at_offset(
    position: Vector, turn: Vector | None, offsets: Vector | None, frame: int, frames: int
) -> Vector | None:
    """Return a frame's position from GridFrameOffsetVector (RT Dose, PS3.3 C.8.8.3.2)."""
    if frames == 1:
        return position
    if offsets is None or turn is None:
        return None
    normal = np.cross(turn[:3], turn[3:])
    return tuple(float(p + offsets[frame] * n) for p, n in zip(position, normal, strict=True))


def _order(group: Dataset, dataset: Dataset) -> tuple[float, ...]:
    content = _first(group, "FrameContentSequence")
    diffusion = _first(group, "MRDiffusionSequence")
    echo = _first(group, "MREchoSequence")
    cardiac = _first(group, "CardiacSynchronizationSequence")
    segment = _first(group, "SegmentIdentificationSequence")
    found = (
        _number(content, "TemporalPositionIndex") or _number(dataset, "TemporalPositionIdentifier"),
        _number(dataset, "AcquisitionNumber"),
        _number(diffusion, "DiffusionBValue") or _number(dataset, "DiffusionBValue"),
        _number(echo, "EffectiveEchoTime") or _number(dataset, "EchoNumbers"),
        _number(cardiac, "NominalCardiacTriggerDelayTime") or _number(dataset, "TriggerTime"),
        _number(segment, "ReferencedSegmentNumber"),
        float(_integer(dataset, "InstanceNumber", 0)),
    )
    return tuple(v or 0.0 for v in found)


def _rescale(groups: Iterable[Dataset], dataset: Dataset) -> tuple[float, float] | None:
    for holder in [*(_first(g, "PixelValueTransformationSequence") for g in groups), dataset]:
        slope, intercept = _number(holder, "RescaleSlope"), _number(holder, "RescaleIntercept")
        if slope is not None or intercept is not None:
            return (1.0 if slope is None else slope), intercept or 0.0
    return None


def _window(groups: Iterable[Dataset], dataset: Dataset) -> tuple[Vector, Vector] | None:
    for holder in [*(_first(g, "FrameVOILUTSequence") for g in groups), dataset]:
        centre, width = _numbers(holder, "WindowCenter"), _numbers(holder, "WindowWidth")
        if centre and width and len(centre) == len(width):
            return centre, width
    return None


def _from(groups: Iterable[Dataset], sequence: str, keyword: str, count: int) -> Vector | None:
    for group in groups:
        found = _numbers(_first(group, sequence), keyword, count)
        if found is not None:
            return found
    return None


def _first(dataset: Dataset, keyword: str) -> Dataset:
    """Return the first item of a sequence, or an empty data set."""
    items = dataset.get(keyword)
    return items[0] if isinstance(items, Sequence) and len(items) else Dataset()


def _text(dataset: Dataset, keyword: str) -> str:
    value = dataset.get(keyword)
    return "" if value is None else str(value).strip()


def _code(dataset: Dataset, keyword: str) -> str | None:
    """Return a code string of the form that PS3.5 allows; anything else is None."""
    text = _text(dataset, keyword)
    return text if re.fullmatch(r"[A-Z0-9_ ]{1,16}", text) else None


def _listed(dataset: Dataset, keyword: str, allowed: Iterable[str]) -> str | None:
    text = _text(dataset, keyword)
    return text if text in allowed else None


def _binary(dataset: Dataset, keyword: str) -> bytes:
    value = dataset.get(keyword)
    return value if isinstance(value, bytes) else b""


def _numbers(dataset: Dataset, keyword: str, count: int | None = None) -> Vector | None:
    """Return finite numbers, exactly ``count`` where that is given; None otherwise."""
    value = dataset.get(keyword)
    if value is None or value == "" or isinstance(value, bytes):
        return None
    values = [value] if isinstance(value, (int, float, str)) else value
    try:
        found = tuple(float(v) for v in values)
    except (TypeError, ValueError):
        return None
    if not found or not all(np.isfinite(found)) or count not in (None, len(found)):
        return None
    return found


def _number(dataset: Dataset, keyword: str) -> float | None:
    found = _numbers(dataset, keyword)
    return found[0] if found else None


def _pair(dataset: Dataset, first: str, second: str) -> tuple[int, int] | None:
    a, b = _number(dataset, first), _number(dataset, second)
    return None if a is None or b is None else (int(a), int(b))


def _padding(dataset: Dataset, keyword: str, pixels: PixelFormat) -> int | None:
    """Return a padding value in the samples' own dtype, whatever VR the writer chose for it."""
    value = _number(dataset, keyword)
    if value is None or pixels.floating:
        return None
    bits = pixels.stored
    raw = int(value) & ((1 << bits) - 1)
    return raw - (1 << bits) if pixels.signed and raw >> (bits - 1) else raw


def _integer(dataset: Dataset, keyword: str, default: int | None = None) -> int:
    """Return one integer; a missing or malformed one is ``default`` or else damage."""
    found = _numbers(dataset, keyword, 1)
    if found is not None and found[0] == int(found[0]):
        return int(found[0])
    if default is None or (found is None and _present(dataset, keyword)):
        raise _MalformedError(f"{keyword} is missing or is no integer")
    return default


def _present(dataset: Dataset, keyword: str) -> bool:
    return dataset.get(keyword) not in (None, "", b"")
