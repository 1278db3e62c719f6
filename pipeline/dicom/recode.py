"""Write DICOM instances in another transfer syntax: other streams, the same samples."""

from __future__ import annotations

from collections.abc import Iterator
from io import BytesIO

from pydicom import dcmread, dcmwrite
from pydicom.dataset import Dataset, FileDataset
from pydicom.encaps import encapsulate

from tilepress.errors import StoreError, TilepressError, UsageError
from tilepress.pipeline.dicom.bytes import quiet_pydicom
from tilepress.pipeline.dicom.frame_codecs import NATIVE, FrameCodec
from tilepress.pipeline.dicom.instances import instance_bytes
from tilepress.pipeline.dicom.stored import StoredFrames, StoredInstance
from tilepress.pipeline.image.source import ExportReader

__all__ = ["recoded_bytes"]

MAX_OFFSET = 2**32 - 1
"""Largest offset that a basic offset table holds (PS3.5 A.4)."""


def recoded_bytes(
    instance: StoredInstance, planes: StoredFrames, reader: ExportReader, syntax: str
) -> Iterator[bytes]:
    """Yield the bytes of an instance whose frames are coded losslessly in a transfer syntax.

    It is the same SOP instance, as nothing is lost. ``syntax`` is a key of ``SYNTAXES``. Raises
    UsageError for samples that the syntax does not take, and for bits beside samples (overlays in
    unused bits), which only native pixels have.
    """
    native = instance_bytes(instance, planes, reader, decoded=True)
    if syntax == NATIVE:
        yield from native
        return
    if instance.patches:
        raise UsageError(
            f"exporting DICOM: files have bits beside their samples, which {syntax} cannot keep; "
            "leave out the transfer syntax"
        )
    if instance.pixels.floating or instance.pixels.allocated == 1:
        kind = "floats" if instance.pixels.floating else "single bits"
        raise UsageError(f"exporting DICOM: {syntax} does not take {kind}; leave it out")
    with quiet_pydicom():
        try:
            dataset = dcmread(BytesIO(b"".join(native)), force=True)
            codec = _codec(dataset, instance, syntax)
            streams = [codec.encode(planes.read(number)) for number in instance.frames]
            yield _written(dataset, codec, streams)
        except (TilepressError, OSError, MemoryError):
            raise
        except Exception as error:  # whatever pydicom makes of an odd header; its text may tell
            text = f"its header cannot be written anew ({type(error).__name__})"
            raise StoreError(f"exporting DICOM: {text}; leave out the transfer syntax") from None


def _codec(dataset: Dataset, instance: StoredInstance, syntax: str) -> FrameCodec:
    pixels = instance.pixels
    photometric = str(dataset.PhotometricInterpretation)
    if pixels.halved:
        photometric = "YBR_FULL"  # samples have a chroma each
    return FrameCodec.of(
        syntax,
        rows=pixels.rows,
        columns=pixels.columns,
        bands=pixels.bands,
        allocated=pixels.allocated,
        stored=int(dataset.BitsStored),
        signed=pixels.signed,
        photometric=photometric,
    )


def _written(dataset: FileDataset, codec: FrameCodec, streams: list[bytes]) -> bytes:
    """Return the file: elements that say how pixels lie are set, all others stay as they are."""
    dataset.PhotometricInterpretation = codec.coded_photometric
    dataset.HighBit = codec.stored - 1
    if codec.bands > 1:
        dataset.PlanarConfiguration = 0
    for element in list(dataset.keys()):
        # retired lengths of groups, which change, and commands, which files cannot have
        if element.element == 0 or element.group == 0:
            del dataset[element]
    fits = sum(map(len, streams)) + 8 * len(streams) <= MAX_OFFSET
    dataset.PixelData = encapsulate(streams, has_bot=fits)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = codec.syntax
    out = BytesIO()
    for _ in dataset.iterall():
        pass  # elements that are not looked at are written in the order of bytes that they came in
    dcmwrite(out, dataset, implicit_vr=False, little_endian=True, enforce_file_format=True)
    return out.getvalue()
