"""Read GeoTIFF images window by window (and JPEG 2000, PNG and SRTM height files likewise).

Pixels are GDAL's: what rasterio reads is what is stored. JPEG-compressed YCbCr files therefore
give RGB samples, CIELAB and LogLuv files the RGBA that libtiff converts them to. Complex samples
become an extra first axis ``component`` (real, imaginary) of the base type.

One image of several files (``StackSource``) is read as if its files' bands were one file's.
Of several images (pages) of one TIFF file each is a source: options["page"] says which, from 1.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tilepress.codecs.numbers import json_number
from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.geotiff.blocks import DeflateBlocks
from tilepress.pipeline.geotiff.drivers import raster_driver
from tilepress.pipeline.geotiff.gdal import ask, gdal_calls, open_raster
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    PHOTOMETRIC,
    SAMPLES,
    Page,
    TiffHeader,
    read_header,
    read_mask_header,
    read_pages,
)
from tilepress.pipeline.geotiff.png import png_damage
from tilepress.pipeline.geotiff.record import (
    describe_raster,
    dump_record,
    parse_crs,
)
from tilepress.pipeline.geotiff.stack_names import stack_name
from tilepress.pipeline.image.fingerprint import file_print
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import GeoReference, ImageInfo
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.source import SourceSpec

__all__ = ["GeoTiffSource", "StackSource"]

MAX_BLOCK_BYTES = 512 * 2**20
"""Decoded size of one strip or tile at most: GDAL decodes a block as a whole, in memory."""

HEADER_BYTES = 64 * 2**10
"""What the fingerprint hashes at either end of a file: a TIFF's directory lies at one of them."""

COMPLEX_PARTS: dict[str, np.dtype[Any]] = {
    "complex_int16": np.dtype(np.int16),
    "complex64": np.dtype(np.float32),
    "complex128": np.dtype(np.float64),
}
"""GDAL's complex types and the type of one component."""

CMYK, YCBCR, CIELAB, LOG_L, LOG_LUV = 5, 6, 8, 32844, 32845
OLD_JPEG, JPEG = 6, 7
SUBSAMPLING = 530

_LOSSY = ("JPEG", "OJPEG", "WEBP", "JXL", "SGILOG")


class GeoTiffSource:
    """One raster file as a ``TileSource``. Axes (["component",] ["band",] "y", "x")."""

    kind = "geotiff"

    def __init__(self, spec: SourceSpec) -> None:
        self._spec = spec
        self._files = _open_all(spec.paths, spec.options.get("page"))
        try:
            self._check()
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

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin" and one "file-N" record per file (see ``geotiff_record``)."""
        names = below_common_folder([str(file.path) for file in self._files])
        files = [
            {"name": name, "bands": file.count, "item": f"file-{i}"} | file.page_facts
            for i, (name, file) in enumerate(zip(names, self._files, strict=True))
        ]
        origin = {"version": 1, "kind": self.kind, "files": files}
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

    def _bands(self, start: int, stop: int) -> Iterator[tuple[_File, list[int], slice]]:
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
        attributes |= _band_attributes(self._files)
        return ImageInfo(
            name=self._name(),
            axes=tuple(axes),
            shape=tuple(shape),
            dtype=first.dtype,
            nodata=nodata,
            valid_range=_valid_range(self._files),
            lossy_refusal=_lossy_refusal(self._files),
            geo=_georeference(first.record),
            attributes=attributes,
            coordinates={"band": np.arange(1, count + 1, dtype=np.int32)} if count > 1 else {},
            has_mask=any(file.record["mask"] != "none" for file in self._files),
            remarks=tuple(dict.fromkeys(r for file in self._files for r in _remarks(file))),
        )

    def _name(self) -> str:
        """Return the store's name: as discovered, else what the files' names begin with."""
        name, page = self._spec.options.get("name"), self._spec.options.get("page")
        ending = "" if page is None else f"-page{page}"
        return str(name or stack_name([file.path for file in self._files]) + ending)


