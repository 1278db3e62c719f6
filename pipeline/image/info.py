"""What is told of an image beside its samples: shape, type, place, time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.codecs.loss import Loss

__all__ = [
    "ALPHA",
    "Acquired",
    "BandInfo",
    "GeoReference",
    "ImageInfo",
    "Label",
    "Level",
    "MedicalGeometry",
    "SlideGeometry",
]

ALPHA = "it is alpha"
"""Why a band is exact that says how much the others cover."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GeoReference:
    """Where the pixels lie on the ground."""

    crs_wkt: str | None = None
    """CRS as WKT2; None where the file has none."""
    transform: tuple[float, float, float, float, float, float] | None = None
    """Affine (a, b, c, d, e, f): x = a·col + b·row + c, y = d·col + e·row + f, at pixel corners."""
    area_or_point: str = "Area"
    """GDAL's AREA_OR_POINT."""
    gcps: tuple[Mapping[str, Any], ...] = ()
    """Ground control points: row, col, x, y, z, id, info of each, at pixel corners."""
    gcps_crs_wkt: str | None = None
    """Their CRS as WKT."""
    rpcs: Mapping[str, str] | None = None
    """Rational polynomial coefficients, as GDAL's metadata domain RPC has them."""

    def coarser(self, factor: int) -> GeoReference:
        """Return the place of a level whose samples stand for so many rows and columns.

        Without polynomials, which are of the full resolution.
        """
        transform = self.transform
        if transform is not None:
            a, b, c, d, e, f = transform
            transform = (a * factor, b * factor, c, d * factor, e * factor, f)
        points = [
            {**point, "row": point["row"] / factor, "col": point["col"] / factor}
            for point in self.gcps
        ]
        return replace(self, transform=transform, gcps=tuple(points), rpcs=None)


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
    offset_mm: tuple[float, float] = (0.0, 0.0)
    """Where the first sample lies, from that of the full resolution: (along y, along x)."""

    def coarser(self, factor: int) -> MedicalGeometry:
        """Return the geometry of a level whose samples stand for so many rows and columns."""
        if self.pixel_spacing_mm is None:
            return self
        down, across = self.pixel_spacing_mm
        offset = (down * (factor - 1) / 2, across * (factor - 1) / 2)
        origin = self.origin_mm
        if origin is not None and self.orientation is not None:
            row, column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
            x, y, z = (float(n) for n in origin + row * offset[1] + column * offset[0])
            origin = (x, y, z)
        return replace(
            self,
            pixel_spacing_mm=(down * factor, across * factor),
            origin_mm=origin,
            offset_mm=offset,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SlideGeometry:
    """How far apart the samples of a slide under a microscope lie."""

    pixel_size_um: tuple[float, float] | None = None
    """(along y, along x), in micrometres; None where the source does not say."""
    plane_spacing_um: float | None = None
    """Distance between focal planes, along ``z``."""
    offset_um: tuple[float, float] = (0.0, 0.0)
    """Where the first sample's centre lies, from that of the full resolution: (y, x)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Level:
    """A level of lower resolution: the same axes, bands and type."""

    shape: tuple[int, ...]
    factor: int | None = None
    """How many rows, and columns, one stands for, where the level is made of the full resolution;
    None where the source has it itself."""
    stream_block: tuple[int, ...] | None = None
    """As ``ImageInfo.stream_block``."""


@dataclass(frozen=True, slots=True)
class Acquired:
    """When an image was taken, as its source says."""

    time: datetime
    """In UTC: where the source tells no zone, it is taken for UTC."""
    tag: str
    """What in the source says so."""
    until: datetime | None = None
    """The end, where it is a composite of a time span."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BandInfo:
    """What one band is, where bands of an image differ in more than their samples."""

    names: tuple[str, ...] = field(default=(), repr=False)
    """What people may call it: its file's name, its description. They are told nowhere."""
    nodata: float | int | None = None
    """The value that marks its absent samples, in the image's dtype."""
    exact: str | None = None
    """Why near-lossless coding of it makes no sense (alpha, flags, classes); None where it does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Label:
    """A coordinate beside those of the axes: what places along one or more axes are."""

    axes: tuple[str, ...]
    values: npt.NDArray[Any]
    """Numbers, as many along each axis as the image has; NaN where nothing is known."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """As CF has them: units, long_name, flag_values and flag_meanings."""


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
    padding: tuple[int, int] | None = None
    """Smallest and largest sample that means "outside of what was imaged": kept exactly by every
    coding, and told by the format's own attributes."""
    lossy_refusal: str | None = None
    """Why near-lossless coding makes no sense (palette, mask, bool); None where it does."""
    geo: GeoReference | None = None
    medical: MedicalGeometry | None = None
    slide: SlideGeometry | None = None
    """Of an image under a microscope."""
    levels: tuple[Level, ...] = ()
    """Levels of lower resolution that come with the image, from the finest on; its source is a
    ``LevelSource`` where there are any."""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    """JSON-able attributes for the array: rescale_slope, rescale_intercept, units, photometrics…"""
    coordinates: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)
    """1-D coordinates by axis name, beside the x and y that follow from ``geo``."""
    bands: tuple[BandInfo, ...] = ()
    """What each band is, along the axis ``band`` or, without that axis, of the one there is; empty
    where a source tells of no bands."""
    exact: Mapping[int, str] = field(default_factory=dict)
    """Bands, from 0, that are coded losslessly beside others that are not, and why; all of them
    where the whole image is, though a bound was allowed."""
    labels: Mapping[str, Label] = field(default_factory=dict)
    """Other coordinates by name: what the places along axes other than x and y are."""
    stream_block: tuple[int, ...] | None = None
    """Sides of the blocks, along each axis, that lie in the source as one stream each; None
    where there are none, or where nobody is to have them."""
    has_mask: bool = False
    """Whether ``read_mask`` gives something that ``nodata`` does not say already."""
    remarks: tuple[str, ...] = ()
    """What a user should know: gaps between slices, duplicates that were left out."""

    def at_level(self, number: int) -> ImageInfo:
        """Return what is told of the image at one of its levels, 0 being the full resolution."""
        if number == 0:
            return self
        level, slide = self.levels[number - 1], self.slide
        if level.factor is not None:
            return self._made(level, level.factor)
        if slide is not None and slide.pixel_size_um is not None:
            size = slide.pixel_size_um
            pairs = zip(size, self.shape[-2:], level.shape[-2:], strict=True)
            down, across = (one * full / reduced for one, full, reduced in pairs)
            offset = ((down - size[0]) / 2, (across - size[1]) / 2)
            slide = replace(slide, pixel_size_um=(down, across), offset_um=offset)
        block = level.stream_block
        return replace(self, shape=level.shape, stream_block=block, slide=slide, levels=())

    def _made(self, level: Level, factor: int) -> ImageInfo:
        """Return what is told of a level that was made of the full resolution."""
        coordinates = {
            axis: _means(values, factor) if axis in self.axes[-2:] else values
            for axis, values in self.coordinates.items()
        }
        return replace(
            self,
            shape=level.shape,
            stream_block=None,
            levels=(),
            coordinates=coordinates,
            geo=None if self.geo is None else self.geo.coarser(factor),
            medical=None if self.medical is None else self.medical.coarser(factor),
        )

    def factors(self, number: int) -> tuple[float, ...]:
        """Return how many samples one of a level stands for, along each axis."""
        at = self.at_level(number)
        factor = self.levels[number - 1].factor if number else None
        if factor is not None:
            return (*(1.0 for _ in self.axes[:-2]), float(factor), float(factor))
        return tuple(full / reduced for full, reduced in zip(self.shape, at.shape, strict=True))

    def refusal(self, loss: Loss) -> str | None:
        """Tell why the image must not be coded with this loss; None where it may be."""
        return None if loss.is_lossless else self.lossy_refusal

    @property
    def band_count(self) -> int:
        """How many bands there are; 1 for an image without that axis."""
        return self.shape[self.axes.index("band")] if "band" in self.axes else 1

    @property
    def alpha_band(self) -> int | None:
        """Which band, from 0, says how much the others cover; None where none does."""
        if "band" not in self.axes:
            return None
        return next((at for at, band in enumerate(self.bands) if band.exact == ALPHA), None)

    @property
    def band_nodata(self) -> tuple[float | int | None, ...] | None:
        """The nodata of every band, where bands differ in it."""
        values = tuple(band.nodata for band in self.bands)
        return values if len({repr(value) for value in values}) > 1 else None


def _means(values: npt.NDArray[Any], factor: int) -> npt.NDArray[Any]:
    """Return the mean of each run of so many coordinates, the last of fewer; texts are cut."""
    given = np.asarray(values)
    if given.dtype.kind not in "iuf":
        return given[::factor]
    starts = np.arange(0, len(given), factor)
    counts = np.minimum(starts + factor, len(given)) - starts
    found: npt.NDArray[Any] = np.add.reduceat(given.astype(np.float64), starts) / counts
    return found
