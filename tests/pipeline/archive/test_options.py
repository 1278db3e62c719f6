"""Options of coding are declared once: what derives from the declaration agrees with it."""

from __future__ import annotations

from types import NoneType
from typing import get_args, get_type_hints

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.archive.options import CODING_OPTIONS, CodingOptions, EncodeOptions


class TestTheDeclaration:
    """Type checkers read a second list, which must say the same."""

    def test_keyword_arguments_have_the_names_and_types_of_the_fields(self):
        hints = get_type_hints(CodingOptions)
        types = {
            name: next(one for one in (*get_args(hint), hint) if one is not NoneType)
            for name, hint in hints.items()
        }
        assert types == {option.name: option.type for option in CODING_OPTIONS}

    def test_every_option_tells_what_it_is_and_has_a_default_of_its_type(self):
        for option in CODING_OPTIONS:
            assert option.description.help.endswith(".")
            assert type(option.default) is option.type
            takes_value = option.type is not bool
            told = bool(option.description.choices) != bool(option.description.metavar)
            assert told == takes_value


class TestWhatIsGiven:
    """Callers give some of them; what they give is told in requests and comes back from there."""

    def test_what_is_not_given_has_its_default(self):
        assert EncodeOptions.of({}) == EncodeOptions()
        assert EncodeOptions.of({"codec": None, "tile": 64}) == EncodeOptions(tile=64)

    def test_a_bound_is_a_number_whatever_it_was_given_as(self):
        assert repr(EncodeOptions.of({"max_error": 2}).max_error) == "2.0"

    def test_a_name_that_is_no_option_is_refused(self):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'til'"):
            EncodeOptions.of({"til": 64})  # type: ignore[typeddict-unknown-key]

    def test_json_and_back(self):
        options = EncodeOptions(max_error=1.5, tier="max", tile=64)
        told = options.to_json()
        assert list(told) == ["codec", "max_error", "tier", "model", "tile"]
        assert EncodeOptions.from_json({"sources": ["a.tif"], **told}) == options

    def test_a_plan_of_before_an_option_was_there_means_its_default(self):
        told = EncodeOptions(tile=64).to_json()
        del told["tier"]
        assert EncodeOptions.from_json(told) == EncodeOptions(tile=64)


class TestAPurpose:
    """It suggests, and whoever says more knows better."""

    def test_training_means_small_tiles_that_decode_fast(self):
        options = EncodeOptions.of({"for_": "training"})
        assert (options.tile, options.tier) == (256, "fast")
        assert options.to_json()["for_"] == "training"
        assert EncodeOptions.from_json(options.to_json()) == options

    @pytest.mark.parametrize(
        ("given", "tile", "tier"),
        [
            ({"tile": 512}, 512, "fast"),
            ({"tier": "max"}, 256, "max"),
            ({"tile": 128, "tier": "standard"}, 128, "standard"),
            ({"tile": None}, 256, "fast"),
        ],
    )
    def test_what_is_given_wins(self, given: CodingOptions, tile: int, tier: str):
        options = EncodeOptions.of({"for_": "training", **given})
        assert (options.tile, options.tier) == (tile, tier)

    @pytest.mark.parametrize("given", [{"codec": "jpegxl"}, {"model": "wave-standard"}])
    def test_a_tier_is_chosen_only_where_there_are_tiers(self, given: CodingOptions):
        assert EncodeOptions.of({"for_": "training", **given}).tier == "standard"

    def test_another_purpose_is_refused(self):
        with pytest.raises(UsageError, match="got --for 'reading', want training"):
            EncodeOptions.of({"for_": "reading"})


class TestTheTileOfATier:
    def test_max_has_larger_ones(self) -> None:
        options = EncodeOptions.of({"tier": "max"})
        assert options.tile == 1024
        assert EncodeOptions.from_json(options.to_json()) == options
        assert EncodeOptions.of({"tier": "standard"}).tile == 512

    @pytest.mark.parametrize(
        ("more", "tile"),
        [
            ({"tile": 512}, 512),
            ({"tile": None}, 1024),
            ({"codec": "jpegxl"}, 512),
            ({"quality": 80.0}, 512),
            ({"model": "wave-3-max"}, 512),
        ],
    )
    def test_unless_one_is_given_or_the_tier_is_not_used(
        self, more: CodingOptions, tile: int
    ) -> None:
        assert EncodeOptions.of({"tier": "max", **more}).tile == tile


class TestATargetOfNothing:
    """0 stands for "not given" in the fields; nobody may say it and get a lossless store."""

    @pytest.mark.parametrize("name", ["quality", "psnr", "bits_per_sample", "bpp"])
    def test_is_refused(self, name: str) -> None:
        for value in (0, 0.0, -3.0):
            with pytest.raises(UsageError, match=f"got {name.replace('_', '-')} "):
                EncodeOptions.of({name: value})  # type: ignore[misc]
        assert EncodeOptions.of({name: None}).losses == ()  # type: ignore[misc]
        assert EncodeOptions.of({"max_error": 0}).loss.is_lossless
