"""Read DICOM series: find and group their files, and give windows of their stored values.

A sample is the *stored* value: BitsStored bits, sign-extended; no rescale, MONOCHROME1 not
inverted, palette indices as indices, YBR as YBR. What else lies in the pixel words (overlays in
unused bits, dirty padding) goes into ``source/`` as a patch, so that export gives the same bytes.

Items of ``source/``: ``origin`` (JSON: which file, frame and bytes make which plane),
``dicom-headers`` and ``dicom-trailers`` (bytes before and after the pixels of every file, joined),
``dicom-patches`` (zlib streams, one per frame that needs one).
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.dicom.axes import Arrangement, arrange
from tilepress.pipeline.dicom.bytes import Container, file_bytes, open_bytes, open_file
from tilepress.pipeline.dicom.frame_reader import FrameReader
from tilepress.pipeline.dicom.frames import FULL_CHROMA
from tilepress.pipeline.dicom.groups import SeriesGroups, group_key, series_name
from tilepress.pipeline.dicom.header import Instance, Plane, read_instance
from tilepress.pipeline.dicom.pixels import is_pair_swapped
from tilepress.pipeline.dicom.sniff import is_dicom
from tilepress.pipeline.image.fingerprint import FilePrint
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.pseudonyms import told
from tilepress.pipeline.image.source import SIBLINGS, SourceSpec

__all__ = ["DicomSource", "deflated", "group_series"]

ORIGIN_VERSION = 1
MAX_OPEN_FILES = 16
"""Files (inflated ones: in memory) that one source keeps open."""
MAX_DEFLATE_TRIAL_BYTES = 64 * 2**20
"""Deflated data sets up to this size are deflated again to learn the writer's settings."""
_DEFLATE_SETTINGS = tuple(product((6, 9, 1, 5, 8, 7, 4, 3, 2), (8, 9)))


def group_series(
    paths: Iterable[str | Path],
) -> tuple[list[SourceSpec], list[tuple[str, SourceError]]]:
    """Group DICOM files (or all files below folders) into images.

    One image is what shares SeriesInstanceUID and the pixel layout (rows, columns, samples per
    pixel, allocated bits, sign, photometric interpretation); a multi-frame file whose frames have
    no positions (cine, slide) and a segmentation are images of their own, and so are planes of
    another orientation. Files without SeriesInstanceUID are one series where they lie in one folder
    and have one geometry. Copies of one instance are left out with a remark, those with another
    header, too; files of one SOPInstanceUID with other pixels are all taken.

    Returns
    -------
    specs
        one per image, ``options["name"]`` is the store's name; in order of the first file's path
    failures
        (path, error) of every file that cannot be taken; its series goes on without it
    """
    failures: list[tuple[str, SourceError]] = []
    specs: list[SourceSpec] = []
    with contextlib.closing(SeriesGroups()) as groups:
        for path in _files(paths):
            try:
                groups.add(read_instance(path))
            except SourceError as exc:
                failures.append((path, exc))
        for found in groups.images():
            if isinstance(found, SourceSpec):
                specs.append(found)
            else:
                failures.append(found)
    return specs, sorted(failures, key=lambda pair: pair[0])


def _files(paths: Iterable[str | Path]) -> Iterator[str]:
    for path in sorted({os.path.abspath(p) for p in paths}):
        if os.path.isdir(path):
            yield from (str(p) for p in sorted(Path(path).rglob("*")) if is_dicom(p))
        else:
            yield path


