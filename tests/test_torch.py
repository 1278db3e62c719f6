"""tilepress.torch: patches as tensors, whatever loads them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import tilepress
from tilepress.errors import UsageError
from tilepress.torch import TileDataset, TileSampler

from .helpers.samples import smooth

SIZE = 24


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of two stacks of slices, and one of labels."""
    folder = tmp_path_factory.mktemp("torch")
    for kind, top in (("in", 4096), ("labels", 5)):
        (folder / kind).mkdir()
        for number, shape in enumerate([(3, 90, 110), (2, 70, 80)]):
            np.save(folder / kind / f"{number}.npy", smooth(shape, number) % top)
    for kind, out in (("in", "out"), ("labels", "truth")):
        tilepress.compress(folder / kind, folder / out, workers=0, tile=32)
    return folder


def truth(archive: Path, item: dict[str, Any], kind: str = "in") -> np.ndarray:
    samples = np.load(archive / kind / f"{Path(item['store']).stem}.npy")
    (z,), y, x = item["place"], item["y"], item["x"]
    return samples[z : z + 1, y : y + SIZE, x : x + SIZE]


def the_same(one: list[Any]) -> Any:
    """Collate nothing: for workers, which have to find it."""
    return one


def doubled(item: Any) -> Any:
    return {**item, "image": item["image"] * 2}


class TestAtAPrompt:
    def test_a_data_set_and_a_sampler_say_what_they_are(self, archive: Path):
        data = TileDataset(archive / "out/1.zarr", SIZE, positions="grid")
        told = f"{len(data)} patches of 1 × {SIZE} × {SIZE} from 1 store"
        assert repr(data) == f"<TileDataset: {told}>"
        assert repr(TileSampler(data, batch_size=4)) == (
            f"<TileSampler: {len(data)} patches, batch_size 4, workers 0, share 1 of 1>"
        )


