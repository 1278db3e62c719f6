"""Footprints and STAC items of stores."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pyproj import Transformer
from pystac.errors import STACValidationError
from rasterio.crs import CRS
from rasterio.warp import transform_bounds

from tilepress.pipeline.catalogue.footprint import Footprint, footprint
from tilepress.pipeline.catalogue.stac import (
    Extent,
    acquired,
    collection_document,
    item_document,
    item_key,
    page_document,
    store_of_item,
)
from tilepress.pipeline.geotiff.record import dump_record
from tilepress.pipeline.image.info import GeoReference
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.summary import read_summary

from ...helpers.stac import validate

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
UTM = (30.0, 0.0, 300_000.0, 0.0, -30.0, 6_000_000.0)
GEOSTATIONARY = "+proj=geos +lon_0=-137 +h=35786023 +sweep=x +ellps=GRS80"
RASTERS = {
    "utm": ("EPSG:32633", UTM, 700, 700),
    "rotated": ("EPSG:32631", (30.0, 5.0, 5e5, 5.0, -30.0, 4e6), 480, 640),
    "upwards": ("EPSG:32631", (30.0, 0.0, 5e5, 0.0, 30.0, 4e6), 48, 64),
    "antimeridian": ("EPSG:4326", (0.01, 0.0, 179.9, 0.0, -0.01, 10.0), 48, 64),
    "antimeridian in UTM": ("EPSG:32660", (30.0, 0.0, 7e5, 0.0, -30.0, 1e6), 7600, 7600),
    "longitudes to 360": ("EPSG:4326", (0.25, 0.0, 270.0, 0.0, -0.25, 60.0), 40, 80),
    "half of the globe": ("EPSG:4326", (0.25, 0.0, 100.0, 0.0, -0.25, 60.0), 400, 800),
    "globe": ("EPSG:4326", (0.25, 0.0, -180.0, 0.0, -0.25, 90.0), 720, 1440),
    "globe of centres": ("EPSG:4326", (0.25, 0.0, -0.125, 0.0, -0.25, 90.125), 721, 1440),
    "north pole": ("EPSG:3413", (25e3, 0.0, -385e4, 0.0, -25e3, 585e4), 448, 304),
    "south pole": ("EPSG:3031", (25e3, 0.0, -395e4, 0.0, -25e3, 435e4), 332, 316),
    "beside the pole": ("EPSG:3413", (250.0, 0.0, 1e5, 0.0, -250.0, -2e5), 448, 304),
    "disk": (GEOSTATIONARY, (20040.0, 0.0, -5434894.0, 0.0, -20040.0, 5434894.0), 542, 542),
}


def pixels_on_globe(crs: str, transform: tuple[float, ...], height: int, width: int) -> np.ndarray:
    """Return longitude and latitude of pixels of the raster that are on the globe."""
    rng = np.random.default_rng(3)
    columns, rows = rng.uniform(0.05, 0.95, (2, 500)) * [[width], [height]]
    a, b, c, d, e, f = transform
    project = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
    points = np.stack(project.transform(a * columns + b * rows + c, d * columns + e * rows + f), 1)
    points = points[np.isfinite(points).all(1)]
    points[:, 0] = (points[:, 0] + 180) % 360 - 180
    return points


def rings(found: Footprint) -> list[np.ndarray]:
    parts = found.geometry["coordinates"]
    if found.geometry["type"] == "Polygon":
        parts = [parts]
    return [np.array(part[0]) for part in parts]


def inside(ring: np.ndarray, x: float, y: float) -> bool:
    """Whether a point is in a ring, by the count of edges that a ray from it crosses."""
    a, b = ring[:-1], ring[1:]
    crossing = (a[:, 1] > y) != (b[:, 1] > y)
    with np.errstate(divide="ignore", invalid="ignore"):
        at = a[:, 0] + (y - a[:, 1]) * (b[:, 0] - a[:, 0]) / (b[:, 1] - a[:, 1])
    return bool((crossing & (x < at)).sum() % 2)


def distance(ring: np.ndarray, point: np.ndarray) -> float:
    """Return how far a point is from a closed ring, in degrees."""
    a, b = ring[:-1], ring[1:]
    along = ((point - a) * (b - a)).sum(1) / ((b - a) ** 2).sum(1)
    nearest = a + np.clip(along, 0, 1)[:, None] * (b - a)
    return float(np.hypot(*(point - nearest).T).min())


def meeting(one: np.ndarray, other: np.ndarray) -> str | None:
    """Return what two line segments share: nothing, a "point" or a "line"."""

    def side(a: np.ndarray, b: np.ndarray, c: np.ndarray) -> float:
        return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))

    apart = (one.max(0) < other.min(0)) | (other.max(0) < one.min(0))
    if apart.any():
        return None
    across = [side(*one, point) for point in other]
    along = [side(*other, point) for point in one]
    if not any(across):
        ends = np.minimum(one.max(0), other.max(0)) - np.maximum(one.min(0), other.min(0))
        return "line" if ends.any() else "point"
    return "point" if across[0] * across[1] <= 0 and along[0] * along[1] <= 0 else None


class TestFootprintIsWhereThePixelsAre:
    """Who searches a place must find what shows it, at the antimeridian and the poles too."""

    @pytest.fixture(params=RASTERS)
    def raster(self, request: pytest.FixtureRequest) -> tuple[str, tuple[float, ...], int, int]:
        return RASTERS[request.param]

    def test_every_pixel_is_in_the_outline_and_the_box(self, raster: Any):
        found = footprint(*raster)
        points = pixels_on_globe(*raster)
        assert found is not None
        assert len(points) > 100
        west, south, east, north = found.bbox
        for x, y in points:
            assert any(inside(ring, x, y) for ring in rings(found)), (x, y)
            assert south <= y <= north
            assert west <= x <= east if west <= east else x >= west or x <= east

    def test_geometry_is_as_geojson_wants_it(self, raster: Any):
        """Closed, counterclockwise, within ±180° and ±90°, cut at the antimeridian."""
        found = footprint(*raster)
        assert found is not None
        for ring in rings(found):
            assert (ring[0] == ring[-1]).all()
            assert len(ring) >= 4
            assert np.abs(ring).max(0).tolist() <= [180, 90]
            x, y = ring[:-1].T
            assert (x * np.roll(y, -1) - np.roll(x, -1) * y).sum() > 0

    def test_outline_does_not_cross_itself(self, raster: Any):
        """Programs that look for overlaps refuse an outline that does, even in a single point."""
        found = footprint(*raster)
        assert found is not None
        for ring in rings(found):
            for i in range(len(ring) - 1):
                for j in range(i + 1, len(ring) - 1):
                    shared = meeting(ring[i : i + 2], ring[j : j + 2])
                    neighbours = j == i + 1 or (i == 0 and j == len(ring) - 2)
                    assert shared == ("point" if neighbours else None), (ring[i], ring[j])

    @pytest.mark.parametrize("name", ["utm", "half of the globe", "south pole", "beside the pole"])
    def test_box_is_that_of_gdal(self, name: str):
        crs, transform, height, width = RASTERS[name]
        a, _, c, _, e, f = transform
        want = transform_bounds(crs, "EPSG:4326", c, f + e * height, c + a * width, f)
        found = footprint(crs, transform, height, width)
        assert found is not None
        got = [value % 360 if value > 180 or value < -180 else value for value in found.bbox]
        assert [x if x >= -180 else x + 360 for x in got] == pytest.approx(
            [x if x <= 180 else x - 360 for x in want], abs=1e-3
        )

    def test_antimeridian_is_crossed_not_gone_around(self):
        found = footprint(*RASTERS["antimeridian"])
        assert found is not None
        assert found.geometry["type"] == "MultiPolygon"
        assert found.bbox == pytest.approx((179.9, 9.52, -179.46, 10.0))

    @pytest.mark.parametrize(
        ("name", "least", "most"),
        [("longitudes to 360", 5, 5), ("utm", 5, 12), ("scene", 9, 40), ("beside the pole", 9, 40)],
    )
    def test_edges_have_the_points_that_they_need(self, name: str, least: int, most: int):
        """A catalogue of a million scenes is read whole: 80 points each were half of it."""
        scene = ("EPSG:32621", (30.0, 0.0, 6e5, 0.0, -30.0, 4.4e6), 7700, 7600)
        found = footprint(*{**RASTERS, "scene": scene}[name])
        assert found is not None
        (ring,) = rings(found)
        assert least <= len(ring) <= most

    @pytest.mark.parametrize("name", ["utm", "rotated", "upwards", "beside the pole"])
    def test_no_point_of_an_edge_is_further_off_than_half_a_pixel(self, name: str):
        crs, transform, height, width = RASTERS[name]
        a, b, c, d, e, f = transform
        project = Transformer.from_crs(crs, "OGC:CRS84", always_xy=True)
        found = footprint(crs, transform, height, width)
        assert found is not None
        (ring,) = rings(found)
        steps = np.linspace(0, 1, 201)
        edges = [(steps, 0), (steps, 1), (0, steps), (1, steps)]
        for u, v in edges:
            column, row = np.broadcast_arrays(width * np.asarray(u), height * np.asarray(v))
            lines = project.transform(a * column + b * row + c, d * column + e * row + f)
            off = [distance(ring, np.array(point)) for point in zip(*lines, strict=True)]
            pixel = np.hypot(*np.ptp(ring, axis=0)) / np.hypot(height, width)
            assert max(off) < 0.6 * pixel  # a tenth more for the curve between its 21 points

    @pytest.mark.parametrize("crs", ['LOCAL_CS["site",UNIT["metre",1]]', "no CRS at all"])
    def test_a_crs_without_a_place_has_no_footprint(self, crs: str):
        assert footprint(crs, UTM, 10, 10) is None


@pytest.fixture
def item(make_store: Callable[..., Any]) -> Callable[..., dict[str, Any]]:
    """Return a function from a store's fields to its item."""

    def make(key: str = "2024/scene.zarr", **fields: Any) -> dict[str, Any]:
        store = make_store(**fields).path
        reader = StoreReader.open(store)
        return item_document(key, read_summary(store), acquired(reader), NOW, "archive")

    return make


