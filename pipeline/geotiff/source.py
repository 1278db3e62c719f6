"""Read GeoTIFF images window by window (and JPEG 2000, PNG and SRTM height files likewise).

Pixels are GDAL's: what rasterio reads is what is stored. JPEG-compressed YCbCr files therefore
give RGB samples, CIELAB and LogLuv files the RGBA that libtiff converts them to. Complex samples
become an extra first axis ``component`` (real, imaginary) of the base type.

Of several images (pages) of one TIFF file each is a source: options["page"] says which, from 1.
"""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.windows import Window

from tilepress.codecs.numbers import json_number
from tilepress.errors import ExcludedSource, UnsupportedSource
from tilepress.pipeline.geotiff.bands import bands_of, flags_of, in_dtype, refusal_of
from tilepress.pipeline.geotiff.raster_file import RasterFile, open_rasters
from tilepress.pipeline.geotiff.record import dump_record
from tilepress.pipeline.geotiff.stack_names import band_labels, stack_name, stamp_of
from tilepress.pipeline.image.fingerprint import file_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import GeoReference, ImageInfo
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.source import ADVICE, SourceSpec
from tilepress.pipeline.image.streams import Streams, blocks_of
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, DEIDENTIFY, is_deidentified, profile_of

__all__ = ["GeoTiffSource"]

HEADER_BYTES = 64 * 2**10
"""What the fingerprint hashes at either end of a file: a TIFF's directory lies at one of them."""

_LOSSY = ("JPEG", "OJPEG", "WEBP", "JXL", "SGILOG")


