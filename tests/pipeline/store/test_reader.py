"""Read a sealed store: what went in comes out, or an error."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.core.buffer import default_buffer_prototype
from zarr.storage import LocalStore

from tilepress.errors import (
    DamagedStore,
    StoreError,
)
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.read.open import open_dataset
from tilepress.pipeline.store.reader import SealedStore, StoreReader
from tilepress.pipeline.store.seal import with_seal

Make = Callable[..., Any]


class _AsksByRanges(LocalStore):
    """A store with the methods that stores of Zarr from 3.3 on have."""

    def __init__(self, path: Path, *, answers: bool) -> None:
        super().__init__(path, read_only=True)
        self._answers = answers
        """Whether an object is there that says of each range that it is not."""

    async def get_ranges(self, key: str, byte_ranges: Any, *, prototype: Any) -> Any:
        if not self._answers:
            raise BaseExceptionGroup("reading", [FileNotFoundError(key)])
        for place, one in enumerate(byte_ranges):
            yield [(place, await self.get(key, prototype, one))]

    def get_sync(self, key: str, *, prototype: Any = None, byte_range: Any = None) -> Any:
        return asyncio.run(self.get(key, prototype, byte_range))


def _files(store: Path) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file())


def _whole(reader: StoreReader) -> Box:
    return Box((0,) * len(reader.shape), reader.shape)


class TestTheReaderGivesBackWhatWentIn:
    def test_samples_windows_mask_and_items(self, geo_store: Any) -> None:
        reader = StoreReader.open(geo_store.path)
        assert (reader.axes, reader.shape) == (("band", "y", "x"), (3, 40, 52))
        np.testing.assert_array_equal(reader.read(_whole(reader)), geo_store.image)
        window = Box((1, 10, 20), (2, 35, 52))
        np.testing.assert_array_equal(reader.read(window), geo_store.image[window.slices])
        mask = reader.read_mask(Box((3, 4), (30, 40)))
        np.testing.assert_array_equal(mask, geo_store.mask[3:30, 4:40])
        assert reader.source_names() == ("empty", "origin", "tiff-tags")
        assert reader.source_bytes("tiff-tags") == bytes(range(256)) * 20
        assert reader.source_bytes("empty") == b""
        assert reader.origin == {"kind": "array"}
        with pytest.raises(KeyError):
            reader.source_bytes("other")
        with pytest.raises(ValueError, match="not within"):
            reader.read(Box((0, 0, 0), (3, 41, 52)))

    def test_the_statement(self, geo_store: Any) -> None:
        statement = StoreReader.open(geo_store.path).statement
        assert statement["format_version"] == 5
        assert statement["pip"] == "pip install tilepress"
        assert statement["loss"]["max_error"] == 0
        assert statement["raw_bytes"] == geo_store.image.nbytes
        assert set(statement["model"]) == {"name", "sha256"}
        assert {"tilepress", "zarr", "numpy"} <= set(statement["tools"])
        assert statement["plan_digest"] == "test"

    def test_without_a_mask_all_is_valid(self, make_store: Make) -> None:
        reader = StoreReader.open(make_store().path)
        assert not reader.has_mask
        assert reader.read_mask(Box((0, 0), (2, 3))).tolist() == [[255] * 3] * 2

    @pytest.mark.parametrize("dtype", ["bool", "float32", "int8", "uint64"])
    def test_dtypes_and_constant_content(self, make_store: Make, dtype: str) -> None:
        store = make_store(image=np.zeros((20, 20), dtype))
        assert len(list((store.path / "0/image/c").rglob("*"))) > 0, "empty chunks are written"
        reader = StoreReader.open(store.path)
        np.testing.assert_array_equal(reader.read(_whole(reader)), store.image)

    def test_nan_nodata(self, make_store: Make) -> None:
        image = np.full((20, 20), np.nan, np.float32)
        image[3:9] = 1.5
        store = make_store(image=image, nodata=float("nan"))
        np.testing.assert_array_equal(xr.open_zarr(store.path, group="0").image.values, image)


def _arrays(path: Path | SealedStore) -> Iterator[tuple[str, zarr.Array]]:
    """Every array of a store as a plain Zarr reader finds it."""
    for name, node in zarr.open_group(path, mode="r").members(max_depth=None):
        if isinstance(node, zarr.Array):
            yield name, node


def _is_of_an_array(path: Path) -> bool:
    """Whether an object is neither a document nor the source, which test_lean.py flips."""
    return path.name != "zarr.json" and "source" not in path.parts


class TestAFlippedBitIsNeverASample:
    FLIPS = 400

    def test_a_plain_zarr_reader_raises_or_sees_no_change(self, geo_store: Any) -> None:
        """Random bits of all objects but the metadata documents, as a plain reader reads them.

        Every object belongs to one array, so that array is read; every tenth time all are.
        """
        arrays = dict(_arrays(geo_store.path))
        truth = {name: node[...] for name, node in arrays.items()}
        assert {"0/image", "0/mask", "0/x", "0/y", "0/band", "0/spatial_ref"} <= set(truth)
        objects = [p for p in _files(geo_store.path) if _is_of_an_array(p)]
        rng = np.random.default_rng(3)
        raised = 0
        for flip in range(self.FLIPS):
            path = objects[rng.integers(len(objects))]
            data = bytearray(path.read_bytes())
            position = int(rng.integers(8 * len(data)))
            data[position // 8] ^= 1 << position % 8
            good = path.read_bytes()
            path.write_bytes(data)
            own = path.relative_to(geo_store.path).as_posix().rpartition("/c")[0]
            assert own in arrays
            for name in arrays if flip % 10 == 0 else (own,):
                try:
                    samples = arrays[name][...]
                except Exception:  # any error will do: it is not a sample
                    assert name == own
                    raised += 1
                    continue
                same = samples.tobytes() == truth[name].tobytes()
                assert same, f"bit {position} of {path} gave other samples of {name}"
            path.write_bytes(good)
        assert raised == self.FLIPS

    def test_nor_is_a_cut(self, geo_store: Any) -> None:
        """Every object, cut at several lengths down to one byte.

        Down to nothing for ours: an empty shard is a missing one to stock Zarr, which reads fill.
        """
        arrays = dict(_arrays(geo_store.path))
        ours = dict(_arrays(SealedStore(geo_store.path)))
        for path in _files(geo_store.path):
            if not _is_of_an_array(path):
                continue
            good = path.read_bytes()
            own = path.relative_to(geo_store.path).as_posix().rpartition("/c")[0]
            for length in {0, 1, 4, len(good) // 2, len(good) - 1}:
                path.write_bytes(good[:length])
                for node in [ours[own]] + [arrays[own]] * (length > 0):
                    with pytest.raises(Exception):  # noqa: B017, PT011  # any error will do
                        node[...]
            path.write_bytes(good)


class TestOurReaderRefusesWhatItCannotVouchFor:
    @pytest.mark.parametrize(
        ("key", "value", "said"),
        [
            ("codecs", [{"name": "of nobody"}], "want those of shards"),
            ("node_type", 3, "its documents are none that Zarr reads"),
            ("zarr_format", {}, "its documents are none that Zarr reads"),
        ],
    )
    def test_documents_that_were_sealed_and_are_none_of_zarrs(
        self, geo_store: Any, key: str, value: object, said: str
    ):
        root = json.loads((geo_store.path / "zarr.json").read_bytes())
        root["attributes"]["tilepress"]["seal"] = "0" * 64
        root["consolidated_metadata"]["metadata"]["0/image"][key] = value
        forged = with_seal(json.dumps(root, separators=(",", ":")).encode())
        (geo_store.path / "zarr.json").write_bytes(forged)
        with pytest.raises(DamagedStore, match=said):
            StoreReader.open(geo_store.path)

    def test_every_flipped_bit_of_the_root_document(self, geo_store: Any) -> None:
        """It holds the consolidated metadata, all that our reader goes by."""
        path = geo_store.path / "zarr.json"
        good = path.read_bytes()
        rng = np.random.default_rng(4)
        for position in rng.integers(8 * len(good), size=150):
            data = bytearray(good)
            data[position // 8] ^= 1 << position % 8
            path.write_bytes(data)
            with pytest.raises(StoreError):
                StoreReader.open(geo_store.path)
            with pytest.raises(StoreError):
                open_dataset(geo_store.path)
        path.write_bytes(good)
        StoreReader.open(geo_store.path)

    def test_a_missing_shard_is_an_error_and_not_fill_value(self, geo_store: Any) -> None:
        (geo_store.path / "0/image/c/0/1/0").unlink()
        plain = zarr.open_array(geo_store.path / "0/image", mode="r")
        assert (plain[:, 32:, :32] == 7).all(), "what a stock reader makes of it"
        reader = StoreReader.open(geo_store.path)
        np.testing.assert_array_equal(
            reader.read(Box((0, 0, 0), (3, 32, 52))), geo_store.image[:, :32]
        )
        with pytest.raises(DamagedStore, match="0/image/c/0/1/0 is missing"):
            reader.read(_whole(reader))
        with pytest.raises(DamagedStore, match="is missing"):
            open_dataset(geo_store.path).image.load()
        store = SealedStore(geo_store.path)
        assert store.read_only
        with pytest.raises(DamagedStore, match="is missing"):
            zarr.open_array(store, path="0/image", mode="r")[:, 39, 0]

    @pytest.mark.parametrize("gone", ["before", "after the index was read"])
    def test_a_missing_shard_of_which_ranges_are_asked(self, geo_store: Any, gone: str) -> None:
        """Zarr from 3.3 on takes a group of errors about absence for fill value."""
        key = "0/image/c/0/1/0"
        (geo_store.path / key).unlink()
        store = SealedStore(_AsksByRanges(geo_store.path, answers=gone != "before"))

        async def read() -> list[Any]:
            ranges = [RangeByteRequest(0, 4), RangeByteRequest(4, 8)]
            prototype = default_buffer_prototype()
            return [group async for group in store.get_ranges(key, ranges, prototype=prototype)]

        with pytest.raises(DamagedStore, match=f"{key} is missing"):
            asyncio.run(read())
        with pytest.raises(DamagedStore, match=f"{key} is missing"):
            store.get_sync(key)

    def test_ranges_are_what_lies_there(self, geo_store: Any) -> None:
        key = "0/image/c/0/0/0"
        data = (geo_store.path / key).read_bytes()
        store = SealedStore(_AsksByRanges(geo_store.path, answers=True))
        prototype = default_buffer_prototype()

        async def read() -> dict[int, bytes]:
            ranges = [RangeByteRequest(0, 4), RangeByteRequest(4, 8)]
            found = store.get_ranges(key, ranges, prototype=prototype)
            return {at: part.to_bytes() async for group in found for at, part in group if part}

        assert asyncio.run(read()) == {0: data[:4], 1: data[4:8]}
        whole = store.get_sync(key)
        assert whole is not None
        assert whole.to_bytes() == data

    def test_damage_names_store_array_and_place(self, geo_store: Any) -> None:
        path = geo_store.path / "0/image/c/0/0/0"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        reader = StoreReader.open(geo_store.path)
        with pytest.raises(DamagedStore, match=r"small.zarr/0/image \(0, 0, 0\)"):
            reader.read(_whole(reader))

    @pytest.mark.usefixtures("roomy_stores")
    def test_a_manifest_of_another_store(self, make_store: Make) -> None:
        geo_store = make_store()
        other = make_store(name="other.zarr", image=geo_store.image + 1)
        for key in ("source/manifest/c/0", "source/manifest/zarr.json"):
            (geo_store.path / key).write_bytes((other.path / key).read_bytes())
        with pytest.raises(DamagedStore, match="manifest"):
            _ = StoreReader.open(geo_store.path).manifest
