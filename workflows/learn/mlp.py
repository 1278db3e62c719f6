"""Train a network of ``mlp`` on images of any kind that tilepress reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from tilepress.codecs.mlp.layout import BLOCKS, MOST_UNITS
from tilepress.codecs.mlp.train import train_mlp
from tilepress.errors import UsageError
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.workflows.learn.crops import crops_of

__all__ = ["train_blocks"]

_STEPS_PER_MINUTE = 600
"""Of the optimiser, about what one core takes: training is by steps, so that it is repeatable."""
_MOST_UNASKED = 128
"""Hidden units of large blocks where nobody says how many: weights stay some 100 kB."""
_DRAWS = 160
"""Crops that the model of the units is measured on."""


def train_blocks(
    sources: Sequence[Path],
    out: Path,
    minutes: float,
    progress: Callable[[str], None],
    *,
    block: int = 8,
    hidden: int | None = None,
    manifest: Path | None = None,
    seed: int = 0,
) -> None:
    """Train a network for blocks of ``block`` rows and columns, and write it to ``out``.

    minutes : about how long; the same number gives the same weights on the same machine.
    hidden : hidden units; None: as many as a block has samples, at most 128.
    manifest : a table with columns ``file``, ``kind`` and ``class``: classes weigh alike, and
    planes of kind ``sat`` are bands. Raises UsageError when nothing can be learned from.
    """
    if not out.parent.is_dir():
        raise UsageError(f"training: the folder of {out} does not exist")
    if block not in BLOCKS:
        raise UsageError(f"training: got block {block}, want one of {BLOCKS}")
    units = min(block * block, _MOST_UNASKED) if hidden is None else hidden
    if not 1 <= units <= min(block * block, MOST_UNITS):
        raise UsageError(f"training: got {hidden} hidden units, want 1 … {block * block}")
    crops = crops_of(sources, manifest, seed, progress)
    model = train_mlp(
        crops,
        block=block,
        units=units,
        steps=max(1, round(minutes * _STEPS_PER_MINUTE)),
        draws=_DRAWS,
        seed=seed,
        progress=progress,
    )
    data = model.to_bytes()
    write_atomic(out, data)
    progress(f"{len(data)} bytes")
