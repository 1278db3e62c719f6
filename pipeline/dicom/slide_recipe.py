"""Make the recipe of a slide from those of the images that its instances would be by themselves.

Pictures of its label, or of the whole glass, are left out: they hold names. Earlier versions made
a store of each of these images, and so their recipes go along (``Format.former``).
"""

from __future__ import annotations

import json
import zlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tilepress.pipeline.dicom.header import Instance
from tilepress.pipeline.dicom.slide_levels import Member, slide_levels
from tilepress.pipeline.dicom.tiling import Tiling
from tilepress.pipeline.image.source import BESIDE, FORMER, SIBLINGS, SourceSpec

__all__ = [
    "SLIDE_KIND",
    "Tile",
    "dump_member",
    "former_images",
    "load_member",
    "member_of",
    "slide_of",
    "without_pictures",
]

SLIDE_KIND = "dicom-slide"
"""The instances of one series that are the levels of a slide."""

_REMARKS, _OBJECTS = "remarks", "objects"


@dataclass(frozen=True, slots=True)
class Tile:
    """One instance of the series of a slide."""

    path: str
    shows: str
    """"LABEL" or "OVERVIEW" where it is none of its levels."""
    member: Member | None
    """None of a picture that has no tiles."""


def member_of(instance: Instance) -> Member:
    """Return what must be known of an instance to put a slide together."""
    pixels, element = instance.pixels, instance.element
    assert instance.tiling is not None, "asked of tiles"
    decoded = element.encapsulated and pixels.bands > 1
    form = (
        *(pixels.bands, pixels.allocated, pixels.signed, pixels.floating, pixels.photometric),
        *(element.keyword, decoded),
    )
    return Member(tiling=instance.tiling, rows=pixels.rows, columns=pixels.columns, form=repr(form))


def dump_member(member: Member) -> bytes:
    """Return a member as bytes, for ``load_member``."""
    tiling = member.tiling
    fields = {
        "size": [tiling.rows, tiling.columns],
        "paths": tiling.paths,
        "depths": tiling.depths,
        "tile": [member.rows, member.columns],
        "form": member.form,
    }
    text = json.dumps(fields).encode()
    places = zlib.compress(tiling.places.astype("<i8").tobytes(), 1)
    return len(text).to_bytes(4, "little") + text + places


def load_member(data: bytes) -> Member:
    """Return the member that ``dump_member`` was called on."""
    end = 4 + int.from_bytes(data[:4], "little")
    fields = json.loads(data[4:end])
    places = np.frombuffer(zlib.decompress(data[end:]), "<i8").astype(np.int64)
    tiling = Tiling(
        rows=fields["size"][0],
        columns=fields["size"][1],
        paths=tuple(fields["paths"]),
        depths=tuple(fields["depths"]),
        places=places.reshape(-1, 4),
    )
    rows, columns = fields["tile"]
    return Member(tiling=tiling, rows=rows, columns=columns, form=fields["form"])


def slide_of(
    images: Sequence[SourceSpec], tiles: Sequence[Tile], name: str
) -> tuple[SourceSpec, ...] | str:
    """Return the recipe of the slide that these images are, then those that are none of it.

    Where they make no slide, why; "" where nobody asks.
    """
    chosen = sorted((tile for tile in tiles if not tile.shows), key=_order)
    members = [tile.member for tile in chosen if tile.member is not None]
    found = slide_levels(members) if members else ""
    if isinstance(found, str):
        return found
    left = {chosen[at].path for at in found.others}
    others = tuple(spec for spec in images if not left.isdisjoint(spec.paths))
    if any(not left.issuperset(spec.paths) for spec in others):
        return "an image of it has instances of other kinds, too"
    former = [spec for spec in images if spec not in others]
    chosen = [tile for tile in chosen if tile.path not in left]
    remarks = [remark for spec in former for remark in spec.options.get(_REMARKS, ())]
    remarks += _told_of_pictures(tiles)
    objects = {
        path: version
        for spec in former
        for path, version in zip(spec.paths, spec.options.get(_OBJECTS, ()), strict=False)
    }
    own = {k: v for k, v in former[0].options.items() if k not in (SIBLINGS, _REMARKS, _OBJECTS)}
    options: dict[str, Any] = {**own, "name": name, _REMARKS: remarks, FORMER: list(_told(former))}
    paths = tuple(tile.path for tile in chosen)
    if objects:
        options[_OBJECTS] = [objects[path] for path in paths]
    sizes = [spec.source_bytes or 0 for spec in former]
    slide = SourceSpec(kind=SLIDE_KIND, paths=paths, options=options, source_bytes=sum(sizes))
    return slide, *others


def without_pictures(
    images: Sequence[SourceSpec], tiles: Sequence[Tile], why: str
) -> list[SourceSpec]:
    """Return the images of a series that makes no slide without labels and overviews beside it.

    A series of nothing else keeps them. The first image that is left says what went, and ``why``
    the tiles are not put together.
    """
    shown = {tile.path for tile in tiles if tile.shows}
    kept = [one for spec in images if (one := _without(spec, shown)) is not None]
    if not kept:
        kept, shown = list(images), set()
    told: dict[str, Any] = {}
    if why or shown:
        remarks = [f"no slide is made of it: {why}"] if why else []
        told[BESIDE] = [*remarks, *(_told_of_pictures(tiles) if shown else ())]
    if shown:
        told[FORMER] = list(_told([spec for spec in images if shown.issuperset(spec.paths)]))
    return [replace(kept[0], options={**kept[0].options, **told}), *kept[1:]]


def _without(spec: SourceSpec, shown: Collection[str]) -> SourceSpec | None:
    """Return the recipe of an image without some of its files; None where none are left."""
    if not (kept := [at for at, path in enumerate(spec.paths) if path not in shown]):
        return None
    if len(kept) == len(spec.paths):
        return spec
    options = dict(spec.options)
    if objects := options.get(_OBJECTS):
        options[_OBJECTS] = [objects[at] for at in kept]
    return replace(spec, paths=tuple(spec.paths[at] for at in kept), options=options)


def _told_of_pictures(tiles: Sequence[Tile]) -> list[str]:
    beside = Counter(tile.shows.lower() for tile in tiles if tile.shows)
    if not beside:
        return []
    listed = ", ".join(f"{n} × {what}" if n > 1 else what for what, n in beside.items())
    what = "picture" if beside.total() == 1 else "pictures"
    return [f"{beside.total()} {what} beside the slide left out, for they may show names: {listed}"]


def former_images(spec: SourceSpec) -> Iterator[SourceSpec]:
    """Yield the recipes that a slide's was made of."""
    for one in spec.options.get(FORMER, ()):
        own = {k: v for k, v in spec.options.items() if k not in (FORMER, _REMARKS, _OBJECTS)}
        yield replace(
            spec,
            kind="dicom",
            paths=tuple(one["paths"]),
            options={**own, **one["options"], "relative": one["options"]["name"]},
            source_bytes=one["bytes"],
        )


def _order(tile: Tile) -> tuple[int, tuple[int, ...], str]:
    assert tile.member is not None, "asked of levels"
    tiling = tile.member.tiling
    first = tuple(tiling.places[:, [2, 3, 0, 1]].min(axis=0).tolist())
    return -tiling.rows * tiling.columns, first, tile.path


def _told(former: Sequence[SourceSpec]) -> Iterator[Mapping[str, Any]]:
    names = ("name", _REMARKS, SIBLINGS, _OBJECTS)
    for spec in former:
        options = {key: spec.options[key] for key in names if key in spec.options}
        yield {"paths": list(spec.paths), "options": options, "bytes": spec.source_bytes}
