"""What "unchanged" means enters the digests of plans: to the letter what sealed stores have."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pytest
import zarr

from tilepress.errors import SourceError
from tilepress.pipeline.arrays.source import ArraySource
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.geotiff.source import GeoTiffSource
from tilepress.pipeline.image.fingerprint import (
    FilePrint,
    ListingPrint,
    file_print,
    folder_print,
    objects_print,
)
from tilepress.pipeline.image.source import SourceSpec

from ..images import dicom, npy, tiff, upload

NS = 1_700_000_000_123_456_789


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def dated(path: Path) -> Path:
    os.utime(path, ns=(NS, NS))
    return path


def told(source: ArraySource | DicomSource | GeoTiffSource) -> str:
    found = json.dumps(source.fingerprint(), sort_keys=True, separators=(",", ":"))
    source.close()
    return found


class TestWhatEveryFormatTells:
    """A store that an earlier version sealed is still that of its source."""

    def test_a_raster(self, tmp_path: Path) -> None:
        path = dated(tiff(tmp_path / "a.tif"))
        content = path.read_bytes()
        assert told(GeoTiffSource.open(path)) == (
            f'{{"files":[{{"header_sha256":"{sha256(content)}","mtime_ns":{NS},"name":"a.tif",'
            f'"size":{len(content)}}}],"kind":"geotiff"}}'
        )

    def test_a_large_raster_is_known_by_both_ends(self, tmp_path: Path) -> None:
        noise = np.random.default_rng(0).integers(0, 2**16, (400, 300), dtype=np.uint16)
        path = dated(tiff(tmp_path / "a.tif", noise))
        content = path.read_bytes()
        ends = sha256(content[: 2**16] + content[-(2**16) :])
        assert json.loads(told(GeoTiffSource.open(path)))["files"][0]["header_sha256"] == ends

    def test_a_series(self, tmp_path: Path) -> None:
        path = dated(dicom(tmp_path / "a", 1, 1))
        content = path.read_bytes()
        header = content[: len(content) - 2 * 20 * 30]
        source = DicomSource(SourceSpec(kind="dicom", paths=(str(path),)))
        assert told(source) == (
            f'{{"files":[{{"header_sha256":"{sha256(header)}","mtime_ns":{NS},'
            f'"size":{len(content)}}}]}}'
        )

    def test_a_numpy_file(self, tmp_path: Path) -> None:
        path = dated(npy(tmp_path / "a.npy", np.zeros((99, 99))))
        content = path.read_bytes()
        source = ArraySource(SourceSpec(kind="array", paths=(str(path),)))
        assert told(source) == (
            f'{{"a.npy":{{"header":"{sha256(content[:4096])}","mtime_ns":{NS},'
            f'"size":{len(content)}}}}}'
        )

    def test_a_zarr_array(self, tmp_path: Path) -> None:
        array = zarr.create_array(tmp_path / "a", shape=(8, 8), chunks=(4, 8), dtype="u1")
        array[...] = 1
        files = [dated(tmp_path / "a" / name) for name in ("c/0/0", "c/1/0", "zarr.json")]
        lines = "".join(
            f"{path.relative_to(tmp_path / 'a')} {path.stat().st_size} {NS}\n" for path in files
        )
        source = ArraySource(SourceSpec(kind="array", paths=(str(tmp_path / "a"),)))
        listing = sha256(lines.encode())
        assert told(source) == f'{{"a":{{"files":3,"listing":"{listing}"}}}}'

    def test_a_zarr_array_in_a_bucket(self, tmp_path: Path, bucket: str) -> None:
        array = zarr.create_array(tmp_path / "a", shape=(8, 8), chunks=(8, 8), dtype="u1")
        array[...] = 1
        upload(tmp_path, f"{bucket}/in")
        lines = ""
        for name in ("c/0/0", "zarr.json"):
            content = (tmp_path / "a" / name).read_bytes()
            tag = hashlib.md5(content, usedforsecurity=False).hexdigest()  # as S3 has it
            lines += f'{name} {len(content)} "{tag}"\n'
        source = ArraySource(SourceSpec(kind="array", paths=(f"{bucket}/in/a",)))
        listing = sha256(lines.encode())
        assert told(source) == f'{{"a":{{"files":2,"listing":"{listing}"}}}}'


class TestFiles:
    @pytest.mark.parametrize("size", [0, 3, 10, 15, 20, 21, 100])
    def test_a_header_at_one_end_or_both(self, tmp_path: Path, size: int) -> None:
        content = bytes(range(size))
        path = tmp_path / "x"
        path.write_bytes(content)
        dated(path)
        assert file_print(path, 10) == FilePrint(size, NS, sha256(content[:10]))
        both = content if size <= 20 else content[:10] + content[-10:]
        assert file_print(path, 10, at_both_ends=True) == FilePrint(size, NS, sha256(both))

    def test_a_missing_one_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(FileNotFoundError):
            file_print(tmp_path / "x", 10)


class TestListings:
    def test_of_nothing(self, tmp_path: Path) -> None:
        assert folder_print(tmp_path) == ListingPrint(0, sha256(b""))

    def test_each_touch_shows(self, tmp_path: Path) -> None:
        (tmp_path / "a").mkdir()
        (tmp_path / "a/b").write_bytes(b"1")
        found = [folder_print(tmp_path)]
        dated(tmp_path / "a/b")
        found.append(folder_print(tmp_path))
        (tmp_path / "c").write_bytes(b"")
        found.append(folder_print(tmp_path))
        assert len(set(found)) == 3

    def test_a_service_that_is_away_is_an_error_of_the_source(
        self, bucket: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with pytest.raises(SourceError, match="listing s3://no-such-bucket/x: "):
            objects_print("s3://no-such-bucket/x")