class DicomSource:
    """One DICOM series, or one multi-frame instance, as an image. Not thread-safe."""

    def __init__(self, spec: SourceSpec) -> None:
        """Read every header of ``spec.paths``; no pixels, save one frame of compressed colour.

        Raises
        ------
        UnsupportedSource, DamagedSource
            as ``group_series`` lists them; also where the files are no longer one image
        """
        if not spec.paths:
            raise UnsupportedSource("opening a DICOM series: it has no files")
        self._spec = spec
        self._instances = [read_instance(path) for path in spec.paths]
        if len({group_key(one) for one in self._instances}) > 1:
            raise DamagedSource(
                f"opening a DICOM series: its files are not of one series and shape, one is "
                f"{spec.paths[0]}"
            )
        self._pixels = self._instances[0].pixels
        self._arrangement = arrange(self._instances)
        self._readers: OrderedDict[int, FrameReader] = OrderedDict()
        self._photometric = self._reader(0).decoded_photometric()
        self._info = self._describe()

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        """Return the stored values of ``box``, C-contiguous."""
        pixels, leading = self._pixels, self._arrangement.axes
        rows, columns = box.slices[-2:]
        bands = box.slices[-3] if pixels.bands > 1 else slice(0, 1)
        places = box.slices[: len(leading)]
        depth = len(range(*bands.indices(pixels.bands)))
        shape = (rows.stop - rows.start, columns.stop - columns.start)
        counts = [s.stop - s.start for s in places]
        out = np.empty((int(np.prod(counts, dtype=int)), depth, *shape), pixels.dtype)
        indices = product(*(range(s.start, s.stop) for s in places))
        for target, index in zip(out, indices, strict=True):
            number = int(np.ravel_multi_index(index, self._arrangement.shape)) if index else 0
            plane = self._arrangement.planes[number]
            frame = self._reader(plane.instance).read(plane.frame, rows, columns)
            target[:] = frame[bands]
        return out.reshape(box.shape)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return 255 everywhere: DICOM has no validity mask."""
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin", "dicom-headers", "dicom-trailers" and "dicom-patches".

        Reads all native pixels once where BitsStored leaves bits unused.
        """
        headers, trailers, patches = bytearray(), bytearray(), bytearray()
        planes = {(p.instance, p.frame): i for i, p in enumerate(self._arrangement.planes)}
        names = below_common_folder([one.path for one in self._instances])
        listed = []
        for number, instance in enumerate(self._instances):
            before, after = _surroundings(instance)
            frames = [planes[number, frame] for frame in range(len(instance.planes))]
            entry = _origin_entry(instance, frames)
            entry |= {"name": names[number], "header_bytes": len(before)}
            entry |= {"trailer_bytes": len(after), "patches": []}
            for frame in range(len(instance.planes)):
                if patch := self._patch(number, frame):
                    entry["patches"].append([frame, len(patch)])
                    patches += patch
            headers += before
            trailers += after
            listed.append(entry)
        origin = {
            "kind": "dicom",
            "version": ORIGIN_VERSION,
            "axes": list(self._info.axes),
            "photometric": self._photometric,
            "instances": listed,
        }
        yield "origin", json.dumps(origin, separators=(",", ":")).encode()
        yield "dicom-headers", bytes(headers)
        yield "dicom-trailers", bytes(trailers)
        yield "dicom-patches", bytes(patches)

    def fingerprint(self) -> dict[str, Any]:
        """Return size, mtime and a hash of the header of every file, wherever they lie.

        The order of planes and of chroma too, where earlier versions gave others: no store of
        theirs goes on with it.
        """
        found: dict[str, Any] = {"files": [_file_print(one) for one in self._instances]}
        if self._arrangement.is_new_order:
            found["order"] = [(plane.instance, plane.frame) for plane in self._arrangement.planes]
        if any(FULL_CHROMA in one.remarks for one in self._instances):
            found["chroma"] = "full"
        return found

    def close(self) -> None:
        for reader in self._readers.values():
            reader.close()
        self._readers.clear()

    def _reader(self, number: int) -> FrameReader:
        reader = self._readers.pop(number, None)
        if reader is None:
            one = self._instances[number]
            reader = FrameReader(
                one.container, one.element, one.pixels, len(one.planes), one.offsets
            )
        self._readers[number] = reader
        while len(self._readers) > MAX_OPEN_FILES:
            self._readers.popitem(last=False)[1].close()
        return reader

    def _patch(self, number: int, frame: int) -> bytes:
        """Return what the words of a native frame hold beside its samples; empty if nothing."""
        pixels = self._instances[number].pixels
        if pixels.exact or self._instances[number].element.encapsulated:
            return b""
        words = self._reader(number).words(frame, 0, pixels.rows)
        words = words ^ pixels.words_of(pixels.samples_of(words))
        little = words.astype(words.dtype.newbyteorder("<"), copy=False)
        return zlib.compress(little.tobytes()) if words.any() else b""

    def _describe(self) -> ImageInfo:
        pixels, found = self._pixels, self._arrangement
        bands = {"band": pixels.bands} if pixels.bands > 1 else {}
        sizes = dict(zip(found.axes, found.shape, strict=True)) | bands
        sizes |= {"y": pixels.rows, "x": pixels.columns}
        first = self._instances[0]
        return ImageInfo(
            name=str(self._spec.options.get("name") or series_name(first)),
            axes=tuple(sizes),
            shape=tuple(sizes.values()),
            dtype=pixels.dtype,
            valid_range=_valid_range(self._instances),
            padding=_padding(self._instances),
            lossy_refusal=_lossy_refusal(first),
            medical=found.geometry,
            attributes=told(
                _attributes(self._instances, found, self._photometric), self._spec.options
            ),
            coordinates=found.coordinates,
            labels=found.labels,
            remarks=(
                *self._spec.options.get("remarks", ()),
                *_siblings(self._spec.options.get(SIBLINGS, ())),
                *dict.fromkeys(remark for one in self._instances for remark in one.remarks),
                *_differing(self._instances),
                *found.remarks,
            ),
        )


