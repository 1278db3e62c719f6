"""Assemble and take apart one shard."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr
import zarr.core.indexing
from zarr.storage import MemoryStore

from tilepress.codecs.difference import Difference
from tilepress.codecs.loss import Within
from tilepress.codecs.threads import set_threads
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import CodecError, DamagedStore
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store import shard_check, shard_encode
from tilepress.pipeline.store.shard import morton_order, split_shard
from tilepress.pipeline.store.shard_check import compare_shard
from tilepress.pipeline.store.shard_decode import decode_shard, samples_sha256
from tilepress.pipeline.store.shard_encode import encode_shard

CASES = {
    "plane with edges": ((70, 90), (16, 16), (48, 48), "uint16", 0),
    "one chunk": ((10, 12), (16, 16), (16, 16), "uint8", 0),
    "bands and nodata": ((3, 33, 50), (3, 16, 16), (3, 32, 64), "int16", -9999),
    "volume": ((7, 20, 20), (4, 16, 16), (8, 32, 32), "uint16", 0),
    "volume of colour": ((3, 3, 18, 20), (2, 3, 16, 16), (4, 3, 32, 16), "uint8", 0),
    "floats and NaN": ((30, 40), (16, 16), (32, 32), "float32", math.nan),
    "bool": ((20, 20), (16, 16), (32, 32), "bool", 0),
}


def _image(shape: tuple[int, ...], dtype: str, nodata: float) -> np.ndarray:
    image = np.random.default_rng(0).integers(0, 250, shape).astype(dtype)
    if nodata:
        image[..., :5] = nodata
    return image


class TestShardsAreZarrsOwnBytes:
    @pytest.mark.parametrize("case", CASES)
    def test_equal_to_what_zarr_writes(self, case: str) -> None:
        shape, chunk, shard, dtype, nodata = CASES[case]
        image, grid = _image(shape, dtype, nodata), ShardGrid(shape, chunk, shard)
        codec = TileCodec(nodata=nodata or None)
        fill = image.dtype.type(nodata).item()
        objects: dict[str, Any] = {}
        array = zarr.create_array(
            MemoryStore(objects),
            shape=shape,
            chunks=chunk,
            shards=shard,
            dtype=dtype,
            fill_value=fill,
            serializer=TilepressTileV3(codec),
            compressors=None,
            filters=None,
            config={"write_empty_chunks": True},
        )
        array[...] = image
        for index in grid.indices():
            box = grid.box(index)
            ours = encode_shard(codec, image[box.slices], box, grid, index, fill)
            theirs = objects["c/" + "/".join(map(str, index))].to_bytes()
            assert ours.data == theirs, index
            assert ours.raw_bytes == image[box.slices].nbytes
            assert ours.difference == Difference()
            back, wrong = decode_shard(codec, ours.data, grid, index, image.dtype)
            assert not wrong
            np.testing.assert_array_equal(back, image[box.slices])

    @pytest.mark.parametrize(
        ("dtype", "max_error", "nodata"),
        [("int16", 4, -9999), ("uint8", 1, None), ("float32", 0.5, math.nan)],
    )
    def test_near_lossless(self, dtype: str, max_error: float, nodata: float | None) -> None:
        image = np.cumsum(np.random.default_rng(0).integers(-3, 4, (40, 50)), axis=1).astype(dtype)
        if nodata is not None:
            image[3:20, 4:30] = nodata
        grid, codec = (
            ShardGrid((40, 50), (16, 16), (64, 64)),
            TileCodec(max_error=max_error, nodata=nodata),
        )
        fill = image.dtype.type(nodata or 0).item()
        coded = encode_shard(codec, image, grid.box((0, 0)), grid, (0, 0), fill)
        assert 0 < coded.difference.worst <= max_error
        samples, wrong = decode_shard(codec, coded.data, grid, (0, 0), image.dtype)
        assert not wrong
        assert samples_sha256(samples) == coded.samples_sha256

    @pytest.mark.parametrize("counts", [(1,), (5,), (2, 3), (7, 1, 4), (3, 3, 3), (1, 9, 2, 2)])
    def test_morton_order(self, counts: tuple[int, ...]) -> None:
        """It is that of zarr-python, which gave the function another name in 3.4."""
        names = ("morton_order_iter", "morton_order_coords")
        theirs = next(
            getattr(zarr.core.indexing, n) for n in names if hasattr(zarr.core.indexing, n)
        )
        assert morton_order(counts) == [tuple(c) for c in theirs(counts)]


class _Quantising(TileCodec):
    """Stands for a near-lossless codec: drops the lowest bits, keeps the rest as it is."""

    def __init__(self, step: int, **options: Any) -> None:
        super().__init__(**options)
        self._step = step

    @property
    def loss(self) -> Within:
        return Within(2)

    def check_loss(self, given: np.ndarray, decoded: np.ndarray) -> Difference:
        return self.loss.check(given, decoded, self.nodata)

    def decode(self, data: bytes | memoryview, **expected: Any) -> np.ndarray:
        array = super().decode(data, **expected)
        return (array // self._step * self._step).astype(array.dtype)


class _Lying(TileCodec):
    def decode(self, data: bytes | memoryview, **expected: Any) -> np.ndarray:
        array = super().decode(data, **expected)
        array.reshape(-1)[0] ^= 1
        return array


class _Misplacing(TileCodec):
    """Gives back one sample that is another."""

    def __init__(self, place: tuple[int, int], sample: float, **options: Any) -> None:
        super().__init__(**options)
        self._place, self._sample = place, sample

    def decode(self, data: bytes | memoryview, **expected: Any) -> np.ndarray:
        array = super().decode(data, **expected)
        array[self._place] = self._sample
        return array


class _Gathering(TileCodec):
    """Counts what it was given to code side by side."""

    def map(self, function: Any, items: Any) -> list[Any]:
        given = list(items)
        self.together = [*getattr(self, "together", []), len(given)]
        return super().map(function, given)


class TestChunksOfAShard:
    def test_meet_in_the_codec(self) -> None:
        """A codec on a GPU gathers what it is asked for at a time."""
        image = np.arange(32 * 48, dtype=np.uint16).reshape(32, 48)
        grid = ShardGrid((32, 48), (16, 16), (32, 48))
        codec = _Gathering()
        coded = encode_shard(codec, image, grid.box((0, 0)), grid, (0, 0), 0)
        assert codec.together == [6]
        decoded, wrong = decode_shard(codec, coded.data, grid, (0, 0), image.dtype)
        assert (codec.together, wrong) == ([6, 6], {})
        np.testing.assert_array_equal(decoded, image)


class TestNothingLeavesUnchecked:
    grid = ShardGrid((20, 30), (16, 16), (32, 32))
    image = np.random.default_rng(0).integers(0, 250, (20, 30), dtype=np.uint16)

    def _encode(self, codec: TileCodec) -> Any:
        return encode_shard(codec, self.image, self.grid.box((0, 0)), self.grid, (0, 0), 0)

    def test_a_codec_that_gives_back_other_samples_is_caught(self) -> None:
        with pytest.raises(CodecError, match="did not give back"):
            self._encode(_Lying())

    def test_near_lossless_within_its_bound(self) -> None:
        coded = self._encode(_Quantising(3))
        assert coded.difference.worst == 2
        assert coded.difference.squared == float(np.square(self.image % 3).sum())
        plain = self._encode(TileCodec())
        assert coded.samples_sha256 != plain.samples_sha256, "the digest is of decoded samples"

    def test_near_lossless_beyond_its_bound_is_caught(self) -> None:
        with pytest.raises(CodecError, match="off by 3, more than max error 2"):
            self._encode(_Quantising(4))

    def test_nodata_that_appears_is_caught(self) -> None:
        self.image[3, 3] = 100
        with pytest.raises(CodecError, match="nodata"):
            self._encode(_Quantising(3, nodata=99))

    @pytest.mark.parametrize("nodata", [math.inf, -math.inf, math.nan])
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_nodata_that_no_json_number_says(self, dtype: str, nodata: float) -> None:
        """Infinite nodata is a text in the configuration, and a number to the check."""
        image = np.random.default_rng(0).normal(0, 9, (20, 30)).astype(dtype)
        image[5:9, 5:9] = nodata
        box, codec = self.grid.box((0, 0)), TileCodec(max_error=0.5, nodata=nodata)
        coded = encode_shard(codec, image, box, self.grid, (0, 0), nodata)
        assert 0 < coded.difference.worst <= 0.5
        again = compare_shard(codec, coded.data, image, self.grid, (0, 0), nodata)
        assert again.difference == coded.difference
        for place, sample in (((0, 0), nodata), ((6, 6), 1.0)):
            lying = _Misplacing(place, sample, max_error=0.5, nodata=nodata)
            with pytest.raises(CodecError, match="made or unmade nodata"):
                encode_shard(lying, image, box, self.grid, (0, 0), nodata)

    def test_a_shard_of_another_box_is_refused(self) -> None:
        with pytest.raises(ValueError, match="encoding shard"):
            encode_shard(TileCodec(), self.image[1:], self.grid.box((0, 0)), self.grid, (0, 0), 0)


class TestDamageIsFoundWhereItIs:
    grid = ShardGrid((40, 40), (16, 16), (48, 48))
    image = np.arange(1600, dtype=np.uint16).reshape(40, 40)

    @pytest.fixture
    def data(self) -> bytes:
        grid = self.grid
        return encode_shard(TileCodec(), self.image, grid.box((0, 0)), grid, (0, 0), 0).data

    def test_a_flipped_bit_names_its_chunk(self, data: bytes) -> None:
        start = len(split_shard(data, (3, 3))[0, 0])
        broken = bytearray(data)
        broken[start + 40] ^= 4  # within the second record in Morton order
        samples, wrong = decode_shard(
            TileCodec(), bytes(broken), self.grid, (0, 0), self.image.dtype
        )
        assert list(wrong) == [(1, 0)]
        np.testing.assert_array_equal(samples[:16], self.image[:16])

    def test_a_flipped_bit_of_the_index(self, data: bytes) -> None:
        for offset in range(len(data) - 9 * 16 - 4, len(data), 7):
            broken = bytearray(data)
            broken[offset] ^= 1
            with pytest.raises(DamagedStore, match="index"):
                split_shard(bytes(broken), (3, 3))

    def test_every_cut(self, data: bytes) -> None:
        for length in range(0, len(data), 97):
            with pytest.raises(DamagedStore):
                split_shard(data[:length], (3, 3))


class TestAStoredShardIsMeasuredAsItWasCoded:
    """What a store says of its loss must not depend on when it was measured."""

    @pytest.mark.parametrize("max_error", [0, 2])
    @pytest.mark.parametrize("case", ["plane with edges", "bands and nodata", "volume"])
    def test_the_same_figures(self, case: str, max_error: int) -> None:
        shape, chunk, shard, dtype, nodata = CASES[case]
        image, grid = _image(shape, dtype, nodata), ShardGrid(shape, chunk, shard)
        codec = TileCodec(nodata=nodata or None, max_error=max_error)
        for index in grid.indices():
            box = grid.box(index)
            coded = encode_shard(codec, image[box.slices], box, grid, index, nodata)
            again = compare_shard(codec, coded.data, image[box.slices], grid, index, nodata)
            assert again.entry("image", index) == coded.entry("image", index)
            assert again.difference == coded.difference
            assert (coded.difference.squared > 0) == bool(max_error)

    def test_other_samples_are_told_from_damage(self) -> None:
        shape, chunk, shard, dtype, _ = CASES["plane with edges"]
        image, grid = _image(shape, dtype, 0), ShardGrid(shape, chunk, shard)
        codec, box = TileCodec(), grid.box((0, 0))
        data = encode_shard(codec, image[box.slices], box, grid, (0, 0), 0).data
        other = image[box.slices] + np.uint16(1)
        with pytest.raises(CodecError, match="did not give back the same samples"):
            compare_shard(codec, data, other, grid, (0, 0), 0)
        with pytest.raises(DamagedStore):
            compare_shard(codec, data[:-1], image[box.slices], grid, (0, 0), 0)
        with pytest.raises(DamagedStore, match="not the records of its place"):
            compare_shard(codec, data, image[grid.box((1, 1)).slices], grid, (1, 1), 0)


class TestStreamsOfAShard:
    """Files come back as they were only if all of their streams are kept."""

    IMAGE = np.random.default_rng(1).integers(0, 200, (64, 32, 32)).astype(np.uint8)
    GRID = ShardGrid((64, 32, 32), (16, 32, 32), (64, 32, 32))

    def coded(
        self, monkeypatch: pytest.MonkeyPatch, sizes: list[int | None], absent: int | None = None
    ) -> list[bool]:
        """Code chunks whose records of streams have these sizes; return which are kept.

        absent : number of the chunk of which the file has no stream.
        """
        plain = TileCodec().encode(self.IMAGE[:16])
        left = iter(sizes)

        def keep(kept: Streams, samples: np.ndarray, *_: object) -> bytes | None:
            size = next(left)
            return None if size is None else b"S" * size

        decode = lambda codec, record, shape, dtype: self.IMAGE[:16]  # noqa: E731
        monkeypatch.setattr(shard_encode, "keep_streams", keep)
        monkeypatch.setattr(shard_encode, "encode_chunk", lambda *_: plain)
        monkeypatch.setattr(shard_check, "decode_chunk", decode)
        for name in ("is_irreversible", "keeps_streams"):
            monkeypatch.setattr(shard_encode, name, lambda record: record.startswith(b"S"))
        given = Streams(streams=(b"s",), rows=1, columns=1, height=32, width=32, family="webp")

        def streams_of(box: Box) -> Streams:
            is_absent = absent is not None and box.start[0] == 16 * absent
            return replace(given, streams=(None,)) if is_absent else given

        image = np.concatenate([self.IMAGE[:16]] * 4)
        set_threads(1)  # sizes are taken in the order of chunks
        try:
            found = encode_shard(
                TileCodec(), image, self.GRID.box((0, 0, 0)), self.GRID, (0, 0, 0), 0,
                streams=streams_of,
            )  # fmt: skip
        finally:
            set_threads(None)
        records = split_shard(found.data, (4, 1, 1)).values()
        kept = [bytes(record[:1]) == b"S" for record in records]
        assert found.irreversible == any(kept)
        entry = found.entry("image", (0, 0, 0))
        assert entry.irreversible == any(kept)
        assert entry.recoded == any(not one for n, one in enumerate(kept) if n != absent)
        return kept

    def test_all_are_kept_where_they_take_no_more_in_all(self, monkeypatch: pytest.MonkeyPatch):
        size = len(TileCodec().encode(self.IMAGE[:16]))
        assert self.coded(monkeypatch, [size + 9, size - 3, size - 3, size - 3]) == [True] * 4

    def test_else_each_goes_by_itself(self, monkeypatch: pytest.MonkeyPatch):
        size = len(TileCodec().encode(self.IMAGE[:16]))
        assert self.coded(monkeypatch, [size + 9, size - 3, size - 3, size + 9]) == [
            False, True, True, False,
        ]  # fmt: skip
        assert self.coded(monkeypatch, [None, size - 3, size + 9, size - 3]) == [
            False, True, False, True,
        ]  # fmt: skip

    def test_a_chunk_that_a_sparse_file_lacks_has_no_say(self, monkeypatch: pytest.MonkeyPatch):
        size = len(TileCodec().encode(self.IMAGE[:16]))
        kept = self.coded(monkeypatch, [size - 3, None, size + 1, size - 3], absent=1)
        assert kept == [True, False, True, True]
        kept = self.coded(monkeypatch, [size - 3, None, size + 9, size - 3], absent=1)
        assert kept == [True, False, False, True]