class StackSource(GeoTiffSource):
    """Several files on one grid as one image; their bands follow each other in file order."""

    kind = "stack"

    def _check(self) -> None:
        first = self._files[0]
        for file in self._files[1:]:
            difference = _grid_difference(first.record, file.record)
            if difference:
                raise UnsupportedSource(
                    f"stack {file.path}: {difference}, unlike the first file {first.path.name}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class _File:
    """One open raster file."""

    path: Path
    dataset: DatasetReader
    record: dict[str, Any]
    sidecars: tuple[Path, ...]
    blocks: DeflateBlocks | None = None
    """Those whose checksums GDAL does not look at."""
    mask_blocks: DeflateBlocks | None = None

    @property
    def page_facts(self) -> dict[str, int]:
        """Which page of how many this is, as the record says it; empty for a file of one image."""
        return {key: self.record[key] for key in ("page", "pages") if key in self.record}

    @property
    def count(self) -> int:
        return int(self.record["count"])

    @property
    def is_complex(self) -> bool:
        return self.record["dtype"] in COMPLEX_PARTS

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of one sample, or of one component."""
        name = self.record["dtype"]
        return COMPLEX_PARTS[name] if name in COMPLEX_PARTS else np.dtype(name)

    def read_into(self, indexes: list[int], window: Window, out: npt.NDArray[Any]) -> None:
        self._check(indexes, window)
        with gdal_calls(_doing("read", self.record.get("page")), self.path):
            self.dataset.read(indexes, window=window, out=out)

    def read_complex(self, indexes: list[int], window: Window) -> npt.NDArray[Any]:
        self._check(indexes, window)
        with gdal_calls(_doing("read", self.record.get("page")), self.path):
            samples: npt.NDArray[Any] = self.dataset.read(indexes, window=window)
        return samples

    def read_mask(self, window: Window) -> npt.NDArray[np.uint8]:
        if self.mask_blocks is not None:
            self.mask_blocks.check([1], window)
        with gdal_calls(_doing("read the mask of", self.record.get("page")), self.path):
            mask: npt.NDArray[np.uint8] = self.dataset.read_masks(1, window=window)
        return np.ascontiguousarray(mask)

    def _check(self, indexes: list[int], window: Window) -> None:
        if self.blocks is not None:
            self.blocks.check(indexes, window)


def _doing(verb: str, page: int | None) -> str:
    """Return what is being done to a file, for error messages: "open", "open page 2 of"."""
    return verb if page is None else f"{verb.removesuffix(' of')} page {page} of"


def _open_all(paths: Sequence[str], page: int | None) -> list[_File]:
    files: list[_File] = []
    try:
        for path in paths:
            files.append(_open_file(Path(path), page))
    except BaseException:
        for file in files:
            file.dataset.close()
        raise
    if not files:
        raise UnsupportedSource("open a stack: no files given")
    return files


def _open_file(path: Path, number: int | None) -> _File:
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as exc:
        raise DamagedSource(f"open {path}: {exc.strerror}") from exc
    driver = raster_driver(path, head)
    if driver is None:
        raise UnsupportedSource(f"open {path}: no TIFF, JPEG 2000, PNG or SRTM height file")
    damage = png_damage(path) if driver == "PNG" else None
    if damage is not None:
        raise DamagedSource(f"open {path}: truncated or damaged: {damage}")
    page, pages = (None, 1) if number is None else _find_page(path, driver, number)
    header = read_header(path, page) if driver == "GTiff" else None
    with gdal_calls(_doing("open", number), path):
        raw = header is not None and _reads_raw(header)
        directory = None if page is None else page.directory
        dataset = open_raster(path, driver, raw=raw, directory=directory)
        try:
            converted = header is not None and not raw and _converts(header)
            record = describe_raster(dataset, path.name, driver, header, converted)
            if number is not None:
                record |= {"page": number, "pages": pages}
            _refuse(path, dataset, record, header)
        except BaseException:
            dataset.close()
            raise
    sidecars = tuple(Path(name) for name in record["sidecars"])
    beside = tuple(path.parent / name for name in sidecars)
    return _File(
        path=path,
        dataset=dataset,
        record=record,
        sidecars=beside,
        blocks=DeflateBlocks.of(path, header),
        mask_blocks=_mask_blocks(path, record["mask"]),
    )


def _mask_blocks(path: Path, mask: str) -> DeflateBlocks | None:
    if mask == "internal":
        return DeflateBlocks.of(path, read_mask_header(path), " of its mask")
    if mask == "external":
        beside = path.with_name(path.name + ".msk")
        return DeflateBlocks.of(beside, read_header(beside)) if beside.exists() else None
    return None


def _find_page(path: Path, driver: str, number: int) -> tuple[Page, int]:
    """Return where a page lies, and how many there are."""
    pages = read_pages(path).found if driver == "GTiff" else ()
    doing = f"open page {number} of {path}"
    if not isinstance(number, int) or not 1 <= number <= len(pages):
        raise UnsupportedSource(f"{doing}: it holds {len(pages)} pages")
    page = pages[number - 1]
    beside = number == 1 and path.with_name(path.name + ".msk").exists()
    if page.mask or beside:
        raise UnsupportedSource(f"{doing}: it has a mask, which GDAL gives for no single page")
    return page, len(pages)


def _reads_raw(header: TiffHeader) -> bool:
    """Whether to ask GDAL for the samples as stored instead of an approximation in RGB.

    By default it converts CMYK and CIELAB of 8 bits to RGBA, dropping further bands.
    """
    photometric = header.first.integer(PHOTOMETRIC)
    if header.first.integer(COMPRESSION) in (OLD_JPEG, JPEG) and photometric == YCBCR:
        return False
    if photometric == YCBCR:
        return set(header.first.integers(SUBSAMPLING).tolist()) <= {1} and (
            SUBSAMPLING in header.first.entries
        )
    return photometric in (CMYK, CIELAB) and header.first.integer(COMPRESSION) != OLD_JPEG


def _converts(header: TiffHeader) -> bool:
    """Whether GDAL gives other samples than the file's own colour space holds."""
    photometric = header.first.integer(PHOTOMETRIC)
    return photometric in (YCBCR, LOG_L, LOG_LUV) or (header.first.integer(COMPRESSION) == OLD_JPEG)


def _refuse(
    path: Path, dataset: DatasetReader, record: dict[str, Any], header: TiffHeader | None
) -> None:
    """Raise for what cannot be read whole and right."""
    unsupported = _unsupported(dataset, record, header)
    if unsupported:
        raise UnsupportedSource(f"{_doing('open', record.get('page'))} {path}: {unsupported}")
    damage = header and (header.damage() or header.missing_blocks())
    if damage:
        doing = _doing("open", record.get("page"))
        raise DamagedSource(f"{doing} {path}: truncated or damaged: {damage}")


def _unsupported(
    dataset: DatasetReader, record: dict[str, Any], header: TiffHeader | None
) -> str | None:
    """Say why a sound file is not taken; None where it is."""
    pages = len(ask(lambda: dataset.subdatasets))
    if pages > 1:
        return f"it holds {pages} images (pages); give one file per image"
    if header is not None and header.hidden_images:
        return f"it holds {header.hidden_images} more images in sub-directories (tag 330)"
    if len(set(dataset.dtypes)) > 1:
        return f"its bands differ in type: {', '.join(sorted(set(dataset.dtypes)))}"
    if record["dtype"] not in COMPLEX_PARTS and not _is_numpy(record["dtype"]):
        return f"samples of type {record['dtype']}"
    if header is not None and _is_complex_int32(header):
        return "samples of type complex int32, which GDAL's reader rounds to float32"
    stored = header.first.integer(SAMPLES, 1) if header is not None else record["count"]
    if stored > record["count"]:
        return f"it stores {stored} bands, GDAL gives {record['count']}"
    if record["mask"] == "bands":
        return "its bands have masks of their own; an image has one mask"
    height, width = record["layout"]["block"] if header is None else dataset.block_shapes[0]
    together = record["count"] if record["layout"]["interleave"] == "PIXEL" else 1
    block = height * width * together * _itemsize(record["dtype"])
    if block > MAX_BLOCK_BYTES and header is not None:
        return f"one strip or tile decodes to {block} bytes, the limit is {MAX_BLOCK_BYTES}"
    return None


def _is_numpy(name: str) -> bool:
    try:
        return np.dtype(name).kind in "iuf"
    except TypeError:
        return False


def _is_complex_int32(header: TiffHeader) -> bool:
    return header.first.integer(339) == 5 and header.first.integer(258) == 64


def _itemsize(name: str) -> int:
    return 2 * COMPLEX_PARTS[name].itemsize if name in COMPLEX_PARTS else np.dtype(name).itemsize


def _grid_difference(first: dict[str, Any], other: dict[str, Any]) -> str | None:
    """Say how two files of a stack differ in type or grid; None where they agree."""
    if other["dtype"] != first["dtype"]:
        return f"samples are {other['dtype']}, want {first['dtype']}"
    size, want = [other["height"], other["width"]], [first["height"], first["width"]]
    if size != want:
        return f"grid is {size[0]} × {size[1]}, want {want[0]} × {want[1]}"
    if not _same_transform(first["transform"], other["transform"], max(size)):
        return "its grid lies elsewhere (transforms differ)"
    if first["crs_wkt"] != other["crs_wkt"] and (
        parse_crs(first["crs_wkt"]) != parse_crs(other["crs_wkt"])
    ):
        return "its coordinate reference system differs"
    return None


def _same_transform(a: list[float] | None, b: list[float] | None, extent: int) -> bool:
    """Whether two transforms differ by less than a thousandth of a pixel anywhere."""
    if a is None or b is None:
        return a is b
    pixel = math.hypot(a[0], a[3]) or 1.0
    weights = (extent, extent, 1, extent, extent, 1)
    error = sum(abs(p - q) * w for p, q, w in zip(a, b, weights, strict=True))
    return error < pixel / 1000


def _nodata(files: Sequence[_File]) -> tuple[float | int | None, dict[str, Any]]:
    """Return the value that marks absent samples in every band, and attributes if bands differ."""
    values = [value for file in files for value in file.record["nodata"]]
    usable = [_in_dtype(value, files[0].dtype) for value in values]
    if len({repr(value) for value in usable}) == 1:
        return usable[0], {}
    return None, {"band_nodata": [json_number(value) for value in usable]}


def _in_dtype(value: float | int | None, dtype: np.dtype[Any]) -> float | int | None:
    """Return a nodata value as a sample of ``dtype``; None where no sample can have it."""
    if value is None:
        return None
    if dtype.kind == "f":
        with np.errstate(over="ignore"):
            return float(dtype.type(value))
    limits = np.iinfo(dtype)
    if not math.isfinite(value) or value != int(value):
        return None
    return int(value) if limits.min <= value <= limits.max else None


def _valid_range(files: Sequence[_File]) -> tuple[int, int] | None:
    """Return the range of samples of fewer bits than their type (NBITS), where all files agree."""
    bits = {file.record["layout"]["nbits"] for file in files}
    if len(bits) != 1 or files[0].dtype.kind != "u":
        return None
    (nbits,) = bits
    return (0, 2**nbits - 1) if nbits else None


def _lossy_refusal(files: Sequence[_File]) -> str | None:
    for file in files:
        # a palette that GDAL makes up for black and white counts too: both hold classes
        if file.record["colormaps"] or "palette" in file.record["colors"]:
            return "samples are indices into a colour table"
        if file.record["layout"]["nbits"] == 1:
            return "samples are single bits"
    return None


def _georeference(record: dict[str, Any]) -> GeoReference | None:
    transform = record["transform"]
    if transform is not None and not all(math.isfinite(value) for value in transform):
        transform = None
    if record["crs_wkt"] is None and transform is None:
        return None
    point = record["tags"][""].get("AREA_OR_POINT", "Area")
    return GeoReference(
        crs_wkt=record["crs_wkt"],
        transform=None if transform is None else tuple(transform),
        area_or_point=point,
    )


def _band_attributes(files: Sequence[_File]) -> dict[str, Any]:
    """Return what an analyst needs beside the samples: scale, units, names, colours."""

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
    names = _band_names(files)
    if names:
        attributes |= {"long_name": names[0]} if len(names) == 1 else {"band_names": names}
    colors = bands("colors")
    if set(colors) - {"gray", "undefined"}:
        attributes["color_interpretation"] = colors
    return attributes


def _band_names(files: Sequence[_File]) -> list[str] | None:
    """Return a name per band: its description; in a stack, else the file's own part of its name."""
    names = []
    stems = [file.path.name.split(".")[0] for file in files]
    common = len(stack_name([file.path for file in files])) if len(files) > 1 else 0
    for file, stem in zip(files, stems, strict=True):
        own = stem[common:].strip("_-. ") if len(files) > 1 else ""
        for i, description in enumerate(file.record["descriptions"]):
            suffix = f"_{i + 1}" if own and file.count > 1 else ""
            names.append(description or (own + suffix))
    return names if any(names) else None


def _remarks(file: _File) -> Iterator[str]:
    layout = file.record["layout"]
    name = layout["compress"].split()[-1]
    if file.page_facts:
        yield "page {page} of {pages} of {name}".format(**file.page_facts, name=file.path.name)
    if name.startswith(_LOSSY) and layout["reversible"] != "LOSSLESS":
        yield (
            f"{file.path.name} was stored with {layout['compress']}: its decoded samples are kept "
            "exactly, and export writes them with lossless compression"
        )
    elif file.record["converted"]:
        yield f"{file.path.name}: samples are the RGB that libtiff makes of the file's colours"
    if file.record["driver"] != "GTiff":
        yield f"{file.path.name} is no TIFF: export gives a GeoTIFF with the same samples"


def _fingerprint(path: Path) -> dict[str, Any]:
    found = file_print(path, HEADER_BYTES, at_both_ends=True)
    return {"name": path.name, **asdict(found)}
