"""The backend that every machine has; it works in the thread that asks."""

from __future__ import annotations

import numpy as np

from tilepress.codecs.wave.backend import (
    Backend,
    Choose,
    DecodedStream,
    PlaneStream,
    PlaneToDecode,
    PlaneToEncode,
)
from tilepress.codecs.wave.native.planes import decode_plane, predict_plane
from tilepress.codecs.wave.rans import LANES, lanes_for, pack_raw, rans_encode
from tilepress.codecs.wave.symbols import flag_probabilities, symbols
from tilepress.codecs.wave.tree import NO_TREE

__all__ = ["CPU"]


class _Cpu:
    """See ``Backend``."""

    def encode_stream(self, plane: PlaneToEncode, choose: Choose) -> PlaneStream:
        found = predict_plane(plane)
        coding = choose(found)
        choices = coding.choices
        tree = NO_TREE if choices.tree is None else choices.tree.arrays()
        cumulative, used, _ = tree.after(plane.cumulative, plane.used, plane.lookup)
        table_map = np.arange(len(used), dtype=np.int32)
        table_map[: len(choices.table_map)] = choices.table_map
        starts, sizes, bits, counts = symbols(
            coding.tables,
            coding.folded,
            coding.matches,
            coding.candidates,
            found.begins,
            flag_probabilities(choices.match_levels),
            table_map,
            cumulative,
            used,
        )
        states, words = rans_encode(starts, sizes, LANES[-1])
        lanes = min(lanes_for(len(words), len(coding.folded)), coding.lanes)
        if lanes != LANES[-1]:
            states, words = rans_encode(starts, sizes, lanes)
        return PlaneStream(choices, states, words, pack_raw(bits, counts), found.errors)

    def decode_stream(self, plane: PlaneToDecode) -> DecodedStream:
        return decode_plane(plane)


CPU: Backend = _Cpu()
