"""JPEG 2000, JPEG XL and WebP streams pass through where that is smaller, and come back."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
from pydicom.encaps import encapsulate

from tilepress import compress, export
from tilepress.codecs import decoded
from tilepress.codecs.decoded import DecodedChunks
from tilepress.codecs.passed import codec as passed
from tilepress.pipeline.archive.compare import SourceSamples, find_difference
from tilepress.pipeline.archive.evidence import Evidence
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.plan import ImagePlan, make_plan
from tilepress.pipeline.archive.repair import repair_stores
from tilepress.pipeline.archive.verify import check_stores, verify_store
from tilepress.pipeline.archive.write import RECODED
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store import shard_encode
from tilepress.pipeline.store.kept import IRREVERSIBLE
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import salvage

from ..helpers.jpeg_files import PICTURE, blocks
from ..pipeline.dicom.conftest import build, save

LOSSY_2000, LOSSLESS_2000 = "1.2.840.10008.1.2.4.91", "1.2.840.10008.1.2.4.90"
XL = "1.2.840.10008.1.2.4.112"
ROOM = "1.2.840.10008.1.2.4.203"
"""A syntax that pydicom writes, as long as the one of JPEG XL, which it does not."""
BLACK = np.zeros((150, 170), np.uint8)


def lossy_2000(image: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(image, level=40))


def lossy_xl(image: np.ndarray) -> bytes:
    return bytes(imagecodecs.jpegxl_encode(image, level=80, lossless=False))


def dicom(path: Path, streams: list[bytes], syntax: str, fragments: int = 1) -> Path:
    many = {"NumberOfFrames": len(streams)} if len(streams) > 1 else {}
    pixels = encapsulate(streams, fragments_per_frame=fragments)
    dataset = build(
        pixels, syntax.replace(XL, ROOM), Rows=150, Columns=170, BitsAllocated=8, BitsStored=8,
        PixelRepresentation=0, **many,
    )  # fmt: skip
    dataset["PixelData"].is_undefined_length = True
    path = save(dataset, path)
    if syntax == XL:
        path.write_bytes(path.read_bytes().replace(ROOM.encode(), XL.encode(), 1))
    return path


def store_of(archive: Path) -> Path:
    (store,) = archive.glob("*.zarr")
    return store


def stored(path: Path, archive: Path) -> StoreReader:
    assert not compress(path, archive, workers=0).failures
    store = store_of(archive)
    assert verify_store(storage_path(store)) == []
    return StoreReader.open(store)


def test_a_report_says_where_streams_are_not_kept(tmp_path: Path) -> None:
    """Flat frames take fewer bytes as samples: exports are not the source's bytes."""
    flat = np.full((150, 170), 7, np.uint8)
    for name, image, recoded in (("flat", flat, True), ("picture", PICTURE[0], False)):
        path = dicom(tmp_path / name / "a.dcm", [lossy_2000(image)], LOSSY_2000)
        (result,) = compress(path, tmp_path / f"out-{name}", workers=0).images
        assert (RECODED in result.remarks) == recoded
        assert StoreReader.open(result.store).keeps_streams((0, 0)) != recoded


def read(path: Path) -> np.ndarray:
    source = DicomSource(SourceSpec(kind="dicom", paths=(str(path),)))
    try:
        shape = source.info.shape
        return source.read(Box((0,) * len(shape), shape))
    finally:
        source.close()


def coded_bytes(reader: StoreReader) -> int:
    return int(reader.statement["stored_bytes"])


