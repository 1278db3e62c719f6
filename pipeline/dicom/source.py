"""Read DICOM series: find and group their files, and give windows of their stored values.

A sample is the *stored* value: BitsStored bits, sign-extended; no rescale, MONOCHROME1 not
inverted, palette indices as indices, YBR as YBR. What else lies in the pixel words (overlays in
unused bits, dirty padding) goes into ``source/`` as a patch, so that export gives the same bytes.

What ``source/`` keeps of the files is said in ``kept``.
"""

from __future__ import annotations

import contextlib
import json
import os
import zlib
from collections import OrderedDict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.dicom.as_told import padding_of, refusal_of
from tilepress.pipeline.dicom.axes import Arrangement, arrange
from tilepress.pipeline.dicom.bytes import open_file
from tilepress.pipeline.dicom.described import (
    attributes_of,
    burned_in_of,
    differing_remarks,
    refuse_labels,
    siblings_remark,
    valid_range_of,
)
from tilepress.pipeline.dicom.encapsulated import are_lossless, encapsulation, family_of
from tilepress.pipeline.dicom.frame_reader import FrameReader
from tilepress.pipeline.dicom.frames import FULL_CHROMA
from tilepress.pipeline.dicom.groups import SeriesGroups, group_key, series_name
from tilepress.pipeline.dicom.header import Instance, read_instance
from tilepress.pipeline.dicom.kept import origin_entry, surroundings
from tilepress.pipeline.dicom.sniff import is_dicom
from tilepress.pipeline.image.fingerprint import FilePrint
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.names import below_common_folder
from tilepress.pipeline.image.pseudonyms import told
from tilepress.pipeline.image.source import BESIDE, SIBLINGS, SourceSpec
from tilepress.pipeline.image.streams import Streams, blocks_of
from tilepress.pipeline.privacy.keyed import Replacements
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, DEIDENTIFY, is_deidentified, profile_of

__all__ = ["DicomSource", "group_series"]

