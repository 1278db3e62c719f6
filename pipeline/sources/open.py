"""Open an image by its recipe, with all that is put around every source."""

from __future__ import annotations

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.formats import format_of_kind
from tilepress.pipeline.guests import client as guests
from tilepress.pipeline.image.made_levels import LEVELS, MadeLevels
from tilepress.pipeline.image.names import is_virtual
from tilepress.pipeline.image.objects import is_pinned
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.privacy.recipe import is_deidentified
from tilepress.pipeline.storage.path import is_url

__all__ = ["open_source"]


def open_source(spec: SourceSpec) -> TileSource:
    """Open what ``discover`` found; raises SourceError.

    From the inside out: the source of the image's format; the guest that it lives in, so that no
    file can do harm; what replaces identifiers where the image is de-identified, with a key that no
    guest gets; then, for objects of a bucket, the copies of them that it reads. They are fetched
    into a folder of this machine first, once for all its processes; messages and ``source.spec``
    name the objects; then what makes levels. What else is ever to be put around a source has its
    place in this order, here.
    """
    if LEVELS in spec.options:
        from tilepress.pipeline.sources.levelled import LevelledSource

        made = MadeLevels.from_json(spec.options[LEVELS])
        return LevelledSource(_open_whole(spec), made)
    return _open_whole(spec)


def _open_whole(spec: SourceSpec) -> TileSource:
    if any(map(is_virtual, spec.paths)):
        raise UnsupportedSource(f"opening {spec.paths[0]}: GDAL's virtual files are not opened")
    if is_pinned(spec):
        from tilepress.pipeline.sources.staged import StagedSource

        return StagedSource(spec, _open_local)
    return _open_local(spec)


def _open_local(spec: SourceSpec) -> TileSource:
    if not is_deidentified(spec):
        return _open_guarded(spec)
    found = format_of_kind(spec.kind)
    if found is not None and found.deidentifying_modules is None:
        text = f"nobody knows what identifies somebody in {found.names[0]}"
        raise UnsupportedSource(f"de-identifying {spec.paths[0]}: {text}")
    from tilepress.pipeline.sources.deidentified import DeidentifiedSource

    source = _open_guarded(spec)
    try:
        return DeidentifiedSource(source)
    except BaseException:
        source.close()
        raise


def _open_guarded(spec: SourceSpec) -> TileSource:
    found = format_of_kind(spec.kind)
    if found is None:
        raise UnsupportedSource(f"opening a source: kind {spec.kind!r} is unknown")
    alone = "driver" in spec.options
    if alone or found.opens_other_files(spec):
        guests.check_held_to_one_file(spec.paths[0])
    if not guests.are_possible():
        return found.open(spec)
    from tilepress.pipeline.guests.bucket import BucketGuestSource
    from tilepress.pipeline.guests.source import GuestSource

    modules = found.reader_modules(spec.paths)
    if is_deidentified(spec):
        modules += found.deidentifying_modules or ()
    if is_url(spec.paths[0]):
        return BucketGuestSource(spec, modules)
    return GuestSource(spec, modules, whole_folders=found.reads_beside and not alone)
