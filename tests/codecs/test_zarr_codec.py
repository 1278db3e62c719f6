"""Let Zarr v3 arrays use TileCodec."""

from __future__ import annotations

import json
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import zarr
from zarr.core.array_spec import ArrayConfig, ArraySpec
from zarr.core.buffer import default_buffer_prototype
from zarr.core.dtype import get_data_type_from_native_dtype
from zarr.registry import register_ndbuffer
from zarr.storage import MemoryStore

from tilepress.codecs.tile import CODEC_NAME, TileCodec, decode_chunk, encode_chunk
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import InvalidRecord, UnsupportedArray, UnsupportedFormat


def _create(store: Any, image: np.ndarray, **options: Any) -> zarr.Array[Any]:
    options = {"chunks": (*image.shape[:-2], 16, 16), "serializer": TilepressTileV3()} | options
    array = zarr.create_array(
        store,
        shape=image.shape,
        dtype=image.dtype,
        filters=None,
        compressors=None,
        config={"write_empty_chunks": True},
        **options,
    )
    array[...] = image
    return array


IMAGE = np.random.default_rng(0).integers(0, 4000, (3, 40, 70), dtype=np.uint16)


class TestAFreshProcessNeedsNoImport:
    @pytest.mark.parametrize("reader", ["zarr", "xarray"])
    def test_decodes_through_the_entry_point(self, tmp_path: Path, reader: str) -> None:
        path = tmp_path / "a.zarr"
        zarr.create_group(path)
        _create(path, IMAGE, name="image", shards=(3, 32, 32), dimension_names=("band", "y", "x"))
        code = {
            "zarr": "import zarr; a = zarr.open(r'{}', mode='r')['image'][...]",
            "xarray": "import xarray; "
            "a = xarray.open_zarr(r'{}', consolidated=False, chunks=None)['image'].values",
        }[reader]
        code += "; import sys; assert 'torch' not in sys.modules; print(int(a.astype('u8').sum()))"
        out = subprocess.run(
            [sys.executable, "-c", code.format(path)],
            check=True,
            capture_output=True,
            text=True,
            cwd=tmp_path,
            timeout=120,
        )
        assert int(out.stdout) == int(IMAGE.astype(np.uint64).sum())


class TestRoundTrip:
    @pytest.mark.parametrize("shards", [None, (3, 32, 64)])
    @pytest.mark.parametrize("batch", [1, 16])
    def test_whole_and_windows(self, shards: tuple[int, ...] | None, batch: int) -> None:
        with zarr.config.set({"codec_pipeline.batch_size": batch}):
            array = _create(MemoryStore(), IMAGE, shards=shards)
            np.testing.assert_array_equal(array[...], IMAGE)
            np.testing.assert_array_equal(array[1, 5:33, 20:61:3], IMAGE[1, 5:33, 20:61:3])

    @pytest.mark.parametrize("dtype", ["bool", "int8", "uint32", "int64", "float16", "float64"])
    def test_dtypes(self, dtype: str) -> None:
        image = (IMAGE % 100).astype(dtype)
        np.testing.assert_array_equal(_create(MemoryStore(), image)[...], image)

    def test_four_axes(self) -> None:
        image = IMAGE[:, None].repeat(2, axis=1)
        array = _create(MemoryStore(), image, chunks=(2, 2, 16, 16), shards=(4, 2, 32, 32))
        np.testing.assert_array_equal(array[...], image)

    def test_a_window_within_a_chunk_can_be_written(self) -> None:
        array = _create(MemoryStore(), IMAGE, shards=(3, 32, 64))
        array[1, 3:20, 5:9] = 1
        expected = IMAGE.copy()
        expected[1, 3:20, 5:9] = 1
        np.testing.assert_array_equal(array[...], expected)

    def test_sync_methods_agree(self) -> None:
        """zarr 3.4's fused pipeline calls nothing else."""
        codec = TilepressTileV3()
        spec = ArraySpec(
            shape=(3, 16, 16),
            dtype=get_data_type_from_native_dtype(np.dtype(np.uint16)),
            fill_value=np.uint16(0),
            config=ArrayConfig.from_dict({}),
            prototype=default_buffer_prototype(),
        )
        chunk = spec.prototype.nd_buffer.from_numpy_array(IMAGE[:, :16, :16])
        record = codec._encode_sync(chunk, spec)
        assert record is not None
        assert record.to_bytes() == encode_chunk(TileCodec(), IMAGE[:, :16, :16])
        back = codec._decode_sync(record, spec)
        np.testing.assert_array_equal(back.as_numpy_array(), IMAGE[:, :16, :16])


