"""All coefficients of a chunk ↔ bytes, component by component."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.coefficients import DONE, NO_ROOM, Cross, Known, code_component
from tilepress.codecs.jpeg.contexts import SLOTS, WEIGHT_SETS
from tilepress.codecs.jpeg.layout import Layout
from tilepress.codecs.jpeg.markers import damaged
from tilepress.codecs.jpeg.mixing import CAP, finish, start
from tilepress.codecs.jpeg.priors import Priors
from tilepress.codecs.jpeg.stream import Blocks

__all__ = ["ALIKE", "LUMINANCE", "decode_blocks", "encode_blocks", "learn_blocks", "memory_of"]

LUMINANCE, ALIKE = 0, 1
"""What components are: one of brightness and two of colour; or all of them alike, as R, G, B."""


class _Learner:
    """Priors as the coder changes them: copies, of those kinds of components that there are."""

    def __init__(self, priors: Priors, keep: bool = False) -> None:
        self._priors, self._keep = priors, keep
        self._used: dict[int, tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]] = {}

    def of(self, kind: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.int32]]:
        """Return slots and weights of a kind; with ``keep`` the priors' own."""
        if kind not in self._used:
            slots, weights = self._priors.slots[kind], self._priors.weights[kind]
            self._used[kind] = (slots, weights) if self._keep else (slots.copy(), weights.copy())
        return self._used[kind]


def kinds_of(layout: Layout, family: int) -> list[int]:
    """Return which slots each component uses."""
    count = len(layout.planes)
    return [0 if i == 0 or i == 3 else (i if family == LUMINANCE else 3) for i in range(count)]


def encode_blocks(blocks: Blocks, layout: Layout, family: int, priors: Priors, room: int) -> bytes:
    """Return the code of all blocks; ``room`` is about how many bytes it may have."""
    while True:
        out = np.empty(room, np.uint8)
        size = _run(blocks, layout, family, _Learner(priors), out, decoding=False)
        if size >= 0:
            return out[:size].tobytes()
        room *= 2


def decode_blocks(data: memoryview, layout: Layout, family: int, priors: Priors) -> Blocks:
    """Return the blocks of a code; raises InvalidRecord for what no blocks have."""
    blocks = np.zeros((layout.blocks, 64), np.int16)
    code = np.frombuffer(data, np.uint8)
    if _run(blocks, layout, family, _Learner(priors), code, decoding=True) < 0:
        raise damaged("its coefficients are impossible")
    return blocks


def learn_blocks(
    blocks: Blocks, layout: Layout, family: int, priors: Priors, cap: int = CAP
) -> int:
    """Let priors learn from blocks, in place; returns the size of their code."""
    out = np.empty(blocks.size * 2 + (1 << 16), np.uint8)
    return _run(blocks, layout, family, _Learner(priors, keep=True), out, False, cap)


def memory_of(layout: Layout) -> int:
    """Return the bytes that decoding blocks takes."""
    return layout.blocks * (128 + 12) + 4 * 4 * SLOTS + 4 * 32 * WEIGHT_SETS


def _run(
    blocks: Blocks, layout: Layout, family: int, learner: _Learner, data: npt.NDArray[np.uint8],
    decoding: bool, cap: int = CAP,
) -> int:  # fmt: skip
    """Code all components; returns the number of bytes, or −1 where it cannot go on."""
    state = start(data, decoding, cap)
    known: list[Known] = []
    for index, kind in enumerate(kinds_of(layout, family)):
        plane = layout.planes[index]
        shape = plane.owners.shape
        known.append(Known(np.zeros(shape, np.int32), np.zeros(shape, np.int32)))
        result = code_component(
            state, data, decoding, blocks, plane.first, plane.owners, layout.steps[index],
            _cross(layout, index, known), *learner.of(kind), known[index],
        )  # fmt: skip
        if result != DONE:
            assert decoding or result == NO_ROOM
            return -1
    return 0 if decoding else int(finish(state, data))


def _cross(layout: Layout, index: int, known: list[Known]) -> Cross | None:
    """Return the component before one, where it has a whole number of blocks for each of its."""
    if index == 0:
        return None
    plane, cross = layout.planes[index], layout.planes[index - 1]
    scale = (cross.v // plane.v, cross.h // plane.h)
    rows, columns = plane.owners.shape
    has = cross.owners.shape
    usable = scale[0] * plane.v == cross.v and scale[1] * plane.h == cross.h
    if not usable or rows * scale[0] > has[0] or columns * scale[1] > has[1]:
        return None
    return Cross(cross.first, scale, has[1], known[index - 1])
