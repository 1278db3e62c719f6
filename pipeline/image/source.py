"""What an image source is, and how to open one by its content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Loss
from tilepress.pipeline.image.grid import Box

__all__ = [
    "Acquired",
    "ExportReader",
    "GeoReference",
    "ImageInfo",
    "MedicalGeometry",
    "SourceSpec",
    "TileSource",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoReference:
    """Where the pixels lie on the ground."""

    crs_wkt: str | None = None
    """CRS as WKT2; None where the file has none."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """Affine (a, b, c, d, e, f): x = a·col + b·row + c, y = d·col + e·row + f, at pixel corners."""
    area_or_point: str = "Area"
    """GDAL's AREA_OR_POINT."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MedicalGeometry:
    """Where the pixels lie in the patient (DICOM PS3.3 C.7.6.2). Units: mm."""

    pixel_spacing_mm: tuple[float, float] | None = None
    """(row spacing, column spacing) = (along y, along x)."""
    slice_spacing_mm: float | None = None
    """Distance between slice centres along the normal; None for single planes."""
    orientation: tuple[float, ...] | None = None
    """Six direction cosines: of a row (along x), then of a column (along y)."""
    origin_mm: tuple[float, float, float] | None = None
    """Position of the first plane's first sample."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceSpec:
    """A picklable, JSON-able recipe from which a worker opens the same source again."""

    kind: str
    """What its format calls it: see ``Format.kinds``."""
    paths: tuple[str, ...]
    """Absolute paths, or URLs of objects (s3://bucket/key)."""
    options: Mapping[str, Any] = field(default_factory=dict)
    source_bytes: int | None = None
    """Size of the files together, compressed as they are; None where nobody has looked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageInfo:
    """What one image is, without its samples. Carries an allow-list only: no patient text."""

    name: str
    """Name of the store below the archive, without ``.zarr``; safe as a file name."""
    axes: tuple[str, ...]
    """Names of the store's axes, e.g. ("y", "x"), ("band", "y", "x"), ("z", "y", "x")."""
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    nodata: float | int | None = None
    """The value that marks absent samples, in the image's dtype; None where there is none."""
    valid_range: tuple[int, int] | None = None
    """Smallest and largest legal sample (BitsStored); None means the whole dtype."""
    lossy_refusal: str | None = None
    """Why near-lossless coding makes no sense (palette, mask, bool); None where it does."""
    geo: GeoReference | None = None
    medical: MedicalGeometry | None = None
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able attributes for the array: rescale_slope, rescale_intercept, units, photometrics…"""
    coordinates: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """1-D coordinates by axis name, beside the x and y that follow from ``geo``."""
    has_mask: bool = False
    """Whether ``read_mask`` gives something that ``nodata`` does not say already."""
    remarks: tuple[str, ...] = ()
    """What a user should know: gaps between slices, duplicates that were left out."""

    def refusal(self, loss: Loss) -> str | None:
        """Tell why the image must not be coded with this loss; None where it may be."""
        return None if loss.is_lossless else self.lossy_refusal


@dataclass(frozen=True, slots=True)
class Acquired:
    """When an image was taken, as its source says."""

    time: datetime
    """In UTC: where the source tells no zone, it is taken for UTC."""
    tag: str
    """What in the source says so."""
    until: datetime | None = None
    """The end, where it is a composite of a time span."""


class TileSource(Protocol):
    """One image that can be read window by window. Not thread-safe; one per thread."""

    @property
    def info(self) -> ImageInfo: ...

    @property
    def spec(self) -> SourceSpec: ...

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box`` (one range per axis of ``info.axes``), C-contiguous."""
        ...

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask (0 or 255) of a two-axis (y, x) box."""
        ...

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield (name, bytes) of what ``source/`` keeps so that export is faithful."""
        ...

    def fingerprint(self) -> dict[str, Any]:
        """Return what "unchanged" means: per file size, mtime_ns and a hash of its header."""
        ...

    def close(self) -> None: ...


class ExportReader(Protocol):
    """What an exporter needs of a sealed store: samples by window, and what ``source/`` keeps."""

    @property
    def axes(self) -> tuple[str, ...]: ...

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Attributes of the image array; ``attrs["tilepress"]`` holds the loss statement."""
        ...

    @property
    def loss(self) -> Loss:
        """What coding may have changed of the image's samples."""
        ...

    @property
    def has_mask(self) -> bool: ...

    @property
    def chunk(self) -> tuple[int, ...]:
        """Shape of one record: windows of whole chunks read each record once."""
        ...

    @property
    def origin(self) -> Mapping[str, Any]:
        """The JSON item "origin" of ``source/``: {"kind": one of ``Format.kinds``, …}."""
        ...

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box`` (one range per axis), C-contiguous, native byte order."""
        ...

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask (0 or 255) of a (y, x) box; all 255 where there is no mask."""
        ...

    def source_names(self) -> tuple[str, ...]: ...

    def source_bytes(self, name: str) -> bytes:
        """Return one item of ``source/``; KeyError where there is none of that name."""
        ...
