"""Options that several commands have, among them those of coding, as the parser wants them."""

from __future__ import annotations

import inspect
import re
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer
from typer.core import TyperCommand

from tilepress.errors import UsageError
from tilepress.pipeline.archive.options import CODING_OPTIONS, LOSSES, CodingOption, suggested
from tilepress.pipeline.privacy.profile import BASIC, OPTIONS

__all__ = [
    "Cluster",
    "CodingCommand",
    "DecoderChoice",
    "Device",
    "DeviceName",
    "Driver",
    "Events",
    "Exclude",
    "ForceGenerative",
    "Include",
    "KeepFiles",
    "Lossless",
    "NoThumbnails",
    "Quiet",
    "ReportFile",
    "ShowPaths",
    "Sign",
    "SkipLarger",
    "SourcesAndDestination",
    "Stack",
    "Thumbnails",
    "Verbose",
    "Workers",
    "bytes_of",
    "in_order",
    "patterns",
    "plain",
    "takes_coding_options",
    "thumbnails_of",
]

SourcesAndDestination = Annotated[
    list[str],
    typer.Argument(
        metavar="SRC... DST",
        help="Files, folders, 'globs', @LIST, - (a list on stdin) or s3://…, then the destination.",
    ),
]


def patterns(given: list[str] | None) -> str | list[str] | None:
    """Return one pattern as what it is: reports and plans have always said it so.

    Not as a callback of the option: the parser makes a list of letters of what that returns.
    """
    return given[0] if given and len(given) == 1 else given or None


Stack = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB|auto",
        help="Single-band files that make one image together, e.g. `*_B*.TIF` (repeatable); auto: "
        "bands of Landsat, Sentinel-2 and HLS.",
    ),
]
KeepFiles = Annotated[
    str,
    typer.Option(
        "--keep",
        metavar="all|known|none",
        help="Which files that are no images an archive keeps below files/: those known to "
        "accompany images (the default), all, or none.",
    ),
]
Include = Annotated[
    list[str] | None,
    typer.Option(
        metavar="GLOB",
        help="Take only files of this name, or path below SRC (repeatable), e.g. `*.tif`.",
    ),
]
Exclude = Annotated[
    list[str] | None,
    typer.Option(metavar="GLOB", help="Leave out files of this name, or path (repeatable)."),
]
Driver = Annotated[
    list[str] | None,
    typer.Option(
        metavar="NAME",
        help="Read files of this GDAL driver, too (repeatable): HFA (.img), netCDF, HDF5, GRIB "
        "or NITF; each of several variables is an image.",
    ),
]
SkipLarger = Annotated[
    str | None,
    typer.Option(
        metavar="SIZE", help="Leave out images whose files are larger, e.g. 500MB or 2GiB."
    ),
]


def thumbnails_of(wanted: bool, unwanted: bool) -> bool | None:
    """Return what two flags say of thumbnails; None where neither is given."""
    if wanted and unwanted:
        raise UsageError("drawing: --thumbnails and --no-thumbnails exclude each other")
    return True if wanted else False if unwanted else None


def bytes_of(text: str | None) -> int | None:
    """Return the bytes of a size as people write it, e.g. "500MB"; None for None."""
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([kKMGTP]?)(i?)[bB]?\s*", text)
    if match is None:
        raise UsageError(f"compressing: got --skip-larger {text!r}, want a size such as 500MB")
    number, unit, binary = match.groups()
    return int(float(number) * (1024 if binary else 1000) ** " KMGTP".index(unit.upper() or " "))


Workers = Annotated[
    int | None,
    typer.Option(
        metavar="N", help="Worker processes; default one per processor, 0 none (in this process)."
    ),
]


def _file(report: Path | None) -> Path | None:
    if report == Path("-"):
        raise UsageError("writing the report: got '-', want a file; --events - prints as it goes")
    return report


ReportFile = Annotated[
    Path | None,
    typer.Option(metavar="FILE.json", help="Write what was done as JSON.", callback=_file),
]
Events = Annotated[
    str | None,
    typer.Option(metavar="FILE", help="Append every event as a line of JSON; - is stdout."),
]
Sign = Annotated[
    str | None,
    typer.Option(
        metavar="KEYFILE",
        help="Sign what is sealed with this ed25519 private key (ssh-keygen -t ed25519, or PEM); "
        "what was sealed before only where it was compared with its source.",
    ),
]
Thumbnails = Annotated[
    bool,
    typer.Option(
        "--thumbnails",
        help="Draw small pictures of all rasters on the ground into an archive's catalogue. "
        "Default: of those with levels, which cost next to nothing; never of DICOM.",
    ),
]
NoThumbnails = Annotated[
    bool, typer.Option("--no-thumbnails", help="Draw none into an archive's catalogue.")
]
ShowPaths = Annotated[
    bool,
    typer.Option(
        "--show-paths",
        help="Tell paths of DICOM files, too, which may hold patients' names; else a table that "
        "only its owner may read says which files are meant.",
    ),
]
DecoderChoice = Annotated[
    str,
    typer.Option(
        "--decoder",
        metavar="NAME|FILE",
        help="How samples coded by ntc are made: base, which the stated loss is of; net, closer to "
        "the original (needs torch); view or gan, with texture that is made up; or the weights "
        "file of a network.",
    ),
]
ForceGenerative = Annotated[
    bool,
    typer.Option(
        "--force-generative",
        help="Take view or gan for medical images, too, of which they are refused.",
    ),
]