class GeoTiffSource:
    """One raster file as a ``TileSource``. Axes (["component",] ["band",] "y", "x").

    It is written for any number of files, one band after another; ``StackSource`` has several.
    """

    kind = "geotiff"

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._files = open_rasters(
            spec.paths, *(spec.options.get(key) for key in ("page", "driver", "variable"))
        )
        try:
            self._check()
            self._went: Counter[str] = Counter()
            # what is exact is told by tables and names that de-identifying leaves out
            self._told_bands = bands_of(self._files)
            if is_deidentified(spec):
                self._deidentify()
            self._starts = np.cumsum([0, *(file.count for file in self._files)])
            self._info = self._describe()
        except BaseException:
            self.close()
            raise

    @classmethod
    def open(cls, *paths: str | os.PathLike[str], **options: Any) -> GeoTiffSource:  # noqa: ANN401
        """Open files by path; ``options`` are those of ``SourceSpec``."""
        texts = tuple(os.fspath(path) for path in paths)
        return cls(SourceSpec(kind=cls.kind, paths=texts, options=options))

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the samples of ``box``, C-contiguous and in native byte order."""
        ranges = dict(zip(self._info.axes, zip(box.start, box.stop, strict=True), strict=True))
        bands = ranges.get("band", (0, 1))
        parts = slice(*ranges.get("component", (0, 2)))
        rows, columns = ranges["y"], ranges["x"]
        planes = (bands[1] - bands[0], rows[1] - rows[0], columns[1] - columns[0])
        window = Window(columns[0], rows[0], planes[2], planes[1])
        if "component" not in ranges:
            out = np.empty(planes, self._info.dtype)
            for file, indexes, at in self._bands(*bands):
                file.read_into(indexes, window, out[at])
            return out.reshape(box.shape)
        both = np.empty((2, *planes), self._info.dtype)
        for file, indexes, at in self._bands(*bands):
            samples = file.read_complex(indexes, window)
            both[0, at], both[1, at] = samples.real, samples.imag
        return np.ascontiguousarray(both[parts]).reshape(box.shape)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return the validity mask of a (y, x) box as stored: 0 absent, 255 present."""
        (top, left), (bottom, right) = box.start, box.stop
        window = Window(left, top, right - left, bottom - top)
        if not self._info.has_mask:
            return np.full(box.shape, 255, np.uint8)
        masks = [file.read_mask(window) for file in self._files]
        for file, mask in zip(self._files[1:], masks[1:], strict=True):
            if not np.array_equal(mask, masks[0]):
                raise UnsupportedSource(
                    f"read stack: the mask of {file.path} differs from that of "
                    f"{self._files[0].path}; an image has one mask"
                )
        return masks[0]

    def streams(self, box: Box) -> Streams | None:
        """Return the streams that a box of whole blocks was decoded of."""
        blocks, block = self._files[0].stream_blocks, self._info.stream_block
        numbers = None if block is None else blocks_of(box, block, self._info.shape)
        if blocks is None or numbers is None:
            return None
        frames, rows, columns = numbers if len(numbers) == 3 else (range(1), *numbers)
        return blocks.streams(frames, rows, columns)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin" and one "file-N" record per file (see ``record``)."""
        names = below_common_folder([str(file.path) for file in self._files])
        how: dict[str, Any] = {}
        if is_deidentified(self._spec):
            names = [file.name for file in self._files]
            how = {DEIDENTIFIED: self._told()}
        files = [
            {"name": name, "bands": file.count, "item": f"file-{i}"}
            | file.page_numbers
            | file.opted
            for i, (name, file) in enumerate(zip(names, self._files, strict=True))
        ]
        origin = {"version": 1, "kind": self.kind, "files": files, **how}
        yield "origin", json.dumps(origin, sort_keys=True).encode()
        for i, file in enumerate(self._files):
            yield f"file-{i}", dump_record(file.record)

    def fingerprint(self) -> dict[str, Any]:
        """Return size, mtime and a hash of both ends of every file, sidecars included."""
        paths = [path for file in self._files for path in (file.path, *file.sidecars)]
        return {"kind": self.kind, "files": [_fingerprint(path) for path in paths]}

    def close(self) -> None:
        for file in self._files:
            file.dataset.close()

    def __enter__(self) -> GeoTiffSource:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _check(self) -> None:
        if len(self._files) != 1:
            raise UnsupportedSource(
                f"open {self._files[0].path}: {len(self._files)} files given, one expected"
            )

    def _deidentify(self) -> None:
        """Leave out of the records what identifies. Raises ExcludedSource for a slide's label."""
        from tilepress.pipeline.geotiff.deidentify import (
            deidentified_record,
            refuse_label,
            shows_label,
        )

        for number, file in enumerate(self._files, 1):
            label = shows_label(file.record)
            if label is not None:
                text = f"its {label} image is left out, for a slide's label names a patient"
                raise ExcludedSource(f"de-identifying {file.path}: {text}")
            if file.record["driver"] == "GTiff":
                refuse_label(file.path, int(file.record.get("page", 1)))
            record, went = deidentified_record(file.record, f"file-{number}.tif")
            self._files[number - 1] = replace(file, record=record, remarks=())
            self._went += went

    def _told(self) -> dict[str, Any]:
        counts = {"removed": dict(sorted(self._went.items()))}
        key = self._spec.options[DEIDENTIFY]["key"]
        return {**profile_of(self._spec).to_json(), "key": key, "counts": counts}

    def _bands(self, start: int, stop: int) -> Iterator[tuple[RasterFile, list[int], slice]]:
        """Yield the files that hold bands [start, stop), their own band numbers and the place."""
        for file, first in zip(self._files, self._starts[:-1], strict=True):
            a, b = max(start, int(first)), min(stop, int(first) + file.count)
            if a < b:
                indexes = list(range(a - int(first) + 1, b - int(first) + 1))
                yield file, indexes, slice(a - start, b - start)

    def _describe(self) -> ImageInfo:
        first = self._files[0]
        count = int(self._starts[-1])
        axes, shape = ["y", "x"], [first.record["height"], first.record["width"]]
        if count > 1:
            axes, shape = ["band", *axes], [count, *shape]
        if first.is_complex:
            axes, shape = ["component", *axes], [2, *shape]
        nodata, attributes = _nodata(self._files)
        attributes |= _band_attributes(self._files, plain=is_deidentified(self._spec))
        return ImageInfo(
            name=self._name(),
            axes=tuple(axes),
            shape=tuple(shape),
            dtype=first.dtype,
            nodata=nodata,
            valid_range=_valid_range(self._files),
            lossy_refusal=refusal_of(file.record for file in self._files),
            geo=_georeference(first.record),
            attributes=attributes,
            coordinates={"band": np.arange(1, count + 1, dtype=np.int32)} if count > 1 else {},
            bands=self._told_bands,
            stream_block=self._stream_block(axes),
            has_mask=any(file.record["mask"] != "none" for file in self._files),
            remarks=tuple(dict.fromkeys(self._remarks())),
        )

    def _remarks(self) -> Iterator[str]:
        for file in self._files:
            yield from _remarks(file)
        if beside := self._spec.options.get("beside"):
            what = "picture" if beside == 1 else "pictures"
            yield f"{beside} {what} beside it left out, for they may show names: labels or the like"
        if advice := self._spec.options.get(ADVICE):
            yield str(advice)

    def _stream_block(self, axes: Sequence[str]) -> tuple[int, ...] | None:
        """Return the sides of a block that is a stream: of single files, and never of those that
        are de-identified, for streams have room for texts. Strips that lost nothing are left out:
        chunks of them would be wider than others, and are mostly recoded."""
        first = self._files[0]
        blocks = first.stream_blocks
        if blocks is None or len(self._files) > 1 or is_deidentified(self._spec):
            return None
        if blocks.bands not in (1, first.count):
            return None
        if first.record["layout"]["reversible"] == "LOSSLESS" and not blocks.grid.tiled:
            return None
        sides = {"band": blocks.bands, "y": blocks.grid.rows, "x": blocks.grid.columns}
        return tuple(sides.get(axis, 1) for axis in axes)

    def _name(self) -> str:
        """Return the store's name: as discovered, else what the files' names begin with."""
        name, page = self._spec.options.get("name"), self._spec.options.get("page")
        ending = "" if page is None else f"-page{page}"
        return str(name or stack_name([file.path for file in self._files]) + ending)


