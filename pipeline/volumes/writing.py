"""Write one file whole or not at all, and say in it what coding has changed."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

from tilepress.errors import FileInTheWay
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.atomic import make_directory, sync_directory
from tilepress.pipeline.storage.placed import place_new
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["loss_text", "write_aside"]


def write_aside(out: Path, write: Callable[[BinaryIO], None]) -> Path:
    """Let ``write`` fill a file under another name; give it its own when it is whole.

    Raises FileInTheWay where something has that name, OSError.
    """
    if os.path.lexists(out):
        text = f"exporting: {out} exists; remove it or choose another name"
        raise FileInTheWay(text, str(out))
    make_directory(out.parent)
    with unfinished(out) as partial:
        with open(partial, "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        place_new(partial, out)
    sync_directory(out.parent)
    return out


def loss_text(reader: ExportReader) -> str:
    """Return what was lost, for people: one line."""
    if reader.loss.is_lossless:
        return "tilepress: lossless"
    return f"tilepress {reader.loss.kind}: {reader.loss.promise}"
