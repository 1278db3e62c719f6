"""Clients of STAC find the rasters of an archive by place and time, and see them."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
from starlette.testclient import TestClient

import tilepress
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf

from ...helpers.samples import smooth
from ...helpers.stac import validate

pystac_client = pytest.importorskip("pystac_client")

DAYS = ("20200101", "20200215", "20210330")


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return an archive of a raster a day, far from each other, and one without a date."""
    folder = tmp_path_factory.mktemp("stac")
    (folder / "in").mkdir()
    for at, name in enumerate([*(f"S2A_31TFL_{day}_0_L2A__B04" for day in DAYS), "map #1"]):
        with rasterio.open(
            folder / "in" / f"{name}.tif", "w", driver="GTiff", width=60, height=50, count=1,
            dtype="uint16", crs="EPSG:4326",
            transform=rasterio.Affine(0.01, 0, 10 * at, 0, -0.01, 45),
        ) as file:  # fmt: skip
            file.write(smooth((1, 50, 60)))
    np.save(folder / "in" / "volume.npy", smooth((3, 20, 20)))
    tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast")
    return folder / "out"


@pytest.fixture(scope="module")
def address(archive: Path) -> Iterator[str]:
    import uvicorn

    from tilepress.workflows.serve.listening import listening

    app = build(Shelf(archive))
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", access_log=False))
    with listening("127.0.0.1", 0) as sock:
        thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]})
        thread.start()
        try:
            yield f"http://127.0.0.1:{sock.getsockname()[1]}/stac"
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture
def asked(archive: Path) -> TestClient:
    return TestClient(build(Shelf(archive)), base_url="http://127.0.0.1")


def _ids(found: Any) -> list[str]:
    return [item.id for item in found.items()]


class TestPystacClient:
    @pytest.mark.parametrize("method", ["POST", "GET"])
    def test_finds_by_time_place_and_id(self, address: str, method: str) -> None:
        client = pystac_client.Client.open(address)

        def search(**conditions: Any) -> list[str]:
            return _ids(client.search(method=method, **conditions))

        days = [f"S2A_31TFL_{day}_0_L2A__B04" for day in DAYS]
        assert search(datetime="2020") == days[:2]
        assert search(datetime="2020-02-01/..") == days[1:]
        assert search(bbox=[9.9, 44, 10.9, 46]) == [days[1]]
        assert search(bbox=[9.9, 44, 10.9, 46], datetime="2021") == []
        assert search(ids=["map #1"]) == ["map #1"]
        assert search(collections=["another"]) == []
        assert sorted(search(limit=2)) == sorted([*days, "map #1", "volume"]), "in three pages"

    def test_what_it_finds_opens_and_has_a_picture(self, address: str, asked: TestClient) -> None:
        client = pystac_client.Client.open(address)
        (item,) = client.search(ids=["map #1"]).items()
        validate(item.to_dict())
        image = tilepress.open(item.assets["data"].href)["image"]
        np.testing.assert_array_equal(image.values.reshape(50, 60), smooth((1, 50, 60))[0])
        thumbnail = item.assets["thumbnail"]
        assert thumbnail.roles == ["thumbnail"]
        picture = asked.get(thumbnail.href.partition("/api/")[2].join(("/api/", "")))
        assert picture.content.startswith(b"\x89PNG")

    def test_walks_the_collection(self, address: str) -> None:
        client = pystac_client.Client.open(address)
        (collection,) = client.get_collections()
        assert len(list(collection.get_items())) == 5
        item = collection.get_item("volume")
        assert item is not None
        assert item.get_collection().id == collection.id

    def test_opens_the_files_without_a_server(self, archive: Path) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", pystac_client.warnings.PystacClientWarning)
            client = pystac_client.Client.open(str(archive / "catalogue" / "catalog.json"))
            found = {item.id: item for item in client.get_items(recursive=True)}
        assert len(found) == 5
        taken = found[f"S2A_31TFL_{DAYS[1]}_0_L2A__B04"].common_metadata.start_datetime
        assert taken.date() == date(2020, 2, 15)


class TestRequests:
    @pytest.mark.parametrize(
        "query", ["bbox=1,2", "datetime=soon", "limit=0", "limit=x", "offset=-1", "intersects=x"]
    )
    def test_nonsense_is_400(self, asked: TestClient, query: str) -> None:
        answer = asked.get(f"/stac/search?{query}")
        assert answer.status_code == 400
        assert len(answer.json()["error"].splitlines()) == 1

    @pytest.mark.parametrize(
        "body", [b"", b"[]", b"[" * 60000, b"\xff", b'{"ids": 3}', b'{"bbox": {}}', b'{"x": 1}']
    )
    def test_documents_that_are_none(self, asked: TestClient, body: bytes) -> None:
        assert asked.post("/stac/search", content=body).status_code == 400

    def test_a_large_document_is_refused(self, asked: TestClient) -> None:
        assert asked.post("/stac/search", content=b" " * 70000).status_code == 413

    def test_what_is_not_there(self, asked: TestClient, archive: Path) -> None:
        name = asked.get("/stac/collections").json()["collections"][0]["id"]
        assert asked.get("/stac/collections/another").status_code == 404
        assert asked.get("/stac/collections/another/items").status_code == 404
        assert asked.get(f"/stac/collections/{name}/items/nobody").status_code == 404
        assert asked.post("/stac/collections", content=b"{}").status_code == 405
        alone = TestClient(build(Shelf(archive / "volume.zarr")), base_url="http://127.0.0.1")
        assert alone.get("/stac").status_code == 404

    def test_documents_are_those_of_stac(self, asked: TestClient) -> None:
        for document in (
            asked.get("/stac").json(),
            asked.get("/stac/collections").json()["collections"][0],
        ):
            validate(document | {"links": []})  # nobody listens where links lead here

    def test_other_machines_are_told_no_paths(self, archive: Path) -> None:
        app = build(Shelf(archive), hosts=None, token="s3cret")
        far = TestClient(app, base_url="https://host.example")
        assert far.post("/stac/search", content=b"{}").status_code == 401
        found = far.post("/stac/search", content=b"{}", headers={"authorization": "Bearer s3cret"})
        assert found.json()["numberReturned"] == 5
        assert str(archive) not in found.text
        assert {"thumbnail"} == {name for one in found.json()["features"] for name in one["assets"]}
