"""Marked texts, planted wherever a file has room for text, and a search for them in all forms.

Every token begins alike, so that one search finds them all; it is long enough that chance gives
none. What is searched for is that beginning, in whatever case: plain, UTF-16, hexadecimal, base64.
"""

from __future__ import annotations

import base64
import re
import zlib
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import zarr
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from tilepress.pipeline.geotiff.header import Entry, append_entries

LETTERS = "ZQXJWKVY"
DIGITS = "2.25.73918462055739184"

_TEXTS = frozenset(["AE", "CS", "LO", "LT", "PN", "SH", "ST", "UC", "UR", "UT"])
_BYTES = frozenset(("OB", "UN"))
_NEEDED = frozenset(("PhotometricInterpretation", "SpecificCharacterSet"))
"""Without these no reader could tell what the pixels and texts are."""

GEO_TEXTS = 34737
_TIFF_TEXTS = (
    *(269, 270, 271, 272, 285, 305, 306, 315, 316, 333, 337, 32781, 33432, 36867, 50708, 50735),
)
"""Names, dates, makers, serial numbers; what GeoTIFF's keys refer to."""
_TIFF_BYTES = {700: 1, 33723: 7, 34377: 7, 37724: 7, 50341: 7, 34675: 7, 50839: 1}
"""XMP, IPTC, Photoshop, EPSON, a colour profile that is none."""


class Planter:
    """Gives tokens, each another one, and remembers them."""

    def __init__(self) -> None:
        self.tokens: list[str] = []
        self._numbers = count(1)

    def letters(self) -> str:
        self.tokens.append(f"{LETTERS}{next(self._numbers):05}")
        return self.tokens[-1]

    def digits(self) -> str:
        self.tokens.append(f"{DIGITS}{next(self._numbers):05}")
        return self.tokens[-1]

    def dicom(self, path: Path, series: str, number: int, pixels: np.ndarray) -> Path:
        """Write a slice that has a token in every attribute of the dictionary that takes one."""
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID = CTImageStorage
        meta.MediaStorageSOPInstanceUID = self.digits()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.SourceApplicationEntityTitle = self.letters()
        preamble = f"II*\0{self.letters()}".encode().ljust(128, b"\0")
        header = FileDataset(None, Dataset(), file_meta=meta, preamble=preamble)
        self._fill(header)
        sequences = [tag for tag, row in DicomDictionary.items() if row[0] == "SQ"][:40]
        for tag in sequences:
            header.add_new(tag, "SQ", Sequence([self._nested(3)]))
        for block in range(50):
            private = header.private_block(0x0011 + 2 * block, self.letters(), create=True)
            private.add_new(1, "LO", self.letters())
            private.add_new(2, "UN", self.letters().encode() + b"\0")
        header.add_new(Tag(0x60003000), "OW", (self.letters() + "\0").encode())
        header.add_new(Tag(0x60004000), "LT", self.letters())
        header.SeriesInstanceUID = series
        header.Modality = "CT"
        header.Rows, header.Columns = pixels.shape
        header.SamplesPerPixel, header.PhotometricInterpretation = 1, "MONOCHROME2"
        header.BitsAllocated = header.BitsStored = 16
        header.HighBit, header.PixelRepresentation = 15, 0
        header.ImagePositionPatient, header.InstanceNumber = [0, 0, number], number
        header.ImageOrientationPatient, header.PixelSpacing = [1, 0, 0, 0, 1, 0], [1, 1]
        header.PixelData = pixels.astype("<u2").tobytes()
        header.add_new(Tag(0xFFFCFFFC), "OB", (self.letters() + "\0").encode())
        path.parent.mkdir(parents=True, exist_ok=True)
        header.save_as(path, enforce_file_format=False)
        return path

    def raster(self, path: Path, pixels: np.ndarray, **options: Any) -> Path:
        """Write a GeoTIFF that has a token in every tag that takes one."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(
            path, "w", driver="GTiff", width=pixels.shape[1], height=pixels.shape[0], count=1,
            dtype=pixels.dtype, crs="EPSG:32631", nodata=7,
            transform=rasterio.Affine(10, 0, 5e5, 0, -10, 4e6), **options,
        ) as file:  # fmt: skip
            file.write(pixels, 1)
            file.update_tags(NOTE=self.letters())
            file.update_tags(ns=self.letters(), KEY=self.letters())
            file.update_tags(1, **{self.letters(): self.letters()})
            file.set_band_description(1, self.letters())
            file.set_band_unit(1, self.letters())
        entries = {tag: self._entry(2) for tag in _TIFF_TEXTS}
        entries |= {tag: self._entry(kind) for tag, kind in _TIFF_BYTES.items()}
        entries |= {tag: self._entry(2 + 5 * (tag % 2)) for tag in range(65000, 65040)}
        entries[GEO_TEXTS] = self._geo_texts()
        notes = {34665: {tag: self._entry(2) for tag in (33434, 36867, 37510, 42016, 42033)}}
        notes |= {34853: {tag: self._entry(2) for tag in (1, 29)}}
        append_entries(path, entries, "<", removed=(GEO_TEXTS,), directories=notes)
        return path

    def _entry(self, kind: int) -> Entry:
        data = self.letters().encode() + b"\0"
        return Entry(kind, len(data), data)

    def _geo_texts(self) -> Entry:
        """Return texts that are as long as GeoTIFF's keys expect."""
        data = f"{self.letters()}|{self.letters()}|{self.letters()}|".encode() + b"\0"
        return Entry(2, len(data), data)

    def _fill(self, header: Dataset) -> None:
        for tag, (vr, _, _, _, keyword) in DicomDictionary.items():
            group = tag >> 16
            if group in (0x0000, 0x0002, 0x0004, 0x7FE0, 0xFFFC) or keyword in _NEEDED:
                continue
            if vr in _TEXTS:
                header.add_new(tag, vr, self.letters())
            elif vr == "UI":
                header.add_new(tag, vr, self.digits())
            elif vr in _BYTES:
                header.add_new(tag, vr, (self.letters() + "\0").encode())

    def _nested(self, depth: int) -> Dataset:
        item = Dataset()
        item.PatientName, item.PatientID = self.letters(), self.letters()
        if depth > 1:
            item.RequestAttributesSequence = Sequence([self._nested(depth - 1)])
        return item


