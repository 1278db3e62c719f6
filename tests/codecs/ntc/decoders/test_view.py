"""Noise where values are zero: the same for everybody, of the right size, nowhere else."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.native.library import VARIABLE, instruction_set, instruction_sets
from tilepress.codecs.ntc.decoders.view import _places, _tables, fill_zeros, hashed
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.plane import encode_plane, examine_plane, forward, inverse
from tilepress.codecs.tile import TileCodec

from ..pictures import bundled, dependent, image


def decoded(kind: int, step: float, sides: tuple[int, int] = (96, 120)) -> np.ndarray:
    """Return coefficients as a decoder has them."""
    made = image(*sides)[0].astype(np.float32) / np.float32(step)
    forward(kind, made)
    encode_plane(kind, made, None, bundled(), 8.0)
    return made


@pytest.mark.parametrize("kind", [LAPPED, WAVELET])
class TestAPlane:
    def test_zeros_alone_are_filled(self, kind: int) -> None:
        coefficients = decoded(kind, 40.0)
        plane = coefficients.copy()
        inverse(kind, plane)
        fill_zeros(kind, plane, None, bundled(), 7)
        forward(kind, plane)
        changed = np.abs(plane - coefficients) > 1e-2
        assert changed.mean() > 0.2
        assert not np.any(changed & (np.abs(coefficients) > 0.5))
        assert np.abs(plane - coefficients).max() < 0.52

    def test_the_tables_are_those_that_the_values_were_coded_under(self, kind: int) -> None:
        made = image(64, 72)[0].astype(np.float32) / 30
        forward(kind, made)
        coded = encode_plane(kind, made, None, bundled(), 8.0)
        features, bands, values, _ = examine_plane(kind, made, None, 0.5)
        count = len(coded.values)
        behind = coded.tables[count - min(count, len(values)) :]  # the lowest band comes first
        if kind == LAPPED:
            name, mine, first = "lapped", bands < 64, 0
        else:
            name, mine, first = "wavelet", bands >= 64, 64
        rows = bands[mine].astype(np.int64) - first
        found = _tables(bundled().nets[name], features[mine], rows)
        assert np.array_equal(found, bundled().nets[name].tables(features[mine], rows))
        low = count - len(values)
        if low > 0:  # no band was left out at the end
            assert np.array_equal(found, coded.tables[low:][mine])
        assert len(behind)

    def test_places_are_each_told_once(self, kind: int) -> None:
        _, bands, _, _ = examine_plane(kind, np.zeros((48, 64), np.float32), None, 0.5)
        places = _places(kind, 48, 64)
        mine = places[(bands < 64) if kind == LAPPED else (bands >= 64)]
        assert len(np.unique(mine)) == len(mine)
        assert len(mine) >= 48 * 64 * 60 // 64
        assert mine.max() < 48 * 64

    def test_a_plane_of_zeros_stays(self, kind: int) -> None:
        plane = np.zeros((32, 32), np.float32)
        fill_zeros(kind, plane, None, bundled(), 7)
        assert not plane.any()


GOLDEN = Path(__file__).parent.parent.parent / "golden/ntc"
SEEN = {
    "frames": "6889424d370b19ca",
    "lapped-8": "2b6edfe9ea453565",
    "lapped-absent": "23dcaf6b0fbb973a",
    "lapped-bands": "18afd090a8764c86",
    "wavelet-8": "67d56c261d265247",
    "wavelet-bands": "a5b911afb4ecd40c",
    "wavelet-slices": "f84f523264f9eb66",
    "ntc-3-lapped-8": "47574c2e8fea9e3b",
    "ntc-3-lapped-bands": "23211cb2da3c75c4",
    "ntc-3-wavelet-8": "305b6a0e6399d905",
    "ntc-3-wavelet-slices": "60a5dbdf496b3b23",
}
"""What golden records look like: the beginning of the sha256 of their samples."""


@pytest.mark.parametrize("name", SEEN)
@pytest.mark.parametrize("instructions", instruction_sets())
def test_it_is_the_same_on_every_machine(name: str, instructions: str, monkeypatch) -> None:
    monkeypatch.setenv(VARIABLE, instructions)
    instruction_set.cache_clear()
    try:
        record = (GOLDEN / f"{name}.tp").read_bytes()
        model = "ntc-3" if name.startswith("ntc-3-") else "ntc-1"
        seen = TileCodec("ntc", quality=50, model=model).decode(record, decoder="view")
    finally:
        monkeypatch.undo()
        instruction_set.cache_clear()
    found = hashlib.sha256(np.ascontiguousarray(seen).tobytes()).hexdigest()
    assert found.startswith(SEEN[name])


@pytest.mark.parametrize("kind", [LAPPED, WAVELET])
class TestDependentQuantisation:
    def test_zeros_alone_are_filled(self, kind: int) -> None:
        coefficients = (image(96, 120)[0].astype(np.float32) - 2000) / np.float32(40)
        forward(kind, coefficients)
        encode_plane(kind, coefficients, None, dependent(), 8.0)
        plane = coefficients.copy()
        inverse(kind, plane)
        fill_zeros(kind, plane, None, dependent(), 7)
        forward(kind, plane)
        changed = np.abs(plane - coefficients) > 1e-2
        assert changed.mean() > 0.2
        assert not np.any(changed & (np.abs(coefficients) > 0.2))
        assert np.abs(plane - coefficients).max() < 0.52


class TestARecord:
    def test_it_is_the_same_whenever_it_is_read(self) -> None:
        codec = TileCodec("ntc", psnr=34)
        record = codec.encode(image(120, 130, 3), bands=3)
        seen = codec.decode(record, decoder="view")
        assert np.array_equal(codec.decode(record, decoder="view"), seen)
        assert np.array_equal(codec.decode(record, decoder="view", planes=[2])[0], seen[2])
        assert not np.array_equal(codec.decode(record), seen)

    def test_other_chunks_have_other_noise(self) -> None:
        places = np.arange(1000)
        assert np.mean(hashed(1, places) == hashed(2, places)) < 0.01

    def test_random_bits_are_even(self) -> None:
        drawn = hashed(123, np.arange(100_000)) / 2**32
        assert abs(drawn.mean() - 0.5) < 0.005
        assert abs(drawn.std() - 12**-0.5) < 0.005
        assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.02

    def test_texture_comes_back_and_costs_little(self) -> None:
        samples = image(256, 256)
        samples = samples + np.random.default_rng(0).integers(0, 200, samples.shape)
        samples = samples.astype(np.uint16)
        codec = TileCodec("ntc", psnr=32)
        record = codec.encode(samples)
        base, seen = codec.decode(record), codec.decode(record, decoder="view")

        def gradients(a: np.ndarray) -> float:
            return float(np.abs(np.diff(a.astype(float), axis=2)).mean())

        assert gradients(base) < gradients(seen) < 1.1 * gradients(samples)
        off = [np.square(a.astype(float) - samples).mean() for a in (base, seen)]
        assert off[1] < 1.7 * off[0]
