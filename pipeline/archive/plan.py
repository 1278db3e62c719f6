"""List the shards of one image as a stream, under a digest that names the whole plan."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tilepress.codecs.config import loss_of
from tilepress.codecs.loss import Loss, Lossy, bounded
from tilepress.codecs.registry import coder_class
from tilepress.pipeline.archive.digests import plan_digests
from tilepress.pipeline.archive.exact import exact_bands, with_exact
from tilepress.pipeline.archive.expansion import check_expansion
from tilepress.pipeline.archive.hidden import has_hidden, hidden_of
from tilepress.pipeline.archive.options import TIER_TILES, EncodeOptions
from tilepress.pipeline.archive.padding import kept_padding
from tilepress.pipeline.archive.peak import peak_of
from tilepress.pipeline.image.grid import ShardGrid, choose_grid
from tilepress.pipeline.image.info import ImageInfo
from tilepress.pipeline.image.made_levels import AUTO, MADE_LEVELS
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.levelled import LevelledSource, without_made_levels
from tilepress.pipeline.storage.path import AnyPath, StoragePath, storage_path
from tilepress.pipeline.store.keys import SEPARATOR, Separator, level_image, shard_key
from tilepress.pipeline.store.seal import NEWEST_VERSION, is_sealed, sealed_digest

__all__ = [
    "ImagePlan",
    "Replaced",
    "ShardRef",
    "Tuning",
    "grids_of",
    "ledger_folder",
    "make_plan",
    "part_of",
    "shards_of",
    "with_codec",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuning:
    """Which weights an image is coded with in a run that tunes, and what that saves."""

    used: bool
    """Whether they are the tuned ones."""
    saved_bytes: int | None = None
    """Estimated on a sample of chunks, the weights in the store's documents counted; None where an
    earlier run made the choice."""


@dataclass(frozen=True, slots=True, order=True)
class ShardRef:
    """One shard: the array that it belongs to ("image", "1/image" … or "mask"), its index there."""

    array: str
    index: tuple[int, ...]

    @property
    def name(self) -> str:
        """Return a name that is safe in a file name, e.g. "image-0.3.1"."""
        array = self.array.replace("/", ".")
        return f"{array}-{'.'.join(map(str, self.index))}"


@dataclass(frozen=True, slots=True)
class Replaced:
    """What lay in the place of a store when its replacement was begun."""

    root: str | None
    """sha256 of its root document; None where it had none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImagePlan:
    """Everything a worker needs to write any shard of one image. Picklable, holds no samples."""

    digest: str
    """sha256 over what decides the bytes: source, grid, codec configuration, plan version."""
    store: str
    """Path or URL of the store that is written."""
    spec: SourceSpec
    info: ImageInfo
    grid: ShardGrid
    mask_grid: ShardGrid | None
    codec_config: Mapping[str, Any]
    tuning: Tuning | None = None
    """None in a run that does not tune."""
    separator: Separator = SEPARATOR
    """What stands between the numbers in the keys of the store's chunks."""
    replaced: Replaced | None = None
    """What stays in the store's place until this is sealed, and goes then; None for nothing."""
    wordy: bool = False
    """Whether the store's documents are as earlier versions wrote them: of a store of theirs."""
    newest: int = NEWEST_VERSION
    """The newest format that it may have: that of a store that is repaired."""
    label: str | None = None
    """What people are told in place of the first file's path, where that may name a patient."""
    level_grids: tuple[ShardGrid, ...] = ()
    """Of the image at its further levels, from 1 on."""
    seal_found: str | None = None
    """Digest of the plan of the sealed store that was there when this was planned, where one was
    looked for; None for none."""

    @property
    def grids(self) -> dict[str, ShardGrid]:
        """Grid by array name: "image", "1/image" … of levels, and "mask" where there is one."""
        return grids_of(self.grid, self.mask_grid, self.level_grids)

    def shards(self) -> Iterator[ShardRef]:
        """Yield every shard of every array, as a stream."""
        return shards_of(self.grids)

    @property
    def loss(self) -> Loss:
        """What coding may change of the image's samples."""
        return loss_of(self.codec_config)

    def shard_key(self, ref: ShardRef) -> str:
        """Return the key of a shard in the store."""
        return shard_key(ref.array, ref.index, self.separator)

    def shard_path(self, ref: ShardRef) -> StoragePath:
        return storage_path(self.store) / self.shard_key(ref)

    def grid_of(self, ref: ShardRef) -> ShardGrid:
        return self.grids[ref.array]

    @property
    def total_shards(self) -> int:
        return sum(grid.total for grid in self.grids.values())

    @property
    def raw_bytes(self) -> int:
        """Decoded size of the image in bytes, with all its levels and without its mask."""
        samples = sum(math.prod(grid.shape) for grid in (self.grid, *self.level_grids))
        return samples * self.info.dtype.itemsize

    @property
    def source_bytes(self) -> int:
        """Decoded size of the image as it came, without levels that are made of it."""
        if MADE_LEVELS not in self.info.attributes:
            return self.raw_bytes
        return math.prod(self.grid.shape) * self.info.dtype.itemsize

    @property
    def source_name(self) -> str:
        """Return how people know the image: by its first file's path, or else its label."""
        return self.spec.paths[0] if self.label is None else self.label

    def key(self, name: str) -> str:
        """Return the Dask key of a task: a hash, so that no path or name shows on a scheduler."""
        text = f"{self.digest}/{self.store}/{name}"
        return "task-" + hashlib.sha256(text.encode()).hexdigest()[:32]


