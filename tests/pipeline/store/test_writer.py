"""Write and read the Zarr store of one image."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
import zarr

from tilepress.codecs.tile import TileCodec
from tilepress.errors import (
    DamagedStore,
    DestinationConflict,
    StoreError,
    UnsealedStore,
    UnsupportedFormat,
)
from tilepress.pipeline.image.grid import Box, ShardGrid
from tilepress.pipeline.image.source import ImageInfo, MedicalGeometry
from tilepress.pipeline.storage import atomic
from tilepress.pipeline.store.shard import encode_shard
from tilepress.pipeline.store.writer import (
    SealedStore,
    StoreReader,
    StoreWriter,
    is_sealed,
    open_dataset,
    remove_store,
)

Make = Callable[..., Any]


def _files(store: Path) -> list[Path]:
    return sorted(p for p in store.rglob("*") if p.is_file())


def _whole(reader: StoreReader) -> Box:
    return Box((0,) * len(reader.shape), reader.shape)


class TestStockReadersOpenIt:
    """``filterwarnings = error`` makes every warning of zarr or xarray a failure here."""

    def test_xarray_has_crs_and_integers_by_default(self, geo_store: Any) -> None:
        import rioxarray

        assert rioxarray.__version__
        dataset = xr.open_zarr(geo_store.path, group="0")
        assert dataset.rio.crs == "EPSG:32631"
        assert dataset.image.rio.crs == "EPSG:32631"
        assert dataset.image.rio.nodata == 7
        assert dataset.image.dtype == np.uint16
        assert dataset.image.dims == ("band", "y", "x")
        np.testing.assert_array_equal(dataset.image.values, geo_store.image)
        np.testing.assert_array_equal(dataset.mask.values, geo_store.mask)
        np.testing.assert_array_equal(dataset.x.values[:2], [500_015.0, 500_045.0])
        assert dataset.attrs["tilepress"]["loss"]["lossless"] is True

    def test_every_way_of_opening(self, geo_store: Any) -> None:
        path = str(geo_store.path)
        for dataset in (
            xr.open_zarr(path + "/0"),
            xr.open_zarr(path, group="0", consolidated=False),
            xr.open_datatree(path, engine="zarr")["0"].to_dataset(),
        ):
            np.testing.assert_array_equal(dataset.image.values, geo_store.image)
        group = zarr.open_group(path, mode="r")
        np.testing.assert_array_equal(group["0/image"][...], geo_store.image)

    def test_a_fresh_process_that_imports_only_xarray(self, geo_store: Any) -> None:
        code = (
            f"import xarray as xr; d = xr.open_zarr(r'{geo_store.path}', group='0');"
            "print(int(d.image.values.astype('u8').sum()), d.image.dtype)"
        )
        out = subprocess.run(
            [sys.executable, "-W", "error", "-c", code],
            check=True,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert out.stdout.split() == [str(int(geo_store.image.astype("u8").sum())), "uint16"]

    def test_ome_zarr(self, make_store: Make) -> None:
        from ome_zarr_models.v05 import Image

        store = make_store(
            axes=("z", "y", "x"),
            medical=MedicalGeometry(pixel_spacing_mm=(0.5, 0.5), slice_spacing_mm=2.0),
        )
        image = Image.from_zarr(zarr.open_group(store.path, mode="r"))
        assert image.ome_attributes.multiscales[0].datasets[0].path == "0/image"
        assert xr.open_zarr(store.path, group="0").z.attrs["units"] == "mm"

    def test_it_pickles_to_other_processes(self, geo_store: Any) -> None:
        import pickle

        again = pickle.loads(pickle.dumps(open_dataset(geo_store.path)))
        np.testing.assert_array_equal(again.image.values, geo_store.image)


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
        assert statement["format_version"] == 1
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


class TestNoOneOpensAnUnfinishedStore:
    @pytest.fixture
    def unfinished(self, tmp_path: Path) -> StoreWriter:
        image = np.arange(1600, dtype=np.uint16).reshape(40, 40)
        info = ImageInfo(name="i", axes=("y", "x"), shape=image.shape, dtype=image.dtype)
        grid = ShardGrid((40, 40), (16, 16), (32, 32))
        codec = TileCodec()
        writer = StoreWriter.create(tmp_path / "i.zarr", info, grid, codec.to_config())
        self.entries = []
        for index in grid.indices():
            box = grid.box(index)
            coded = encode_shard(codec, image[box.slices], box, grid, index, 0)
            writer.write_shard("image", index, coded.data)
            self.entries.append(coded.entry("image", index))
        return writer

    def test_stock_readers_find_nothing(self, unfinished: StoreWriter) -> None:
        path = Path(unfinished.place)
        assert not [p for p in _files(path) if p.name == "zarr.json"]
        for group in (None, "0"):
            with pytest.raises(FileNotFoundError):
                zarr.open_group(path, path=group, mode="r")
        with pytest.raises(FileNotFoundError):
            xr.open_zarr(path, group="0")
        with pytest.raises(UnsealedStore, match="same compress line"):
            StoreReader.open(path)

    def test_a_crash_at_any_write_of_the_seal(
        self, unfinished: StoreWriter, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Stop before the n-th rename, for every n: unsealed, and the same call finishes it."""
        real, count = os.replace, 0

        def stop(*args: Any) -> None:
            nonlocal count
            count -= 1
            if count < 0:
                raise OSError(5, "Input/output error")
            real(*args)

        items = [("origin", b'{"kind": "array"}'), ("more", bytes(100))]
        for n in range(100):
            count = n
            monkeypatch.setattr(atomic.os, "replace", stop)
            try:
                unfinished.seal(items, self.entries)
            except OSError:
                assert not is_sealed(Path(unfinished.place))
                with pytest.raises(FileNotFoundError):
                    zarr.open_group(Path(unfinished.place), mode="r")
                continue
            finally:
                monkeypatch.undo()
            break
        assert n == 10, "objects and documents"
        reader = StoreReader.open(Path(unfinished.place))
        assert reader.read(_whole(reader)).sum() == 1599 * 800

    def test_a_missing_or_cut_shard_refuses_the_seal(self, unfinished: StoreWriter) -> None:
        with pytest.raises(DamagedStore, match=r"1 shards of image .* \(0, 1\)"):
            unfinished.seal([], [e for e in self.entries if e.index != (0, 1)])
        path = Path(unfinished.shard_path("image", (1, 1)))
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(DamagedStore, match=r"shard \(1, 1\) of image has"):
            unfinished.seal([], self.entries)
        path.unlink()
        with pytest.raises(DamagedStore, match="no object"):
            unfinished.seal([], self.entries)
        assert not is_sealed(Path(unfinished.place))

    def test_what_a_killed_writer_left_is_swept(self, unfinished: StoreWriter) -> None:
        left = Path(unfinished.place) / "0/image/c/0/.1.abcd.partial"
        left.write_bytes(b"half")
        unfinished.seal([("origin", b'{"kind": "array"}')], self.entries)
        assert not left.exists()