class TestTheConfigurationIsClosed:
    def test_it_round_trips_through_metadata(self) -> None:
        codec = TilepressTileV3(TileCodec(max_error=2, nodata=float("nan")))
        data = json.loads(json.dumps(codec.to_dict()))
        assert data["name"] == CODEC_NAME
        assert TilepressTileV3.from_dict(data) == codec
        assert set(data) == {"name", "configuration"}, "never must_understand: false"

    @pytest.mark.parametrize("change", [{"more": 1}, {"version": 99}, {"codec": None}])
    def test_what_is_not_understood_is_refused(self, change: dict[str, Any]) -> None:
        data = TilepressTileV3().to_dict()
        data["configuration"] = {**data["configuration"], **change}
        with pytest.raises(UnsupportedFormat):
            TilepressTileV3.from_dict(data)

    @pytest.mark.parametrize("data", [{"name": CODEC_NAME}, {"name": "x", "configuration": {}}])
    def test_incomplete_metadata_are_refused(self, data: dict[str, Any]) -> None:
        with pytest.raises(UnsupportedFormat):
            TilepressTileV3.from_dict(data)

    def test_a_pickled_array_is_small(self) -> None:
        codec = TilepressTileV3()
        assert codec.codec is codec.codec
        assert len(pickle.dumps(codec)) < 1000
        assert pickle.loads(pickle.dumps(codec)) == codec


class TestWhatNoRecordCanHoldIsRefusedAtOnce:
    @pytest.mark.parametrize("shards", [None, (32,)])
    def test_one_axis(self, shards: tuple[int, ...] | None) -> None:
        with pytest.raises(UnsupportedArray, match="axes"):
            _create(MemoryStore(), np.zeros(32, "u1"), chunks=(16,), shards=shards)

    @pytest.mark.parametrize("shards", [None, (32, 32)])
    def test_complex(self, shards: tuple[int, ...] | None) -> None:
        with pytest.raises(UnsupportedArray, match="complex64"):
            _create(MemoryStore(), np.zeros((32, 32), "c8"), shards=shards)


class TestARecordMustBeTheChunkThatIsAskedFor:
    @pytest.mark.parametrize(
        ("shape", "dtype"), [((3, 16, 17), "uint16"), ((3, 16, 16), "int16"), ((16, 16), "uint16")]
    )
    def test_other_shape_or_dtype(self, shape: tuple[int, ...], dtype: str) -> None:
        record = encode_chunk(TileCodec(), IMAGE[:, :16, :16])
        with pytest.raises(InvalidRecord, match="it holds"):
            decode_chunk(TileCodec(), record, shape, np.dtype(dtype))


class _OnDevice(np.ndarray):
    """An array that stands for one in the memory of a GPU."""


class DeviceBuffer(zarr.core.buffer.cpu.NDBuffer):
    """What ``zarr.config.enable_gpu()`` decodes into, without a GPU: samples have no way back."""

    uploads: ClassVar[list[tuple[int, ...]]] = []

    def __init__(self, array: Any) -> None:
        super().__init__(np.asarray(array).view(_OnDevice))

    @classmethod
    def create(
        cls, *, shape: Any, dtype: Any, order: Any = "C", fill_value: Any = None
    ) -> DeviceBuffer:
        array = np.empty(shape, dtype, order)
        if fill_value is not None:
            array.fill(fill_value)
        return cls(array)

    @classmethod
    def from_numpy_array(cls, array_like: Any) -> DeviceBuffer:
        cls.uploads.append(array_like.shape)
        return cls(np.array(array_like))

    def as_numpy_array(self) -> Any:
        assert self.dtype == np.uint64, "only Zarr's index of a shard may go back to the host"
        return np.asarray(self._data)


class TestDevices:
    @pytest.mark.parametrize("shards", [None, (3, 32, 32)])
    def test_what_is_decoded_goes_to_the_memory_that_zarr_names(self, shards: Any) -> None:
        array = _create(store := MemoryStore(), IMAGE, shards=shards)
        register_ndbuffer(DeviceBuffer)
        DeviceBuffer.uploads.clear()
        name = f"{DeviceBuffer.__module__}.{DeviceBuffer.__qualname__}"
        with zarr.config.set({"ndbuffer": name}):
            found = zarr.open_array(store, mode="r")[:, 5:30, 10:40]
            again = zarr.open_array(store, mode="r")[...]
        assert isinstance(found, _OnDevice)
        np.testing.assert_array_equal(found, IMAGE[:, 5:30, 10:40])
        np.testing.assert_array_equal(np.from_dlpack(again.view(np.ndarray)), IMAGE)
        assert (3, 16, 16) in DeviceBuffer.uploads, "a chunk at a time"
        np.testing.assert_array_equal(array[...], IMAGE)  # as ever, on the host
