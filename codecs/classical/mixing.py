"""A Karhunen-Loève transform across planes: what bands have in common is coded once."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs.wave.wire import Reader
from tilepress.errors import InvalidRecord

__all__ = ["Mixing", "fitted"]

Planes = npt.NDArray[np.float64]


class Mixing(NamedTuple):
    """Means of planes, and the rows of an orthonormal matrix, the strongest first."""

    means: npt.NDArray[np.float32]
    """(n,)."""
    matrix: npt.NDArray[np.float32]
    """(n, n)."""

    def forward(self, planes: Planes) -> Planes:
        """Return the components of planes (n, y, x)."""
        flat = planes.reshape(len(planes), -1) - self.means.astype(np.float64)[:, None]
        return (self.matrix.astype(np.float64) @ flat).reshape(planes.shape)

    def inverse(self, components: Planes) -> Planes:
        flat = self.matrix.astype(np.float64).T @ components.reshape(len(components), -1)
        flat += self.means.astype(np.float64)[:, None]
        return flat.reshape(components.shape)

    def pack(self) -> bytes:
        return self.means.astype("<f4").tobytes() + self.matrix.astype("<f4").tobytes()

    @classmethod
    def read(cls, reader: Reader, count: int) -> Mixing:
        """Read what ``pack`` gave, not trusted; raises InvalidRecord."""
        numbers = np.frombuffer(bytes(reader.take(4 * count * (count + 1))), "<f4")
        if not np.isfinite(numbers).all():
            raise InvalidRecord("decoding a payload: its transform is not finite")
        return cls(numbers[:count], numbers[count:].reshape(count, count))


def fitted(planes: Planes) -> Mixing:
    """Return the transform of planes (n, y, x) that leaves no two of them correlated."""
    flat = planes.reshape(len(planes), -1)
    means = flat.mean(axis=1).astype(np.float32)
    _, vectors = np.linalg.eigh(np.atleast_2d(np.cov(flat)))
    return Mixing(means, vectors.T[::-1].astype(np.float32))
