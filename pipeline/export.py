"""Write a sealed store back as what it was made of, or as a format that needs no tilepress."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields
from operator import index
from pathlib import Path
from typing import Any

from tilepress.codecs.coder import BASE
from tilepress.errors import UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.endings import chosen_export, destination
from tilepress.pipeline.image.format import ExportPart
from tilepress.pipeline.other_bands import OtherBand, bands_with_others
from tilepress.pipeline.read.decoders import open_by, refuse_made_up
from tilepress.pipeline.storage.atomic import make_directory
from tilepress.pipeline.storage.path import AnyPath, is_url
from tilepress.pipeline.storage.unfinished import sweep_unfinished
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["export", "export_part", "told"]


def export(
    store: AnyPath,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # the word users type
    *,
    bands: Sequence[int | str] | str | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    bbox_crs: str | None = None,
    resample: str | None = None,
    slices: Sequence[int] | slice | None = None,
    transfer_syntax: str | None = None,
    decoder: str | None = None,
    force_generative: bool = False,
) -> list[Path]:
    """Export a store as ``tilepress.export`` does; return the files or folders written.

    Raises UsageError where the store has nothing to make the format of, StoreError where it is not
    sealed or damaged, or a file is in the way.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    if bbox is not None and not _are(float, bbox, 4):
        raise UsageError(f"exporting: got bbox {bbox!r}, want 4 numbers: left, bottom, right, top")
    if slices is not None and not isinstance(slices, slice) and not _are(index, slices):
        raise UsageError(f"exporting: got slices {slices!r}, want numbers from 0, or a slice")
    folder = str(out).endswith(("/", os.sep))
    out = Path(out)
    if folder:
        make_directory(out)
    sweep_unfinished(out if out.is_dir() else out.parent)
    reader = open_by(store, BASE if decoder is None else decoder, force_generative=force_generative)
    numbers: list[int] | None = None
    others: list[OtherBand] = []
    if bands is not None:
        bands = [bands] if isinstance(bands, str) else bands
        numbers, others = bands_with_others(reader, bands, resample=resample is not None)
    part = ExportPart(
        bands=numbers,
        others=others or None,
        resample=resample if others else None,
        bbox=bbox,
        bbox_crs=bbox_crs,
        slices=slices,
        transfer_syntax=transfer_syntax,
    )
    return export_part(reader, out, format, part, force_generative=force_generative)


def _are(kind: Callable[[Any], object], values: object, count: int | None = None) -> bool:
    """Return whether all of a sequence are numbers of a kind, which texts are not."""
    if not isinstance(values, Iterable) or isinstance(values, str):
        return False
    given = list(values)
    try:
        for one in given:
            kind("text" if isinstance(one, str) else one)
    except (TypeError, ValueError):
        return False
    return count in (None, len(given))


def export_part(
    reader: StoreReader,
    out: Path,
    wanted: str | None,
    part: ExportPart,
    *,
    force_generative: bool = False,
) -> list[Path]:
    """Export as ``export`` does, into a folder where nothing is left of killed ones."""
    kind, name = str(reader.origin["kind"]), reader.path.name
    chosen = chosen_export(kind, name, out, wanted)
    out = destination(out, reader.path.stem, chosen)
    for field in fields(part):
        if getattr(part, field.name) is not None and field.name not in chosen.cuts:
            does = "has no" if field.name == "transfer_syntax" else "cannot be cut by"
            raise UsageError(
                f"exporting {name}: {chosen.name} {does} {field.name.replace('_', ' ')}"
            )
    if part.bbox_crs is not None and part.bbox is None:
        raise UsageError(f"exporting {name}: a CRS of a bounding box is given, and no box")
    origin = formats.format_of_kind(kind)
    if chosen in formats.DICOM.exports and not force_generative:
        refuse_made_up(reader)
    if reader.makes_up:
        is_slide = origin is not None and origin.slide_to_write(reader) is not None
        if not chosen.tells_decoder or (is_slide and not chosen.any_store):
            raise UsageError(
                f"exporting {name}: {chosen.name} has no place to say that decoder "
                f"{reader.decoder!r} makes up detail; take --format zarr or another decoder"
            )
    if not chosen.keeps_levels:
        reader = reader.as_it_came()
    if origin is not None and chosen in origin.exports:
        return chosen.write(reader, out, part)
    if origin is not None and chosen.write_slide is not None and part == ExportPart():
        slide = origin.slide_to_write(reader)
        if slide is not None:
            return chosen.write_slide(slide, out)
    if chosen.any_store:
        return chosen.write(reader, out, part)
    raise UsageError(
        f"exporting {name}: it was made of {kind}, which gives no {chosen.name}; "
        "--format zarr takes any store"
    )


def told(store: AnyPath, out: Path, files: Sequence[Path]) -> list[str]:
    """Return lines that say what was exported, without names that may be those of patients."""
    if formats.has_private_names(str(StoreReader.open(store).origin["kind"])):
        return [f"{out}: {len(files)} file{'' if len(files) == 1 else 's'}"]
    return [str(path) for path in files]
