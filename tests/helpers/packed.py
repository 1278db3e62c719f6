"""Make zips, tars and gzip files that are wrong in every way we know, around one image."""

from __future__ import annotations

import gzip
import io
import stat
import struct
import tarfile
import zipfile
from collections.abc import Callable

__all__ = ["PACKED", "linked"]


def _zip(*entries: tuple[str, bytes], **options: object) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in entries:
            file.writestr(name, content)
    return target.getvalue()


def linked() -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w") as file:
        info = zipfile.ZipInfo("a.tif")
        info.create_system, info.external_attr = 3, (stat.S_IFLNK | 0o777) << 16
        file.writestr(info, "/etc/passwd")
        file.writestr("../b", "")
    return target.getvalue()


def _encrypted(image: bytes) -> bytes:
    data = bytearray(_zip(("a.tif", image)))
    data[data.index(b"PK\1\2") + 8] |= 1
    return bytes(data)


def _wrong_checksum(image: bytes) -> bytes:
    data = bytearray(_zip(("a.tif", image)))
    data[data.index(b"PK\1\2") + 16] ^= 1
    return bytes(data)


def _overlapping(image: bytes) -> bytes:
    """One block of zeros under many names, as the densest bombs have it."""
    data = _zip(("a.tif", image + bytes(10**6)))
    start = data.index(b"PK\1\2")
    entry = data[start : data.index(b"PK\5\6")]
    entries = b"".join(entry.replace(b"a.tif", b"%05d" % n) for n in range(2000))
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, 2000, 2000, len(entries), start, 0)
    return data[:start] + entries + end


def _nested(image: bytes) -> bytes:
    inner = _zip(("a.tif", image))
    return _zip(*((f"{n}.zip", inner) for n in range(16)))


def _many_bad_names(image: bytes) -> bytes:
    names = ["../a.tif", "/etc/a.tif", "x/../../a.tif", "..\\a.tif", "C:\\a.tif", "n" * 300]
    return _zip(*((name, image) for name in names))


def _bomb(image: bytes) -> bytes:
    """A raster with more zeros behind it than its packed bytes may stand for."""
    return _zip(("a.tif", image + bytes(3 * 10**7)))


def _tar_of(*infos: tuple[str, bytes, bytes]) -> bytes:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode="w") as file:
        for name, kind, content in infos:
            info = tarfile.TarInfo(name)
            info.type, info.size, info.linkname = kind, len(content), "/etc/passwd"
            file.addfile(info, io.BytesIO(content))
    return target.getvalue()


def _nested_tar(image: bytes) -> bytes:
    return _tar_of(("b.tgz", b"0", gzip.compress(_tar_of(("a.tif", b"0", image)))))


PACKED: dict[str, Callable[[bytes], bytes]] = {
    "names.zip": _many_bad_names,
    "link.zip": lambda _: linked(),
    "encrypted.zip": _encrypted,
    "checksum.zip": _wrong_checksum,
    "overlapping.zip": _overlapping,
    "nested.zip": _nested,
    "bomb.zip": _bomb,
    "cut.zip": lambda image: _zip(("a.tif", image))[:-30],
    "empty-head.zip": lambda _: b"PK\3\4" + bytes(26),
    "names.tar": lambda image: _tar_of(
        ("../a.tif", b"0", image), ("/etc/a.tif", b"0", image), ("l.tif", b"2", b"")
    ),
    "cut.tar": lambda image: _tar_of(("a.bin", b"0", bytes(10**5)))[:50_000],
    "sparse.tar": lambda image: _tar_of(("a.tif", b"S", b"")),
    "cut.tar.gz": lambda image: gzip.compress(_tar_of(("a.tif", b"0", image)))[:-10],
    "nested.tar.gz": lambda image: gzip.compress(_nested_tar(image)),
    "bomb.tif.gz": lambda image: gzip.compress(image + bytes(3 * 10**7)),
    "cut.tif.gz": lambda image: gzip.compress(image)[:-10],
    "checksum.tif.gz": lambda image: gzip.compress(image)[:-8] + bytes(8),
}
"""By their names: each is one failure; those called bombs unpack to 30 MB of zeros."""
