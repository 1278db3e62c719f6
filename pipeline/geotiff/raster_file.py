"""Open one raster file with GDAL: its samples by windows, or why they are not taken.

What cannot be read whole and right is refused when the file is opened.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from rasterio.io import DatasetReader
from rasterio.windows import Window

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.geotiff.blocks import DeflateBlocks
from tilepress.pipeline.geotiff.decoded_blocks import (
    APERIO_YCBCR,
    Decoded,
    open_stand_in,
    open_tiff,
)
from tilepress.pipeline.geotiff.drivers import OPTED, raster_driver
from tilepress.pipeline.geotiff.gdal import (
    ask,
    gdal_calls,
)
from tilepress.pipeline.geotiff.header import (
    COMPRESSION,
    PHOTOMETRIC,
    PLANAR,
    SAMPLES,
    SUBSAMPLING,
    Directory,
    Page,
    TiffHeader,
    read_header,
    read_mask_header,
    read_pages,
)
from tilepress.pipeline.geotiff.ndpi import NDPI_TILE, NdpiLevel, is_ndpi_level
from tilepress.pipeline.geotiff.opted import open_by_driver
from tilepress.pipeline.geotiff.pam import read_pam
from tilepress.pipeline.geotiff.png import png_damage
from tilepress.pipeline.geotiff.record import describe_raster
from tilepress.pipeline.geotiff.references import raster_names_others
from tilepress.pipeline.geotiff.stream_blocks import StreamBlocks
from tilepress.pipeline.geotiff.stream_export import streams_record
from tilepress.pipeline.geotiff.view import RasterView, raster_view
from tilepress.pipeline.storage.regular import open_regular

__all__ = ["COMPLEX_PARTS", "RasterFile", "open_directory", "open_rasters"]

MAX_BLOCK_BYTES = 512 * 2**20
"""Decoded size of one strip or tile at most: GDAL decodes a block as a whole, in memory."""

COMPLEX_PARTS: dict[str, np.dtype[Any]] = {
    "complex_int16": np.dtype(np.int16),
    "complex64": np.dtype(np.float32),
    "complex128": np.dtype(np.float64),
}
"""GDAL's complex types and the type of one component."""

CMYK, YCBCR, CIELAB, LOG_L, LOG_LUV = 5, 6, 8, 32844, 32845
OLD_JPEG, JPEG = 6, 7


@dataclass(frozen=True, slots=True, kw_only=True)
class RasterFile:
    """One open raster file."""

    path: Path
    dataset: DatasetReader
    record: dict[str, Any]
    sidecars: tuple[Path, ...]
    remarks: tuple[str, ...]
    view: object
    """Kept while the file is open: several threads of OpenJPEG open it again by its name."""
    blocks: DeflateBlocks | None = None
    """Those whose checksums GDAL does not look at."""
    mask_blocks: DeflateBlocks | None = None
    stream_blocks: StreamBlocks | None = None
    """Those that are compressed streams."""
    decoded: Decoded | None = None
    """Those that GDAL does not decode: then the dataset has no samples."""

    @property
    def name(self) -> str:
        """What people are told that it is called: as it is, unless the image is de-identified."""
        return str(self.record["name"])

    @property
    def page_numbers(self) -> dict[str, int]:
        """Which page of how many this is, as the record says it; empty for a file of one image."""
        return {key: self.record[key] for key in ("page", "pages") if key in self.record}

    @property
    def opted(self) -> dict[str, str]:
        """Which driver was asked for, and which of several variables this is; empty for others."""
        if self.record["driver"] not in OPTED:
            return {}
        return {key: self.record[key] for key in ("driver", "variable") if key in self.record}

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
        if self.decoded is not None:
            self.decoded.read_into(indexes, window, out)
            return
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
        for blocks in (self.blocks, self.stream_blocks):
            if blocks is not None:
                blocks.check(indexes, window)


def open_rasters(
    paths: Sequence[str],
    page: int | None,
    driver: str | None = None,
    variable: str | None = None,
) -> list[RasterFile]:
    """Open files, or one page of each; with a driver that was asked for, or one variable of each.

    Raises UnsupportedSource or DamagedSource.
    """
    files: list[RasterFile] = []
    try:
        for path in paths:
            if driver is None:
                files.append(_open(Path(path), page))
            else:
                files.append(_open_opted(Path(path), driver, variable))
    except BaseException:
        for file in files:
            file.dataset.close()
        raise
    if not files:
        raise UnsupportedSource("open a stack: no files given")
    return files