class TestDicom:
    @pytest.mark.parametrize(
        ("encode", "syntax"), [(lossy_2000, LOSSY_2000), (lossy_xl, XL)], ids=["2000", "XL"]
    )
    @pytest.mark.parametrize("fragments", [1, 3])
    def test_lossy_frames_pass_through_and_come_back(
        self, tmp_path: Path, encode: Any, syntax: str, fragments: int
    ):
        """One black frame, which takes less as samples, does not keep the file from coming back."""
        streams = [encode(one) for one in (PICTURE[0], PICTURE[1], BLACK)]
        path = dicom(tmp_path / "a.dcm", streams, syntax, fragments)
        reader = stored(path, tmp_path / "out")
        assert np.array_equal(reader.image[...], read(path))
        assert coded_bytes(reader) < sum(map(len, streams)) + 200
        assert reader.streams((0, 0, 0)) == [one + b"\0" * (len(one) % 2) for one in streams]
        (again,) = export(store_of(tmp_path / "out"), tmp_path / "back")
        assert again.read_bytes() == path.read_bytes()
        assert IRREVERSIBLE in reader.statement
        assert IRREVERSIBLE in reader.image.attrs["tilepress"]

    def test_another_version_of_a_decoder_is_no_damage(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = dicom(tmp_path / "a.dcm", [lossy_2000(PICTURE[0])], LOSSY_2000)
        reader = stored(path, tmp_path / "out")
        before = reader.image[...]
        decode = passed.decode
        monkeypatch.setattr(passed, "decode", lambda *given: decode(*given) ^ 1)
        monkeypatch.setattr(decoded, "_chunks", DecodedChunks(0))  # as a later process has it
        assert verify_store(storage_path(store_of(tmp_path / "out"))) == []
        assert np.array_equal(StoreReader.open(store_of(tmp_path / "out")).image[...], before ^ 1)
        assert [one.state for one in check_stores(tmp_path / "out", [path])] == ["sound"]
        dicom(path, [lossy_2000(PICTURE[1])], LOSSY_2000)
        (check,) = check_stores(tmp_path / "out", [path])
        assert check.differs

    def test_lossless_frames_are_recoded_where_that_is_smaller(self, tmp_path: Path):
        data = bytes(imagecodecs.jpeg2k_encode(PICTURE[0], reversible=True))
        reader = stored(dicom(tmp_path / "a.dcm", [data], LOSSLESS_2000), tmp_path / "out")
        assert np.array_equal(reader.image[...], PICTURE[0])
        assert not reader.keeps_streams((0, 0))
        assert coded_bytes(reader) < len(data)
        assert IRREVERSIBLE not in reader.statement

    @pytest.mark.parametrize("syntax", [LOSSLESS_2000, LOSSY_2000])
    def test_lossless_frames_are_kept_where_that_is_not(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, syntax: str
    ):
        """A reversible stream may lack passes: only the syntax says that it does not."""
        data = bytes(imagecodecs.jpeg2k_encode(PICTURE[0], reversible=True))
        path = dicom(tmp_path / "a.dcm", [data], syntax)
        code = shard_encode.encode_chunk
        monkeypatch.setattr(
            shard_encode, "encode_chunk", lambda *given: code(*given) + bytes(2**16)
        )
        reader = stored(path, tmp_path / "out")
        assert reader.keeps_streams((0, 0))
        assert (IRREVERSIBLE in reader.statement) == (syntax == LOSSY_2000)
        (again,) = export(store_of(tmp_path / "out"), tmp_path / "back")
        assert again.read_bytes() == path.read_bytes()

    def test_samples_that_the_reader_gives_otherwise_are_coded(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        path = dicom(tmp_path / "a.dcm", [lossy_2000(PICTURE[0])], LOSSY_2000)
        want = read(path)
        decode = passed.decode
        monkeypatch.setattr(passed, "decode", lambda *given: decode(*given) ^ 1)
        reader = stored(path, tmp_path / "out")
        assert not reader.keeps_streams((0, 0))
        assert np.array_equal(reader.image[...], want)

    def test_a_rerun_finds_its_store(self, tmp_path: Path):
        path = dicom(tmp_path / "a.dcm", [lossy_2000(PICTURE[0])], LOSSY_2000)
        stored(path, tmp_path / "out")
        again = compress(path, tmp_path / "out", workers=0)
        assert [one.status for one in again.images] == ["unchanged"]


class TestAfterAnUpdateOfDecoders:
    """Lossy streams decode to other samples than those that were sealed: nothing has changed."""

    @pytest.fixture
    def path(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """Return the file of a store, whose decoders are others from here on."""
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        path = dicom(tmp_path / "a.dcm", [lossy_2000(one) for one in PICTURE[:2]], LOSSY_2000)
        assert stored(path, tmp_path / "out").keeps_streams((0, 0, 0))
        decode, read = passed.decode, DicomSource.read
        monkeypatch.setattr(passed, "decode", lambda *given: decode(*given) ^ 1)
        monkeypatch.setattr(DicomSource, "read", lambda *given: read(*given) ^ 1)
        return path

    @contextlib.contextmanager
    def planned(self, path: Path, tmp_path: Path) -> Iterator[tuple[ImagePlan, TileSource]]:
        """Plan the store anew, as for a source that may be another."""
        spec = SourceSpec(kind="dicom", paths=(str(path),))
        with contextlib.closing(open_source(spec)) as source:
            store = storage_path(store_of(tmp_path / "out"))
            yield make_plan(source, store, EncodeOptions()), source

    def damaged(self, tmp_path: Path) -> tuple[Path, bytes]:
        (found,) = (p for p in (store_of(tmp_path / "out") / "0/image/c").rglob("*") if p.is_file())
        good = found.read_bytes()
        found.write_bytes(good[:40] + bytes([good[40] ^ 255]) + good[41:])
        return found, good

    def test_a_rerun_by_samples_finds_the_store(self, path: Path, tmp_path: Path):
        report = compress(path, tmp_path / "out", workers=0, checksum=True)
        assert [one.status for one in report.images] == ["unchanged"]

    def test_a_rerun_by_samples_finds_other_streams(self, path: Path, tmp_path: Path):
        dicom(path, [lossy_2000(one) for one in (PICTURE[0], PICTURE[2])], LOSSY_2000)
        with self.planned(path, tmp_path) as (plan, source):
            assert find_difference(plan, source) == "they differ in image-0.0.0"

    @pytest.mark.parametrize("touched", [False, True])
    def test_a_shard_is_repaired_as_it_was(self, path: Path, tmp_path: Path, touched: bool):
        shard_path, good = self.damaged(tmp_path)
        if touched:
            os.utime(path, (1, 1))
        (done,) = repair_stores(tmp_path / "out", [path])
        assert (done.state, done.resealed, done.reason) == ("repaired", False, None)
        assert shard_path.read_bytes() == good
        assert verify_store(storage_path(store_of(tmp_path / "out"))) == []

    def test_not_from_other_streams(self, path: Path, tmp_path: Path):
        self.damaged(tmp_path)
        dicom(path, [lossy_2000(one) for one in (PICTURE[0], PICTURE[2])], LOSSY_2000)
        (done,) = repair_stores(tmp_path / "out", [path])
        assert done.state == "failed"
        assert "its samples differ in image-0.0.0" in str(done.reason)

    def test_sound_shards_are_those_of_the_source(self, path: Path, tmp_path: Path):
        """And stay what another decoder may decode otherwise when the store is sealed anew."""
        os.utime(path, (1, 1))
        with self.planned(path, tmp_path) as (plan, source):
            evidence = Evidence(SourceSamples(plan, source), salvage(storage_path(plan.store)))
            assert not evidence.same_plan
            (ref,) = plan.shards()
            entry = evidence.take_stock(ref)
        assert entry is not None
        assert entry.irreversible
        assert evidence.disproof() is None

    def test_sound_shards_of_a_store_within_a_bound(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """They are decoded and compared, whatever the manifest says."""
        monkeypatch.setenv("TILEPRESS_GUESTS", "off")
        path = dicom(tmp_path / "a.dcm", [lossy_2000(one) for one in PICTURE[:2]], LOSSY_2000)
        streams_first = property(lambda ways: ways.streams or ways.samples)
        monkeypatch.setattr(shard_encode._Ways, "smaller", streams_first)
        report = compress(path, tmp_path / "out", workers=0, max_error=1)
        assert report.ok
        store = store_of(tmp_path / "out")
        assert StoreReader.open(store).keeps_streams((0, 0, 0))
        decode = passed.decode
        monkeypatch.setattr(passed, "decode", lambda *given: decode(*given) ^ 4)
        assert not StoreReader.open(store).loss.is_lossless
        options = EncodeOptions(max_error=1)
        for other in (False, True):
            if other:
                streams = [lossy_2000(one) for one in (PICTURE[0], PICTURE[2])]
                dicom(path, streams, LOSSY_2000)
            spec = SourceSpec(kind="dicom", paths=(str(path),))
            with contextlib.closing(open_source(spec)) as source:
                plan = make_plan(source, storage_path(store), options)
                evidence = Evidence(SourceSamples(plan, source), salvage(storage_path(store)))
                (ref,) = plan.shards()
                assert (evidence.take_stock(ref) is None) == other
                assert (find_difference(plan, source) is None) != other


WEBP: dict[str, dict[str, Any]] = {
    "lossy tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "WEBP_LEVEL": 60},
    "lossy strips": {"blockysize": 32, "WEBP_LEVEL": 60},
    "lossless tiles": {"tiled": True, "blockxsize": 64, "blockysize": 64, "WEBP_LOSSLESS": "YES"},
    "sparse": {
        "tiled": True, "blockxsize": 64, "blockysize": 64, "SPARSE_OK": "TRUE", "WEBP_LEVEL": 60,
    },
}  # fmt: skip


class TestTiff:
    @pytest.mark.parametrize("name", WEBP)
    def test_webp_blocks_come_back(self, tmp_path: Path, name: str):
        path = tmp_path / "a.tif"
        profile = {"driver": "GTiff", "count": 3, "height": 150, "width": 170, "dtype": "uint8"}
        place = {"crs": "EPSG:32631", "transform": rasterio.Affine(10, 0, 5e5, 0, -10, 4e6)}
        with rasterio.open(path, "w", **profile, **place, compress="webp", **WEBP[name]) as file:
            if name == "sparse":
                file.write(PICTURE[:, :64, :64], window=((0, 64), (0, 64)))
            else:
                file.write(PICTURE)
        with rasterio.open(path) as file:
            want = file.read()
        reader = stored(path, tmp_path / "out")
        assert np.array_equal(reader.image[...], want)
        streams = [one for one in blocks(path)[1] if one is not None]
        assert coded_bytes(reader) < sum(map(len, streams)) + 200
        (again,) = export(store_of(tmp_path / "out"), tmp_path / "b.tif")
        with rasterio.open(again) as file:
            assert np.array_equal(file.read(), want)
            assert (file.crs, file.profile["compress"]) == ("EPSG:32631", "webp")
        if "lossless" not in name:
            assert blocks(again) == blocks(path)
            assert IRREVERSIBLE in reader.statement
