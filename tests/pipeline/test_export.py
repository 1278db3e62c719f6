"""Write a sealed store back as what it was made of, or as another format."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

import tilepress
from tilepress.codecs.tile import TileCodec
from tilepress.errors import DestinationConflict, UnsealedStore, UsageError
from tilepress.pipeline.export import export
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.image.grid import choose_grid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.writer import StoreWriter
from tilepress.pipeline.verify import verify

from .dicom.conftest import build, save


def compress(source: Path, store: Path, stack: str | None = None) -> Path:
    """What the workflows do, without Dask."""
    (spec,) = discover([source], stack)
    assert isinstance(spec, SourceSpec)
    opened = open_source(spec)
    info = opened.info
    grid = choose_grid(info.shape, info.dtype.itemsize, tile=32, max_shard_bytes=2**14)
    codec = TileCodec(nodata=info.nodata)
    writer = StoreWriter.create(store, info, grid, codec.to_config())
    entries = []
    for name, shards in writer.grids.items():
        chosen = TileCodec.from_config(writer.codec_config(name))
        for index in shards.indices():
            box = shards.box(index)
            samples = opened.read(box) if name == "image" else opened.read_mask(box)
            coded = encode_shard(chosen, samples, box, shards, index, writer.fill(name))
            writer.write_shard(name, index, coded.data)
            entries.append(coded.entry(name, index))
    writer.seal(opened.source_items(), entries)
    opened.close()
    assert verify(store, source) == []
    return store


@pytest.fixture
def scene(tmp_path: Path) -> Path:
    image = np.random.default_rng(0).integers(0, 4000, (2, 130, 100), dtype=np.uint16)
    with rasterio.open(
        tmp_path / "scene.tif", "w", driver="GTiff", width=100, height=130, count=2,
        dtype="uint16", crs="EPSG:32631", nodata=0, tiled=True, blockxsize=64, blockysize=64,
        transform=rasterio.Affine(30, 0, 5e5, 0, -30, 4e6),
    ) as file:  # fmt: skip
        file.write(image)
        file.update_tags(owner="test")
    return tmp_path / "scene.tif"


def _same_raster(one: Path, other: Path) -> None:
    with rasterio.open(one) as a, rasterio.open(other) as b:
        np.testing.assert_array_equal(a.read(), b.read())
        assert (a.crs, a.transform, a.nodata) == (b.crs, b.transform, b.nodata)
        assert a.tags()["owner"] == b.tags()["owner"]


class TestGeoTiff:
    def test_is_the_default_and_the_same(self, scene: Path, tmp_path: Path) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (back,) = tilepress.export(store, tmp_path / "back.tif")
        _same_raster(scene, back)

    def test_a_part(self, scene: Path, tmp_path: Path) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (back,) = export(store, tmp_path / "part.tif", bands=[2])
        with rasterio.open(scene) as a, rasterio.open(back) as b:
            np.testing.assert_array_equal(a.read(2), b.read(1))
        with pytest.raises(UsageError, match="cannot be cut by slices"):
            export(store, tmp_path / "other.tif", slices=[1])

    def test_a_text_is_one_band(self, scene: Path, tmp_path: Path) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (back,) = export(store, tmp_path / "part.tif", bands="2")
        with rasterio.open(scene) as a, rasterio.open(back) as b:
            np.testing.assert_array_equal(a.read(2), b.read(1))
        with pytest.raises(UsageError, match="got band '1,2', and the image has bands 1 … 2"):
            export(store, tmp_path / "x.tif", bands="1,2")

    def test_cog(self, scene: Path, tmp_path: Path) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (back,) = export(store, tmp_path / "cog.tif", format="cog")
        _same_raster(scene, back)
        with rasterio.open(back) as file:
            assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"
        assert sorted(p.name for p in tmp_path.iterdir() if p.is_file()) == [
            "cog.tif",
            "scene.tif",
        ]

    @pytest.mark.parametrize("format_", ["geotiff", "cog"])
    @pytest.mark.parametrize("name", ["back", "back.d/deep", "there"])
    def test_a_name_without_suffix_is_a_folder(
        self, scene: Path, tmp_path: Path, name: str, format_: str
    ) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (tmp_path / "there").mkdir()
        (back,) = export(store, tmp_path / name, format_)
        assert back == tmp_path / name / "scene.tif"
        assert [path.name for path in back.parent.iterdir()] == ["scene.tif"]
        _same_raster(scene, back)
        with pytest.raises(DestinationConflict):
            export(store, tmp_path / name, format_)

    @pytest.mark.parametrize("format_", ["geotiff", "cog"])
    def test_a_file_without_suffix_is_not_overwritten(
        self, scene: Path, tmp_path: Path, format_: str
    ) -> None:
        store = compress(scene, tmp_path / "scene.zarr")
        (tmp_path / "back").write_bytes(b"mine")
        with pytest.raises(DestinationConflict):
            export(store, tmp_path / "back", format_)
        assert (tmp_path / "back").read_bytes() == b"mine"

    def test_a_stack_gives_every_file_back(self, scene: Path, tmp_path: Path) -> None:
        folder = tmp_path / "bands"
        folder.mkdir()
        for band in (1, 2):
            (folder / f"s_B{band}.tif").write_bytes(scene.read_bytes())
        store = compress(folder, tmp_path / "s.zarr", stack="*_B*.tif")
        for format_ in (None, "cog"):
            files = export(store, tmp_path / f"out-{format_}", format=format_)
            assert [file.name for file in files] == ["s_B1.tif", "s_B2.tif"]
            for file in files:
                _same_raster(scene, file)


class TestPlainZarr:
    def test_opens_where_tilepress_is_not_installed(self, geo_store: Any, tmp_path: Path) -> None:
        (out,) = export(geo_store.path, tmp_path / "plain.zarr", format="zarr")
        code = (
            "import sys; sys.modules['tilepress'] = None; import rioxarray, xarray as xr;"
            f"d = xr.open_zarr(r'{out}', group='0');"
            "print(int(d.image.values.astype('u8').sum()), int(d.mask.values.astype('u8').sum()),"
            " d.rio.crs.to_epsg())"
        )
        result = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
        )
        expected = [int(a.astype("u8").sum()) for a in (geo_store.image, geo_store.mask)]
        assert result.stdout.split() == [*map(str, expected), "32631"]

    def test_keeps_the_statement_of_loss_and_no_seal(self, geo_store: Any, tmp_path: Path) -> None:
        (out,) = export(geo_store.path, tmp_path / "plain.zarr")
        attributes = json.loads((out / "zarr.json").read_bytes())["attributes"]["tilepress"]
        assert attributes["loss"]["lossless"] is True
        assert "seal" not in attributes
        dataset = xr.open_zarr(out, group="0")
        assert dataset.image.attrs["nodata"] == 7
        np.testing.assert_array_equal(dataset.image.values, geo_store.image)


class TestNumpy:
    def test_by_name(self, make_store: Callable[..., Any], tmp_path: Path) -> None:
        store = make_store()
        (out,) = export(store.path, tmp_path / "back.npy")
        np.testing.assert_array_equal(np.load(out), store.image)


class TestRefusals:
    def test_an_unknown_format(self, geo_store: Any, tmp_path: Path) -> None:
        with pytest.raises(UsageError, match="'png' is unknown"):
            export(geo_store.path, tmp_path / "a.png", format="png")

    @pytest.mark.parametrize("format_", ["geotiff", "cog", "dicom"])
    def test_what_the_store_was_not_made_of(
        self, geo_store: Any, tmp_path: Path, format_: str
    ) -> None:
        with pytest.raises(UsageError, match="it was made of array"):
            export(geo_store.path, tmp_path / "out", format=format_)

    def test_a_series_to_the_name_of_a_raster(self, tmp_path: Path) -> None:
        """Else a folder of that name would be made."""
        samples = np.arange(40 * 50, dtype=np.uint16).reshape(40, 50)
        save(build(samples), tmp_path / "series/1.dcm")
        store = compress(tmp_path / "series", tmp_path / "out.zarr")
        with pytest.raises(UsageError, match=r"got x\.tif, want a folder"):
            export(store, tmp_path / "x.tif")
        assert not (tmp_path / "x.tif").exists()

    @pytest.mark.parametrize(
        ("name", "format_", "wanted"),
        [
            ("x.dcm", "geotiff", "NAME.tif or a folder"),
            ("x.tif", None, "NAME.zarr"),
            ("x.PNG", "cog", "NAME.tif or a folder"),
            ("x.tif", "zarr", "NAME.zarr"),
            ("x.zarr", "npy", "NAME.npy"),
        ],
    )
    def test_a_name_that_promises_another_format(
        self, geo_store: Any, tmp_path: Path, name: str, format_: str | None, wanted: str
    ) -> None:
        with pytest.raises(UsageError, match=f"got {name}, want {wanted}"):
            export(geo_store.path, tmp_path / name, format=format_)
        assert not (tmp_path / name).exists()

    @pytest.mark.parametrize(
        ("options", "told"),
        [
            ({"slices": "1-2"}, "got slices '1-2', want numbers from 0, or a slice"),
            ({"slices": [1, "2"]}, "want numbers from 0"),
            ({"slices": 1}, "want numbers from 0"),
            ({"bbox": "1,2,3,4"}, "want 4 numbers: left, bottom, right, top"),
            ({"bbox": (1, 2, 3)}, "want 4 numbers"),
            ({"bbox": (1, 2, 3, "4")}, "want 4 numbers"),
        ],
    )
    def test_parts_as_the_command_line_has_them(
        self, geo_store: Any, tmp_path: Path, options: dict[str, Any], told: str
    ) -> None:
        with pytest.raises(UsageError, match=told):
            export(geo_store.path, tmp_path / "x/", **options)
        assert not (tmp_path / "x").exists()

    def test_nothing_is_overwritten(self, geo_store: Any, tmp_path: Path) -> None:
        (tmp_path / "there").write_bytes(b"mine")
        with pytest.raises(DestinationConflict):
            export(geo_store.path, tmp_path / "there")
        assert (tmp_path / "there").read_bytes() == b"mine"

    def test_an_unsealed_store(self, geo_store: Any, tmp_path: Path) -> None:
        (geo_store.path / "zarr.json").unlink()
        with pytest.raises(UnsealedStore):
            export(geo_store.path, tmp_path / "out")

    def test_damage_leaves_no_half_export(self, geo_store: Any, tmp_path: Path) -> None:
        path = geo_store.path / "0/image/c/0/1/1"
        path.write_bytes(path.read_bytes()[:-1])
        for name, format_ in (("out.zarr", "zarr"), ("out.npy", "npy")):
            with pytest.raises(tilepress.errors.DamagedStore):
                export(geo_store.path, tmp_path / name, format=format_)
        assert [p.name for p in tmp_path.iterdir()] == ["small.zarr"]


class TestThePublicFace:
    def test_is_lazy(self) -> None:
        code = (
            "import sys, tilepress; heavy = {'numpy', 'zarr', 'numba', 'dask', 'torch'};"
            "assert not heavy & set(sys.modules); print(tilepress.__version__);"
            "assert set(tilepress.__all__) <= set(dir(tilepress));"
            "assert tilepress.TileCodec(max_error=1).to_config()['max_error'] == 1;"
            "assert not {'dask', 'torch'} & set(sys.modules)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, timeout=120)

    def test_every_name_is_there(self) -> None:
        for name in tilepress.__all__:
            assert getattr(tilepress, name) is not None
        with pytest.raises(AttributeError, match="nothing"):
            _ = tilepress.nothing

    def test_open_is_lazy_and_right(self, geo_store: Any) -> None:
        dataset = tilepress.open(geo_store.path)
        assert not dataset.image._in_memory
        assert dataset.attrs["tilepress"]["loss"]["max_error"] == 0
        np.testing.assert_array_equal(dataset.image[1, :5, 3:9], geo_store.image[1, :5, 3:9])
