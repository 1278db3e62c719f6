"""Who decodes says how much memory that may take, and is told what a record wants."""

from __future__ import annotations

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from tilepress.codecs.budget import DEFAULT_MAX_MEMORY, VARIABLE, allowed_memory
from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import TooMuchMemory, UsageError

IMAGE = (np.arange(90_000).reshape(300, 300) % 251).astype(np.uint8)


class TestSizes:
    @pytest.mark.parametrize(
        ("said", "size"),
        [(1, 1), ("4096", 4096), ("512MiB", 2**29), (" 1.5 GB ", 1_500_000_000), ("2gib", 2**31)],
    )
    def test_in_words(self, said: int | str, size: int) -> None:
        assert allowed_memory(said) == size

    @pytest.mark.parametrize(
        "said", [0, -1, True, 1.5, "", "x", "0", "-1", "1e9", "1 PiB", "9" * 30, [1], "1\n2", b"1"]
    )
    def test_anything_else_is_refused(self, said: object) -> None:
        with pytest.raises(UsageError, match="reading max_memory: got"):
            allowed_memory(said)  # type: ignore[arg-type]

    def test_of_the_environment(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv(VARIABLE, raising=False)
        assert allowed_memory(None) == DEFAULT_MAX_MEMORY
        monkeypatch.setenv(VARIABLE, "3MiB")
        assert allowed_memory(None) == 3 * 2**20
        assert allowed_memory(7) == 7
        monkeypatch.setenv(VARIABLE, "much")
        with pytest.raises(UsageError, match=VARIABLE):
            allowed_memory(None)


class TestTooMuchIsRefused:
    @pytest.mark.parametrize("coder", ["wave", "stored", "cropped"])
    def test_in_one_line_that_says_how_to_allow_it(self, coder: str) -> None:
        image = IMAGE.copy()
        if coder == "stored":
            image = np.random.default_rng(1).integers(0, 256, image.shape, np.uint8)
        if coder == "cropped":
            image[200:] = 0
        codec = TileCodec(tier="fast")
        record = codec.encode(image)
        with pytest.raises(TooMuchMemory) as caught:
            codec.decode(record, max_memory="100KB")
        text = str(caught.value)
        assert text.startswith("decoding a record of 300 × 300 uint8, crc32c ")
        assert "0.1 MiB are allowed" in text
        assert "\n" not in text
        size = int(text.partition("max_memory=")[2].split()[0])
        np.testing.assert_array_equal(codec.decode(record, max_memory=size), image)
        with pytest.raises(TooMuchMemory):
            codec.decode(record, max_memory=size - 1)

    def test_for_every_record_of_a_codec(self) -> None:
        codec = TileCodec(tier="fast", max_memory=1000)
        record = codec.encode(IMAGE)
        with pytest.raises(TooMuchMemory):
            codec.decode(record)
        with pytest.raises(TooMuchMemory):
            codec.decode_many([record, record])
        np.testing.assert_array_equal(codec.decode(record, max_memory="1GiB"), IMAGE)

    def test_it_is_no_part_of_the_configuration(self) -> None:
        config = TileCodec(max_memory=1000).to_config()
        assert config == TileCodec().to_config()
        assert TileCodec.from_config(config, max_memory=1000)._allowed(None) == 1000

    def test_through_zarr_and_numcodecs(self, monkeypatch: pytest.MonkeyPatch) -> None:
        array = zarr.create_array(
            MemoryStore(), shape=IMAGE.shape, dtype=IMAGE.dtype, chunks=IMAGE.shape,
            serializer=TilepressTileV3(TileCodec(tier="fast")), compressors=None, filters=None,
        )  # fmt: skip
        array[...] = IMAGE
        old = numcodecs.get_codec(TilepressTile(tier="fast").get_config())
        record = old.encode(IMAGE)
        monkeypatch.setenv(VARIABLE, "100KB")
        with pytest.raises(TooMuchMemory, match=VARIABLE):
            array[...]
        with pytest.raises(TooMuchMemory, match=VARIABLE):
            old.decode(record)
        monkeypatch.setenv(VARIABLE, "1GB")
        np.testing.assert_array_equal(array[...], IMAGE)
        np.testing.assert_array_equal(old.decode(record), IMAGE)


class TestAMachineWithoutMemory:
    def test_is_an_error_of_ours(self, monkeypatch: pytest.MonkeyPatch) -> None:
        codec = TileCodec(tier="fast")
        record = codec.encode(IMAGE)

        def nothing_left(*_: object) -> None:
            raise MemoryError

        monkeypatch.setattr(codec._coder, "decode", nothing_left)
        with pytest.raises(TooMuchMemory, match=r"300 × 300 uint8.* no memory left"):
            codec.decode(record)
        monkeypatch.setattr(codec._coder, "encode", nothing_left)
        with pytest.raises(TooMuchMemory, match="coding a tile of 300 × 300 uint8"):
            codec.encode(IMAGE)
