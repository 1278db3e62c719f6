"""What a store was made of, beside it: only where it is named, and only where it is that."""

from __future__ import annotations

from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from starlette.testclient import TestClient

import tilepress
from tilepress.errors import UsageError
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.originals import Originals
from tilepress.workflows.serve.shelf import Shelf

from ...helpers.samples import smooth


@pytest.fixture(scope="module")
def bounded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder: ``in/plane.npy``, ``out`` within an error of 20, ``exact`` without any."""
    folder = tmp_path_factory.mktemp("originals")
    (folder / "in").mkdir()
    rng = np.random.default_rng(5)
    image = smooth((300, 280)).astype(np.uint16) + rng.integers(0, 90, (300, 280), np.uint16)
    np.save(folder / "in" / "plane.npy", image)
    tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast", max_error=20)
    tilepress.compress(folder / "in", folder / "exact", workers=0, tier="fast")
    return folder


def _client(archive: Path, *sources: Path) -> TestClient:
    shelf = Shelf(archive)
    originals = Originals(shelf, [str(path) for path in sources]) if sources else None
    return TestClient(build(shelf, originals=originals), base_url="http://127.0.0.1")


def _grey(client: TestClient, query: str) -> np.ndarray:
    answer = client.get(f"/api/tile/9/0/0/plane.zarr?{query}")
    assert answer.status_code == 200, answer.text
    return np.asarray(imagecodecs.png_decode(answer.content))[..., 0].astype(int)


class TestPictures:
    def test_have_the_samples_of_the_original(self, bounded: Path) -> None:
        client = _client(bounded / "out", bounded / "in")
        image = np.load(bounded / "in" / "plane.npy").astype(int)
        stored = tilepress.open(bounded / "out" / "plane.zarr").image.values.astype(int)
        assert client.get("/api/info/plane.zarr").json()["original"] is True
        look = "c=0:0:5100"
        for of, want in (("&of=original", image), ("", stored)):
            shown = np.rint(want[:256, :256] / 20)
            np.testing.assert_array_equal(_grey(client, look + of), shown)
        worst = client.get("/api/info/plane.zarr").json()["worst"]
        apart = np.abs(image - stored)[:256, :256]
        assert 0 < apart.max() <= worst <= 20
        shown = _grey(client, look + "&of=difference")
        np.testing.assert_allclose(shown, apart * 255 / worst, atol=0.6)

    def test_of_a_store_alone(self, bounded: Path) -> None:
        client = _client(bounded / "out" / "plane.zarr", bounded / "in" / "plane.npy")
        assert _grey(client, "of=difference").max() == 255

    def test_of_a_lossless_store_differ_nowhere(self, bounded: Path) -> None:
        client = _client(bounded / "exact", bounded / "in")
        assert client.get("/api/info/plane.zarr").json()["original"] is False
        assert _grey(client, "of=difference").max() == 0


class TestRefusals:
    def test_what_is_not_the_original(self, bounded: Path, tmp_path: Path) -> None:
        """Of the same name and shape, and one sample is further off than the bound."""
        image = np.load(bounded / "in" / "plane.npy")
        image[100, 100] ^= 512
        np.save(tmp_path / "plane.npy", image)
        client = _client(bounded / "out", tmp_path)
        answer = client.get("/api/tile/9/0/0/plane.zarr?of=original")
        assert answer.status_code == 409
        assert "not the original" in answer.json()["error"]

    def test_another_shape(self, bounded: Path, tmp_path: Path) -> None:
        np.save(tmp_path / "plane.npy", np.zeros((3, 4), np.uint16))
        answer = _client(bounded / "out", tmp_path).get("/api/thumb/plane.zarr?of=original")
        assert answer.status_code in (404, 409)

    def test_what_was_not_named(self, bounded: Path, tmp_path: Path) -> None:
        client = _client(bounded / "out")
        assert client.get("/api/info/plane.zarr").json()["original"] is False
        assert client.get("/api/thumb/plane.zarr?of=original").status_code == 404
        np.save(tmp_path / "other.npy", np.zeros((5, 5), np.uint8))
        client = _client(bounded / "out", tmp_path)
        assert client.get("/api/thumb/plane.zarr?of=original").status_code == 404

    def test_nonsense(self, bounded: Path, tmp_path: Path) -> None:
        client = _client(bounded / "out", bounded / "in")
        assert client.get("/api/thumb/plane.zarr?of=../x").status_code == 400
        with pytest.raises(UsageError, match="serving the original"):
            Originals(Shelf(bounded / "out"), [str(tmp_path / "nothing")])
