"""WADO-RS (PS3.18 10.4): metadata, instances, frames and bulk data."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from tilepress.pipeline.dicom.bytes import EXPLICIT_BIG, EXPLICIT_LITTLE
from tilepress.pipeline.dicom.explicit import (
    explicit_bytes,
    keeps_streams,
    written_syntax,
)
from tilepress.pipeline.dicom.instances import instance_bytes, native_frame
from tilepress.pipeline.dicom.model import bulk_value, json_model
from tilepress.pipeline.dicom.stored import StoredFrames
from tilepress.workflows.serve.dicomweb.accept import ANY, Taken, not_acceptable, taken
from tilepress.workflows.serve.dicomweb.holdings import Instance
from tilepress.workflows.serve.dicomweb.parts import Part, Streams

__all__ = ["bulk_data", "frame_numbers", "frames", "instances", "metadata"]

DICOM, OCTETS = "application/dicom", "application/octet-stream"
_AVAILABLE_SYNTAX = "00083002"
PIXELS = ("7FE00008", "7FE00009", "7FE00010")

MAX_FRAMES = 10_000
"""Frames of one request."""

_STREAM_MEDIA = {
    **dict.fromkeys((50, 51, 53, 55, 57, 70), "image/jpeg"),
    **dict.fromkeys((80, 81), "image/jls"),
    **dict.fromkeys((90, 91, 92, 93), "image/jp2"),
    **dict.fromkeys((110, 111, 112), "image/jxl"),
    **dict.fromkeys((201, 202, 203), "image/jphc"),
}
"""Media types of frames by the last part of 1.2.840.10008.1.2.4.… (PS3.18 table 8.7.3-5)."""


def metadata(request: Request, streams: Streams, found: Iterator[Instance], root: str) -> Response:
    """Return the attributes of instances as JSON, one after another."""

    def pieces() -> Iterator[bytes]:
        before = b"["
        for instance in found:
            yield (
                before
                + json.dumps(_model(instance, root), allow_nan=False, ensure_ascii=False).encode()
            )
            before = b",\n"
        yield b"]" if before != b"[" else b"[]"

    return streams.pieces(request, "application/dicom+json", pieces())


def _model(instance: Instance, root: str) -> dict[str, object]:
    address = f"{root}/{instance.address}/bulkdata"
    model = json_model(instance.data_set(), lambda path: f"{address}/{path}")
    pixels = instance.stored.pixels
    tag = "7FE00010" if not pixels.floating else PIXELS[pixels.allocated == 64]
    vr = "OW" if pixels.allocated > 8 else "OB"
    if pixels.floating:
        vr = "OD" if pixels.allocated == 64 else "OF"
    for offsets in ("7FE00001", "7FE00002"):  # of fragments that are not sent
        model.pop(offsets, None)
    syntax = written_syntax(instance.stored, instance.held.frames(alone=True))
    model[_AVAILABLE_SYNTAX] = {"vr": "UI", "Value": [syntax]}
    return {**model, tag: {"vr": vr, "BulkDataURI": f"{address}/{tag}"}}


# --- instances -----------------------------------------------------------------------------------


def instances(
    request: Request, streams: Streams, found: Sequence[Instance], root: str, *, only: bool
) -> Response:
    """Return instances as DICOM files.

    ``only`` says that the address names one of them, which may be sent without parts.
    """
    chosen = next((one for one in taken(request) if _gives(one, found, only)), None)
    if chosen is None:
        raise not_acceptable(
            f'multipart/related; type="{DICOM}"', "transfer-syntax=*, or the one it is kept in, or "
            f"{EXPLICIT_LITTLE} where it is not kept in Explicit VR Big Endian",
        )  # fmt: skip
    parts = (_file(one, chosen.syntax, root) for one in found)
    if chosen.multipart is False:
        return streams.alone(request, next(parts))
    return streams.related(request, DICOM, parts)


def _gives(one: Taken, found: Sequence[Instance], only: bool) -> bool:
    if not one.means(DICOM) or (one.multipart is False and not only):
        return False
    return all(_writes(instance, one.syntax) for instance in found)


def _writes(instance: Instance, syntax: str | None) -> bool:
    """Whether an instance can be written in a transfer syntax."""
    stored = instance.stored
    if syntax == ANY:
        return True
    if syntax in (None, EXPLICIT_LITTLE):
        return stored.syntax != EXPLICIT_BIG
    if syntax != stored.syntax:
        return False
    return written_syntax(stored, instance.held.frames(alone=True)) == syntax


def _file(instance: Instance, syntax: str | None, root: str) -> Part:
    stored, reader = instance.stored, instance.held.reader
    planes = instance.held.frames(alone=False)
    as_kept = syntax not in (None, EXPLICIT_LITTLE)
    said = written_syntax(stored, planes) if as_kept else EXPLICIT_LITTLE

    def content() -> Iterator[bytes]:
        write = instance_bytes if as_kept else explicit_bytes
        return write(stored, planes, reader)

    return Part(f"{DICOM}; transfer-syntax={said}", f"{root}/{instance.address}", content)


# --- frames --------------------------------------------------------------------------------------


def frame_numbers(text: str, count: int) -> list[int]:
    """Return numbers of frames, from 0, of a list from 1.

    Raises HTTPException 400 for what is no such list, 404 for a frame that is not there.
    """
    if not re.fullmatch(r"[0-9]{1,9}(,[0-9]{1,9})*", text):
        raise HTTPException(400, "want numbers of frames from 1, parted by commas")
    numbers = [int(part) for part in text.split(",")]
    if len(numbers) > MAX_FRAMES:
        raise HTTPException(400, f"want {MAX_FRAMES} frames at most")
    if min(numbers) < 1 or max(numbers) > count:
        raise HTTPException(404, f"the instance has frames 1 to {count}")
    return [number - 1 for number in numbers]


def frames(
    request: Request, streams: Streams, instance: Instance, numbers: Sequence[int], root: str
) -> Response:
    """Return frames: native samples, or the streams that they came in where those are kept."""
    planes = instance.held.frames(alone=True)
    media = _kept_media(instance, planes)
    for one in taken(request):
        if one.multipart is False and len(numbers) > 1:
            continue
        as_kept = media is not None and _takes_kept(one, media, instance.stored.syntax)
        if not as_kept and not _takes_native(one):
            continue
        kind = media if as_kept and media is not None else OCTETS
        parts = (_frame(instance, planes, number, kind, root) for number in numbers)
        if one.multipart is False:
            return streams.alone(request, next(parts))
        return streams.related(request, kind, parts)
    offered = [f'multipart/related; type="{OCTETS}"']
    raise not_acceptable(*offered, *([f'multipart/related; type="{media}"'] if media else ()))


def _kept_media(instance: Instance, planes: StoredFrames) -> str | None:
    """Return the media type of the streams that an instance's frames are kept as; None: none."""
    stored = instance.stored
    prefix, _, last = stored.syntax.rpartition(".")
    if prefix != "1.2.840.10008.1.2.4" or not keeps_streams(stored, planes):
        return None
    return _STREAM_MEDIA.get(int(last)) if last.isdecimal() else None


