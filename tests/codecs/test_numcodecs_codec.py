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

from tilepress.codecs.errors import UnsupportedArray, UnsupportedFormat
from tilepress.codecs.numcodecs_codec import TilepressTile

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


def _create(path: Path, image: np.ndarray, order: str) -> zarr.Array:
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

    def test_bytes_are_refused(self) -> None:
        with pytest.raises(UnsupportedArray, match="axes"):
            TilepressTile().encode(b"plain bytes")
