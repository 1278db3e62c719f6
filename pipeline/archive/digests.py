"""Name the plan of an image by a digest of all that decides the bytes of its store."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tilepress.pipeline.find.stacks import STACKED
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.image.made_levels import LEVELS
from tilepress.pipeline.image.private_names import PRIVATE
from tilepress.pipeline.image.pseudonyms import IDENTITY
from tilepress.pipeline.image.source import ADVICE, BESIDE, FORMER, SIBLINGS, TileSource
from tilepress.pipeline.privacy.recipe import KEY_FOLDER

__all__ = ["levels_digest", "plan_digest", "plan_digests"]

PLAN_VERSION = 1
"""Raised whenever the same inputs and options would give other bytes than before."""

MADE_VERSION = 2
"""The same of levels that are made. Version 2 hashes the digest of the plan without them, which a
store tells; version 1 hashed all at once."""

_CALLED = {"name", "relative", STACKED, IDENTITY, PRIVATE, KEY_FOLDER, SIBLINGS, FORMER, BESIDE}

NAMES = frozenset({*_CALLED, ADVICE, LEVELS})
"""Options of a recipe that say what it is called, or lies beside, and nothing of its bytes; the
levels that are made are named beside their grids."""


def plan_digest(
    source: TileSource,
    grid: ShardGrid,
    codec_config: Mapping[str, Any],
    exact: Mapping[int, str] | None = None,
    levels: Sequence[ShardGrid] = (),
) -> str:
    """Hash what decides the bytes; folders are left out, so that an archive may be moved.

    ``exact`` are the bands that are lossless whatever the configuration says, ``levels`` the grids
    of further levels.
    """
    made = source.spec.options.get(LEVELS) if levels else None
    if made is None:
        return _hashed(_material(source, grid, codec_config, exact, levels))
    full = _hashed(_material(source, grid, codec_config, exact, ()))
    return levels_digest(full, levels, made)


def plan_digests(
    source: TileSource,
    grid: ShardGrid,
    codec_config: Mapping[str, Any],
    exact: Mapping[int, str] | None = None,
    levels: Sequence[ShardGrid] = (),
) -> tuple[str, ...]:
    """Return what ``plan_digest`` does, and then what earlier versions called the same plan."""
    digest = plan_digest(source, grid, codec_config, exact, levels)
    made = source.spec.options.get(LEVELS) if levels else None
    if made is None:
        return (digest,)
    material = _material(source, grid, codec_config, exact, levels)
    return digest, _hashed({**material, "made": [1, made]})


def levels_digest(full: str, levels: Sequence[ShardGrid], made: Mapping[str, Any]) -> str:
    """Return the digest of a plan with levels that are made, by that of the full resolution's.

    ``levels`` are their grids, ``made`` says how (``MadeLevels.to_json``).
    """
    return _hashed({"full": full, "levels": _sides(levels), "made": [MADE_VERSION, made]})


def _material(
    source: TileSource,
    grid: ShardGrid,
    codec_config: Mapping[str, Any],
    exact: Mapping[int, str] | None,
    levels: Sequence[ShardGrid],
) -> dict[str, Any]:
    spec, info = source.spec, source.info
    material = {
        "version": PLAN_VERSION,
        "kind": spec.kind,
        "files": [Path(path).name for path in spec.paths],
        "options": {k: v for k, v in spec.options.items() if k not in NAMES},
        "fingerprint": source.fingerprint(),
        "axes": info.axes,
        "dtype": info.dtype.str,
        "shape": grid.shape,
        "chunk": grid.chunk,
        "shard": grid.shard,
        "codec": codec_config,
    }
    if exact:
        material["exact"] = sorted(exact)
    if levels:
        material["levels"] = _sides(levels)
    return material


def _sides(levels: Sequence[ShardGrid]) -> list[tuple[tuple[int, ...], ...]]:
    return [(level.shape, level.chunk, level.shard) for level in levels]


def _hashed(material: Mapping[str, Any]) -> str:
    text = json.dumps(material, sort_keys=True, separators=(",", ":"), default=str)
    return hashlib.sha256(text.encode()).hexdigest()
