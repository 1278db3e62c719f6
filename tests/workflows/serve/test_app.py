"""What the server answers: right samples, and 4xx for what makes no sense."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
from starlette.exceptions import HTTPException
from starlette.testclient import TestClient

import tilepress
from tilepress.pipeline.read.picture import Picture
from tilepress.workflows.serve import app as application
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf

SCENE, VOLUME = "scene.zarr", "deep/volume.zarr"


def _pixels(client: TestClient, address: str) -> np.ndarray:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "image/png"
    return np.asarray(imagecodecs.png_decode(answer.content))


class TestTheIndex:
    def test_lists_and_searches(self, client: TestClient) -> None:
        found = client.get("/api/stores").json()
        assert found["count"] == 2
        assert {store["key"] for store in found["stores"]} == {SCENE, VOLUME}
        for query, want in (
            ("q=SCE", [SCENE]),
            ("q=deep vol", [VOLUME]),
            ("q=none", []),
            ("datetime=2020-06", [SCENE]),
            ("bbox=-180,-90,180,90", [SCENE]),
            ("limit=1", [VOLUME]),
            ("limit=1&offset=1", [SCENE]),
            ("limit=1&offset=9", []),
        ):
            stores = client.get(f"/api/stores?{query}").json()["stores"]
            assert [store["key"] for store in stores] == want, query

    @pytest.mark.parametrize("query", ["datetime=soon", "bbox=1,2", "limit=9999", "offset=-1"])
    def test_nonsense_is_400(self, client: TestClient, query: str) -> None:
        answer = client.get(f"/api/stores?{query}")
        assert answer.status_code == 400
        assert answer.json()["error"]

    def test_an_archive_without_a_catalogue(self, served: Path, tmp_path: Path) -> None:
        shutil.copytree(served / SCENE, tmp_path / "archive" / SCENE)
        client = TestClient(build(Shelf(tmp_path / "archive")), base_url="http://localhost")
        assert client.get("/api/stores").json()["stores"] == [{"key": SCENE}]

    def test_one_store(self, served: Path) -> None:
        client = TestClient(build(Shelf(served / SCENE)), base_url="http://localhost")
        assert client.get("/api/stores").json()["stores"] == [{"key": SCENE}]
        assert client.get(f"/api/info/{SCENE}").status_code == 200
        assert client.get("/api/info/other.zarr").status_code == 404


class TestPictures:
    def test_tiles_of_the_last_level_are_the_samples(
        self, client: TestClient, served: Path
    ) -> None:
        image = tilepress.open(served / SCENE).image.values
        tile = _pixels(
            client, f"/api/tile/10/1/2/{SCENE}?c=0:0:255:ff0000;1:0:255:00ff00;2:0:255:0000ff"
        )
        np.testing.assert_array_equal(tile[..., :3], np.moveaxis(image[:, 512:600, 256:500], 0, -1))
        assert tile.shape == (88, 244, 4)

    def test_all_tiles_of_all_levels_are_there(self, client: TestClient) -> None:
        for level in range(11):
            factor = 2 ** (10 - level)
            rows, columns = -(-600 // (256 * factor)), -(-500 // (256 * factor))
            for row in range(rows):
                for column in range(columns):
                    assert _pixels(client, f"/api/tile/{level}/{column}/{row}/{SCENE}").size
            assert client.get(f"/api/tile/{level}/{columns}/0/{SCENE}").status_code == 400

    def test_looks(self, client: TestClient) -> None:
        red = _pixels(client, f"/api/thumb/{SCENE}?c=0:0:1:ff0000")
        assert red[..., 1].max() == 0
        index = _pixels(client, f"/api/thumb/{SCENE}?nd=1,0")
        assert index.shape == red.shape
        first = _pixels(client, f"/api/thumb/{VOLUME}?at=z:0")
        assert not np.array_equal(first, _pixels(client, f"/api/thumb/{VOLUME}?at=z:8"))

    def test_an_expression(self, client: TestClient, served: Path) -> None:
        image = tilepress.open(served / SCENE).image.values.astype(float)
        asked = "expression=2*(b2-b1)/(b3%2B1)&rescale=0,4"
        tile = _pixels(client, f"/api/tile/10/1/2/{SCENE}?{asked}")
        b1, b2, b3 = image[:, 512:600, 256:500]
        weight = np.clip(2 * (2 * (b2 - b1) / (b3 + 1)) / 4 - 1, -1, 1)[..., np.newaxis]
        white, brown, green = (245, 245, 245), (140, 81, 10), (1, 102, 94)
        ends = np.where(weight < 0, np.array(brown), np.array(green))
        want = np.array(white) + (ends - np.array(white)) * np.abs(weight)
        np.testing.assert_allclose(tile[..., :3], want, atol=0.51)
        assert _pixels(client, f"/api/xyz/11/1041/732/{SCENE}?{asked}").shape == (256, 256, 4)
        told = client.get(f"/api/value/7/9/{SCENE}?{asked}").json()
        b1, b2, b3 = image[:, 7, 9]
        assert told["values"] == [b1, b2, b3]
        assert told["index"] == pytest.approx(2 * (b2 - b1) / (b3 + 1))
        none = client.get(f"/api/value/7/9/{SCENE}?expression=b1/(b2-b2)").json()
        assert none["index"] is None
        nowhere = _pixels(client, f"/api/thumb/{SCENE}?expression=b1/(b2-b2)")
        assert not nowhere[..., 3].any()
        known = {one["name"] for one in client.get(f"/api/info/{SCENE}").json()["indices"]}
        assert known == {"vari"}, "it is red, green and blue"

    def test_a_plus_that_became_a_blank_is_hinted_at(self, client: TestClient) -> None:
        answer = client.get(f"/api/xyz/11/1041/732/{SCENE}?expression=b1/(b2+6*b3)&rescale=0,4")
        assert answer.status_code == 400
        assert "%2B for +" in answer.json()["error"]

    def test_a_map_tile(self, client: TestClient) -> None:
        info = client.get(f"/api/info/{SCENE}").json()
        assert info["attributes"]["proj:code"] == "EPSG:32631"
        tile = _pixels(client, f"/api/xyz/11/1041/732/{SCENE}")
        assert tile.shape == (256, 256, 4)
        assert client.get(f"/api/xyz/11/0/0/{VOLUME}").status_code == 400

    def test_slices_and_values(self, client: TestClient, served: Path) -> None:
        volume = tilepress.open(served / VOLUME).image.values
        for axis, number, want in (
            ("z", 3, volume[3]),
            ("y", 39, volume[:, 39]),
            ("x", 0, volume[:, :, 0]),
        ):
            answer = client.get(f"/api/plane/{axis}/{number}/{VOLUME}")
            shape = [int(n) for n in answer.headers["x-shape"].split(",")]
            found = np.frombuffer(answer.content, f"<{answer.headers['x-dtype']}").reshape(shape)
            np.testing.assert_array_equal(found, want)
        answer = client.get(f"/api/value/7/9/{VOLUME}?at=z:2").json()
        assert answer["values"] == [int(volume[2, 7, 9])]


class TestRequestsThatMakeNoSense:
    @pytest.mark.parametrize(
        "path",
        [
            "/api/tile/11/0/0/scene.zarr",
            "/api/tile/-1/0/0/scene.zarr",
            "/api/tile/1e1/0/0/scene.zarr",
            "/api/tile/10/0/999999999999/scene.zarr",
            "/api/tile/10/0/0/scene.zarr?c=9:0:1",
            "/api/tile/10/0/0/scene.zarr?c=0:nan:1",
            "/api/tile/10/0/0/scene.zarr?c=0:0:1:zzzzzz",
            "/api/tile/10/0/0/scene.zarr?c=0:0:inf",
            "/api/tile/10/0/0/scene.zarr?nd=1",
            "/api/tile/10/0/0/scene.zarr?nd=0,7",
            "/api/tile/10/0/0/scene.zarr?at=z:0",
            "/api/tile/10/0/0/scene.zarr?expression=b4",
            "/api/tile/10/0/0/scene.zarr?expression=ndvi",
            "/api/tile/10/0/0/scene.zarr?expression=__import__(os)",
            f"/api/tile/10/0/0/scene.zarr?expression={'(' * 400}b1{')' * 90}",
            f"/api/tile/10/0/0/scene.zarr?expression={'b1*' * 300}b1",
            "/api/tile/10/0/0/scene.zarr?index=ndvi",
            "/api/xyz/3/4/2/scene.zarr?index=vari",
            "/api/tile/10/0/0/scene.zarr?rescale=0,1",
            "/api/tile/10/0/0/scene.zarr?expression=b1&rescale=1",
            "/api/tile/10/0/0/scene.zarr?expression=b1&rescale=1,nan",
            "/api/thumb/deep/volume.zarr?at=z:9",
            "/api/thumb/deep/volume.zarr?at=y:0",
            "/api/plane/z/9/deep/volume.zarr",
            "/api/plane/band/0/deep/volume.zarr",
            "/api/plane/z/0/scene.zarr",
            "/api/value/600/0/scene.zarr",
            "/api/xyz/25/0/0/scene.zarr",
            "/api/xyz/3/8/0/scene.zarr",
        ],
    )
    def test_are_400(self, client: TestClient, path: str) -> None:
        answer = client.get(path)
        assert answer.status_code == 400
        assert len(answer.json()["error"]) < 300

    def test_so_many_channels_are_too_many(self, client: TestClient) -> None:
        channels = ";".join(["0:0:1"] * 200)
        assert client.get(f"/api/thumb/{SCENE}?c={channels}").status_code == 400

    def test_who_waits_too_long_is_told(
        self, served: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(application, "WORKING", 1)
        monkeypatch.setattr(application, "WAITING_S", 0.01)
        views = application._Views(Shelf(served))
        with views.turn(), pytest.raises(HTTPException) as caught:
            views.turn().__enter__()
        assert caught.value.status_code == 503

    def test_a_damaged_store_is_told_and_the_rest_is_served(
        self, served: Path, tmp_path: Path
    ) -> None:
        shutil.copytree(served, tmp_path / "archive")
        (shard,) = (tmp_path / "archive" / SCENE / "0" / "image" / "c").rglob("*/0/0")
        data = bytearray(shard.read_bytes())
        data[len(data) // 2] ^= 255
        shard.write_bytes(data)
        client = TestClient(build(Shelf(tmp_path / "archive")), base_url="http://localhost")
        broken = [
            client.get(f"/api/tile/10/{x}/{y}/{SCENE}").status_code
            for x in (0, 1)
            for y in (0, 1, 2)
        ]
        assert 500 in broken
        assert client.get(f"/api/thumb/{VOLUME}").status_code == 200

    def test_what_is_no_file_is_no_store(self, served: Path, tmp_path: Path) -> None:
        shutil.copytree(served, tmp_path / "archive")
        (tmp_path / "archive" / "pipe.zarr").mkdir()
        os.mkfifo(tmp_path / "archive" / "pipe.zarr" / "zarr.json")
        client = TestClient(build(Shelf(tmp_path / "archive")), base_url="http://localhost")
        answer = client.get("/api/info/pipe.zarr")
        assert 400 <= answer.status_code < 600
        assert answer.json()["error"]

    def test_storage_that_fails_is_told(self, client: TestClient, monkeypatch: Any) -> None:
        def fail(*_: Any) -> None:
            raise OSError(errno.EIO, "the disk is broken")

        monkeypatch.setattr(Picture, "overview", fail)
        answer = client.get(f"/api/thumb/{SCENE}?c=0:0:7")
        assert answer.status_code == 500
        assert answer.json() == {"error": "reading the store: the disk is broken"}


class TestPages:
    def test_are_served_with_what_they_need(self, client: TestClient) -> None:
        for path in ("/", f"/view/{SCENE}", f"/view/{VOLUME}"):
            page = client.get(path)
            assert page.status_code == 200
            for word in page.text.split('"'):
                if word.startswith("/static/"):
                    assert client.get(word).status_code == 200, word
        assert client.get("/view/nothing.zarr").status_code == 404