def _forms() -> re.Pattern[bytes]:
    """Return what finds a token in any form."""
    found: list[bytes] = []
    for text in (LETTERS, LETTERS.lower(), DIGITS):
        plain = text.encode()
        for data in (plain, text.encode("utf-16-le"), text.encode("utf-16-be")):
            found += [re.escape(data), data.hex().encode(), data.hex().upper().encode()]
            for shift in range(3):
                coded = base64.b64encode(b"\0" * shift + data)
                whole = coded[-(-8 * shift // 6) : (shift + len(data)) * 8 // 6]
                found.append(re.escape(whole))
                found.append(re.escape(whole.translate(bytes.maketrans(b"+/", b"-_"))))
    return re.compile(b"|".join(found), re.IGNORECASE)


FORMS = _forms()


def in_bytes(data: bytes) -> list[bytes]:
    """Return what of tokens stands in some bytes."""
    return FORMS.findall(data)


def in_tree(folder: Path) -> dict[str, int]:
    """Return how many are in each file below a folder, and in each name."""
    found: dict[str, int] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        count = len(in_bytes(name.encode()))
        count += len(in_bytes(path.read_bytes())) if path.is_file() else 0
        if count:
            found[name] = count
    return found


def in_arrays(store: Path) -> dict[str, int]:
    """Return how many are in each decoded array of a store: chunks are compressed.

    The source of a small image is no array, and is looked at as one.
    """
    found: dict[str, int] = {}
    lean = store / "source/c/0"
    if lean.exists() and (count := len(in_bytes(zlib.decompress(lean.read_bytes())))):
        found["source/c/0"] = count
    for key, array in _arrays(zarr.open_group(store, mode="r"), ""):
        data = np.asarray(array[...])
        count = len(in_bytes(data.tobytes()))
        if count:
            found[key] = count
    return found


def _arrays(group: Any, where: str) -> Iterator[tuple[str, Any]]:
    for name, array in group.arrays():
        yield f"{where}{name}", array
    for name, below in group.groups():
        yield from _arrays(below, f"{where}{name}/")
