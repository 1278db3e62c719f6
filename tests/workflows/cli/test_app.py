"""The command line: exit codes, one-line errors, and help that shows how."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tilepress.workflows.cli import inspect

from .conftest import Command


class TestExitCodes:
    """Scripts and batch systems read nothing else."""

    def test_0_and_a_last_line_that_sums_up(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "out", "--workers", 0)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith("1 written, 0 unchanged, 0 failed, 180.0 kB →")

    def test_1_where_an_input_failed(self, call: Command, image: Path, tmp_path: Path):
        done = call("compress", image, tmp_path / "gone.tif", tmp_path / "out", "--workers", 0)
        assert done.returncode == 1
        assert "1 written, 0 unchanged, 1 failed" in done.stdout

    @pytest.mark.parametrize(
        "line",
        [
            [],
            ["compress"],
            ["compress", "only-a-source.tif"],
            ["compress", "a.tif", "out", "--no-such-option"],
            ["compress", "a.tif", "out", "--max-error", "much"],
            ["compress", "a.tif", "out", "--max-error", "2", "--lossless"],
            ["compress", "a.tif", "out", "--max-error", "-1"],
            ["compress", "a.tif", "out", "--max-error", "nan"],
            ["compress", "a.tif", "out", "--quiet", "--verbose"],
            ["compress", "a.tif", "out", "--tile", "3"],
            ["compress", "a.tif", "out", "--tile", "4096"],
            ["compress", "a.tif", "out", "--tier", "best"],
            ["compress", "a.tif", "out", "--tune", "0"],
            ["compress", "a.tif", "out", "--codec", "jpeg"],
            ["compress", "a.tif", "out", "--model", "no-such-model"],
            ["compress", "a.tif", "out", "--model", "no-such.safetensors"],
            ["no-such-command"],
            ["ls", "no-such-folder"],
            ["info", "no-such.zarr"],
            ["verify", "no-such.zarr"],
            ["export", "no-such.zarr", "out.tif"],
        ],
    )
    def test_2_and_one_line_for_what_makes_no_sense(
        self, call: Command, line: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.chdir(tmp_path)
        done = call(*line)
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        assert len(done.stderr.splitlines()) == (1 if line else 0)
        assert not list(tmp_path.iterdir())

    @pytest.mark.parametrize("command", ["compress", "plan", "export", "levels"])
    def test_what_lacks_arguments_points_to_its_help(self, call: Command, command: str):
        (line,) = call(command).stderr.splitlines()
        assert line.startswith("tilepress: Missing argument")
        assert line.endswith(f"{command} --help")

    @pytest.mark.parametrize(
        ("line", "room", "next_"),
        [
            ("verify x", "cli.inspect._must_exist", "the same line begins anew"),
            ("--debug info x", "cli.inspect._must_exist", "the same line begins anew"),
            ("compress x.tif y", "run.compress.compress", "run the same line again to go on"),
        ],
    )
    def test_130_says_what_the_same_line_does(
        self, call: Command, monkeypatch: pytest.MonkeyPatch, line: str, room: str, next_: str
    ):
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        monkeypatch.setenv("TILEPRESS_DEBUG", "")  # so that it is as before at the end
        monkeypatch.setattr(f"tilepress.workflows.{room}", interrupted)
        done = call(*line.split())
        assert done.returncode == 130
        assert done.stderr.splitlines()[-1] == f"tilepress: interrupted; {next_}"

    def test_70_and_one_line_for_a_bug_of_ours(
        self, call: Command, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.delenv("TILEPRESS_DEBUG", raising=False)
        monkeypatch.setattr(inspect, "_must_exist", dict[str, str]().__getitem__)
        done = call("info", "a bug")
        assert (done.returncode, done.stdout) == (70, "")
        assert done.stderr == (
            "tilepress: unexpected error: KeyError: 'a bug' "
            "(please report it; --debug shows where)\n"
        )

    def test_of_what_may_have_read_an_image_only_the_type_is_told(
        self, call: Command, monkeypatch: pytest.MonkeyPatch, image: Path
    ):
        """The text of such an error may quote a header."""

        def broken(*_: object) -> None:
            raise RuntimeError("PATIENT^NAME")

        monkeypatch.delenv("TILEPRESS_DEBUG", raising=False)
        monkeypatch.setattr("tilepress.pipeline.storage.local.FolderPath.exists", broken)
        done = call("info", image)
        assert (done.returncode, done.stdout) == (70, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith("tilepress: unexpected error: RuntimeError (please report it")

    @pytest.mark.parametrize("line", ["--debug info x", "info x --debug", "info --debug x"])
    def test_debug_shows_where(self, call: Command, monkeypatch: pytest.MonkeyPatch, line: str):
        monkeypatch.setenv("TILEPRESS_DEBUG", "")  # so that it is as before at the end
        monkeypatch.setattr(inspect, "_must_exist", lambda _: 1 / 0)
        done = call(*line.split())
        assert done.returncode == 70
        assert "in info\n" in done.stderr
        assert done.stderr.splitlines()[-1].startswith("tilepress: unexpected error: ZeroDivision")

    def test_debug_quotes_no_error(self, call: Command, monkeypatch: pytest.MonkeyPatch):
        """Errors of libraries may quote a header, those that they came of, too."""

        def broken(_: object) -> None:
            try:
                raise ValueError("PATIENT^NAME")
            except ValueError as error:
                raise RuntimeError("PATIENT^NAME again") from error

        monkeypatch.setenv("TILEPRESS_DEBUG", "")
        monkeypatch.setattr("tilepress.pipeline.storage.local.FolderPath.exists", broken)
        done = call("--debug", "info", "x")
        assert done.stderr.count("Traceback") == 2
        assert "ValueError\n" in done.stderr
        quoted = [line for line in done.stderr.splitlines() if "PATIENT" in line]
        assert all(line.strip().startswith("raise ") for line in quoted)  # the source of this test

    def test_version(self, call: Command):
        done = call("--version")
        assert (done.returncode, done.stdout.split()[0]) == (0, "tilepress")

    def test_help_offers_what_there_is(self, call: Command):
        assert "fast|standard|max" in call("compress", "--help").stdout
        told = " ".join(call("verify", "--help").stdout.replace("│", " ").split())
        assert "no tilepress store" in told

    @pytest.mark.parametrize("name", ["compress", "finish", "export", "train", "demo", "bench"])
    def test_help_names_what_options_take(self, call: Command, name: str):
        told = call(name, "--help").stdout
        assert not re.search(r"<(bool|int|str|float|path)> ", told.partition("Options")[2])

    def test_the_module_is_the_command(self, command: Command):
        done = command("--help")
        assert done.returncode == 0
        assert "compress" in done.stdout

    @pytest.mark.parametrize(
        "name",
        [
            *("compress", "plan", "finish", "repair", "info", "ls", "verify", "export", "train"),
            *("demo", "bench", "models show", "models add"),
        ],
    )
    def test_help_shows_an_example(self, call: Command, name: str):
        done = call(*name.split(), "--help")
        assert done.returncode == 0
        assert f"tilepress {name} " in done.stdout.replace("Usage: tilepress", "")
