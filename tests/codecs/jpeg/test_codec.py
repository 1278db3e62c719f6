"""A record of JPEG streams gives samples to every reader and every byte back to who asks."""

from __future__ import annotations

import struct

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from tilepress.codecs.jpeg.codec import Grid, Refused, encode, streams
from tilepress.codecs.jpeg.render import IJG, YCC, render
from tilepress.codecs.jpeg.stream import read_stream, read_tables
from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.codecs.record import (
    HEADER_BYTES,
    RecordHeader,
    crc32c,
    keeps_streams,
    pack_record,
    unpack_record,
)
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import (
    ChecksumMismatch,
    CodecError,
    InvalidRecord,
    TooMuchMemory,
    UnsupportedArray,
    UnsupportedFormat,
)

from .pictures import abbreviated, jpeg, picture, samples_of

CODEC = TileCodec()


def chunk(
    rows: int, columns: int, side: int, height: int, width: int, sampling: str = "420"
) -> tuple[list[bytes], bytes, Grid, np.ndarray]:
    """Return the streams of tiles on a grid as TIFF has them, and the samples of their chunk."""
    image = picture(rows * side, columns * side, 5)
    whole = np.zeros((3, rows * side, columns * side), np.uint8)
    tiles, tables = [], b""
    for y in range(0, rows * side, side):
        for x in range(0, columns * side, side):
            data = jpeg(np.ascontiguousarray(image[y : y + side, x : x + side]), 80, sampling)
            whole[:, y : y + side, x : x + side] = samples_of(data)
            tables, rest = abbreviated(data)
            tiles.append(rest)
    samples = np.ascontiguousarray(whole[:, :height, :width])
    return tiles, tables, Grid(1, rows, columns, side, side), samples


class TestThereAndBack:
    @pytest.mark.parametrize("sampling", ["444", "422", "420"])
    def test_tiles_that_share_tables_clipped_at_the_border(self, sampling: str) -> None:
        tiles, tables, grid, samples = chunk(2, 3, 48, 90, 101, sampling)
        record = encode(tiles, samples, grid=grid, tables=tables)
        assert keeps_streams(record)
        assert streams(record) == tiles
        assert np.array_equal(CODEC.decode(record), samples)

    def test_a_frame_alone(self) -> None:
        data = jpeg(picture(61, 45))
        record = encode([data], samples_of(data))
        assert streams(record) == [data]
        assert np.array_equal(CODEC.decode(record), samples_of(data))
        assert len(record) < len(data)

    def test_a_grey_frame_of_two_axes(self) -> None:
        data = jpeg(picture(30, 45, bands=1))
        record = encode([data], samples_of(data)[0])
        assert np.array_equal(CODEC.decode(record), samples_of(data)[0])

    def test_frames_one_after_another(self) -> None:
        frames = [jpeg(picture(33, 40, seed)) for seed in range(3)]
        samples = np.concatenate([samples_of(data) for data in frames])
        record = encode(frames, samples)
        assert streams(record) == frames
        assert np.array_equal(CODEC.decode(record), samples)
        assert np.array_equal(CODEC.decode(record, planes=[4, 0]), samples[[4, 0]])

    def test_tiles_that_are_not_there(self) -> None:
        tiles, tables, grid, samples = chunk(2, 2, 32, 64, 64)
        samples[:, 32:, :32] = 0
        sparse = [tiles[0], tiles[1], None, tiles[3]]
        record = encode(sparse, samples, grid=grid, tables=tables)
        assert streams(record) == sparse
        assert np.array_equal(CODEC.decode(record), samples)

    def test_strips_the_last_of_which_is_lower(self) -> None:
        image = picture(40, 70)
        strips = [jpeg(np.ascontiguousarray(image[y : y + 16])) for y in (0, 16, 32)]
        samples = np.concatenate([samples_of(data) for data in strips], axis=1)
        record = encode(strips, samples, grid=Grid(1, 3, 1, 16, 70))
        assert streams(record) == strips
        assert np.array_equal(CODEC.decode(record), samples)

    def test_tiles_with_tables_of_their_own(self) -> None:
        image = picture(32, 64)
        tiles = [
            jpeg(np.ascontiguousarray(image[:, :32]), 50, "444", optimize=True),
            jpeg(np.ascontiguousarray(image[:, 32:]), 95, "444", optimize=True),
        ]
        samples = np.concatenate([samples_of(data) for data in tiles], axis=2)
        record = encode(tiles, samples, grid=Grid(1, 1, 2, 32, 32))
        assert streams(record) == tiles

    def test_samples_of_16_bits(self) -> None:
        data = jpeg(picture(20, 20, bands=1))
        for dtype in (np.uint16, np.int16):
            record = encode([data], samples_of(data).astype(dtype))
            assert CODEC.decode(record).dtype == dtype

    def test_of_the_ijgs_own_library(self) -> None:
        """GDAL's wheels have it: other samples where colour has fewer than brightness."""
        data = jpeg(picture(40, 56))
        stream, blocks = read_stream(data, read_tables(b""))
        samples = np.zeros((3, 40, 56), np.uint8)
        places = stream.own_places()[0]
        render(Grid(1, 1, 1, 40, 56), 0, stream, blocks, places, YCC, False, IJG, samples)
        assert not np.array_equal(samples, samples_of(data))
        record = encode([data], samples)
        assert np.array_equal(CODEC.decode(record), samples)
        assert not record[HEADER_BYTES] & 64, "no correction is needed"


