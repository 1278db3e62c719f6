"""Synthetic DICOM files, and a reader that holds a source as a sealed store would."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from tilepress.codecs.loss import bounded
from tilepress.pipeline.dicom.source import DicomSource, group_series
from tilepress.pipeline.image.grid import Box, choose_grid
from tilepress.pipeline.image.source import SourceSpec

CANARY = "KANARIENVOGEL"
"""Stands in every text of a synthetic header; nothing outside ``source/`` may hold it."""
CT = "1.2.840.10008.5.1.4.1.1.2"
ROOT_UID = "1.2.826.0.1.3680043.10.999"


class MemoryReader:
    """What an exporter asks of a store, straight from a source."""

    has_mask, decoder_note, ratio = False, None, 8.0

    def __init__(self, source: DicomSource, max_error: float = 0) -> None:
        self.axes, self.shape, self.dtype = source.info.axes, source.info.shape, source.info.dtype
        grid = choose_grid(self.shape, self.dtype.itemsize, tile=64)
        self.chunk, self.loss = grid.chunk, bounded(float(max_error))
        self.image = np.empty(self.shape, self.dtype)
        for index in grid.indices():
            box = grid.box(index)
            self.image[box.slices] = source.read(box)
        self.items = dict(source.source_items())
        self.attrs: Mapping[str, Any] = {"tilepress": {"source_digest": "d"}}

    @property
    def origin(self) -> dict[str, Any]:
        return json.loads(self.items["origin"])

    def read(self, box: Box) -> np.ndarray:
        return np.ascontiguousarray(self.image[box.slices])

    def read_mask(self, box: Box) -> np.ndarray:
        return np.full(box.shape, 255, np.uint8)

    def source_names(self) -> tuple[str, ...]:
        return tuple(self.items)

    def source_bytes(self, name: str) -> bytes:
        return self.items[name]


def build(
    pixels: np.ndarray | bytes, syntax: str = ExplicitVRLittleEndian, **elements: Any
) -> FileDataset:
    """Return a data set; ``pixels`` (Y, X) of any integer dtype, or the pixel value itself.

    ``elements`` are keywords of DICOM, plus ``series`` and ``instance``: numbers that make UIDs.
    """
    series, instance = elements.pop("series", 1), elements.pop("instance", 1)
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CT
    meta.MediaStorageSOPInstanceUID = f"{ROOT_UID}.{series}.{instance}"
    meta.TransferSyntaxUID = syntax
    dataset = FileDataset(
        None,
        Dataset(),
        file_meta=meta,
        preamble=b"preamble".ljust(128, b"\1"),
        is_implicit_VR=syntax == ImplicitVRLittleEndian,
        is_little_endian=syntax != ExplicitVRBigEndian,
    )
    dataset.SpecificCharacterSet = "ISO_IR 100"
    dataset.SOPClassUID = CT
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.SeriesInstanceUID = f"{ROOT_UID}.{series}"
    dataset.Modality = "CT"
    dataset.PatientName = f"{CANARY}^Jörg"
    dataset.PatientID = dataset.StudyDescription = dataset.SeriesDescription = CANARY
    dataset.InstanceNumber = instance
    if isinstance(pixels, np.ndarray):
        dataset.Rows, dataset.Columns = pixels.shape[:2]
        dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.itemsize
        dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
        order = ">" if syntax == ExplicitVRBigEndian else "<"
        pixels = pixels.astype(pixels.dtype.newbyteorder(order)).tobytes()
    dataset.SamplesPerPixel = 1
    dataset.PhotometricInterpretation = "MONOCHROME2"
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
    dataset.HighBit = elements.get("HighBit", dataset.BitsStored - 1)
    dataset.PixelData = pixels + b"\0" * (len(pixels) % 2)
    dataset["PixelData"].VR = "OB" if dataset.BitsAllocated <= 8 else "OW"
    return dataset


def save(dataset: FileDataset, path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path)
    return path


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes one file below ``tmp_path``; see ``build``."""

    def write_file(name: str, pixels: np.ndarray | bytes, **elements: Any) -> Path:
        return save(build(pixels, **elements), tmp_path / "in" / name)

    return write_file


@pytest.fixture
def synthetic() -> Callable[..., FileDataset]:
    """Return ``build``, for tests that change the data set before they save it."""
    return build


@pytest.fixture
def canary() -> str:
    return CANARY


@pytest.fixture
def one_spec() -> Callable[..., SourceSpec]:
    """Return a function that groups paths and expects exactly one image and no failure."""

    def group(*paths: Path) -> SourceSpec:
        specs, failures = group_series(paths)
        assert not failures
        (spec,) = specs
        return spec

    return group


@pytest.fixture
def read_all() -> Callable[[SourceSpec], np.ndarray]:
    def read(spec: SourceSpec) -> np.ndarray:
        source = DicomSource(spec)
        shape = source.info.shape
        return source.read(Box((0,) * len(shape), shape))

    return read


@pytest.fixture
def in_memory() -> Callable[..., MemoryReader]:
    """Return a function from a spec to a reader that stands for its store."""

    def load(spec: SourceSpec, max_error: float = 0) -> MemoryReader:
        source = DicomSource(spec)
        try:
            return MemoryReader(source, max_error)
        finally:
            source.close()

    return load