def geo(**changes: Any) -> GeoReference:
    given = {"crs_wkt": CRS.from_epsg(32633).to_wkt(), "transform": UTM} | changes
    return GeoReference(**given)


def source(tags: dict[str, dict[str, str]]) -> dict[str, bytes]:
    origin = {"kind": "geotiff", "files": [{"name": "a.tif", "item": "file-0"}]}
    record = {"version": 1, "tags": tags}
    return {"origin": json.dumps(origin).encode(), "file-0": dump_record(record)}


class TestItemsAreValidStac:
    """Catalogue servers and browsers refuse what the schemas refuse."""

    @pytest.mark.parametrize(
        "fields",
        [
            {"geo": geo(), "axes": ("band", "y", "x")},
            {"geo": geo(), "axes": ("band", "y", "x"), "nodata": 7},
            {"geo": geo(transform=None), "axes": ("band", "y", "x")},
            {"geo": geo(crs_wkt=None), "axes": ("band", "y", "x")},
            {"geo": geo(crs_wkt='LOCAL_CS["site",UNIT["metre",1]]'), "axes": ("band", "y", "x")},
            {"geo": geo(crs_wkt=CRS.from_string("+proj=laea +lat_0=52 +lon_0=10").to_wkt())},
            {"axes": ("band", "y", "x"), "attributes": {"band_units": ["m", "", "kg"]}},
            {},
            {"image": np.ones((20, 30), np.float32), "nodata": float("nan"), "geo": geo()},
            {"source_items": source({"": {"TIFFTAG_DATETIME": "2020:05:18 13:40:21"}})},
        ],
    )
    def test_item(self, item: Callable[..., dict[str, Any]], fields: dict[str, Any]):
        validate(item(**fields))

    def test_the_schemas_refuse_what_is_wrong(self, item: Callable[..., dict[str, Any]]):
        """What the other tests rest on."""
        for number, (path, value) in enumerate(
            [
                (("properties", "proj:shape"), [1]),
                (("properties", "proj:epsg"), 32633),
                (("properties", "datetime"), "yesterday"),
                (("assets", "metadata", "file:checksum"), "12"),
                (("assets", "data", "bands"), [{"raster:scale": "1"}]),
                (("bbox",), [1]),
            ]
        ):
            document = item(geo=geo(), name=f"{number}.zarr")
            holder = document
            for name in path[:-1]:
                holder = holder[name]
            holder[path[-1]] = value
            with pytest.raises((STACValidationError, ValueError)):
                validate(document)

    def test_collection_and_page(self):
        extent = Extent()
        extent.add(
            (10.0, 20.0, 30.0, 40.0),
            ("2020-05-18T13:40:21Z", "2020-05-19T00:00:00Z"),
            "EPSG:32633",
            "wave",
        )
        extent.add((170.0, -5.0, -170.0, 5.0), None, None, "wave")
        document = collection_document("archive", extent, stores=["a b.zarr"])
        validate(document)
        validate(collection_document("archive", Extent(), pages=["pages/g/00000.json"]))
        validate(page_document(0, ["a.zarr"]))
        assert document["extent"] == {
            "spatial": {"bbox": [[-180.0, -5.0, 180.0, 40.0]]},
            "temporal": {"interval": [["2020-05-18T13:40:21Z", "2020-05-19T00:00:00Z"]]},
        }

    def test_a_collection_without_places_spans_the_globe_and_all_time(self):
        document = collection_document("archive", Extent())
        assert document["extent"] == {
            "spatial": {"bbox": [[-180.0, -90.0, 180.0, 90.0]]},
            "temporal": {"interval": [[None, None]]},
        }


