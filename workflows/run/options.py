"""Give a function the options of coding as arguments, and refuse values that make no sense."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar

from tilepress.codecs.registry import DEFAULT_CODEC, LOSSY_CODEC
from tilepress.errors import CodecError, UsageError
from tilepress.pipeline.archive.options import CODING_OPTIONS, EncodeOptions
from tilepress.workflows.learn.tune import check_tune

__all__ = ["check_options", "takes_coding_options"]

MIN_TILE, MAX_TILE = 16, 2048
"""Rows and columns of one record."""

MAX_PLANES = 64
"""Bands, slices or times of one record: who reads one plane may have to decode all of these."""

F = TypeVar("F", bound=Callable[..., Any])


def takes_coding_options(function: F) -> F:
    """Have the signature of a function name every option of coding in place of ``**coding``.

    For people who ask for help, and for editors: what is called stays the same.
    """
    signature = inspect.signature(function)
    own = list(signature.parameters.values())
    rest = own.pop()
    assert rest.kind is inspect.Parameter.VAR_KEYWORD, f"{function.__name__} takes no options"
    arguments = [parameter for parameter in own if parameter.kind is not parameter.KEYWORD_ONLY]
    coding = [
        inspect.Parameter(
            option.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=option.default,
            annotation=option.type.__name__,
        )
        for option in CODING_OPTIONS
    ]
    parameters = [*arguments, *coding, *own[len(arguments) :]]
    function.__signature__ = signature.replace(parameters=parameters)  # type: ignore[attr-defined]
    return function


def check_options(options: EncodeOptions, workers: int | None, tune: float | None) -> None:
    """Raise UsageError for options that no image could be coded with."""
    if not 0 <= options.max_error < float("inf"):
        raise UsageError(f"compressing: got max error {options.max_error}, want 0 or more")
    targets = [name for name in options.losses if name != "max_error"]
    if len(targets) > 1:
        names = " and ".join(f"--{name.replace('_', '-')}" for name in targets)
        raise UsageError(f"compressing: {names} exclude each other")
    if options.bpp < 0 or options.bpp == float("inf"):
        raise UsageError(f"compressing: got bpp {options.bpp}, want a number above 0")
    if not MIN_TILE <= options.tile <= MAX_TILE:
        raise UsageError(f"compressing: got tile {options.tile}, want {MIN_TILE} to {MAX_TILE}")
    if not 0 <= options.planes_per_chunk <= MAX_PLANES:
        raise UsageError(
            f"compressing: got {options.planes_per_chunk} planes per chunk, want 1 to "
            f"{MAX_PLANES}, or 0 for up to 16"
        )
    if not options.max_expansion >= 0:
        raise UsageError(
            f"compressing: got max expansion {options.max_expansion}, want a ratio, or 0 for any"
        )
    if workers is not None and workers < 0:
        raise UsageError(f"compressing: got {workers} workers, want 0 or more")
    if tune is not None and options.codec != DEFAULT_CODEC:
        raise UsageError(
            f"compressing: --tune is of codec {DEFAULT_CODEC!r} alone, got {_named(options)}"
        )
    try:
        codec = options.tile_codec()
    except CodecError as error:
        usual = EncodeOptions()
        chosen = (options.model, options.tier) != (usual.model, usual.tier)
        doing = f"compressing with {_named(options)}" if chosen else "compressing"
        raise UsageError(f"{doing}: {error}") from error
    if options.lossless_patterns and codec.loss.is_lossless:
        raise UsageError(
            "compressing: --lossless-for needs a loss (--max-error, --quality, --psnr, "
            "--bits-per-sample or --bpp); without one all is lossless"
        )
    if tune is not None:
        check_tune(tune, codec.model)


def _named(options: EncodeOptions) -> str:
    """Return the codec, and which option means it: nobody may have named it."""
    implied = [name for name in options.losses if name != "max_error"]
    if options.codec != LOSSY_CODEC or not implied:
        return f"codec {options.codec!r}"
    return f"codec {options.codec!r} (what --{implied[0].replace('_', '-')} means)"
