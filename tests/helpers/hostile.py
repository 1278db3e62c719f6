"""Make inputs that are wrong in every way we know, each in a folder of its own.

``HOSTILE`` names them; every one is told by one line and stops nobody else. Those marked ``slow``
take a minute until a limit ends them, or hold thousands of images. ``outside`` is a folder that
nobody names: what is in it must stay unread.
"""

from __future__ import annotations

import gzip
import json
import os
import socket
import struct
import zlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .packed import PACKED

__all__ = ["HOSTILE", "SECRET", "Hostile", "good", "make_outside", "tiff_bytes"]

SECRET = 77
"""Every sample of the images outside: none may come into a store."""

Maker = Callable[[Path, Path], None]


@dataclass(frozen=True, slots=True)
class Hostile:
    """One input."""

    name: str
    make: Maker
    """Called with its folder, which is there, and the folder outside."""
    slow: bool = False
    is_image: bool = False
    """Whether it is a sound image with odd surroundings: it may be sealed."""


HOSTILE: dict[str, Hostile] = {}


def _hostile(name: str, make: Maker, *, slow: bool = False, is_image: bool = False) -> None:
    assert name not in HOSTILE, name
    HOSTILE[name] = Hostile(name, make, slow, is_image)


def good(path: Path, value: int = 5) -> Path:
    """Write an image that nothing is wrong with."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.save(path, np.full((24, 24), value, np.uint8))
    return path


def make_outside(folder: Path) -> None:
    """Fill the folder outside with what is worth reading."""
    folder.mkdir(parents=True)
    (folder / "secret.tif").write_bytes(tiff_bytes(value=SECRET))
    (folder / "secret.txt").write_text("1\n0\n0\n-1\n77\n77\n")
    (folder / "secret.aux.xml").write_text("<PAMDataset/>")
    (folder / "c" / "0").mkdir(parents=True)
    (folder / "c/0/0").write_bytes(bytes([SECRET]) * 256)
    (folder / "zarr.json").write_text(json.dumps(zarr_document()))


# TIFF


def tiff_bytes(
    changes: dict[int, tuple[int, int, object]] | None = None,
    *,
    value: int = 1,
    size: int = 16,
    big: bool = False,
    following: int | None = None,
) -> bytes:
    """Return a TIFF of size × size samples of 8 bits; ``changes`` are entries (kind, count, value).

    A value is an integer, the bytes of a long value, or None for no such entry.
    """
    entry, order = ("<HHQQ", "<HHQ") if big else ("<HHII", "<HHI")
    start = 16 if big else 8
    pixels = bytes([value]) * (size * size)
    entries: dict[int, tuple[int, int, object]] = {
        256: (3, 1, size), 257: (3, 1, size), 258: (3, 1, 8), 259: (3, 1, 1), 262: (3, 1, 1),
        273: (4, 1, start), 277: (3, 1, 1), 278: (3, 1, size), 279: (4, 1, len(pixels)),
    } | (changes or {})  # fmt: skip
    entries = {tag: one for tag, one in entries.items() if one[2] is not None}
    at = start + len(pixels)
    counted = struct.pack("<Q" if big else "<H", len(entries))
    after = at + len(counted) + len(entries) * struct.calcsize(entry) + (8 if big else 4)
    directory, long = bytearray(counted), bytearray()
    for tag, (kind, count, what) in sorted(entries.items()):
        if isinstance(what, bytes):
            directory += struct.pack(entry, tag, kind, count, after + len(long))
            long += what
        else:
            assert isinstance(what, int)
            directory += struct.pack(entry, tag, kind, count, what)
    del order
    link = 0 if following is None else following
    directory += struct.pack("<Q" if big else "<I", link)
    head = (
        struct.pack("<2sHHHQ", b"II", 43, 8, 0, at) if big else struct.pack("<2sHI", b"II", 42, at)
    )
    return head + pixels + bytes(directory) + bytes(long)


def _tiff(name: str, changes: dict[int, tuple[int, int, object]], **more: object) -> None:
    slow = bool(more.pop("slow", False))
    is_image = bool(more.pop("is_image", False))

    def make(folder: Path, _: Path) -> None:
        (folder / "a.tif").write_bytes(tiff_bytes(changes, **more))  # type: ignore[arg-type]

    _hostile(f"tiff-{name}", make, slow=slow, is_image=is_image)


def _text(content: bytes) -> tuple[int, int, object]:
    return (2, len(content), content)


_tiff("directory-leads-to-itself", {}, following=8 + 256, is_image=True)
_tiff("directory-outside", {}, following=2**31, is_image=True)
_tiff("no-width", {256: (3, 1, 0)})
_tiff("no-length", {257: (3, 1, 0)})
_tiff("width-missing", {256: (3, 1, None)})
_tiff("of-four-billion-rows", {257: (4, 1, 2**32 - 1)})
_tiff("of-four-billion-squared", {256: (4, 1, 2**32 - 1), 257: (4, 1, 2**32 - 1)})
_tiff("one-huge-strip", {256: (4, 1, 100_000), 257: (4, 1, 100_000), 278: (4, 1, 100_000)})
_tiff("strip-outside", {273: (4, 1, 2**31)})
_tiff("strip-of-four-billion-bytes", {279: (4, 1, 2**32 - 1), 259: (3, 1, 8)})
_tiff("no-strips", {273: (4, 1, None), 279: (4, 1, None)})
_tiff("no-rows-per-strip", {278: (4, 1, 0)})
_tiff("tiles-of-nothing", {322: (3, 1, 0), 323: (3, 1, 0), 324: (4, 1, 8), 325: (4, 1, 256)})
_tiff("a-tile-of-four-gigabytes", {
    322: (4, 1, 65520), 323: (4, 1, 65520), 324: (4, 1, 8), 325: (4, 1, 256),
    273: (4, 1, None), 279: (4, 1, None),
})  # fmt: skip
_tiff("seven-bits", {258: (3, 1, 7)}, is_image=True)
_tiff("no-bits", {258: (3, 1, 0)})
_tiff("no-samples", {277: (3, 1, 0)})
_tiff("of-65535-bands", {277: (3, 1, 65535)}, slow=True)
_tiff("unknown-compression", {259: (3, 1, 4711)})
_tiff("junk-deflated", {259: (3, 1, 8)})
_tiff("junk-lzw", {259: (3, 1, 5)})
_tiff("junk-jpeg", {259: (3, 1, 7)})
_tiff("junk-fax", {259: (3, 1, 4)})
_tiff("odd-predictor", {259: (3, 1, 8), 317: (3, 1, 9)})
_tiff("value-of-four-gigabytes", {270: (2, 2**32 - 1, 8)}, is_image=True)
_tiff("sub-directory-is-itself", {330: (4, 1, 8 + 256)})
_tiff("exif-is-itself", {34665: (4, 1, 8 + 256)}, is_image=True)
_tiff(
    "keys-of-nonsense",
    {34735: (3, 8, struct.pack("<8H", 1, 1, 0, 900, 1024, 34737, 9, 9))},
    is_image=True,
)
_tiff("points-of-nan", {33922: (12, 6, struct.pack("<6d", *[float("nan")] * 6))}, is_image=True)
_tiff("metadata-of-brackets", {42112: _text(b"<a>" * 30_000)}, is_image=True)
_tiff("metadata-are-no-text", {42112: (2, 9, b"\xff\xfe<\0\0\1\2\3\0")})
_tiff("nodata-is-no-number", {42113: _text(b"1e99999999\0")}, is_image=True)
_tiff("big-offset-of-63-bits", {273: (16, 1, 2**63 - 1)}, big=True)
_tiff("big-of-two-to-the-sixty", {256: (16, 1, 2**60), 257: (16, 1, 2**60)}, big=True)


def _write(name: str, file: str, data: bytes, *, slow: bool = False) -> None:
    def make(folder: Path, _: Path) -> None:
        (folder / file).write_bytes(data)

    _hostile(name, make, slow=slow)


def _many_entries() -> bytes:
    entries = b"".join(struct.pack("<HHII", 1, 3, 1, 1) for _ in range(65535))
    return struct.pack("<2sHIH", b"II", 42, 8, 65535) + entries + bytes(4)


def _chain(length: int) -> bytes:
    """Return a TIFF of many pages, each with the same samples."""
    out = bytearray(b"II*\0\x08\0\0\0")
    for number in range(length):
        values = {256: 1, 257: 1, 258: 8, 259: 1, 262: 1, 273: 0, 277: 1, 278: 1, 279: 1}
        out += struct.pack("<H", len(values))
        for tag, value in values.items():
            out += struct.pack("<HHII", tag, 4, 1, value)
        out += struct.pack("<I", len(out) + 4 if number < length - 1 else 0)
    return bytes(out)


_write("tiff-of-65535-entries", "a.tif", _many_entries())
_write("tiff-of-5000-pages", "a.tif", _chain(5000), slow=True)
_write("tiff-head-alone", "a.tif", b"II*\0\x08\0\0\0")
_write("tiff-mark-alone", "a.tif", b"II*\0")
_write("bigtiff-mark-alone", "a.tif", b"II+\0")


# companions


def _beside(name: str, beside: str, make: Maker, *, is_image: bool = False) -> None:
    """An image with something beside it; ``make`` is called with that path."""

    def whole(folder: Path, outside: Path) -> None:
        (folder / "a.tif").write_bytes(tiff_bytes())
        make(folder / beside, outside)

    _hostile(f"beside-{name}", whole, is_image=is_image)


def _vrt(path: Path, outside: Path) -> None:
    path.write_text(
        '<VRTDataset rasterXSize="16" rasterYSize="16"><VRTRasterBand dataType="Byte" band="1">'
        f"<SimpleSource><SourceFilename>{outside}/secret.tif</SourceFilename>"
        "<SourceBand>1</SourceBand></SimpleSource></VRTRasterBand></VRTDataset>"
    )


def _pipe(path: Path, _: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path, _: Path) -> None:
    here = os.getcwd()
    os.chdir(path.parent)  # names of sockets are short
    try:
        with socket.socket(socket.AF_UNIX) as bound:
            bound.bind(path.name)
    finally:
        os.chdir(here)


def _link(target: str) -> Maker:
    return lambda path, outside: path.symlink_to(target.format(outside=outside))


def _says(text: str) -> Maker:
    return lambda path, outside: _put(path, text.format(outside=outside).encode())


def _put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def _overviews(file: str) -> str:
    item = f'<MDI key="OVERVIEW_FILE">{file}</MDI>'
    return f'<PAMDataset><Metadata domain="OVERVIEWS">{item}</Metadata></PAMDataset>'


_LAUGHS = (
    '<!DOCTYPE a [<!ENTITY a "ha">'
    + "".join(
        f'<!ENTITY {b} "{f"&{a};" * 10}">' for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    + "]><PAMDataset><Metadata><MDI key='x'>&i;</MDI></Metadata></PAMDataset>"
)

for _name in ("a.tif.msk", "a.tif.ovr"):
    _ok = _name.endswith("ovr")
    _beside(f"{_name}-vrt", _name, _vrt, is_image=_ok)
    _beside(f"{_name}-pipe", _name, _pipe, is_image=_ok)
    _beside(f"{_name}-link-outside", _name, _link("{outside}/secret.tif"), is_image=_ok)
    _beside(f"{_name}-link-to-nothing", _name, _link("gone"), is_image=_ok)
    _beside(f"{_name}-link-to-itself", _name, _link(_name), is_image=_ok)
    _beside(f"{_name}-device", _name, _link("/dev/zero"), is_image=_ok)
for _name in ("a.tif.aux.xml", "a.tfw", "a.aux", "a.tab", "a.wld"):
    _beside(f"{_name}-pipe", _name, _pipe)
    _beside(f"{_name}-link-outside", _name, _link("{outside}/secret.txt"))
_beside("socket", "a.tif.aux.xml", _socket)
_beside("names-overviews-outside", "a.tif.aux.xml",
        _says(_overviews("{outside}/secret.tif")), is_image=True)  # fmt: skip
_beside("names-overviews-on-the-network", "a.tif.aux.xml",
        _says(_overviews("/vsicurl/http://127.0.0.1:9/secret.tif")), is_image=True)  # fmt: skip
for _name, _where in (("network", "http://127.0.0.1:9/s"), ("file", "{outside}/secret.txt")):
    _srs = f"<PAMDataset><SRS>{_where}</SRS></PAMDataset>"
    _beside(f"names-a-reference-of-a-{_name}", "a.tif.aux.xml", _says(_srs), is_image=True)
_beside("names-a-reference-of-points", "a.tif.aux.xml",
        _says('<PAMDataset><GCPList Projection="http://127.0.0.1:9/s"><GCP Id="" Pixel="0" '
              'Line="0" X="1" Y="1"/></GCPList></PAMDataset>'), is_image=True)  # fmt: skip
_beside("laughs", "a.tif.aux.xml", lambda path, _: _put(path, _LAUGHS.encode()), is_image=True)
_beside("brackets", "a.tif.aux.xml",
        lambda path, _: _put(path, b"<PAMDataset>" * 100_000), is_image=True)  # fmt: skip
_beside("junk", "a.tif.aux.xml", lambda path, _: _put(path, bytes(range(256)) * 9), is_image=True)
_beside("world-file-of-junk", "a.tfw", _says("nan\ninf\n1e999\n-\n\n{{"), is_image=True)
_beside("erdas-junk", "a.aux", lambda path, _: _put(path, b"EHFA_HEADER_TAG" + b"\xff" * 99),
        is_image=True)  # fmt: skip
_beside("notes-link-outside", "a.imd", _link("{outside}/secret.txt"), is_image=True)
_beside("folders", "a.tif.msk", lambda path, _: path.mkdir(), is_image=True)


def _names_itself(folder: Path, outside: Path) -> None:
    text = (
        '<GDALMetadata><Item name="OVERVIEW_FILE" domain="OVERVIEWS">'
        f"{outside}/secret.tif</Item></GDALMetadata>\0"
    )
    (folder / "a.tif").write_bytes(tiff_bytes({42112: _text(text.encode())}))


_hostile("image-names-overviews-outside", _names_itself, is_image=True)
_hostile("vrt-called-tif", lambda folder, outside: _vrt(folder / "a.tif", outside))


# PNG, JPEG 2000


def _png(width: int, height: int, data: bytes = b"", *, spoil: bool = False) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        crc = zlib.crc32(kind + body) ^ spoil
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", crc)

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    chunks = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(data)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunks


_write("png-of-nothing", "a.png", _png(0, 0))
_write("png-of-four-billion", "a.png", _png(2**31 - 1, 2**31 - 1))
_write("png-without-samples", "a.png", _png(64, 64))
_write("png-of-wrong-checks", "a.png", _png(4, 4, bytes(20), spoil=True))
_write("png-mark-alone", "a.png", b"\x89PNG\r\n\x1a\n")

_JP2 = b"\0\0\0\x0cjP  \r\n\x87\n"
_write("jp2-mark-alone", "a.jp2", _JP2)
_write("jp2-box-of-no-length", "a.jp2", _JP2 + b"\0\0\0\x01ftyp" + bytes(8))
_write("jp2-box-in-box", "a.jp2", _JP2 + b"".join(
    struct.pack(">I", 8 * (2000 - n)) + b"asoc" for n in range(2000)))  # fmt: skip
_write("jp2-codestream-of-nothing", "a.jp2", _JP2 + b"\0\0\0\0jp2c\xff\x4f\xff\x51")


def _jp2_dims(width: int, height: int) -> bytes:
    """Return a codestream that is its header: 96 bytes for which decoders make room."""
    siz = struct.pack(">HIIIIIIIIH", 0, width, height, 0, 0, width, height, 0, 0, 1) + b"\x07\1\1"
    cod = b"\xff\x52\0\x0c\0\0\0\1\0\0\4\4\0\1"
    qcd = b"\xff\x5c\0\x04\x40\x40"
    body = b"\xff\x51" + struct.pack(">H", len(siz) + 2) + siz
    tile = b"\xff\x90\0\x0a\0\0\0\0\0\0\0\1\xff\x93"
    return b"\xff\x4f" + body + cod + qcd + tile + b"\xff\xd9"


_write("j2k-of-40000-squared", "a.j2k", _jp2_dims(40_000, 40_000))


# .npy


def _npy(header: str, data: bytes = bytes(64), version: int = 1) -> bytes:
    text = header.encode() + b"\n"
    return b"\x93NUMPY" + bytes([version, 0]) + struct.pack("<H", len(text)) + text + data


def _shape(shape: object, descr: str = "<i2") -> str:
    return f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape}}}"


_write("npy-brackets", "a.npy", _npy("(" * 9000))
_write("npy-minus-signs", "a.npy", _npy("-" * 9000 + "1"))
_write("npy-negative", "a.npy", _npy(_shape((-4, 4))))
_write("npy-of-two-to-the-seventy", "a.npy", _npy(_shape((2**70, 4))))
_write("npy-of-terabytes", "a.npy", _npy(_shape((10**7, 10**7))))
_write("npy-of-objects", "a.npy", _npy(_shape((2, 2), "|O"), b"cos\nsystem\n(S'true'\ntR."))
_write("npy-of-no-shape", "a.npy", _npy("{}"))
_write("npy-of-strings", "a.npy", _npy(_shape((2, 2), "<U4")))
_write("npy-of-version-9", "a.npy", _npy(_shape((2, 2)), version=9))
_write("npy-mark-alone", "a.npy", b"\x93NUMPY")
_write("npy-cut", "a.npy", _npy(_shape((64, 64))))


# Zarr


def zarr_document(**changes: object) -> dict[str, object]:
    """Return the ``zarr.json`` of an array of 16 × 16 samples, one chunk, not compressed."""
    grid = {"name": "regular", "configuration": {"chunk_shape": [16, 16]}}
    key = {"name": "default", "configuration": {"separator": "/"}}
    return {
        "zarr_format": 3, "node_type": "array", "shape": [16, 16], "data_type": "uint8",
        "chunk_grid": grid, "chunk_key_encoding": key, "fill_value": 0,
        "codecs": [{"name": "bytes"}], "attributes": {},
    } | changes  # fmt: skip


def _zarr(name: str, document: object = None, then: Maker | None = None, **more: bool) -> None:
    """An array whose document is given, as JSON or as bytes; ``then`` changes its folder."""

    def make(folder: Path, outside: Path) -> None:
        root = folder / "a"
        (root / "c" / "0").mkdir(parents=True)
        (root / "c/0/0").write_bytes(bytes([1]) * 256)
        what = zarr_document() if document is None else document
        text = what if isinstance(what, bytes) else json.dumps(what).encode()
        (root / "zarr.json").write_bytes(text)
        if then is not None:
            then(root, outside)

    _hostile(f"zarr-{name}", make, **more)


def _instead(key: str, make: Maker) -> Maker:
    """Put something else in the place of a key."""

    def then(root: Path, outside: Path) -> None:
        path = root / key
        if path.is_dir():
            for below in path.iterdir():
                below.unlink()
            path.rmdir()
        else:
            path.unlink()
        make(path, outside)

    return then


def _codec(name: str, **configuration: object) -> dict[str, object]:
    return zarr_document(codecs=[{"name": name, "configuration": configuration}])


_zarr("brackets", b"[" * 100_000)
_zarr("braces", b'{"a":' * 100_000)
_zarr("no-json", b"\xff\xfe\0")
_zarr("number-of-a-million-digits", b'{"shape":' + b"9" * 1_000_000 + b"}")
_zarr("of-nothing", {"node_type": "array"})
_zarr("chunk-outside", then=_instead("c/0/0", _link("{outside}/c/0/0")))
_zarr("chunks-outside", then=_instead("c/0", _link("{outside}/c/0")))
_zarr("chunk-pipe", then=_instead("c/0/0", _pipe))
_zarr("chunk-link-to-nothing", then=_instead("c/0/0", _link("gone")))
_zarr("chunk-link-to-itself", then=_instead("c/0/0", _link("0")))
_zarr("chunk-device", then=_instead("c/0/0", _link("/dev/zero")))
_zarr("chunk-cut", then=_instead("c/0/0", lambda path, _: _put(path, b"1")))
_zarr("document-outside", then=_instead("zarr.json", _link("{outside}/zarr.json")))
_zarr("document-pipe", then=_instead("zarr.json", _pipe))
_zarr("of-pickles", _codec("numcodecs.pickle"))
_zarr("of-texts", _codec("numcodecs.vlen-utf8"))
_zarr("of-an-unknown-codec", _codec("os.system", command="true"))
_zarr("negative", zarr_document(shape=[-16, 16]))
_zarr("of-two-to-the-seventy", zarr_document(shape=[2**70, 16]))
_zarr("no-chunks", zarr_document(
    chunk_grid={"name": "regular", "configuration": {"chunk_shape": [0, 16]}}))  # fmt: skip
_zarr("keys-with-dots", zarr_document(
    chunk_key_encoding={"name": "default", "configuration": {"separator": "/../"}}))  # fmt: skip
_zarr("axes-of-numbers", zarr_document(dimension_names=[1, {}]))
_zarr("one-chunk-of-a-terabyte", zarr_document(
    shape=[2**20, 2**20],
    chunk_grid={"name": "regular", "configuration": {"chunk_shape": [2**20, 2**20]}},
))  # fmt: skip


def _group_with_pipe(folder: Path, _: Path) -> None:
    (folder / "g").mkdir()
    (folder / "g/.zgroup").write_text('{"zarr_format": 2}')
    os.mkfifo(folder / "g/zarr.json")


_hostile("zarr-group-with-a-pipe", _group_with_pipe)


# DICOM


def _element(group: int, element: int, vr: bytes, value: bytes) -> bytes:
    value += b"\0" * (len(value) % 2)
    long = vr in (b"OB", b"OW", b"SQ", b"UN", b"UT")
    head = struct.pack("<HH2s", group, element, vr)
    return head + struct.pack("<HI" if long else "<H", *((0,) if long else ()), len(value)) + value


def _dicom(*elements: bytes, syntax: bytes = b"1.2.840.10008.1.2.1") -> bytes:
    meta = (
        _element(2, 2, b"UI", b"1.2.840.10008.5.1.4.1.1.2")
        + _element(2, 3, b"UI", b"1.2.3.4")
        + _element(2, 16, b"UI", syntax)
    )
    head = bytes(128) + b"DICM" + _element(2, 0, b"UL", struct.pack("<I", len(meta)))
    return head + meta + b"".join(elements)


def _slice(rows: int, columns: int, frames: bytes = b"1", pixels: bytes = bytes(512)) -> bytes:
    def short(element: int, value: int) -> bytes:
        return _element(0x28, element, b"US", struct.pack("<H", value))

    return _dicom(
        _element(8, 0x16, b"UI", b"1.2.840.10008.5.1.4.1.1.2"),
        _element(8, 0x18, b"UI", b"1.2.3.4"),
        _element(0x20, 0xE, b"UI", b"1.2.3"),
        short(0x02, 1),
        _element(0x28, 4, b"CS", b"MONOCHROME2"),
        _element(0x28, 8, b"IS", frames),
        *(short(0x10, rows), short(0x11, columns), short(0x100, 16), short(0x101, 16)),
        *(short(0x102, 15), short(0x103, 0)),
        _element(0x7FE0, 0x10, b"OW", pixels),
    )


def _nested(depth: int) -> bytes:
    """Return sequences in sequences, of undefined length."""
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    sequence = struct.pack("<HH2sHI", 0x40, 0xA730, b"SQ", 0, 0xFFFFFFFF)
    return _dicom((sequence + item) * depth)


_write("dicom-mark-alone", "a.dcm", bytes(128) + b"DICM")
_write("dicom-head-alone", "a.dcm", _dicom())
_write("dicom-nested", "a.dcm", _nested(20_000))
_write("dicom-no-rows", "a.dcm", _slice(0, 16))
_write("dicom-too-few-samples", "a.dcm", _slice(65535, 65535))
_write("dicom-frames-are-no-number", "a.dcm", _slice(16, 16, b"many"))
_write("dicom-of-negative-frames", "a.dcm", _slice(16, 16, b"-1"))
_write("dicom-of-a-million-frames", "a.dcm", _slice(16, 16, b"1000000"))
_write("dicom-length-outside", "a.dcm", _dicom(
    struct.pack("<HH2sHI", 0x7FE0, 0x10, b"OW", 0, 2**31)))  # fmt: skip
_write("dicom-of-an-unknown-syntax", "a.dcm", _dicom(syntax=b"1.2.3.4.5"))
_write("dicom-deflated-junk", "a.dcm", _dicom(b"junk" * 40, syntax=b"1.2.840.10008.1.2.1.99"))
_write("dicom-of-junk", "a.dcm", bytes(128) + b"DICM" + bytes(range(256)) * 4)


# names and kinds of files


def _image_called(name: bytes) -> Maker:
    def make(folder: Path, _: Path) -> None:
        path = os.path.join(os.fsencode(folder), name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(tiff_bytes())

    return make


_NAMES = {
    "of-250-bytes": b"n" * 246 + b".tif",
    "of-255-bytes": b"n" * 251 + b".tif",
    "of-250-bytes-of-umlauts": "ü".encode() * 123 + b".tif",
    "with-backslash": rb"back\slash.tif",
    "with-backslashes": rb"up\..\..\up.tif",
    "with-a-line-break": b"two\nlines.tif",
    "with-escapes": b"\x1b]0;title\x07\x1b[31m.tif",
    "right-to-left": "\u202efit.exe".encode() + b".tif",
    "with-wildcards": b"[a]*?.tif",
    "with-a-colon": b"GTIFF_DIR:1:a.tif",
    "of-percents": b"%2e%2e%2fa.tif",
    "of-spaces": b" .tif",
    "of-dots": b"a...tif",
    "of-a-device": b"CON.tif",
    "with-a-quote": b"a'\"`$(true).tif",
    "not-utf8": b"caf\xe9.tif",
    "of-a-folder-not-utf8": b"caf\xe9/a.tif",
    "of-a-deep-folder": b"/".join([b"d" * 200] * 8) + b"/a.tif",
    "of-a-url": b"s3:/bucket/a.tif",
}
for _name, _bytes in _NAMES.items():
    _hostile(f"name-{_name}", _image_called(_bytes), is_image=True)


def _kind(name: str, make: Maker) -> None:
    _hostile(f"file-{name}", lambda folder, outside: make(folder / "a.tif", outside))


_kind("pipe", _pipe)
_kind("socket", _socket)
_kind("device", _link("/dev/zero"))
_kind("terminal", _link("/dev/tty"))
_kind("memory", _link("/proc/self/mem"))
_kind("link-to-itself", _link("a.tif"))
_kind("link-to-nothing", _link("gone"))
_kind("link-to-the-folder", _link("."))
_kind("link-above", _link(".."))
_kind("empty", lambda path, _: _put(path, b""))
_kind("of-one-byte", lambda path, _: _put(path, b"I"))
_kind("of-junk", lambda path, _: _put(path, bytes(range(256)) * 40))
_kind("is-a-folder", lambda path, _: path.mkdir())


def _circle(path: Path, _: Path) -> None:
    path.symlink_to("b.tif")
    path.with_name("b.tif").symlink_to("a.tif")


_kind("links-in-a-circle", _circle)


def _deep(path: Path, _: Path) -> None:
    """Make folders in folders until no path reaches the last."""
    here = os.getcwd()
    os.chdir(path.parent)
    try:
        for _ in range(30):
            os.mkdir("f" * 200)
            os.chdir("f" * 200)
        Path("a.tif").write_bytes(tiff_bytes())
    finally:
        os.chdir(here)


_kind("beyond-the-longest-path", _deep)


# packed files

for _name, _make in PACKED.items():
    if "bomb" not in _name:  # at its size it is an image with zeros behind
        _write(f"packed-{_name.replace('.', '-')}", _name, _make(tiff_bytes()))

_hostile(
    "packed-bomb",
    lambda folder, _: _put(folder / "a.tif.gz", gzip.compress(tiff_bytes() + bytes(2**30), 9)),
    slow=True,
)


def makeable(which: Iterable[Hostile], folder: Path, outside: Path) -> list[Hostile]:
    """Make inputs, each in a folder of its name; return those that this file system takes."""
    made = []
    for hostile in which:
        place = folder / hostile.name
        place.mkdir(parents=True)
        try:
            hostile.make(place, outside)
        except OSError:
            continue  # a name or a kind of file that is not to be had here harms nobody here
        made.append(hostile)
    return made
