"""Train on stores: a data set of patches for PyTorch, and the sampler that makes it fast.

    from torch.utils.data import DataLoader
    from tilepress.torch import TileDataset, TileSampler

    patches = TileDataset("archive/", size=224)
    order = TileSampler(patches, batch_size=64, workers=2)
    for batch in DataLoader(patches, batch_size=64, sampler=order, num_workers=2):
        ...                                       # (64, bands, 224, 224) float32

Needs the extra ``torch``. A chunk of a store takes far longer to decode than a patch to cut out, so
patches of neighbouring chunks are drawn together, several such blocks at a time, and decoded chunks
are kept (docs/training.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

try:
    import torch
    from torch.utils.data import Dataset, Sampler, get_worker_info
except ImportError as error:
    raise ImportError(
        "tilepress.torch needs PyTorch, which is not installed: pip install 'tilepress[torch]'"
    ) from error

import numpy as np
import numpy.typing as npt

from tilepress.codecs.numbers import shown
from tilepress.errors import UsageError
from tilepress.pipeline.patches.order import Run, in_batches
from tilepress.pipeline.patches.patches import Patch, Patches, PatchOptions
from tilepress.pipeline.patches.stored import Window
from tilepress.pipeline.patches.stores import Stores

__all__ = ["TileDataset", "TileSampler"]

Array = npt.NDArray[Any]
Item = Any
"""A tensor, a pair of tensors, a dict, or what a transform makes of it."""


class TileDataset(Dataset[Item]):
    """Patches (bands, size, size) of one store or many, by number.

    ``dataset[n]`` is the same patch in every process and run. Numbers from ``len(dataset)`` on are
    those of the next epochs, which have other random patches. Patches with close numbers come of
    the same chunks: ``TileSampler`` shuffles them so that few chunks are decoded more than once,
    which a sampler that knows nothing of chunks cannot.

    Parameters
    ----------
    stores :
        A store, an archive, a pattern (``"out/**/*.zarr"``), ``s3://…``, ``https://…``, or a list
        of such. All have the same number of bands.
    size :
        Rows and columns of a patch.
    length :
        Patches of an epoch; as many as have the samples of all images together unless it is said.
    positions :
        "random", or "grid": side by side, at every ``stride`` samples, the last ones of a row or
        column flush with the image's end.
    stride :
        Of a grid, in samples; ``size`` unless it is said.
    coverage :
        How many times the random patches of a visit cover their block of 2 × 2 chunks: more is
        faster, for fewer chunks are decoded, and makes an epoch of fewer places.
    bands :
        Names, or numbers from 1, in the order that patches have them. All of them if None.
    level :
        Of stores with levels of lower resolution, which one.
    hu, masked :
        As ``tilepress.open``: physical values, and NaN where a sample is absent.
    min_valid :
        Fraction of samples that are there, which a random patch has at least; others are drawn
        again.
    dtype :
        Of the patches, a name or a torch.dtype; None leaves it as it is stored.
    labels :
        Stores of labels, one for each of ``stores`` in the same order and on the same grid.
        Items are then pairs (image, label). Labels of one band are (size, size).
    label_dtype :
        int64 for integers and ``dtype`` for floats unless it is said.
    transform :
        Called with each item, what it returns is the item.
    as_dict :
        Items are dicts with ``image``, ``label`` where there is one, ``store``, ``place`` (along
        the axes that are neither bands nor y and x), ``y``, ``x``, and where absent samples are
        known, ``valid``: the fraction of those that are there.
    device :
        Where tensors are moved to, as "cuda". Not in worker processes: pin batches there
        (``pin_memory=True``) and move them in the loop.
    seed :
        Of the random positions.
    cache :
        Bytes of decoded chunks that each process keeps for this data set, as "1GiB". Unless it is
        said, they are among the 256 MiB, or ``TILEPRESS_CACHE``, of all that the process reads.

    Raises
    ------
    UsageError
        Where there are no stores, or their patches would differ in shape.
    StoreError
        Where a store cannot be read.
    """

    def __init__(
        self,
        stores: Stores,
        size: int = 224,
        *,
        length: int | None = None,
        positions: str = "random",
        stride: int | None = None,
        coverage: float = 2.0,
        bands: Sequence[str | int] | None = None,
        level: int = 0,
        hu: bool = False,
        masked: bool = False,
        min_valid: float = 0.0,
        dtype: str | torch.dtype | None = "float32",
        labels: Stores | None = None,
        label_dtype: str | torch.dtype | None = None,
        transform: Callable[[Any], Any] | None = None,
        as_dict: bool = False,
        device: str | torch.device | None = None,
        seed: int = 0,
        cache: int | str | None = None,
    ) -> None:
        self._dtype, self._label_dtype = _torch_dtype(dtype), _torch_dtype(label_dtype)
        if masked and not (self._dtype is not None and self._dtype.is_floating_point):
            raise UsageError(f"taking patches: masked puts NaN, which dtype {dtype} has not")
        options = PatchOptions(
            size=size,
            length=length,
            positions=positions,
            stride=stride,
            coverage=coverage,
            bands=bands,
            level=level,
            hu=hu,
            masked=masked,
            min_valid=min_valid,
            seed=seed,
            cache=cache,
            same_dtype=self._dtype is None,
        )
        self._patches = Patches(stores, options, labels)
        self._transform, self._as_dict = transform, as_dict
        self._device = _torch_device(device)

    @property
    def bands(self) -> tuple[str, ...]:
        """Names of the bands of a patch, as the first store has them."""
        first = self._patches.stores[0]
        return tuple(first.names[band] for band in first.bands)

    @property
    def stores(self) -> tuple[str, ...]:
        """The stores that patches are taken from."""
        return tuple(store.where for store in self._patches.stores)

    @property
    def chunks_decoded(self) -> int:
        """How many chunks this process has decoded so far."""
        return self._patches.reader.chunks_decoded

    @property
    def blocks_at_once(self) -> int:
        """From how many blocks of chunks a sampler draws: as many as a process keeps decoded."""
        return self._patches.blocks_at_once

    def __repr__(self) -> str:
        size, bands = self._patches.options.size, len(self._patches.stores[0].bands)
        count = len(self._patches.stores)
        stores = f"{count} store{'s' * (count != 1)}"
        return f"<TileDataset: {len(self)} patches of {bands} × {size} × {size} from {stores}>"

    def __len__(self) -> int:
        return len(self._patches)

    def __iter__(self) -> Iterator[Item]:
        """Yield the patches of the first epoch, block by block."""
        return (self[number] for number in range(len(self)))

    def runs(self, epoch: int) -> list[Run]:
        """Return the first number of each block of an epoch, and how many patches it has."""
        return self._patches.runs(epoch)

    def place_of(self, number: int) -> tuple[int, Window]:
        """Return of which store a patch is, by its place among ``stores``, and where it lies.

        Another one is taken where that has too few valid samples.
        """
        return self._patches.place_of(number)

    def __getitem__(self, number: int) -> Item:
        return self.__getitems__([number])[0]

    def __getitems__(self, numbers: Sequence[int]) -> list[Item]:
        """Return several patches, whose chunks are decoded side by side."""
        alone = get_worker_info() is None  # else the cores have workers of their own
        return [self._item(patch) for patch in self._patches.get(numbers, threads=alone)]

    def _item(self, patch: Patch) -> Item:
        image = self._tensor(self._values(patch), self._dtype)
        label = None if patch.label is None else self._label(patch.label)
        item: Item = image if label is None else (image, label)
        if self._as_dict:
            item = {"image": image} if label is None else {"image": image, "label": label}
            place, y, x = patch.window
            item |= {"store": patch.store.where, "place": place, "y": y, "x": x}
            if patch.read.present is not None:
                item["valid"] = patch.read.valid
        return item if self._transform is None else self._transform(item)

    def _values(self, patch: Patch) -> Array:
        samples = patch.read.samples
        values = patch.store.rescaled(samples, patch.window, _numpy_dtype(self._dtype, samples))
        if self._patches.options.masked and patch.read.present is not None:
            values[~patch.read.present] = np.nan
        return values

    def _label(self, samples: Array) -> torch.Tensor:
        wanted = self._label_dtype
        if wanted is None:
            wanted = torch.int64 if samples.dtype.kind in "biu" else self._dtype
        samples = samples.astype(_numpy_dtype(wanted, samples))
        return self._tensor(samples[0] if len(samples) == 1 else samples, wanted)

    def _tensor(self, values: Array, dtype: torch.dtype | None) -> torch.Tensor:
        tensor = torch.from_numpy(values)
        if dtype is not None:
            tensor = tensor.to(dtype)
        if self._device is None:
            return tensor
        if self._device.type != "cpu" and get_worker_info() is not None:
            raise UsageError(
                f"taking patches: worker processes cannot share {self._device}; leave device out, "
                "give the DataLoader pin_memory=True, and move batches in the loop"
            )
        return tensor.to(self._device)


class TileSampler(Sampler[int]):
    """Numbers of the patches of an epoch, shuffled so that few chunks are decoded twice.

    Give ``batch_size`` and ``workers`` as to the DataLoader: each worker then gets the patches of
    blocks of its own. An epoch has other patches, in another order, than the one before.

    Parameters
    ----------
    dataset :
        What is sampled.
    batch_size, workers :
        Those of the DataLoader.
    shuffle :
        False gives the patches block by block.
    rank, world :
        Which share of an epoch this process gets; those of ``torch.distributed`` where that is
        initialised. All shares have as many patches.
    seed :
        Of the order; that of every rank must be the same.
    """

    def __init__(
        self,
        dataset: TileDataset,
        *,
        batch_size: int = 1,
        workers: int = 0,
        shuffle: bool = True,
        rank: int | None = None,
        world: int | None = None,
        seed: int = 0,
    ) -> None:
        if batch_size < 1 or workers < 0:
            raise UsageError(
                f"sampling patches: got batch_size {batch_size} and workers {workers}, want at "
                "least 1 and 0"
            )
        self.dataset, self.batch_size, self.workers = dataset, batch_size, workers
        self.shuffle, self.seed = shuffle, seed
        self.rank, self.world = _share(rank, world)
        self.epoch = 0
        """The one that comes next."""

    def __repr__(self) -> str:
        told = f"{len(self)} patches, batch_size {self.batch_size}, workers {self.workers}"
        return f"<TileSampler: {told}, share {self.rank + 1} of {self.world}>"

    def __len__(self) -> int:
        return len(self.dataset) // self.world

    def set_epoch(self, epoch: int) -> None:
        """Go on with an epoch, from 0: after an interruption, say. Each pass goes on by itself."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        epoch, self.epoch = self.epoch, self.epoch + 1
        runs = self.dataset.runs(epoch)
        random = np.random.default_rng([self.seed, epoch]) if self.shuffle else None
        if random is not None:
            runs = [runs[number] for number in random.permutation(len(runs))]
        return in_batches(
            runs,
            batch=self.batch_size,
            workers=self.workers,
            rank=self.rank,
            world=self.world,
            at_once=self.dataset.blocks_at_once,
            random=random,
        )


