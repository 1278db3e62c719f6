"""Windows for tuning are what the encoder sees, of bounded size, the same each time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

from tilepress.codecs.wave.train import TrainingImage
from tilepress.workflows.learn import windows

from ...helpers.samples import smooth


class TestSample:
    """Tuning sees what the encoder sees, of bounded size, the same each time."""

    def windows(self, path: Path, **options: object) -> list[TrainingImage]:
        from tilepress.pipeline.archive.options import EncodeOptions
        from tilepress.pipeline.find.discover import discover

        return list(windows.sample_windows(list(discover([path])), EncodeOptions(**options), 10**9))  # type: ignore[arg-type]

    def test_large_images_give_windows_from_all_over(self, tmp_path: Path):
        path = tmp_path / "large.npy"
        rows = np.add.outer(np.arange(4096), np.arange(4096)).astype(np.uint16)
        np.save(path, rows)
        found = self.windows(path)
        assert len(found) == windows.MAX_WINDOWS
        corners = {(int(w.planes[0, 0, 0])) for w in found}
        assert min(corners) < 2048 < max(corners)
        again = self.windows(path)
        assert all(np.array_equal(a.planes, b.planes) for a, b in zip(found, again, strict=True))

    @pytest.mark.parametrize(
        ("shape", "windows", "bands"),
        [
            ((20, 64, 64), [(4, 64, 64)] * 5, 1),
            ((3, 64, 64), [(3, 64, 64)], 3),
            ((6, 64, 64), [(4, 64, 64), (2, 64, 64)], 1),
            ((2, 3, 64, 64), [(3, 64, 64)] * 2, 3),
        ],
    )
    def test_planes_go_together_by_a_few(
        self, tmp_path: Path, shape: tuple[int, ...], windows: list[tuple[int, ...]], bands: int
    ):
        """Neighbouring slices for references, and the colours of a pixel whole."""
        path = tmp_path / "volume.npy"
        np.save(path, smooth(shape))
        found = self.windows(path)
        assert [window.planes.shape for window in found] == windows
        assert {window.bands for window in found} == {bands}

    def test_near_lossless_samples_are_on_their_grid(self, tmp_path: Path):
        path = tmp_path / "near.npy"
        samples = smooth((64, 64))
        np.save(path, samples)
        (window,) = self.windows(path, max_error=2)
        assert np.array_equal(window.planes[0], (samples.astype(int) + 2) // 5)

    def test_nodata_is_no_cliff(self):
        samples = np.full((1, 32, 32), 100, np.int16)
        samples[0, 5] = 101
        samples[0, 10:20, 5:25] = -32768
        planes = windows.as_coded(samples, -32768, 0)
        assert planes is not None
        assert set(np.unique(planes)) == {100, 101}

    def test_what_teaches_nothing_is_left_out(self, tmp_path: Path):
        assert windows.as_coded(np.zeros((1, 8, 8), np.uint8), None, 0) is None
        assert windows.as_coded(np.zeros((1, 32, 32), np.uint8), None, 0) is None
        assert windows.as_coded(np.full((1, 32, 32), np.nan, np.float32), None, 0) is None


class TestPlanes:
    """Training and tuning agree on what a plane is, and which planes are colours."""

    def test_leading_axes_are_flattened_in_order(self):
        samples = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
        planes = windows.as_planes(samples)
        assert planes.shape == (6, 4, 5)
        assert np.array_equal(planes[4], samples[1, 1])

    @pytest.mark.parametrize(("bands", "found"), [(1, 1), (2, 1), (3, 3), (4, 4), (7, 1)])
    def test_three_or_four_bands_are_colours(self, bands: int, found: int):
        assert windows.colours(bands) == found
