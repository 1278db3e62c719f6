"""A configuration is closed: what it says is written in one way, anything else is refused."""

from __future__ import annotations

import hashlib
import json
import math
import re
from typing import Any

import pytest

from tilepress.codecs.config import CodecConfig, loss_of, lossless_config, scoped
from tilepress.codecs.loss import AtLeast, Lossless, Within, stated_loss
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError, UnsupportedFormat


def config(max_error: float = 0, nodata: float | None = None, **others: Any) -> CodecConfig:
    options = {"codec": "wave", "tier": "standard", "model": "auto"} | others
    return CodecConfig.of(max_error=max_error, nodata=nodata, **options)


class TestBytesOfMetadata:
    """They are part of the seal of every store."""

    @pytest.mark.parametrize(
        ("max_error", "nodata", "text"),
        [
            (0, None, '"max_error": 0, "nodata": null'),
            (0.0, 0, '"max_error": 0.0, "nodata": 0'),
            (2, -9999.0, '"max_error": 2, "nodata": -9999.0'),
            (0.25, math.nan, '"max_error": 0.25, "nodata": "NaN"'),
            (1.0, -math.inf, '"max_error": 1.0, "nodata": "-Infinity"'),
        ],
    )
    def test_are_as_ever(self, max_error: float, nodata: float | None, text: str) -> None:
        sha256 = load_named("wave-3").sha256
        written = json.dumps(config(max_error, nodata).to_json(), allow_nan=False)
        assert written == (
            f'{{"version": 1, "codec": "wave", "tier": "standard", {text}, '
            f'"model": {{"name": "wave-3", "sha256": "{sha256}", "weights": null}}}}'
        )
        parsed = CodecConfig.parse(json.loads(written))
        assert json.dumps(parsed.to_json()) == written
        assert parsed.loss == (Within(max_error) if max_error else Lossless())

    def test_of_a_mask_are_lossless_without_nodata(self) -> None:
        found = lossless_config(config(2, 7).to_json())
        assert found == config().to_json()
        assert CodecConfig.parse(found).loss == Lossless()


class TestOfWhatATargetHolds:
    """Version 4 says it, and only where it is not what versions 2 and 3 mean."""

    @pytest.mark.parametrize("within", [0, 3])
    @pytest.mark.parametrize("scope", [(True, False), (False, True), (True, True)])
    def test_comes_back(self, scope: tuple[bool, bool], within: float) -> None:
        plain = config(within, codec="ntc", targets={"psnr": 40.0}, peak=255.0).to_json()
        told = scoped(plain, per_tile=scope[0], visible=scope[1])
        assert told["version"] == 4
        assert told["target"] == {
            "psnr": 40.0,
            "peak": 255.0,
            "per": "tile" if scope[0] else "image",
            "over": "visible" if scope[1] else "present",
        }
        parsed = CodecConfig.parse(json.loads(json.dumps(told)))
        assert parsed.to_json() == told
        loss = parsed.loss
        assert isinstance(loss, AtLeast)
        assert (loss.per_tile, loss.visible, loss.within) == (*scope, within or None)
        assert loss_of(told) == loss
        assert stated_loss(loss.statement()) == loss

    def test_is_left_out_where_it_is_as_ever(self) -> None:
        plain = config(codec="ntc", targets={"psnr": 40.0}, peak=255.0).to_json()
        assert scoped(plain) == plain
        assert scoped(config(2).to_json(), per_tile=True, visible=True) == config(2).to_json()

    @pytest.mark.parametrize(
        ("version", "more"),
        [
            (4, {}),
            (4, {"per": "image", "over": "present"}),
            (4, {"per": "tile"}),
            (4, {"per": "tile", "over": "all"}),
            (4, {"per": True, "over": "visible"}),
            (4, {"per": [], "over": {}}),
            (2, {"per": "tile", "over": "present"}),
            (3, {"per": "tile", "over": "present"}),
            (4, {"per": "tile", "over": "present", "on": 1}),
        ],
    )
    def test_is_closed(self, version: int, more: dict[str, object]) -> None:
        plain = config(codec="ntc", targets={"psnr": 40.0}, peak=255.0).to_json()
        told = {**plain, "version": version, "target": {**plain["target"], **more}}
        with pytest.raises(UnsupportedFormat, match="got max_error None, target"):
            CodecConfig.parse(told)


