"""What the encoder chooses once it knows a plane's predictions: gain, flags, tables or a tree.

Every choice is by sums of integers, so that every machine writes the same bytes.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tilepress.codecs.native.library import bind, instruction_set
from tilepress.codecs.wave.backend import Choices, Coding, PlaneToEncode, Prediction
from tilepress.codecs.wave.costs import BIT, flag_levels
from tilepress.codecs.wave.grow import grow_tree
from tilepress.codecs.wave.layout import LOOK_STRIDE, MATCH_CONTEXTS
from tilepress.codecs.wave.model import COST_UNIT, TABLES, WaveModel
from tilepress.codecs.wave.symbols import TOKENS, flag_probabilities, fold_plane

__all__ = [
    "GAINS",
    "MIN_FIT_SAMPLES",
    "best_tables",
    "choose_coding",
    "choose_flags",
    "choose_gain",
    "choose_tables",
    "count_matches",
    "count_tokens",
    "gain_costs",
    "plain_coding",
    "with_tree",
]

GAINS = (0, 2, 4, 6, 7, 8, 9, 10, 12)
"""Gains that the encoder tries."""
MIN_FIT_SAMPLES = 256
"""Samples below which a plane has neither linear weights nor a tree of its own."""
_MATCH_SHARE = 0.01
"""Samples that must equal a neighbour before match flags are looked into."""
_FLAG_BITS = 16
"""What a match flag must save at least: about what its probability costs."""
_MAP_BITS = 20
"""What exchanging a table must save at least."""


def choose_coding(plane: PlaneToEncode, found: Prediction, model: WaveModel) -> Coding:
    """Return how to code a plane whose prediction is known."""
    return with_tree(plane, found, model, *plain_coding(plane, found, model))[0]


def with_tree(
    plane: PlaneToEncode,
    found: Prediction,
    model: WaveModel,
    plain: Coding,
    bits: float,
    flagged: bool | None = None,
) -> tuple[Coding, float]:
    """Return how to code a plane, by a tree where that takes less than ``plain``, and the bits.

    flagged : whether leaves may have match flags; None: where ``plain`` has some.
    """
    n = len(plain.folded)
    if flagged is None:
        flagged = bool(plain.choices.match_levels.any())
    if n < MIN_FIT_SAMPLES or bits > plane.trees.bits * n:
        return plain, bits
    gain, candidates = plain.choices.gain, plain.candidates
    grown = grow_tree(
        plane,
        found.errors,
        found.contexts,
        plane_means(found.linears, found.corrections, gain, plane.top),
        found.begins,
        plain.tables,
        plain.folded,
        candidates if flagged else candidates[:, :0],
        model.costs,
        plane.trees.samples,
    )
    if grown is None or grown.bits >= bits * (1 - plane.trees.share):
        return plain, bits
    tree, leaves = grown.tree, grown.leaves
    own = tree.tables[leaves]
    tables = np.where(own > 0, own + (TABLES - 1), plain.tables).astype(np.int16)
    choices = Choices(gain, tree.match_levels(), np.arange(TABLES, dtype=np.int32), tree)
    return Coding(choices, tables, plain.folded, candidates, leaves), grown.bits


def plain_coding(
    plane: PlaneToEncode, found: Prediction, model: WaveModel, gain: int | None = None
) -> tuple[Coding, float]:
    """Return how to code a plane without a tree, and the bits that this takes.

    gain : None: that of GAINS which leaves least to code.
    """
    if not model.hidden:
        gain = 0  # no network, no correction
    elif gain is None:
        gain = choose_gain(found.linears, found.corrections, found.samples[0], found.begins)
    may_match = found.matching > _MATCH_SHARE * found.looked_at
    tables, folded, candidates = fold_plane(
        found.linears,
        found.corrections,
        found.contexts,
        found.samples,
        gain,
        plane.top,
        may_match,
    )
    match_levels, table_map, bits = _choose_flags_and_tables(
        tables, folded, found.patterns, candidates if may_match else None, model
    )
    choices = Choices(gain, match_levels, table_map)
    return Coding(choices, tables, folded, candidates, found.patterns), bits


def choose_gain(
    linears: npt.NDArray[np.int32],
    corrections: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
) -> int:
    """Return the gain of GAINS that leaves least to code; all arrays are ``predict_plane``'s."""
    return GAINS[int(gain_costs(linears, corrections, samples, begins).argmin())]


def _choose_flags_and_tables(
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    matches: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32] | None,
    model: WaveModel,
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], float]:
    """Return levels of the match flags and the exchanged tables, whichever of both costs less.

    And what that is, in bits.
    """
    none = np.zeros((2, MATCH_CONTEXTS), np.int32)
    nobody = np.zeros((2, 0), np.int32)
    plain_map, plain_bits = choose_tables(
        count_tokens(tables, folded, matches, nobody, none, TABLES), model
    )
    if candidates is None:
        return none, plain_map, plain_bits
    counted = count_matches(tables, folded, matches, candidates, model.costs)
    levels, flag_bits = choose_flags(counted)
    if not levels.any():
        return none, plain_map, plain_bits
    flagged_map, token_bits = choose_tables(
        count_tokens(tables, folded, matches, candidates, flag_probabilities(levels), TABLES), model
    )
    if plain_bits <= flag_bits + token_bits:
        return none, plain_map, plain_bits
    return levels, flagged_map, flag_bits + token_bits


