"""Decoded chunks are kept, within bounds, and never taken for others."""

from __future__ import annotations

import threading
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from tilepress.codecs import decoded
from tilepress.codecs.decoded import DecodedChunks, allowed_cache, decoded_chunks, key_of
from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import ChecksumMismatch, InvalidRecord, UsageError

VOLUME = np.random.default_rng(3).integers(0, 900, (8, 48, 64), dtype=np.uint16)


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> DecodedChunks:
    """Return the chunks of this process, none of them yet."""
    chunks = DecodedChunks(2**22)
    monkeypatch.setattr(decoded, "_chunks", chunks)
    return chunks


@pytest.fixture
def decodes(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Return which planes were decoded, for each record: None for all."""
    found: list[Any] = []
    inner = TileCodec.decode

    def decode(self: TileCodec, data: Any, **options: Any) -> Any:
        found.append(options.get("planes"))
        return inner(self, data, **options)

    monkeypatch.setattr(TileCodec, "decode", decode)
    return found


def _array(chunks: tuple[int, ...], shards: tuple[int, ...] | None) -> Any:
    array = zarr.create_array(
        MemoryStore(),
        shape=VOLUME.shape,
        dtype=VOLUME.dtype,
        chunks=chunks,
        shards=shards,
        filters=None,
        compressors=None,
        serializer=TilepressTileV3(),
    )
    array[...] = VOLUME
    return array


class TestAChunkIsDecodedOnce:
    @pytest.mark.parametrize("shards", [None, (8, 32, 64)])
    def test_for_windows_that_share_it(self, shards: Any, kept: Any, decodes: list[Any]) -> None:
        array = _array((8, 16, 32), shards)
        for y in range(0, 16, 3):
            window = array[:, y : y + 4, 5:30]
            np.testing.assert_array_equal(window, VOLUME[:, y : y + 4, 5:30])
        assert len(decodes) == 2  # rows 0 … 18 lie in two chunks
        assert len(kept) == 2

    def test_and_again_where_nothing_may_be_kept(
        self, monkeypatch: pytest.MonkeyPatch, decodes: list[Any]
    ) -> None:
        monkeypatch.setattr(decoded, "_chunks", DecodedChunks(0))
        array = _array((8, 48, 64), None)
        for _ in range(3):
            np.testing.assert_array_equal(array[...], VOLUME)
        assert len(decodes) == 3

    def test_by_the_codec_of_zarr_v2(self, kept: Any, decodes: list[Any]) -> None:
        codec = TilepressTile()
        record = codec.encode(VOLUME)
        first = codec.decode(record)
        first[...] = 0  # what a caller does with it, others do not see
        np.testing.assert_array_equal(codec.decode(record), VOLUME)
        assert len(decodes) == 1


class TestPlanes:
    def test_the_first_read_decodes_what_it_wants(self, kept: Any, decodes: list[Any]) -> None:
        array = _array((8, 48, 64), None)
        np.testing.assert_array_equal(array[5], VOLUME[5])
        np.testing.assert_array_equal(array[2:4, 7:9], VOLUME[2:4, 7:9])
        np.testing.assert_array_equal(array[6], VOLUME[6])
        assert decodes == [[5], None]

    def test_a_read_of_most_decodes_all(self, kept: Any, decodes: list[Any]) -> None:
        array = _array((8, 48, 64), None)
        np.testing.assert_array_equal(array[1:6], VOLUME[1:6])
        assert decodes == [None]

    @pytest.mark.parametrize("selection", [([1, 4],), ([0, 7], slice(3, 9)), (3, [1, 5], 9)])
    def test_lists_of_numbers(self, selection: Any, kept: Any) -> None:
        array = _array((4, 16, 32), (8, 48, 64))
        found = array.oindex[selection]
        want = VOLUME[selection[0]] if len(selection) < 3 else VOLUME[3][[1, 5]][:, 9]
        want = want[:, 3:9] if len(selection) == 2 else want
        np.testing.assert_array_equal(found, want)

    def test_points(self, kept: Any) -> None:
        array = _array((4, 16, 32), (8, 48, 64))
        at = ([0, 7, 3], [47, 0, 20], [63, 1, 40])
        np.testing.assert_array_equal(array.vindex[at], VOLUME[at])


class TestNothingIsTakenForAnother:
    def test_a_damaged_record_is_decoded_and_refused(self, kept: Any) -> None:
        """Header and checksum are those of the sound one, which was read just before."""
        codec = TilepressTileV3()
        record = codec.codec.encode(VOLUME[0])
        other = bytearray(record)
        other[len(record) // 2] ^= 1
        key = key_of(codec.configuration, memoryview(record), (48, 64), VOLUME.dtype)
        assert key == key_of(codec.configuration, memoryview(other), (48, 64), VOLUME.dtype)
        kept.put(key, memoryview(record), codec.codec.decode(record))
        assert kept.get(key, memoryview(other)) is None
        with pytest.raises((ChecksumMismatch, InvalidRecord)):
            codec.codec.decode(other)

    def test_a_chunk_of_another_shape_is_refused(self, kept: Any) -> None:
        numcodec = TilepressTile()
        record = numcodec.encode(VOLUME[:2, :8, :8])
        numcodec.decode(record)
        store = MemoryStore()
        array = zarr.create_array(
            store, shape=(2, 8, 16), dtype="u2", filters=None, compressors=None,
            chunks=(2, 8, 16), serializer=TilepressTileV3(),
        )  # fmt: skip
        from zarr.core.buffer.cpu import Buffer

        store._store_dict["c/0/0/0"] = Buffer.from_bytes(record)
        with pytest.raises(InvalidRecord):
            array[...]

    def test_what_a_reader_gets_is_its_own(self, kept: Any) -> None:
        array = _array((8, 48, 64), None)
        for _ in range(2):
            window = array[...]
            window[...] = 7
        np.testing.assert_array_equal(array[...], VOLUME)

    def test_writing_a_part_of_a_kept_chunk(self, kept: Any) -> None:
        array = _array((8, 48, 64), None)
        assert int(array[0, 0, 0]) == VOLUME[0, 0, 0]
        _ = array[...]
        array[0, 0, :5] = 3
        assert array[0, 0, :6].tolist() == [3] * 5 + [VOLUME[0, 0, 5]]


class TestBounds:
    def test_the_least_recently_used_go(self) -> None:
        chunks = DecodedChunks(5000)
        samples = {n: np.full(100, n, np.uint64) for n in range(9)}
        for n, array in samples.items():
            record = memoryview(bytes([n]) * 200)
            chunks.put(key_of("", record), record, array)
            if n > 0:
                first = memoryview(bytes(200))
                assert chunks.get(key_of("", first), first) is not None
            assert chunks.nbytes <= 5000
        assert len(chunks) == 5
        held = [
            n
            for n in samples
            if chunks.get(key_of("", r := memoryview(bytes([n]) * 200)), r) is not None
        ]
        assert held == [0, 5, 6, 7, 8]

    def test_a_large_chunk_is_not_kept(self) -> None:
        chunks = DecodedChunks(1000)
        record = memoryview(b"r" * 200)
        samples = np.zeros(100, np.uint8)
        assert chunks.put(key_of("", record), record, samples).flags.writeable
        assert not len(chunks)
        assert not chunks.nbytes

    def test_threads(self) -> None:
        chunks = DecodedChunks(20_000)

        def work(seed: int) -> None:
            for n in np.random.default_rng(seed).integers(0, 40, 500):
                record = memoryview(bytes([n]) * 100)
                key = key_of("", record)
                found = chunks.get(key, record)
                if found is None:
                    found = chunks.put(key, record, np.full(100, n, np.uint64))
                assert found[0] == n

        threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        kept = sum(one.nbytes for one in chunks._kept.values())
        assert kept == chunks.nbytes <= 20_000

    def test_what_is_known_by_its_place_counts_too(self) -> None:
        chunks = DecodedChunks(1000)
        for number in range(9):
            chunks.put_at(("here", number), np.full(300, number, np.uint8))
        assert chunks.nbytes == 900
        assert chunks.at(("here", 0)) is None
        np.testing.assert_array_equal(chunks.at(("here", 8)), np.full(300, 8))

    @pytest.mark.parametrize(
        ("said", "want"), [("", 2**28), ("0", 0), (" 0 ", 0), ("64MiB", 2**26), ("1000", 1000)]
    )
    def test_the_environment_says(
        self, said: str, want: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("TILEPRESS_CACHE", said)
        assert allowed_cache() == want

    def test_nonsense_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("TILEPRESS_CACHE", "much")
        with pytest.raises(UsageError, match="TILEPRESS_CACHE"):
            allowed_cache()

    def test_a_forked_child_starts_with_nothing(self, kept: DecodedChunks) -> None:
        decoded._forget()
        assert decoded_chunks() is not kept
