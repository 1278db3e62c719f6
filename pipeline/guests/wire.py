"""Messages between this process and its guests: JSON with bytes and arrays beside it.

A guest may have been taken over by the file that it reads. Nothing that it says is ever unpickled:
a message is data, and the only classes that are made of it are those listed here.

    8 bytes  length of the JSON text, little endian
    8 bytes  length of all blobs together
    JSON     {"say": …, "blobs": [length, …]}
    blobs    what the JSON refers to by number
"""

from __future__ import annotations

import array
import json
import socket
import struct
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from importlib import import_module
from itertools import accumulate
from typing import Any

import numpy as np

__all__ = ["Garbled", "receive", "receive_with_file", "send"]

MAX_TEXT_BYTES = 2**27
"""JSON of one message at most: fingerprints of a DICOM series of 10⁵ files have 2·10⁷."""

MAX_BLOB_BYTES = 2**33
"""Bytes beside it at most: headers of a series are the largest."""

_LENGTHS = struct.Struct("<QQ")

_CLASSES = {
    "Acquired": "tilepress.pipeline.image.info",
    "BandInfo": "tilepress.pipeline.image.info",
    "Container": "tilepress.pipeline.dicom.bytes",
    "FileImage": "tilepress.pipeline.image.format",
    "FileImages": "tilepress.pipeline.image.format",
    "GeoReference": "tilepress.pipeline.image.info",
    "ImageInfo": "tilepress.pipeline.image.info",
    "Instance": "tilepress.pipeline.dicom.header",
    "Label": "tilepress.pipeline.image.info",
    "Level": "tilepress.pipeline.image.info",
    "MedicalGeometry": "tilepress.pipeline.image.info",
    "PixelElement": "tilepress.pipeline.dicom.bytes",
    "PixelFormat": "tilepress.pipeline.dicom.pixels",
    "Plane": "tilepress.pipeline.dicom.planes",
    "RemoteFile": "tilepress.pipeline.storage.ranges",
    "SlideGeometry": "tilepress.pipeline.image.info",
    "Tiling": "tilepress.pipeline.dicom.tiling",
    "SourceSpec": "tilepress.pipeline.image.source",
}
"""The values that may be sent, by class, and where each class is defined: all are dataclasses."""


class Garbled(Exception):
    """What came is no message."""


def send(link: socket.socket, message: Any, file: int | None = None) -> None:  # noqa: ANN401  # data
    """Send a message, and with it an open file. Raises OSError where the other end is gone."""
    blobs: list[memoryview] = []
    plain = _plain(message, blobs)
    sizes = [blob.nbytes for blob in blobs]
    text = json.dumps({"say": plain, "blobs": sizes}, separators=(",", ":")).encode()
    head = _LENGTHS.pack(len(text), sum(sizes))
    if file is None:
        link.sendall(head + text)
    else:
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [file]))
        sent = link.sendmsg([head + text], [rights])
        link.sendall((head + text)[sent:])
    for blob in blobs:
        link.sendall(blob)


def receive(link: socket.socket) -> Any:  # noqa: ANN401  # data
    """Return the next message; raises Garbled, EOFError where the other end is gone, OSError."""
    return _message(link, _exactly(link, _LENGTHS.size))