class TestDestinations:
    def test_a_sealed_store_is_not_written_to(self, geo_store: Any) -> None:
        grid = ShardGrid((3, 40, 52), (3, 16, 16), (3, 32, 32))
        with pytest.raises(DestinationConflict, match="sealed"):
            StoreWriter.create(geo_store.path, geo_store.info, grid, TileCodec().to_config())

    def test_nor_is_a_file(self, tmp_path: Path, geo_store: Any) -> None:
        (tmp_path / "f").write_bytes(b"")
        grid = ShardGrid((3, 40, 52), (3, 16, 16), (3, 32, 32))
        with pytest.raises(DestinationConflict, match="file"):
            StoreWriter.create(tmp_path / "f", geo_store.info, grid, TileCodec().to_config())

    def test_removal_begins_with_the_seal(
        self, geo_store: Any, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        import shutil

        def stop(path: Path) -> None:
            raise OSError(5, "Input/output error")

        monkeypatch.setattr(shutil, "rmtree", stop)
        with pytest.raises(OSError, match="Input/output"):
            remove_store(geo_store.path)
        with pytest.raises(UnsealedStore):
            StoreReader.open(geo_store.path)
        monkeypatch.undo()
        remove_store(geo_store.path)
        assert not geo_store.path.exists()

    def test_a_store_of_another_format(self, geo_store: Any) -> None:
        """Sealed by a tilepress to come: refused by name, not guessed at."""
        path = geo_store.path / "zarr.json"
        text = path.read_text().replace('"format_version":1', '"format_version":2')
        zero = '"seal":"' + "0" * 64 + '"'
        blank = re.sub(r'"seal":"[0-9a-f]{64}"', zero, text)
        seal = hashlib.sha256(blank.encode()).hexdigest()
        path.write_text(blank.replace(zero, f'"seal":"{seal}"'))
        with pytest.raises(UnsupportedFormat, match="store format 2"):
            StoreReader.open(geo_store.path)

    def test_what_is_no_store(self, tmp_path: Path) -> None:
        with pytest.raises(StoreError, match="no store"):
            StoreReader.open(tmp_path / "none.zarr")
        zarr.create_group(tmp_path / "other.zarr")
        with pytest.raises(StoreError, match="no store of tilepress"):
            StoreReader.open(tmp_path / "other.zarr")
        with pytest.raises(StoreError, match="it is an archive; name one of its stores"):
            StoreReader.open(tmp_path)


def _arrays(path: Path | SealedStore) -> Iterator[tuple[str, zarr.Array]]:
    """Every array of a store as a plain Zarr reader finds it."""
    for name, node in zarr.open_group(path, mode="r").members(max_depth=None):
        if isinstance(node, zarr.Array):
            yield name, node


class TestAFlippedBitIsNeverASample:
    FLIPS = 400

    def test_a_plain_zarr_reader_raises_or_sees_no_change(self, geo_store: Any) -> None:
        """Random bits of all objects but the metadata documents, as a plain reader reads them.

        Every object belongs to one array, so that array is read; every tenth time all are.
        """
        arrays = dict(_arrays(geo_store.path))
        truth = {name: node[...] for name, node in arrays.items()}
        assert {"0/image", "0/mask", "0/x", "0/y", "0/band", "0/spatial_ref"} <= set(truth)
        assert {"source/origin", "source/tiff-tags", "manifest"} <= set(truth)
        objects = [p for p in _files(geo_store.path) if p.name != "zarr.json"]
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
            if path.name == "zarr.json":
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

    def test_damage_names_store_array_and_place(self, geo_store: Any) -> None:
        path = geo_store.path / "0/image/c/0/0/0"
        data = bytearray(path.read_bytes())
        data[100] ^= 1
        path.write_bytes(data)
        reader = StoreReader.open(geo_store.path)
        with pytest.raises(DamagedStore, match=r"small.zarr/0/image \(0, 0, 0\)"):
            reader.read(_whole(reader))

    def test_a_manifest_of_another_store(self, geo_store: Any, make_store: Make) -> None:
        other = make_store(name="other.zarr", image=geo_store.image + 1)
        for key in ("manifest/c/0", "manifest/zarr.json"):
            (geo_store.path / key).write_bytes((other.path / key).read_bytes())
        with pytest.raises(DamagedStore, match="manifest"):
            _ = StoreReader.open(geo_store.path).manifest


class TestDocumentsAreStrictJson:
    def test_no_nan(self, make_store: Make) -> None:
        image = np.full((20, 20), np.nan, np.float32)
        store = make_store(image=image, nodata=float("nan"))

        def refuse(text: str) -> None:
            raise AssertionError(text)

        for path in _files(store.path):
            if path.name == "zarr.json":
                json.loads(path.read_bytes(), parse_constant=refuse)
