"""Small images from the whole space of what sources can be, as Hypothesis draws them.

Drawn is a description; writing it may fail, for no program writes every combination: then there is
no such file, and nobody can have one.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import rasterio
import zarr
from affine import Affine
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from rasterio.control import GroundControlPoint
from rasterio.enums import ColorInterp
from rasterio.errors import NotGeoreferencedWarning
from rasterio.rpc import RPC

from ..pipeline.dicom.conftest import build, save

__all__ = [
    "ARRAYS",
    "DICOMS",
    "NATIVE",
    "RASTERS",
    "ArrayMade",
    "DicomMade",
    "NotWritten",
    "RasterMade",
]

Array = np.ndarray[Any, np.dtype[Any]]


class NotWritten(Exception):
    """No program writes such a file."""


REALS = ("uint8", "int8", "uint16", "int16", "uint32", "int32", "uint64", "int64", "float32")
RASTER_TYPES = (*REALS, "float64", "complex_int16", "complex64", "complex128")
PLACES: dict[str, dict[str, Any]] = {
    "nowhere": {},
    "grid": {"crs": "EPSG:32621", "transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)},
    "no CRS": {"transform": Affine(30, 0, 500_000, 0, -30, 4_000_000)},
    "no grid": {"crs": "EPSG:4326"},
    "rotated": {"crs": "EPSG:3857", "transform": Affine(1, 2, 3, 4, -5, 6)},
    "south up": {"crs": "EPSG:32721", "transform": Affine(10, 0, 5e5, 0, 10, 4e6)},
    "points": {
        "crs": "EPSG:4326",
        "gcps": [
            GroundControlPoint(row=r, col=c, x=10 + c, y=50 - r, z=r) for r, c in ((0, 0), (9, 7))
        ],
    },
}
RPCS = RPC(
    height_off=100.0, height_scale=500.0, lat_off=50.0, lat_scale=0.5, line_den_coeff=[1.0] * 20,
    line_num_coeff=[0.5] * 20, line_off=10.0, line_scale=10.0, long_off=8.0, long_scale=0.5,
    samp_den_coeff=[1.0] * 20, samp_num_coeff=[0.25] * 20, samp_off=10.0, samp_scale=10.0,
    err_bias=None, err_rand=None,
)  # fmt: skip
ATTRIBUTES = """<PAMDataset><PAMRasterBand band="1"><GDALRasterAttributeTable tableType="thematic">
<FieldDefn index="0"><Name>Value</Name><Type>0</Type><Usage>5</Usage></FieldDefn>
<FieldDefn index="1"><Name>Class</Name><Type>2</Type><Usage>2</Usage></FieldDefn>
<Row index="0"><F>0</F><F>sea</F></Row><Row index="1"><F>1</F><F>land</F></Row>
</GDALRasterAttributeTable></PAMRasterBand></PAMDataset>"""


def samples(dtype: str, shape: tuple[int, ...], content: str, seed: int) -> Array:
    """Return samples of a type of NumPy."""
    rng, kind = np.random.default_rng(seed), np.dtype(dtype)
    if kind.kind == "c":
        parts = [samples(f"f{kind.itemsize // 2}", shape, content, seed + n) for n in (0, 1)]
        out = np.empty(shape, kind)
        out.real, out.imag = parts
        return out
    if content == "smooth":
        y, x = np.indices(shape)[-2:]
        values = 20 + x + y // 2 + rng.integers(0, 4, shape)
        return (values * (0.37 if kind.kind == "f" else 1)).astype(kind)
    if content == "few":
        return rng.integers(0, 3, shape).astype(kind)
    if kind.kind == "f":
        extremes = np.array([np.nan, np.inf, -np.inf, -0.0, np.finfo(kind).max, 1e-40])
        values = rng.normal(0, 1000, shape).astype(kind)
        odd = rng.random(shape) < 0.1
        return np.where(odd, rng.choice(extremes, shape), values).astype(kind)
    limits = np.iinfo(kind)
    return rng.integers(limits.min, limits.max, shape, dtype=kind, endpoint=True)


CONTENTS = st.sampled_from(("smooth", "few", "noise"))
SEEDS = st.integers(0, 99)
SIDES = st.integers(1, 45)


@dataclass(frozen=True)
class RasterMade:
    """A file that GDAL writes."""

    dtype: str
    bands: int
    size: tuple[int, int]
    content: str
    seed: int
    driver: str
    options: dict[str, Any]
    nodata: float | None
    place: str
    rpcs: bool
    mask: bool
    colours: bool
    classes: bool
    told: bool

    def write(self, path: Path) -> Path:
        """Write it; raises NotWritten."""
        if self.driver == "JP2OpenJPEG":
            path = path.with_suffix(".jp2")
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotGeoreferencedWarning)
                self._write(path)
        except Exception as error:  # whatever GDAL says: there is no such file
            raise NotWritten from error
        if self.classes:
            path.with_name(f"{path.name}.aux.xml").write_text(ATTRIBUTES)
        return path

    def _write(self, path: Path) -> None:
        height, width = self.size
        kind = {"complex_int16": "complex64"}.get(self.dtype, self.dtype)
        image = samples(kind, (self.bands, height, width), self.content, self.seed)
        if self.dtype == "complex_int16":
            image = np.round(np.nan_to_num(image.real, posinf=0, neginf=0).clip(-9, 9)) + 1j
        profile = {"driver": self.driver, "height": height, "width": width, "count": self.bands}
        more = {"rpcs": RPCS} if self.rpcs else {}
        with (
            rasterio.Env(GDAL_TIFF_INTERNAL_MASK=True),
            rasterio.open(
                path, "w", **profile, dtype=self.dtype, nodata=self.nodata, **self.options,
                **PLACES[self.place], **more,
            ) as file,
        ):  # fmt: skip
            file.write(image.astype(kind))
            if self.colours:
                file.write_colormap(1, {n: (n, 255 - n, n // 2, 255) for n in range(256)})
            if self.told:
                file.update_tags(AREA_OR_POINT="Point", place="Bühl")
                file.update_tags(1, wavelength="665 nm")
                file.set_band_description(self.bands, "the last of them")
                file.scales, file.offsets = [0.01] * self.bands, [-5.0] * self.bands
                file.units = ["m"] * self.bands
                # beside CMYK, colours of a sidecar contradict the file, and are not given back
                if self.bands in (2, 4) and self.options.get("photometric") != "CMYK":
                    colours = [ColorInterp.gray] * (self.bands - 1) + [ColorInterp.alpha]
                    file.colorinterp = colours
            if self.mask:
                file.write_mask(samples("uint8", (height, width), "few", 5) > 0)


@st.composite
def _rasters(draw: Callable[[Any], Any]) -> RasterMade:
    dtype = draw(st.sampled_from(RASTER_TYPES))
    driver = draw(st.sampled_from(("GTiff",) * 9 + ("JP2OpenJPEG",)))
    options: dict[str, Any] = {}
    if driver == "GTiff":
        compress = draw(
            st.sampled_from(
                ("NONE", "LZW", "DEFLATE", "ZSTD", "PACKBITS", "LZMA", "JPEG", "WEBP", "LERC")
            )
        )
        options |= {"compress": compress, "interleave": draw(st.sampled_from(("PIXEL", "BAND")))}
        if compress in ("JPEG", "WEBP") and draw(st.integers(0, 3)):
            dtype = "uint8"
        if compress in ("LZW", "DEFLATE", "ZSTD"):
            options["predictor"] = draw(st.sampled_from((1, 2, 3)))
        if compress == "WEBP":
            options["webp_lossless"] = draw(st.sampled_from(("YES", "NO")))
        if draw(st.booleans()):
            options |= {
                "tiled": True,
                "blockxsize": 16,
                "blockysize": draw(st.sampled_from((16, 32))),
            }
        for name, values in {
            "photometric": (None, None, "RGB", "MINISWHITE", "CMYK", "YCBCR"),
            "nbits": (None, None, None, 1, 7, 12, 16),
            "endianness": (None, "BIG"),
            "bigtiff": (None, "YES"),
        }.items():
            value = draw(st.sampled_from(values))
            options |= {} if value is None else {name: value}
    elif draw(st.booleans()):
        options |= {"quality": 100, "reversible": "YES"}
    whole = dtype.startswith(("u", "i"))
    values = (None, 0, 1, 255, -9999, 3.5, np.nan, np.inf)
    return RasterMade(
        dtype=dtype,
        bands=draw(st.sampled_from((1, 1, 1, 2, 3, 3, 4, 5))),
        size=(draw(SIDES), draw(SIDES)),
        content=draw(CONTENTS),
        seed=draw(SEEDS),
        driver=driver,
        options=options,
        nodata=draw(st.sampled_from(values[:5] if whole else values)),
        place=draw(st.sampled_from(sorted(PLACES))),
        rpcs=draw(st.integers(0, 7)) == 0,
        mask=draw(st.integers(0, 3)) == 0,
        colours=dtype == "uint8" and draw(st.booleans()),
        classes=draw(st.integers(0, 5)) == 0,
        told=draw(st.booleans()),
    )


RASTERS = _rasters()


def _coded(codec: str, frame: Array, lossy: bool) -> bytes:
    """Return a frame, (y, x) or (y, x, 3), in a stream."""
    if codec == "jpeg":
        return bytes(imagecodecs.jpeg8_encode(frame, level=85))
    if codec == "jpeg lossless":
        return bytes(imagecodecs.ljpeg_encode(frame))
    if codec == "jpegls":
        return bytes(imagecodecs.jpegls_encode(frame, level=2 if lossy else 0))
    if codec == "jpeg2000":
        options = {"level": 40, "reversible": False} if lossy else {"reversible": True}
        return bytes(imagecodecs.jpeg2k_encode(frame, codecformat="j2k", **options))
    assert codec == "rle"
    return _rle(frame)


def _rle(frame: Array) -> bytes:
    """Return a frame in RLE (PS3.5 annex G): literal runs alone."""
    planes = frame[None] if frame.ndim == 2 else np.moveaxis(frame, -1, 0)
    segments = []
    for plane in planes:
        raw = plane.astype(plane.dtype.newbyteorder(">")).tobytes()
        for byte in range(plane.dtype.itemsize):
            part, coded = raw[byte :: plane.dtype.itemsize], b""
            for at in range(0, len(part), 128):
                piece = part[at : at + 128]
                coded += bytes([len(piece) - 1]) + piece
            segments.append(coded + b"\0" * (len(coded) % 2))
    starts = np.cumsum([64, *map(len, segments)])[:-1]
    head = np.zeros(16, "<u4")
    head[0], head[1 : 1 + len(segments)] = len(segments), starts
    return head.tobytes() + b"".join(segments)


NATIVE = {
    "implicit": "1.2.840.10008.1.2",
    "explicit": "1.2.840.10008.1.2.1",
    "deflated": "1.2.840.10008.1.2.1.99",
    "big endian": "1.2.840.10008.1.2.2",
}
CODED = {
    "jpeg": "1.2.840.10008.1.2.4.50",
    "jpeg lossless": "1.2.840.10008.1.2.4.70",
    "jpegls": "1.2.840.10008.1.2.4.80",
    "jpegls near": "1.2.840.10008.1.2.4.81",
    "jpeg2000": "1.2.840.10008.1.2.4.90",
    "jpeg2000 lossy": "1.2.840.10008.1.2.4.91",
    "rle": "1.2.840.10008.1.2.5",
}


@dataclass(frozen=True)
class DicomMade:
    """Instances of one series."""

    syntax: str
    dtype: str
    bits: int
    size: tuple[int, int]
    colours: str
    planar: int
    frames: int
    files: int
    content: str
    seed: int
    elements: dict[str, Any] = field(default_factory=dict)
    fragments: int = 1

    def write(self, folder: Path) -> list[Path]:
        """Write it; raises NotWritten."""
        try:
            return [self._write(folder, number) for number in range(1, self.files + 1)]
        except Exception as error:  # whatever an encoder says: there is no such file
            raise NotWritten from error

    def _write(self, folder: Path, number: int) -> Path:
        count = 3 if self.colours in ("RGB", "YBR_FULL") else 1
        shape = (self.frames, *self.size, *((3,) if count == 3 else ()))
        image = samples(self.dtype, shape, self.content, self.seed + number)
        wide = image.astype(np.int64) & ((1 << self.bits) - 1)
        if np.dtype(self.dtype).kind == "i":  # the sign goes on to the top
            wide = (wide ^ (1 << (self.bits - 1))) - (1 << (self.bits - 1))
        image = wide.astype(self.dtype)
        elements: dict[str, Any] = {
            "Rows": self.size[0], "Columns": self.size[1], "SamplesPerPixel": count,
            "BitsAllocated": image.itemsize * 8, "BitsStored": self.bits,
            "PixelRepresentation": int(image.dtype.kind == "i"),
            "PhotometricInterpretation": self.colours, "PixelSpacing": [0.5, 0.7],
            "ImagePositionPatient": [0, 0, 2.5 * number],
            "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        }  # fmt: skip
        if count == 3:
            elements["PlanarConfiguration"] = self.planar
        if self.frames > 1:
            elements["NumberOfFrames"] = self.frames
        if self.colours == "PALETTE COLOR":
            table = np.arange(256, dtype="<u2").tobytes()
            for colour in ("Red", "Green", "Blue"):
                elements[f"{colour}PaletteColorLookupTableDescriptor"] = [256, 0, 16]
                elements[f"{colour}PaletteColorLookupTableData"] = table
        elements |= self.elements
        uid = NATIVE.get(self.syntax) or CODED[self.syntax]
        if self.syntax in CODED:
            name, _, how = self.syntax.partition(" near")
            lossy = bool(how) or name.endswith("lossy")
            name = name.removesuffix(" lossy")
            streams = [_coded(name, np.ascontiguousarray(frame), lossy) for frame in image]
            dataset = build(
                encapsulate(streams, fragments_per_frame=self.fragments), uid,
                instance=number, **elements,
            )  # fmt: skip
            dataset["PixelData"].VR = "OB"
            dataset["PixelData"].is_undefined_length = True
        else:
            if count == 3 and self.planar:
                image = np.moveaxis(image, -1, 1)
            order = ">" if self.syntax == "big endian" else "<"
            data = image.astype(image.dtype.newbyteorder(order)).tobytes()
            dataset = build(data, uid, instance=number, **elements)
        return save(dataset, folder / f"{number}.dcm")


@st.composite
def _dicoms(draw: Callable[[Any], Any]) -> DicomMade:
    syntax = draw(st.sampled_from((*NATIVE, *CODED)))
    dtype = draw(st.sampled_from(("uint8", "int8", "uint16", "uint16", "int16", "uint32", "int32")))
    colours = draw(
        st.sampled_from(
            ("MONOCHROME2", "MONOCHROME2", "MONOCHROME1", "RGB", "YBR_FULL", "PALETTE COLOR")
        )
    )
    if colours in ("RGB", "YBR_FULL", "PALETTE COLOR") or syntax == "jpeg":
        dtype = "uint8"
    if syntax in CODED and dtype.endswith("32"):
        dtype = "uint16"
    width = np.dtype(dtype).itemsize * 8
    whole = colours != "MONOCHROME2" or syntax == "jpeg"
    elements: dict[str, Any] = {}
    if draw(st.booleans()):
        elements |= {
            "RescaleSlope": draw(st.sampled_from((1, 0.25, 2.5))),
            "RescaleIntercept": -1024,
        }
    if draw(st.booleans()):
        elements |= {"WindowCenter": 40, "WindowWidth": 400}
    if draw(st.integers(0, 3)) == 0:
        elements["PixelPaddingValue"] = 0
    return DicomMade(
        syntax=syntax,
        dtype=dtype,
        bits=width if whole else draw(st.integers(max(2, width // 2), width)),
        size=(draw(SIDES), draw(SIDES)),
        colours=colours,
        planar=draw(st.sampled_from((0, 0, 1))),
        frames=draw(st.sampled_from((1, 1, 1, 2, 3))),
        files=draw(st.sampled_from((1, 1, 2, 3))),
        content=draw(CONTENTS),
        seed=draw(SEEDS),
        elements=elements,
        fragments=draw(st.sampled_from((1, 1, 1, 2))),
    )


DICOMS = _dicoms()


@dataclass(frozen=True)
class ArrayMade:
    """A NumPy file, or a Zarr array."""

    dtype: str
    shape: tuple[int, ...]
    content: str
    seed: int
    order: str
    kind: str

    @property
    def array(self) -> Array:
        kind = np.dtype(self.dtype)
        if kind.kind == "b":
            return samples("uint8", self.shape, "few", self.seed) > 0
        return samples(kind.newbyteorder("=").str, self.shape, self.content, self.seed).astype(kind)

    def write(self, folder: Path) -> Path:
        """Write it; raises NotWritten."""
        path = folder / ("a.npy" if self.kind == "npy" else "a.zarr")
        array = np.asarray(self.array, order=self.order)  # type: ignore[call-overload]
        try:
            if self.kind == "npy":
                np.save(path, array)
            else:
                version = 3 if self.kind == "zarr 3" else 2
                chunks = tuple(min(n, 7) for n in self.shape)
                zarr.create_array(path, data=array, chunks=chunks, zarr_format=version)
        except Exception as error:  # as above
            raise NotWritten from error
        return path


@st.composite
def _arrays(draw: Callable[[Any], Any]) -> ArrayMade:
    kinds = ("b1", "u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f2", "f4", "f8", "c8", "c16")
    kind = draw(st.sampled_from(kinds))
    leading = draw(st.lists(st.integers(1, 4), max_size=3))
    return ArrayMade(
        dtype=f"{draw(st.sampled_from('<>'))}{kind}",
        shape=(*leading, draw(st.integers(1, 30)), draw(st.integers(1, 30))),
        content=draw(CONTENTS),
        seed=draw(SEEDS),
        order=draw(st.sampled_from("CF")),
        kind=draw(st.sampled_from(("npy", "npy", "zarr 3", "zarr 2"))),
    )


ARRAYS = _arrays()
