"""Tell how many frames the pixel data of an instance hold, whatever its header says of them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from pydicom.dataset import Dataset

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.bytes import Container, PixelElement, fragments, open_bytes
from tilepress.pipeline.dicom.frame_reader import ends_image
from tilepress.pipeline.dicom.pixels import PixelFormat
from tilepress.pipeline.dicom.values import integer

__all__ = ["FULL_CHROMA", "Frames", "count_frames"]

ITEM_HEADER_BYTES = 8
"""Of each item of encapsulated pixel data; every frame has one of its own (PS3.5 A.4)."""
MAX_FRAMES = 2**20

DOING = "reading a DICOM image"
FULL_CHROMA = "PhotometricInterpretation is YBR_FULL_422, and nothing is subsampled"
"""Remark on an image."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Frames:
    """The frames of an instance."""

    frames: int
    pixels: PixelFormat
    """As the header says, corrected where the length of the pixel data tells otherwise."""
    remarks: tuple[str, ...] = ()


def count_frames(
    dataset: Dataset, container: Container, element: PixelElement, pixels: PixelFormat
) -> Frames:
    """Compare what the header promises with what the file holds, before anything is allocated.

    Where NumberOfFrames is missing, empty or 0 the bytes tell; compressed frames beyond it are
    taken. Raises Malformed where it is no number, DamagedSource where there are too few bytes or
    nobody can say what they are, UnsupportedSource for what is not taken.
    """
    said = integer(dataset, "NumberOfFrames", 0)
    if said < 0 or said > MAX_FRAMES:
        raise UnsupportedSource(
            f"{DOING}: {said} frames, want 1 … {MAX_FRAMES}, in {container.path}"
        )
    if element.encapsulated:
        return _encapsulated(said, container, element, pixels)
    return _native(said, container, element, pixels)


def _encapsulated(
    said: int, container: Container, element: PixelElement, pixels: PixelFormat
) -> Frames:
    frames, path = max(1, said), container.path
    if element.value_length < 16:
        raise DamagedSource(f"{DOING}: the encapsulated pixel data is empty, in {path}")
    most = element.value_length // ITEM_HEADER_BYTES - 1  # without the offset table
    if frames > most:
        raise DamagedSource(
            f"{DOING}: {frames} frames, but its {element.value_length} bytes of pixel data "
            f"hold {most} fragments at most, in {path}"
        )
    if not frames < element.items <= MAX_FRAMES:
        return Frames(frames=frames, pixels=pixels)
    source = open_bytes(container)
    try:
        _, *items = fragments(source, element.value_offset, path)
        are_images = all(ends_image(source, item) for item in items)
    finally:
        source.close()
    if not are_images:
        return Frames(frames=frames, pixels=pixels)
    return Frames(frames=len(items), pixels=pixels, remarks=(_hidden(said, len(items)),))


def _native(said: int, container: Container, element: PixelElement, pixels: PixelFormat) -> Frames:
    there = element.value_length
    if not container.deflated:
        there = min(there, container.file_size - element.value_offset)
    pixels, remarks = _subsampled(max(1, said), there, pixels, container.path)
    frames = max(1, said)
    want = pixels.pixel_bytes(frames)
    if there < want:
        raise DamagedSource(
            f"{DOING}: {there} bytes of pixel data, but {frames} frames of {pixels.rows} × "
            f"{pixels.columns} need {want}, in {container.path}"
        )
    whole = min(8 * there // pixels.frame_bits, MAX_FRAMES)
    if whole > frames and there - pixels.pixel_bytes(whole) <= 1:
        remarks = (*remarks, _hidden(said, whole))
        frames = frames if said else whole
    return Frames(frames=frames, pixels=pixels, remarks=remarks)


def _hidden(said: int, there: int) -> str:
    header = f"NumberOfFrames is {said}" if said else "NumberOfFrames says nothing"
    return f"{header}, and the pixel data hold {there} frames"


def _subsampled(
    frames: int, there: int, pixels: PixelFormat, path: str
) -> tuple[PixelFormat, tuple[str, ...]]:
    """Return the layout of what is called YBR_FULL_422, as its length tells."""
    if not pixels.halved:
        return pixels, ()
    whole = replace(pixels, photometric="YBR_FULL")
    full, half = whole.pixel_bytes(frames), pixels.pixel_bytes(frames)
    if full <= there <= full + 1:
        return whole, (FULL_CHROMA,)
    if half <= there <= half + 1:
        if pixels.columns % 2:
            raise UnsupportedSource(f"{DOING}: YBR_FULL_422 of an odd width, in {path}")
        return pixels, ()
    raise DamagedSource(
        f"{DOING}: {there} bytes of pixel data called YBR_FULL_422, but {frames} frames of "
        f"{pixels.rows} × {pixels.columns} have {half}, or {full} where nothing is subsampled, "
        f"in {path}"
    )
