"""Move what is whole to its name, where nothing may be replaced."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from tilepress.errors import FileInTheWay, StoreError

__all__ = ["place_new", "refuse_links"]

_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


def place_new(made: Path, target: Path) -> None:
    """Move a file or folder within a file system to a name that nothing has.

    A file is linked there, in one step; where the file system has no links, it is renamed after a
    look. Raises FileInTheWay where something has the name, OSError.
    """
    if not made.is_dir():
        try:
            os.link(made, target, follow_symlinks=False)
        except FileExistsError:
            raise _in_the_way(target) from None
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        else:
            made.unlink()
            return
    if os.path.lexists(target):
        raise _in_the_way(target)
    made.rename(target)


def refuse_links(folder: Path, target: Path, doing: str) -> None:
    """Refuse to write below a folder through a link, which may lead anywhere.

    The folder itself, which the user named, may be one. ``doing`` begins the error, which names no
    folder: it may be called after a patient. Raises StoreError.
    """
    for above in target.parents:
        if above == folder:
            return
        if above.is_symlink():
            text = "a folder on its way is a link, which may lead anywhere"
            raise StoreError(f"{doing}: {text}")


def _in_the_way(target: Path) -> FileInTheWay:
    text = f"exporting: {target} exists; remove it or choose another name"
    return FileInTheWay(text, str(target))
