"""What ``tilepress.levels`` is: the command as a call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tilepress.errors import UsageError
from tilepress.pipeline.archive.add_levels import StoreLevels, add_levels
from tilepress.pipeline.find.choose import Choice
from tilepress.pipeline.find.stacks import Stacks
from tilepress.pipeline.image.made_levels import AUTO, NO_LEVELS, parse_asked
from tilepress.pipeline.storage.path import AnyPath

__all__ = ["StoreLevels", "levels"]


def levels(
    path: AnyPath,
    source: Path | str | Sequence[Path | str] | None = None,
    *,
    levels: str | int = AUTO,
    stack: Stacks = None,
    driver: str | Sequence[str] = (),
    show_paths: bool = False,
) -> list[StoreLevels]:
    """Add levels of lower resolution to a store, or to each of an archive that has none.

    The full resolution stays as it is coded; a store that gets levels gets a new seal.

    Parameters
    ----------
    source :
        What the stores were made of, untouched: files or folders. None makes levels of a lossless
        store's own samples, to the same bytes; others fail then.
    levels :
        "auto": of images above 4096 × 4096 samples, from a quarter of the rows and columns on; a
        number makes so many, each half of the one before.
    stack, driver :
        How ``source`` is read, as ``tilepress.compress`` says: which files of one band make one
        image together, and further drivers of GDAL.
    show_paths :
        Name DICOM files in reasons, too; their paths may have names of patients.

    Returns what became of each store, in the order of their names: its ``state`` is "written",
    "unchanged" or "failed", ``levels`` how many further ones it has, ``reason`` why it failed or is
    unchanged. One that fails stops no other, so look at ``ok`` of each.

    Raises UsageError where there is no store or no source, for a single store whose source cannot
    be found, and for a number of levels that there cannot be.
    """
    asked = parse_asked(str(levels))
    if asked == NO_LEVELS:
        raise UsageError("adding levels: got levels 'none', want 'auto' or how many")
    if source is None and (stack is not None or driver):
        raise UsageError("adding levels: stack and driver say how a source is read; name it")
    given = [source] if isinstance(source, (str, Path)) else source
    choice = Choice.of((), (), driver)
    return list(add_levels(path, given, asked, stack, show_paths=show_paths, choice=choice))
