"""Write a sealed store back as what it was made of, or as a format that needs no tilepress."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tilepress.codecs.registry import BASE
from tilepress.errors import FileInTheWay, TilepressError, UsageError
from tilepress.pipeline import formats
from tilepress.pipeline.catalogue.stores import find_stores
from tilepress.pipeline.image.format import Export, ExportPart
from tilepress.pipeline.kept.check import export_kept
from tilepress.pipeline.kept.index import FILES, has_kept
from tilepress.pipeline.read.decoders import open_by, refuse_made_up
from tilepress.pipeline.storage.path import AnyPath, StoragePath, is_url, storage_path
from tilepress.pipeline.storage.unfinished import sweep_unfinished
from tilepress.pipeline.store.reader import StoreReader

__all__ = ["Exported", "export", "export_archive", "told"]

_OTHER_SUFFIXES = frozenset({".png", ".jp2", ".json"})
"""Endings that promise what no export writes; names that end otherwise promise nothing."""


def export(
    store: AnyPath,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # the word users type
    *,
    bands: Sequence[int] | None = None,
    bbox: tuple[float, float, float, float] | None = None,
    slices: Sequence[int] | slice | None = None,
    decoder: str = BASE,
    force_generative: bool = False,
) -> list[Path]:
    """Export a store; return the files or folders written.

    Parameters
    ----------
    out :
        GeoTIFF: the file where it ends in ``.tif`` or ``.tiff``, else a folder. DICOM: a folder, or
        ``*.dcm`` for a single file. Zarr and NumPy: the store or file itself.
    format :
        "geotiff" and "dicom" give back what the store was made of, "dicom" also a slide that came
        as TIFF; "cog" is a cloud-optimised
        GeoTIFF; "zarr" a plain Zarr store with zstd, for readers without our codec; "npy" a NumPy
        file. None is what the source was; for an array "zarr", or "npy" where ``out`` ends so.
    bands, bbox :
        Part of a GeoTIFF: band numbers from 1; (left, bottom, right, top) in units of the CRS.
    slices :
        Part of a DICOM series: numbers of slices from 0.
    decoder, force_generative :
        How samples of the codec ``ntc`` are made, as ``tilepress.open`` says; files tell of it.

    Raises UsageError where the store has nothing to make the format of, StoreError where it is not
    sealed or damaged.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    sweep_unfinished(Path(out) if Path(out).is_dir() else Path(out).parent)
    reader = open_by(store, decoder, force_generative=force_generative)
    part = ExportPart(bands=bands, bbox=bbox, slices=slices)
    return _export(reader, Path(out), format, part, force_generative=force_generative)


def _export(
    reader: StoreReader,
    out: Path,
    wanted: str | None,
    part: ExportPart,
    *,
    force_generative: bool = False,
) -> list[Path]:
    """Export as ``export`` does, into a folder where nothing is left of killed ones."""
    kind, name = str(reader.origin["kind"]), reader.path.name
    known = formats.exports()
    chosen = known.get(wanted) if wanted is not None else _usual(kind, out)
    if chosen is None:
        raise UsageError(
            f"exporting {name}: format {wanted!r} is unknown, want one of {', '.join(known)}"
        )
    if chosen in formats.DICOM.exports and not force_generative:
        refuse_made_up(reader)
    for cut in ("bands", "bbox", "slices"):
        if getattr(part, cut) is not None and cut not in chosen.cuts:
            raise UsageError(f"exporting {name}: {chosen.name} cannot be cut by {cut}")
    suffix = out.suffix.lower()
    promised = suffix in _OTHER_SUFFIXES or any(suffix in one.suffixes for one in known.values())
    if promised and suffix not in chosen.suffixes and not out.is_dir():
        raise UsageError(f"exporting {name}: got {out.name}, want {chosen.wanted}")
    origin = formats.format_of_kind(kind)
    if reader.makes_up:
        is_slide = origin is not None and origin.slide_to_write(reader) is not None
        if not chosen.tells_decoder or (is_slide and not chosen.any_store):
            raise UsageError(
                f"exporting {name}: {chosen.name} has no place to say that decoder "
                f"{reader.decoder!r} makes up detail; take --format zarr or another decoder"
            )
    if not chosen.any_store:
        reader = reader.as_it_came()
    if not chosen.any_store and (origin is None or chosen not in origin.exports):
        slide = None
        if origin is not None and chosen.write_slide is not None and part == ExportPart():
            slide = origin.slide_to_write(reader)
        if slide is not None and chosen.write_slide is not None:
            return chosen.write_slide(slide, out)
        raise UsageError(
            f"exporting {name}: it was made of {kind}, which gives no {chosen.name}; "
            "--format zarr takes any store"
        )
    return chosen.write(reader, out, part)


@dataclass(frozen=True, slots=True)
class Exported:
    """What became of a store, or of the files beside stores."""

    name: str
    files: tuple[Path, ...] = ()
    problem: str | None = None
    """Why it could not be written, or not all of it."""

    def lines(self, out: Path) -> list[str]:
        """Return what to say of it."""
        count = f"{len(self.files)} file{'' if len(self.files) == 1 else 's'}"
        no_images = "that is no image" if len(self.files) == 1 else "that are no images"
        of = no_images if self.name == FILES else f"of {self.name}"
        return [f"{out}: {count} {of}"] if self.files else []


