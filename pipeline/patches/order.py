"""Choose in which order patches are drawn: shuffled over many blocks, each decoded once.

What is numbered block by block is dealt to ranks, and to the workers of each, in whole blocks but
for one at each seam. A worker draws at random from several blocks at a time, as many as it may keep
decoded; where one has no patches left, the next takes its place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from tilepress.errors import UsageError

__all__ = ["Run", "deal", "in_batches", "shuffled"]

Run = tuple[int, int]
"""Number of the first patch of a block, and how many there are."""


def deal(runs: Sequence[Run], sizes: Sequence[int]) -> list[list[Run]]:
    """Return shares of so many patches each, in the order of the runs; what is left is left."""
    shares: list[list[Run]] = []
    waiting = iter(runs)
    start, count = next(waiting, (0, 0))
    for size in sizes:
        share: list[Run] = []
        while size > 0:
            if count == 0:
                start, count = next(waiting)
            taken = min(size, count)
            share.append((start, taken))
            start, count, size = start + taken, count - taken, size - taken
        shares.append(share)
    return shares


def shuffled(runs: Sequence[Run], at_once: int, random: np.random.Generator) -> Iterator[int]:
    """Yield the patches of runs, each time of one of ``at_once`` runs."""
    waiting = iter(runs)
    open_runs: list[list[int]] = []

    def admit() -> None:
        for start, count in waiting:
            open_runs.append((start + random.permutation(count)).tolist())
            return

    for _ in range(max(1, at_once)):
        admit()
    while open_runs:
        number = int(random.integers(len(open_runs)))
        yield open_runs[number].pop()
        if not open_runs[number]:
            open_runs[number] = open_runs[-1]
            open_runs.pop()
            admit()


def in_order(runs: Sequence[Run]) -> Iterator[int]:
    """Yield the patches of runs one after another."""
    for start, count in runs:
        yield from range(start, start + count)


def in_batches(
    runs: Sequence[Run],
    *,
    batch: int,
    workers: int,
    rank: int,
    world: int,
    at_once: int,
    random: np.random.Generator | None,
) -> Iterator[int]:
    """Yield the patches of one rank, so that each run of ``batch`` is one worker's in turn.

    Every rank has as many: those that are over after sharing out are left out. Without ``random``
    they come in order. ``workers`` is that of the DataLoader, which hands out batches in turn.
    """
    if not 0 <= rank < world:
        raise UsageError(f"sharing patches out: got rank {rank} of {world}")
    each = sum(count for _, count in runs) // world
    own = deal(runs, [each] * world)[rank]
    batches = -(-each // batch)
    hands = max(1, min(workers, batches))
    sizes = [len(range(hand, batches, hands)) * batch for hand in range(hands)]
    if batches:
        sizes[(batches - 1) % hands] -= batches * batch - each
    streams = [
        in_order(share) if random is None else shuffled(share, at_once, random)
        for share in deal(own, sizes)
    ]
    for number in range(batches):
        stream = streams[number % hands]
        for _ in range(min(batch, each - number * batch)):
            yield next(stream)