def _share(rank: int | None, world: int | None) -> tuple[int, int]:
    if (rank is None) != (world is None):
        raise UsageError("sampling patches: give rank and world, or neither")
    if rank is None or world is None:
        together = torch.distributed.is_available() and torch.distributed.is_initialized()
        if not together:
            return 0, 1
        return torch.distributed.get_rank(), torch.distributed.get_world_size()
    if not 0 <= rank < world:
        raise UsageError(f"sampling patches: got rank {rank} of {world}")
    return rank, world


def _torch_device(named: str | torch.device | None) -> torch.device | None:
    """Return a device that is there; raises UsageError."""
    if named is None:
        return None
    try:
        device = torch.device(named)
    except RuntimeError as error:
        why = f"got device {shown(named)}, want one of torch's, as 'cuda'"
        raise UsageError(f"taking patches: {why}") from error
    count = torch.cuda.device_count()
    if device.type == "cuda" and (device.index or 0) >= count:
        raise UsageError(
            f"taking patches: device '{device}' was asked for, and torch finds {count} of CUDA; "
            "leave device out, or install a torch that is built for CUDA"
        )
    return device


def _torch_dtype(named: str | torch.dtype | None) -> torch.dtype | None:
    found = getattr(torch, named, None) if isinstance(named, str) else named
    if not isinstance(found, torch.dtype | None) or (named and found is None):
        raise UsageError(f"taking patches: got dtype {named!r}, want that of torch, as 'float32'")
    return found


def _numpy_dtype(wanted: torch.dtype | None, samples: Array) -> np.dtype[Any]:
    """Return what samples are made before they are a tensor: torch has types that numpy has not."""
    if wanted is None:
        return samples.dtype
    try:
        return torch.empty(0, dtype=wanted).numpy().dtype
    except TypeError:
        return np.dtype(np.float32)
