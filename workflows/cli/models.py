"""The commands about models: train, and the group models."""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from tilepress.errors import UnsupportedFormat, UsageError
from tilepress.workflows.cli.console import open_console

__all__ = ["register", "train"]


class TrainingDevice(StrEnum):
    """Where a network is trained."""

    cpu = "cpu"
    cuda = "cuda"


models_app = typer.Typer(help="The learned models that this machine knows.")


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command()(train)
    app.add_typer(models_app, name="models")


def train(
    sources: Annotated[list[Path], typer.Argument(metavar="SRC...", help="Images to learn from.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="File to write the model to.")],
    codec: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="What it is a model of: wave, ntc, a decoder of ntc: ntc:net, ntc:gan "
            "(sizes as in ntc:net,channels=96,blocks=4), or mlp (mlp:block=4, 8 or 16).",
        ),
    ] = "wave",
    base: Annotated[
        Path | None,
        typer.Option("--from", metavar="NAME|FILE", help="Go on from this model."),
    ] = None,
    hidden: Annotated[
        int | None,
        typer.Option(
            metavar="UNITS",
            help="Hidden units of a new network: 8, 16, …; default that of standard. "
            "Of mlp: 1 to the samples of a block; default all, at most 128.",
        ),
    ] = None,
    minutes: Annotated[float, typer.Option(metavar="MINUTES", help="How long to train.")] = 10.0,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE.tsv", help="Table with columns file and class: equal shares."),
    ] = None,
    linear_only: Annotated[
        bool, typer.Option("--linear-only", help="Without the network: what it must beat.")
    ] = False,
    steps: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="Of ntc: how long to train, in steps.")
    ] = None,
    device: Annotated[
        TrainingDevice, typer.Option(help="Of decoders of ntc: where; on cuda in bfloat16.")
    ] = TrainingDevice.cpu,
    checkpoint: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="Of decoders of ntc: leave training there, and go on from there."
        ),
    ] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Of ntc: of all random numbers.")] = 0,
) -> None:
    """Train a model of a codec on your own images (needs the extra torch).

    Use it with compress --model; what it codes carries it along or needs it again (models add).

    **Examples**

        tilepress train /archive/2024 --out mine.safetensors --minutes 30

        tilepress train /archive/2025 --from mine.safetensors --out newer.safetensors

        tilepress train /archive/2025 --codec mlp:block=16 --minutes 3 --out blocks.safetensors

        tilepress train /archive/2025 --codec ntc:net --device cuda --out net.safetensors
    """
    if not minutes > 0:
        raise UsageError(f"training: got {minutes} minutes, want more than 0")
    try:
        from tilepress.workflows.learn.mlp import train_blocks
        from tilepress.workflows.learn.train import train as run_train
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        text = "training: torch is not installed; pip install 'tilepress[torch]'"
        raise UsageError(text) from error

    console = open_console(stderr=True)

    def tell(text: str) -> None:
        console.print(text, markup=False, highlight=False, soft_wrap=True)

    name, _, parameters = codec.partition(":")
    if name == "mlp":
        if base is not None or linear_only:
            raise UsageError("training: mlp begins from nothing: no --from, no --linear-only")
        train_blocks(
            sources, out, minutes, tell, block=_block(codec), hidden=hidden, manifest=manifest
        )
        print(out)
        return
    if codec.partition(":")[0] == "ntc":
        if hidden is not None or linear_only:
            raise UsageError("training: --hidden and --linear-only are of wave")
        _train_ntc(sources, out, tell, codec, steps, seed, device.value, manifest, base, checkpoint)
        print(out)
        return
    if name != "wave" or parameters:
        want = "wave, ntc, ntc:net, ntc:gan, mlp or mlp:block=4, 8 or 16"
        raise UsageError(f"training: got --codec {codec!r}, want {want}")
    run_train(
        sources,
        out,
        minutes,
        base,
        tell,
        linear_only=linear_only,
        manifest=manifest,
        hidden=hidden,
    )
    print(out)


def _block(codec: str) -> int:
    """Return the rows of a block that ``mlp`` is to be trained for."""
    from tilepress.codecs.mlp.codec import MlpCoder

    try:
        found = MlpCoder.of(codec.partition(":")[2])
    except UnsupportedFormat as error:
        raise UsageError(f"training: {error}") from error
    return found.block


def _train_ntc(
    sources: list[Path],
    out: Path,
    tell: Callable[[str], None],
    codec: str,
    steps: int | None,
    seed: int,
    device: str,
    manifest: Path | None,
    base: Path | None,
    checkpoint: Path | None,
) -> None:
    """Train the context model of ntc, or one of its decoders."""
    from tilepress.workflows.learn.ntc import DecoderPlan, train_context, train_decoder

    what, *sizes = codec.removeprefix("ntc").removeprefix(":").split(",")
    if what not in ("", "net", "gan") or (not what and sizes):
        raise UsageError(f"training: got --codec {codec!r}, want ntc, ntc:net or ntc:gan")
    if not what:
        given = {} if steps is None else {"steps": steps}
        start = None if base is None else str(base)
        train_context(sources, out, tell, manifest=manifest, base=start, seed=seed, **given)
        return
    numbers = {"steps": 10_000 if what == "gan" else 20_000} if steps is None else {"steps": steps}
    for size in sizes:
        name, _, value = size.partition("=")
        if name not in ("channels", "blocks", "batch", "pieces") or not value.isdecimal():
            want = "channels=, blocks=, batch= or pieces= and a number"
            raise UsageError(f"training: got {size!r} in --codec, want {want}")
        numbers[name] = int(value)
    plan = DecoderPlan(adversarial=what == "gan", seed=seed, device=device, **numbers)
    train_decoder(sources, out, tell, plan, manifest=manifest, base=base, checkpoint=checkpoint)


@models_app.callback(invoke_without_command=True)
def models(context: typer.Context) -> None:
    """List the models where no other command is given."""
    if context.invoked_subcommand is None:
        models_list()


@models_app.command("list")
def models_list() -> None:
    """List bundled and added models, and decoders (export --decoder)."""
    from tilepress.codecs import weights

    for model in weights.known_models():
        print(f"{model.name}  {model.sha256}  {model.origin}")
    for decoder in weights.bundled_decoders():
        print(f"{decoder.name}  {decoder.sha256}  decoder")


@models_app.command("show")
def models_show(
    name: Annotated[str, typer.Argument(metavar="NAME|FILE", help="Name or path of a model.")],
) -> None:
    """Show the card of a model: data, licences, command, figures.

    **Example**

        tilepress models show wave-2
    """
    from tilepress.codecs import weights

    print(weights.model_card(name))


@models_app.command("add")
def models_add(
    path: Annotated[Path, typer.Argument(metavar="FILE", help="A model file (*.safetensors).")],
) -> None:
    """Copy a model into the user's model folder, where every reader finds it by its sha256.

    **Example**

        tilepress models add mine.safetensors
    """
    from tilepress.codecs import weights

    model = weights.add_model(path)
    print(f"{model.name}  {model.sha256}  {model.origin}")