def choose_flags(counted: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int32], float]:
    """Return the match flags that pay and the bits that they and their description cost.

    The flags are (2, MATCH_CONTEXTS) int32: 1 + index into MATCH_LEVELS, or 0.
    """
    levels = np.zeros((2, MATCH_CONTEXTS), np.int32)
    seen = np.flatnonzero((counted[:, :, 0] > 0).any(axis=0))
    if not len(seen):
        return levels, 0.0
    level, spent = flag_levels(counted[:, seen, :2])
    total = counted[:, seen, :2].sum(-1)
    cost, saved = np.moveaxis(counted[:, seen, 2:] * (BIT // COST_UNIT), -1, 0)
    gain = np.where(total > 0, cost + saved - spent, 0) - _FLAG_BITS * BIT
    # "as north" is counted where "as west" failed, so it is only coded after it
    second = gain[1] > 0
    first = gain[0] + np.maximum(gain[1], 0) > 0
    coded = np.stack([first, first & second])
    levels[:, seen] = np.where(coded, level + 1, 0)
    return levels, float((spent + _FLAG_BITS * BIT)[coded].sum() / BIT)


def choose_tables(
    counted: npt.NDArray[np.int64], model: WaveModel
) -> tuple[npt.NDArray[np.int32], float]:
    """Return (TABLES,) int32, the table that codes each table's tokens best, and the bits then."""
    best, cost, saved = best_tables(counted, model.costs)
    pays = saved > _MAP_BITS * COST_UNIT
    bits = (cost.sum() - (saved - _MAP_BITS * COST_UNIT)[pays].sum()) / COST_UNIT
    return np.where(pays, best, np.arange(TABLES)).astype(np.int32), float(bits)


# Counting what a choice costs ---------------------------------------------------------------------


_means = bind("tp_means", "iinwwi")
_gain_costs = bind("tp_gain_costs", "wiiilnniwl")
_count_matches = bind("tp_count_matches", "hiiinil")
_count_tokens = bind("tp_count_tokens", "hiiinil")
_best_tables = bind("tp_best_tables", "linill")


def plane_means(
    linears: npt.NDArray[np.int32], corrections: npt.NDArray[np.int32], gain: int, top: int
) -> npt.NDArray[np.int32]:
    """Return the means of a plane's samples, (N,) in 1/64 steps, under a gain."""
    means = np.empty(len(linears), np.int32)
    _means(linears, corrections, len(linears), gain, top, means)
    return means


def gain_costs(
    linears: npt.NDArray[np.int32],
    corrections: npt.NDArray[np.int32],
    samples: npt.NDArray[np.int32],
    begins: npt.NDArray[np.int64],
) -> npt.NDArray[np.int64]:
    """Return (GAINS,), about what residuals cost with each gain, in eighths of a bit.

    Logarithms of the errors, not squares: where most samples are nearly exact, the few others would
    decide. An error counts as no less than a quarter of a step.
    """
    costs, gains = np.zeros(len(GAINS), np.int64), np.array(GAINS, np.int32)
    stepwise = (begins, len(begins) - 1, LOOK_STRIDE)
    given = (linears, corrections, samples, *stepwise, gains, len(gains))
    _gain_costs(instruction_set(), *given, costs)
    return costs


def count_matches(
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    matches: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    costs: npt.NDArray[np.int32],
) -> npt.NDArray[np.int64]:
    """Return (2, MATCH_CONTEXTS, 4), for the flags "as west" and "as north" (of the rest):

    how often it is so, how often not, the bits that samples which match cost without the flag, and
    the bits that the others save because the candidate is ruled out.
    costs : (tables, TOKENS), bits of a token with its raw bits, in the unit of the result's.
    """
    out = np.zeros((2, MATCH_CONTEXTS, 4), np.int64)
    _count_matches(tables, folded, matches, candidates, len(folded), costs, out)
    return out


def count_tokens(
    tables: npt.NDArray[np.int16],
    folded: npt.NDArray[np.int32],
    matches: npt.NDArray[np.int32],
    candidates: npt.NDArray[np.int32],
    flags: npt.NDArray[np.int32],
    n_tables: int,
) -> npt.NDArray[np.int64]:
    """Return (tables, TOKENS): how often each token is coded in each table, flags applied."""
    out = np.zeros((n_tables, TOKENS), np.int64)
    flagged = bool(flags.any())
    applied = (candidates if flagged else None, len(folded), flags if flagged else None)
    _count_tokens(tables, folded, matches, *applied, out)
    return out


def best_tables(
    counted: npt.NDArray[np.int64], costs: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Return for each table the one whose costs suit its tokens best, its own cost, the saving.

    counted, costs : (tables, TOKENS). Of equals the lowest wins.
    """
    n = len(counted)
    best, own, saved = np.empty(n, np.int32), np.empty(n, np.int64), np.empty(n, np.int64)
    _best_tables(counted, costs, n, best, own, saved)
    return best, own, saved