class TestItemsSayWhatTheStoreSays:
    """An item is read instead of the store: it must not say more, or less."""

    def test_projection_bands_and_files(self, make_store: Callable[..., Any]):
        store = make_store(
            geo=geo(),
            axes=("band", "y", "x"),
            nodata=7,
            attributes={"scale_factor": [0.1, 0.2, 0.3], "units": "m"},
            coordinates={"band": np.array(["B2", "B3", "B4"])},
        )
        summary = read_summary(store.path)
        document = item_document("scene.zarr", summary, None, NOW, "archive")
        properties, assets = document["properties"], document["assets"]
        assert properties["proj:code"] == "EPSG:32633"
        assert properties["proj:shape"] == [40, 52]
        assert properties["proj:transform"] == list(UTM)
        assert [band["name"] for band in assets["data"]["bands"]] == ["B2", "B3", "B4"]
        assert [band["raster:scale"] for band in assets["data"]["bands"]] == [0.1, 0.2, 0.3]
        assert assets["data"]["raster:spatial_resolution"] == 30
        assert assets["data"]["nodata"] == 7
        files = [path for path in store.path.rglob("*") if path.is_file()]
        assert assets["data"]["file:size"] == sum(path.stat().st_size for path in files)
        assert assets["metadata"]["file:size"] == (store.path / "zarr.json").stat().st_size
        assert properties["tilepress:seal"] == summary.seal
        assert properties["tilepress:lossless"] is True
        assert len(properties["tilepress:model_sha256"]) == 64

    def test_links_and_assets_lead_where_they_should(self, item: Callable[..., dict[str, Any]]):
        document = item("2024/a b/scene 1%.zarr")
        assert document["assets"]["data"]["href"] == "../../../../2024/a%20b/scene%201%25.zarr"
        assert {link["href"] for link in document["links"]} == {"../../../collection.json"}
        assert "/" not in document["id"]

    def test_stores_of_one_name_in_two_folders_are_two_items(
        self, item: Callable[..., dict[str, Any]]
    ):
        names = [
            item(key, name=f"{i}.zarr")["id"]
            for i, key in enumerate(("a.zarr", "b/a.zarr", "c/a.zarr"))
        ]
        assert len(set(names)) == 3

    @given(
        st.lists(
            st.text(st.characters(exclude_characters="/\0"), min_size=1), min_size=1, max_size=3
        )
    )
    def test_an_items_key_leads_back_to_its_store(self, parts: list[str]):
        """An update finds out that way which items have lost their store."""
        store = "/".join(parts).encode("utf-8", "surrogatepass").decode("utf-8", "surrogateescape")
        key = item_key(store)
        assert store_of_item(key) == store
        assert not set(key) & set(" %#?\"'")

    @pytest.mark.parametrize("part", ["n" * 250, "ü" * 123, "~" * 100, "a" * 224, "a" * 223 + "~b"])
    def test_a_long_name_leaves_room_for_a_temporary_one(self, part: str):
        key = item_key(f"m/{part}.zarr")
        assert store_of_item(key) == f"m/{part}.zarr"
        assert max(map(len, key.split("/"))) <= 229

    def test_a_name_that_is_short_enough_is_not_cut(self):
        assert item_key(f"m/{'n' * 224}") == f"items/m/{'n' * 224}.json"


