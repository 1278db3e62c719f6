"""Planes come back from their transforms, and values from their streams, the same anywhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilepress.codecs.native.library import instruction_sets
from tilepress.codecs.ntc import plane as planes_module
from tilepress.codecs.ntc.chunk import _stream
from tilepress.codecs.ntc.layout import FEATURES, LAPPED, NETS, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.ntc.plane import (
    Stream,
    band_count,
    decode_plane,
    encode_plane,
    examine_plane,
    forward,
    inverse,
    maps_size,
    padded_sides,
)
from tilepress.errors import InvalidRecord

from .pictures import bundled, dependent, image

SIDES = [(64, 64), (8, 8), (40, 24), (8, 200)]
ODD = [(1, 1), (1, 9), (7, 3), (37, 53), (9, 130)]


def coefficients(kind: int, height: int, width: int, step: float = 20.0, seed: int = 0):
    plane = image(height, width, seed=seed)[0].astype(np.float32)
    plane -= plane.mean()
    forward(kind, plane)
    return plane / np.float32(step)


class TestTransforms:
    @pytest.mark.parametrize("sides", SIDES)
    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_come_back(self, kind: int, sides: tuple[int, int]) -> None:
        given = image(*sides)[0].astype(np.float32)
        plane = given.copy()
        forward(kind, plane)
        assert min(sides) == 1 or not np.allclose(plane, given, atol=1)
        inverse(kind, plane)
        assert np.abs(plane - given).max() < 0.01

    @pytest.mark.parametrize("sides", ODD)
    def test_wavelets_of_any_sides(self, sides: tuple[int, int]) -> None:
        given = image(*sides)[0].astype(np.float32)
        plane = given.copy()
        forward(WAVELET, plane)
        inverse(WAVELET, plane)
        assert np.abs(plane - given).max() < 0.01

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_an_error_of_one_is_an_error_of_one(self, kind: int) -> None:
        """Of whatever coefficient: so one step suits them all."""
        for at in [(64, 64), (65, 72), (64, 67), (70, 71), (80, 200), (200, 90), (190, 190)]:
            plane = np.zeros((256, 256), np.float32)
            plane[at] = 1
            inverse(kind, plane)
            assert np.sqrt(np.square(plane.astype(float)).sum()) == pytest.approx(1, abs=0.08), at

    def test_energy_is_compacted(self) -> None:
        """A ramp is a few numbers."""
        for kind in (LAPPED, WAVELET):
            plane = np.add.outer(np.arange(64.0), np.arange(64.0)).astype(np.float32)
            forward(kind, plane)
            large = np.sort(np.abs(plane).ravel())[::-1]
            assert large[400] < 1.0 < large[30]

    def test_sides_of_blocks(self) -> None:
        assert padded_sides(LAPPED, 9, 16) == (16, 16)
        assert padded_sides(WAVELET, 9, 16) == (9, 16)


class TestCoding:
    @pytest.mark.parametrize("sides", SIDES)
    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    @pytest.mark.parametrize("step", [0.05, 1.0, 30.0, 2000.0])
    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_what_is_coded_is_decoded(
        self, kind: int, sides: tuple[int, int], step: float, model_of: Callable[[], NtcModel]
    ) -> None:
        model, maps, before = model_of(), None, None
        for seed in range(2):
            given = coefficients(kind, *sides, step, seed)
            made = given.copy()
            coded = encode_plane(kind, made, before, model, 8.0)
            stream = _stream(coded, model)
            if stream is not None:
                out = np.full(sides, np.nan, np.float32)
                maps = decode_plane(kind, out, maps if seed else None, model, stream)
                assert np.array_equal(out, made)
                assert np.array_equal(maps, coded.maps)
            else:
                maps = coded.maps
            before = coded.maps
            assert np.abs(made - given).mean() < 0.5

    @pytest.mark.parametrize("sides", ODD)
    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_wavelets_of_any_sides(
        self, sides: tuple[int, int], model_of: Callable[[], NtcModel]
    ) -> None:
        model = model_of()
        made = coefficients(WAVELET, *sides, 3.0) + np.float32(5)
        coded = encode_plane(WAVELET, made, None, model, 8.0)
        stream = _stream(coded, model)
        assert stream is not None
        out = np.empty(sides, np.float32)
        decode_plane(WAVELET, out, None, model, stream)
        assert np.array_equal(out, made)

    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_every_instruction_set_gives_the_same(
        self, monkeypatch: pytest.MonkeyPatch, model_of: Callable[[], NtcModel]
    ) -> None:
        assert len(instruction_sets()) >= 1
        for kind in (LAPPED, WAVELET):
            found = []
            for number in range(len(instruction_sets())):
                monkeypatch.setattr(planes_module, "instruction_set", lambda n=number: n)
                before = None
                for seed in range(2):
                    made = coefficients(kind, 72, 136, 10.0, seed)
                    coded = encode_plane(kind, made, before, model_of(), 8.0)
                    before = coded.maps
                found.append((made.tobytes(), coded.values.tobytes(), coded.tables.tobytes()))
            assert len(set(found)) == 1

    def test_tables_are_those_of_the_integers_in_the_file(self) -> None:
        """What native code adds up in vectors is what the weights say of its features."""
        model = bundled()
        for name, kind in NETS.items():
            made = coefficients(kind, 64, 96, 15.0)
            coded = encode_plane(kind, made, None, model, 8.0)
            whole = np.rint(made)  # a reconstruction is nearer to its value than to any other
            features, bands, values, _ = examine_plane(kind, whole, None, 0.5)
            # a lapped plane's means are transformed again, and what was rounded would be again
            own = bands < 64 if kind == LAPPED else bands >= 64
            first = int(np.argmax(own)) + len(coded.values) - self.coded(kind, coded.bands)
            values, features = values[own], features[own]
            count = min(len(values), len(coded.values) - first)
            assert count > 2000
            assert np.array_equal(values[:count], coded.values[first : first + count])
            wanted = model.nets[name].tables(features[:count], bands[own][:count] % 64)
            assert np.array_equal(coded.tables[first : first + count], wanted)

    def coded(self, kind: int, bands: int) -> int:
        """Values behind the lowest band, of planes of 64 × 96."""
        means = 8 * 12 - 4 * 6 if kind == LAPPED else 0
        whole = 64 * 96 - 8 * 12 if kind == LAPPED else 64 * 96 - 4 * 6
        return means + whole - (band_count(kind, 64, 96) - bands) * 8 * 12 * (kind == LAPPED)

    def test_bits_are_what_the_stream_takes(self) -> None:
        model = bundled()
        coded = encode_plane(LAPPED, coefficients(LAPPED, 128, 128, 10.0), None, model, 8.0)
        stream = _stream(coded, model)
        assert stream is not None
        size = 8 * (stream.words.nbytes + stream.raw.nbytes + stream.states.nbytes)
        assert coded.bits < size < 1.02 * coded.bits + 200

    def test_a_higher_price_of_errors_makes_fewer_of_them(self) -> None:
        off, bits = [], []
        for price in (2.0, 8.0, 100.0):
            given = coefficients(LAPPED, 128, 128, 30.0)
            made = given.copy()
            bits.append(encode_plane(LAPPED, made, None, bundled(), price).bits)
            off.append(float(np.square(made - given).sum()))
        assert bits == sorted(bits)
        assert off == sorted(off, reverse=True)

    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_largest_values(self, model_of: Callable[[], NtcModel]) -> None:
        """What is beyond the largest magnitude is that, not something else."""
        model = model_of()
        for kind in (LAPPED, WAVELET):
            made = np.full((32, 32), 1e12, np.float32)
            made[::2] = -1e12
            coded = encode_plane(kind, made, None, model, 8.0)
            assert np.abs(made).max() <= 2**22 + 2**21 or kind == LAPPED
            stream = _stream(coded, model)
            assert stream is not None
            out = np.empty((32, 32), np.float32)
            decode_plane(kind, out, None, model, stream)
            assert np.array_equal(out, made)

    def test_features_are_all_used(self) -> None:
        made = coefficients(LAPPED, 64, 64, 5.0)
        _, _, _, before = examine_plane(LAPPED, made, None, 0.5)
        features, bands, values, _ = examine_plane(LAPPED, made, before, 0.5)
        assert features.shape == (len(values), FEATURES)
        lapped = features[bands < 64]
        assert (lapped.max(axis=0) > 0).all()
        assert lapped.min() >= 0

    def test_geometry(self) -> None:
        assert band_count(LAPPED, 512, 512) == 63 + 9
        assert band_count(WAVELET, 512, 512) == 15
        assert band_count(WAVELET, 1, 7) == 0
        assert maps_size(WAVELET, 1, 7) > 0


class TestDependent:
    """Which of two quantisers a value is of, values before it say: FORMAT.md §15.3."""

    def coded(self, kind: int, step: float):
        made = coefficients(kind, 128, 128, step)
        given = made.copy()
        return given, made, encode_plane(kind, made, None, dependent(), 8.0)

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_features_of_known_values_give_the_tables(self, kind: int) -> None:
        _, _, coded = self.coded(kind, 15.0)
        plane = np.zeros((128, 128), np.float32)
        features, bands, values, maps = examine_plane(kind, plane, None, 0.5, coded.values)
        first = plane.size - len(values)
        count = len(coded.values) - first
        assert np.array_equal(values[:count], coded.values[first:])
        assert not values[count:].any()
        assert np.array_equal(maps, coded.maps)
        for name, net_of in NETS.items():
            mine = (bands[:count] < 64) == (net_of == LAPPED)
            wanted = dependent().nets[name].tables(features[:count][mine], bands[:count][mine] % 64)
            assert np.array_equal(coded.tables[first:][mine] % 80, wanted)
        assert (coded.tables >= 80).any()

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_values_are_told_of_what_was_made_of_them(self, kind: int) -> None:
        """Through both transforms, and whichever quantiser each is of."""
        _, made, coded = self.coded(kind, 15.0)
        quantisers = np.full(made.size, 9, np.uint8)
        inverse(kind, made)
        forward(kind, made)
        _, _, values, maps = examine_plane(
            kind, made, None, 0.5, dependent=True, quantisers=quantisers
        )
        low, count = made.size - len(values), len(coded.values)
        assert np.array_equal(values[: count - low], coded.values[low:])
        assert np.array_equal(maps, coded.maps)
        assert np.array_equal(quantisers[: count - low], coded.tables[low:] // 80)
        assert not quantisers[count - low : len(values)].any()

    def test_values_lie_on_halves_of_the_second_quantiser(self) -> None:
        model = dependent()
        exact = NtcModel(model.nets, model.frequencies, np.zeros_like(model.offsets))
        made = coefficients(WAVELET, 128, 128, 10.0)
        encode_plane(WAVELET, made, None, exact, 8.0)
        halves = np.rint(2 * made)
        assert np.array_equal(halves, 2 * made)
        assert 0.1 < (halves % 2 == 1).mean() < 0.9

    def test_errors_are_less_at_the_same_step(self) -> None:
        """By about a decibel where every value is large: what a trellis of eight states brings."""
        rng = np.random.default_rng(0)
        given = (rng.laplace(0, 40, (256, 256))).astype(np.float32)
        squared = []
        for model in (bundled(), dependent()):
            made = given.copy()
            encode_plane(WAVELET, made, None, model, 20.0)
            squared.append(float(np.square(made - given)[8:, 8:].mean()))
        assert 0.8 < 10 * np.log10(squared[0] / squared[1]) < 1.2


class TestDamage:
    def stream(self, kind: int) -> Stream:
        found = _stream(
            encode_plane(kind, coefficients(kind, 64, 64), None, bundled(), 8.0), bundled()
        )
        assert found is not None
        return found

    def decode(self, kind: int, **changed: object) -> None:
        stream = self.stream(kind)
        fields = {name: getattr(stream, name) for name in Stream.__slots__} | changed
        decode_plane(kind, np.empty((64, 64), np.float32), None, bundled(), Stream(**fields))

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_of_the_lowest_band_alone(self, kind: int) -> None:
        """What is wrong there is said where no other band is coded, too."""
        words = self.stream(kind).words[:0]
        with pytest.raises(InvalidRecord, match="words end too early"):
            self.decode(kind, bands=0, words=words)

    @pytest.mark.parametrize("kind", [LAPPED, WAVELET])
    def test_is_refused(self, kind: int) -> None:
        stream = self.stream(kind)
        self.decode(kind)
        cut, more = stream.words[:-1].copy(), np.append(stream.words, np.uint16(0))
        with pytest.raises(InvalidRecord, match=r"words end too early|left over|raw bits"):
            self.decode(kind, words=cut)
        with pytest.raises(InvalidRecord, match="left over"):
            self.decode(kind, words=more)
        with pytest.raises(InvalidRecord, match=r"raw bits end|left over"):
            self.decode(kind, raw=stream.raw[:-1].copy())
        with pytest.raises(InvalidRecord, match="left over"):
            self.decode(kind, raw=np.append(stream.raw, np.uint8(0)))
        with pytest.raises(InvalidRecord):
            self.decode(kind, bands=0)
