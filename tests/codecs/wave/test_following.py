"""Weights that follow a plane are taken where they pay, and only there."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from tilepress.codecs.record import unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_encode
from tilepress.codecs.wave.backend import LinearPath
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.following import Following, blended, may_follow
from tilepress.codecs.wave.layout import MAX_FOLLOWED_ROWS, MAX_SETS
from tilepress.codecs.wave.linear import plain_linear
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import DecodedPlane, pack_linear, unpack_linear
from tilepress.codecs.wave.wire import Reader

from ..test_determinism import textures
from .planes import MODEL, field, holes, there_and_back

PLANE = textures(0, (150, 170))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[LinearPath | None]:
    """Return the paths that were taken, None for fixed weights."""
    found: list[LinearPath | None] = []
    follows = plane_encode.follows

    def seen(*asked: object) -> LinearPath | None:
        found.append(follows(*asked))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(plane_encode, "follows", seen)
    return found


class TestWhereTheyPay:
    def test_they_are_taken(self, taken: list[LinearPath | None]) -> None:
        body, _ = there_and_back(PLANE)
        fixed, _ = there_and_back(PLANE, coder=Coder(MODEL, following=None))
        assert len(body) < len(fixed)
        (path,) = taken
        assert path is not None
        assert (path.memory, path.far) in Following(0).tried
        assert path.blended == (len(path.weights) > 1)

    def test_of_planes_with_references_and_absent_samples(
        self, taken: list[LinearPath | None]
    ) -> None:
        """Whatever they cost here."""
        always = Coder(MODEL, following=Following(-9.0, ((13, 28),)))
        _, seen = there_and_back(PLANE, coder=always)
        assert isinstance(seen, DecodedPlane)
        mask = holes(1, PLANE.shape)
        there_and_back(PLANE * 3 + field(1, PLANE.shape, 900, 5), mask, (seen, seen), always)
        assert [path and (path.memory, path.far) for path in taken] == [(13, 28)] * 2

    def test_blended_where_half_of_a_plane_suits_each(self, taken: list[LinearPath | None]) -> None:
        mixed = np.where(
            np.indices(PLANE.shape)[1] % 40 < 20, PLANE, field(4, PLANE.shape, 900, 90)
        )
        body, _ = there_and_back(mixed, coder=Coder(load_model("wave-4")))
        unblended, _ = there_and_back(mixed, coder=Coder(load_model("wave-3")))
        assert len(body) < len(unblended)
        now, before = taken
        assert now is not None
        assert now.blended
        assert 2 <= len(now.weights) <= MAX_SETS
        assert before is None or not before.blended

    def test_of_planes_with_every_set(self) -> None:
        """One goes along beside those that the plane is fitted."""
        sixteen = replace(plain_linear(MODEL.linear[0]), weights=np.full((15, 39), 4))
        both = blended(sixteen, replace(plain_linear(MODEL.linear[0]), memory=6))
        assert len(both.weights) == MAX_SETS
        assert set(both.set_of_cell) == {1}
        packed = pack_linear(both, 12, 0)
        back = unpack_linear(Reader(memoryview(packed)), 0, 4)
        assert back.blended
        assert (back.weights[1:, :17] == 4).all()

    def test_not_of_noise(self, taken: list[LinearPath | None]) -> None:
        noise = np.random.default_rng(1).integers(0, 4000, (128, 128))
        there_and_back(noise)
        assert taken == [None]

    def test_not_where_they_save_too_little(self, taken: list[LinearPath | None]) -> None:
        there_and_back(PLANE, coder=Coder(MODEL, following=Following(0.5)))
        assert taken == [None]


class TestWhereTheyCannot:
    def test_of_small_or_endless_planes(self) -> None:
        assert not may_follow(63, 64)
        assert may_follow(64, 64)
        assert may_follow(MAX_FOLLOWED_ROWS, 8)
        assert not may_follow(MAX_FOLLOWED_ROWS + 1, 8)

    def test_with_weights_of_wave_2(self, taken: list[LinearPath | None]) -> None:
        there_and_back(PLANE, coder=Coder(load_model("wave-2")))
        there_and_back(PLANE, coder=Coder(replace(MODEL, form=2)))
        assert not taken
        record = TileCodec(model="wave-2").encode(PLANE.astype(np.uint16))
        assert unpack_record(record)[0].coder == 1

    def test_in_the_fast_tier(self, taken: list[LinearPath | None]) -> None:
        record = TileCodec(tier="fast").encode(PLANE.astype(np.uint16))
        assert unpack_record(record)[0].coder == 4
        assert not taken
