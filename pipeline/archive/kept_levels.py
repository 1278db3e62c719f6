"""Keep the levels that a sealed store has where nobody asks for others.

``--levels auto`` leaves it to us which levels a new store gets. A store that got others, or none,
by ``tilepress levels`` or an earlier line, is still what the line asks for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import replace

from tilepress.errors import TilepressError
from tilepress.pipeline.archive.plan import ImagePlan
from tilepress.pipeline.image.made_levels import AUTO, LEVELS, MADE_LEVELS, MadeLevels
from tilepress.pipeline.image.source import TileSource
from tilepress.pipeline.sources.levelled import LevelledSource, levelled
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.keys import IMAGE
from tilepress.pipeline.store.seal import is_sealed, read_root

__all__ = ["plan_with_levels"]


def plan_with_levels(
    opened: TileSource,
    store: StoragePath,
    make: Callable[[TileSource], ImagePlan],
    asked: str | int,
    *,
    wanted: str | None = None,
    anew: bool = False,
) -> tuple[ImagePlan, TileSource]:
    """Return the plan that ``make`` makes of an open source, and the source with its levels.

    ``asked`` : "auto", "none" or how many. With "auto" a store that is sealed by the plan of the
    same source with other made levels, or none, keeps them, unless it is planned ``anew``.
    ``wanted`` : digest of a plan that was made before; no other is looked for.
    """
    source = levelled(opened, asked)
    plan = make(source)
    if asked == AUTO and not anew and plan.digest not in (wanted, plan.seal_found):
        sealed, told = _sealed_with(store) if is_sealed(store) else (None, None)
        plan = replace(plan, seal_found=sealed)
        is_other = sealed not in (None, plan.digest) and wanted in (None, sealed)
        if is_other and told != source.spec.options.get(LEVELS) and not opened.info.levels:
            kept = _levelled_as(source, opened, told)
            other = make(kept)
            if other.digest == sealed:
                return replace(other, seal_found=sealed), kept
    return plan, _levelled_as(source, opened, plan.spec.options.get(LEVELS))


def _levelled_as(source: TileSource, opened: TileSource, told: object) -> TileSource:
    """Return an open source with the made levels that are told; None: without."""
    if told == source.spec.options.get(LEVELS):
        return source
    return opened if told is None else LevelledSource(opened, MadeLevels.from_json(told))


def _sealed_with(store: StoragePath) -> tuple[str | None, object]:
    """Return the digest of the plan that wrote a sealed store, and which levels were made of it.

    None for both where that is not to be read: then it is for others to say what is wrong.
    """
    with contextlib.suppress(TilepressError, OSError, ValueError, KeyError, TypeError):
        root = read_root(store)
        node = root.content["consolidated_metadata"]["metadata"][IMAGE]
        told = node.get("attributes", {}).get(MADE_LEVELS)
        if told is not None:
            told = MadeLevels.from_json(told).to_json()
        return str(root.statement["plan_digest"]), told
    return None, None