class TestTheColourIsFound:
    def test_rgb_without_a_transform(self) -> None:
        data = jpeg(picture(40, 40), 85, "444", colorspace="RGB", outcolorspace="RGB")
        for colour in (None, "as coded"):
            record = encode([data], samples_of(data, colorspace="RGB"), colour=colour)
            assert streams(record) == [data]

    def test_ybr_left_as_it_is(self) -> None:
        data = jpeg(picture(40, 40), 85, "444")
        samples = samples_of(data, outcolorspace="YCBCR", colorspace="YCBCR")
        assert np.array_equal(CODEC.decode(encode([data], samples)), samples)

    def test_inverted_samples(self) -> None:
        data = jpeg(picture(40, 40, bands=1))
        record = encode([data], 255 - samples_of(data))
        assert np.array_equal(CODEC.decode(record), 255 - samples_of(data))


class TestOtherReaders:
    def test_few_other_samples_are_corrected(self) -> None:
        data = jpeg(picture(64, 64))
        samples = samples_of(data).astype(int)
        samples[np.random.default_rng(0).random(samples.shape) < 0.01] += 1
        samples = samples.clip(0, 255).astype(np.uint8)
        record = encode([data], samples)
        assert record[HEADER_BYTES] & 64
        assert np.array_equal(CODEC.decode(record), samples)
        assert streams(record) == [data]

    @pytest.mark.parametrize("precision", [8, 12])
    def test_samples_along_a_border_are_corrected_by_any_size(self, precision: int) -> None:
        """Of a part of a larger stream, whose decoder has smoothed colours across its borders."""
        how = {} if precision == 8 else {"bitspersample": 12}
        image = picture(64, 64, bands=1).astype(np.uint16) << (precision - 8)
        data = jpeg(image.astype(np.uint8 if precision == 8 else np.uint16), **how)
        samples = samples_of(data)
        samples[:, 0] = (1 << precision) - 1 - samples[:, 0]
        samples[:, :, -1] ^= 16
        record = encode([data], samples)
        assert record[HEADER_BYTES] & 192 == 192
        assert np.array_equal(CODEC.decode(record), samples)
        assert streams(record) == [data]

    def test_without_its_flag_a_correction_is_of_small_differences(self) -> None:
        data = jpeg(picture(64, 64))
        samples = samples_of(data)
        samples[:, 3] ^= 64
        header, payload = unpack_record(encode([data], samples))
        forged = pack_record(header, bytes([payload[0] & 127]) + bytes(payload[1:]))
        with pytest.raises(InvalidRecord, match="correction is impossible"):
            CODEC.decode(forged)

    def test_many_other_samples_are_refused(self) -> None:
        data = jpeg(picture(64, 64))
        with pytest.raises(Refused, match="of the samples are not those"):
            encode([data], picture(64, 64, 9).transpose(2, 0, 1).copy())


