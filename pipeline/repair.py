"""What ``tilepress.repair`` is: the command as a call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.repaired import StoreRepair
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.storage.path import AnyPath

__all__ = ["StoreRepair", "repair"]


def repair(
    path: AnyPath,
    source: Path | str | Sequence[Path | str],
    *,
    stack: Stacks = None,
    driver: str | Sequence[str] = (),
    show_paths: bool = False,
) -> list[StoreRepair]:
    """Write damaged or missing objects of a store again, or of each store of an archive.

    What is sound stays as it is, and ``source`` is not looked at where all is.

    Parameters
    ----------
    source :
        What the stores were made of, untouched: files or folders.
    stack, driver :
        How ``source`` is read, as ``tilepress.compress`` says: which files of one band make one
        image together, and further drivers of GDAL.
    show_paths :
        Name DICOM files in reasons, too; their paths may have names of patients.

    Returns what became of each store, in the order of their names: its ``state`` is "sound",
    "repaired" or "failed", ``written`` lists the objects that were written again, ``reason`` says
    why it failed. One that fails stops no other, so look at ``ok`` of each.

    Raises UsageError where there is no store or no source, and for a single store whose source
    cannot be found.
    """
    given = [source] if isinstance(source, (str, Path)) else source
    choice = Choice.of((), (), driver)
    return list(repair_stores(path, given, stack, show_paths=show_paths, choice=choice))
