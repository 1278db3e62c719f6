"""What a library makes up for files that it may not open is never taken for samples."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from tilepress.errors import UnsupportedSource
from tilepress.pipeline.geotiff import virtual
from tilepress.pipeline.geotiff.opted import images_by_driver
from tilepress.pipeline.geotiff.virtual import HDF5_MAGIC, maps_other_files

from .test_opted import netcdf4

SELECTION = struct.pack("<2L", 3, 1) + bytes(8)


def heap(*values: bytes) -> bytes:
    """Return a collection of a global heap."""
    objects = b"".join(
        struct.pack("<HH4xQ", number, 1, len(value)) + value + bytes(-len(value) % 8)
        for number, value in enumerate(values, 1)
    )
    return struct.pack("<4sB3xQ", b"GCOL", 1, 16 + len(objects) + 16) + objects + bytes(16)


def mapping(version: int, *, flags: bytes = b"", file: bytes = b"other.h5\0") -> bytes:
    """Return an object as the library 1.10 (version 0) and 2.0 (version 1) write it."""
    return struct.pack("<BQ", version, 5) + flags + file + b"d\0" + 2 * SELECTION


MAPPINGS = [
    mapping(0),
    mapping(0, file=b".\0"),
    mapping(0, file=b"/a/b.h5\0"),
    mapping(1, flags=b"\0"),
    mapping(1, flags=b"\4", file=b""),
]


@pytest.mark.parametrize("value", MAPPINGS)
class TestAVirtualDataset:
    def test_is_seen(self, tmp_path: Path, value: bytes):
        path = tmp_path / "v.h5"
        path.write_bytes(HDF5_MAGIC + bytes(99) + heap(b"text", value))
        assert maps_other_files(path)
        with pytest.raises(UnsupportedSource, match="maps samples of other files"):
            images_by_driver(str(path), "HDF5", "geotiff")

    def test_is_seen_across_what_is_read_at_a_time(
        self, tmp_path: Path, value: bytes, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setattr(virtual, "PIECE_BYTES", 16)
        for before in range(16):
            (tmp_path / "v.h5").write_bytes(HDF5_MAGIC + bytes(before) + heap(value))
            assert maps_other_files(tmp_path / "v.h5")


class TestOthers:
    def test_texts_and_numbers_in_a_heap_are_none(self, tmp_path: Path):
        values = [b"x" * n for n in range(40)] + [struct.pack("<8i", *range(8)), bytes(64)]
        (tmp_path / "a.h5").write_bytes(HDF5_MAGIC + heap(*values))
        assert not maps_other_files(tmp_path / "a.h5")

    def test_a_real_file_is_none(self, tmp_path: Path):
        assert not maps_other_files(netcdf4(tmp_path / "m.nc"))

    @pytest.mark.parametrize("tail", [b"GCOL\1\0\0\0", b"GCOL\1\0\0\0" + b"\xff" * 8, b"GCOL\1"])
    def test_a_damaged_heap_is_no_trouble(self, tmp_path: Path, tail: bytes):
        (tmp_path / "a.h5").write_bytes(HDF5_MAGIC + tail)
        assert not maps_other_files(tmp_path / "a.h5")

    def test_other_formats_are_not_searched(self, tmp_path: Path):
        (tmp_path / "a.img").write_bytes(b"EHFA_HEADER_TAG" + heap(MAPPINGS[0]))
        assert not maps_other_files(tmp_path / "a.img")
