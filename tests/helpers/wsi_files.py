"""DICOM files of slides, tile by tile, as scanners and converters write them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, JPEGBaseline8Bit

WSI = "1.2.840.10008.5.1.4.1.1.77.1.6"
SERIES = "1.2.3.4"


def tiles_of(samples: np.ndarray, tile: int, fill: int = 0) -> list[np.ndarray]:
    """Cut (bands, y, x) into tiles, by row and column; what lies beyond is ``fill``."""
    bands, height, width = samples.shape
    down, across = -(-height // tile), -(-width // tile)
    whole = np.full((bands, down * tile, across * tile), fill, samples.dtype)
    whole[:, :height, :width] = samples
    cut = whole.reshape(bands, down, tile, across, tile).transpose(1, 3, 0, 2, 4)
    return list(cut.reshape(-1, bands, tile, tile))


def write_tiles(
    path: Path,
    frames: Sequence[np.ndarray],
    size: tuple[int, int],
    *,
    number: int = 1,
    places: Sequence[tuple[int, int]] | None = None,
    paths: Sequence[str] = (),
    frame_paths: Sequence[str] = (),
    planes: int = 1,
    depths: Sequence[float] = (),
    offset: int | None = None,
    shows: str = "VOLUME",
    jpeg: bool = False,
    series: str = SERIES,
    spacing: float = 0.0005,
    **more: Any,
) -> Path:
    """Write one instance of frames (bands, tile, tile).

    size : rows and columns of its matrix; places : row and column of each frame, from 0, where it
    is sparse; offset : number of the first frame of a part of a concatenation.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    bands, rows, columns = frames[0].shape
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = WSI, f"{series}.{number}"
    meta.TransferSyntaxUID = JPEGBaseline8Bit if jpeg else ExplicitVRLittleEndian
    ds = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    ds.SOPClassUID, ds.SOPInstanceUID = WSI, f"{series}.{number}"
    ds.StudyInstanceUID, ds.SeriesInstanceUID, ds.Modality = "1.2.3", series, "SM"
    ds.ImageType, ds.InstanceNumber = ["ORIGINAL", "PRIMARY", shows, "NONE"], number
    ds.PatientName, ds.ContainerIdentifier = "Doe^Jane", "S-77"
    ds.Rows, ds.Columns, ds.SamplesPerPixel = rows, columns, bands
    ds.PhotometricInterpretation = "RGB" if bands == 3 else "MONOCHROME2"
    if bands == 3:
        ds.PlanarConfiguration = 0
    bits = frames[0].dtype.itemsize * 8
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = bits, bits, bits - 1
    ds.PixelRepresentation, ds.NumberOfFrames = 0, len(frames)
    ds.TotalPixelMatrixRows, ds.TotalPixelMatrixColumns = size
    ds.TotalPixelMatrixFocalPlanes = planes
    ds.DimensionOrganizationType = "TILED_FULL" if places is None else "TILED_SPARSE"
    if paths:
        ds.OpticalPathSequence = [_item(OpticalPathIdentifier=one) for one in paths]
        ds.NumberOfOpticalPaths = len(paths)
    if offset is not None:
        ds.ConcatenationUID, ds.ConcatenationFrameOffsetNumber = f"{series}.99", offset
    measures = _item(PixelSpacing=[spacing, spacing], SpacingBetweenSlices=0.002)
    ds.SharedFunctionalGroupsSequence = [_item(PixelMeasuresSequence=[measures])]
    if places is not None:
        groups = []
        for at, (row, column) in enumerate(places):
            place = _item(
                RowPositionInTotalImagePixelMatrix=row + 1,
                ColumnPositionInTotalImagePixelMatrix=column + 1,
                ZOffsetInSlideCoordinateSystem=depths[at] if depths else 0,
            )
            group = _item(PlanePositionSlideSequence=[place])
            if frame_paths:
                path_of = _item(OpticalPathIdentifier=frame_paths[at])
                group.OpticalPathIdentificationSequence = [path_of]
            groups.append(group)
        ds.PerFrameFunctionalGroupsSequence = groups
    for keyword, value in more.items():
        setattr(ds, keyword, value)
    pixels = [np.ascontiguousarray(np.moveaxis(one, 0, -1)) for one in frames]
    if jpeg:
        ds.LossyImageCompression = "01"
        streams = [imagecodecs.jpeg8_encode(one.squeeze(), level=85) for one in pixels]
        ds.PixelData = encapsulate([one + b"\0" * (len(one) % 2) for one in streams])
        ds["PixelData"].VR, ds["PixelData"].is_undefined_length = "OB", True
    else:
        data = b"".join(one.tobytes() for one in pixels)
        ds.PixelData = data + b"\0" * (len(data) % 2)
        ds["PixelData"].VR = "OB" if bits == 8 else "OW"
    ds.save_as(path, enforce_file_format=True)
    return path


def write_levels(folder: Path, levels: Sequence[np.ndarray], tile: int = 16, **more: Any) -> Path:
    """Write an instance for each level, the first one with number 1."""
    for number, level in enumerate(levels, 1):
        size, spacing = level.shape[1:], 0.0005 * 2 ** (number - 1)
        write_tiles(
            folder / f"level{number}.dcm", tiles_of(level, tile), size, number=number,
            spacing=spacing, **more,
        )  # fmt: skip
    return folder


def _item(**elements: Any) -> Dataset:
    item = Dataset()
    for keyword, value in elements.items():
        setattr(item, keyword, value)
    return item
