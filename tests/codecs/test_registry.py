"""A second codec is one module and one line, and none that loses samples passes for lossless."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from tilepress.codecs.budget import Budget
from tilepress.codecs.classical import STREAMS
from tilepress.codecs.config import CodecConfig, lossless_codec, lossless_config
from tilepress.codecs.loss import Lossless, Within
from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.codecs.record import OVERHEAD_BYTES, unpack_record
from tilepress.codecs.registry import CODECS, DEFAULT_CODEC, check_weights, coder_class
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import known_models, load_named
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import (
    ChecksumMismatch,
    CodecError,
    InvalidRecord,
    ModelError,
    UnsupportedFormat,
)

from ..helpers.toy_codec import BoastingCoder, LyingCoder, SwallowingCoder, ToyCoder, registered

IMAGE = (np.add.outer(np.arange(3) * 9, np.hypot(*np.mgrid[:40, :70])) // 2).astype(np.uint16)


@pytest.fixture
def toy() -> Iterator[str]:
    with registered() as name:
        yield name


class TestEveryRegisteredCodec:
    @pytest.mark.parametrize("name", list(CODECS))
    def test_says_what_it_is(self, name: str) -> None:
        coder = coder_class(name)
        assert coder.losses
        assert "standard" in coder.models
        for model in coder.models.values():
            if model is not None:
                assert load_named(model).origin == "bundled"
                coder.check_weights(load_named(model).data)

    def test_numbers_of_records_are_as_the_format_says(self) -> None:
        numbers = {name: codec.number for name, codec in CODECS.items()}
        assert numbers == {
            "wave": 1,
            "ntc": 6,
            "mlp": 8,
            "compressai": 9,
            **dict.fromkeys(STREAMS, 5),
        }

    def test_the_default_is_lossless(self) -> None:
        """What nobody asked for must not cost samples."""
        assert Lossless in coder_class(DEFAULT_CODEC).losses
        assert TileCodec().loss == Lossless()

    def test_weights_of_none_are_refused_as_the_defaults(self) -> None:
        for weights in known_models():
            check_weights(weights.data)
        with pytest.raises(ModelError, match="loading a model: not a safetensors file"):
            check_weights(b"no weights")

    def test_is_imported_at_first_use(self, tmp_path: Path) -> None:
        """A reader of records that one codec made must not load the others."""
        line = (
            "import sys, tilepress.codecs.tile, tilepress.codecs.registry as r;"
            "print([n for n, c in r.CODECS.items() if c.coder.partition(':')[0] in sys.modules],"
            "'numba' in sys.modules)"
        )
        done = subprocess.run(
            [sys.executable, "-c", line], capture_output=True, text=True, cwd=tmp_path, timeout=60
        )
        assert done.stdout.strip() == "[] False", done.stdout + done.stderr


class TestACodecThatLosesSamples:
    def test_cannot_be_lossless(self, toy: str) -> None:
        for options in ({}, {"max_error": 0}, {"max_error": 0.0}):
            with pytest.raises(
                UnsupportedFormat,
                match=re.escape("making a codec: codec 'toy' is never lossless, it is near-loss"),
            ):
                TileCodec(toy, **options)

    def test_nor_by_its_metadata(self, toy: str) -> None:
        config = TileCodec(toy, max_error=2).to_config()
        for zero in (0, 0.0):
            for read in (CodecConfig.parse, TileCodec.from_config, TilepressTileV3):
                with pytest.raises(UnsupportedFormat, match="codec 'toy' is never lossless"):
                    read({**config, "max_error": zero})

    def test_nor_as_the_codec_of_a_mask(self, toy: str) -> None:
        """What must be lossless is coded by one that can be."""
        config = lossless_config(TileCodec(toy, max_error=2, nodata=7).to_config())
        assert config == TileCodec().to_config()
        assert TileCodec.from_config(config).loss == Lossless()

    def test_states_its_loss(self, toy: str) -> None:
        statement = TileCodec(toy, max_error=2).loss.statement()
        assert statement == {"lossless": False, "max_error": 2}

    def test_that_says_otherwise_is_caught(self) -> None:
        with registered(BoastingCoder) as name:
            with pytest.raises(CodecError, match="did not give back the same samples"):
                TileCodec(name).encode(IMAGE)
            assert TileCodec(name, max_error=1).encode(IMAGE)


class TestASecondCodec:
    def test_codes_records(self, toy: str) -> None:
        codec = TileCodec(toy, max_error=2, nodata=7)
        image = IMAGE.copy()
        image[:, :5] = 7
        record = codec.encode(image)
        assert unpack_record(record)[0].coder == 200
        assert len(record) < image.nbytes
        decoded = TileCodec.from_config(codec.to_config()).decode(record)
        assert Within(2).check(image, decoded, 7).worst == 2
        np.testing.assert_array_equal(codec.decode(record, planes=[2]), decoded[2:])
        assert codec.decode_many(codec.encode_many([image, image]))[1].tobytes() == (
            decoded.tobytes()
        )

    def test_stores_what_it_cannot_code(self, toy: str) -> None:
        codec = TileCodec(toy, max_error=0.5)
        image = np.linspace(0, 1, 600, dtype=np.float32).reshape(20, 30)
        record = codec.encode(image)
        assert len(record) == image.nbytes + OVERHEAD_BYTES
        np.testing.assert_array_equal(codec.decode(record), image)

    def test_needs_no_weights(self, toy: str) -> None:
        config = TileCodec(toy, max_error=2).to_config()
        assert config["model"]["weights"] == ""
        with pytest.raises(ModelError, match="is of codec 'wave', not of 'toy'"):
            TileCodec(toy, max_error=2, model="wave-2")

    def test_has_its_own_tiers_and_devices(self, toy: str) -> None:
        with pytest.raises(UnsupportedFormat, match=r"want one of standard$"):
            TileCodec(toy, max_error=2, tier="max")
        with pytest.raises(UnsupportedFormat, match="knows no device"):
            TileCodec(toy, max_error=2, device="cuda")

    def test_reads_no_records_of_another(self, toy: str) -> None:
        record = TileCodec(toy, max_error=2).encode(IMAGE)
        with pytest.raises(UnsupportedFormat, match="its coder is 200, not that of codec 'wave'"):
            TileCodec().decode(record)
        with pytest.raises(UnsupportedFormat, match="its coder is 5, not that of codec 'toy'"):
            TileCodec(toy, max_error=2).decode(TileCodec("zstd").encode(IMAGE))

    def test_reads_those_of_the_default_one_where_it_loses(self, toy: str) -> None:
        """Its exact bands are coded so, as it cannot."""
        assert lossless_codec(toy) == "wave"
        found = TileCodec(toy, max_error=2).decode(TileCodec(tier="fast").encode(IMAGE))
        np.testing.assert_array_equal(found, IMAGE)

    def test_is_unknown_where_it_is_not_registered(self) -> None:
        with registered() as name:
            codec = TileCodec(name, max_error=2)
            record, config = codec.encode(IMAGE), codec.to_config()
        with pytest.raises(UnsupportedFormat, match="coder 200 unknown"):
            TileCodec().decode(record)
        with pytest.raises(UnsupportedFormat, match="got codec 'toy'"):
            TileCodec.from_config(config)

    def test_is_not_trusted(self, toy: str) -> None:
        codec = TileCodec(toy, max_error=2)
        record = bytearray(codec.encode(IMAGE))
        record[100] ^= 1
        with pytest.raises(ChecksumMismatch):
            codec.decode(bytes(record))

        class Forgetful(ToyCoder):
            def decode(self, *arguments: Any) -> np.ndarray:
                return super().decode(*arguments) + 1

        forgetful = Forgetful(Within(2), "standard", b"", "cpu")
        codec._reader = replace(codec._reader, coder=forgetful)
        with pytest.raises(ChecksumMismatch):
            codec.decode(codec.encode(IMAGE))
        with pytest.raises(InvalidRecord):
            forgetful.decode(
                memoryview(b"x"), (1, 2, 3), np.dtype("u1"), None, Budget("decoding", 1 << 20), 200
            )

    @pytest.mark.parametrize("shards", [None, (3, 32, 64)])
    def test_through_zarr(self, toy: str, shards: tuple[int, ...] | None) -> None:
        codec = TileCodec(toy, max_error=2)
        objects: dict[str, Any] = {}
        array = zarr.create_array(
            MemoryStore(objects), shape=IMAGE.shape, dtype=IMAGE.dtype, chunks=(3, 16, 16),
            shards=shards, serializer=TilepressTileV3(codec), compressors=None, filters=None,
        )  # fmt: skip
        array[...] = IMAGE
        back = zarr.open_array(MemoryStore(objects), mode="r")[...]
        assert Within(2).check(IMAGE, back).worst == 2

    def test_through_numcodecs(self, toy: str) -> None:
        codec = TilepressTile(toy, max_error=2)
        again = numcodecs.get_codec(codec.get_config())
        assert Within(2).check(IMAGE, again.decode(codec.encode(IMAGE))).worst == 2

    @pytest.mark.parametrize("coder", [LyingCoder, SwallowingCoder])
    def test_that_breaks_its_promise_still_decodes_to_what_it_coded(self, coder: Any) -> None:
        """Whether that is near enough is for the check after encoding; no sample is invented."""
        with registered(coder) as name:
            codec = TileCodec(name, max_error=2, nodata=7)
            assert codec.decode(codec.encode(IMAGE)).shape == IMAGE.shape
