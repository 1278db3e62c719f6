"""FORMAT.md §15 says enough: a decoder written from it gives what ours gives."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.ntc.chunk import Analysis
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.record import unpack_record
from tilepress.codecs.wave.bitmap import decode_bitmap
from tilepress.codecs.weights import load_named

from .pictures import dependent, image

HERE = Path(__file__).parent.parent
INDEX = json.loads((HERE / "golden/ntc/index.json").read_text())

_spec = importlib.util.spec_from_file_location("independent_ntc", HERE / "independent_ntc.py")
assert _spec is not None
assert _spec.loader is not None
independent = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(independent)


@pytest.mark.parametrize("name", sorted(INDEX))
def test_golden_records_decode_to_the_same_samples(name: str) -> None:
    entry = INDEX[name]
    header, payload = unpack_record((HERE / "golden/ntc" / f"{name}.tp").read_bytes())
    weights = load_named(entry["model"]).data
    samples = independent.decode(bytes(payload), header.coded, header.dtype, weights, decode_bitmap)
    assert hashlib.sha256(samples.tobytes()).hexdigest() == entry["samples_sha256"]


@pytest.mark.parametrize("kind", [LAPPED, WAVELET])
@pytest.mark.parametrize("step", [0.6, 20.0])
def test_dependent_quantisation(kind: int, step: float) -> None:
    analysis = Analysis.of(image(40, 56, 2), None, 2)
    assert analysis is not None
    analysis.kinds = (kind,)
    payload, decoded = analysis.encode(step, dependent())
    weights = dependent().to_bytes()
    told = decoded.shape, decoded.dtype, weights, decode_bitmap
    assert np.array_equal(independent.decode(payload, *told), decoded)
