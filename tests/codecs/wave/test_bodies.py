"""Of what is tried the smallest is taken: colours, and masks that are better left out."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs.wave import bodies
from tilepress.codecs.wave.backend import TreeEffort
from tilepress.codecs.wave.bodies import choose_colours, encode_planes, span
from tilepress.codecs.wave.chunk import decode_chunk, encode_chunk
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.colour import LESS_GREEN, YCBCR, YCOCG, Group, transformed, undone
from tilepress.codecs.wave.plane_encode import Coder
from tilepress.codecs.wave.plane_format import DecodedPlane

CODER = Coder(load_model("auto"))
FORMER = Coder(load_model("wave-2"))
U1, U2 = np.dtype(np.uint8), np.dtype("<u2")


def field(seed: int, top: int, noise: int = 2, shape: tuple[int, int] = (80, 70)) -> np.ndarray:
    rng = np.random.default_rng(seed)
    smooth = rng.integers(-8, 9, shape).cumsum(0).cumsum(1)
    smooth -= smooth.min()
    return smooth * top // smooth.max() + rng.integers(0, noise + 1, shape)


def of_kind(kind: int, seed: int = 0) -> np.ndarray:
    """Colours of which smooth planes are made by a transform."""
    apart = [field(seed + k, 40, 0) - 20 for k in range(2)]
    if kind == YCBCR:
        coded = [apart[0] + 128, 60 + field(seed + 9, 130, 40), apart[1] + 128]
    else:
        coded = [apart[0], 60 + field(seed + 9, 130, 40), apart[1]]
    group = Group(0, kind)
    rgb = [undone(group, k, dict(enumerate(coded))) for k in range(3)]
    return np.clip(np.stack(rgb), 0, 255)


def chosen(rgb: np.ndarray, mask: np.ndarray | None = None, coder: Coder = CODER, **more: object):
    asked = {"bands": len(rgb), "dtype": U1, "step": 1} | more
    return choose_colours(rgb, mask, asked.pop("bands"), coder, *asked.values())


class TestColours:
    @pytest.mark.parametrize("kind", [YCOCG, YCBCR, LESS_GREEN])
    def test_are_those_that_planes_are_smallest_with(self, kind: int) -> None:
        rgb = of_kind(kind)
        planes, mask, groups = chosen(rgb)
        assert groups == [Group(0, kind)]
        assert mask is None
        assert np.array_equal(planes, transformed(rgb, kind))

    def test_are_none_of_planes_that_do_not_tell_of_one_another(self) -> None:
        rgb = np.stack([field(k, 200, 3) for k in range(3)])
        assert chosen(rgb) == (rgb, None, [])

    def test_leave_a_fourth_band_alone(self) -> None:
        one = np.concatenate([of_kind(YCBCR), field(4, 200)[None]])
        rgba = np.concatenate([one, one[::-1], one])
        planes, _, groups = chosen(rgba, bands=4)
        assert groups[0] == Group(0, YCBCR)
        assert groups[-1] == Group(8, YCBCR)
        for first in (0, 4, 8):
            assert np.array_equal(planes[first + 3], rgba[first + 3])

    @pytest.mark.parametrize(
        "more", [{"bands": 1}, {"bands": 2}, {"dtype": np.dtype("<u4")}, {"dtype": np.dtype("<f2")}]
    )
    def test_are_of_three_or_four_bands_of_integers_of_two_bytes(
        self, more: dict[str, object]
    ) -> None:
        rgb = np.concatenate([of_kind(YCBCR)] * 2)
        assert chosen(rgb, **more) == (rgb, None, [])

    def test_are_not_of_bytes_on_a_grid_or_beyond(self) -> None:
        rgb = of_kind(YCBCR)
        for more in ({"dtype": U2}, {"step": 3}):
            assert all(group.kind != YCBCR for group in chosen(rgb, **more).groups)

    def test_of_format_2_are_those_that_it_has(self) -> None:
        for kind in (YCOCG, YCBCR, LESS_GREEN):
            assert chosen(of_kind(kind), coder=FORMER).groups in ([], [Group(0)])

    def test_must_save_something(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is hardly saved in a trial, trees and weights that follow win back."""
        rgb = of_kind(LESS_GREEN)
        for colours, groups in ((9960, []), (9940, [Group(0, YCOCG)])):
            sizes = iter([10**6, 99 * 10**4, 10**6, 100 * colours, 10**6])
            monkeypatch.setattr(bodies, "_TRIALS", dict.fromkeys((3, 4), bodies._Trial(1, 99)))
            monkeypatch.setattr(bodies, "_bits", lambda *_, sizes=sizes, **more: next(sizes))
            assert chosen(rgb).groups == groups

    @pytest.mark.parametrize(("bits", "trees"), [(3.0, True), (3.5, False)])
    def test_that_save_little_of_few_bits_are_tried_with_trees(
        self, bits: float, trees: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        rgb, tried = of_kind(LESS_GREEN), []

        def encode(*args):
            tried.append(args[-1].trees)
            return [((), False, bytes(900 if np.array_equal(args[0], rgb) else 910))]

        plain = bits * rgb.size
        sizes = iter([plain, 0.97 * plain, plain, 0.97 * plain, plain])
        quick = []

        def bits_of(*_, **more):
            quick.append(more["quick"])
            return next(sizes)

        monkeypatch.setattr(bodies, "_bits", bits_of)
        monkeypatch.setattr(bodies, "encode_planes", encode)
        monkeypatch.setattr(bodies, "_TRIALS", dict.fromkeys((3, 4), bodies._Trial(1, 99)))
        assert (chosen(rgb).groups == []) == trees
        assert tried == [TreeEffort(3.25, 1 << 13)] * (2 * trees)
        assert quick == [True] * 3 + [False] * (2 * (not trees))

    def test_of_format_2_are_tried_without_trees(self, monkeypatch: pytest.MonkeyPatch) -> None:
        tried = []

        def encode(*args):
            tried.append(args[-1])
            return encode_planes(*args)

        monkeypatch.setattr(bodies, "encode_planes", encode)
        chosen(of_kind(YCOCG), coder=FORMER)
        assert len(tried) == 2
        assert {(coder.trees, coder.following) for coder in tried} == {(TreeEffort(0, 0), None)}

    def test_are_tried_where_a_plane_is_busy(self) -> None:
        """All of the middle is one colour: a strip of it would tell nothing."""
        rgb = np.full((3, 400, 70), 9)
        rgb[:, :80] = rgb[:, 320:] = of_kind(YCBCR)
        assert chosen(rgb).groups == [Group(0, YCBCR)]


class TestMasks:
    def test_that_are_one_stay(self) -> None:
        rgb = of_kind(YCBCR)
        mask = np.zeros(rgb.shape, np.bool_)
        mask[:, 10:60, 20:] = True
        rgb[mask] = 0
        planes, left, groups = chosen(rgb, mask)
        assert groups == [Group(0, YCBCR)]
        assert left is mask
        assert not np.array_equal(planes, rgb)

    def test_that_differ_are_left_out_where_colours_save_more(self) -> None:
        rgb = of_kind(YCBCR)
        mask = rgb == int(np.median(rgb[0]))
        assert mask.any(axis=(1, 2)).all()
        two = np.concatenate([rgb, rgb]), np.concatenate([mask, mask])
        _, left, groups = chosen(*two, bands=3)
        assert groups == [Group(0, YCBCR), Group(3, YCBCR)]
        assert left is None

    def test_that_differ_stay_where_samples_are_not_what_is_coded(self) -> None:
        rgb = of_kind(YCBCR)
        mask = rgb == int(np.median(rgb[0]))
        for more in ({"step": 3}, {"dtype": np.dtype(np.float16)}):
            assert chosen(rgb, mask, **more) == (rgb, mask, [])

    def test_of_format_2_keep_colours_away(self) -> None:
        rgb = of_kind(YCOCG)
        assert chosen(rgb, rgb == 77, coder=FORMER).groups == []


class TestChunks:
    """What is chosen comes back, whole and plane by plane."""

    @pytest.mark.parametrize("coder", [CODER, FORMER], ids=["form 3", "form 2"])
    @pytest.mark.parametrize("error", [0, 2])
    @pytest.mark.parametrize("holes", ["none", "same", "other"])
    @pytest.mark.parametrize("kind", [YCOCG, YCBCR, LESS_GREEN])
    def test_come_back(self, coder: Coder, error: int, holes: str, kind: int) -> None:
        samples = (of_kind(kind)[:, :40, :45]).astype(np.uint8)
        absent = None if holes == "none" else np.array(samples[1, 20, 20])
        if holes == "same":
            samples[:, 10:30, 5:20] = absent
            samples[0][samples[0] == absent] += 1
            samples[:, 10:30, 5:20] = absent
        coded = encode_chunk(samples, absent, error, coder, 3)
        assert coded is not None
        payload, given = coded
        assert np.abs(given.astype(int) - samples).max() <= error
        if absent is not None:
            assert np.array_equal(given == absent, samples == absent)
        asked = (memoryview(payload), samples.shape, samples.dtype, coder.model)
        form = coder.model.form
        assert np.array_equal(decode_chunk(*asked, form=form), given)
        for index in range(3):
            part = decode_chunk(*asked, frozenset([index]), form=form)
            assert np.array_equal(part[index], given[index])

    def test_of_two_bytes_come_back(self) -> None:
        samples = (of_kind(LESS_GREEN) * 200).astype("<u2") + field(1, 500, 90)[None].astype("<u2")
        coded = encode_chunk(samples, None, 0, CODER, 3)
        assert coded is not None
        back = decode_chunk(memoryview(coded[0]), samples.shape, samples.dtype, CODER.model)
        assert np.array_equal(back, samples)


class TestSpan:
    def test_is_of_the_samples_that_are_there(self) -> None:
        plane = np.arange(12).reshape(3, 4)
        assert span(plane, None) == (0, 11)
        assert span(plane, plane < 5) == (5, 11)
        assert span(plane, plane >= 0) is None


class TestTheOrderOfThreePlanes:
    """``max`` tries others than green, red, blue."""

    MAX = Coder(load_model("wave-4-max"), thorough=True)

    def referred(
        self, monkeypatch: pytest.MonkeyPatch, coder: Coder, saved: float
    ) -> list[tuple[int, ...]]:
        """Return what planes refer to where a trial says that red is best coded first."""

        def tried(
            samples: np.ndarray, _mask: object, refs: list[DecodedPlane], *_: object, **__: object
        ) -> tuple[float, DecodedPlane]:
            known = [int(ref.samples[0, 0]) for ref in refs]
            here = DecodedPlane(samples.astype(np.int32), samples.astype(np.int32), None)
            return 1000.0 - 500 * bool(known) - saved * (0 in known), here

        monkeypatch.setattr(bodies, "plane_bits", tried)
        base = np.random.default_rng(5).integers(0, 60, (1, 40, 50)).cumsum(-1)
        planes = base + np.arange(3)[:, None, None]
        planes[:, 0, 0] = np.arange(3)
        return [refs for refs, _, _ in encode_planes(planes, None, 3, coder)]

    def test_is_the_one_that_takes_least(self, monkeypatch: pytest.MonkeyPatch) -> None:
        red, green, blue = self.referred(monkeypatch, self.MAX, saved=5)
        assert (red, green, len(blue)) == ((), (0,), 1)

    @pytest.mark.parametrize(
        "coder",
        [
            Coder(load_model("wave-4-max")),
            Coder(load_model("wave-3-max"), thorough=True),
            Coder(load_model("wave-4-max"), thorough=True, following=None),
        ],
    )
    def test_others_code_green_first(self, monkeypatch: pytest.MonkeyPatch, coder: Coder) -> None:
        assert self.referred(monkeypatch, coder, saved=5)[1] == ()

    def test_so_does_max_where_that_is_about_as_good(self, monkeypatch: pytest.MonkeyPatch) -> None:
        assert self.referred(monkeypatch, self.MAX, saved=0.5)[1] == ()

    def test_stays_where_no_plane_tells_of_another(self) -> None:
        noise = np.random.default_rng(6).integers(0, 50, (3, 70, 80)).astype(np.int64)
        assert bodies._least_order(noise, None, self.MAX.model) is None
        assert bodies._least_order(noise * 0, None, self.MAX.model) is None
