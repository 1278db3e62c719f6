"""Other readers give digests of planes, from packed files too, and end when they must."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from tilepress.workflows.bench import other_readers
from tilepress.workflows.bench.other_readers import OtherReaders, digests, readings

from ...pipeline.images import IMAGE, dicom, npy, tiff

WANT = tuple(digests(IMAGE))


class TestDigests:
    """Values count, and not what type they have."""

    @pytest.mark.parametrize("dtype", [np.int16, np.uint16, np.int64, np.float32, np.float64])
    def test_equal_values_of_any_type(self, dtype: type) -> None:
        assert tuple(digests(IMAGE.astype(dtype))) == WANT

    def test_other_values_and_shapes_differ(self) -> None:
        assert tuple(digests(IMAGE + 1)) != WANT
        assert tuple(digests(IMAGE.reshape(30, 20))) != WANT
        assert len(set(digests(np.array([[[0.5]], [[np.nan]], [[np.inf]]])))) == 3
        top = np.array([[2**64 - 1]], np.uint64)
        assert set(digests(top)) != set(digests(top - np.uint64(1)))

    def test_complex_ones_are_two_planes(self) -> None:
        assert list(digests(np.array([[1 + 2j]]))) == list(digests(np.array([[[1]], [[2]]])))


class TestReadings:
    @pytest.mark.parametrize("write", [tiff, npy])
    def test_of_files(self, write: object, tmp_path: Path) -> None:
        assert WANT in {one.planes for one in readings(write(tmp_path / "a"))}

    def test_of_dicom(self, tmp_path: Path) -> None:
        assert [one.planes for one in readings(dicom(tmp_path / "1", 1, 1))] == [WANT] * 3

    def test_of_packed_files(self, tmp_path: Path) -> None:
        data = tiff(tmp_path / "a.tif").read_bytes()
        (tmp_path / "b.tif.gz").write_bytes(gzip.compress(data))
        with tarfile.open(tmp_path / "c.tar", "w") as tar:
            member = tarfile.TarInfo("inner/a.tif")
            member.size = len(data)
            tar.addfile(member, io.BytesIO(data))
        for name in ("b.tif.gz", "c.tar/inner/a.tif"):
            assert WANT in {one.planes for one in readings(tmp_path / name)}

    def test_an_error_is_a_reading_too(self, tmp_path: Path) -> None:
        (tmp_path / "a").write_bytes(b"nothing")
        (one,) = readings(tmp_path / "a")
        assert not one.planes
        assert one.error


class TestTheProcess:
    def test_is_ended_when_it_does_not_come_back(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = npy(tmp_path / "a.npy")
        with OtherReaders() as readers:
            assert WANT in {one.planes for one in readers.read(path)}
            monkeypatch.setattr(other_readers, "LIMIT_SECONDS", 0.0)
            assert readers.read(path)[0].error == "over 0 s"
            monkeypatch.undo()
            assert WANT in {one.planes for one in readers.read(path)}
