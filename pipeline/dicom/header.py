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

from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset
from pydicom.tag import Tag

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.dicom.bytes import (
    Container,
    PixelElement,
    foreign_errors,
    locate_pixel_element,
    open_bytes,
    quiet_pydicom,
    scan_container,
)
from tilepress.pipeline.dicom.codestreams import declared_precision
from tilepress.pipeline.dicom.frames import count_frames
from tilepress.pipeline.dicom.labels import LABEL_TAGS
from tilepress.pipeline.dicom.pixels import (
    KNOWN_PHOTOMETRICS,
    UNCUT_SYNTAXES,
    PixelFormat,
    is_known_uid,
    require_syntax,
)
from tilepress.pipeline.dicom.planes import Plane, planes_of
from tilepress.pipeline.dicom.tables import RESCALE_TYPES, TABLE_TAGS, tables_of
from tilepress.pipeline.dicom.tiling import TILING_TAGS, Tiling, is_sound_tiling, tiling_of
from tilepress.pipeline.dicom.unknown import unknown_element
from tilepress.pipeline.dicom.values import (
    Malformed,
    binary,
    code,
    first_item,
    hashed,
    integer,
    integer_or,
    listed,
    number,
    numbers,
    pair,
    text_of,
    words,
)

__all__ = ["Instance", "Plane", "hashed", "looks_like_data_set", "read_instance"]

MAX_ELEMENT_BYTES = 256 * 2**20
"""Longest element that is read at all (functional groups of large multi-frame images)."""

_MODALITIES = words(
    """AR ASMT AU BDUS BI BMD CR CT CTPROTOCOL DG DMS DX ECG EEG EMG EOG EPS ES FID GM HC HD IO IOL
    IVOCT IVUS KER KO LEN LS MG MR M3D NM OAM OCT OP OPM OPR OPT OPTBSV OPTENF OPV OSS OT PA PLAN
    POS PR PT PX REG RESP RF RG RTDOSE RTIMAGE RTINTENT RTPLAN RTRAD RTRECORD RTSEGANN RTSTRUCT
    RWV SEG SM SMR SR SRF STAIN TEXTUREMAP TG US VA XA XAPROTOCOL XC"""
)
_UNITS = words(
    """CNTS NONE CM2 CM2ML PCNT CPS BQML MGMINML UMOLMINML MLMING MLG 1CM UMOLML PROPCNTS PROPCPS
    MLMINML MLML GML STDDEV"""
)
_OWN_IMAGE_MODALITIES = frozenset({"SEG"})
_TIME_MODALITIES = frozenset({"US", "XA", "RF", "ES", "IVUS", "XC", "GM", "OP"})