def _takes_kept(one: Taken, media: str, syntax: str) -> bool:
    """Whether streams are taken: by their own type, or whatever they are kept in."""
    if one.syntax not in (None, ANY, syntax):
        return False
    if one.media == OCTETS:
        return one.syntax == ANY
    return one.means(media)


def _takes_native(one: Taken) -> bool:
    return one.means(OCTETS) and one.syntax in (None, ANY, EXPLICIT_LITTLE)


def _frame(instance: Instance, planes: StoredFrames, number: int, kind: str, root: str) -> Part:
    stored = instance.stored

    def content() -> Iterator[bytes]:
        if kind == OCTETS:
            yield native_frame(stored, planes, number)
        else:
            yield planes.stream(stored.frames[number])

    syntax = EXPLICIT_LITTLE if kind == OCTETS else stored.syntax
    address = f"{root}/{instance.address}/frames/{number + 1}"
    return Part(f"{kind}; transfer-syntax={syntax}", address, content)


# --- bulk data -----------------------------------------------------------------------------------


def bulk_data(
    request: Request, streams: Streams, instance: Instance, path: str, root: str
) -> Response:
    """Return a binary value of a header; the pixels as their frames.

    Raises HTTPException 404 where there is none.
    """
    if path.upper() in PIXELS:
        every = range(len(instance.stored.frames))
        if len(every) > MAX_FRAMES:
            raise HTTPException(413, f"there are {len(every)} frames; ask for some of them")
        return frames(request, streams, instance, every, root)
    value = bulk_value(instance.data_set(), path)
    if value is None:
        raise HTTPException(404, "there is no such bulk data")
    part = Part(OCTETS, f"{root}/{instance.address}/bulkdata/{path}", lambda: iter([value]))
    for one in taken(request):
        if _takes_native(one):
            if one.multipart is False:
                return streams.alone(request, part)
            return streams.related(request, OCTETS, iter([part]))
    raise not_acceptable(OCTETS, f'multipart/related; type="{OCTETS}"')