def grids_of(
    image: ShardGrid, mask: ShardGrid | None, levels: Sequence[ShardGrid] = ()
) -> dict[str, ShardGrid]:
    """Return the grids of a store by array name."""
    grids = {level_image(number): grid for number, grid in enumerate((image, *levels))}
    return grids if mask is None else {**grids, "mask": mask}


def shards_of(grids: Mapping[str, ShardGrid]) -> Iterator[ShardRef]:
    """Yield every shard of every array, as a stream."""
    return (ShardRef(name, index) for name, grid in grids.items() for index in grid.indices())


def part_of(digest: str, ref: ShardRef, grid: ShardGrid, parts: int) -> int:
    """Return which of ``parts`` writes a shard: a hash of image and shard.

    An image of one shard goes to one part with its mask, so that this part can seal it.
    """
    name = ref.name if grid.total > 1 else "whole"
    return int(hashlib.sha256(f"{digest}/{name}".encode()).hexdigest()[:16], 16) % parts


def make_plan(
    source: TileSource,
    store: StoragePath,
    options: EncodeOptions,
    *,
    wanted: str | None = None,
    anew: bool = False,
) -> ImagePlan:
    """Plan the store of one open source.

    Where an earlier version has written or begun the store, the plan is what it was, unless it is
    planned ``anew``. ``wanted`` is the digest of a plan that was made before.
    Raises UnsupportedArray where the options make no sense for this image, UnsupportedSource where
    its files are too small for the samples that they claim to hold.
    """
    from tilepress.errors import UnsupportedArray

    check_expansion(source, options.max_expansion)
    exact = exact_bands(source, options)
    info = with_exact(source.info, exact)
    lossless = options.loss.is_lossless or len(exact) == info.band_count
    # where bands are told of, those that must not lose anything are among the exact ones
    if not lossless and not info.bands and (refusal := info.refusal(options.loss)):
        raise UnsupportedArray(
            f"planning with {options.loss}: {refusal}, which nothing may change; "
            "leave the loss out, or name it in --lossless-for"
        )
    info, nodata, padded = kept_padding(info, bounded(0) if lossless else options.loss)
    lossless = lossless or padded
    configs = _configs(source, info, options, nodata, lossless=lossless)
    config = configs[0]
    every = list(map(info.at_level, range(1 + len(info.levels))))
    apart = not lossless and "band" in info.axes
    apart = apart and (info.band_nodata is not None or bool(exact))
    if apart and info.band_nodata is None and isinstance(options.loss, Lossy):
        apart = not _beside(every, options)
    cuts: list[tuple[int, list[ShardGrid]]] = []  # and the tile of each
    for at_tile in _with_tiles(options):
        found = _cuts(every, at_tile, apart=apart)
        cuts += [(at_tile.tile, cut) for cut in found if cut not in [known for _, known in cuts]]
    # versions before levels were made had none of any image
    bare = (source.source,) if isinstance(source, LevelledSource) and options.levels == AUTO else ()
    ways = [
        (digest, one, tile, cut, of)
        for of in (source, *bare)
        for one in (*configs, *(old for new in configs for old in _former_configs(new, options)))
        for tile, cut in cuts
        for digest in plan_digests(of, cut[0], one, exact, cut[1:] if of is source else ())
    ]
    seal = sealed_digest(store) if not wanted and len(ways) > 1 and is_sealed(store) else None
    known = {wanted} if wanted else _begun(store) | ({seal} - {None} if not anew else set())
    # what the same line asks for, even where this version would do it otherwise
    digest, config, tile, (grid, *levels), planned = next(
        (way for way in ways if way[0] in known), ways[0]
    )
    if planned is not source:
        info, levels = without_made_levels(info), []
    return ImagePlan(
        digest=digest,
        store=str(store),
        spec=planned.spec,
        info=info,
        grid=grid,
        mask_grid=choose_grid(info.shape[-2:], 1, tile=tile) if info.has_mask else None,
        codec_config=config,
        level_grids=tuple(levels),
        seal_found=seal,
    )


