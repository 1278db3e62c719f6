"""Write the header of an instance anew where its pixels are not stored as they were.

Only the elements that must change are encoded anew; every other one keeps its bytes.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Mapping
from io import BytesIO
from typing import Any

from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.filebase import DicomBytesIO
from pydicom.filereader import data_element_generator, read_dataset
from pydicom.filewriter import write_dataset, write_file_meta_info
from pydicom.multival import MultiValue
from pydicom.sequence import Sequence as DicomSequence

from tilepress.pipeline.dicom.bytes import EXPLICIT_LITTLE, quiet_pydicom
from tilepress.pipeline.dicom.stored import StoredFrames, StoredInstance
from tilepress.pipeline.image.source import ExportReader

__all__ = ["derived_uid", "explicit_little", "lossy_method", "meta_of", "rewritten_header"]

_METHODS = {
    "jpegls": "ISO_14495_1",
    "jpeg2000": "ISO_15444_1",
    "htj2k": "ISO_15444_15",
    "jpegxl": "ISO_18181_1",
}
"""Defined terms of PS3.3 C.7.6.1.1.5.1 for codecs that have one, by their names."""
"""LossyImageCompressionMethod (0028,2114): no defined term names this coding, so our own does."""


def rewritten_header(
    instance: StoredInstance, planes: StoredFrames, reader: ExportReader
) -> tuple[bytes, bytes, bytes]:
    """Return (preamble with file meta, data set before the pixel element, what follows it).

    Only the elements that must change are encoded anew; every other one keeps its bytes.
    """
    start = 132 if instance.preamble else 0
    body, after = instance.before[instance.dataset_offset : instance.element_offset], instance.after
    with quiet_pydicom():
        meta = _parse(instance.before[start : instance.dataset_offset], False, True)
        dataset = _parse(body, instance.implicit, instance.little)
        changed, removed = Dataset(), set[int]()
        if instance.encapsulated:
            removed |= {0x7FE00001, 0x7FE00002}  # the extended offset table
            removed |= _compressed_within(dataset)
            last = _parse(after, instance.implicit, instance.little)
            after = _edited(after, instance.implicit, instance.little, {}, _compressed_within(last))
            _describe_native(changed, dataset, instance, planes)
            meta.TransferSyntaxUID = EXPLICIT_LITTLE
        if not reader.loss.is_lossless:
            _describe_loss(changed, dataset, instance, reader)
            if len(meta):
                meta.MediaStorageSOPInstanceUID = changed.SOPInstanceUID
        if instance.encapsulated and instance.implicit:  # against the standard, but it happens
            body, after = (
                _encode(_parse(content, True, True), False, True) for content in (body, after)
            )
        implicit = instance.implicit and not instance.encapsulated
        text = _character_sets(dataset)
        fresh = {
            int(e.tag): _encode(changed[e.tag : e.tag + 1], implicit, instance.little, text)
            for e in changed
        }
        body = _edited(body, implicit, instance.little, fresh, removed)
        prefix = instance.before[:start] + (_encode_meta(meta) if len(meta) else b"")
    return prefix, body, after


def _character_sets(dataset: Dataset) -> list[str]:
    found = dataset.original_character_set or "iso8859"
    return [found] if isinstance(found, str) else list(found)


def _parse(content: bytes, implicit: bool, little: bool) -> Dataset:
    return read_dataset(BytesIO(content), implicit, little) if content else Dataset()


def _compressed_within(dataset: Dataset) -> set[int]:
    """Return the sequences whose items hold compressed pixels: icons, as a rule.

    A file of native pixels may not hold them (PS3.5 A.1), and most readers stop there. They are
    not decoded here, where nothing guards against what a foreign decoder does.
    """

    def holds(item: Dataset) -> bool:
        return any(
            element.is_undefined_length
            if element.tag == 0x7FE00010
            else any(map(holds, element.value))
            for element in item
            if element.tag == 0x7FE00010 or element.VR == "SQ"
        )

    return {int(e.tag) for e in dataset if e.VR == "SQ" and any(map(holds, e.value))}


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


def explicit_little(content: bytes) -> bytes:
    """Return elements in Implicit VR as Explicit VR Little Endian has them."""
    return _encode(_parse(content, True, True), False, True) if content else b""


def meta_of(prefix: bytes, dataset: Dataset) -> bytes:
    """Return preamble and file meta information of an instance in Explicit VR Little Endian.

    prefix : those that it had, or nothing of them.
    """
    start = 132 if prefix[128:132] == b"DICM" else 0
    meta = _parse(prefix[start:], False, True)
    meta.TransferSyntaxUID = EXPLICIT_LITTLE
    if "MediaStorageSOPInstanceUID" not in meta:
        meta.MediaStorageSOPClassUID = str(dataset.get("SOPClassUID", ""))
        meta.MediaStorageSOPInstanceUID = str(dataset.get("SOPInstanceUID", ""))
    return (prefix[:start] or bytes(128) + b"DICM") + _encode_meta(meta)


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


def _describe_native(
    changed: Dataset, dataset: Dataset, instance: StoredInstance, planes: StoredFrames
) -> None:
    """Say how the decoded pixels lie."""
    pixels = instance.pixels
    wanted: dict[str, Any] = {}
    frames = len(instance.frames)
    if frames > 1 and dataset.get("NumberOfFrames") != frames:
        wanted["NumberOfFrames"] = frames
    if pixels.bands > 1:
        wanted |= {"PhotometricInterpretation": instance.photometric, "PlanarConfiguration": 0}
    stored = instance.stored
    if stored < pixels.stored and not _fits(instance, planes, stored):
        stored = pixels.stored  # the codestream is deeper than its header says
        wanted["BitsStored"] = stored
    if not pixels.floating:
        wanted["HighBit"] = stored - 1
    for keyword, value in wanted.items():
        if dataset.get(keyword) != value:
            setattr(changed, keyword, value)


def _fits(instance: StoredInstance, planes: StoredFrames, stored: int) -> bool:
    """Whether every sample of a file lies within ``stored`` bits."""
    low = -(1 << (stored - 1)) if instance.pixels.signed else 0
    high = low + (1 << stored) - 1
    frames = (planes.read(number) for number in instance.frames)
    return all(low <= int(f.min()) and int(f.max()) <= high for f in frames)


def _describe_loss(
    changed: Dataset, dataset: Dataset, instance: StoredInstance, reader: ExportReader
) -> None:
    """Say that this is a derived, lossily compressed image (PS3.3 C.7.6.1.1.5)."""
    source_uid = str(dataset.get("SOPInstanceUID", ""))
    ratio = reader.ratio
    changed.SourceImageSequence = DicomSequence([_reference(dataset, source_uid)])
    changed.SOPInstanceUID = derived_uid(source_uid, instance, reader)
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
    changed.LossyImageCompressionMethod = [*methods, lossy_method(reader)]
    note = f"tilepress {reader.loss.kind}: {reader.loss.promise}; ratio {ratio:.4g}"
    if reader.decoder_note is not None:
        note = f"{note}; {reader.decoder_note}"
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


def derived_uid(source_uid: str, instance: StoredInstance, reader: ExportReader) -> str:
    """Return a UID (PS3.5 B.2) that is the same for the same instance, loss and store."""
    statement = reader.attrs.get("tilepress", {})
    digest = statement.get("source_digest") if isinstance(statement, Mapping) else None
    seed = f"{source_uid}|{instance.name}|{reader.loss.max_error!r}|{digest!r}"
    if reader.decoder_note is not None:
        seed = f"{seed}|{reader.decoder_note}"
    number = uuid.UUID(bytes=hashlib.sha256(seed.encode()).digest()[:16], version=4).int
    return f"2.25.{number}"


def lossy_method(reader: ExportReader) -> str:
    """Return how the image was compressed, as LossyImageCompressionMethod has it."""
    statement = reader.attrs.get("tilepress", {})
    codec = str(statement.get("codec", "wave")) if isinstance(statement, Mapping) else "wave"
    return _METHODS.get(codec, f"TILEPRESS_{codec.upper()}"[:16])


def _several(value: object) -> list[Any]:
    if value is None or value == "":
        return []
    return list(value) if isinstance(value, (list, MultiValue)) else [value]
