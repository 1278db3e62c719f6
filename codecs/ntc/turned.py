"""Planes of a chunk turned apart and transformed, and what coding them at a step gives."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind
from tilepress.codecs.ntc.backend import Backend
from tilepress.codecs.ntc.joint import fit_joint
from tilepress.codecs.ntc.klt import analysis_matrix
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.payload import MOST_BANDS
from tilepress.codecs.ntc.plane import CodedPlane, padded_sides

__all__ = ["Trial", "Turned", "before"]

Floats = npt.NDArray[np.float32]

_turn_bands = bind("tp_turn_bands", "snnws")
_squared = bind("tp_squared", "snnnsF", "f")


@dataclass(slots=True)
class Turned:
    """Planes, ``bands`` of them at a time turned into components."""

    bands: int
    matrix: npt.NDArray[np.int16] | None
    """The decoder's; None where nothing is turned."""
    planes: Floats
    """(planes, y, x) before the transform, which may be of fewer rows and columns than …"""
    backend: Backend
    _coefficients: dict[int, Floats] = field(default_factory=dict)
    """… by the kind of transform, (planes, padded y, padded x); made when they are asked for."""

    @classmethod
    def of(cls, planes: Floats, bands: int, backend: Backend) -> Turned:
        """Return planes less their means, (planes, y, x), turned; they themselves stay."""
        if not 2 <= bands <= MOST_BANDS:
            return cls(bands, None, planes, backend)
        frames = planes.reshape(-1, bands, *planes.shape[1:])
        together = np.ascontiguousarray(frames.swapaxes(0, 1))
        matrix = fit_joint(together.reshape(bands, -1, planes.shape[2]))
        turn = analysis_matrix(matrix).astype(np.float32)
        made, cells = planes.copy(), planes[0].size
        for first in range(0, len(made), bands):
            _turn_bands(made[first : first + bands], cells, cells, bands, turn)
        return cls(bands, matrix, made, backend)

    def trial(self, kind: int, step: float, model: NtcModel, price: float) -> Trial:
        """Return planes coded with a transform."""
        scale = float(np.float32(1 / step))
        made = self._transformed(kind) * np.float32(scale)
        coded: list[CodedPlane] = []
        height, width = self.planes.shape[1:]
        squared = 0.0
        for index, plane in enumerate(made):
            context = before(index, self.bands)
            maps = None if context is None else coded[context].maps
            coded.append(self.backend.encode(kind, plane, maps, model, price))
            squared += _squared(plane, plane.shape[1], height, width, self.planes[index], scale)
        bits = sum(c.bits for c in coded)
        bits += 0 if self.matrix is None else 16 * self.matrix.size
        return Trial(self, kind, made, coded, bits, squared, bits + price * squared)

    def _transformed(self, kind: int) -> Floats:
        if kind not in self._coefficients:
            height, width = self.planes.shape[1:]
            rows, columns = padded_sides(kind, height, width)
            padding = ((0, 0), (0, rows - height), (0, columns - width))
            padded = np.ascontiguousarray(np.pad(self.planes, padding, mode="edge"))
            self.backend.transform(kind, padded)
            self._coefficients[kind] = padded
        return self._coefficients[kind]


@dataclass(slots=True)
class Trial:
    """A chunk coded in one way, with one transform."""

    way: Turned
    kind: int
    made: Floats
    """(planes, padded y, padded x) as decoded, in steps."""
    coded: list[CodedPlane]
    bits: float
    """Of values, and of the matrix."""
    squared: float
    """Squared errors, in steps."""
    cost: float
    """Bits, with those that errors count as."""


def before(index: int, bands: int) -> int | None:
    """Return the plane whose values are a plane's context: the band before, or the frame before."""
    if index % bands:
        return index - 1
    return index - bands if index >= bands else None