def _siblings(names: Sequence[str]) -> tuple[str, ...]:
    listed = ", ".join(names)
    return (f"other images of the same series and size: {listed}",) if names else ()


def _valid_range(instances: Sequence[Instance]) -> tuple[int, int] | None:
    pixels = max((one.pixels for one in instances), key=lambda pixels: pixels.stored)
    if pixels.floating or (pixels.stored == pixels.allocated and pixels.allocated > 1):
        return None
    if pixels.signed:
        return -(1 << (pixels.stored - 1)), (1 << (pixels.stored - 1)) - 1
    return 0, (1 << pixels.stored) - 1


def _padding(instances: Sequence[Instance]) -> tuple[int, int] | None:
    """Return the least and the largest value that one of the files pads with."""
    names = ("pixel_padding_value", "pixel_padding_range_limit")
    found = [one.attributes[name] for one in instances for name in names if name in one.attributes]
    return (min(found), max(found)) if found else None


def _lossy_refusal(instance: Instance) -> str | None:
    if instance.pixels.photometric == "PALETTE COLOR":
        return "samples are indices into a palette"
    if instance.pixels.allocated == 1:
        return "samples are bits of a mask"
    if instance.attributes.get("segmentation_type") in ("LABELMAP", "BINARY"):
        return "samples are labels"
    return None


def _attributes(
    instances: Sequence[Instance], found: Arrangement, photometric: str
) -> dict[str, Any]:
    """Return the attributes of the array: what all instances share, and what varies by plane."""
    shared = dict(instances[0].attributes)
    for one in instances[1:]:
        shared = {k: v for k, v in shared.items() if one.attributes.get(k) == v}
    if "bits_stored" in instances[0].attributes:  # whatever the bits: samples are of one dtype
        shared["bits_stored"] = max(one.attributes["bits_stored"] for one in instances)
    shared["photometric_interpretation"] = photometric
    shared["instances"] = len(instances)
    if "t" in found.coordinates:
        shared["t_units"] = "ms"
    planes = found.planes
    if all(p.rescale for p in planes):
        shared["rescale_slope"] = _varying([p.rescale[0] for p in planes if p.rescale])
        shared["rescale_intercept"] = _varying([p.rescale[1] for p in planes if p.rescale])
    if all(p.window for p in planes):
        shared["window_center"] = _window(planes, 0)
        shared["window_width"] = _window(planes, 1)
    return shared


