"""A source format that tilepress does not have: portable graymaps (PGM), 8 or 16 bits deep.

It shows what a new format has to bring: this module, and a line in ``tilepress.pipeline.formats``.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tilepress.errors import DamagedSource
from tilepress.pipeline.image.format import Candidate, Certainty, Export, ExportPart, Format
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.source import ExportReader, SourceSpec, TileSource

__all__ = ["PGM"]

_HEADER = re.compile(rb"P5\s(\d+)\s(\d+)\s(\d+)\s")


class PgmSource:
    """One graymap, by memory map."""

    def __init__(self, spec: SourceSpec) -> None:
        self._spec, self._path = spec, Path(spec.paths[0])
        with self._path.open("rb") as file:
            match = _HEADER.match(file.read(200))
        if match is None:
            raise DamagedSource(f"opening {self._path}: its header is malformed")
        self._header = match[0]
        width, height, largest = map(int, match.groups())
        self._samples = np.memmap(
            self._path, ">u2" if largest > 255 else "u1", "r", match.end(), (height, width)
        )
        self._info = ImageInfo(
            name=str(spec.options.get("name") or self._path.stem),
            axes=("y", "x"),
            shape=(height, width),
            dtype=self._samples.dtype.newbyteorder("="),
            valid_range=(0, largest),
        )

    @property
    def info(self) -> ImageInfo:
        return self._info

    @property
    def spec(self) -> SourceSpec:
        return self._spec

    def read(self, box: Box) -> npt.NDArray[Any]:
        return np.ascontiguousarray(self._samples[box.slices], self._info.dtype)

    def read_mask(self, box: Box) -> npt.NDArray[np.uint8]:
        return np.full(box.shape, 255, np.uint8)

    def source_items(self) -> Iterator[tuple[str, bytes]]:
        yield "origin", json.dumps({"kind": "pgm", "name": self._path.name}).encode()
        yield "header", self._header

    def fingerprint(self) -> dict[str, Any]:
        return {"sha256": hashlib.sha256(self._path.read_bytes()).hexdigest()}

    def close(self) -> None:
        pass


def _write(reader: ExportReader, out: Path, _: ExportPart) -> list[Path]:
    samples = reader.read(Box((0, 0), reader.shape))
    big_endian = samples.astype(samples.dtype.newbyteorder(">"))
    out.write_bytes(reader.source_bytes("header") + big_endian.tobytes())
    return [out]


class _Pgm(Format):
    kinds = ("pgm",)
    names = ("PGM",)
    suffixes = (".pgm",)
    exports = (Export(name="pgm", write=_write, suffixes=(".pgm",), wanted="NAME.pgm"),)

    def sniff(self, file: Candidate) -> Certainty:
        return Certainty.MARKED if _HEADER.match(file.head) else Certainty.NONE

    def open(self, spec: SourceSpec) -> TileSource:
        return PgmSource(spec)


PGM: Format = _Pgm()