def _beside(levels: Sequence[ImageInfo], options: EncodeOptions) -> bool:
    """Whether exact bands may stand in one chunk with those that are not: all bands are in it."""
    return coder_class(options.codec).exact_beside and all(
        at.axes[-3:-2] == ("band",)
        and _cut(at, options, block, apart=False).chunk[-3] == at.band_count
        for at in levels
        for block in (at.stream_block, None)
    )


def _configs(
    source: TileSource,
    info: ImageInfo,
    options: EncodeOptions,
    nodata: float | int | None,
    *,
    lossless: bool,
) -> list[dict[str, Any]]:
    """Return the codec configuration of an image, and then the one that earlier versions gave it,
    where that was another: they held targets over samples that nobody sees, too."""
    loss = options.loss
    if lossless or not isinstance(loss, Lossy):
        codec = options.tile_codec(nodata=nodata, lossless=lossless, bands=info.band_count)
        return [codec.to_config()]
    found = []
    for visible in (True, False) if has_hidden(info) else (False,):
        hidden = hidden_of(source, replace(loss, visible=visible))
        codec = options.tile_codec(
            nodata=nodata,
            bands=info.band_count,
            peak=peak_of(source, info, nodata, hidden),
            visible=visible,
        )
        codec.check(info.dtype)
        found.append(codec.to_config())
    return found


def _former_configs(config: dict[str, Any], options: EncodeOptions) -> Iterator[dict[str, Any]]:
    """Yield the configurations that earlier versions had for the same options."""
    if options.model != "auto":
        return
    for former in coder_class(options.codec).former_models.get(options.tier, ()):
        yield {**config, "model": replace(options, model=former).tile_codec().to_config()["model"]}


def _begun(store: StoragePath) -> set[str]:
    """Return the digests of the plans by which a store was begun, and is not done."""
    folder = ledger_folder(store)
    return set(folder.folders()) if folder.is_folder() else set()


def ledger_folder(store: AnyPath) -> StoragePath:
    """Return the folder that holds the lease and the ledgers of a store, by their digests."""
    where = storage_path(store)
    return where.parent / f".tilepress/{where.name}"


def _with_tiles(options: EncodeOptions) -> list[EncodeOptions]:
    """Return the options with this version's tile, and with that of earlier ones, if another: they
    cut images alike for all tiers."""
    usual = EncodeOptions().tile
    formerly = (
        [replace(options, tile=usual)] if TIER_TILES.get(options.tier) == options.tile else []
    )
    return [options, *formerly]


def _cuts(
    every: Sequence[ImageInfo], options: EncodeOptions, *, apart: bool
) -> list[list[ShardGrid]]:
    """Return how all levels of an image are cut, and then how earlier versions cut them."""
    cuts = [[_cut(at, options, at.stream_block, apart=apart) for at in every]]
    # versions before streams were kept cut all images alike, and those after the levels of NDPI
    without = [_cut(at, options, None, apart=apart) for at in every]
    return cuts + [cut for cut in ([without[0], *cuts[0][1:]], without) if cut not in cuts]


def _cut(
    info: ImageInfo, options: EncodeOptions, block: tuple[int, ...] | None, *, apart: bool
) -> ShardGrid:
    """Return the grid of an image, on blocks of that shape if any; ``apart``: of single bands."""
    size = info.dtype.itemsize
    more: dict[str, Any] = {} if block is None else {"block": block}
    if options.planes_per_chunk:
        more["planes"] = options.planes_per_chunk
    grid = choose_grid(info.shape, size, tile=options.tile, **more)
    return grid.apart(info.axes.index("band")) if apart else grid


def with_codec(
    plan: ImagePlan, source: TileSource, codec_config: Mapping[str, Any], tuning: Tuning
) -> ImagePlan:
    """Return the plan of the same store with other weights."""
    digests = plan_digests(source, plan.grid, codec_config, plan.info.exact, plan.level_grids)
    store = storage_path(plan.store)
    known = _begun(store) | {sealed_digest(store) if len(digests) > 1 and is_sealed(store) else ""}
    digest = next((one for one in digests if one in known), digests[0])
    return replace(plan, digest=digest, codec_config=codec_config, tuning=tuning)
