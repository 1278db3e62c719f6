"""Every source is the same in a guest as in this process; bombs end at their limits."""

from __future__ import annotations

import contextlib
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import rasterio

from tilepress.errors import SourceError
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.guests import budget, client
from tilepress.pipeline.guests.source import GuestSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source


def specs(*paths) -> list[SourceSpec]:
    return [item for item in discover(paths) if isinstance(item, SourceSpec)]


def is_the_same(spec: SourceSpec, monkeypatch) -> None:
    guest = open_source(spec)
    assert isinstance(guest, GuestSource)
    with monkeypatch.context() as off:
        off.setenv(client.SWITCH, "off")
        own = open_source(spec)
    assert not isinstance(own, GuestSource)
    assert repr(guest.info) == repr(own.info)
    box = Box((0,) * len(own.info.shape), own.info.shape)
    a, b = guest.read(box), own.read(box)
    assert (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    plane = Box((0, 0), own.info.shape[-2:])
    assert np.array_equal(guest.read_mask(plane), own.read_mask(plane))
    assert list(guest.source_items()) == list(own.source_items())
    assert guest.fingerprint() == own.fingerprint()
    guest.close()
    own.close()


@pytest.fixture
def rng():
    return np.random.default_rng(11)


def test_a_raster_with_mask_and_companions(tmp_path, monkeypatch, rng):
    path = tmp_path / "a.tif"
    samples = rng.integers(0, 999, (2, 70, 90)).astype(np.uint16)
    profile = {"driver": "GTiff", "count": 2, "height": 70, "width": 90, "dtype": "uint16"}
    place = {"crs": "EPSG:32633", "transform": rasterio.Affine(10, 0, 5, 0, -10, 7)}
    with (
        rasterio.Env(GDAL_TIFF_INTERNAL_MASK=False),
        rasterio.open(path, "w", **place, **profile) as f,
    ):
        f.write(samples)
        f.write_mask(rng.integers(0, 2, (70, 90)).astype(bool))
        f.update_tags(NOTE="x")
    assert (tmp_path / "a.tif.msk").exists()
    (spec,) = specs(tmp_path)
    is_the_same(spec, monkeypatch)


def test_arrays_of_both_kinds(tmp_path, monkeypatch, rng):
    import zarr

    np.save(tmp_path / "a.npy", rng.integers(0, 99, (3, 40, 50)).astype(np.int16))
    array = zarr.create_array(tmp_path / "b.zarr", shape=(40, 50), chunks=(16, 16), dtype="u2")
    array[:] = rng.integers(0, 99, (40, 50))
    found = specs(tmp_path)
    assert len(found) == 2
    for spec in found:
        is_the_same(spec, monkeypatch)


def test_an_array_that_this_package_has_coded(tmp_path, monkeypatch, rng):
    import zarr

    from tilepress.codecs.zarr_codec import TilepressTileV3

    array = zarr.create_array(
        tmp_path / "own.zarr", shape=(40, 50), chunks=(40, 50), dtype="u2",
        serializer=TilepressTileV3(), compressors=None,
    )  # fmt: skip
    array[:] = rng.integers(0, 99, (40, 50))
    (spec,) = specs(tmp_path / "own.zarr")
    is_the_same(spec, monkeypatch)


def test_a_folder_of_dicom(tmp_path, monkeypatch, dicom_series):
    (spec,) = specs(dicom_series)
    is_the_same(spec, monkeypatch)


@pytest.fixture
def dicom_series(tmp_path, rng):
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    series = generate_uid()
    for number in range(3):
        dataset = Dataset()
        dataset.file_meta = FileMetaDataset()
        dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = generate_uid()
        dataset.SeriesInstanceUID = series
        dataset.Modality = "CT"
        dataset.InstanceNumber = number
        dataset.Rows, dataset.Columns, dataset.SamplesPerPixel = 20, 30, 1
        dataset.PhotometricInterpretation = "MONOCHROME2"
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit = 16, 12, 11
        dataset.PixelRepresentation = 0
        dataset.ImagePositionPatient = [0, 0, 2.5 * number]
        dataset.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        dataset.PixelData = rng.integers(0, 4096, (20, 30)).astype("<u2").tobytes()
        dataset.save_as(tmp_path / f"{number}.dcm", enforce_file_format=True)
    return tmp_path


def bomb_of_jpeg_2000(side: int) -> bytes:
    """A codestream's header that claims one tile of ``side`` × ``side``, and nothing else."""
    size = struct.pack(">HHIIIIIIIIH", 41, 0, side, side, 0, 0, side, side, 0, 0, 1) + b"\7\1\1"
    cod = b"\xff\x52\0\x0c\0\0\0\1\0\0\4\4\0\0"
    qcd = b"\xff\x5c\0\4\x40\x40"
    tile = b"\xff\x90\0\x0a\0\0\0\0\0\x10\0\1\xff\x93" + b"\0\0"
    return b"\xff\x4f\xff\x51" + size + cod + qcd + tile + b"\xff\xd9"


def test_a_codestream_of_a_hundred_bytes_stays_within_its_limit(tmp_path):
    (tmp_path / "bomb.j2k").write_bytes(bomb_of_jpeg_2000(30_000))
    (spec,) = specs(tmp_path)
    source = open_source(spec)
    limit = budget.to_read(source.info, spec, 200, 2**18).memory_bytes
    with contextlib.suppress(SourceError):  # it may be refused, or decoded window by window
        source.read(Box((0, 0), (512, 512)))
        status = Path(f"/proc/{source._guest._process}/status").read_text()
        peak = int(status.partition("VmHWM:")[2].split()[0]) * 1024
        assert peak < limit
    source.close()


@pytest.mark.slow
def test_a_chunk_that_inflates_without_end_meets_the_limit(tmp_path):
    """A gzip bomb behind honest metadata: 4 GiB of zeros in 4 MB."""
    import zarr

    array = zarr.create_array(
        tmp_path / "bomb.zarr", shape=(64, 64), chunks=(64, 64), dtype="u1", zarr_format=2,
        compressors={"id": "zlib", "level": 9}, filters=None,
    )  # fmt: skip
    array[:] = 1
    packer = zlib.compressobj(9)
    piece = bytes(2**24)
    content = b"".join(packer.compress(piece) for _ in range(256)) + packer.flush()
    (tmp_path / "bomb.zarr" / "0.0").write_bytes(content)
    (spec,) = specs(tmp_path / "bomb.zarr")
    source = open_source(spec)
    with pytest.raises(SourceError):
        source.read(Box((0, 0), (64, 64)))
    source.close()