class TestAnythingElseIsRefused:
    def test_a_peak_that_no_double_holds(self) -> None:
        plain = config(codec="ntc", targets={"psnr": 40.0}, peak=255.0).to_json()
        told = {**plain, "target": {"psnr": 40.0, "peak": 10**400}}
        with pytest.raises(UnsupportedFormat, match="got max_error None, target"):
            CodecConfig.parse(told)

    @pytest.mark.parametrize(
        ("change", "text"),
        [
            (
                {"version": 2},
                "got version 2, this tilepress reads 1, and 2 to 4 with a target; a newer one",
            ),
            ({"codec": "x"}, "got codec 'x', tier 'standard'"),
            ({"tier": "x"}, "got codec 'wave', tier 'x'"),
            ({"codec": [], "tier": {}}, "got codec [], tier {}"),
            ({"tier": {}}, "got codec 'wave', tier {}"),
            ({"model": None}, "got model None"),
            ({"max_error": -1}, "got max_error -1"),
            ({"max_error": True}, "got max_error True"),
            ({"max_error": 2**31}, "got max_error 2147483648"),
            ({"max_error": "0"}, "got max_error '0'"),
            ({"nodata": "inf"}, "got nodata 'inf'"),
            ({"nodata": [1]}, "got nodata [1]"),
            ({"nodata": False}, "got nodata False"),
            ({"extra": 1}, "got ['codec', 'extra', 'max_error', 'model', 'nodata', 'tier', "),
        ],
    )
    def test_in_words(self, change: dict[str, object], text: str) -> None:
        with pytest.raises(UnsupportedFormat, match=re.escape(text)):
            CodecConfig.parse({**config().to_json(), **change})

    @pytest.mark.parametrize("config", [None, [], "wave", {}])
    def test_what_is_no_configuration(self, config: object) -> None:
        with pytest.raises(UnsupportedFormat, match="reading a codec configuration: got"):
            CodecConfig.parse(config)

    def test_weights_that_nobody_has(self) -> None:
        lost = {"name": "mine", "sha256": hashlib.sha256(b"").hexdigest(), "weights": None}
        with pytest.raises(ModelError, match="models add"):
            CodecConfig.parse({**config().to_json(), "model": lost})

    @pytest.mark.parametrize(
        ("codec", "model", "owner"),
        [("ntc", "wave-2", "wave"), ("wave", "ntc-3", "ntc"), ("jpegxl", "mlp-1", "mlp")],
    )
    def test_a_model_of_another_codec_is_said_to_be_so(
        self, codec: str, model: str, owner: str
    ) -> None:
        want = f"{model!r} is of codec {owner!r}, not of {codec!r}; choose another"
        with pytest.raises(ModelError, match=re.escape(want)):
            TileCodec(codec, model=model, **({"psnr": 40} if codec == "ntc" else {}))

    def test_a_codec_that_always_loses_asks_how_much(self) -> None:
        want = "say how much may be lost (bits_per_sample or psnr or quality), or choose wave or "
        for codec in ("ntc", "mlp"):
            with pytest.raises(UnsupportedFormat, match=re.escape(want)):
                TileCodec(codec)

    def test_a_loss_that_a_codec_has_not_names_the_learned_one_first(self) -> None:
        with pytest.raises(UnsupportedFormat, match=r"'wave' is never lossy, .*; choose ntc or "):
            TileCodec("wave", psnr=40)

    @pytest.mark.parametrize(
        ("options", "text"),
        [
            ({"codec": "x"}, "got codec 'x', want one of wave, jpegxl, "),
            ({"tier": "x"}, "got tier 'x', want one of fast, standard, max"),
            ({"max_error": -1}, "got max_error -1, want 0 … 2^31"),
            ({"max_error": True}, "got max_error True, want a number"),
            ({"nodata": "7"}, "got nodata '7', want a number"),
        ],
    )
    def test_options_in_words(self, options: dict[str, Any], text: str) -> None:
        with pytest.raises(UnsupportedFormat, match=re.escape(f"making a codec: {text}")):
            config(**options)
