"""Frames of DICOM files are what the standard makes of them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pydicom
import pytest

from tilepress.workflows.bench.other_dicom import frames, instance_of, stored_bits, tile_of

from ...pipeline.images import dicom

SLIDE = np.arange(9 * 10, dtype=np.uint16).reshape(9, 10)


@pytest.fixture
def slide(tmp_path: Path) -> Path:
    """Four frames of 6 × 8, cut out of SLIDE, with 7 where there is none of it."""
    dataset = pydicom.dcmread(dicom(tmp_path / "1", 1, 1))
    padded = np.pad(SLIDE, [(0, 3), (0, 6)], constant_values=7)
    cut = [padded[y : y + 6, x : x + 8] for y in (0, 6) for x in (0, 8)]
    dataset.Rows, dataset.Columns, dataset.NumberOfFrames = 6, 8, 4
    dataset.TotalPixelMatrixRows, dataset.TotalPixelMatrixColumns = SLIDE.shape
    dataset.DimensionOrganizationType = "TILED_FULL"
    dataset.PixelData = np.stack(cut).tobytes()
    dataset.save_as(tmp_path / "slide")
    return tmp_path / "slide"


class TestSlides:
    def test_frames_end_where_the_slide_does(self, slide: Path) -> None:
        found = list(frames(slide))
        assert tile_of(slide) == (6, 8)
        assert [one.shape for one in found] == [(6, 8), (6, 2), (3, 8), (3, 2)]
        assert np.array_equal(np.block([found[:2], found[2:]]), SLIDE)

    def test_of_sparse_ones_a_sequence_tells_places(self, slide: Path) -> None:
        dataset = pydicom.dcmread(slide)
        dataset.DimensionOrganizationType = "TILED_SPARSE"
        dataset.PerFrameFunctionalGroupsSequence = [_group(y, x) for y in (1, 7) for x in (1, 9)]
        dataset.save_as(slide)
        found = list(frames(slide))
        assert np.array_equal(np.block([found[:2], found[2:]]), SLIDE)


def _group(row: int, column: int) -> pydicom.Dataset:
    place, group = pydicom.Dataset(), pydicom.Dataset()
    place.RowPositionInTotalImagePixelMatrix = row
    place.ColumnPositionInTotalImagePixelMatrix = column
    group.PlanePositionSlideSequence = [place]
    return group


class TestStoredBits:
    """12 bits may lie at the upper end of 16, and others below them."""

    def test_others_are_no_part_of_values(self, tmp_path: Path) -> None:
        path = dicom(tmp_path / "1", 1, 1)
        dataset = pydicom.dcmread(path)
        want = np.arange(-300, 300, dtype=np.int16).reshape(20, 30)
        dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 12, 15, 1
        dataset.PixelData = (want * 16 + 5).astype(np.int16).tobytes()
        dataset.save_as(path)
        (found,) = stored_bits(path)
        assert np.array_equal(found, want[None])
        assert tile_of(path) is None


class TestInstances:
    def test_are_known_by_their_uid(self, tmp_path: Path) -> None:
        assert instance_of(dicom(tmp_path / "1", 3, 4)) == "1.2.3.3.4"
        (tmp_path / "2").write_bytes(b"nothing")
        assert instance_of(tmp_path / "2") is None
        assert instance_of(tmp_path / "none") is None
