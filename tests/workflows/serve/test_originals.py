"""What a store was made of, beside it: only where it is named, and only where it is that."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import pytest
import rasterio
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian
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


class TestRastersOfOneBand:
    @pytest.mark.parametrize("loss", [{"max_error": 20}, {"psnr": 40}])
    def test_are_shown_at_every_zoom(
        self, bounded: Path, tmp_path: Path, loss: dict[str, float]
    ) -> None:
        """Colours of a GeoTIFF are asked of what its store keeps of the source."""
        image = np.load(bounded / "in" / "plane.npy")
        (tmp_path / "in").mkdir()
        height, width = image.shape
        how = {"driver": "GTiff", "count": 1, "dtype": "uint16", "crs": "EPSG:32632"}
        place = rasterio.Affine(10, 0, 500_000, 0, -10, 5_000_000)
        with rasterio.open(
            tmp_path / "in/plane.tif", "w", height=height, width=width, transform=place, **how
        ) as file:
            file.write(image, 1)
        tilepress.compress(tmp_path / "in", tmp_path / "out", workers=0, **loss)
        client = _client(tmp_path / "out", tmp_path / "in")
        shown = np.rint(image[:256, :256] / 20)
        np.testing.assert_array_equal(_grey(client, "c=0:0:5100&of=original"), shown)
        for of in ("original", "difference"):
            for where in ("thumb", "tile/9/0/0", "tile/8/0/0", "tile/6/0/0"):
                answer = client.get(f"/api/{where}/plane.zarr?of={of}")
                assert answer.status_code == 200, answer.text


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

    def test_what_differs_by_less_than_doubles_tell(self, tmp_path: Path) -> None:
        (tmp_path / "in").mkdir()
        (tmp_path / "other").mkdir()
        image = np.full((300, 280), 2**60, np.int64)
        np.save(tmp_path / "in/plane.npy", image)
        tilepress.compress(tmp_path / "in", tmp_path / "out", workers=0, tier="fast")
        image[100, 100] += 1
        np.save(tmp_path / "other/plane.npy", image)
        for folder, status in (("in", 200), ("other", 409)):
            client = _client(tmp_path / "out", tmp_path / folder)
            assert client.get("/api/tile/9/0/0/plane.zarr?of=original").status_code == status

    @pytest.mark.parametrize("spoiled", [b"spoiled", None])
    def test_what_is_spoiled_while_it_is_served_is_not_named(
        self, bounded: Path, tmp_path: Path, spoiled: bytes | None
    ) -> None:
        path = tmp_path / "plane.npy"
        path.write_bytes((bounded / "in" / "plane.npy").read_bytes())
        client = _client(bounded / "out", tmp_path)
        assert client.get("/api/tile/9/0/0/plane.zarr?of=original").status_code == 200
        path.unlink()
        if spoiled is not None:
            path.write_bytes(spoiled)
        answer = client.get("/api/tile/9/1/1/plane.zarr?of=original")
        assert answer.status_code in (200, 409)  # it may be read to its end before
        assert str(tmp_path) not in answer.text

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


def _write_series(folder: Path, samples: np.ndarray) -> None:
    """Write a CT series, a file for each slice, in an order that is not that of its slices."""
    folder.mkdir(parents=True)
    for number in range(len(samples)):
        header = Dataset()
        header.file_meta = FileMetaDataset()
        header.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        header.SOPClassUID, header.SOPInstanceUID = CTImageStorage, f"1.2.3.{9 - number}"
        header.StudyInstanceUID, header.SeriesInstanceUID = "1.2.1", "1.2.2"
        header.Modality, header.PhotometricInterpretation = "CT", "MONOCHROME2"
        header.Rows, header.Columns = samples.shape[1:]
        header.SamplesPerPixel, header.PixelRepresentation = 1, 0
        header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
        header.RescaleSlope, header.RescaleIntercept = 1, -1024
        header.PixelSpacing, header.ImagePositionPatient = [0.5, 0.5], [0, 0, 2 * number]
        header.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        header.PixelData = samples[number].astype("<u2").tobytes()
        header.save_as(folder / f"{len(samples) - number}.dcm", enforce_file_format=True)


class TestVolumes:
    @pytest.fixture(scope="class")
    @staticmethod
    def series(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray, str]:
        """Return a folder with ``in`` and ``out``, within an error of 8, samples and a key."""
        folder = tmp_path_factory.mktemp("series")
        noise = np.random.default_rng(8).integers(0, 60, (6, 40, 48))
        samples = (smooth((6, 40, 48)) // 2 + noise).astype(np.uint16)
        _write_series(folder / "in", samples)
        tilepress.compress(folder / "in", folder / "out", workers=0, tier="fast", max_error=8)
        (key,) = Shelf(folder / "out").stores()
        return folder, samples, key

    @staticmethod
    def _plane(client: TestClient, address: str) -> np.ndarray:
        answer = client.get(address)
        assert answer.status_code == 200, answer.text
        shape = [int(n) for n in answer.headers["x-shape"].split(",")]
        return np.frombuffer(answer.content, f"<{answer.headers['x-dtype']}").reshape(shape)

    def test_have_planes_of_the_original_and_of_the_difference(self, series: Any) -> None:
        folder, samples, key = series
        client = _client(folder / "out", folder / "in")
        stored = tilepress.open(folder / "out" / key).image.values.astype(int)
        assert client.get(f"/api/info/{key}").json()["original"] is True
        for axis, number, at in (
            ("z", 4, np.s_[4]), ("y", 11, np.s_[:, 11]), ("x", 47, np.s_[:, :, 47]),
        ):  # fmt: skip
            address = f"/api/plane/{axis}/{number}/{key}"
            np.testing.assert_array_equal(self._plane(client, address), stored[at])
            np.testing.assert_array_equal(
                self._plane(client, f"{address}?of=original"), samples[at]
            )
            apart = self._plane(client, f"{address}?of=difference")
            assert apart.max() > 0
            np.testing.assert_array_equal(apart, np.abs(samples[at].astype(int) - stored[at]))

    def test_of_another_series_are_refused(self, series: Any, tmp_path: Path) -> None:
        """It has the same UIDs, and one sample of one slice is further off than the bound."""
        folder, samples, key = series
        other = samples.copy()
        other[2, 7, 9] ^= 1024
        _write_series(tmp_path / "in", other)
        client = _client(folder / "out", tmp_path / "in")
        for axis, number, status in (("z", 2, 409), ("y", 7, 409), ("x", 9, 409), ("z", 3, 200)):
            for of in ("original", "difference"):
                answer = client.get(f"/api/plane/{axis}/{number}/{key}?of={of}")
                assert answer.status_code == status
        assert "not the original" in client.get(f"/api/thumb/{key}?at=z:2&of=original").text

    def test_need_an_original_and_a_word_that_is_known(self, series: Any) -> None:
        folder, _, key = series
        assert _client(folder / "out").get(f"/api/plane/z/0/{key}?of=original").status_code == 404
        client = _client(folder / "out", folder / "in")
        assert client.get(f"/api/plane/z/0/{key}?of=../x").status_code == 400


class TestBands:
    @pytest.fixture(scope="class")
    @staticmethod
    def scene(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, np.ndarray]:
        """Return a folder with ``in/scene.tif`` of four bands, the last exact, and ``out``."""
        folder = tmp_path_factory.mktemp("bands")
        (folder / "in").mkdir()
        noise = np.random.default_rng(4).integers(0, 80, (4, 70, 90))
        image = (smooth((4, 70, 90)) + noise).astype(np.uint16)
        _write_scene(folder / "in" / "scene.tif", image)
        tilepress.compress(
            folder / "in", folder / "out", workers=0, tier="fast", max_error=20,
            lossless_for="quality",
        )  # fmt: skip
        return folder, image

    def test_are_each_beside_their_own(self, scene: Any) -> None:
        folder, image = scene
        client = _client(folder / "out", folder / "in")
        stored = tilepress.open(folder / "out" / "scene.zarr").image.values.astype(int)
        worst = client.get("/api/info/scene.zarr").json()["worst"]
        for band in range(4):
            look = f"c={band}:0:5100"
            address = f"/api/tile/7/0/0/scene.zarr?{look}&of="
            found = imagecodecs.png_decode(client.get(f"{address}original").content)[..., 0]
            np.testing.assert_array_equal(found, np.rint(image[band] / 20))
            found = imagecodecs.png_decode(client.get(f"{address}difference").content)[..., 0]
            apart = np.abs(image[band].astype(int) - stored[band])
            assert (apart.max() > 0) == (band < 3)
            np.testing.assert_allclose(found, apart * 255 / worst, atol=0.6)

    def test_that_are_exact_may_not_be_off_at_all(self, scene: Any, tmp_path: Path) -> None:
        folder, image = scene
        other = image.copy()
        other[3, 5, 5] += 1
        _write_scene(tmp_path / "scene.tif", other)
        client = _client(folder / "out", tmp_path)
        assert client.get("/api/thumb/scene.zarr?c=0:0:9&of=original").status_code == 200
        assert client.get("/api/thumb/scene.zarr?c=3:0:9&of=original").status_code == 409


def _write_scene(path: Path, image: np.ndarray) -> None:
    with rasterio.open(
        path, "w", driver="GTiff", width=image.shape[2], height=image.shape[1], count=len(image),
        dtype=image.dtype, crs="EPSG:32631", transform=rasterio.Affine(10, 0, 5e5, 0, -10, 5e6),
    ) as file:  # fmt: skip
        file.write(image)
        file.descriptions = ("blue", "green", "red", "quality")
