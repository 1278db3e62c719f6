"""Decoders by name: ``base``, ``net``, ``view``, ``gan``, or the weights file of a network."""

from __future__ import annotations

from importlib import util
from pathlib import Path
from typing import TYPE_CHECKING

from tilepress.codecs.limits import MAX_WEIGHTS_BYTES
from tilepress.codecs.ntc.decoders.remake import Remake
from tilepress.codecs.ntc.decoders.view import view
from tilepress.codecs.ntc.decoders.weights import DecoderWeights
from tilepress.codecs.numbers import shown
from tilepress.codecs.weights import bundled_decoders
from tilepress.errors import ModelError, UnsupportedFormat

if TYPE_CHECKING:
    from tilepress.codecs.ntc.device.backend import DeviceBackend

__all__ = ["BUNDLED", "is_generative", "remake_of"]

BUNDLED = {"net": "ntc-net-1", "gan": "ntc-gan-1"}
"""The bundled weights of decoders that are networks."""


def remake_of(decoder: str, device: DeviceBackend | None = None) -> Remake:
    """Return what a decoder other than the base does: networks on a device, if one is given.

    Raises UnsupportedFormat for one that is unknown or cannot run here, ModelError for a file that
    is none.
    """
    if decoder == "view":
        return view
    data = _weights(decoder)
    if util.find_spec("torch") is None:
        raise UnsupportedFormat(
            f"decoding by {shown(decoder)}: torch is not installed; "
            "pip install 'tilepress[torch]', or take decoder 'base' or 'view'"
        )
    from tilepress.codecs.ntc.decoders.networks import network_of

    return network_of(data, device)


def is_generative(decoder: str) -> bool:
    """Whether a decoder makes up detail: what it shows was not there in the original."""
    if decoder in ("base", "net"):
        return False
    return (
        decoder in ("view", "gan") or DecoderWeights.from_bytes(_weights(decoder)).decoder == "gan"
    )


def _weights(decoder: str) -> bytes:
    if decoder in BUNDLED:
        return next(w.data for w in bundled_decoders() if w.name == BUNDLED[decoder])
    if not decoder.endswith(".safetensors"):
        names = ", ".join(("base", *BUNDLED, "view"))
        raise UnsupportedFormat(
            f"choosing a decoder: got {shown(decoder)}, want {names}, or a file *.safetensors"
        )
    try:
        with Path(decoder).open("rb") as file:
            data = file.read(MAX_WEIGHTS_BYTES + 1)
    except (OSError, ValueError) as error:  # ValueError: what no path may hold
        what = getattr(error, "strerror", None) or "not a path"
        raise ModelError(f"loading a decoder: {shown(decoder)}: {what}") from error
    return data
