"""What a DICOM instance says of a level of a slide that came in another format.

VL Whole Slide Microscopy Image (PS3.3 A.32.8), TILED_FULL. What the source did not say is left
empty where the standard allows it, or out; names of people are never taken over. A slide without a
colour profile is said to be sRGB, for the standard asks for one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, generate_uid

from tilepress.pipeline.image.slide import LevelToWrite, SlideToWrite

__all__ = ["Coding", "SlideIdentity", "file_meta_of", "header_of"]

WSI = UID("1.2.840.10008.5.1.4.1.1.77.1.6")
UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Coding:
    """How the tiles of a level lie in its instance."""

    syntax: str
    photometric: str
    methods: tuple[str, ...] = ()
    """Of lossy compression, one after another; none where nothing says that any was lossy."""
    ratio: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideIdentity:
    """What all instances of a slide have alike."""

    study: str
    series: str
    frame_of_reference: str
    dimensions: str
    specimen: str
    pyramid: str
    now: datetime

    @classmethod
    def new(cls) -> SlideIdentity:
        uids = [str(generate_uid(prefix=None)) for _ in range(6)]
        study, series, frame, dimensions, specimen, pyramid = uids
        return cls(
            study=study,
            series=series,
            frame_of_reference=frame,
            dimensions=dimensions,
            specimen=specimen,
            pyramid=pyramid,
            now=datetime.now(UTC),
        )


def file_meta_of(uid: str, syntax: str) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = WSI, UID(uid)
    meta.TransferSyntaxUID = UID(syntax)
    return meta


def header_of(
    slide: SlideToWrite, number: int, identity: SlideIdentity, uid: str, coding: Coding
) -> Dataset:
    """Return all elements of the instance of a level, by its number, but those of pixels."""
    level, ds = slide.levels[number], Dataset()
    kind = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    if number:
        kind = ["DERIVED", "PRIMARY", "VOLUME", "RESAMPLED"]
    ds.SpecificCharacterSet = "ISO_IR 192"
    ds.SOPClassUID, ds.SOPInstanceUID = WSI, UID(uid)
    ds.ImageType, ds.InstanceNumber = kind, number + 1
    _name_nobody(ds, identity)
    ds.Modality, ds.SeriesInstanceUID, ds.SeriesNumber = "SM", identity.series, 1
    ds.PyramidUID = identity.pyramid
    ds.FrameOfReferenceUID = identity.frame_of_reference
    ds.PositionReferenceIndicator = "SLIDE_CORNER"
    _describe_equipment(ds)
    date, time = identity.now.strftime("%Y%m%d"), identity.now.strftime("%H%M%S")
    ds.ContentDate, ds.ContentTime = date, time
    ds.InstanceCreationDate, ds.InstanceCreationTime = date, time
    if slide.taken_at is not None:
        ds.AcquisitionDateTime = slide.taken_at.strftime("%Y%m%d%H%M%S")
    _describe_pixels(ds, slide, level, coding)
    _describe_matrix(ds, slide, level)
    _describe_frames(ds, slide, level, identity, kind)
    ds.OpticalPathSequence = list(_optical_paths(slide, level))
    ds.NumberOfOpticalPaths = 1 if slide.is_colour else level.bands
    _describe_specimen(ds, identity)
    return ds


def _name_nobody(ds: Dataset, identity: SlideIdentity) -> None:
    for keyword in (
        *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
        *("StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    ):
        setattr(ds, keyword, "")
    ds.StudyInstanceUID = identity.study


def _describe_equipment(ds: Dataset) -> None:
    from tilepress import __version__

    ds.Manufacturer = ds.ManufacturerModelName = "tilepress"
    ds.DeviceSerialNumber, ds.SoftwareVersions = UNKNOWN, __version__


def _describe_pixels(ds: Dataset, slide: SlideToWrite, level: LevelToWrite, coding: Coding) -> None:
    bits = level.reader.dtype.itemsize * 8
    ds.SamplesPerPixel = 3 if slide.is_colour else 1
    ds.PhotometricInterpretation = coding.photometric
    if slide.is_colour:
        ds.PlanarConfiguration = 0
    else:
        ds.PresentationLUTShape, ds.RescaleIntercept, ds.RescaleSlope = "IDENTITY", 0, 1
    ds.Rows, ds.Columns = level.rows, level.columns
    ds.BitsAllocated, ds.BitsStored, ds.HighBit, ds.PixelRepresentation = bits, bits, bits - 1, 0
    paths = 1 if slide.is_colour else level.bands
    ds.NumberOfFrames = paths * level.down * level.across
    ds.BurnedInAnnotation = "NO"
    ds.LossyImageCompression = "01" if coding.methods else "00"
    if coding.methods:
        before = ["1"] * (len(coding.methods) - 1)  # nobody has told
        ds.LossyImageCompressionRatio = [*before, f"{coding.ratio:.6g}"]
        ds.LossyImageCompressionMethod = list(coding.methods)


def _describe_matrix(ds: Dataset, slide: SlideToWrite, level: LevelToWrite) -> None:
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = level.height, level.width
    ds.TotalPixelMatrixFocalPlanes = 1
    ds.TotalPixelMatrixOriginSequence = [
        _item(XOffsetInSlideCoordinateSystem=0, YOffsetInSlideCoordinateSystem=0)
    ]
    ds.ImageOrientationSlide = [0, -1, 0, -1, 0, 0]
    ds.SpecimenLabelInImage = ds.ExtendedDepthOfField = "NO"
    ds.FocusMethod, ds.VolumetricProperties = "AUTO", "VOLUME"
    if slide.pixel_size_um is not None:
        down, across = slide.pixel_size_um
        ds.ImagedVolumeHeight = slide.levels[0].height * down / 1000
        ds.ImagedVolumeWidth = slide.levels[0].width * across / 1000
        ds.ImagedVolumeDepth = 0.001


def _describe_frames(
    ds: Dataset, slide: SlideToWrite, level: LevelToWrite, identity: SlideIdentity, kind: list[str]
) -> None:
    ds.DimensionOrganizationSequence = [_item(DimensionOrganizationUID=identity.dimensions)]
    ds.DimensionOrganizationType = "TILED_FULL"
    shared = _item(WholeSlideMicroscopyImageFrameTypeSequence=[_item(FrameType=kind)])
    if slide.pixel_size_um is not None:
        first = slide.levels[0]
        down, across = slide.pixel_size_um
        spacing = [
            f"{down * _factor(first.height, level.height) / 1000:.10g}",
            f"{across * _factor(first.width, level.width) / 1000:.10g}",
        ]
        measures = _item(PixelSpacing=spacing, SliceThickness="0.001")
        shared.PixelMeasuresSequence = [measures]
    if slide.is_colour or level.bands == 1:
        path = _item(OpticalPathIdentifier="0")
        shared.OpticalPathIdentificationSequence = [path]
    ds.SharedFunctionalGroupsSequence = [shared]


def _factor(full: int, reduced: int) -> float:
    """Return how many samples one of a level stands for: whole ones, where sizes were rounded."""
    whole = max(1, round(full / reduced))
    return whole if reduced in (full // whole, -(-full // whole)) else full / reduced


def _optical_paths(slide: SlideToWrite, level: LevelToWrite) -> Iterator[Dataset]:
    for band in range(1 if slide.is_colour else level.bands):
        path = _item(OpticalPathIdentifier=str(band))
        if len(slide.band_names) == level.bands and slide.band_names[band]:
            path.OpticalPathDescription = slide.band_names[band][:64]
        if slide.objective_power is not None:
            path.ObjectiveLensPower = f"{slide.objective_power:g}"
        if slide.is_colour:
            path.ICCProfile = slide.icc_profile or _srgb()
            path.ICCProfile += b"\0" * (len(path.ICCProfile) % 2)
            if slide.icc_profile is None:
                path.ColorSpace = "SRGB"
            light = _code("111744", "DCM", "Brightfield illumination")
            path.IlluminationTypeCodeSequence = [light]
            path.IlluminationColorCodeSequence = [_code("414298005", "SCT", "Full Spectrum")]
        yield path


def _srgb() -> bytes:
    import imagecodecs

    return bytes(imagecodecs.cms_profile("srgb"))


def _describe_specimen(ds: Dataset, identity: SlideIdentity) -> None:
    ds.AcquisitionContextSequence = []
    ds.ContainerIdentifier = UNKNOWN
    ds.IssuerOfTheContainerIdentifierSequence = []
    ds.ContainerTypeCodeSequence = [_code("433466003", "SCT", "Microscope slide")]
    ds.SpecimenDescriptionSequence = [
        _item(
            SpecimenIdentifier=UNKNOWN,
            SpecimenUID=identity.specimen,
            IssuerOfTheSpecimenIdentifierSequence=[],
            SpecimenPreparationSequence=[],
        )
    ]


def _code(value: str, scheme: str, meaning: str) -> Dataset:
    return _item(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def _item(**elements: Any) -> Dataset:  # noqa: ANN401  # whatever elements hold
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
