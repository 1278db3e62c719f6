"""Small images of every kind, for the tests that look for images."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import obstore
import rasterio
from obstore.store import S3Store
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

IMAGE = np.arange(20 * 30, dtype=np.uint16).reshape(20, 30)


def tiff(path: Path, image: np.ndarray = IMAGE, pixel: float = 30, **options: object) -> Path:
    """Write one band."""
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = image.shape
    with rasterio.open(
        path, "w", driver="GTiff", width=width, height=height, count=1, dtype=image.dtype,
        crs="EPSG:32631", transform=rasterio.Affine(pixel, 0, 5e5, 0, -pixel, 4e6), **options,
    ) as file:  # fmt: skip
        file.write(image, 1)
    return path


def npy(path: Path, image: np.ndarray = IMAGE) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        np.save(file, image)
    return path


def dicom(path: Path, series: int, number: int) -> Path:
    """Write one slice."""
    path.parent.mkdir(parents=True, exist_ok=True)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = f"1.2.3.{series}.{number}"
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset = FileDataset(path, {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID, dataset.SOPInstanceUID = CTImageStorage, f"1.2.3.{series}.{number}"
    dataset.SeriesInstanceUID, dataset.Modality = f"1.2.3.{series}", "CT"
    dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 30, 1
    dataset.PhotometricInterpretation, dataset.PixelRepresentation = "MONOCHROME2", 0
    dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 16, 15
    dataset.ImagePositionPatient = [0, 0, number]
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.InstanceNumber = [1, 1], number
    dataset.PixelData = IMAGE.tobytes()
    dataset.save_as(path)
    return path


def upload(folder: Path, url: str) -> None:
    """Put every file of a folder below an address."""
    bucket, _, prefix = url.removeprefix("s3://").partition("/")
    store = S3Store(bucket)
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            key = path.relative_to(folder).as_posix()
            obstore.put(store, f"{prefix}/{key}" if prefix else key, path.read_bytes())