class TestTimesAreHonest:
    """A time that nobody knows must not look like one that somebody does."""

    @pytest.mark.parametrize(
        ("tags", "want"),
        [
            ({"": {"TIFFTAG_DATETIME": "2020:05:18 13:40:21"}}, "2020-05-18T13:40:21Z"),
            ({"": {"TIFFTAG_DATETIME": "2020-05-18T13:40:21+02:00"}}, "2020-05-18T11:40:21Z"),
            (
                {
                    "": {"TIFFTAG_DATETIME": "2021:01:01 00:00:00"},
                    "IMAGERY": {"ACQUISITIONDATETIME": "2020-05-18 13:40:21.250"},
                },
                "2020-05-18T13:40:21.250Z",
            ),
            (
                {"": {"EXIF_DateTimeOriginal": "2019:02:28 23:59:59", "TIFFTAG_DATETIME": ""}},
                "2019-02-28T23:59:59Z",
            ),
        ],
    )
    def test_the_most_telling_tag_is_taken(
        self, item: Callable[..., dict[str, Any]], tags: dict[str, dict[str, str]], want: str
    ):
        properties = item(source_items=source(tags))["properties"]
        assert properties["datetime"] == want
        assert properties["tilepress:datetime_from"] in str(tags)

    def test_a_composite_has_its_span(self, item: Callable[..., dict[str, Any]]):
        tags = {
            "RANGEBEGINNINGDATE": "2020-06-01",
            "RANGEBEGINNINGTIME": "00:00:00",
            "RANGEENDINGDATE": "2020-06-16",
            "RANGEENDINGTIME": "23:59:59",
            "TIFFTAG_DATETIME": "2021:01:01 00:00:00",
        }
        document = item(source_items=source({"": tags}))
        properties = validate(document).to_dict()["properties"]
        assert properties["datetime"] is None
        assert properties["start_datetime"] == "2020-06-01T00:00:00Z"
        assert properties["end_datetime"] == "2020-06-16T23:59:59Z"
        assert properties["tilepress:datetime_from"] == "RANGEBEGINNINGDATE"

    @pytest.mark.parametrize(
        "text", ["0000:00:00 00:00:00", "yesterday", "    :  :     :  :  ", "2020:13:01 00:00:00"]
    )
    def test_what_is_no_time_is_none(self, item: Callable[..., dict[str, Any]], text: str):
        properties = item(source_items=source({"": {"TIFFTAG_DATETIME": text}}))["properties"]
        assert properties["datetime"] is None
        assert "tilepress:datetime_from" not in properties

    def test_unknown_is_any_time_before_the_item_was_written(
        self, item: Callable[..., dict[str, Any]]
    ):
        properties = item()["properties"]
        assert properties["datetime"] is None
        assert properties["start_datetime"] == "0001-01-01T00:00:00Z"
        assert properties["end_datetime"] == properties["updated"] == "2026-01-02T03:04:05Z"
