"""Arguments of compress and plan: those that are declared, checked before anything is done."""

from __future__ import annotations

import inspect
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tilepress
from tilepress.errors import UsageError
from tilepress.pipeline.archive.options import CODING_OPTIONS
from tilepress.workflows.run.parts import finish, plan

from .conftest import run


class TestTheSignature:
    """What ``help(tilepress.compress)`` and editors show."""

    @pytest.mark.parametrize("function", [tilepress.compress, plan])
    def test_it_names_every_option_with_its_default(self, function: Callable[..., Any]):
        parameters = inspect.signature(function).parameters
        for option in CODING_OPTIONS:
            assert parameters[option.name].default == option.default
            assert parameters[option.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert not [p for p in parameters.values() if p.kind is inspect.Parameter.VAR_KEYWORD]

    @pytest.mark.parametrize("function", [tilepress.compress, plan])
    def test_a_name_that_is_none_is_refused_before_anything_is_done(
        self, function: Callable[..., Any], tmp_path: Any
    ):
        with pytest.raises(TypeError, match="got an unexpected keyword argument 'worker'"):
            function("a.tif", tmp_path / "out", worker=2)
        assert not list(tmp_path.iterdir())

    def test_the_docstring_tells_of_every_option(self):
        text = inspect.getdoc(tilepress.compress) or ""
        named = {
            name.strip()
            for line in text.splitlines()
            if line.endswith(" :")
            for name in line.removesuffix(" :").split(",")
        }
        assert named == set(inspect.signature(tilepress.compress).parameters)


class TestOptionsThatMeanNothingTogether:
    """Each is refused in a line that says which, before anything is read or trained."""

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            ({"psnr": 45, "tune": 120}, "--tune .* 'wave' alone, got codec 'ntc' .what --psnr"),
            ({"codec": "jpegxl", "tune": 120}, "--tune .* 'wave' alone, got codec 'jpegxl'$"),
            ({"codec": "mlp", "quality": 50, "tune": 120}, "--tune .* got codec 'mlp'$"),
            ({"codec": "mlp", "quality": 50, "tier": "max"}, "with codec 'mlp'.* tier 'max'"),
            ({"psnr": 45, "model": "wave-3"}, "'ntc' .what --psnr means.: .* not of 'ntc'"),
            ({"codec": "jpegxl", "model": "wave-3"}, "with codec 'jpegxl': .* not of 'jpegxl'"),
            ({"model": "ntc-2"}, "with codec 'wave': .* not of 'wave'"),
            ({"lossless_for": "*QA*"}, "--lossless-for needs a loss"),
            ({"lossless_for": "*QA*", "max_error": 0, "codec": "jpegxl"}, "needs a loss"),
        ],
    )
    def test_they_are_refused(self, tmp_path: Path, options: dict[str, Any], said: str):
        with pytest.raises(UsageError, match=said) as caught:
            run(tmp_path / "no-such.tif", tmp_path / "out", **options)
        assert "\n" not in str(caught.value)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("loss", [{"max_error": 2}, {"psnr": 45}])
    def test_what_stays_lossless_goes_with_any_loss(self, tmp_path: Path, loss: dict[str, Any]):
        report = run(tmp_path / "no-such.tif", tmp_path / "out", lossless_for="*QA*", **loss)
        assert [failure.kind for failure in report.failures] == ["source"]


class TestImpossibleOptions:
    """They are told before anything is done."""

    @pytest.mark.parametrize(
        "options", [{"max_error": -1}, {"max_error": float("nan")}, {"tile": 0}, {"workers": -2},
         {"max_error": float("inf")}, {"max_error": 2**31}, {"tile": 15}, {"tile": 2049},
         {"planes_per_chunk": -1}, {"planes_per_chunk": 65}, {"for_": "reading"},
         {"codec": "jpeg"}, {"tier": "best"}, {"model": "no-such"}, {"model": "no.safetensors"}],
    )  # fmt: skip
    def test_impossible_options_are_usage_errors(
        self, image: Path, tmp_path: Path, options: dict[str, object]
    ):
        with pytest.raises(UsageError):
            run(image, tmp_path / "x.zarr", **options)
        assert [path.name for path in tmp_path.iterdir()] == [image.name]


class TestPlanesOfARecord:
    """Who reads single slices or bands may ask for records of few planes."""

    def test_the_store_has_them_and_is_known_again(self, image: Path, tmp_path: Path):
        store, options = tmp_path / "x.zarr", {"planes_per_chunk": 1}
        assert run(image, store, **options).written == 1
        assert tilepress.open(store)["image"].encoding["chunks"] == (1, 150, 200)
        assert tilepress.verify(store, source=image) == []
        assert run(image, store, **options).unchanged == 1

    def test_another_number_is_another_plan(self, image: Path, tmp_path: Path):
        store = tmp_path / "x.zarr"
        assert run(image, store, planes_per_chunk=1).ok
        (failure,) = run(image, store, planes_per_chunk=2).failures
        assert failure.kind == "destination-conflict"
        assert tilepress.open(store)["image"].encoding["chunks"] == (1, 150, 200)

    def test_parts_keep_to_it(self, image: Path, tmp_path: Path):
        out, options = tmp_path / "out", {"planes_per_chunk": 2, "for_": "training"}
        for part in ("1/2", "0/2"):
            run(image, out, part=part, workers=None, **options)
        assert finish(out).ok
        store = out / "scene.zarr"
        assert tilepress.open(store)["image"].encoding["chunks"] == (2, 150, 200)
        assert tilepress.verify(store, source=image) == []

    def test_a_purpose_is_told_by_the_report(self, image: Path, tmp_path: Path):
        done = run(image, tmp_path / "x.zarr", for_="training", report=tmp_path / "report.json")
        options = json.loads((tmp_path / "report.json").read_text())["run"]["options"]
        assert done.ok
        assert (options["for_"], options["tile"], options["tier"]) == ("training", 256, "fast")