def open_directory(path: Path, offset: int) -> RasterFile:
    """Open the image of one directory of a TIFF file, by where it starts, and of that alone.

    Raises UnsupportedSource or DamagedSource.
    """
    header = read_header(path, Page(0, offset))
    if header is None:
        raise DamagedSource(f"open {path}: there is no directory at byte {offset}")
    with gdal_calls("open", path, options={"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}):
        raw = _reads_raw(header)
        blocks: StreamBlocks | None = None
        decoded: Decoded | None
        if is_ndpi_level(header):
            decoded = NdpiLevel.of(path, header)
            header = decoded.sized(header)
            dataset = open_stand_in(header, raw=raw, tile=NDPI_TILE)
        else:
            blocks = StreamBlocks.of(path, header)
            dataset, decoded = open_tiff(path, header, blocks, "GTiff", raw=raw, offset=offset)
        try:
            converted = _converts(header) and (decoded is not None or not raw)
            record = describe_raster(dataset, path.name, "GTiff", header, converted, [])
            record["layout"] |= _told_of(decoded)
            # what hangs below it is asked for by its own offset
            _refuse(path, dataset, record, replace(header, below=()))
        except BaseException:
            dataset.close()
            raise
    return RasterFile(
        path=path,
        dataset=dataset,
        record=record,
        sidecars=(),
        remarks=(),
        view=None,
        blocks=DeflateBlocks.of(path, header),
        stream_blocks=blocks,
        decoded=decoded,
    )


def _refuse_beside(path: Path, view: RasterView, page: Page | None) -> None:
    """Raise for a mask or companions of an image that GDAL does not decode: it sees none then."""
    has_mask = page.mask != 0 if page is not None else read_mask_header(path) is not None
    what = "a mask" if has_mask else ", ".join(view.companions)
    if what:
        raise UnsupportedSource(
            f"open {path}: it has {what} beside tiles that this GDAL cannot read; such an image "
            "is taken without only"
        )


def _told_of(decoded: Decoded | None) -> dict[str, str]:
    """Return what a record's layout says of an image that GDAL does not decode."""
    return {} if decoded is None else {"compress": decoded.compress}


def _doing(verb: str, page: int | None) -> str:
    """Return what is being done to a file, for error messages: "open", "open page 2 of"."""
    return verb if page is None else f"{verb.removesuffix(' of')} page {page} of"


def _open(path: Path, number: int | None) -> RasterFile:
    try:
        with open_regular(path) as file:
            head = file.read(16)
    except OSError as exc:
        raise DamagedSource(f"open {path}: {exc.strerror}") from exc
    driver = raster_driver(path, head)
    if driver is None:
        raise UnsupportedSource(f"open {path}: no TIFF, JPEG 2000, PNG or SRTM height file")
    damage = png_damage(path) if driver == "PNG" else None
    if damage is not None:
        raise DamagedSource(f"open {path}: truncated or damaged: {damage}")
    with raster_view(path) as view:
        return _open_shown(path, view, driver, number)


def _open_opted(path: Path, driver: str, variable: str | None) -> RasterFile:
    """Open a file with a driver that was asked for: by itself, without what lies beside it."""
    if driver not in OPTED:
        raise UnsupportedSource(f"open {path}: the driver {driver} is none that may be asked for")
    with gdal_calls("open", path, options={"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"}):
        dataset = open_by_driver(path, driver, variable)
        try:
            record = describe_raster(dataset, path.name, driver, None, False, [])
            record |= {} if variable is None else {"variable": variable}
            _refuse(path, dataset, record, None)
        except BaseException:
            dataset.close()
            raise
    return RasterFile(path=path, dataset=dataset, record=record, sidecars=(), remarks=(), view=None)


def _open_shown(path: Path, view: RasterView, driver: str, number: int | None) -> RasterFile:
    """Open a raster of which GDAL sees ``view``."""
    page, pages = (None, 1) if number is None else _find_page(path, view, driver, number)
    header = read_header(path, page) if driver == "GTiff" else None
    names_others = view.beside.names_others or raster_names_others(path, driver, header)
    with gdal_calls(_doing("open", number), path, options=view.options):
        raw = header is not None and _reads_raw(header)
        directory = None if page is None else page.directory
        blocks = StreamBlocks.of(path, header)
        dataset, decoded = open_tiff(
            view.path, header, blocks, driver, raw=raw, directory=directory
        )
        try:
            converted = _converts(header) and (decoded is not None or not raw)
            files = view.companions if names_others else None
            record = describe_raster(dataset, path.name, driver, header, converted, files)
            record["layout"] |= _told_of(decoded)
            tables, unread = _tables(view) if number in (None, 1) else ({}, [])
            record |= {"pam": tables} if tables else {}
            if blocks is not None and header is not None:
                subsampling = header.first.integers(SUBSAMPLING).tolist()
                record |= streams_record(blocks, subsampling)
            if number is not None:
                record |= {"page": number, "pages": pages}
            _refuse(path, dataset, record, header)
            if decoded is not None:
                _refuse_beside(path, view, page)
        except BaseException:
            dataset.close()
            raise
    beside = tuple(path.parent / name for name in record["sidecars"])
    return RasterFile(
        path=path,
        dataset=dataset,
        record=record,
        sidecars=beside,
        remarks=(*view.beside.remarks, *unread, *_unread_below(header)),
        view=view.keep() if driver == "JP2OpenJPEG" else None,
        blocks=DeflateBlocks.of(path, header),
        mask_blocks=_mask_blocks(path, record["mask"], beside),
        stream_blocks=blocks,
        decoded=decoded,
    )


def _unread_below(header: TiffHeader | None) -> Iterator[str]:
    if header is not None and (count := header.unread_below):
        what = "directory" if count == 1 else "directories"
        yield f"{count} {what} below its own (tag 330) left out: unreadable, or nested too deep"


def _tables(view: RasterView) -> tuple[dict[str, str], list[str]]:
    """Return what auxiliary metadata say of values, and remarks on what of it is not kept."""
    tables: dict[str, str] = {}
    remarks = []
    for one in view.beside.companions:
        if one.name.lower().endswith(".aux.xml"):
            try:
                tables |= read_pam(one.file)
            except ValueError as error:
                remarks.append(f"the tables of {one.name} are not kept: {error}")
    return tables, remarks


def _mask_blocks(path: Path, mask: str, beside: Sequence[Path]) -> DeflateBlocks | None:
    if mask == "internal":
        return DeflateBlocks.of(path, read_mask_header(path), " of its mask")
    if mask == "external":
        masks = [file for file in beside if file.name.lower().endswith(".msk")]
        return DeflateBlocks.of(masks[0], read_header(masks[0])) if masks else None
    return None


def _find_page(path: Path, view: RasterView, driver: str, number: int) -> tuple[Page, int]:
    """Return where a page lies, and how many there are."""
    pages = read_pages(path).found if driver == "GTiff" else ()
    doing = f"open page {number} of {path}"
    if not isinstance(number, int) or not 1 <= number <= len(pages):
        raise UnsupportedSource(f"{doing}: it holds {len(pages)} pages")
    page = pages[number - 1]
    if page.mask or (number == 1 and view.beside.has_mask):
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


def _converts(header: TiffHeader | None) -> bool:
    """Whether samples are other ones than the file's own colour space holds."""
    if header is None:
        return False
    photometric = header.first.integer(PHOTOMETRIC)
    compression = header.first.integer(COMPRESSION)
    return photometric in (YCBCR, LOG_L, LOG_LUV) or compression in (OLD_JPEG, APERIO_YCBCR)


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
    if header is not None and _has_halved_planes(header.first):
        return "its Cb and Cr lie in planes of their own with fewer samples, which GDAL cannot read"
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


def _has_halved_planes(own: Directory) -> bool:
    """Whether chroma is subsampled (2 × 2 where nothing is said), and not beside its luma."""
    if own.integer(PHOTOMETRIC) != YCBCR or own.integer(PLANAR, 1) != 2:
        return False
    sides = own.integers(SUBSAMPLING).tolist() or [2, 2]
    return own.integer(COMPRESSION) not in (OLD_JPEG, JPEG) and set(sides) != {1}


def _is_numpy(name: str) -> bool:
    try:
        return np.dtype(name).kind in "iuf"
    except TypeError:
        return False


def _is_complex_int32(header: TiffHeader) -> bool:
    return header.first.integer(339) == 5 and header.first.integer(258) == 64


def _itemsize(name: str) -> int:
    return 2 * COMPLEX_PARTS[name].itemsize if name in COMPLEX_PARTS else np.dtype(name).itemsize
