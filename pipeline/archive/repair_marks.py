"""Note how a store was coded while it is repaired, for a repair that goes on with that one."""

from __future__ import annotations

import contextlib
import json

from tilepress.pipeline.archive.coding import ImageCoding
from tilepress.pipeline.archive.ledger import REPAIRS, REPLACES
from tilepress.pipeline.archive.plan import ImagePlan, ledger_folder
from tilepress.pipeline.storage.path import StoragePath
from tilepress.pipeline.store.keys import is_image
from tilepress.pipeline.store.salvage import Layout

__all__ = ["has_ledger", "mark_coding", "marked_codings"]


def mark_coding(plan: ImagePlan) -> None:
    """Note in the ledger how the store was coded, for a repair that goes on with this one."""
    coding = ImageCoding(plan)
    layouts = {
        name: Layout(
            grid=grid,
            dtype=plan.info.dtype.name,
            axes=plan.info.axes,
            config=coding.writer.codec_config(name),
            separator=plan.separator,
            exact=plan.info.exact if is_image(name) else {},
        )
        for name, grid in plan.grids.items()
    }
    mark = json.dumps({name: layout.to_json() for name, layout in layouts.items()})
    (ledger_folder(plan.store) / plan.digest / REPAIRS).write(mark.encode())


def marked_codings(folder: StoragePath) -> list[dict[str, Layout]]:
    """Return how the store was coded by each repair that was begun and not finished."""
    found = []
    for name in folder.folders() if folder.is_folder() else ():
        with contextlib.suppress(FileNotFoundError, ValueError, KeyError, TypeError):
            mark = json.loads((folder / name / REPAIRS).read())
            found.append({array: Layout.from_json(fields) for array, fields in mark.items()})
    return found


def has_ledger(folder: StoragePath) -> bool:
    """Whether a store was begun in its own place."""
    names = folder.folders() if folder.is_folder() else []
    return any((folder / name / REPLACES).size() is None for name in names)