class TestItems:
    def test_are_the_samples_as_floats(self, archive: Path):
        data = TileDataset(archive / "out", SIZE, as_dict=True)
        assert len(data) == round((3 * 90 * 110 + 2 * 70 * 80) / SIZE**2)
        for item in data:
            assert item["image"].dtype == torch.float32
            assert np.array_equal(item["image"].numpy(), truth(archive, item))

    @pytest.mark.parametrize(
        ("dtype", "wanted"),
        [(None, torch.uint16), ("int32", torch.int32), (torch.bfloat16, torch.bfloat16)],
    )
    def test_have_the_type_that_was_asked_for(self, archive: Path, dtype: Any, wanted: torch.dtype):
        image = TileDataset(archive / "out", SIZE, dtype=dtype)[0]
        assert (image.dtype, image.shape) == (wanted, (1, SIZE, SIZE))

    def test_with_labels_are_pairs(self, archive: Path):
        data = TileDataset(archive / "out", SIZE, labels=archive / "truth")
        told = TileDataset(archive / "out", SIZE, labels=archive / "truth", as_dict=True)
        for number in range(10):
            image, label = data[number]
            item = told[number]
            assert torch.equal(image, item["image"])
            assert label.dtype == torch.int64
            assert label.shape == (SIZE, SIZE)
            assert np.array_equal(label.numpy(), truth(archive, item, "labels")[0])

    def test_go_through_the_transform(self, archive: Path):
        plain = TileDataset(archive / "out", SIZE, as_dict=True)
        made = TileDataset(archive / "out", SIZE, as_dict=True, transform=doubled)
        assert torch.equal(made[5]["image"], plain[5]["image"] * 2)

    def test_share_their_memory_by_dlpack(self, archive: Path):
        image = TileDataset(archive / "out", SIZE, device="cpu")[0]
        other = np.from_dlpack(image)
        other[0, 0, 0] = -1
        assert image[0, 0, 0] == -1

    def test_are_as_many_as_were_asked_for_at_once(self, archive: Path):
        data = TileDataset(archive / "out", SIZE)
        items = data.__getitems__([3, 1, 4])
        assert all(torch.equal(a, data[n]) for a, n in zip(items, [3, 1, 4], strict=True))

    @pytest.mark.parametrize("options", [{"dtype": None}, {"dtype": "int16"}])
    def test_without_floats_cannot_be_masked(self, archive: Path, options: dict[str, Any]):
        with pytest.raises(UsageError, match="masked puts NaN"):
            TileDataset(archive / "out", SIZE, masked=True, **options)

    def test_a_type_that_is_none_is_refused(self, archive: Path):
        for dtype in ("float31", "nn"):
            with pytest.raises(UsageError, match="got dtype"):
                TileDataset(archive / "out", SIZE, dtype=dtype)

    @pytest.mark.parametrize(
        ("device", "why"),
        [
            ("cuda", "device 'cuda' was asked for, and torch finds 0 of CUDA; leave device out"),
            ("cuda:2", "device 'cuda:2' was asked for"),
            ("gpu", "got device 'gpu', want one of torch's"),
        ],
    )
    def test_a_device_that_is_not_there_is_refused(
        self, archive: Path, device: str, why: str, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
        with pytest.raises(UsageError, match=why):
            TileDataset(archive / "out", SIZE, device=device)


class TestPhysicalValues:
    def test_are_those_that_open_gives(self, tmp_path: Path, dicom_samples: dict[str, Path]):
        store = tmp_path / "ct.zarr"
        tilepress.compress(dicom_samples["ct"], store, workers=0)
        image = tilepress.open(store, hu=True)["image"].values
        image = image.reshape(-1, *image.shape[-2:])
        data = TileDataset(store, SIZE, hu=True, length=4, as_dict=True)
        for item in data:
            wanted = image[0, item["y"] : item["y"] + SIZE, item["x"] : item["x"] + SIZE]
            assert np.array_equal(item["image"][0].numpy(), wanted)

    def test_are_refused_where_there_are_none(self, archive: Path):
        with pytest.raises(UsageError, match="tells no rescale slope"):
            TileDataset(archive / "out", SIZE, hu=True)


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
class TestLoaders:
    @pytest.mark.parametrize(
        ("workers", "start"), [(0, None), (1, "fork"), (2, "fork"), (2, "spawn")]
    )
    def test_give_each_patch_of_an_epoch_once(self, archive: Path, workers: int, start: str | None):
        """Forked ones, too, after this process has used threads, files and Zarr."""
        tilepress.open(archive / "out/0.zarr")["image"].load()
        data = TileDataset(archive / "out", SIZE, as_dict=True)
        data.__getitems__(range(8))
        order = TileSampler(data, batch_size=4, workers=workers)
        loader = DataLoader(
            data,
            batch_size=4,
            sampler=order,
            num_workers=workers,
            multiprocessing_context=start,
            collate_fn=the_same,
            timeout=60 if workers else 0,
            persistent_workers=workers == 2,
        )
        epochs = []
        for epoch in range(2):
            found = [item for batch in loader for item in batch]
            assert len(found) == len(data) == len(order)
            for item in found:
                assert np.array_equal(item["image"].numpy(), truth(archive, item))
            places = {(i["store"], i["place"], i["y"], i["x"]) for i in found}
            wanted = [data[epoch * len(data) + number] for number in range(len(data))]
            assert places == {(i["store"], i["place"], i["y"], i["x"]) for i in wanted}
            epochs.append(places)
        assert epochs[0] != epochs[1]

    def test_take_any_sampler(self, archive: Path):
        data = TileDataset(archive / "out", SIZE, positions="grid")
        loader = DataLoader(data, batch_size=8, shuffle=True, drop_last=True)
        assert [batch.shape for batch in loader] == [(8, 1, SIZE, SIZE)] * (len(data) // 8)

    def test_each_worker_decodes_what_is_its_own(self, archive: Path):
        """Measured here, where two data sets stand for the two processes."""
        numbers = list(TileSampler(TileDataset(archive / "out", SIZE), batch_size=4, workers=2))
        alone, hands = TileDataset(archive / "out", SIZE), []
        alone.__getitems__(numbers)
        for hand in range(2):
            data = TileDataset(archive / "out", SIZE)
            for start in range(4 * hand, len(numbers), 8):
                data.__getitems__(numbers[start : start + 4])
            hands.append(data.chunks_decoded)
        assert sum(hands) < 1.6 * alone.chunks_decoded


class TestTheSampler:
    def test_decodes_each_chunk_once_and_a_shuffle_does_not(self, archive: Path):
        options: dict[str, Any] = {"cache": 40_000, "length": 200}
        data, other = (TileDataset(archive / "out", SIZE, **options) for _ in range(2))
        for number in TileSampler(data):
            data[number]
        for number in np.random.default_rng(0).permutation(len(other)):
            other[int(number)]
        assert data.chunks_decoded <= 2 * 18
        assert other.chunks_decoded > 3 * data.chunks_decoded

    def test_ranks_have_as_many_and_others(self, archive: Path):
        data = TileDataset(archive / "out", SIZE)
        ranks = [TileSampler(data, rank=rank, world=3, batch_size=2) for rank in range(3)]
        shares = [list(one) for one in ranks]
        assert [len(share) for share in shares] == [len(one) for one in ranks]
        assert len({number for share in shares for number in share}) == 3 * (len(data) // 3)

    def test_goes_on_by_itself_and_where_it_is_told_to(self, archive: Path):
        sampler = TileSampler(TileDataset(archive / "out", SIZE))
        first, second = list(sampler), list(sampler)
        assert min(second) >= len(sampler)
        sampler.set_epoch(0)
        assert list(sampler) == first
        sampler.set_epoch(1)
        assert list(sampler) == second

    def test_without_shuffling_gives_them_in_order(self, archive: Path):
        data = TileDataset(archive / "out", SIZE)
        assert list(TileSampler(data, shuffle=False)) == list(range(len(data)))

    @pytest.mark.parametrize(
        "options", [{"rank": 1}, {"rank": 2, "world": 2}, {"batch_size": 0}, {"workers": -1}]
    )
    def test_refuses_what_makes_no_sense(self, archive: Path, options: dict[str, int]):
        with pytest.raises(UsageError, match="sampling patches: "):
            TileSampler(TileDataset(archive / "out", SIZE), **options)


WITHOUT_TORCH = """
import sys
sys.modules["torch"] = None
import tilepress
try:
    tilepress.torch
except ImportError as error:
    print(error)
"""


class TestWithoutTorch:
    def test_what_to_install_is_said(self, tmp_path: Path):
        done = subprocess.run(
            [sys.executable, "-c", WITHOUT_TORCH], capture_output=True, text=True, cwd=tmp_path
        )
        assert done.stdout.strip().endswith("not installed: pip install 'tilepress[torch]'")

    def test_it_is_there_without_an_import_of_its_own(self):
        assert tilepress.torch.TileDataset is TileDataset