def receive_with_file(link: socket.socket) -> tuple[Any, int | None]:
    """Return the next message, and the open file that came with it."""
    size = socket.CMSG_SPACE(array.array("i").itemsize)
    head, ancillary, _, _ = link.recvmsg(_LENGTHS.size, size)
    found: list[int] = []
    for level, kind, data in ancillary:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found += array.array("i", data[: len(data) // 4 * 4])
    head += _exactly(link, _LENGTHS.size - len(head))
    return _message(link, head), found[0] if found else None


def _message(link: socket.socket, head: bytes) -> Any:  # noqa: ANN401  # data
    text_bytes, blob_bytes = _LENGTHS.unpack(head)
    if text_bytes > MAX_TEXT_BYTES or blob_bytes > MAX_BLOB_BYTES:
        raise Garbled("a message is too long")
    text = _exactly(link, text_bytes)
    try:
        parsed = json.loads(text)
        sizes = [int(size) for size in parsed["blobs"]]
        whole = _exactly(link, blob_bytes)
        return _value(parsed["say"], _cut(whole, sizes))
    except (Garbled, EOFError, OSError):
        raise
    except Exception as error:  # whatever a forged message provokes in the parsers above
        raise Garbled(type(error).__name__) from None


def _cut(whole: bytes, sizes: Sequence[int]) -> list[bytes]:
    if any(size < 0 for size in sizes) or sum(sizes) != len(whole):
        raise Garbled("blobs are not as long as they should be")
    if len(sizes) == 1:
        return [whole]
    ends = list(accumulate(sizes))
    return [whole[end - size : end] for size, end in zip(sizes, ends, strict=True)]


def _exactly(link: socket.socket, length: int) -> bytes:
    data = bytearray(length)
    view, at = memoryview(data), 0
    while at < length:
        got = link.recv_into(view[at:], min(length - at, 2**20))
        if not got:
            raise EOFError
        at += got
    return bytes(data)


# values as JSON: what JSON has no word for is an object of one key that begins with "!"


def _plain(value: Any, blobs: list[memoryview]) -> Any:  # noqa: ANN401  # data
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, np.generic):
        return {"!n": _plain(np.asarray(value), blobs)}
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, (bytes, bytearray, memoryview)):
        blobs.append(memoryview(value).cast("B"))
        return {"!b": len(blobs) - 1}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise TypeError("arrays of objects are not sent")
        blobs.append(memoryview(value.tobytes()))
        return {"!a": [value.dtype.str, list(value.shape), len(blobs) - 1]}
    if isinstance(value, np.dtype):
        return {"!y": value.str}
    if is_dataclass(value) and not isinstance(value, type):
        name = type(value).__name__
        if name not in _CLASSES:
            raise TypeError(f"values of the class {name} are not sent")
        content = {one.name: _plain(getattr(value, one.name), blobs) for one in fields(value)}
        return {"!c": [name, content]}
    if isinstance(value, tuple):
        return {"!t": [_plain(one, blobs) for one in value]}
    if isinstance(value, Mapping):
        if all(type(key) is str and not key.startswith("!") for key in value):
            return {key: _plain(one, blobs) for key, one in value.items()}
        pairs = [[_plain(key, blobs), _plain(one, blobs)] for key, one in value.items()]
        return {"!d": pairs}
    if isinstance(value, Sequence):
        return [_plain(one, blobs) for one in value]
    raise TypeError(f"values of the class {type(value).__name__} are not sent")


def _value(plain: Any, blobs: Sequence[bytes]) -> Any:  # noqa: ANN401  # data
    if isinstance(plain, list):
        return [_value(one, blobs) for one in plain]
    if not isinstance(plain, dict):
        return plain
    mark = next(iter(plain), "")
    if not mark.startswith("!"):
        return {key: _value(one, blobs) for key, one in plain.items()}
    content = plain[mark]
    match mark:
        case "!b":
            return blobs[content]
        case "!t":
            return tuple(_value(one, blobs) for one in content)
        case "!d":
            return {_value(key, blobs): _value(one, blobs) for key, one in content}
        case "!y":
            return _dtype(content)
        case "!n":
            return _value(content, blobs)[()]
        case "!a":
            dtype, shape, number = content
            return np.frombuffer(blobs[number], _dtype(dtype)).reshape(shape).copy()
        case "!c":
            name, values = content
            made = getattr(import_module(_CLASSES[name]), name)
            return made(**{key: _value(one, blobs) for key, one in values.items()})
    raise Garbled(f"an unknown mark {mark[:8]!r}")


def _dtype(text: str) -> np.dtype[Any]:
    found = np.dtype(str(text))
    if found.hasobject:
        raise Garbled("an array of objects")
    return found