def _nodata(files: Sequence[RasterFile]) -> tuple[float | int | None, dict[str, Any]]:
    """Return the value that marks absent samples in every band, and attributes if bands differ."""
    values = [value for file in files for value in file.record["nodata"]]
    usable = [in_dtype(value, files[0].dtype) for value in values]
    if len({repr(value) for value in usable}) == 1:
        return usable[0], {}
    return None, {"band_nodata": [json_number(value) for value in usable]}


def _valid_range(files: Sequence[RasterFile]) -> tuple[int, int] | None:
    """Return the range of samples of fewer bits than their type (NBITS), where all files agree."""
    bits = {file.record["layout"]["nbits"] for file in files}
    if len(bits) != 1 or files[0].dtype.kind != "u":
        return None
    (nbits,) = bits
    return (0, 2**nbits - 1) if nbits else None


def _georeference(record: dict[str, Any]) -> GeoReference | None:
    transform = record["transform"]
    if transform is not None and not all(math.isfinite(value) for value in transform):
        transform = None
    gcps, rpcs = record["gcps"] or {}, record["rpcs"]
    if record["crs_wkt"] is None and transform is None and not gcps and not rpcs:
        return None
    point = record["tags"][""].get("AREA_OR_POINT", "Area")
    return GeoReference(
        crs_wkt=record["crs_wkt"],
        transform=None if transform is None else tuple(transform),
        area_or_point=point,
        gcps=tuple(gcps.get("points", ())),
        gcps_crs_wkt=gcps.get("crs_wkt"),
        rpcs=rpcs,
    )


def _band_attributes(files: Sequence[RasterFile], *, plain: bool) -> dict[str, Any]:
    """Return what an analyst needs beside the samples: scale, units, names, colours.

    ``plain``: of the files' names no more than what tells a band.
    """

    def bands(key: str) -> list[Any]:
        return [value for file in files for value in file.record[key]]

    attributes: dict[str, Any] = {}
    for name, key, neutral in (
        ("rescale_slope", "scales", 1.0),
        ("rescale_intercept", "offsets", 0.0),
    ):
        values = bands(key)
        if any(value != neutral for value in values):
            attributes[name] = values[0] if len(set(values)) == 1 else values
    units = [unit or "" for unit in bands("units")]
    if any(units):
        attributes |= {"units": units[0]} if len(set(units)) == 1 else {"band_units": units}
    names = _band_names(files, plain=plain)
    if names:
        attributes |= {"long_name": names[0]} if len(names) == 1 else {"band_names": names}
    stamps = [stamp_of(name) for name in names or ()]
    if len(stamps) > 1 and all(stamps):
        attributes["band_times"] = names
    colors = bands("colors")
    if set(colors) - {"gray", "undefined"}:
        attributes["color_interpretation"] = colors
    return attributes | flags_of(files)


def _band_names(files: Sequence[RasterFile], *, plain: bool) -> list[str] | None:
    """Return a name per band: its description; in a stack, else the file's own part of its name."""
    names = []
    labels = band_labels([file.path for file in files])
    for file, own in zip(files, labels, strict=True):
        if own and plain:
            from tilepress.pipeline.geotiff.deidentify import band_of_name

            own = band_of_name(own)
        for i, description in enumerate(file.record["descriptions"]):
            suffix = f"_{i + 1}" if own and file.count > 1 else ""
            names.append(description or (own + suffix))
    return names if any(names) else None


def _remarks(file: RasterFile) -> Iterator[str]:
    layout = file.record["layout"]
    name = layout["compress"].split()[-1]
    if file.page_numbers:
        yield "page {page} of {pages} of {name}".format(**file.page_numbers, name=file.name)
    if name.startswith(_LOSSY) and layout["reversible"] != "LOSSLESS":
        yield (
            f"{file.name} was stored with {layout['compress']}: its decoded samples are kept "
            "exactly, and export writes them with lossless compression, or gives its streams back "
            "where the store could keep them"
        )
    elif file.record["converted"]:
        yield f"{file.name}: samples are the RGB that libtiff makes of the file's colours"
    if file.record["driver"] != "GTiff":
        yield f"{file.name} is no TIFF: export gives a GeoTIFF with the same samples"
    yield from file.remarks


def _fingerprint(path: Path) -> dict[str, Any]:
    found = file_print(path, HEADER_BYTES, at_both_ends=True)
    return {"name": path.name, **asdict(found)}
