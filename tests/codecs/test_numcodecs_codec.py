"""Let Zarr v2-format arrays use TileCodec."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.errors import UnsupportedArray, UnsupportedFormat

IMAGE = np.random.default_rng(0).integers(0, 4000, (3, 40, 70), dtype=np.uint16)


class TestTheRegistryFindsIt:
    def test_by_id_and_options(self) -> None:
        codec = numcodecs.get_codec({"id": "tilepress_tile", "nodata": 5})
        assert isinstance(codec, TilepressTile)
        assert codec.get_config()["nodata"] == 5

    def test_by_its_own_configuration(self) -> None:
        codec = TilepressTile(nodata=float("nan"))
        again = numcodecs.get_codec(json.loads(json.dumps(codec.get_config())))
        assert again == codec
        with pytest.raises(UnsupportedFormat):
            TilepressTile.from_config({**codec.get_config(), "more": 1})

    def test_in_a_fresh_process(self, tmp_path: Path) -> None:
        path = tmp_path / "a.zarr"
        _create(path, IMAGE, "C")
        code = f"import zarr; print(int(zarr.open(r'{path}', mode='r')[...].astype('u8').sum()))"
        out = subprocess.run(
            [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
        )
        assert int(out.stdout) == int(IMAGE.astype(np.uint64).sum())


def _create(path: Path, image: np.ndarray, order: str = "C") -> zarr.Array:
    array = zarr.create_array(
        path,
        shape=image.shape,
        chunks=(*image.shape[:-2], 16, 16),
        dtype=image.dtype,
        zarr_format=2,
        order=order,
        filters=None,
        compressors=TilepressTile(),
    )
    array[...] = image
    return array


class TestRoundTrip:
    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize("planes", [1, 3])
    def test_in_a_v2_array(self, tmp_path: Path, order: str, planes: int) -> None:
        image = IMAGE if planes == 3 else IMAGE[0]
        array = _create(tmp_path / "a.zarr", image, order)
        np.testing.assert_array_equal(array[...], image)

    def test_into_a_given_array(self) -> None:
        codec = TilepressTile()
        out = np.zeros_like(IMAGE)
        codec.decode(codec.encode(IMAGE), out=out)
        np.testing.assert_array_equal(out, IMAGE)

    @pytest.mark.parametrize("order", ["C", "F"])
    @pytest.mark.parametrize(
        "dtype", ["|b1", "|u1", "<i2", "<u4", "<i8", "<f2", "<f4", "<f8", ">u2", ">i4", ">f4"]
    )
    def test_of_every_kind_of_sample(self, tmp_path: Path, dtype: str, order: str) -> None:
        """Either the same samples come back from the file, or nothing is written."""
        image = (np.arange(2 * 3 * 40 * 21) % 251 > 9).reshape(2, 3, 40, 21)
        if dtype != "|b1":
            image = (np.arange(image.size) % 251).reshape(image.shape)
        image = image.astype(dtype)
        array = zarr.create_array(
            tmp_path / "a.zarr", shape=image.shape, chunks=(1, 3, 16, 16), dtype=dtype,
            zarr_format=2, order=order, filters=None, compressors=TilepressTile(),
        )  # fmt: skip
        if not image.dtype.isnative:
            with pytest.raises(UnsupportedArray, match="byte order"):
                array[...] = image
            return
        array[...] = image
        again = zarr.open_array(tmp_path / "a.zarr", mode="r")
        assert again.dtype == image.dtype
        np.testing.assert_array_equal(again[...], image)

    @pytest.mark.parametrize("order", ["C", "F"])
    def test_into_a_given_array_with_more_leading_axes(self, order: str) -> None:
        image = np.asarray(IMAGE[None, :, None], order=order)  # type: ignore[call-overload]
        out = np.zeros_like(image)
        assert TilepressTile().decode(TilepressTile().encode(image), out=out) is out
        np.testing.assert_array_equal(out, image)

    @pytest.mark.parametrize(
        "out",
        [
            np.zeros((3, 40, 71), np.uint16),
            np.zeros((3, 70, 40), np.uint16),
            np.zeros(3 * 40 * 70, np.uint16),
            np.zeros((3, 40, 70), np.int16),
            np.zeros((3, 40, 70), np.float32),
            np.zeros((3, 40, 70), ">u2"),
            np.zeros((3, 40, 140), np.uint16)[..., ::2],
            np.broadcast_to(np.zeros((40, 70), np.uint16), (3, 40, 70)),
            bytearray(3 * 40 * 70 * 2),
        ],
        ids=lambda out: f"{getattr(out, 'dtype', '')}{getattr(out, 'shape', 'bytes')}",
    )
    def test_an_array_that_does_not_fit_is_refused(self, out: np.ndarray) -> None:
        codec = TilepressTile()
        with pytest.raises(UnsupportedArray, match="out is"):
            codec.decode(codec.encode(IMAGE), out=out)

    def test_bytes_are_refused(self) -> None:
        with pytest.raises(UnsupportedArray, match="axes"):
            TilepressTile().encode(b"plain bytes")


class TestLossy:
    def test_a_target_comes_back(self) -> None:
        y, x = np.mgrid[:40, :60]
        image = (120 + 60 * np.sin(x / 7) + 40 * np.cos(y / 5)).astype(np.uint8)
        codec = TilepressTile("jpegxl", psnr=40)
        config = codec.get_config()
        assert config["target"] == {"psnr": 40.0, "peak": None}
        found = TilepressTile.from_config(config).decode(codec.encode(image))
        assert 0 < np.square(found.astype(float) - image).mean() <= 255**2 / 1e4
        plain = TilepressTile.from_config({"codec": "jpegxl", "psnr": 40})
        assert plain.get_config() == config

    def test_others_are_no_arguments(self) -> None:
        with pytest.raises(TypeError, match="unexpected keyword argument 'speed'"):
            TilepressTile("jpegxl", speed=4.0)
