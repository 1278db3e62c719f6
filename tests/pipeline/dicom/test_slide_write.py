"""A slide that came as TIFF becomes a DICOM series: tiles as they are, and all that PS3.3 asks for.

dciodvfy is asked where it is installed.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pydicom
import pytest
from pydicom.encaps import generate_frames

from tilepress.errors import DestinationConflict, UsageError
from tilepress.pipeline.dicom.format import DICOM
from tilepress.pipeline.dicom.slide_tiles import ADOBE_RGB
from tilepress.pipeline.dicom.source import group_series
from tilepress.pipeline.export import export
from tilepress.pipeline.export_archive import export_archive
from tilepress.pipeline.geotiff.header import Entry, append_entries
from tilepress.pipeline.geotiff.slide_source import SlideSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.workflows.run.compress import compress

from ...helpers.slide_files import APERIO, ome, pyramid, tiles_of, write_slide

NOISE = np.random.default_rng(3).integers(0, 30, (3, 70, 90), np.uint8)
LEVELS = [one // 2 + NOISE[:, : one.shape[1], : one.shape[2]] for one in pyramid(70, 90, levels=2)]
TEXT = f"{APERIO}90x70|MPP = 0.5|AppMag = 20|Date = 12/29/09|Time = 09:59:15|User = Jane"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TILEPRESS_GUESTS", "off")


def of_rgb(tile: np.ndarray) -> bytes:
    how = {"colorspace": "RGB", "outcolorspace": "RGB", "subsampling": "444"}
    data = bytes(imagecodecs.jpeg8_encode(tile, level=80, **how))
    at = data.index(b"\xff\xee")
    return data[:at] + data[at + 16 :]  # as Aperio does: only the directory says that it is RGB


def jpeg2000(tile: np.ndarray, mct: bool = True) -> bytes:
    return bytes(imagecodecs.jpeg2k_encode(tile, level=28, codecformat="j2k", mct=mct))


def written(path: Path, **options: object) -> list[Path]:
    (image,) = compress(path, path.parent / "out", workers=0, tile=64, **options).images
    return export(image.store, path.parent / "dcm", "dicom")


def samples(path: Path, levels: int = 2) -> list[np.ndarray]:
    with SlideSource(SourceSpec(kind="slide", paths=(str(path),), options={"pages": []})) as source:
        shapes = [source.info.at_level(n).shape for n in range(levels)]
        return [source.read_level(n, Box((0,) * len(s), s)) for n, s in enumerate(shapes)]


def read_back(folder: Path, levels: int = 2) -> list[np.ndarray]:
    (spec,), failures = group_series([folder])
    assert not failures
    assert spec.kind == "dicom-slide"
    with contextlib.closing(DICOM.open(spec)) as source:
        shapes = [source.info.at_level(n).shape for n in range(levels)]
        return [source.read_level(n, Box((0,) * len(s), s)) for n, s in enumerate(shapes)]  # type: ignore[attr-defined]


def frames(path: Path) -> list[bytes]:
    found = pydicom.dcmread(path)
    return list(generate_frames(found.PixelData, number_of_frames=found.NumberOfFrames))


def _split(stream: bytes) -> tuple[bytes, bytes]:
    """Return the tables of a JPEG stream, and the stream without them."""
    tables, rest, at = b"\xff\xd8", b"\xff\xd8", 2
    while stream[at + 1] != 0xDA:
        end = at + 2 + int.from_bytes(stream[at + 2 : at + 4], "big")
        if stream[at + 1] in (0xDB, 0xC4):
            tables += stream[at:end]
        else:
            rest += stream[at:end]
        at = end
    return tables + b"\xff\xd9", rest + stream[at:]


def errors_of(path: Path) -> list[str]:
    """Return what dciodvfy calls errors; nothing where it is not installed."""
    if shutil.which("dciodvfy") is None:
        return []
    told = subprocess.run(["dciodvfy", "-new", path], capture_output=True, text=True, check=False)
    return [line for line in told.stderr.splitlines() if line.startswith("Error")]


class TestTiles:
    @pytest.mark.parametrize(
        ("more", "photometric"),
        [({"jpeg": True}, "YBR_FULL_422"), ({"coding": (7, of_rgb)}, "RGB")],
    )
    def test_of_jpeg_are_frames_as_they_are(
        self, tmp_path: Path, more: dict[str, Any], photometric: str
    ):
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], **more)
        for file, tiles in zip(written(path), tiles_of(path), strict=True):
            found = pydicom.dcmread(file)
            assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
            assert found.PhotometricInterpretation == photometric
            assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == (
                "01", "ISO_10918_1",
            )  # fmt: skip
            mark = ADOBE_RGB if photometric == "RGB" else b""
            even = [one[:2] + mark + one[2:] for one in tiles]
            assert frames(file) == [one + b"\0" * (len(one) % 2) for one in even]
            assert not errors_of(file)

    def test_that_share_tables_have_them_each(self, tmp_path: Path):
        def without_tables(tile: np.ndarray) -> bytes:
            return _split(imagecodecs.jpeg8_encode(tile, level=80, outcolorspace="YCBCR"))[1]

        path = write_slide(tmp_path / "a.svs", LEVELS[:1], texts=[TEXT], coding=(7, without_tables))
        whole = imagecodecs.jpeg8_encode(np.zeros((32, 32, 3), np.uint8), level=80)
        tables = _split(whole)[0]
        append_entries(path, {262: Entry(3, 1, b"\6\0"), 530: Entry(3, 2, b"\2\0\2\0"),
                              347: Entry(7, len(tables), tables)}, "<")  # fmt: skip
        (file,) = written(path)
        for frame, tile in zip(frames(file), tiles_of(path)[0], strict=True):
            assert frame.rstrip(b"\0") == tile[:2] + tables[2:-2] + tile[2:]
        assert imagecodecs.jpeg8_decode(frames(file)[0]).shape == (32, 32, 3)

    def test_that_are_absent_are_black(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], jpeg=True, absent=(1, 5))
        first, _ = written(path)
        for number in (1, 5):
            assert not imagecodecs.jpeg8_decode(frames(first)[number], outcolorspace="RGB").any()

    @pytest.mark.parametrize(("mct", "photometric"), [(True, "YBR_ICT"), (False, "RGB")])
    def test_of_jpeg_2000_are_frames_as_they_are(self, tmp_path: Path, mct: bool, photometric: str):
        coding = (33005, lambda tile: jpeg2000(tile, mct))
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], coding=coding, absent=(2,))
        files = written(path)
        found = pydicom.dcmread(files[0])
        assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.91"
        assert found.PhotometricInterpretation == photometric
        tiles, kept = tiles_of(path)[0], frames(files[0])
        assert [k for n, k in enumerate(kept) if n != 2] == [
            one + b"\0" * (len(one) % 2) for n, one in enumerate(tiles) if n != 2
        ]
        for one, other in zip(read_back(tmp_path / "dcm"), samples(path), strict=True):
            np.testing.assert_array_equal(one, other)

    @pytest.mark.parametrize("coding", [None, (33003, jpeg2000)])
    def test_of_others_are_made_of_samples(self, tmp_path: Path, coding: Any):
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], coding=coding)
        files = written(path)
        for one, other in zip(read_back(tmp_path / "dcm"), samples(path), strict=True):
            np.testing.assert_array_equal(one, other)
        found = pydicom.dcmread(files[0])
        assert found.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.90"
        assert found.LossyImageCompression == ("00" if coding is None else "01")
        assert not errors_of(files[0])

    def test_of_what_is_deidentified_were_lossy(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], jpeg=True)
        files = written(path, deidentify="basic")
        for one, other in zip(read_back(tmp_path / "dcm"), samples(path), strict=True):
            np.testing.assert_array_equal(one, other)
        found = pydicom.dcmread(files[0])
        assert found.LossyImageCompressionMethod == "ISO_10918_1"
        assert "AcquisitionDateTime" not in found
        assert b"Jane" not in files[0].read_bytes()

    def test_within_a_bound_are_lossy(self, tmp_path: Path):
        path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT])
        found = pydicom.dcmread(written(path, max_error=2)[0])
        assert (found.LossyImageCompression, found.LossyImageCompressionMethod) == (
            "01", "TILEPRESS_WAVE",
        )  # fmt: skip


def test_bands_are_optical_paths(tmp_path: Path):
    levels = pyramid(70, 90, levels=2, dtype="uint16")
    bands = [[level[band : band + 1] for level in levels] for band in range(3)]
    path = write_slide(
        tmp_path / "a.tif", [band[0] for band in bands], below=[band[1:] for band in bands],
        texts=[ome({"SizeC": 3, "IFD": 0, "PlaneCount": 3})],
    )  # fmt: skip
    files = written(path)
    found = pydicom.dcmread(files[0])
    assert found.NumberOfOpticalPaths == len(found.OpticalPathSequence) == 3
    assert found.NumberOfFrames == 3 * 9
    for one, other in zip(read_back(tmp_path / "dcm"), samples(path), strict=True):
        np.testing.assert_array_equal(one, other)


def test_what_is_said_of_a_slide(tmp_path: Path):
    path = write_slide(tmp_path / "a.svs", LEVELS, texts=[TEXT], jpeg=True)
    first, second = (pydicom.dcmread(file) for file in written(path))
    assert first.SeriesInstanceUID == second.SeriesInstanceUID != first.SOPInstanceUID
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SOPInstanceUID.startswith("2.25.")
    assert first.DimensionOrganizationType == "TILED_FULL"
    assert (first.TotalPixelMatrixRows, first.TotalPixelMatrixColumns) == (70, 90)
    assert (first.Rows, first.Columns, first.NumberOfFrames) == (32, 32, 9)
    spacing = [
        [
            float(n)
            for n in one.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0].PixelSpacing
        ]
        for one in (first, second)
    ]
    assert spacing == [[0.0005, 0.0005], [0.001, 0.001]]
    assert first.ImagedVolumeWidth == second.ImagedVolumeWidth == pytest.approx(0.045)
    assert first.AcquisitionDateTime == "20091229095915"
    (light,) = first.OpticalPathSequence
    assert (light.ObjectiveLensPower, light.ColorSpace) == (20, "SRGB")
    assert light.ICCProfile[36:40] == b"acsp"
    assert [one.ImageType[3] for one in (first, second)] == ["NONE", "RESAMPLED"]
    assert not first.PatientName
    assert "Jane" not in str(first)


def test_what_is_refused(tmp_path: Path):
    path = write_slide(tmp_path / "a.tif", pyramid(70, 90, levels=2, dtype="float32"))
    (image,) = compress(path, tmp_path / "out", workers=0, tile=64).images
    with pytest.raises(UsageError, match=r"a slide of float32 samples"):
        export(image.store, tmp_path / "dcm", "dicom")
    assert not list((tmp_path / "dcm").iterdir())
    with pytest.raises(UsageError, match=r"want a folder"):
        export(image.store, tmp_path / "a.dcm", "dicom")
    with pytest.raises(UsageError, match="gives no dicom"):
        export(image.store, tmp_path / "dcm", "dicom", slices=[0])
    (tmp_path / "dcm/level-1.dcm").touch()
    with pytest.raises(DestinationConflict, match=r"level-1\.dcm exists"):
        export(image.store, tmp_path / "dcm", "dicom")


def test_slides_of_an_archive_have_folders(tmp_path: Path):
    for name in ("a", "b"):
        write_slide(tmp_path / f"in/{name}.svs", LEVELS, texts=[TEXT], jpeg=True)
    compress(tmp_path / "in", tmp_path / "out", workers=0, tile=64)
    told = list(export_archive(tmp_path / "out", tmp_path / "dcm", "dicom"))
    assert [one.problem for one in told] == [None, None]
    assert {path.relative_to(tmp_path / "dcm") for one in told for path in one.files} == {
        Path(f"{name}.svs", f"level-{number}.dcm") for name in "ab" for number in (0, 1)
    }