class DeviceName(StrEnum):
    """Where tiles are coded."""

    auto = "auto"
    cpu = "cpu"
    cuda = "cuda"


Lossless = Annotated[
    bool, typer.Option("--lossless", help="Every sample comes back as it was (the default).")
]
Cluster = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|FILE|ADDRESS",
        help="Where workers run: local (the default), cuda, a profile.yaml of a batch system "
        "(see tilepress cluster init), tcp://… of a running scheduler, or slurm-runner.",
    ),
]
Device = Annotated[
    DeviceName, typer.Option(help="Where tiles are coded; auto: on GPUs where workers have them.")
]
Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="Print errors only.")]
Verbose = Annotated[
    bool, typer.Option("--verbose", "-v", help="A line for every image, however many there are.")
]

FIRST = (
    *(
        "paths",
        "lossless",
        "max_error",
        "quality",
        "psnr",
        "bits_per_sample",
        "bpp",
        "per_tile",
        "lossless_for",
        "codec",
        "tier",
        "model",
        "tune",
    ),
    *("stack", "tile", "planes_per_chunk", "for_"),
)
"""What help lists first, and in which order; then come other options of coding, then the rest."""

F = TypeVar("F", bound=Callable[..., Any])


def takes_coding_options(command: F) -> F:
    """Have a command take every option of coding in place of ``**coding``.

    The parser reads the options off the signature, so this is what is replaced.
    """
    own = list(inspect.signature(command, eval_str=True).parameters.values())
    rest = own.pop()
    assert rest.kind is inspect.Parameter.VAR_KEYWORD, f"{command.__name__} takes no options"
    parameters = [_parameter(option) for option in CODING_OPTIONS]
    parameters += [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in own]
    parameters.sort(key=lambda one: FIRST.index(one.name) if one.name in FIRST else len(FIRST))
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    return command


class CodingCommand(TyperCommand):
    """A command that takes options of coding, of which one may stand without its value."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401  # the parser's
        rest = super().parse_args(ctx, _spelled_out(args))
        given = {
            name: value
            for name, value in ctx.params.items()
            if ctx.get_parameter_source(name).name != "DEFAULT"
        }
        ctx.params.update(suggested(given))
        return rest


def _spelled_out(args: Sequence[str]) -> list[str]:
    """Return a command line in which ``--deidentify`` has its value: "basic" where none is given.

    What follows is its value only if it is one: else it is a source.
    """
    made: list[str] = []
    rest = deque(args)
    while rest:
        word = rest.popleft()
        if word == "--":
            return [*made, word, *rest]
        if word == "--deidentify":
            given = rest and set(rest[0].lower().split(",")) <= OPTIONS.keys()
            word = f"{word}={rest.popleft() if given else BASIC}"
        made.append(word)
    return made


def _parameter(option: CodingOption) -> inspect.Parameter:
    """Return an option of coding as the parser reads it: the type is its check of the value."""
    told, flag = option.description, option.flag
    kind: Any = _words(option.name, told.choices) if told.choices else option.type
    # a target has no default: 0 that was given is told from nothing that was
    given = None if option.name in LOSSES[1:] else kind(option.default)
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=typer.Option(given, flag, metavar=told.metavar, help=told.help),
        annotation=kind | None if given is None else kind,
    )


def _words(name: str, choices: Sequence[str]) -> type:
    """Return a type of these words alone, which is how the parser learns of choices."""
    enum: Any = StrEnum  # called with words that no type checker can know
    words: type = enum(name, {choice: choice for choice in choices})
    return words


def plain(coding: Mapping[str, Any]) -> dict[str, Any]:
    """Return options of coding as a run takes them: a choice is a word."""
    return {name: str(v) if isinstance(v, StrEnum) else v for name, v in coding.items()}


def in_order(command: Callable[..., Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of ``values`` that are options of a command, in the order of its help."""
    return {name: values[name] for name in inspect.signature(command).parameters if name in values}
