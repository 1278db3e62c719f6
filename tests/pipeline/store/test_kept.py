"""Streams go into a record if they are those of its samples."""

from __future__ import annotations

import imagecodecs
import numpy as np
import pytest

from tilepress.codecs.record import keeps_streams
from tilepress.codecs.tile import TileCodec, decode_chunk
from tilepress.errors import InvalidRecord
from tilepress.pipeline.image.streams import Streams
from tilepress.pipeline.store.kept import keep_streams, kept_streams

from ...helpers.samples import smooth

PICTURE = (smooth((32, 48)) >> 4).astype(np.uint8)


def streams_of(*tiles: np.ndarray, columns: int = 1) -> Streams:
    coded = tuple(imagecodecs.jpeg_encode(tile, level=90) for tile in tiles)
    height, width = tiles[0].shape
    return Streams(streams=coded, rows=1, columns=columns, height=height, width=width)


def samples_of(kept: Streams) -> np.ndarray:
    return np.stack([imagecodecs.jpeg_decode(one) for one in kept.streams])


def test_a_chunk_that_ends_with_the_image_is_filled_up():
    kept = streams_of(PICTURE[:, :24], PICTURE[:, 24:], columns=2)
    samples = np.concatenate(list(samples_of(kept)), axis=1)[:30, :41]
    record = keep_streams(kept, samples, (32, 48), 7)
    assert record is not None
    assert keeps_streams(record)
    assert tuple(kept_streams(record)) == kept.streams
    decoded = decode_chunk(TileCodec(), record, (32, 48), samples.dtype)
    assert np.array_equal(decoded[:30, :41], samples)
    assert (decoded[30:] == 7).all()
    assert (decoded[:, 41:] == 7).all()


@pytest.mark.parametrize(
    ("present", "chunk", "is_kept"),
    [((3,), (5,), True), ((1, 3), (1, 4), True), ((2, 2), (3, 2), True), ((2, 1), (2, 2), False)],
)
def test_planes_are_the_first_ones_of_a_chunk_or_not_kept(
    present: tuple[int, ...], chunk: tuple[int, ...], is_kept: bool
):
    count = int(np.prod(present))
    kept = streams_of(*[PICTURE] * count)
    samples = samples_of(kept).reshape(*present, 32, 48)
    record = keep_streams(kept, samples, (*chunk, 32, 48), 0)
    assert (record is not None) == is_kept
    if record is not None:
        decoded = decode_chunk(TileCodec(), record, (*chunk, 32, 48), samples.dtype)
        assert np.array_equal(decoded[tuple(slice(n) for n in present)], samples)


def test_samples_of_something_else_are_not_theirs():
    assert keep_streams(streams_of(PICTURE), PICTURE[::-1].copy(), (32, 48), 0) is None
    broken = Streams(streams=(b"no stream",), rows=1, columns=1, height=32, width=48)
    assert keep_streams(broken, PICTURE, (32, 48), 0) is None


def test_other_records_keep_none():
    assert not keeps_streams(TileCodec().encode(PICTURE))
    with pytest.raises(InvalidRecord):
        kept_streams(TileCodec().encode(PICTURE))
