"""An archive of DICOM stores of several kinds, the files it was made of, and who asks for them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import (
    CTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGBaseline8Bit,
    UltrasoundImageStorage,
)
from starlette.testclient import TestClient

import tilepress
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf

from ....helpers.samples import smooth
from ....helpers.wsi_files import tiles_of, write_tiles

ROOT = "/dicom-web"


def data_set(study: str, series: str, instance: str, syntax: str, **elements: Any) -> FileDataset:
    """Return a data set of a patient, without pixels."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = elements.get("SOPClassUID", CTImageStorage)
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = syntax
    ds = FileDataset(
        None,
        Dataset(),
        file_meta=meta,
        preamble=bytes(128),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.SOPClassUID, ds.SOPInstanceUID = CTImageStorage, instance
    ds.StudyInstanceUID, ds.SeriesInstanceUID = study, series
    ds.PatientName, ds.PatientID, ds.PatientSex = "Müller^Anna Maria", "P-1", "F"
    ds.StudyDate, ds.StudyTime, ds.StudyID = "20200131", "101500.5", "7"
    ds.AccessionNumber, ds.Modality, ds.SeriesNumber = "A77", "CT", 3
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(ds, keyword, value)
    return ds


def with_pixels(ds: FileDataset, pixels: np.ndarray, path: Path) -> Path:
    """Put pixels (Y, X) or (frames, Y, X) into a data set, and write it."""
    rows, columns = pixels.shape[-2:]
    ds.Rows, ds.Columns, ds.PixelRepresentation = rows, columns, 0
    if pixels.ndim == 3:
        ds.NumberOfFrames = len(pixels)
    ds.BitsAllocated = ds.BitsStored = 8 * pixels.itemsize
    ds.HighBit = ds.BitsStored - 1
    order = ">" if ds.file_meta.TransferSyntaxUID == ExplicitVRBigEndian else "<"
    ds.PixelData = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    ds["PixelData"].VR = "OB" if pixels.itemsize == 1 else "OW"
    path.parent.mkdir(parents=True, exist_ok=True)
    ds.save_as(path)
    return path


@dataclass(frozen=True)
class Made:
    """The archive, and the files that its stores were made of."""

    archive: Path
    ct: list[Path]
    """Study 1.2.1, series 1.2.1.5: four slices, Implicit VR."""
    lossy: Path
    """Study 1.2.1, series 1.2.1.6, within an error of 8."""
    cine: Path
    """Study 1.2.2, series 1.2.2.1: five frames of ultrasound of another patient."""
    jpeg: Path
    """Study 1.2.2, series 1.2.2.2: two frames of JPEG Baseline."""
    big: Path
    """Study 1.2.3, series 1.2.3.1: Explicit VR Big Endian."""
    slide: Path
    """Study 1.2.4, series 1.2.4.1: a level of 3 × 4 tiles, JPEG."""
    hidden: Path
    """Another archive, of a file that was de-identified."""


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("dicomweb")
    source, archive = folder / "in", folder / "archive"
    volume = smooth((4, 40, 52)).astype(np.uint16)
    ct = []
    for number, plane in enumerate(volume):
        ds = data_set(
            "1.2.1", "1.2.1.5", f"1.2.1.5.{number + 1}", ImplicitVRLittleEndian,
            InstanceNumber=number + 1, ImagePositionPatient=[0, 0, 2 * number],
            ImageOrientationPatient=[1, 0, 0, 0, 1, 0], PixelSpacing=[0.5, 0.5],
            WindowCenter=2048, WindowWidth=1024, RescaleSlope=1, RescaleIntercept=0,
            RescaleType="US", SeriesDescription="thin",
        )  # fmt: skip
        item = Dataset()
        item.ScheduledProcedureStepID = "STEP"
        ds.RequestAttributesSequence = [item]
        block = ds.private_block(0x0011, "MAKER", create=True)
        block.add_new(1, "OB", bytes(range(256)) * 8)
        ct.append(with_pixels(ds, plane, source / "a" / f"{number}.dcm"))
    lossy = with_pixels(
        data_set("1.2.1", "1.2.1.6", "1.2.1.6.1", ExplicitVRLittleEndian, InstanceNumber=1),
        smooth((64, 64)).astype(np.uint16),
        folder / "lossy" / "one.dcm",
    )
    cine = with_pixels(
        data_set(
            "1.2.2", "1.2.2.1", "1.2.2.1.1", ExplicitVRLittleEndian, Modality="US",
            SOPClassUID=UltrasoundImageStorage, PatientName="Other^One", PatientID="P-2",
            StudyDate="20210301", StudyTime="235959", InstanceNumber=1,
        ),
        (smooth((5, 30, 34)) // 16).astype(np.uint8),
        source / "b" / "cine.dcm",
    )  # fmt: skip
    rgb = np.stack([smooth((48, 64)) // 16] * 3, axis=-1).astype(np.uint8)
    rgb[..., 1] //= 2
    streams = [imagecodecs.jpeg8_encode(np.roll(rgb, n, 0), level=90) for n in (0, 9)]
    ds = data_set(
        "1.2.2", "1.2.2.2", "1.2.2.2.1", JPEGBaseline8Bit, Modality="US",
        SOPClassUID=UltrasoundImageStorage, PatientName="Other^One", PatientID="P-2",
        StudyDate="20210301", InstanceNumber=1, Rows=48, Columns=64, BitsAllocated=8, BitsStored=8,
        HighBit=7, PixelRepresentation=0, NumberOfFrames=2, SamplesPerPixel=3,
        PhotometricInterpretation="YBR_FULL_422", PlanarConfiguration=0,
        LossyImageCompression="01",
    )  # fmt: skip
    ds.PixelData = encapsulate([bytes(one) for one in streams])
    ds["PixelData"].VR = "OB"
    jpeg = source / "b" / "jpeg.dcm"
    ds.save_as(jpeg)
    big = with_pixels(
        data_set(
            "1.2.3", "1.2.3.1", "1.2.3.1.1", ExplicitVRBigEndian,
            PatientName="Big^End", PatientID="P-3", StudyDate="19991231", InstanceNumber=1,
        ),
        smooth((20, 22)).astype(np.uint16),
        source / "c" / "big.dcm",
    )  # fmt: skip
    picture = np.stack([smooth((40, 60)) // 16] * 3).astype(np.uint8)
    slide = write_tiles(
        source / "d" / "slide.dcm", tiles_of(picture, 16), (40, 60), jpeg=True, series="1.2.4.1",
        StudyInstanceUID="1.2.4", PatientID="P-4",
    )  # fmt: skip
    hidden = with_pixels(
        data_set("1.2.9", "1.2.9.1", "1.2.9.1.1", ExplicitVRLittleEndian, PatientID="KENNUNG"),
        smooth((20, 24)).astype(np.uint16),
        folder / "hidden" / "one.dcm",
    )
    np.save(source / "other.npy", smooth((20, 20)))
    tilepress.compress(source, archive, workers=0, tier="fast")
    tilepress.compress(lossy.parent, archive, workers=0, tier="fast", max_error=8)
    tilepress.compress(hidden.parent, folder / "hid", workers=0, tier="fast", deidentify="basic")
    return Made(archive, ct, lossy, cine, jpeg, big, slide, folder / "hid")


@pytest.fixture(scope="session")
def exported(made: Made, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Return what ``tilepress export`` writes, by SOPInstanceUID."""
    import pydicom

    out = tmp_path_factory.mktemp("exported")
    found = {}
    for store in sorted(made.archive.glob("*/*.zarr")) + sorted(made.archive.glob("*.zarr")):
        if store.name.startswith("other"):
            continue
        for path in tilepress.export(store, out / store.stem):
            ds = pydicom.dcmread(path, stop_before_pixels=True)
            found[str(ds.SOPInstanceUID)] = path.read_bytes()
    return found


@pytest.fixture(scope="session")
def dicomweb(made: Made) -> TestClient:
    """Return what asks the archive; addresses are below the root of DICOMweb."""
    return TestClient(build(Shelf(made.archive)), base_url=f"http://127.0.0.1:8000{ROOT}")


@pytest.fixture(scope="session")
def address(made: Made) -> Iterator[str]:
    """Serve the archive for clients of their own; return the address of DICOMweb."""
    import uvicorn

    from tilepress.workflows.serve.listening import listening

    app = build(Shelf(made.archive))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    with listening("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}{ROOT}"
        finally:
            server.should_exit = True
            thread.join()