COMPANIONS = (".aux.xml", ".msk", ".ovr")
"""Endings of what GDAL writes beside a raster."""


def export_archive(
    archive: AnyPath,
    out: Path | str,
    format: str | None = None,  # noqa: A002  # as above
    *,
    decoder: str = BASE,
    force_generative: bool = False,
) -> Iterator[Exported]:
    """Export every store of an archive below a folder, and the files that it keeps.

    A raster or an array goes where it lay below its source, a DICOM series into a folder called as
    its store, a file that is no image where it lay, too. Nothing is replaced; what fails is an item
    of the stream. ``decoder`` is for the stores whose codec has several.
    """
    if is_url(out):
        raise UsageError(f"exporting to {out}: want a path of this machine")
    where, out = storage_path(archive), Path(out)
    written: set[Path] = set()
    swept: set[Path] = set()
    for store in find_stores(where):
        key = store.relative_to(where)
        try:
            place = _place(store, key, out, format)
            for folder in {place, place.parent if place != out else out} - swept:
                sweep_unfinished(folder)
                swept.add(folder)
            reader = open_by(store, decoder, force_generative=force_generative, any_codec=True)
            files = _exported(reader, place, format, written, force_generative=force_generative)
        except TilepressError as error:
            yield Exported(key, problem=str(error))
        except OSError as error:
            yield Exported(key, problem=f"exporting {key}: {error.strerror or error}")
        else:
            written.update(files)
            yield Exported(key, tuple(files))
    if has_kept(where):
        yield from _exported_files(where, out, written)


def _exported(
    reader: StoreReader,
    place: Path,
    wanted: str | None,
    written: Collection[Path],
    *,
    force_generative: bool,
) -> list[Path]:
    """Export one store of an archive.

    Where another one of it gave a file of the same name (scene.tif beside scene.tif.gz), it goes
    into a folder called as the store.
    """
    try:
        return _export(reader, place, wanted, ExportPart(), force_generative=force_generative)
    except FileInTheWay as error:
        if Path(error.path) not in written or Path(error.path).parent != place:
            raise
        folder = place / reader.path.stem
        folder.mkdir(exist_ok=True)
        return _export(reader, folder, wanted, ExportPart(), force_generative=force_generative)


def _place(store: StoragePath, key: str, out: Path, wanted: str | None) -> Path:
    """Return where a store of an archive is written to: a folder, or the store or file itself.

    The latter are of arrays, and of what has no export of its own format.
    """
    parts = [part for part in key.split("/") if part not in ("", ".", "..")]
    folder = out.joinpath(*parts[:-1])
    origin = StoreReader.open(store).origin
    if formats.has_private_names(str(origin["kind"])):
        return folder / store.stem
    if _is_slide_elsewhere(str(origin["kind"]), wanted):
        return folder / store.stem
    own = formats.format_of_kind(str(origin["kind"]))
    has_none = own is not None and not own.exports
    if wanted in ("zarr", "npy") or has_none or own is formats.ARRAY:
        ending = wanted or origin.get("format", "zarr")
        return folder / (f"{store.stem}.npy" if ending == "npy" else store.name)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_slide_elsewhere(kind: str, wanted: str | None) -> bool:
    """Whether another format than an image's own is asked for, one that writes slides."""
    asked = None if wanted is None else formats.exports().get(wanted)
    own = formats.format_of_kind(kind)
    return (
        asked is not None
        and asked.write_slide is not None
        and own is not None
        and asked not in own.exports
    )


def _exported_files(archive: StoragePath, out: Path, written: set[Path]) -> Iterator[Exported]:
    """Yield the files that are kept as one item, and what went wrong."""
    files: list[Path] = []
    problems: list[str] = []
    companions = {path for path in written if _is_companion(path, written)}
    for found in export_kept(archive, out, written - companions, companions):
        if isinstance(found, Path):
            files.append(found)
        else:
            problems.append(str(found))
    yield Exported(FILES, tuple(files))
    yield from (Exported(FILES, problem=problem) for problem in problems)


def _is_companion(path: Path, written: set[Path]) -> bool:
    """Whether a file was written beside a raster, and is called after it."""
    return any(
        path.name.endswith(ending) and path.with_name(path.name.removesuffix(ending)) in written
        for ending in COMPANIONS
    )


def told(store: AnyPath, out: Path, files: Sequence[Path]) -> list[str]:
    """Return lines that say what was exported, without names that may be those of patients."""
    if formats.has_private_names(str(StoreReader.open(store).origin["kind"])):
        return [f"{out}: {len(files)} file{'' if len(files) == 1 else 's'}"]
    return [str(path) for path in files]


def _usual(kind: str, out: Path) -> Export | None:
    """Return how a store of this origin is written where nobody says: as what it was made of.

    Of several ways, the one that the destination's name promises; without any, as what any store
    can be. None where nobody knows such an origin.
    """
    origin = formats.format_of_kind(kind)
    if origin is None:
        return None
    ways = origin.exports or tuple(one for one in formats.exports().values() if one.any_store)
    return next((way for way in ways if out.suffix in way.suffixes), ways[0])
