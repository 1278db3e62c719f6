"""A decoder written from FORMAT.md alone finds the same coefficients."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.jpeg.layout import lay_out
from tilepress.codecs.jpeg.payload import unpack
from tilepress.codecs.jpeg.planes import decode_blocks
from tilepress.codecs.jpeg.priors import bundled, priors_of
from tilepress.codecs.record import unpack_record

from ..independent_jpeg import decode

FOLDER = Path(__file__).parent.parent / "golden/jpeg"


@pytest.mark.parametrize("name", ["frame-420", "frames", "rgb-as-coded", "twelve-bits"])
def test_finds_the_same_coefficients(name: str) -> None:
    header, payload = unpack_record((FOLDER / f"{name}.tp").read_bytes())
    parts = unpack(payload, Budget("reading", 2**30))
    layout = lay_out(parts.head.grid, parts.head.streams)
    ours = decode_blocks(
        parts.code, layout, parts.head.family, priors_of(header.model_id)
    )  # fmt: skip
    file = resources.files("tilepress.codecs.jpeg.models") / (
        bundled()[header.model_id] + ".safetensors"
    )
    theirs = decode(
        bytes(parts.code), file.read_bytes(), [plane.owners for plane in layout.planes],
        [(plane.v, plane.h) for plane in layout.planes], layout.steps, bool(parts.head.family),
    )  # fmt: skip
    for plane, found in zip(layout.planes, theirs, strict=True):
        inside = ours[plane.first : plane.first + plane.owners.size]
        assert np.array_equal(found.reshape(-1, 64), inside)