_TAGS = [
    Tag(keyword)
    for keyword in words("""
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
_TAGS += [Tag("FrameOfReferenceUID"), *LABEL_TAGS, *TABLE_TAGS, *TILING_TAGS]
_PIXEL_GROUP_TAGS = frozenset({0x7FE00008, 0x7FE00009, 0x7FE00010})


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
    frame_of_reference: str = ""
    """Hash of FrameOfReferenceUID; "" where the file has none."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """What holds for every plane, allow-listed."""
    remarks: tuple[str, ...] = ()
    burned_in: str = ""
    """BurnedInAnnotation: "YES" or "NO"; "" where the file does not say."""
    slide_label: str = ""
    """"LABEL" or "OVERVIEW" where it shows that of a slide (ImageType, PS3.3 C.8.12.4.1.1)."""
    tiling: Tiling | None = None
    """Where its frames lie on the matrix of a slide; None where it is none, or does not say."""

    @property
    def path(self) -> str:
        return self.container.path

    @property
    def sort_key(self) -> tuple[int, str]:
        return self.number, self.container.path


def is_sound(instance: Instance) -> bool:
    """Whether what names images and stores is of the form that ``read_instance`` gives it."""
    element = instance.element
    texts = (instance.modality, instance.series, instance.identity, element.keyword)
    numbers_told = (
        *(instance.number, instance.container.file_size),
        *(element.value_offset, element.value_length),
    )
    return (
        all(isinstance(text, str) for text in texts)
        and instance.modality in _MODALITIES
        and re.fullmatch(r"([0-9a-f]{2}){0,64}", instance.series + instance.identity) is not None
        and all(type(number) is int for number in numbers_told)
        and min(numbers_told[1:]) >= 0
        and (instance.tiling is None or is_sound_tiling(instance.tiling, len(instance.planes)))
    )


def looks_like_data_set(path: str) -> bool:
    """Whether a file without preamble parses as a data set with a SOP class or with pixels."""
    try:
        dataset, _, element = _parse(scan_container(path))
        sop_class = str(dataset.get("SOPClassUID", ""))
    except Exception:  # nothing but a yes or no is asked, whatever the bytes make a parser raise
        return False
    has_image = element is not None and "Rows" in dataset and "Columns" in dataset
    return has_image or sop_class.startswith("1.2.840.10008.")


def is_companion(path: str) -> bool:
    """Whether a file belongs to images and is none: a report, a document, a plan, a key object.

    It parses, has no pixels, and its SOP class is one that never has any.
    """
    try:
        with foreign_errors("reading a DICOM header", path):
            container = scan_container(path)
            dataset, _, element = _parse(container)
            sop_class = text_of(dataset, "SOPClassUID")
    except SourceError:
        return False
    listed_class = sop_class in _NO_IMAGES or sop_class.startswith(_NO_IMAGES_BELOW)
    is_cut = "Rows" in dataset and sop_class != _SPECTRA
    return element is None and not is_cut and listed_class


_STORAGE = "1.2.840.10008.5.1.4.1.1."
_SLIDES = frozenset({f"{_STORAGE}77.1.6", f"{_STORAGE}77.1.8"})
"""VL Whole Slide Microscopy, Confocal Microscopy Tiled Pyramidal."""
_SPECTRA = f"{_STORAGE}4.2"
"""MR Spectroscopy, which has rows of spectra."""
_NO_IMAGES = frozenset(
    {
        "1.2.840.10008.1.3.10",  # DICOMDIR
        *(f"1.2.840.10008.5.1.4.{n}" for n in ("34.1", "34.7", "34.10", "38.1", "39.1")),
        *(f"1.2.840.10008.5.1.4.{n}" for n in ("43.1", "44.1", "45.1")),
        *(f"{_STORAGE}481.{n}" for n in (*range(2, 23), 25)),
        *(f"{_STORAGE}66.{n}" for n in (1, 2, 3, 5, 6)),
        *(f"{_STORAGE}{n}" for n in ("8", "9", "10", "11", "66", "67", "68.1", "68.2")),
        _SPECTRA,
        *(f"{_STORAGE}{n}" for n in ("77.1.5.3", "79.1", "80.1", "82.1", "90.1", "91.1")),
        *(f"{_STORAGE}{n}" for n in ("129", "131")),
    }
)
"""Directories, instructions, hanging protocols, palettes, templates of implants; RT structures,
plans, records, and doses that are curves alone; registrations, fiducials, surfaces; spectra,
tables, raw data, real world value mappings, scanned surfaces; measurements of eyes, assessments,
annotations of slides; displays (PS3.4 annex B.5)."""
_NO_IMAGES_BELOW = tuple(f"{_STORAGE}{n}." for n in (9, 11, 78, 88, 104, 200, 201))
"""Waveforms, presentation states, measurements of eyes, structured reports with key objects,
documents, protocols, inventories."""


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
    except Malformed as exc:
        raise DamagedSource(f"reading a DICOM header: {exc}, in {container.path}") from None


def _read_checked(container: Container) -> Instance:
    path = container.path
    with foreign_errors("reading a DICOM header", path, passing=(Malformed,)):
        dataset, container, element = _parse(container)
        if element is None:
            raise UnsupportedSource(
                f"reading a DICOM image: it has no pixel data{_why_none(container)}, in {path}"
            )
        require_syntax(container, encapsulated=element.encapsulated)
        pixels = _pixel_format(dataset, element, path)
        counted = count_frames(dataset, container, element, pixels)
        pixels, frames = counted.pixels, counted.frames
        bits = max(pixels.stored, min(element.precision, pixels.allocated))
        deep = replace(pixels, stored=bits, high=bits - 1) if bits > pixels.stored else pixels
        with quiet_pydicom():
            instance = _instance(dataset, container, element, pixels, frames)
        return replace(instance, pixels=deep, remarks=(*instance.remarks, *counted.remarks))


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


def _why_none(container: Container) -> str:
    """Say what may have kept the parser from pixel data; "" where nothing did."""
    source = open_bytes(container)
    try:
        found = unknown_element(source, container)
    finally:
        source.close()
    if found is None:
        return ""
    tag, vr, offset = found
    where = f"element ({tag >> 16:04X},{tag & 0xFFFF:04X}) at byte {offset}"
    return f" that can be reached: {where} has value representation {vr!r}, which is not known"


def _pixel_format(dataset: Dataset, element: PixelElement, path: str) -> PixelFormat:
    with quiet_pydicom():
        allocated = integer(dataset, "BitsAllocated")
        floating = element.keyword != "pixels"
        stored = allocated if floating else integer(dataset, "BitsStored", allocated)
        high = integer(dataset, "HighBit", stored - 1)
        shifted = stored - 1 <= high < allocated and not element.encapsulated
        pixels = PixelFormat(
            rows=integer(dataset, "Rows"),
            columns=integer(dataset, "Columns"),
            bands=integer(dataset, "SamplesPerPixel", 1),
            allocated=allocated,
            stored=stored,
            high=high if shifted else stored - 1,
            signed=integer(dataset, "PixelRepresentation", 0) == 1 and allocated > 1,
            photometric=_photometric(dataset),
            planar=integer(dataset, "PlanarConfiguration", 0) == 1,
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


def _photometric(dataset: Dataset) -> str:
    """Return the photometric interpretation, "" where it is no term of the standard in any case."""
    text = text_of(dataset, "PhotometricInterpretation")
    return text if text.upper() in KNOWN_PHOTOMETRICS else ""


def _instance(
    dataset: Dataset, container: Container, element: PixelElement, pixels: PixelFormat, frames: int
) -> Instance:
    modality = code(dataset, "Modality") or ""
    modality = modality if modality in _MODALITIES else "OT"
    planes, tiled = planes_of(dataset, frames)
    placed = all(p.position is not None for p in planes)
    series, identity = text_of(dataset, "SeriesInstanceUID"), text_of(dataset, "SOPInstanceUID")
    frame = text_of(dataset, "FrameOfReferenceUID")
    remarks = []
    if tiled:
        remarks.append("a tiled slide: its tiles are kept as planes, not assembled")
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    tables, about_tables = tables_of(
        dataset,
        (shared, *(dataset.get("PerFrameFunctionalGroupsSequence") or ())),
        little=container.little,
        signed=pixels.signed,
        is_palette=pixels.photometric == "PALETTE COLOR",
    )
    remarks += about_tables
    sop_class = text_of(dataset, "SOPClassUID")
    frame_time = number(dataset, "FrameTime")
    timed = frame_time is not None or "CineRate" in dataset or modality in _TIME_MODALITIES
    return Instance(
        container=container,
        element=element,
        pixels=pixels,
        stored=pixels.stored,
        modality=modality,
        series=hashed(series) if series else "",
        identity=hashlib.sha256(identity.encode()).hexdigest() if identity else "",
        number=integer_or(dataset, "InstanceNumber", 0),
        planes=planes,
        leading="t" if timed and not tiled else "z",
        alone=modality in _OWN_IMAGE_MODALITIES or (frames > 1 and not placed),
        frame_time_ms=frame_time,
        offsets=binary(dataset, "ExtendedOffsetTable"),
        frame_of_reference=hashed(frame) if frame else "",
        attributes=_attributes(dataset, pixels, container, modality, planes) | tables,
        remarks=tuple(remarks),
        burned_in=listed(dataset, "BurnedInAnnotation", {"YES", "NO"}) or "",
        slide_label=_slide_label(dataset),
        tiling=_tiling(dataset, sop_class, frames, pixels),
    )


def _tiling(dataset: Dataset, sop_class: str, frames: int, pixels: PixelFormat) -> Tiling | None:
    """Return the tiling of a slide under a microscope, of which there are several classes."""
    if sop_class not in _SLIDES:
        return None
    return tiling_of(dataset, frames, pixels.rows, pixels.columns)


def _slide_label(dataset: Dataset) -> str:
    kinds = dataset.get("ImageType")
    words = [kinds] if isinstance(kinds, str) else list(kinds or ())
    said = [str(word).strip().upper() for word in words]
    return next((word for word in said if word in ("LABEL", "OVERVIEW")), "")


def _attributes(
    dataset: Dataset,
    pixels: PixelFormat,
    container: Container,
    modality: str,
    planes: Iterable[Plane],
) -> dict[str, Any]:
    """Return the allow-listed attributes that hold for the whole instance."""
    shared = first_item(dataset, "SharedFunctionalGroupsSequence")
    mapping = first_item(shared, "PixelValueTransformationSequence")
    sop_class = text_of(dataset, "SOPClassUID")
    study, series = text_of(dataset, "StudyInstanceUID"), text_of(dataset, "SeriesInstanceUID")
    found: dict[str, Any] = {
        "modality": modality,
        "study": hashed(study) if study else None,
        "series": hashed(series) if series else None,
        "sop_class_uid": sop_class if is_known_uid(sop_class) else None,
        "transfer_syntax_uid": container.syntax if is_known_uid(container.syntax) else None,
        "bits_stored": None if pixels.floating else pixels.stored,
        "rescale_type": listed(dataset, "RescaleType", RESCALE_TYPES)
        or listed(mapping, "RescaleType", RESCALE_TYPES),
        "units": listed(dataset, "Units", _UNITS),
        "dose_grid_scaling": number(dataset, "DoseGridScaling"),
        "pixel_spacing_mm": _shared(plane.spacing for plane in planes),
        "imager_pixel_spacing_mm": numbers(dataset, "ImagerPixelSpacing", 2),
        "nominal_scanned_pixel_spacing_mm": numbers(dataset, "NominalScannedPixelSpacing", 2),
        "pixel_aspect_ratio": numbers(dataset, "PixelAspectRatio", 2),
        "slice_thickness_mm": _shared(plane.thickness for plane in planes),
        "spacing_between_slices_mm": _shared(plane.between for plane in planes),
        "pixel_padding_value": _padding(dataset, "PixelPaddingValue", pixels),
        "pixel_padding_range_limit": _padding(dataset, "PixelPaddingRangeLimit", pixels),
        "lossy_image_compression": listed(dataset, "LossyImageCompression", {"00", "01"}),
        "segmentation_type": listed(
            dataset, "SegmentationType", {"BINARY", "FRACTIONAL", "LABELMAP"}
        ),
        "total_pixel_matrix": pair(dataset, "TotalPixelMatrixRows", "TotalPixelMatrixColumns"),
    }
    return {k: list(v) if isinstance(v, tuple) else v for k, v in found.items() if v is not None}


def _padding(dataset: Dataset, keyword: str, pixels: PixelFormat) -> int | None:
    """Return a padding value in the samples' own dtype, whatever VR the writer chose for it."""
    value = number(dataset, keyword)
    if value is None or pixels.floating:
        return None
    bits = pixels.stored
    raw = int(value) & ((1 << bits) - 1)
    return raw - (1 << bits) if pixels.signed and raw >> (bits - 1) else raw


def _shared(values: Iterable[Any]) -> Any:  # noqa: ANN401  # a number, or a tuple of them
    """Return what all planes have alike; None where they differ."""
    found = list(dict.fromkeys(values))
    return found[0] if len(found) == 1 else None
