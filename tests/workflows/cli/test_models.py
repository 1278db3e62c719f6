"""Models on the command line: list, show, add, and what training refuses."""

from __future__ import annotations

from pathlib import Path

import pytest

from tilepress.codecs.weights import bundled_decoders, known_models

from .conftest import Command


class TestModels:
    """A name and a sha256 are what a store asks for."""

    @pytest.mark.parametrize("line", [["models"], ["models", "list"]])
    def test_each_is_a_line(self, call: Command, line: list[str]):
        done = call(*line)
        assert done.returncode == 0
        told = [row.split("  ") for row in done.stdout.splitlines()]
        models = [[m.name, m.sha256, str(m.origin)] for m in known_models()]
        assert told == [*models, *([d.name, d.sha256, "decoder"] for d in bundled_decoders())]
        assert ["wave-2", "bundled"] in [[row[0], row[2]] for row in told]

    def test_the_card_of_one(self, call: Command):
        assert "wave-2" in call("models", "show", "wave-2").stdout
        done = call("models", "show", "no-such-model")
        assert done.returncode != 0
        assert len(done.stderr.splitlines()) == 1

    def test_the_card_of_a_decoder(self, call: Command):
        for decoder in bundled_decoders():
            shown = call("models", "show", decoder.name).stdout
            assert decoder.sha256 in shown
            assert "licence" in shown

    def test_what_is_no_model_is_not_added(self, call: Command, tmp_path: Path):
        path = tmp_path / "mine.safetensors"
        path.write_bytes(b"no model")
        done = call("models", "add", path)
        assert done.returncode != 0
        assert len(done.stderr.splitlines()) == 1


class TestTrain:
    """Nothing is read where nothing can be learned."""

    @pytest.mark.parametrize("minutes", ["0", "-1", "nan"])
    def test_it_takes_time(self, call: Command, tmp_path: Path, minutes: str):
        done = call("train", tmp_path, "--out", tmp_path / "m.safetensors", "--minutes", minutes)
        assert done.returncode == 2
        assert "want more than 0" in done.stderr

    @pytest.mark.parametrize(
        ("options", "said"),
        [
            (["--codec", "ntc:gan"], "needs --from"),
            (["--codec", "ntc:gun"], "want ntc, ntc:net or ntc:gan"),
            (["--codec", "ntc:net,width=8"], "want channels="),
            (["--codec", "ntc", "--hidden", "8"], "are of wave"),
            (["--codec", "jpegxl"], "got --codec 'jpegxl'"),
        ],
    )
    def test_what_it_is_a_model_of(
        self, call: Command, tmp_path: Path, options: list[str], said: str
    ):
        done = call("train", tmp_path, "--out", tmp_path / "m.safetensors", *options)
        assert done.returncode == 2
        assert said in done.stderr
