"""Put DICOM files together again from the samples of a store and the bytes in ``source/``.

From a lossless store, files that were native come back byte for byte, preamble included; deflated
ones too where zlib has the settings that made them, else as an equal data set, deflated. Files that
were compressed come back as Explicit VR Little Endian with the decoded pixels and all other
elements. From a near-lossless store every file is a derived image (PS3.3 C.7.6.1.1.5, C.12.4): new
SOPInstanceUID, Lossy Image Compression "01", and a reference to what it was made from.
"""

from __future__ import annotations

import contextlib
import filecmp
import hashlib
import math
import os
import secrets
import struct
import uuid
import zlib
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence

from tilepress.errors import DamagedStore, DestinationConflict, UsageError
from tilepress.pipeline.dicom.bytes import EXPLICIT_BIG, EXPLICIT_LITTLE, quiet_pydicom
from tilepress.pipeline.dicom.pixels import PixelFormat, pair_swapped
from tilepress.pipeline.dicom.source import deflated
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.names import path_to_write
from tilepress.pipeline.image.source import ExportReader

__all__ = ["export_dicom"]

LOSSY_METHOD = "TILEPRESS_WAVE"
"""LossyImageCompressionMethod (0028,2114): no defined term names this coding, so our own does."""
MAX_CACHED_BYTES = 512 * 2**20
"""Decoded records that an export keeps at most, beside the one that it writes from."""
MAX_PIXEL_BYTES = 2**32 - 2
"""Longest native pixel element (PS3.5 A.1: its length has 32 bits and is not undefined)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Part:
    """One file to write."""

    name: str
    before: bytes
    after: bytes
    frames: tuple[int, ...]
    """Number of the plane of every frame."""
    patches: Mapping[int, bytes]
    pixels: PixelFormat
    syntax: str
    implicit: bool
    preamble: bool
    dataset_offset: int
    element_offset: int
    encapsulated: bool
    swapped: bool
    deflate: Mapping[str, Any] | None
    stored: int
    """BitsStored of the header; ``pixels`` may say more of a compressed file."""
    photometric: str
    """Photometric interpretation of the samples."""

    @property
    def little(self) -> bool:
        return self.syntax != EXPLICIT_BIG

    @property
    def order(self) -> str:
        return "<" if self.little else ">"


def export_dicom(
    reader: ExportReader, out_dir: Path, *, slices: Sequence[int] | slice | None = None
) -> list[Path]:
    """Write the DICOM files that a store was made from; return their paths.

    Parameters
    ----------
    reader
        a sealed store, or whatever reads like one
    out_dir
        a folder; a name ending in ``.dcm`` is the file itself where there is only one
    slices
        numbers along "z" (or "t" where there is no "z") to write; multi-frame files come whole or
        not at all

    Raises
    ------
    UsageError
        the store keeps no DICOM headers, or ``slices`` cuts a multi-frame file
    DamagedStore
        ``source/`` contradicts itself or the image
    DestinationConflict
        a file of that name with other content exists; nothing was replaced
    """
    parts = _parts(reader)
    if slices is not None:
        parts = _selected(parts, reader, slices)
    planes = _Planes(reader)
    out = Path(out_dir)
    single = out.suffix.lower() == ".dcm" and len(parts) == 1 and not out.is_dir()
    written = []
    for part in sorted(parts, key=lambda p: min(p.frames)):
        path = out if single else out / part.name
        _write_whole(path, _file_content(part, planes, reader))
        written.append(path)
    return written


def _parts(reader: ExportReader) -> list[_Part]:
    """Return every file that ``source/`` describes."""
    origin = reader.origin
    if origin.get("kind") != "dicom":
        raise UsageError(f"exporting DICOM: the store was made from {origin.get('kind')}")
    names = set(reader.source_names())
    if not {"dicom-headers", "dicom-trailers", "dicom-patches"} <= names:
        raise UsageError(
            "exporting DICOM: the store keeps no headers (it was made with --deidentify); "
            "export to another format"
        )
    if origin.get("version") != 1:
        raise DamagedStore(f"exporting DICOM: origin has version {origin.get('version')}, want 1")
    try:
        return list(_parsed_parts(origin, reader))
    except (KeyError, TypeError, ValueError, IndexError) as exc:
        raise DamagedStore(
            f"exporting DICOM: source/ contradicts itself ({type(exc).__name__})"
        ) from None


def _parsed_parts(origin: Mapping[str, Any], reader: ExportReader) -> Iterator[_Part]:
    entries = origin["instances"]
    before = _cut(reader.source_bytes("dicom-headers"), [e["header_bytes"] for e in entries])
    after = _cut(reader.source_bytes("dicom-trailers"), [e["trailer_bytes"] for e in entries])
    lengths = [n for e in entries for _, n in e["patches"]]
    patches = iter(_cut(reader.source_bytes("dicom-patches"), lengths))
    total = math.prod(_leading_shape(reader))
    for entry, head, tail in zip(entries, before, after, strict=True):
        frames = entry["frames"]
        if isinstance(frames, Mapping):
            frames = range(frames["start"], frames["start"] + frames["count"])
        frames = tuple(int(f) for f in frames)
        if not frames or min(frames) < 0 or max(frames) >= total:
            raise ValueError("a frame that the image does not have")
        yield _Part(
            name=str(path_to_write(entry["name"], "exporting DICOM")),
            before=head,
            after=tail,
            frames=frames,
            patches={int(frame): next(patches) for frame, _ in entry["patches"]},
            pixels=PixelFormat.from_config(entry["pixels"]),
            photometric=str(origin["photometric"]),
            **{
                k: entry[k]
                for k in (
                    "syntax",
                    "implicit",
                    "preamble",
                    "dataset_offset",
                    "element_offset",
                    "encapsulated",
                    "swapped",
                    "deflate",
                    "stored",
                )
            },
        )


def _cut(content: bytes, lengths: Sequence[int]) -> list[bytes]:
    """Cut joined bytes into pieces of the given lengths."""
    ends = list(accumulate(lengths, initial=0))
    if ends[-1] != len(content) or min(lengths, default=0) < 0:
        raise ValueError("joined bytes of another length than their index says")
    return [content[a:b] for a, b in pairwise(ends)]


def _leading_shape(reader: ExportReader) -> tuple[int, ...]:
    """Return the shape of the axes that count planes: all but band, y and x."""
    sizes = zip(reader.axes, reader.shape, strict=True)
    return tuple(n for axis, n in sizes if axis not in ("band", "y", "x"))


def _selected(
    parts: Sequence[_Part], reader: ExportReader, slices: Sequence[int] | slice
) -> list[_Part]:
    """Return the files whose planes are all chosen; refuse to cut a multi-frame file."""
    shape = _leading_shape(reader)
    size = shape[-1] if shape else 1
    numbers = range(size)[slices] if isinstance(slices, slice) else slices
    chosen = set(numbers)
    if outside := [n for n in chosen if not 0 <= n < size]:
        raise UsageError(f"exporting DICOM: got slice {outside[0]}, want 0 to {size - 1}")
    kept = []
    for part in parts:
        inside = {number % size in chosen for number in part.frames}
        if len(inside) > 1:
            raise UsageError(
                "exporting DICOM: the chosen slices cut a multi-frame file, which comes back whole "
                "or not at all"
            )
        if inside == {True}:
            kept.append(part)
    if not kept:
        raise UsageError("exporting DICOM: no slice was chosen")
    return kept


class _Planes:
    """Gives planes of an image; reads them by whole records, each once where memory allows."""

    def __init__(self, reader: ExportReader) -> None:
        self._reader = reader
        self._leading = _leading_shape(reader)
        self._chunk = reader.chunk[: len(self._leading)]
        self._blocks: OrderedDict[tuple[int, ...], npt.NDArray[Any]] = OrderedDict()

    def read(self, number: int) -> npt.NDArray[Any]:
        """Return samples (B, Y, X) of one plane."""
        index = np.unravel_index(number, self._leading) if self._leading else ()
        key = tuple(int(i) // c for i, c in zip(index, self._chunk, strict=True))
        block = self._blocks.get(key)
        if block is None:
            block = self._read_block(key)
            self._blocks[key] = block
            while sum(b.nbytes for b in self._blocks.values()) > MAX_CACHED_BYTES + block.nbytes:
                self._blocks.popitem(last=False)
        within = tuple(int(i) % c for i, c in zip(index, self._chunk, strict=True))
        plane: npt.NDArray[Any] = block[within]
        return plane if plane.ndim == 3 else plane[np.newaxis]

    def _read_block(self, key: tuple[int, ...]) -> npt.NDArray[Any]:
        shape = self._reader.shape
        start = [k * c for k, c in zip(key, self._chunk, strict=True)]
        stop = [min(a + c, n) for a, c, n in zip(start, self._chunk, self._leading, strict=True)]
        rest = len(shape) - len(start)
        return self._reader.read(Box((*start, *[0] * rest), (*stop, *shape[len(start) :])))


def _file_content(part: _Part, planes: _Planes, reader: ExportReader) -> Iterator[bytes]:
    """Yield the bytes of one file in order."""
    body = _native_content(part, planes)
    if part.encapsulated or not reader.loss.is_lossless:
        meta, dataset, after = _rewritten(part, planes, reader)
        if part.encapsulated:
            body, length = _plain_content(part, planes)
            dataset += _element_header(part, length)
        else:
            dataset += part.before[part.element_offset :]
    else:
        meta, dataset = part.before[: part.dataset_offset], part.before[part.dataset_offset :]
        after = part.after
    yield meta
    if part.deflate is None:
        yield dataset
        yield from body
        yield after
        return
    content = b"".join((dataset, *body, after))
    yield deflated(content, part.deflate["settings"])
    yield bytes.fromhex(part.deflate["tail"])


def _native_content(part: _Part, planes: _Planes) -> Iterator[bytes]:
    """Yield the pixel value in the encoding of the original, without what ``after`` holds."""
    if part.encapsulated:
        return
    pixels = part.pixels
    whole = pixels.frame_bits * len(part.frames) // 8
    if part.swapped:
        whole &= ~1
    frames = (_frame_words(part, planes, i) for i in range(len(part.frames)))
    stream = (
        _packed_bits(frames)
        if pixels.allocated == 1
        else (pixels.native_bytes(words, order=part.order) for words in frames)
    )
    yield from _trimmed(_swapped(stream) if part.swapped else stream, whole)


def _plain_content(part: _Part, planes: _Planes) -> tuple[Iterator[bytes], int]:
    """Return the pixel value as Explicit VR Little Endian, band-interleaved, and its length."""
    pixels, count = part.pixels, len(part.frames)
    length = pixels.pixel_bytes(count)
    if pixels.halved or pixels.planar:
        config = pixels.to_config() | {"planar": False, "photometric": part.photometric}
        pixels = PixelFormat.from_config(config)
        length = pixels.pixel_bytes(count)
    if length + length % 2 > MAX_PIXEL_BYTES:
        raise UsageError(
            f"exporting DICOM: {length} bytes of pixels do not fit a native pixel element "
            f"(at most {MAX_PIXEL_BYTES}); export to another format"
        )

    def content() -> Iterator[bytes]:
        frames = (_frame_words(part, planes, i) for i in range(count))
        if pixels.allocated == 1:
            yield from _packed_bits(frames, flush=True)
        else:
            yield from (pixels.native_bytes(words, order="<") for words in frames)
        yield b"\0" * (length % 2)

    return content(), length + length % 2


def _frame_words(part: _Part, planes: _Planes, frame: int) -> npt.NDArray[Any]:
    """Return words (B, Y, X) of one frame: its samples and what its patch adds."""
    pixels = part.pixels
    samples = planes.read(part.frames[frame])
    want = (pixels.bands, pixels.rows, pixels.columns)
    if samples.shape != want or samples.dtype != pixels.dtype:
        raise DamagedStore(
            f"exporting DICOM: a plane of {samples.shape} {samples.dtype}, want {want} "
            f"{pixels.dtype}"
        )
    words = pixels.words_of(samples)
    if frame in part.patches:
        content = zlib.decompressobj().decompress(part.patches[frame], words.nbytes + 1)
        if len(content) != words.nbytes:
            raise DamagedStore("exporting DICOM: a patch of another size than its frame")
        patch = np.frombuffer(content, words.dtype.newbyteorder("<")).reshape(words.shape)
        words = words ^ patch.astype(words.dtype)
    return words


def _packed_bits(frames: Iterator[npt.NDArray[Any]], *, flush: bool = False) -> Iterator[bytes]:
    """Yield bits packed from the lowest bit on, frames joined without gaps."""
    rest = np.empty(0, np.uint8)
    for words in frames:
        bits = np.concatenate([rest, words.reshape(-1)])
        whole = bits.size // 8 * 8
        yield np.packbits(bits[:whole], bitorder="little").tobytes()
        rest = bits[whole:]
    if flush and rest.size:
        yield np.packbits(rest, bitorder="little").tobytes()


def _swapped(stream: Iterator[bytes]) -> Iterator[bytes]:
    """Swap the bytes of each 16-bit word of a stream; an odd last byte is dropped."""
    rest = b""
    for content in stream:
        content = rest + content
        whole = len(content) & ~1
        yield pair_swapped(content[:whole])
        rest = content[whole:]


def _trimmed(stream: Iterator[bytes], length: int) -> Iterator[bytes]:
    for content in stream:
        yield content[:length]
        length -= min(length, len(content))


def _element_header(part: _Part, length: int) -> bytes:
    vr = b"OB" if part.pixels.allocated <= 8 else b"OW"
    return struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length)


def _rewritten(part: _Part, planes: _Planes, reader: ExportReader) -> tuple[bytes, bytes, bytes]:
    """Return (preamble with file meta, data set before the pixel element, what follows it).

    Only the elements that must change are encoded anew; every other one keeps its bytes.
    """
    start = 132 if part.preamble else 0
    body, after = part.before[part.dataset_offset : part.element_offset], part.after
    with quiet_pydicom():
        meta = _parse(part.before[start : part.dataset_offset], False, True)
        dataset = _parse(body, part.implicit, part.little)
        changed, removed = Dataset(), set[int]()
        if part.encapsulated:
            removed |= {0x7FE00001, 0x7FE00002}  # the extended offset table
            _describe_native(changed, dataset, part, planes)
            meta.TransferSyntaxUID = EXPLICIT_LITTLE
        if not reader.loss.is_lossless:
            _describe_loss(changed, dataset, part, reader)
            if len(meta):
                meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
        if part.encapsulated and part.implicit:  # against the standard, but it happens
            body, after = (
                _encode(_parse(content, True, True), False, True) for content in (body, after)
            )
        implicit = part.implicit and not part.encapsulated
        text = _character_sets(dataset)
        fresh = {
            int(e.tag): _encode(changed[e.tag : e.tag + 1], implicit, part.little, text)
            for e in changed
        }
        body = _edited(body, implicit, part.little, fresh, removed)
        prefix = part.before[:start] + (_encode_meta(meta) if len(meta) else b"")
    return prefix, body, after


def _character_sets(dataset: Dataset) -> list[str]:
    found = dataset.original_character_set or "iso8859"
    return [found] if isinstance(found, str) else list(found)


def _parse(content: bytes, implicit: bool, little: bool) -> Dataset:
    return read_dataset(BytesIO(content), implicit, little) if content else Dataset()


def _edited(
    content: bytes, implicit: bool, little: bool, fresh: Mapping[int, bytes], removed: set[int]
) -> bytes:
    """Replace, insert and remove top-level elements; all others keep their bytes and order.

    The retired length elements of groups that change are removed.
    """
    groups = {tag >> 16 for tag in fresh}
    waiting = dict(sorted(fresh.items()))
    pieces = []
    stream = BytesIO(content)
    start = 0
    for element in data_element_generator(stream, implicit, little):
        tag, end = int(element.tag), stream.tell()
        for new in [t for t in waiting if t < tag]:
            pieces.append(waiting.pop(new))
        if tag in waiting:
            pieces.append(waiting.pop(tag))
        elif tag not in removed and not (tag & 0xFFFF == 0 and tag >> 16 in groups):
            pieces.append(content[start:end])
        start = end
    return b"".join((*pieces, *waiting.values(), content[start:]))


def _encode_meta(meta: Dataset) -> bytes:
    stream = DicomBytesIO()
    write_file_meta_info(stream, FileMetaDataset(meta), enforce_standard=False)
    return stream.getvalue()


def _encode(
    dataset: Dataset, implicit: bool, little: bool, text: str | list[str] = "iso8859"
) -> bytes:
    stream = DicomBytesIO()
    stream.is_implicit_VR, stream.is_little_endian = implicit, little
    write_dataset(stream, dataset, text)
    return stream.getvalue()


def _describe_native(changed: Dataset, dataset: Dataset, part: _Part, planes: _Planes) -> None:
    """Say how the decoded pixels lie."""
    pixels = part.pixels
    wanted: dict[str, Any] = {}
    if pixels.bands > 1:
        wanted |= {"PhotometricInterpretation": part.photometric, "PlanarConfiguration": 0}
    stored = part.stored
    if stored < pixels.stored and not _fits(part, planes, stored):
        stored = pixels.stored  # the codestream is deeper than its header says
        wanted["BitsStored"] = stored
    if not pixels.floating:
        wanted["HighBit"] = stored - 1
    for keyword, value in wanted.items():
        if dataset.get(keyword) != value:
            setattr(changed, keyword, value)


def _fits(part: _Part, planes: _Planes, stored: int) -> bool:
    """Whether every sample of a file lies within ``stored`` bits."""
    low = -(1 << (stored - 1)) if part.pixels.signed else 0
    high = low + (1 << stored) - 1
    frames = (planes.read(number) for number in part.frames)
    return all(low <= int(f.min()) and int(f.max()) <= high for f in frames)


def _describe_loss(changed: Dataset, dataset: Dataset, part: _Part, reader: ExportReader) -> None:
    """Say that this is a derived, lossily compressed image (PS3.3 C.7.6.1.1.5)."""
    source_uid = str(dataset.get("SOPInstanceUID", ""))
    ratio = _ratio(reader)
    changed.SourceImageSequence = DicomSequence([_reference(dataset, source_uid)])
    changed.SOPInstanceUID = _derived_uid(source_uid, part, reader)
    kind = [str(v) for v in _several(dataset.get("ImageType"))]
    changed.ImageType = ["DERIVED", *(kind[1:] or ["SECONDARY"])]
    ratios, methods = (
        [str(v) for v in _several(dataset.get(f"LossyImageCompression{k}"))]
        for k in ("Ratio", "Method")
    )
    # both lists run in step (C.7.6.1.1.5.2); where an earlier loss told only one of them, the
    # other is filled up with what claims nothing
    methods += ["UNKNOWN"] * (len(ratios) - len(methods))
    ratios += ["1"] * (len(methods) - len(ratios))
    changed.LossyImageCompression = "01"
    changed.LossyImageCompressionRatio = [*ratios, f"{ratio:.4g}"]
    changed.LossyImageCompressionMethod = [*methods, LOSSY_METHOD]
    note = f"tilepress {reader.loss.kind}: {reader.loss.promise}; ratio {ratio:.4g}"
    earlier = str(dataset.get("DerivationDescription", "") or "")
    changed.DerivationDescription = f"{earlier}; {note}"[-1024:].lstrip("; ")
    codes = list(dataset.get("DerivationCodeSequence") or ())
    codes.append(_code("113040", "Lossy Compression"))
    changed.DerivationCodeSequence = DicomSequence(codes)


def _reference(dataset: Dataset, source_uid: str) -> Dataset:
    item = Dataset()
    item.ReferencedSOPClassUID = dataset.get("SOPClassUID", "")
    item.ReferencedSOPInstanceUID = source_uid
    purpose = _code("121320", "Uncompressed predecessor")
    item.PurposeOfReferenceCodeSequence = DicomSequence([purpose])
    return item


def _code(value: str, meaning: str) -> Dataset:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _derived_uid(source_uid: str, part: _Part, reader: ExportReader) -> str:
    """Return a UID (PS3.5 B.2) that is the same for the same instance, loss and store."""
    statement = reader.attrs.get("tilepress", {})
    digest = statement.get("source_digest") if isinstance(statement, Mapping) else None
    seed = f"{source_uid}|{part.name}|{reader.loss.max_error!r}|{digest!r}"
    number = uuid.UUID(bytes=hashlib.sha256(seed.encode()).digest()[:16], version=4).int
    return f"2.25.{number}"


def _ratio(reader: ExportReader) -> float:
    """Return decoded size over stored size of the image; 1 where the store does not tell."""
    statement = reader.attrs.get("tilepress", {})
    raw, stored = (statement.get(k) for k in ("raw_bytes", "stored_bytes"))
    return raw / stored if raw and stored else 1.0


def _several(value: object) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, MultiValue)) else [value]


def _write_whole(path: Path, content: Iterator[bytes]) -> None:
    """Write a file under a temporary name and rename it; an equal file may be there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{secrets.token_hex(8)}.partial")
    try:
        with open(partial, "xb") as file:
            _write_all(file, content)
        if path.exists() and not filecmp.cmp(partial, path, shallow=False):
            raise DestinationConflict(f"exporting DICOM: another file is there already, {path}")
        os.replace(partial, path)
    finally:
        with contextlib.suppress(FileNotFoundError):
            partial.unlink()


def _write_all(file: BinaryIO, content: Iterator[bytes]) -> None:
    for part in content:
        file.write(part)
    file.flush()
    os.fsync(file.fileno())