def _differing(instances: Sequence[Instance]) -> tuple[str, ...]:
    """Return remarks on what only some files say of their values, or each says differently."""
    names = {
        "real_world_value_mapping": "their real world values",
        "modality_lut": "their Modality LUT",
        "palette": "their palette",
        "rescale_type": "their rescale type",
        "units": "their units",
    }
    said = {name: [one.attributes.get(name) for one in instances] for name in names}
    return tuple(
        f"files differ in {names[name]}: none is told"
        for name, values in said.items()
        if any(value != values[0] for value in values)
    )


def _varying(values: list[float]) -> float | list[float]:
    """Return the one value that all planes share, or one per plane."""
    return values[0] if len(set(values)) == 1 else values


def _window(planes: Sequence[Plane], which: int) -> float | list[float]:
    """Return the windows of the middle plane: planes may differ, viewers want one."""
    window = planes[len(planes) // 2].window
    assert window is not None
    values = list(window[which])
    return values[0] if len(values) == 1 else values


def _origin_entry(instance: Instance, frames: list[int]) -> dict[str, Any]:
    """Return how an exporter puts one file together; see ``instances``."""
    container, element, pixels = instance.container, instance.element, instance.pixels
    run = frames == list(range(frames[0], frames[0] + len(frames)))
    return {
        "syntax": container.syntax,
        "implicit": container.implicit,
        "preamble": container.has_preamble,
        "dataset_offset": container.dataset_offset,
        "element_offset": element.element_offset,
        "encapsulated": element.encapsulated,
        "swapped": is_pair_swapped(container, element, pixels),
        "frames": {"start": frames[0], "count": len(frames)} if run else frames,
        "pixels": pixels.to_config(),
        "stored": instance.stored,
        "deflate": _deflate_settings(container) if container.deflated else None,
    }


def _surroundings(instance: Instance) -> tuple[bytes, bytes]:
    """Return the bytes before and after what an exporter makes from samples.

    Native pixels that share their last byte or word with padding leave that one to the bytes
    after; encapsulated ones leave out the pixel element with its header.
    """
    element, pixels = instance.element, instance.pixels
    source = open_bytes(instance.container)
    try:
        if element.encapsulated:
            end = element.value_offset + element.value_length
            return source.read(0, element.element_offset), source.read(end, source.size)
        made = pixels.frame_bits * len(instance.planes) // 8
        if is_pair_swapped(instance.container, element, pixels):
            made &= ~1
        end = element.value_offset + made
        return source.read(0, element.value_offset), source.read(end, source.size)
    finally:
        source.close()


def deflated(content: bytes, settings: Sequence[int]) -> bytes:
    """Deflate a data set with (level, memory level)."""
    level, memory = settings
    packer = zlib.compressobj(level, zlib.DEFLATED, -zlib.MAX_WBITS, memory)
    return packer.compress(content) + packer.flush()


def _deflate_settings(container: Container) -> dict[str, Any]:
    """Return settings that deflate the data set to the file's own bytes, if zlib has such."""
    packed = file_bytes(container)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    content = inflater.decompress(packed, MAX_DEFLATE_TRIAL_BYTES + 1)
    tail = inflater.unused_data
    stream = packed[: len(packed) - len(tail)]
    exact = inflater.eof and len(content) <= MAX_DEFLATE_TRIAL_BYTES and len(tail) <= 64
    for settings in _DEFLATE_SETTINGS if exact else ():
        if deflated(content, settings) == stream:
            return {"settings": list(settings), "tail": tail.hex(), "exact": True}
    return {"settings": [6, 8], "tail": "", "exact": False}


def _file_print(instance: Instance) -> dict[str, Any]:
    container = instance.container
    source = open_file(container.path)
    try:
        head = source.read(0, min(instance.element.value_offset, 2**20))
    finally:
        source.close()
    return asdict(FilePrint.of(head, container.file_size, container.mtime_ns))
