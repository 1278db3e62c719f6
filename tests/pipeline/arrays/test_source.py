"""Read plain arrays."""

from __future__ import annotations

import json
import os
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
        with pytest.raises(DamagedSource, match=r"of a: damaged, or more than its codecs"):
            _open(tmp_path / "a").read(Box((0, 0), (8, 8)))
        (tmp_path / "a/zarr.json").write_bytes(b"{")
        with pytest.raises(DamagedSource, match="opening"):
            _open(tmp_path / "a")


class TestForeignFolders:
    """Nothing outside the array's folder is read, and nothing is waited for."""

    BOX = Box((0, 0), (8, 8))

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        array = zarr.create_array(tmp_path / "in/a", shape=(8, 8), chunks=(8, 8), dtype="u1")
        array[...] = 1
        other = zarr.create_array(tmp_path / "out", shape=(8, 8), chunks=(8, 8), dtype="u1")
        other[...] = 2
        return tmp_path / "in/a"

    @pytest.mark.parametrize("what", ["chunk", "folder of chunks", "pipe", "link to nothing"])
    def test_chunks(self, folder: Path, what: str) -> None:
        chunk = folder / "c/0/0"
        chunk.unlink()
        if what == "chunk":
            chunk.symlink_to(folder.parent.parent / "out/c/0/0")
        elif what == "folder of chunks":
            chunk.parent.rmdir()
            chunk.parent.symlink_to("../../../out/c/0")
        elif what == "pipe":
            os.mkfifo(chunk)
        else:
            chunk.symlink_to("gone")
        with pytest.raises(DamagedSource, match=r"reading a: c/0/0: it "):
            _open(folder).read(self.BOX)

    def test_a_link_inside_is_followed(self, folder: Path) -> None:
        (folder / "c/0/0").rename(folder / "kept")
        (folder / "c/0/0").symlink_to("../../kept")
        assert (_open(folder).read(self.BOX) == 1).all()

    @pytest.mark.parametrize("name", ["zarr.json", ".zarray"])
    def test_metadata(self, folder: Path, name: str) -> None:
        (folder / "zarr.json").unlink()
        (folder / name).symlink_to(folder.parent.parent / "out/zarr.json")
        with pytest.raises(DamagedSource, match=f"{name}: it leads outside"):
            _open(folder)

    def test_brackets_without_end(self, folder: Path) -> None:
        (folder / "zarr.json").write_bytes(b"[" * 100_000)
        assert is_zarr_array(folder)
        with pytest.raises(DamagedSource, match="no JSON that can be parsed"):
            _open(folder)

    @pytest.mark.parametrize("zarr_format", [2, 3])
    def test_objects_are_never_made(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, zarr_format: int
    ) -> None:
        """Whatever the environment allows."""
        monkeypatch.setenv("NUMCODECS_ALLOW_UNSAFE_PICKLE_DECODE", "1")
        chunks: dict[str, Any] = {"zarr_format": zarr_format, "shape": [8, 8], "fill_value": 0}
        if zarr_format == 2:
            name = ".zarray"
            chunks |= {"chunks": [8, 8], "dtype": "|u1", "order": "C", "compressor": None}
            chunks |= {"filters": [{"id": "pickle"}]}
        else:
            name = "zarr.json"
            grid = {"name": "regular", "configuration": {"chunk_shape": [8, 8]}}
            inner = {"chunk_shape": [8, 8], "codecs": [{"name": "numcodecs.pickle"}]}
            chunks |= {"node_type": "array", "data_type": "uint8", "chunk_grid": grid}
            chunks |= {"codecs": [{"name": "sharding_indexed", "configuration": inner}]}
            chunks |= {"chunk_key_encoding": {"name": "default"}}
        (tmp_path / name).write_text(json.dumps(chunks))
        with pytest.raises(UnsupportedSource, match="codec 'pickle' makes Python objects"):
            _open(tmp_path)


class TestForeignNpy:
    @pytest.mark.parametrize(
        "header",
        [
            "(" * 3000,
            "{'descr': '<i2', 'fortran_order': False, 'shape': (-1, 5)}",
            "{'descr': '<i2', 'fortran_order': False, 'shape': (2**70, 5)}",
            f"{{'descr': '<i2', 'fortran_order': False, 'shape': ({2**70}, 5)}}",
            "{'descr': '<i2', 'fortran_order': False, 'shape': (True, 5)}",
            "{'descr': '|O', 'fortran_order': False, 'shape': (1, 5)}",
            "__import__('os').system('true')",
            "{'descr': " + "-" * 9000 + "1}",
        ],
        ids=str.__len__,
    )
    def test_a_header_is_read_or_refused(self, tmp_path: Path, header: str) -> None:
        path = tmp_path / "a.npy"
        text = header.encode() + b"\n"
        path.write_bytes(b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text + bytes(64))
        with pytest.raises((DamagedSource, UnsupportedSource)):
            _open(path)

    def test_an_archive_of_arrays_is_none(self, tmp_path: Path) -> None:
        np.savez(tmp_path / "a.npz", IMAGE)
        (tmp_path / "a.npz").rename(tmp_path / "a.npy")
        with pytest.raises(UnsupportedSource, match="no single array"):
            _open(tmp_path / "a.npy")

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "a.npy")
        with pytest.raises(DamagedSource, match="no regular file"):
            _open(tmp_path / "a.npy")


class TestFingerprint:
    def test_changes_with_the_file(self, tmp_path: Path) -> None:
        path = _npy(tmp_path, IMAGE)
        before = _open(path).fingerprint()
        assert _open(path).fingerprint() == before
        np.save(path, IMAGE[:3])
        assert _open(path).fingerprint() != before
