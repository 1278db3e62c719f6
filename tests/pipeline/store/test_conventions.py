"""Say what the samples are in the words of CF, GeoZarr and OME-Zarr."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr_cm
from rasterio.crs import CRS

from tilepress.pipeline.image.info import GeoReference, ImageInfo, Label, MedicalGeometry
from tilepress.pipeline.store.conventions import (
    auxiliary_arrays,
    group_attributes,
    image_attributes,
)
from tilepress.pipeline.store.ome import ome_attributes

UTM = CRS.from_epsg(32631).to_wkt()
NORTH_UP = (30.0, 0.0, 500_000.0, 0.0, -30.0, 4_000_000.0)


def _info(**fields: Any) -> ImageInfo:
    given = {"name": "i", "axes": ("y", "x"), "shape": (4, 6), "dtype": np.dtype("int16")} | fields
    return ImageInfo(**given)


class TestIntegersStayIntegers:
    def test_nothing_that_makes_xarray_decode_to_float(self) -> None:
        attributes = image_attributes(
            _info(
                nodata=-9999,
                attributes={"scale_factor": 0.1, "add_offset": 3.0, "_FillValue": -9999},
            )
        )
        assert attributes == {"rescale_slope": 0.1, "rescale_intercept": 3.0, "nodata": -9999}

    @pytest.mark.parametrize("nodata", [float("nan"), float("-inf"), np.float32(1.5)])
    def test_nodata_is_strict_json(self, nodata: float) -> None:
        attributes = image_attributes(_info(dtype=np.dtype("f4"), nodata=nodata))
        assert json.loads(json.dumps(attributes, allow_nan=False))["nodata"] in (
            "NaN",
            "-Infinity",
            1.5,
        )


class TestGround:
    def test_coordinates_are_pixel_centres(self) -> None:
        arrays = auxiliary_arrays(_info(geo=GeoReference(crs_wkt=UTM, transform=NORTH_UP)))
        np.testing.assert_array_equal(arrays["x"].data, 500_015 + 30.0 * np.arange(6))
        np.testing.assert_array_equal(arrays["y"].data, 3_999_985 - 30.0 * np.arange(4))
        assert arrays["x"].attributes["standard_name"] == "projection_x_coordinate"
        assert arrays["spatial_ref"].attributes["GeoTransform"].split() == [
            "500000.0", "30.0", "0.0", "4000000.0", "0.0", "-30.0",
        ]  # fmt: skip

    def test_degrees(self) -> None:
        wkt = CRS.from_epsg(4326).to_wkt()
        arrays = auxiliary_arrays(_info(geo=GeoReference(crs_wkt=wkt, transform=NORTH_UP)))
        assert arrays["x"].attributes["units"] == "degrees_east"
        assert arrays["y"].attributes["units"] == "degrees_north"

    def test_a_rotated_grid_has_no_1d_coordinates(self) -> None:
        rotated = (30.0, 5.0, 0.0, 5.0, -30.0, 0.0)
        arrays = auxiliary_arrays(_info(geo=GeoReference(crs_wkt=UTM, transform=rotated)))
        assert set(arrays) == {"spatial_ref"}

    def test_geozarr_is_valid(self) -> None:
        info = _info(geo=GeoReference(crs_wkt=UTM, transform=NORTH_UP))
        attributes: Any = group_attributes(info)
        assert set(zarr_cm.detect_revisions(attributes)) == {"proj", "spatial"}
        zarr_cm.validate_all(attributes)
        assert attributes["proj:code"] == "EPSG:32631"
        assert "proj:wkt2" not in attributes, "the code says it all"
        assert attributes["spatial:bbox"] == [500_000.0, 3_999_880.0, 500_180.0, 4_000_000.0]

    def test_a_crs_without_a_code_is_told_as_text(self) -> None:
        text = CRS.from_proj4("+proj=utm +zone=31 +ellps=intl +units=m").to_wkt()
        info = _info(geo=GeoReference(crs_wkt=text, transform=NORTH_UP))
        attributes: Any = group_attributes(info)
        zarr_cm.validate_all(attributes)
        assert "proj:code" not in attributes
        assert attributes["proj:wkt2"].startswith("PROJCRS[")

    @pytest.mark.parametrize("wkt", [None, 'LOCAL_CS["site"]', "no wkt at all"])
    def test_a_crs_that_nobody_knows_is_kept_as_text(self, wkt: str | None) -> None:
        info = _info(geo=GeoReference(crs_wkt=wkt, transform=NORTH_UP))
        zarr_cm.validate_all(group_attributes(info))
        assert auxiliary_arrays(info)["spatial_ref"].attributes.get("crs_wkt") == wkt


class TestOmeOfEveryImage:
    @pytest.mark.parametrize(
        ("wkt", "unit"),
        [("EPSG:32631", "meter"), ("EPSG:4326", None), ("EPSG:2263", "foot"), (None, None)],
    )
    def test_of_a_place_on_the_ground(self, wkt: str | None, unit: str | None) -> None:
        from ome_zarr_models.v05.image import ImageAttrs

        crs = None if wkt is None else CRS.from_string(wkt).to_wkt()
        geo = GeoReference(crs_wkt=crs, transform=(3.0, 4.0, 9.0, 4.0, -3.0, 7.0))
        found = ome_attributes(_info(geo=geo), ["0/image"])["ome"]
        model = ImageAttrs.model_validate(found).multiscales[0]
        assert model.datasets[0].coordinateTransformations[0].scale[-2:] == [5.0, 5.0]
        assert [axis.unit for axis in model.axes[-2:]] == [unit, unit]

    @pytest.mark.parametrize("axes", [("y", "x"), ("band", "y", "x"), ("slice", "y", "x")])
    def test_of_plain_arrays(self, axes: tuple[str, ...]) -> None:
        from ome_zarr_models.v05.image import ImageAttrs

        info = _info(axes=axes, shape=(3, 4, 6)[-len(axes) :])
        omero = {"channels": [{"color": "FFFFFF", "window": dict.fromkeys(WINDOW, 1)}]}
        found = ome_attributes(info, ["0/image"], omero)["ome"]
        model = ImageAttrs.model_validate(found)
        assert model.omero is not None
        assert tuple(axis.name for axis in model.multiscales[0].axes) == axes
        assert ome_attributes(info, ["0/image"], every=False) == {}, "as formats up to 3 had it"


WINDOW = ("min", "max", "start", "end")


class TestPatient:
    info = _info(
        axes=("z", "y", "x"),
        shape=(5, 4, 6),
        medical=MedicalGeometry(
            pixel_spacing_mm=(0.5, 0.25),
            slice_spacing_mm=3.0,
            orientation=(1.0, 0.0, 0.0, 0.0, 1.0, 0.0),
            origin_mm=(-10.0, 5.0, 7.5),
        ),
    )

    @pytest.mark.parametrize(
        ("axes", "shape"),
        [
            (("y", "x"), (4, 6)),
            (("z", "y", "x"), (5, 4, 6)),
            (("t", "z", "y", "x"), (2, 5, 4, 6)),
            (("t", "band", "y", "x"), (2, 3, 4, 6)),
        ],
    )
    @pytest.mark.parametrize("spacing", [None, 3.0])
    def test_ome_is_valid(
        self, axes: tuple[str, ...], shape: tuple[int, ...], spacing: float | None
    ) -> None:
        from ome_zarr_models.v05.image import ImageAttrs

        geometry = MedicalGeometry(pixel_spacing_mm=(0.5, 0.25), slice_spacing_mm=spacing)
        info = _info(axes=axes, shape=shape, medical=geometry)
        attributes = ome_attributes(info, ["0/image"])["ome"]
        model = ImageAttrs.model_validate(attributes)
        scale = model.multiscales[0].datasets[0].coordinateTransformations[0].scale
        assert scale[-2:] == [0.5, 0.25]

    @pytest.mark.parametrize(
        "axes", [("z", "band", "y", "x"), ("u", "v", "y", "x"), ("y", "z", "x")]
    )
    def test_axes_that_ome_does_not_take_go_without(self, axes: tuple[str, ...]) -> None:
        shape = (2,) * len(axes)
        assert not ome_attributes(_info(axes=axes, shape=shape, medical=MedicalGeometry()), ["i"])

    def test_a_volume_has_an_affine_of_dicom(self) -> None:
        """PS3.3 C.7.6.2.1.1: the sample of column 2, row 1, plane 3."""
        turned = replace(self.info.medical, orientation=(0.0, 1.0, 0.0, 0.0, 0.0, -1.0))
        found = np.array(image_attributes(replace(self.info, medical=turned))["affine"])
        x, y, z, one = found @ [2, 1, 3, 1]
        assert (x, y, z, one) == (-10 - 3 * 3.0, 5 + 2 * 0.25, 7.5 - 1 * 0.5, 1)
        assert "affine" not in image_attributes(self.info, affine=False)

    @pytest.mark.parametrize(
        "fields",
        [
            {"coordinates": {"z": np.array([0.0, 3.0, 6.0, 9.0, 13.0])}},
            {"labels": {"position_x": Label(axes=("z",), values=np.zeros(5))}},
            {"axes": ("t", "y", "x")},
        ],
    )
    def test_one_that_is_none_has_no_affine(self, fields: dict[str, Any]) -> None:
        assert "affine" not in image_attributes(replace(self.info, **fields))

    def test_distances_and_orientation(self) -> None:
        arrays = auxiliary_arrays(self.info)
        np.testing.assert_array_equal(arrays["y"].data, 0.5 * np.arange(4))
        np.testing.assert_array_equal(arrays["z"].data, 3.0 * np.arange(5))
        assert arrays["x"].attributes["units"] == "mm"
        attributes = image_attributes(self.info)
        assert attributes["pixel_spacing_mm"] == [0.5, 0.25]
        assert attributes["image_orientation_patient"] == [1.0, 0.0, 0.0, 0.0, 1.0, 0.0]


class TestGivenCoordinates:
    def test_texts_become_numbers_with_labels(self) -> None:
        info = _info(coordinates={"y": np.array(["a", "b", "c", "d"])})
        array = auxiliary_arrays(info)["y"]
        np.testing.assert_array_equal(array.data, [1, 2, 3, 4])
        assert array.attributes["labels"] == ["a", "b", "c", "d"]

    def test_times_are_cf(self) -> None:
        times = np.array(["2020-01-01", "2020-01-02"], "M8[ns]")
        info = _info(axes=("t", "y", "x"), shape=(2, 4, 6), coordinates={"t": times})
        array = auxiliary_arrays(info)["t"]
        assert array.data.dtype == np.int64
        assert array.attributes["units"] == "microseconds since 1970-01-01"


class TestControlPoints:
    """They are told where rioxarray looks for them."""

    def test_are_those_that_rioxarray_finds(self):
        import rioxarray  # noqa: F401
        import xarray as xr

        point = {"row": 1.0, "col": 2.0, "x": 7.0, "y": 47.0, "z": None, "id": "1", "info": ""}
        geo = GeoReference(gcps=(point,), gcps_crs_wkt=UTM, rpcs={"LINE_OFF": "1"})
        info = _info(geo=geo)
        ref = auxiliary_arrays(info)["spatial_ref"]
        attributes = image_attributes(info)
        image = xr.DataArray(
            np.zeros((3, 4)), dims=("y", "x"), coords={"spatial_ref": ((), 0, dict(ref.attributes))}
        )
        image.encoding["grid_mapping"] = attributes["grid_mapping"]
        (found,) = image.rio.get_gcps()
        assert (found.row, found.col, found.x, found.y, found.z) == (1, 2, 7, 47, 0)
        assert image.rio.crs is not None
        assert ref.attributes["rpcs"] == {"LINE_OFF": "1"}
        assert not any(":" in key for key in attributes)