class TestRefuses:
    def test_what_does_not_fit_together(self) -> None:
        data, grey = jpeg(picture(32, 32)), jpeg(picture(32, 32, bands=1))
        samples = samples_of(data)
        for given, planes, grid, found in (
            ([data], samples[:2], None, "do not make 2 planes"),
            ([data, data], samples, None, "do not make 3 planes"),
            ([data, grey], samples, Grid(1, 1, 2, 32, 16), "differ"),
            ([data], samples.astype(np.float32), None, "float32"),
            ([data], samples, Grid(1, 1, 2, 32, 16), "got 1, want 2"),
            ([None], samples, None, "there is none"),
            ([b""], samples, None, "no start"),
            ([data], samples[:, :0], None, "of shape"),
        ):
            with pytest.raises(UnsupportedArray, match=found):
                encode(given, planes, grid=grid)

    def test_codes_that_say_the_same_in_more_words(self) -> None:
        """A run of 16 zeros before the end of a block: our writer leaves it out."""
        stream = jpeg(np.full((8, 8), 90, np.uint8), 50)
        at = stream.index(b"\xff\xda") + 10
        coded = stream[at:-2]
        bits = "".join(f"{byte:08b}" for byte in coded)
        end = bits.rindex("1010")  # end of block in the table of brightness
        more = bits[:end] + "11111111001" + "1010"
        more += "1" * (-len(more) % 8)
        data = int(more, 2).to_bytes(len(more) // 8, "big").replace(b"\xff", b"\xff\0")
        longer = stream[:at] + data + stream[-2:]
        assert np.array_equal(samples_of(longer), samples_of(stream))
        with pytest.raises(Refused, match="not written as"):
            encode([longer], samples_of(longer))


class TestReaders:
    """Records stand among those of any configuration."""

    def test_zarr_and_numcodecs(self) -> None:
        tiles, tables, grid, samples = chunk(2, 2, 32, 64, 64)
        record = encode(tiles, samples, grid=grid, tables=tables)
        store = MemoryStore()
        array = zarr.create_array(
            store, name="a", shape=(3, 64, 128), chunks=(3, 64, 64), dtype="uint8",
            serializer=TilepressTileV3(TileCodec(tier="fast")), compressors=None,
        )  # fmt: skip
        array[...] = 7
        key = next(k for k in store._store_dict if k.endswith("c/0/0/1"))
        store._store_dict[key] = type(store._store_dict[key]).from_bytes(record)
        assert np.array_equal(array[:, :, 64:], samples)
        assert np.all(array[:, :, :64] == 7)
        assert np.array_equal(TilepressTile().decode(record), samples)
        assert isinstance(numcodecs.get_codec({"id": "tilepress_tile"}), TilepressTile)

    def test_what_is_expected_is_compared(self) -> None:
        data = jpeg(picture(32, 32))
        record = encode([data], samples_of(data))
        with pytest.raises(InvalidRecord, match="it holds"):
            CODEC.decode(record, expect=((3, 32, 33), np.dtype(np.uint8)))

    def test_memory_is_bounded(self) -> None:
        data = jpeg(picture(200, 200))
        record = encode([data], samples_of(data))
        with pytest.raises(TooMuchMemory):
            CODEC.decode(record, max_memory=100_000)
        with pytest.raises(TooMuchMemory):
            streams(record, max_memory=100_000)

    def test_streams_of_other_records(self) -> None:
        record = CODEC.encode(picture(20, 20, bands=1))
        assert not keeps_streams(record)
        with pytest.raises(InvalidRecord, match="keeps none"):
            streams(record)

    def test_unknown_priors(self) -> None:
        data = jpeg(picture(20, 20))
        record = bytearray(encode([data], samples_of(data)))
        record[52:60] = b"\1" * 8
        record[-4:] = struct.pack("<I", crc32c(bytes(record[:-4])))
        with pytest.raises(UnsupportedFormat, match="priors"):
            CODEC.decode(bytes(record))


def repacked(header: RecordHeader, payload: bytes) -> bytes:
    return pack_record(header, payload)


class TestDamage:
    def test_never_gives_other_samples_or_streams(self) -> None:
        """Every checksum of the record renewed, so that the payload itself is what is attacked."""
        tiles, tables, grid, samples = chunk(1, 2, 24, 24, 40)
        header, payload = unpack_record(encode(tiles, samples, grid=grid, tables=tables))
        rng = np.random.default_rng(0)
        outcomes = set()
        for _ in range(300):
            damaged = bytearray(payload)
            at = int(rng.integers(0, len(damaged)))
            damaged[at] ^= int(rng.integers(1, 256))
            record = repacked(header, bytes(damaged))
            for read in (lambda r: [CODEC.decode(r)], streams):
                try:
                    got = read(record)
                except CodecError as error:
                    outcomes.add(type(error).__name__)
                    continue
                if isinstance(got[0], np.ndarray):
                    assert np.array_equal(got[0], samples)
                else:
                    assert got == tiles
        assert "InvalidRecord" in outcomes
        assert ChecksumMismatch.__name__ in outcomes


class TestColoursOfOtherComponents:
    def test_are_refused_both_ways(self) -> None:
        grey = jpeg(picture(16, 16, bands=1))
        with pytest.raises(UnsupportedArray, match="1 components for a colour made of 3"):
            encode([grey], samples_of(grey), colour="rgb")
        with pytest.raises(UnsupportedArray, match="want one of"):
            encode([grey], samples_of(grey), colour="grey")
        header, payload = unpack_record(encode([grey], samples_of(grey)))
        for colour in (1, 2):
            forged = pack_record(header, bytes([payload[0] | colour]) + bytes(payload[1:]))
            for read in (CODEC.decode, streams):
                with pytest.raises(InvalidRecord, match="made of"):
                    read(forged)


class TestBlankTilesTellNothing:
    def test_the_reader_is_found_by_tiles_with_colour(self) -> None:
        """The first tile of a slide is white: every library makes the same of it."""
        tiles = [jpeg(np.full((32, 32, 3), 240, np.uint8)), jpeg(picture(32, 32))]
        samples = np.zeros((3, 32, 64), np.uint8)
        for number, data in enumerate(tiles):
            stream, blocks = read_stream(data, read_tables(b""))
            places = stream.own_places()[0]
            grid = Grid(1, 1, 2, 32, 32)
            render(grid, number, stream, blocks, places, YCC, False, IJG, samples)
        record = encode(tiles, samples, grid=Grid(1, 1, 2, 32, 32))
        assert not record[HEADER_BYTES] & 64, "no correction is needed"
        assert np.array_equal(CODEC.decode(record), samples)
