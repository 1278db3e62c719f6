"""NIfTI files: stored values with slope and intercept, times, loss, the same bytes again."""

from __future__ import annotations

import gzip
import sys
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK as itk

import tilepress
from tilepress.errors import UsageError

from .conftest import ATTITUDES, Write, samples, series


class TestValues:
    def test_stay_as_they_are_stored_with_slope_and_intercept(self, tmp_path: Path, stored: Write):
        elements = {"RescaleSlope": 0.5, "RescaleIntercept": -3.25}
        folder = series(tmp_path / "s", samples(), ATTITUDES["axial"], **elements)
        (out,) = tilepress.export(stored(folder), tmp_path / "x.nii.gz")
        image = nibabel.load(out)
        np.testing.assert_array_equal(image.dataobj.get_unscaled().T, samples())
        assert (image.dataobj.slope, image.dataobj.inter) == (0.5, -3.25)
        np.testing.assert_array_equal(image.get_fdata().T, samples() * 0.5 - 3.25)
        found = itk.GetArrayFromImage(itk.ReadImage(str(out)))
        np.testing.assert_array_equal(found, samples() * 0.5 - 3.25)

    @pytest.mark.parametrize(
        ("slope", "intercept"),
        [("0", "5"), ("1e-50", "0"), ("1e39", "1"), ("2", "1e39"), ("2", "-1e-50"), ("-1", "0")],
    )
    def test_that_the_header_has_not_are_applied(
        self, tmp_path: Path, stored: Write, slope: str, intercept: str
    ):
        """Its numbers are float32, and 0 says that there is no slope."""
        elements = {"RescaleSlope": slope, "RescaleIntercept": intercept}
        folder = series(tmp_path / "s", samples(), ATTITUDES["axial"], **elements)
        (out,) = tilepress.export(stored(folder), tmp_path / "x.nii")
        wanted = samples() * float(slope) + float(intercept)
        np.testing.assert_array_equal(np.asarray(nibabel.load(out).dataobj).T, wanted)

    def test_of_planes_with_slopes_of_their_own_are_physical(self, tmp_path: Path, stored: Write):
        slopes = [0.1, 0.25, 1.5, 2.0, 3.7, 10.0]
        folder = series(
            tmp_path / "s",
            samples(),
            ATTITUDES["axial"],
            each=lambda n: {"RescaleSlope": slopes[n], "RescaleIntercept": n},
        )
        store = stored(folder)
        wanted = samples() * np.reshape(slopes, (6, 1, 1)) + np.arange(6)[:, None, None]
        (nii,) = tilepress.export(store, tmp_path / "x.nii")
        np.testing.assert_array_equal(nibabel.load(nii).get_fdata().T, wanted)
        (nrrd,) = tilepress.export(store, tmp_path / "x.nrrd")
        np.testing.assert_array_equal(itk.GetArrayFromImage(itk.ReadImage(str(nrrd))), wanted)
        (part,) = tilepress.export(store, tmp_path / "part.nii", slices=[2, 3])
        np.testing.assert_array_equal(nibabel.load(part).get_fdata().T, wanted[2:4])

    @pytest.mark.parametrize(
        "dtype", ["uint8", "int8", "uint16", "int32", "float32", "float64", "bool"]
    )
    def test_of_every_type(self, tmp_path: Path, stored: Write, dtype: str):
        given = samples((3, 5, 6), 0, 120).astype(dtype)
        np.save(tmp_path / "a.npy", given)
        store = stored(tmp_path / "a.npy")
        (nii,) = tilepress.export(store, tmp_path / "x.nii")
        np.testing.assert_array_equal(np.asarray(nibabel.load(nii).dataobj).T, given)
        (nrrd,) = tilepress.export(store, tmp_path / "x.nrrd")
        np.testing.assert_array_equal(itk.GetArrayFromImage(itk.ReadImage(str(nrrd))), given)


class TestTimes:
    def test_are_the_fourth_axis(self, tmp_path: Path, stored: Write):
        given = samples((4, 3, 5, 6))
        np.save(tmp_path / "a.npy", given)
        store = stored(tmp_path / "a.npy")
        (out,) = tilepress.export(store, tmp_path / "x.nii.gz")
        image = nibabel.load(out)
        assert image.shape == (6, 5, 3, 4)
        np.testing.assert_array_equal(np.asarray(image.dataobj).T, given)
        (out,) = tilepress.export(store, tmp_path / "y.nii.gz", slices=[1, 2])
        np.testing.assert_array_equal(np.asarray(nibabel.load(out).dataobj).T, given[:, 1:3])


class TestTheFile:
    def test_says_what_was_lost(self, tmp_path: Path, stored: Write):
        folder = series(tmp_path / "s", samples(), ATTITUDES["axial"])
        (out,) = tilepress.export(stored(folder, max_error=2), tmp_path / "x.nii")
        assert b"within 2 of the source" in nibabel.load(out).header["descrip"].item()
        (out,) = tilepress.export(tmp_path / "s.zarr", tmp_path / "x.nrrd")
        assert b"tilepress:=tilepress near-lossless: each stored value within 2" in out.read_bytes()

    def test_is_the_same_again(self, tmp_path: Path, stored: Write):
        store = stored(series(tmp_path / "s", samples(), ATTITUDES["axial"]))
        for ending in ("nii.gz", "nrrd"):
            for folder in ("a", "b"):
                tilepress.export(store, tmp_path / folder / f"{folder}.{ending}")
            one, other = (tmp_path / f / f"{f}.{ending}" for f in ("a", "b"))
            assert one.read_bytes() == other.read_bytes()
        packed = gzip.decompress((tmp_path / "a/a.nii.gz").read_bytes())
        tilepress.export(store, tmp_path / "plain.nii")
        assert packed == (tmp_path / "plain.nii").read_bytes()

    def test_holds_no_text_of_the_header(self, tmp_path: Path, stored: Write):
        store = stored(series(tmp_path / "s", samples(), ATTITUDES["axial"]))
        (nii,) = tilepress.export(store, tmp_path / "x.nii")
        (nrrd,) = tilepress.export(store, tmp_path / "x.nrrd")
        assert b"KANARIENVOGEL" not in nii.read_bytes() + nrrd.read_bytes()

    def test_wants_nibabel(self, tmp_path: Path, stored: Write, monkeypatch: pytest.MonkeyPatch):
        store = stored(series(tmp_path / "s", samples(), ATTITUDES["axial"]))
        monkeypatch.setitem(sys.modules, "nibabel", None)
        with pytest.raises(UsageError, match=r"pip install 'tilepress\[formats\]'"):
            tilepress.export(store, tmp_path / "x.nii")
        tilepress.export(store, tmp_path / "x.nrrd")
