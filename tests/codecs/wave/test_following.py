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
from tilepress.codecs.wave.following import Following, may_follow
from tilepress.codecs.wave.layout import MAX_FOLLOWED_ROWS
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import DecodedPlane

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
        assert len(path.weights) == 1

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
