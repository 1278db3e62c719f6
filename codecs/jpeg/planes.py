"""All coefficients of a chunk ↔ bytes, component by component."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.jpeg.coefficients import (
    DONE,
    NO_ROOM,
    SLOTS,
    WEIGHT_SETS,
    code_component,
)
from tilepress.codecs.jpeg.layout import Layout
from tilepress.codecs.jpeg.markers import damaged
from tilepress.codecs.jpeg.mixing import finish, start
from tilepress.codecs.jpeg.priors import Priors
from tilepress.codecs.jpeg.stream import Blocks

__all__ = ["LUMINANCE", "ALIKE", "decode_blocks", "encode_blocks", "learn_blocks", "memory_of"]

LUMINANCE, ALIKE = 0, 1
"""What components are: one of brightness and two of colour; or all of them alike, as R, G, B."""

_CAP = 255


def kinds_of(layout: Layout, family: int) -> list[int]:
    """Return which slots each component uses."""
    count = len(layout.planes)
    return [0 if i == 0 or i == 3 else (i if family == LUMINANCE else 3) for i in range(count)]


def encode_blocks(blocks: Blocks, layout: Layout, family: int, priors: Priors, room: int) -> bytes:
    """Return the code of all blocks; ``room`` is about how many bytes it may have."""
    while True:
        out = np.empty(room, np.uint8)
        size = _run(blocks, layout, family, priors.slots.copy(), priors.weights.copy(), out, False)
        if size >= 0:
            return out[:size].tobytes()
        room *= 2


def decode_blocks(
    data: memoryview, layout: Layout, family: int, priors: Priors
) -> Blocks:
    """Return the blocks of a code; raises InvalidRecord for what no blocks have."""
    blocks = np.zeros((layout.blocks, 64), np.int16)
    code = np.frombuffer(data, np.uint8).copy()
    if _run(blocks, layout, family, priors.slots.copy(), priors.weights.copy(), code, True) < 0:
        raise damaged("its coefficients are impossible")
    return blocks


def learn_blocks(blocks: Blocks, layout: Layout, family: int, priors: Priors) -> int:
    """Let priors learn from blocks, in place; returns the size of their code."""
    out = np.empty(blocks.size * 2 + (1 << 16), np.uint8)
    return _run(blocks, layout, family, priors.slots, priors.weights, out, False)


def memory_of(layout: Layout) -> int:
    """Return the bytes that decoding blocks takes."""
    return layout.blocks * (128 + 12) + 4 * 4 * SLOTS + 4 * 32 * WEIGHT_SETS


def _run(
    blocks: Blocks, layout: Layout, family: int, slots: npt.NDArray[np.uint32],
    weights: npt.NDArray[np.int32], data: npt.NDArray[np.uint8], decoding: bool,
) -> int:  # fmt: skip
    """Code all components; returns the number of bytes, or −1 where it cannot go on."""
    state = start(data, decoding)
    counts = [np.zeros(plane.owners.shape, np.int32) for plane in layout.planes]
    misses = [np.zeros(plane.owners.shape, np.int32) for plane in layout.planes]
    for index, kind in enumerate(kinds_of(layout, family)):
        plane = layout.planes[index]
        other = max(index - 1, 0)
        cross = layout.planes[other]
        scale = (cross.v // plane.v, cross.h // plane.h)
        usable = index > 0 and scale[0] * plane.v == cross.v and scale[1] * plane.h == cross.h
        if usable:
            rows, columns = plane.owners.shape
            usable = (
                rows * scale[0] <= cross.owners.shape[0] + 0
                and columns * scale[1] <= cross.owners.shape[1]
            )
        result = code_component(
            state, data, decoding, blocks, plane.first, *plane.owners.shape, plane.owners,
            layout.steps[index], cross.first if usable else -1, np.array(scale),
            cross.owners.shape[1], scale == (1, 1), slots[kind], weights[kind],
            counts[index], counts[other], misses[index], misses[other], _CAP,
        )  # fmt: skip
        if result != DONE:
            assert decoding or result == NO_ROOM
            return -1
    return 0 if decoding else int(finish(state, data))
