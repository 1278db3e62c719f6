"""Write the DICOM files of a store."""

from __future__ import annotations

import contextlib
import filecmp
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.dicom.instances import instance_bytes
from tilepress.pipeline.dicom.recode import recoded_bytes
from tilepress.pipeline.dicom.slide_recipe import SLIDE_KIND
from tilepress.pipeline.dicom.stored import (
    StoredInstance,
    leading_shape,
    planes_of,
    stored_instances,
)
from tilepress.pipeline.image.source import ExportReader
from tilepress.pipeline.storage.placed import refuse_links
from tilepress.pipeline.storage.unfinished import unfinished

__all__ = ["export_dicom"]


def export_dicom(
    reader: ExportReader,
    out_dir: Path,
    *,
    slices: Sequence[int] | slice | None = None,
    syntax: str | None = None,
) -> list[Path]:
    """Write the DICOM files that a store was made from; return their paths.

    Parameters
    ----------
    reader
        a sealed store, or whatever reads like one
    out_dir
        a folder; a name ending in ``.dcm`` is the file itself, and there is only one
    slices
        numbers along "z" (or "t" where there is no "z") to write; multi-frame files come whole or
        not at all
    syntax
        what frames are coded as, losslessly (``frame_codecs.SYNTAXES``); None is as they came

    Raises
    ------
    UsageError
        the store keeps no DICOM headers, several files have one name, or ``slices`` cuts a
        multi-frame file
    DamagedStore
        ``source/`` contradicts itself or the image
    DestinationConflict
        a file of that name with other content exists; nothing was replaced
    StoreError
        a folder below ``out_dir`` is a link
    """
    instances = stored_instances(reader)
    if syntax is not None and reader.origin["kind"] == SLIDE_KIND:
        raise UsageError("exporting DICOM: a slide keeps its transfer syntax; leave it out")
    if slices is not None:
        if reader.origin["kind"] == SLIDE_KIND:
            raise UsageError("exporting DICOM: a slide comes whole, not by slices")
        instances = _selected(instances, reader, slices)
    planes = planes_of(reader)
    out = Path(out_dir)
    single = out.suffix.lower() == ".dcm" and not out.is_dir()
    if single and len(instances) != 1:
        text = f"got {out.name} for {len(instances)} files, want a folder"
        raise UsageError(f"exporting DICOM: {text}")
    written = []
    ordered = sorted(instances, key=lambda one: min(one.frames))
    for number, instance in enumerate(ordered, 1):
        path = out if single else out / instance.name
        shown = f"file {number} of {len(ordered)} in {out}"  # names of files may be patients'
        if not single:
            refuse_links(out, path, "exporting DICOM")
        with _naming(shown):
            if syntax is None:
                content = instance_bytes(instance, planes, reader)
            else:
                content = recoded_bytes(instance, planes, reader, syntax)
            _write_whole(path, content, shown)
        written.append(path)
    return written


@contextlib.contextmanager
def _naming(shown: str) -> Iterator[None]:
    """Have an OSError say which file it was of, and not what that is called."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or type(error).__name__, shown) from None


def _selected(
    instances: Sequence[StoredInstance], reader: ExportReader, slices: Sequence[int] | slice
) -> list[StoredInstance]:
    """Return the files whose planes are all chosen; refuse to cut a multi-frame file."""
    shape = leading_shape(reader)
    size = shape[-1] if shape else 1
    numbers = range(size)[slices] if isinstance(slices, slice) else slices
    chosen = set(numbers)
    if outside := [n for n in chosen if not 0 <= n < size]:
        raise UsageError(f"exporting DICOM: got slice {outside[0]}, want 0 to {size - 1}")
    kept = []
    for instance in instances:
        inside = {number % size in chosen for number in instance.frames}
        if len(inside) > 1:
            raise UsageError(
                "exporting DICOM: the chosen slices cut a multi-frame file, which comes back whole "
                "or not at all"
            )
        if inside == {True}:
            kept.append(instance)
    if not kept:
        raise UsageError("exporting DICOM: no slice was chosen")
    return kept


def _write_whole(path: Path, content: Iterator[bytes], shown: str) -> None:
    """Write a file under a temporary name and rename it; an equal file may be there already."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with unfinished(path) as partial:
        with open(partial, "wb") as file:
            _write_all(file, content)
        if path.exists() and not filecmp.cmp(partial, path, shallow=False):
            raise DestinationConflict(f"exporting DICOM: another file is there already, {shown}")
        os.replace(partial, path)


def _write_all(file: BinaryIO, content: Iterator[bytes]) -> None:
    for piece in content:
        file.write(piece)
    file.flush()
    os.fsync(file.fileno())
