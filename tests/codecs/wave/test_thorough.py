"""The best of all paths, by what a plane takes as it is coded."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_encode, thorough
from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.following import Following
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import DecodedPlane
from tilepress.codecs.wave.rans import LANES
from tilepress.codecs.wave.thorough import Best

from ..test_determinism import textures
from .planes import field, holes, there_and_back
from .test_grow import posterised

MODEL = load_model("wave-4-max")
SOME = Coder(MODEL, trees=TreeEffort(8.0, 1 << 18), following=Following(0))
ALL = replace(SOME, thorough=True)
PLANE = textures(0, (150, 170))


@pytest.fixture
def taken(monkeypatch: pytest.MonkeyPatch) -> list[Best]:
    """Return what was found best."""
    found: list[Best] = []
    best_path = plane_encode.best_path

    def seen(*asked: object) -> Best:
        found.append(best_path(*asked))  # type: ignore[arg-type]
        return found[-1]

    monkeypatch.setattr(plane_encode, "best_path", seen)
    return found


class TestBestPath:
    @pytest.mark.parametrize("levels", [6, 900])
    def test_takes_no_more_than_what_some_rows_choose(self, levels: int) -> None:
        plane = PLANE * levels // int(PLANE.max())
        assert len(there_and_back(plane, coder=ALL)[0]) <= len(there_and_back(plane, coder=SOME)[0])

    def test_by_rows_that_a_trial_does_not_see(self, taken: list[Best]) -> None:
        """Its 64 rows in the middle are noise, which nothing predicts."""
        plane = np.concatenate([textures(1, (90, 170)), textures(2, (90, 170))])
        noise = np.random.default_rng(1).integers(0, int(plane.max()) + 1, (70, 170))
        plane[55:125] = noise
        seen, unseen = (len(there_and_back(plane, coder=coder)[0]) for coder in (ALL, SOME))
        assert seen < unseen
        assert taken[0].path.memory

    def test_with_references_and_absent_samples(self, taken: list[Best]) -> None:
        _, first = there_and_back(PLANE, coder=ALL)
        assert isinstance(first, DecodedPlane)
        mask = holes(1, PLANE.shape)
        there_and_back(PLANE * 3 + field(1, PLANE.shape, 900, 5), mask, (first, first), ALL)
        assert len(taken) == 2

    def test_a_coding_is_used_as_it_was_found(
        self, taken: list[Best], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Trees take time: what was grown in the trial is not grown again."""

        def never(*_: object) -> None:
            raise AssertionError("chosen twice")

        monkeypatch.setattr(plane_encode, "choose_coding", never)
        there_and_back(PLANE, coder=ALL)
        assert len(taken) == 1

    def test_no_tree_for_paths_that_are_far_off(self, monkeypatch: pytest.MonkeyPatch) -> None:
        grown: list[float] = []
        with_tree = thorough.with_tree

        def seen(*asked: object) -> object:
            grown.append(asked[-1])  # type: ignore[arg-type]
            return with_tree(*asked)  # type: ignore[arg-type]

        monkeypatch.setattr(thorough, "with_tree", seen)
        there_and_back(PLANE, coder=ALL)
        assert 1 <= len(grown) <= 4
        assert max(grown) < 1.1 * min(grown)

    def test_streams_of_weights_that_follow_have_few_lanes(self, taken: list[Best]) -> None:
        """No GPU decodes these, and each lane takes bytes."""
        there_and_back(PLANE, coder=ALL)
        assert taken[0].path.memory
        assert taken[0].coding.lanes == 4
        there_and_back(PLANE[:50, :60], coder=ALL)  # too small for such weights
        assert not taken[1].path.memory
        assert taken[1].coding.lanes == LANES[-1]

    def test_small_planes(self) -> None:
        for shape in ((1, 2), (3, 200), (1, 4096), (63, 64), (200, 9)):
            there_and_back(field(3, shape, 300, 3), coder=ALL)


class TestGainAndFlags:
    """Where a sample takes few bits they are chosen by what the plane takes with a tree."""

    @pytest.mark.parametrize("levels", [3, 6])
    def test_less_than_by_what_errors_take_without(
        self, levels: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        plane = posterised(1, (120, 131), levels)
        body, _ = there_and_back(plane, coder=ALL)
        monkeypatch.setattr(thorough, "_FEW_BITS", 0)
        assert len(body) < 0.97 * len(there_and_back(plane, coder=ALL)[0])

    def test_with_references_and_absent_samples(self) -> None:
        first, second = posterised(5, (90, 83)), posterised(7, (90, 83))
        refs = tuple(there_and_back(plane, coder=ALL)[1] for plane in (first, second))
        there_and_back(np.maximum(first, second), holes(4, (90, 83)), refs, ALL)

    def test_each_way_is_tried_once(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried: list[tuple[int, int, bool]] = []
        with_tree = thorough.with_tree

        def seen(*asked: Any) -> object:
            flagged = asked[5] if len(asked) > 5 else bool(asked[3].choices.match_levels.any())
            tried.append((id(asked[1]), asked[3].choices.gain, flagged))
            return with_tree(*asked)

        monkeypatch.setattr(thorough, "with_tree", seen)
        there_and_back(posterised(1, (120, 131)), coder=ALL)
        assert len({prediction for prediction, *_ in tried}) < len(tried)
        assert len(set(tried)) == len(tried)

    def test_not_where_samples_take_many_bits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """It would take time, and save nothing."""

        def never(*_: object) -> None:
            raise AssertionError("searched")

        monkeypatch.setattr(thorough, "_searched", never)
        there_and_back(PLANE, coder=ALL)

    def test_without_a_network_there_is_no_gain(self) -> None:
        layers = {
            "hidden": tuple(part[:0] for part in MODEL.layers["hidden"]),
            "output": (MODEL.layers["output"][0][:, :0], *MODEL.layers["output"][1:]),
        }
        model = replace(MODEL, layers=layers)
        there_and_back(posterised(1, (120, 131)), coder=replace(ALL, model=model))


class TestTiers:
    def test_max_looks_at_all_of_it_others_do_not(self, taken: list[Best]) -> None:
        samples = PLANE.astype(np.uint16)
        for tier in ("fast", "standard"):
            TileCodec(tier=tier).encode(samples)
        TileCodec(tier="standard", model="wave-4").encode(samples)
        assert not taken
        TileCodec(tier="max").encode(samples)
        assert len(taken) == 1

    def test_with_weights_of_before_max_writes_what_it_wrote(self, taken: list[Best]) -> None:
        for model in ("wave-2-max", "wave-3-max"):
            TileCodec(tier="max", model=model).encode(PLANE.astype(np.uint16))
        assert not taken
