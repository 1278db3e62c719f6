"""A target of lossy coding is held by the chunks of a shard together."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tilepress.codecs.difference import Difference
from tilepress.codecs.tile import TileCodec, decode_chunk
from tilepress.pipeline.image.grid import ShardGrid
from tilepress.pipeline.store import target
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.target import code_for_target, is_held

from ...helpers.samples import smooth


class TestSlicesAreNoBands:
    """What is mixed of bands is not mixed of slices: there it costs more than it brings."""

    @pytest.mark.parametrize(("axis", "bands"), [(0, 3), (None, 1)])
    def test_a_lossy_codec_is_told_which_they_are(
        self, axis: int | None, bands: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        image = smooth((3, 32, 32))
        grid = ShardGrid(image.shape, image.shape, image.shape)
        told = []
        inner = target.encode_chunk_at

        def encode(*arguments: Any, bands: int | None) -> Any:
            told.append(bands)
            return inner(*arguments, bands=bands)

        monkeypatch.setattr(target, "encode_chunk_at", encode)
        codec = TileCodec("jpeg2000", psnr=40)
        encode_shard(codec, image, grid.box((0, 0, 0)), grid, (0, 0, 0), 0, band_axis=axis)
        assert set(told) == {bands}


class TestTogether:
    def test_all_chunks_hold_a_psnr_though_one_alone_does_not(self) -> None:
        """A flat chunk takes no error, a rough one more than its share."""
        rough = (np.random.default_rng(1).integers(0, 256, (64, 64))).astype(np.uint8)
        chunks = [np.full((64, 64), 9, np.uint8), rough]
        codec = TileCodec("jpeg2000", psnr=40, peak=255)
        records = code_for_target(codec, chunks, lambda one: one, [None, None], 36)
        decoded = [decode_chunk(codec, record, (64, 64), rough.dtype) for record in records]
        errors = [
            np.square(a.astype(float) - b).mean() for a, b in zip(chunks, decoded, strict=True)
        ]
        worst = 255**2 / 10**4
        assert sum(errors) / 2 <= worst < max(errors)

    def test_bits_are_never_above(self) -> None:
        chunk = (smooth((64, 64)) % 256).astype(np.uint8)
        codec = TileCodec("jpeg2000", bits_per_sample=2)
        (record,) = code_for_target(codec, [chunk], lambda one: one, [None], 20)
        assert 8 * (len(record) + 20) <= 2 * chunk.size

    def test_what_is_held(self) -> None:
        loss = TileCodec("jpeg2000", psnr=40, peak=255).loss
        assert is_held(loss, Difference(squared=100 * 6.5), 100)  # type: ignore[arg-type]
        assert not is_held(loss, Difference(squared=100 * 6.6), 100)  # type: ignore[arg-type]


class TestWhichChunksOtherCodecsAreTriedFor:
    """A few from all over; then all where one of them won, or those that look as if they might."""

    TEXTURE = (smooth((64, 64)) % 4000).astype(np.uint16)

    @staticmethod
    def _drawn() -> Any:
        out = np.full((64, 64), 900, np.uint16)
        out[20:23, 5:60] = out[30:50, 40:42] = 3000
        return out

    def _asked(self, chunks: list[Any], tier: str, monkeypatch: pytest.MonkeyPatch) -> list[int]:
        """Return the numbers of the chunks for which others were tried; none ever wins."""
        asked = []

        def never(codec: TileCodec, chunk: Any, found: Any, *_: Any, **__: Any) -> Any:
            asked.extend(n for n, one in enumerate(chunks) if one is chunk)
            return found

        monkeypatch.setattr(target, "smaller_chunk", never)
        codec = TileCodec("ntc", quality=50, peak=4000, tier=tier)
        code_for_target(codec, chunks, lambda one: one, [None] * len(chunks), 36)
        return sorted(asked)

    def test_a_few_of_chunks_that_are_alike(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [self.TEXTURE.copy() for _ in range(8)]
        assert self._asked(chunks, "standard", monkeypatch) == [1, 3, 5, 7]

    def test_the_one_that_is_drawn_among_them(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [self.TEXTURE.copy() for _ in range(8)]
        chunks[4] = self._drawn()
        assert self._asked(chunks, "standard", monkeypatch) == [1, 3, 4, 5, 7]

    def test_no_more_where_all_are_drawn_and_none_wins(
        self, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        chunks = [self._drawn() for _ in range(8)]
        assert self._asked(chunks, "standard", monkeypatch) == [1, 3, 5, 7]

    def test_every_one_of_the_tier_max(self, monkeypatch: pytest.MonkeyPatch) -> None:
        chunks = [self.TEXTURE.copy() for _ in range(8)]
        assert self._asked(chunks, "max", monkeypatch) == list(range(8))
