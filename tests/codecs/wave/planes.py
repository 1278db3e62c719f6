"""Planes for the tests of bodies: smooth, with holes, there and back."""

from __future__ import annotations

import numpy as np

from tilepress.codecs.wave.backend import LinearPath, PlaneToEncode, TreeEffort
from tilepress.codecs.wave.codec import load_model
from tilepress.codecs.wave.model import WaveModel
from tilepress.codecs.wave.plane_decode import decode_body
from tilepress.codecs.wave.plane_encode import Coder, encode_body
from tilepress.codecs.wave.plane_format import DecodedPlane
from tilepress.codecs.wave.wire import Reader

MODEL = load_model("auto")


NO_MASK = np.zeros(0, np.uint8)


def to_encode(
    own: np.ndarray,
    refs: np.ndarray,
    ref_errors: np.ndarray,
    n_refs: int,
    shape: tuple[int, int],
    top: int,
    classes: LinearPath,
    model: WaveModel = MODEL,
    mask: np.ndarray = NO_MASK,
) -> PlaneToEncode:
    """What a backend is given of a sheared plane."""
    return PlaneToEncode(
        *(own, refs, ref_errors, n_refs, mask, *shape, top, classes, model.arrays()),
        *(model.cumulative, model.used, model.lookup, TreeEffort(0, 0)),
    )


def field(seed: int, shape: tuple[int, int], top: int, noise: int) -> np.ndarray:
    """A smooth int64 field of 0 … about ``top`` with noise."""
    rng = np.random.default_rng(seed)
    smooth = rng.normal(size=shape).cumsum(0) + rng.normal(size=shape).cumsum(1)
    smooth -= smooth.min()
    return np.rint(smooth / smooth.max() * top).astype(np.int64) + rng.integers(0, noise + 1, shape)


def holes(seed: int, shape: tuple[int, int]) -> np.ndarray:
    """A mask of a block and of single samples."""
    mask = np.random.default_rng(seed).random(shape) < 0.05
    mask[5 : shape[0] // 2, 7 : shape[1] // 2] = True
    return mask


def there_and_back(
    samples: np.ndarray,
    mask: np.ndarray | None = None,
    refs: tuple[DecodedPlane, ...] = (),
    coder: Coder | None = None,
) -> tuple[bytes, DecodedPlane]:
    """Code a plane, check that it comes back with all that later planes see, return its body."""
    coder = coder or Coder(MODEL)
    body, seen = encode_body(samples, mask, list(refs), coder)
    reader = Reader(memoryview(body))
    back, found = decode_body(reader, samples.shape, list(refs), coder.model)
    reader.finish()
    there = np.ones(samples.shape, bool) if mask is None else ~mask
    assert np.array_equal(back[there], samples[there])
    assert np.array_equal(found.samples, seen.samples)
    assert np.array_equal(found.errors, seen.errors)
    assert (found.mask is None) == (seen.mask is None)
    if seen.mask is not None:
        assert np.array_equal(found.mask, seen.mask)
    return body, seen
