"""Options on the command line: those of coding are as they are declared, in each command."""

from __future__ import annotations

from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from tilepress.pipeline.archive.options import (
    CODING_OPTIONS,
    LOSSES,
    CodingOption,
    Description,
    EncodeOptions,
)
from tilepress.workflows.cli import options as room
from tilepress.workflows.cli.app import app
from tilepress.workflows.cli.options import in_order, patterns, plain, takes_coding_options


@pytest.fixture
def commands() -> dict[str, Any]:
    root: Any = typer.main.get_command(app)
    return dict(root.commands)


class TestOptionsOfCoding:
    """The declaration is the only place that says what they are."""

    @pytest.mark.parametrize("command", ["compress", "plan"])
    def test_a_command_has_all_of_them(self, commands: dict[str, Any], command: str):
        parameters = {parameter.name: parameter for parameter in commands[command].params}
        for option in CODING_OPTIONS:
            told = parameters[option.name]
            assert told.opts == [option.flag]
            # a target that was not given is told from one of 0, which is refused
            assert told.default == (None if option.name in LOSSES[1:] else option.default)
            assert told.help == option.description.help
            assert told.metavar == option.description.metavar
            listed = CliRunner().invoke(app, [command, "--help"]).output
            assert "|".join(option.description.choices) in listed

    def test_help_cuts_no_word_on_a_narrow_terminal(self, commands: dict[str, Any]):
        """Words that are wider than their column end with an ellipsis: nobody can copy these."""
        every = [([name], command) for name, command in commands.items()]
        for line, command in every:
            below = getattr(command, "commands", {})
            every += [([*line, name], one) for name, one in below.items()]
            listed = CliRunner().invoke(app, [*line, "--help"], env={"COLUMNS": "80"}).output
            words = {word for row in listed.splitlines() for word in row.strip("│ ").split()}
            assert all(len(row) <= 80 for row in listed.splitlines())
            for parameter in command.params:
                names = [] if parameter.param_type_name == "argument" else parameter.opts
                told = (parameter.help or "").replace("`", "").split()
                wanted = {*names, *told}
                assert not wanted - words, (line, wanted - words)

    def test_help_lists_them_first_as_it_always_has(self, commands: dict[str, Any]):
        for command in ("compress", "plan"):
            names = [parameter.name for parameter in commands[command].params]
            assert [n for n in names if n in room.FIRST] == [n for n in room.FIRST if n in names]
            assert names[0] == "paths"

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (["a", "b", "--deidentify"], "basic"),
            (["--deidentify", "a", "b"], "basic"),
            (["--deidentify=retain-uids", "a", "b"], "retain-uids"),
            (["--deidentify", "basic,retain-uids", "a", "b"], "basic,retain-uids"),
            (["a", "b", "--deidentify", "--quiet"], "basic"),
            (["a", "b"], ""),
        ],
    )
    def test_that_of_privacy_may_stand_alone(
        self, commands: dict[str, Any], line: list[str], told: str
    ):
        context = commands["compress"].make_context("compress", list(line))
        assert context.params["deidentify"] == told
        assert context.params["paths"] == ["a", "b"]

    def test_a_source_of_that_name_can_be_told_from_it(self, commands: dict[str, Any]):
        context = commands["compress"].make_context("compress", ["--", "--deidentify", "b"])
        assert context.params["paths"] == ["--deidentify", "b"]

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            (["--for", "training"], (256, "fast")),
            (["--for", "training", "--tile", "512"], (512, "fast")),
            (["--tier", "standard", "--for=training"], (256, "standard")),
            ([], (512, "standard")),
        ],
    )
    def test_what_is_written_wins_over_a_purpose(
        self, commands: dict[str, Any], line: list[str], told: object
    ):
        """Even where it is what would have been there without it."""
        for command in ("compress", "plan"):
            context = commands[command].make_context(command, ["a", "b", *line])
            given = {option.name: context.params[option.name] for option in CODING_OPTIONS}
            options = EncodeOptions.of(plain(given))  # type: ignore[arg-type]
            assert (options.tile, options.tier) == told

    @pytest.mark.parametrize(
        ("line", "told"),
        [
            ([], None),
            (["--stack", "*_B*.TIF"], "*_B*.TIF"),
            (["--stack", "*_B*.TIF", "--stack", "auto"], ["*_B*.TIF", "auto"]),
        ],
    )
    def test_patterns_of_stacks_may_be_several(
        self, commands: dict[str, Any], line: list[str], told: object
    ):
        for command in ("compress", "plan"):
            context = commands[command].make_context(command, ["a", "b", *line])
            assert patterns(context.params["stack"]) == told

    def test_a_new_one_needs_its_declaration_only(self, monkeypatch: pytest.MonkeyPatch):
        told = Description(metavar="Q", help="How alike the samples stay.")
        toy = CodingOption(name="likeness", type=float, default=1.0, description=told)
        monkeypatch.setattr(room, "CODING_OPTIONS", (*CODING_OPTIONS, toy))
        got: dict[str, Any] = {}

        def toy_command(
            paths: room.SourcesAndDestination, quiet: room.Quiet = False, **coding: Any
        ) -> None:
            got.update(in_order(toy_command, {**locals(), **plain(coding)}))

        command = typer.Typer()
        command.command()(takes_coding_options(toy_command))
        line = ["a", "b", "--likeness", "2.5", "--tier", "fast"]
        assert CliRunner().invoke(command, line).exit_code == 0
        assert list(got) == [
            *("paths", "max_error", "quality", "psnr", "bits_per_sample", "bpp"),
            *("per_tile", "lossless_for", "codec", "tier", "model", "tile", "planes_per_chunk"),
            *("for_", "max_expansion", "levels", "deidentify", "likeness", "quiet"),
        ]
        assert (got["likeness"], got["tier"], type(got["tier"])) == (2.5, "fast", str)
        assert "How alike" in CliRunner().invoke(command, ["--help"]).output
