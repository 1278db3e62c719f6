"""Chunks of every kind of samples come back as the encoder said, and none becomes absent."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.chunk import Analysis, decode_chunk, encode_chunk, price_of
from tilepress.codecs.ntc.layout import LAPPED, WAVELET
from tilepress.codecs.ntc.model import NtcModel
from tilepress.errors import ChecksumMismatch, InvalidRecord, TooMuchMemory

from .pictures import bundled, dependent, image

ENOUGH = Budget("decoding a record", 2**30)


def there_and_back(samples, step: float, absent=None, bands: int = 1, model=None):
    model = bundled() if model is None else model
    coded = encode_chunk(samples, absent, bands, step, model)
    assert coded is not None
    payload, decoded = coded
    again = decode_chunk(memoryview(payload), samples.shape, samples.dtype, model, ENOUGH)
    assert again.dtype == samples.dtype
    assert np.array_equal(again, decoded)
    return payload, decoded


def squared(a, b) -> float:
    return float(np.square(a.astype(np.float64) - b.astype(np.float64)).mean())


class TestEveryKindOfSamples:
    @pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16", "uint32", "int32"])
    @pytest.mark.parametrize("shape", [(1, 64, 80), (3, 37, 53), (5, 8, 9), (1, 1, 1), (2, 1, 30)])
    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_the_encoder_knows_what_is_decoded(
        self, dtype: str, shape: tuple[int, ...], model_of: Callable[[], NtcModel]
    ) -> None:
        samples = image(*shape[1:], shape[0], dtype)
        for step in (0.5, 6.0, 500.0):
            bands = 3 if shape[0] == 3 else 1
            _, decoded = there_and_back(samples, step, bands=bands, model=model_of())
            assert squared(samples, decoded) < step**2 / 6 + 0.5

    def test_a_smaller_step_is_nearer_and_larger(self) -> None:
        samples = image(128, 128)
        found = [there_and_back(samples, step) for step in (2.0, 8.0, 32.0, 128.0)]
        sizes = [len(payload) for payload, _ in found]
        assert sizes == sorted(sizes, reverse=True)
        off = [squared(samples, decoded) for _, decoded in found]
        assert off == sorted(off)

    def test_both_transforms(self) -> None:
        samples = image(70, 90, 2)
        for kind in (LAPPED, WAVELET):
            analysis = Analysis.of(samples, None, 1)
            assert analysis is not None
            analysis.kinds = (kind,)
            payload, decoded = analysis.encode(10.0, bundled())
            assert payload[1] & 1 == kind
            again = decode_chunk(
                memoryview(payload), samples.shape, samples.dtype, bundled(), ENOUGH
            )
            assert np.array_equal(again, decoded)

    def test_the_better_transform_is_chosen(self) -> None:
        samples = image(96, 96)
        sizes = {}
        for kinds in [(LAPPED,), (WAVELET,), (LAPPED, WAVELET)]:
            analysis = Analysis.of(samples, None, 1)
            assert analysis is not None
            analysis.kinds = kinds
            probe = analysis.probe(16.0, bundled())
            sizes[kinds] = probe.bits + 8 * probe.squared / 16.0**2
        assert sizes[LAPPED, WAVELET] == pytest.approx(min(sizes[(LAPPED,)], sizes[(WAVELET,)]))

    def test_bands_that_go_together_cost_less_together(self) -> None:
        samples = np.concatenate([image(128, 128) + 3 * k for k in range(4)])
        together, _ = there_and_back(samples, 8.0, bands=4)
        analysis = Analysis.of(samples, None, 1)
        assert analysis is not None
        del analysis.ways[1:]
        assert len(together) < 0.7 * len(analysis.encode(8.0, bundled())[0])

    def test_slices_that_are_alike_are_turned_as_bands_are(self) -> None:
        samples = np.concatenate([image(128, 128) + 3 * k for k in range(6)])
        together, _ = there_and_back(samples, 8.0, bands=6)
        for bands in (1, 2, 3):
            assert there_and_back(samples, 8.0, bands=bands)[0] == together

    def test_slices_that_are_not_alike_stay_apart(self) -> None:
        rng = np.random.default_rng(0)
        one = image(96, 96)[0]
        turned = np.stack([np.rot90(one, quarter) for quarter in range(4)])
        samples = (turned + rng.integers(0, 200, turned.shape)).astype(np.uint16)
        payload, _ = there_and_back(samples, 8.0)
        assert payload[1] & 2 == 0

    @pytest.mark.parametrize(("count", "side"), [(33, 48), (16, 24)])
    def test_more_planes_than_a_matrix_takes_or_pays_for(self, count: int, side: int) -> None:
        samples = np.repeat(image(side, side), count, axis=0)
        payload, _ = there_and_back(samples, 8.0)
        assert payload[1] & 2 == 0

    def test_frames_of_colours(self) -> None:
        samples = np.concatenate([image(40, 48, 3, "uint8", seed) for seed in range(2)])
        _, decoded = there_and_back(samples, 4.0, bands=3)
        assert squared(samples, decoded) < 4

    def test_slices_help_one_another(self) -> None:
        one = image(128, 128)
        alone, _ = there_and_back(one, 8.0)
        twice, _ = there_and_back(np.concatenate([one, one]), 8.0)
        assert len(twice) < 1.95 * len(alone)

    def test_what_it_cannot_code(self) -> None:
        model = bundled()
        for dtype in ("float32", "bool", "uint64", "int64"):
            assert encode_chunk(np.ones((1, 8, 8), dtype), None, 1, 1.0, model) is None
        wide = np.array([[[0, 70_000]]], np.uint32)
        assert encode_chunk(wide, None, 1, 1.0, model) is None
        assert encode_chunk(wide + np.uint32(2**31), None, 1, 1.0, model) is None

    def test_an_offset_costs_nothing(self) -> None:
        samples = image(64, 64, 1, "uint32")
        high = samples + np.uint32(4_000_000_000)
        payload, decoded = there_and_back(samples, 8.0)
        moved, moved_decoded = there_and_back(high, 8.0)
        assert np.array_equal(moved_decoded - np.uint32(4_000_000_000), decoded)
        assert len(moved) <= len(payload) + 8

    def test_flat_planes_are_a_few_bytes(self) -> None:
        payload, decoded = there_and_back(np.full((4, 256, 256), 1234, np.uint16), 3.0)
        assert len(payload) < 60
        assert (decoded == 1234).all()

    def test_samples_stay_in_their_range(self) -> None:
        samples = image(64, 64, 2)
        _, decoded = there_and_back(samples, 900.0)
        for given, got in zip(samples, decoded, strict=True):
            assert given.min() <= got.min()
            assert got.max() <= given.max()


class TestAbsentSamples:
    def holes(self, seed: int = 0):
        samples = image(64, 72, 2, "int16", seed)
        y, x = np.mgrid[:64, :72]
        samples[:, (y - 30) ** 2 + (x - 20) ** 2 < 200] = -500
        samples[1, :10] = -500
        return samples

    @pytest.mark.parametrize("step", [1.0, 20.0, 800.0])
    def test_come_back_and_none_is_made(self, step: float) -> None:
        samples = self.holes()
        assert ((samples != -500) & (np.abs(samples.astype(int) + 500) < 40)).any()
        _, decoded = there_and_back(samples, step, np.int16(-500).reshape(()))
        assert np.array_equal(decoded == -500, samples == -500)

    def test_at_either_end_of_the_range(self) -> None:
        for dtype, mark in (("uint8", 0), ("uint8", 255), ("int16", -900), ("uint16", 65535)):
            samples = image(48, 48, 1, dtype)
            samples[0, 10:20, 10:30] = mark
            _, decoded = there_and_back(samples, 30.0, np.array(mark, dtype))
            assert np.array_equal(decoded == mark, samples == mark)

    def test_a_plane_without_any_present(self) -> None:
        samples = image(24, 24, 3)
        samples[1] = 7
        _, decoded = there_and_back(samples, 5.0, np.uint16(7).reshape(()))
        assert np.array_equal(decoded == 7, samples == 7)

    def test_nothing_present(self) -> None:
        there_and_back(np.full((2, 9, 9), 7, np.uint16), 5.0, np.uint16(7).reshape(()))

    def test_a_mark_that_does_not_occur(self) -> None:
        samples = image(32, 32)
        samples[samples == 700] = 701
        _, decoded = there_and_back(samples, 60.0, np.uint16(700).reshape(()))
        assert not (decoded == 700).any()

    def test_holes_cost_little(self) -> None:
        samples = image(256, 256)
        filled, _ = there_and_back(samples, 10.0)
        samples[0, 60:200, 60:200] = 0
        payload, _ = there_and_back(samples, 10.0, np.uint16(0).reshape(()))
        assert len(payload) < len(filled)


class TestSearch:
    @pytest.mark.parametrize("model_of", [bundled, dependent])
    def test_a_probe_tells_size_and_error(self, model_of: Callable[[], NtcModel]) -> None:
        samples = image(160, 160, 3)
        analysis = Analysis.of(samples, None, 3)
        assert analysis is not None
        for step in (4.0, 30.0):
            probe = analysis.probe(step, model_of())
            payload, decoded = analysis.encode(step, model_of())
            assert probe.bits == pytest.approx(8 * len(payload), rel=0.03)
            off = np.square(samples.astype(float) - decoded).sum()
            assert probe.squared + samples.size / 12 == pytest.approx(off, rel=0.05)

    def test_an_analysis_serves_many_steps(self) -> None:
        samples = image(64, 64, 2)
        analysis = Analysis.of(samples, None, 1)
        assert analysis is not None
        for step in (3.0, 50.0, 3.0):
            again = encode_chunk(samples, None, 1, step, bundled())
            assert again is not None
            assert analysis.encode(step, bundled())[0] == again[0]


class TestDependentQuantisation:
    """Of weights that have tables for two quantisers, and of no others."""

    def test_errors_are_less_at_the_same_step(self) -> None:
        samples = image(256, 256, 2)
        for step in (3.0, 12.0, 50.0):
            plain, better = (
                squared(samples, there_and_back(samples, step, model=model)[1])
                for model in (bundled(), dependent())
            )
            assert better < 0.95 * plain

    def test_the_transform_that_plain_values_choose_is_good(self) -> None:
        """As both trellises would choose, or nearly as cheap."""
        lines = np.where(image(200, 200) > 700, 4000, 0).astype(np.uint16)
        for samples in (image(256, 256), lines, image(128, 128, 2)):
            found = []
            for kinds in ((LAPPED, WAVELET), (LAPPED,), (WAVELET,)):
                analysis = Analysis.of(samples, None, len(samples))
                assert analysis is not None
                analysis.kinds = kinds
                probe = analysis.probe(10.0, dependent())
                found.append(probe.bits + price_of(dependent()) * probe.squared / 10.0**2)
            assert found[0] in found[1:]
            assert found[0] <= 1.01 * min(found[1:])

    def test_absent_samples(self) -> None:
        samples = image(70, 90, 2)
        samples[:, 20:50, 30:70] = 7
        _, decoded = there_and_back(samples, 5.0, np.array(7, np.uint16), 2, dependent())
        assert np.array_equal(decoded == 7, samples == 7)

    def test_other_weights_are_refused(self) -> None:
        samples = image(40, 40)
        for model, other in ((bundled(), dependent()), (dependent(), bundled())):
            payload, _ = there_and_back(samples, 5.0, model=model)
            assert bool(payload[1] & 8) == model.is_dependent
            with pytest.raises(InvalidRecord, match="dependent"):
                decode_chunk(memoryview(payload), samples.shape, samples.dtype, other, ENOUGH)


class TestSomePlanes:
    @pytest.mark.parametrize("bands", [1, 3, 6])
    def test_are_right(self, bands: int) -> None:
        samples = image(40, 40, 6)
        analysis = Analysis.of(samples, None, bands)
        assert analysis is not None
        del analysis.ways[1:]
        payload, decoded = analysis.encode(10.0, bundled())
        for wanted in ([0], [1, 4], [5], []):
            out = decode_chunk(
                memoryview(payload), samples.shape, samples.dtype, bundled(), ENOUGH,
                frozenset(wanted),
            )  # fmt: skip
            assert np.array_equal(out[wanted], decoded[wanted])


class TestDamage:
    def test_a_changed_sample_is_found(self) -> None:
        samples = image(64, 64)
        coded = encode_chunk(samples, None, 1, 4.0, bundled())
        assert coded is not None
        changed = bytearray(coded[0])
        changed[2:6] = np.float32(5.0).tobytes()
        with pytest.raises(ChecksumMismatch, match="plane 0"):
            decode_chunk(memoryview(changed), samples.shape, samples.dtype, bundled(), ENOUGH)

    def test_a_cut_payload_is_refused(self) -> None:
        samples = image(32, 32, 2)
        coded = encode_chunk(samples, None, 1, 4.0, bundled())
        assert coded is not None
        for end in range(0, len(coded[0]), 7):
            with pytest.raises(InvalidRecord):
                decode_chunk(
                    memoryview(coded[0][:end]), samples.shape, samples.dtype, bundled(), ENOUGH
                )

    def test_more_memory_than_is_allowed(self) -> None:
        with pytest.raises(TooMuchMemory, match="allowed"):
            decode_chunk(
                memoryview(b""), (1, 8192, 8192), np.dtype("u2"), bundled(), Budget("x", 2**24)
            )
