"""Read plain arrays."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.arrays.source import ArraySource
from tilepress.pipeline.arrays.zarr_nodes import is_zarr_array, is_zarr_node
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec

IMAGE = np.random.default_rng(0).integers(0, 900, (4, 30, 20), dtype=np.int16)


def _open(path: Path) -> ArraySource:
    return ArraySource(SourceSpec(kind="array", paths=(str(path),)))


def _npy(folder: Path, array: np.ndarray) -> Path:
    np.save(folder / "an array.npy", array)
    return folder / "an array.npy"


class TestWindows:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("dtype", ["<i2", ">i2", "|u1", "|b1", "<f4"])
    def test_of_npy(self, tmp_path: Path, order: Any, dtype: str) -> None:
        image = np.asarray(IMAGE.astype(dtype), order=order)
        source = _open(_npy(tmp_path, image))
        box = Box((1, 3, 2), (3, 20, 15))
        window = source.read(box)
        np.testing.assert_array_equal(window, image[box.slices])
        assert window.flags.c_contiguous
        assert window.dtype == source.info.dtype
        assert window.dtype.isnative
        assert (source.info.axes, source.info.name) == (("z", "y", "x"), "an-array")
        source.close()

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_of_zarr(self, tmp_path: Path, zarr_format: Any) -> None:
        names = ("band", "y", "x") if zarr_format == 3 else None
        array = zarr.create_array(
            tmp_path / "a", shape=IMAGE.shape, chunks=(2, 16, 16), dtype=IMAGE.dtype,
            zarr_format=zarr_format, dimension_names=names,
        )  # fmt: skip
        array[...] = IMAGE
        assert is_zarr_node(tmp_path / "a")
        assert is_zarr_array(tmp_path / "a")
        source = _open(tmp_path / "a")
        box = Box((1, 3, 2), (3, 20, 15))
        np.testing.assert_array_equal(source.read(box), IMAGE[box.slices])
        assert source.info.axes == (names or ("z", "y", "x"))
        before = source.fingerprint()
        assert source.fingerprint() == before
        array[0, 0, 0] = 5
        assert source.fingerprint() != before

    def test_a_group_is_no_array(self, tmp_path: Path) -> None:
        zarr.create_group(tmp_path / "g")
        assert is_zarr_node(tmp_path / "g")
        assert not is_zarr_array(tmp_path / "g")


class TestRefusals:
    @pytest.mark.parametrize(
        "array",
        [
            np.zeros((4, 4), "c8"),
            np.zeros((4, 4), "M8[s]"),
            np.zeros((4, 4), "U3"),
            np.array([{}, {}]),
            np.zeros(5),
            np.zeros((0, 5)),
            np.zeros((1,) * 6),
            np.zeros((3, 3), [("a", "u1")]),
        ],
        ids=lambda array: f"{array.dtype}-{array.ndim}",
    )
    def test_what_is_no_image(self, tmp_path: Path, array: np.ndarray) -> None:
        with pytest.raises(UnsupportedSource):
            _open(_npy(tmp_path, array))

    def test_every_cut(self, tmp_path: Path) -> None:
        path = _npy(tmp_path, IMAGE)
        data = path.read_bytes()
        for length in [*range(0, 140, 3), len(data) - 1]:
            path.write_bytes(data[:length])
            with pytest.raises((DamagedSource, UnsupportedSource)):
                _open(path)

    def test_a_zarr_chunk_that_does_not_decode(self, tmp_path: Path) -> None:
        array = zarr.create_array(tmp_path / "a", shape=(8, 8), chunks=(8, 8), dtype="u1")
        array[...] = 1
        (tmp_path / "a/c/0/0").write_bytes(b"junk")
        with pytest.raises(DamagedSource, match="reading"):
            _open(tmp_path / "a").read(Box((0, 0), (8, 8)))
        (tmp_path / "a/zarr.json").write_bytes(b"{")
        with pytest.raises(DamagedSource, match="opening"):
            _open(tmp_path / "a")


class TestFingerprint:
    def test_changes_with_the_file(self, tmp_path: Path) -> None:
        path = _npy(tmp_path, IMAGE)
        before = _open(path).fingerprint()
        assert _open(path).fingerprint() == before
        np.save(path, IMAGE[:3])
        assert _open(path).fingerprint() != before
