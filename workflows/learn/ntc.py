"""Train for ``ntc`` on images of any kind that tilepress reads: its context model, its decoders.

tilepress train TRAIN... --codec ntc --manifest MANIFEST.tsv --out mine.safetensors

The manifest groups images by class, so that no class outweighs the others, and says of which kind
they are: planes of satellite images are bands, those of medical ones slices. Without it only three
planes of 8 bits are bands.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from tilepress.codecs.ntc.codec import NtcCoder, parse_model
from tilepress.codecs.ntc.decoders.net import ResidualNet
from tilepress.codecs.ntc.decoders.networks import as_halves
from tilepress.codecs.ntc.decoders.train import make_pairs, train_net
from tilepress.codecs.ntc.decoders.train_gan import NOISE, train_gan
from tilepress.codecs.ntc.decoders.weights import DecoderWeights, shapes_of
from tilepress.codecs.ntc.layout import NETS
from tilepress.codecs.ntc.train import train_ntc
from tilepress.codecs.weights import load_named
from tilepress.errors import ModelError, UsageError
from tilepress.pipeline.storage.atomic import write_atomic
from tilepress.workflows.learn.crops import crops_of

__all__ = ["DecoderPlan", "train_context", "train_decoder"]

_EXAMPLES = 4_000_000
"""For each net and round of the context model."""

Progress = Callable[[str], None]


def train_context(
    sources: Sequence[Path],
    out: Path,
    progress: Progress,
    *,
    manifest: Path | None = None,
    base: str | None = None,
    steps: int = 6000,
    seed: int = 0,
) -> None:
    """Train the context model of dependent quantisation and write it: ``steps`` of each net, in
    each of three rounds.

    base : name or file of a model to go on from, in two rounds, which may be one of a single
    quantiser. Raises UsageError where it is none.
    """
    start = None
    if base is not None:
        try:
            start = parse_model(load_named(base).data)
        except ModelError as error:
            raise UsageError(f"training: {error}") from error
    crops = crops_of(sources, manifest, seed, progress)
    model = train_ntc(
        crops, steps=steps, examples=_EXAMPLES, seed=seed, progress=progress, start=start
    )
    data = model.to_bytes()
    write_atomic(out, data)
    progress(f"{len(data)} bytes")


@dataclass(frozen=True, slots=True)
class DecoderPlan:
    """How a decoder network is trained."""

    adversarial: bool = False
    channels: int = 64
    blocks: int = 2
    steps: int = 20_000
    """Of the nets of each transform."""
    pieces: int = 9000
    """Of 128 × 128 samples that each learns from."""
    batch: int = 12
    seed: int = 0
    device: str = "cpu"


def train_decoder(
    sources: Sequence[Path],
    out: Path,
    progress: Progress,
    plan: DecoderPlan,
    *,
    manifest: Path | None = None,
    base: Path | None = None,
    checkpoint: Path | None = None,
) -> None:
    """Train a decoder network for records of the bundled context model, and write it.

    base : a decoder's file to begin from; one that is adversarial needs a "net". ``checkpoint`` is
    the beginning of names of files that training is left in now and then, and goes on from.
    Raises UsageError where nothing can be learned from, or the plan cannot be had.
    """
    started = None if base is None else _begun(base)
    if plan.adversarial and started is None:
        raise UsageError("training: an adversarial decoder needs --from, the file of a net")
    if plan.device == "cuda" and not torch.cuda.is_available():
        raise UsageError("training: got device 'cuda', and torch finds none")
    model = parse_model(load_named(str(NtcCoder.models["standard"])).data)
    crops = crops_of(sources, manifest, plan.seed, progress)
    pairs = make_pairs(crops, model, plan.pieces, plan.seed)
    made, sizes = {}, (plan.channels, plan.blocks)
    for name in NETS:
        torch.manual_seed(plan.seed)
        net = ResidualNet(*sizes)
        if started is not None:
            net, sizes = _net_of(started, name), (started.channels, started.blocks)
        progress(f"{name}: {len(pairs[name].decoded)} pieces, {net.kilo_macs():.2f} kMAC a sample")
        state = None if checkpoint is None else checkpoint.with_name(f"{checkpoint.name}-{name}")
        train = train_gan if plan.adversarial else train_net
        trained = train(
            net,
            pairs[name],
            steps=plan.steps,
            seed=plan.seed,
            progress=progress,
            device=plan.device,
            batch=plan.batch,
            checkpoint=state,
        )
        made[name] = as_halves(trained)
    kind, noise = ("gan", NOISE) if plan.adversarial else ("net", 0)
    data = DecoderWeights(kind, *sizes, noise, made).to_bytes()
    write_atomic(out, data)
    progress(f"{len(data)} bytes")


def _begun(base: Path) -> DecoderWeights:
    try:
        found = DecoderWeights.from_bytes(base.read_bytes())
    except (ModelError, OSError) as error:
        raise UsageError(f"training: {base}: {error}") from error
    if found.noise:
        raise UsageError(f"training: {base} is adversarial; begin from a net")
    return found


def _net_of(weights: DecoderWeights, name: str) -> ResidualNet:
    net = ResidualNet(weights.channels, weights.blocks)
    net.load_state_dict(
        {
            key: torch.from_numpy(weights.nets[name][key].astype("float32"))
            for key in shapes_of(weights.channels, weights.blocks, 0)
        }
    )
    return net
