"""A volume lies where its series lies, for nibabel and SimpleITK; others are refused."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import SimpleITK as itk

import tilepress
from tilepress.errors import FileInTheWay, UsageError
from tilepress.workflows.run.compress import compress

from ..dicom.conftest import build, save
from .conftest import ATTITUDES, Write, samples, series


def series_image(folder: Path, chosen: slice | None = None) -> itk.Image:
    """Return a series, or some slices of it, as SimpleITK reads it."""
    reader = itk.ImageSeriesReader()
    (number,) = reader.GetGDCMSeriesIDs(str(folder))
    files = reader.GetGDCMSeriesFileNames(str(folder), number)
    reader.SetFileNames(files if chosen is None else files[chosen])
    return reader.Execute()


def assert_same_places(image: itk.Image, wanted: itk.Image, *, mm: float = 1e-3) -> None:
    """Check values at the places where the other image has its samples."""
    values, other = itk.GetArrayFromImage(image), itk.GetArrayFromImage(wanted)
    assert values.shape == other.shape
    size = wanted.GetSize()
    rng = np.random.default_rng(0)
    corners = list(itertools.product(*((0, n - 1) for n in size)))
    inside = [tuple(int(rng.integers(n)) for n in size) for _ in range(50)]
    for index in corners + inside:
        place = wanted.TransformIndexToPhysicalPoint(index)
        found = image.TransformPhysicalPointToIndex(place)
        there = image.TransformIndexToPhysicalPoint(found)
        assert np.abs(np.subtract(there, place)).max() < mm
        assert values[found[::-1]] == other[index[::-1]]


def assert_nibabel_has(path: Path, wanted: itk.Image) -> None:
    image = nibabel.load(path)
    flip = np.diag([-1.0, -1.0, 1.0, 1.0])
    values, other = image.get_fdata(), itk.GetArrayFromImage(wanted)
    for index in ((0, 0, 0), (3, 5, 2), (7, 1, 4)):
        place = wanted.TransformIndexToPhysicalPoint(index)
        voxel = np.linalg.inv(flip @ image.affine) @ [*place, 1]
        found = tuple(round(n) for n in voxel[:3])
        assert np.abs(voxel[:3] - found).max() < 1e-3
        assert values[found] == pytest.approx(other[index[::-1]])
    assert np.allclose(image.get_qform(), image.affine, atol=1e-4)
    assert image.header.get_xyzt_units()[0] == "mm"


class TestPlaces:
    @pytest.mark.parametrize("attitude", ATTITUDES)
    @pytest.mark.parametrize("step", [2.5, -2.5])
    def test_are_those_of_the_series(
        self, tmp_path: Path, stored: Write, attitude: str, step: float
    ):
        elements = {"RescaleSlope": 1, "RescaleIntercept": -1024}
        folder = series(tmp_path / "s", samples(), ATTITUDES[attitude], step=step, **elements)
        store, wanted = stored(folder), series_image(folder)
        for name in ("x.nii.gz", "x.nii", "x.nrrd"):
            (out,) = tilepress.export(store, tmp_path / name)
            assert_same_places(itk.ReadImage(str(out)), wanted)
            if ".nii" in name:
                assert_nibabel_has(out, wanted)

    def test_of_chosen_slices_are_theirs(self, tmp_path: Path, stored: Write):
        folder = series(tmp_path / "s", samples(), ATTITUDES["oblique"])
        store, wanted = stored(folder), series_image(folder)[:, :, 2:5]
        for name in ("x.nii.gz", "x.nrrd"):
            (out,) = tilepress.export(store, tmp_path / name, slices=[3, 2, 4])
            assert_same_places(itk.ReadImage(str(out)), wanted)
        (out,) = tilepress.export(store, tmp_path / "one.nii", slices=[5])
        assert nibabel.load(out).shape == (30, 20, 1)
        assert nibabel.load(out).header.get_zooms() == (0.5, 0.75, 2.5)
        (out,) = tilepress.export(store, tmp_path / "each.nii", slices=slice(0, 6, 2))
        assert nibabel.load(out).header.get_zooms()[2] == 5.0
        for wrong in ([6], [-1], []):
            with pytest.raises(UsageError):
                tilepress.export(store, tmp_path / "none.nii", slices=wrong)

    def test_of_a_tilted_gantry_are_sheared(self, tmp_path: Path, stored: Write):
        folder = series(tmp_path / "s", samples(), ATTITUDES["axial"], shift=(0, 0.9, 0))
        (out,) = tilepress.export(stored(folder), tmp_path / "x.nii")
        flip = np.diag([-1.0, -1.0, 1.0, 1.0])
        step = (flip @ nibabel.load(out).affine)[:3, 2]
        assert np.allclose(step, [0, 0.9, 2.5])
        np.testing.assert_array_equal(nibabel.load(out).get_fdata().T, samples())

    def test_of_one_slice(self, tmp_path: Path, stored: Write):
        folder = series(tmp_path / "s", samples((1, 20, 30)), ATTITUDES["coronal"])
        (out,) = tilepress.export(stored(folder), tmp_path / "x.nii")
        assert_nibabel_place = nibabel.load(out).affine
        assert np.allclose(assert_nibabel_place[:3, 3], [40.5, -12.25, 7.0])

    def test_of_an_array_are_its_numbers(self, tmp_path: Path, stored: Write):
        np.save(tmp_path / "a.npy", samples())
        store = stored(tmp_path / "a.npy")
        (nii,) = tilepress.export(store, tmp_path / "x.nii.gz")
        (nrrd,) = tilepress.export(store, tmp_path / "x.nrrd")
        np.testing.assert_array_equal(np.asarray(nibabel.load(nii).dataobj).T, samples())
        np.testing.assert_array_equal(itk.GetArrayFromImage(itk.ReadImage(str(nrrd))), samples())
        assert nibabel.load(nii).header["sform_code"] == 0


class TestWhatIsNoVolume:
    @pytest.mark.parametrize(
        ("elements", "text"),
        [
            ({"places": [0, 1, 2, 3, 9, 10]}, "1 to 6 mm apart"),
            ({"each": lambda n: {"PixelSpacing": [0.5, 0.5 + n / 10]}}, "pixel spacing"),
        ],
    )
    def test_of_uneven_planes(
        self, tmp_path: Path, stored: Write, elements: dict[str, Any], text: str
    ):
        store = stored(series(tmp_path / "s", samples(), ATTITUDES["axial"], **elements))
        for name in ("x.nii", "x.nrrd"):
            with pytest.raises(UsageError, match=text) as found:
                tilepress.export(store, tmp_path / name)
            assert "\n" not in str(found.value)
            assert not (tmp_path / name).exists()

    def test_even_ones_of_uneven_planes_are(self, tmp_path: Path, stored: Write):
        places = [0, 1, 2, 3, 9, 10]
        store = stored(series(tmp_path / "s", samples(), ATTITUDES["axial"], places=places))
        (out,) = tilepress.export(store, tmp_path / "x.nii", slices=[0, 1, 2, 3])
        assert nibabel.load(out).header.get_zooms()[2] == 1

    def test_an_image_of_the_ground(self, tmp_path: Path):
        from ..images import tiff

        tiff(tmp_path / "a.tif")
        assert compress(tmp_path / "a.tif", tmp_path / "a.zarr", workers=0).ok
        with pytest.raises(UsageError, match="ask for geotiff or cog"):
            tilepress.export(tmp_path / "a.zarr", tmp_path / "a.nii")

    def test_palettes_and_bands(self, tmp_path: Path, stored: Write):
        np.save(tmp_path / "c.npy", samples((2, 4, 3, 5, 6)))
        with pytest.raises(UsageError, match="4 bands of int16 are no colours"):
            tilepress.export(stored(tmp_path / "c.npy"), tmp_path / "c.nii")
        palette = {"PhotometricInterpretation": "PALETTE COLOR"}
        folder = series(tmp_path / "s", samples(low=0), ATTITUDES["axial"], **palette)
        with pytest.raises(UsageError, match="PALETTE COLOR"):
            tilepress.export(stored(folder), tmp_path / "c.nrrd")

    def test_a_name_that_is_taken(self, tmp_path: Path, stored: Write):
        np.save(tmp_path / "a.npy", samples())
        store = stored(tmp_path / "a.npy")
        (tmp_path / "x.nii").symlink_to("nowhere")
        (tmp_path / "x.nrrd").write_text("mine")
        for name in ("x.nii", "x.nrrd"):
            with pytest.raises(FileInTheWay):
                tilepress.export(store, tmp_path / name)
        assert not (tmp_path / "nowhere").exists()


class TestColours:
    def test_come_as_they_are(self, tmp_path: Path, stored: Write):
        pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        dataset = build(pixels.tobytes(), Rows=20, Columns=30, BitsAllocated=8, BitsStored=8,
                        PixelRepresentation=0, PlanarConfiguration=0)  # fmt: skip
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 3, "RGB"
        dataset.HighBit, dataset.Modality = 7, "XC"
        save(dataset, tmp_path / "in/1.dcm")
        store = stored(tmp_path / "in")
        (nrrd,) = tilepress.export(store, tmp_path / "x.nrrd")
        (nii,) = tilepress.export(store, tmp_path / "x.nii")
        found = itk.ReadImage(str(nrrd))
        np.testing.assert_array_equal(itk.GetArrayFromImage(found)[0], pixels)
        image = np.asarray(nibabel.load(nii).dataobj)
        colours = np.stack([image[name] for name in "RGB"], axis=-1)
        np.testing.assert_array_equal(colours[:, :, 0].swapaxes(0, 1), pixels)


@pytest.mark.shared
class TestRealSeries:
    """Magnetic resonance and computed tomography, as SimpleITK reads the originals."""

    @pytest.mark.parametrize(
        ("name", "planes"),
        [
            ("dcm4che-dcm4che/dcm4che_mr16", None),
            ("robyoung-dicom-test-files/dcmqi_prostate_adc", None),
            ("rii-mango-Papaya/papaya_fse_pd", None),
            ("QIICR-dcmqi/dcmqi_ct3", None),
            ("innolitics-dicom-numpy/kits_ct", (1, 4)),
        ],
    )
    def test_lie_where_they_lay(
        self, shared_data: Path, tmp_path: Path, stored: Write, name: str, planes: Any
    ):
        folder = shared_data / "public/med" / name
        chosen = None if planes is None else slice(*planes)
        store, wanted = stored(folder), series_image(folder, chosen)
        for target in ("x.nii.gz", "x.nrrd"):
            (out,) = tilepress.export(store, tmp_path / target, slices=chosen)
            # SimpleITK takes another mean of steps that differ
            assert_same_places(itk.ReadImage(str(out)), wanted, mm=0.1)
