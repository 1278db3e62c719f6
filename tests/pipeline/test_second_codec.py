"""A codec that a line of the registry adds is written, checked, verified, exported and listed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
import zarr

import tilepress
from tilepress.codecs.loss import Within
from tilepress.codecs.tile import TileCodec
from tilepress.errors import CodecError, UsageError
from tilepress.pipeline.catalogue.listed import listed_store
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.summary import read_summary
from tilepress.pipeline.store.writer import StoreWriter
from tilepress.workflows.run.compress import compress

from ..helpers.samples import smooth
from ..helpers.toy_codec import LyingCoder, SwallowingCoder, registered
from .conftest import write_shards

GRID = ShardGrid((3, 40, 52), (3, 16, 16), (3, 32, 32))


@pytest.fixture
def toy() -> Iterator[str]:
    with registered() as name:
        yield name


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "scene.npy"
    np.save(path, smooth((3, 90, 110)))
    return path


class TestTheCheckAfterEncoding:
    image = (np.indices(GRID.shape).sum(axis=0) // 3 + 20).astype(np.uint16)

    def encode(self, name: str) -> Any:
        codec = TileCodec(name, max_error=2, nodata=7)
        box = GRID.box((0, 0, 0))
        return encode_shard(codec, self.image[box.slices], box, GRID, (0, 0, 0), 7)

    def test_passes_what_keeps_its_promise(self, toy: str) -> None:
        assert 0 < self.encode(toy).difference.worst <= 2

    @pytest.mark.parametrize(
        ("coder", "words"), [(LyingCoder, "more than max error 2"), (SwallowingCoder, "nodata")]
    )
    def test_catches_what_does_not(self, coder: Any, words: str) -> None:
        self.image[:, 3:9, 3:9] = 7
        with registered(coder) as name, pytest.raises(CodecError, match=words):
            self.encode(name)


class TestAStoreOfASecondCodec:
    @pytest.fixture
    def store(self, toy: str, image: Path, tmp_path: Path) -> Path:
        store = tmp_path / "one.zarr"
        report = compress(image, store, codec=toy, max_error=2, workers=0)
        assert report.ok, report.failures
        return store

    def test_is_read_as_any(self, store: Path, image: Path) -> None:
        found = StoreReader.open(store)
        assert found.loss == Within(2)
        with xarray.open_zarr(store / "0", consolidated=False, chunks=None) as dataset:
            assert Within(2).check(np.load(image), dataset["image"].values).worst == 2

    def test_says_that_it_loses(self, store: Path) -> None:
        root = zarr.open_group(store, mode="r")
        statement = root.attrs["tilepress"]
        assert statement["codec"] == "toy"
        assert (statement["loss"]["lossless"], statement["loss"]["max_error"]) == (False, 2)
        assert statement["max_error_measured"] == 2
        assert root["0/image"].attrs["tilepress"]["lossless"] is False
        assert listed_store("one.zarr", read_summary(store)).cells()[5] == "2"

    def test_verifies_and_exports(self, store: Path, image: Path, tmp_path: Path) -> None:
        assert tilepress.verify(store, image) == []
        (out,) = tilepress.export(store, tmp_path / "back.npy")
        assert Within(2).check(np.load(image), np.load(out)).worst == 2
        samples = np.load(image)
        samples[1, 50, 60] += 5
        np.save(image, samples)
        (damage,) = tilepress.verify(store, image)
        assert (damage.kind, damage.detail) == (
            "source",
            f"1 of {samples.size} samples differ, the first at [1, 50, 60]",
        )

    def test_is_refused_lossless_before_any_work(
        self, toy: str, image: Path, tmp_path: Path
    ) -> None:
        with pytest.raises(UsageError, match=re.escape("codec 'toy' is never lossless")):
            compress(image, tmp_path / "two.zarr", codec=toy, workers=0)
        assert not (tmp_path / "two.zarr").exists()


class TestItsMaskIsLossless:
    def test_by_a_codec_that_can_be(self, toy: str, make_store: Callable[..., Any]) -> None:
        plain = make_store(mask=np.full((40, 52), 255, np.uint8))
        config = TileCodec(toy, max_error=2).to_config()
        path = plain.path.with_name("lossy.zarr")
        writer = StoreWriter.create(path, plain.info, GRID, config)
        entries = write_shards(writer, {"image": plain.image, "mask": plain.mask})
        origin = json.dumps({"kind": "array"}).encode()
        writer.seal({"origin": origin}.items(), entries, {"plan_digest": "test"})
        assert tilepress.verify(path) == []
        hints = [
            zarr.open_group(path, mode="r")[f"0/{name}"].attrs["tilepress"]
            for name in ("image", "mask")
        ]
        assert [(h["codec"], h["lossless"]) for h in hints] == [("toy", False), ("wave", True)]
