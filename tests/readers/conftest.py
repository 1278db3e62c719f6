"""Stores that readers of other projects open: a scene of bands, a volume, a slide in colour."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import rasterio
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid
from tests.helpers.samples import smooth
from tests.helpers.slide_files import APERIO, pyramid, write_slide

from tilepress import compress

BUNDLED = Path(__file__).resolve().parents[2] / "examples" / "data"
CT = "1.2.840.10008.5.1.4.1.1.2"


@dataclass(frozen=True)
class Made:
    """A store, and the samples of its full resolution as its source has them."""

    path: Path
    image: npt.NDArray[np.generic]


@pytest.fixture(scope="session")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a stack of three Landsat bands with two levels."""
    folder = tmp_path_factory.mktemp("scene")
    bands = []
    for file in sorted(BUNDLED.glob("LC08_*_B?.tif")):
        with rasterio.open(file) as opened:
            bands.append(opened.read(1))
    compress(
        BUNDLED, folder / "scene.zarr", stack="LC08_*_B?.tif", levels=2, workers=0, tier="fast"
    )
    return Made(folder / "scene.zarr", np.stack(bands))


@pytest.fixture(scope="session")
def volume(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a CT of four slices, 2.5 mm apart, with a window."""
    folder = tmp_path_factory.mktemp("volume")
    image = smooth((4, 60, 80)).astype(np.uint16)
    series, study = generate_uid(), generate_uid()
    for number, samples in enumerate(image):
        _slice(samples, number, series, study).save_as(
            folder / f"{number}.dcm", enforce_file_format=True
        )
    compress(folder, folder / "ct.zarr", workers=0, tier="fast")
    return Made(folder / "ct.zarr", image)


def _slice(samples: npt.NDArray[np.uint16], number: int, series: str, study: str) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.SOPClassUID, dataset.SOPInstanceUID = CT, generate_uid()
    dataset.SeriesInstanceUID, dataset.StudyInstanceUID = series, study
    dataset.Modality, dataset.InstanceNumber = "CT", number + 1
    dataset.PixelSpacing, dataset.SliceThickness = [0.75, 0.5], 2.5
    dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    dataset.ImagePositionPatient = [0, 0, 2.5 * number]
    dataset.WindowCenter, dataset.WindowWidth = 1000, 400
    dataset.RescaleSlope, dataset.RescaleIntercept = 1, 0
    dataset.Rows, dataset.Columns = samples.shape
    dataset.BitsAllocated = dataset.BitsStored = 16
    dataset.HighBit, dataset.PixelRepresentation, dataset.SamplesPerPixel = 15, 0, 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    dataset.PixelData = samples.tobytes()
    dataset["PixelData"].VR = "OW"
    return dataset


@pytest.fixture(scope="session")
def slide(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """Return a slide in colour with its own two levels."""
    folder = tmp_path_factory.mktemp("slide")
    levels = pyramid(300, 340)
    texts = [f"{APERIO}|AppMag = 20|MPP = 0.5"] * len(levels)
    write_slide(folder / "slide.svs", levels, tile=64, texts=texts)
    compress(folder / "slide.svs", folder / "slide.zarr", workers=0, tier="fast")
    return Made(folder / "slide.zarr", levels[0])