ORIGIN_VERSION = 1
MAX_OPEN_FILES = 16
"""Files (inflated ones: in memory) that one source keeps open."""


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

    kind = "dicom"

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
        self._check_are_one()
        if is_deidentified(spec):
            refuse_labels(self._instances)
        self._pixels = self._instances[0].pixels
        self._arrangement = self._arranged()
        self._readers: OrderedDict[int, FrameReader] = OrderedDict()
        self._photometric = ""
        self._photometric = self._reader(0).decoded_photometric()
        self._info = self._describe()

    def _check_are_one(self) -> None:
        if len({group_key(one) for one in self._instances}) > 1:
            raise DamagedSource(
                f"opening a DICOM series: its files are not of one series and shape, one is "
                f"{self._spec.paths[0]}"
            )

    def _arranged(self) -> Arrangement:
        return arrange(self._instances)

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
            plane = self._arrangement.planes[self._plane_number(index)]
            frame = self._reader(plane.instance).read(plane.frame, rows, columns)
            target[:] = frame[bands]
        return out.reshape(box.shape)

    def streams(self, box: Box) -> Streams | None:
        """Return the streams of the frames of a box."""
        block, leading = self._info.stream_block, len(self._arrangement.axes)
        if block is None or blocks_of(box, block, self._info.shape) is None:
            return None
        places = product(*(range(s.start, s.stop) for s in box.slices[:leading]))
        found = []
        for index in places:
            plane = self._arrangement.planes[self._plane_number(index)]
            found.append(self._reader(plane.instance).codestream(plane.frame))
        pixels, family = self._pixels, self._stream_family
        assert family is not None, "blocks of streams have one"
        return Streams(
            streams=tuple(found), rows=1, columns=1, height=pixels.rows, width=pixels.columns,
            family=family, lossless=are_lossless(self._syntaxes),
        )  # fmt: skip

    def _plane_number(self, index: tuple[int, ...]) -> int:
        return int(np.ravel_multi_index(index, self._arrangement.shape)) if index else 0

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        """Return 255 everywhere: DICOM has no validity mask."""
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield "origin", "dicom-headers", "dicom-trailers" and "dicom-patches".

        And "dicom-encapsulations" where streams are kept.
        Reads all native pixels once where BitsStored leaves bits unused.
        """
        assert not is_deidentified(self._spec), "these are the files as they were"
        return self._whole_items()

    def _whole_items(self) -> Iterator[tuple[str, bytes]]:
        names = below_common_folder([one.path for one in self._instances])
        encapsulations: list[bytes] = []

        def places(number: int) -> dict[str, Any]:
            """Keep what is around the streams of a file, and say how much that is."""
            if not self._gives_streams(number):
                return {}
            encapsulations.append(encapsulation(self._instances[number], self._reader(number)))
            return {"encapsulation_bytes": len(encapsulations[-1])}

        around = ((*surroundings(one), places(n)) for n, one in enumerate(self._instances))
        yield from self._items(names, around, self._patch, dict)
        if any(encapsulations):
            yield "dicom-encapsulations", b"".join(encapsulations)

    def identifiers(self) -> list[tuple[str, str]]:
        """Return what is to be replaced before ``replaced_items``; see ``privacy.keyed``."""
        from tilepress.pipeline.dicom.deidentified import identifiers  # it loads all of PS3.16

        return identifiers(self._instances, profile_of(self._spec))

    def replaced_items(self, replacements: Replacements) -> Iterator[tuple[str, bytes]]:
        """Yield the same items of files that are de-identified, with numbers for names."""
        from tilepress.pipeline.dicom.deidentified import DeidentifiedFiles, told_of

        profile = profile_of(self._spec)
        files = DeidentifiedFiles.replacing(profile, replacements)
        names = [f"{number:06}.dcm" for number in range(1, len(self._instances) + 1)]
        around = ((one.before, one.after, one.entry) for one in files.around(self._instances))

        def more() -> dict[str, Any]:
            key = str(self._spec.options[DEIDENTIFY]["key"])
            return {DEIDENTIFIED: told_of(profile, files.counts, key)}

        return self._items(names, around, lambda *_: b"", more)

    def _items(
        self,
        names: Sequence[str],
        around: Iterable[tuple[bytes, bytes, Mapping[str, Any]]],
        patch_of: Callable[[int, int], bytes],
        more: Callable[[], Mapping[str, Any]],
    ) -> Iterator[tuple[str, bytes]]:
        """Yield the items; ``around`` gives the bytes around pixels, and where their parts begin.

        ``more`` is asked at the end for what else the origin says.
        """
        headers, trailers, patches = bytearray(), bytearray(), bytearray()
        planes = self._numbers()
        listed = []
        for number, (instance, (before, after, places)) in enumerate(
            zip(self._instances, around, strict=True)
        ):
            frames = [planes[number, frame] for frame in range(len(instance.planes))]
            entry = origin_entry(instance, frames) | dict(places)
            entry |= {"name": names[number], "header_bytes": len(before)}
            entry |= {"trailer_bytes": len(after), "patches": []}
            for frame in range(len(instance.planes)):
                if patch := patch_of(number, frame):
                    entry["patches"].append([frame, len(patch)])
                    patches += patch
            headers += before
            trailers += after
            listed.append(entry)
        origin = {
            "kind": self.kind,
            "version": ORIGIN_VERSION,
            "axes": list(self._info.axes),
            "photometric": self._photometric,
            "instances": listed,
            **self._more_origin(),
            **more(),
        }
        yield "origin", json.dumps(origin, separators=(",", ":")).encode()
        yield "dicom-headers", bytes(headers)
        yield "dicom-trailers", bytes(trailers)
        yield "dicom-patches", bytes(patches)
        yield from self._more_items()

    def _numbers(self) -> dict[tuple[int, int], int]:
        """Return the number of the plane of every frame, by instance and frame."""
        return {(p.instance, p.frame): i for i, p in enumerate(self._arrangement.planes)}

    def _more_origin(self) -> dict[str, Any]:
        """Return what else the origin says of how planes lie in the image."""
        return {}

    def _more_items(self) -> Iterator[tuple[str, bytes]]:
        """Yield what else has to be kept so that frames come back."""
        return iter(())

    def _gives_streams(self, number: int) -> bool:
        """Whether the streams of an instance may be kept."""
        return self._info.stream_block is not None

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
                one.container,
                one.element,
                one.pixels,
                len(one.planes),
                one.offsets,
                self._photometric,
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

    def _stream_block(self, sizes: Mapping[str, int]) -> tuple[int, ...] | None:
        """Return the sides of a frame that may be kept as a stream; never of files that are
        de-identified, for streams have room for texts."""
        if self._stream_family is None or is_deidentified(self._spec):
            return None
        return tuple(n if axis in ("band", "y", "x") else 1 for axis, n in sizes.items())

    @property
    def _stream_family(self) -> str | None:
        return family_of(self._syntaxes, self._pixels.rows * self._pixels.columns)

    @property
    def _syntaxes(self) -> set[str]:
        return {one.container.syntax for one in self._instances}

    def _describe(self) -> ImageInfo:
        pixels, found = self._pixels, self._arrangement
        bands = {"band": pixels.bands} if pixels.bands > 1 else {}
        sizes = dict(zip(found.axes, found.shape, strict=True)) | bands
        sizes |= {"y": pixels.rows, "x": pixels.columns}
        first = self._instances[0]
        is_private = is_deidentified(self._spec)
        burned_in, remarks = burned_in_of(self._instances) if is_private else ({}, ())
        return ImageInfo(
            name=str(self._spec.options.get("name") or series_name(first)),
            axes=tuple(sizes),
            shape=tuple(sizes.values()),
            dtype=pixels.dtype,
            valid_range=valid_range_of(self._instances),
            padding=padding_of([one.attributes for one in self._instances]),
            stream_block=self._stream_block(sizes),
            lossy_refusal=refusal_of(first.pixels, first.attributes),
            medical=found.geometry,
            attributes=told(
                attributes_of(self._instances, found, self._photometric), self._spec.options
            )
            | burned_in,
            coordinates=found.coordinates,
            labels=found.labels,
            remarks=(
                *self._spec.options.get("remarks", ()),
                *self._spec.options.get(BESIDE, ()),
                *siblings_remark(self._spec.options.get(SIBLINGS, ())),
                *dict.fromkeys(remark for one in self._instances for remark in one.remarks),
                *differing_remarks(self._instances),
                *found.remarks,
                *remarks,
            ),
        )


def _file_print(instance: Instance) -> dict[str, Any]:
    container = instance.container
    source = open_file(container.path)
    try:
        head = source.read(0, min(instance.element.value_offset, 2**20))
    finally:
        source.close()
    return asdict(FilePrint.of(head, container.file_size, container.mtime_ns))
