"""The one decoding loop: words to symbols to residuals to samples, step by step of the wavefront.

What decodes a sample changes the prediction of the next, so that nothing of this can be done apart.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from tilepress.codecs.wave.compiled import jit
from tilepress.codecs.wave.layout import FRACTION_BITS, PROPERTIES
from tilepress.codecs.wave.predictor import (
    HALF,
    ONE,
    corrected,
    predict_linear,
    predict_network,
    workspace,
)
from tilepress.codecs.wave.properties import step_leaves, step_properties
from tilepress.codecs.wave.rans import LOW, TABLE_BITS, read_raw
from tilepress.codecs.wave.symbols import ESCAPE_BITS, TOKENS, fold, table_of, unfold
from tilepress.codecs.wave.wavefront import (
    active_rows,
    empty_sheared,
    pad_edges,
    pitch_of,
    position_of,
    steps,
    tap,
)

__all__ = ["decode_plane"]


@jit
def decode_plane(
    states: Any,
    words: Any,
    raw: Any,
    refs: Any,
    ref_errors: Any,
    n_refs: int,
    mask: Any,
    height: int,
    width: int,
    top: int,
    first: int,
    classes: Any,
    net: Any,
    gain: int,
    flags: Any,
    table_map: Any,
    cumulative: Any,
    used: Any,
    lookup: Any,
    nodes: Any,
    leaf_tables: Any,
) -> Any:
    """Decode a plane. Returns (own, errors), sheared, and 0, or a nonzero fault code.

    lookup : (tables, 256) uint8, first candidate symbol of each 1/256 of the interval.
    nodes, leaf_tables : of ``tree.TreeArrays``; ``flags`` are by leaf then, and own tables follow
    the model's.
    Faults: 1 words ran out, 2 raw bits ran out, 3 token out of range, 4 sample out of range,
    5 words, bits or states are left over.
    """
    own = empty_sheared(height, width, first)  # what surrounds the plane above and to the left
    errors = empty_sheared(height, width, 0)
    pitch = pitch_of(height, width)
    work = workspace(height, width)
    linear, pattern = work.linear, work.pattern
    correction, context = work.correction, work.context
    limit = np.int32(top) << np.int32(FRACTION_BITS)
    rows = len(linear)
    means = np.empty(rows, np.int32)
    ruled_out = np.empty((2, rows), np.int32)
    open_ = np.empty(rows, np.bool_)
    masked = mask.shape[0] > 0
    lanes = len(states)
    lane, word_at, bit_at = 0, 0, 0
    states = states.copy()
    total_bits = len(raw) * 8
    slot_mask = np.uint32((1 << TABLE_BITS) - 1)
    table_bits = np.uint32(TABLE_BITS)
    flagged = flags.max() > 0
    grown = len(nodes) > 0
    wanted = np.zeros(PROPERTIES, np.bool_)
    for k in range(len(nodes)):
        wanted[nodes[k, 0]] = True
    properties = np.empty((PROPERTIES, rows if grown else 0), np.int32)
    model_tables = len(table_map)
    for t in range(steps(height, width)):
        y0, y1 = active_rows(t, height, width)
        n = y1 - y0
        at = position_of(t, y0, pitch)
        predict_linear(own, refs, ref_errors, n_refs, at, pitch, n, top, classes, work)
        predict_network(errors, ref_errors, n_refs, at, pitch, n, top, net, work)
        row = tap(own, at, pitch, 0, 0, n)
        west = tap(own, at, pitch, 0, -1, n)
        north = tap(own, at, pitch, -1, 0, n)
        error_row = tap(errors, at, pitch, 0, 0, n)
        for i in range(n):
            means[i] = corrected(linear[i], correction[i], gain, limit)
        if grown:
            step_properties(
                own,
                refs,
                ref_errors,
                n_refs,
                errors,
                at,
                pitch,
                n,
                context,
                means,
                wanted,
                properties,
            )
            step_leaves(nodes, properties, n, pattern)
        for i in range(n):
            open_[i] = True
            if masked and mask[at + i]:
                row[i] = (west[i] + north[i] + 1) >> 1
                open_[i] = False
        if flagged:
            ruled_out[:, :n] = -1
            for kind in range(2):
                for i in range(n):
                    p = np.uint32(flags[kind, pattern[i]])
                    if p == 0 or not open_[i] or (kind == 1 and west[i] == north[i]):
                        continue
                    state = states[lane]
                    slot = state & slot_mask
                    same = slot < p
                    if same:
                        state = p * (state >> table_bits) + slot
                    else:
                        state = (np.uint32(32768) - p) * (state >> table_bits) + slot - p
                    if state < LOW:
                        if word_at >= len(words):
                            return own, errors, 1
                        state = (state << np.uint32(16)) | np.uint32(words[word_at])
                        word_at += 1
                    states[lane] = state
                    lane = lane + 1 if lane + 1 < lanes else 0
                    value = west[i] if kind == 0 else north[i]
                    if same:
                        row[i] = value
                        error_row[i] = (value << FRACTION_BITS) - linear[i]
                        open_[i] = False
                    else:
                        pred = (means[i] + HALF) >> FRACTION_BITS
                        flip = means[i] - pred * ONE < 0
                        ruled_out[kind, i] = fold(value - pred, top - pred, pred, flip)
        for i in range(n):
            if not open_[i]:
                continue
            pred = (means[i] + HALF) >> FRACTION_BITS
            fraction = means[i] - pred * ONE
            table = table_map[table_of(context[i], fraction)]
            if grown and leaf_tables[pattern[i]] > 0:
                table = model_tables - 1 + leaf_tables[pattern[i]]
            state = states[lane]
            slot = state & slot_mask
            starts = cumulative[table]
            symbol = np.int32(lookup[table, slot >> np.uint32(TABLE_BITS - 8)])
            while np.uint32(starts[symbol + 1]) <= slot:
                symbol += 1
            start = np.uint32(starts[symbol])
            state = (np.uint32(starts[symbol + 1]) - start) * (state >> table_bits) + slot - start
            if state < LOW:
                if word_at >= len(words):
                    return own, errors, 1
                state = (state << np.uint32(16)) | np.uint32(words[word_at])
                word_at += 1
            states[lane] = state
            lane = lane + 1 if lane + 1 < lanes else 0
            token = symbol
            if symbol == used[table]:
                if bit_at + ESCAPE_BITS > total_bits:
                    return own, errors, 2
                token = np.int32(read_raw(raw, bit_at, ESCAPE_BITS))
                bit_at += ESCAPE_BITS
                if token >= TOKENS:
                    return own, errors, 3
            folded = token
            if token >= 16:
                extra = ((token - 16) >> 2) + 2
                if bit_at + extra > total_bits:
                    return own, errors, 2
                folded = ((4 + ((token - 16) & 3)) << extra) + np.int32(
                    read_raw(raw, bit_at, extra)
                )
                bit_at += extra
            if flagged:
                low, high = ruled_out[0, i], ruled_out[1, i]
                if high >= 0 and (low < 0 or high < low):
                    low, high = high, low
                if low >= 0 and folded >= low:
                    folded += 1
                if high >= 0 and folded >= high:
                    folded += 1
            x = pred + unfold(folded, top - pred, pred, fraction < 0)
            if x < 0 or x > top:
                return own, errors, 4
            row[i] = x
            error_row[i] = (x << FRACTION_BITS) - linear[i]
        pad_edges(own, t, y0, n, height, width)
        pad_edges(errors, t, y0, n, height, width)
    if word_at != len(words) or bit_at + 8 <= total_bits:
        return own, errors, 5
    for k in range(lanes):
        if states[k] != LOW:
            return own, errors, 5
    return own, errors, 0
