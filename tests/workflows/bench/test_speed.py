"""Speeds are compared in pairs on samples that come back; how fast anything is, no test says."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs import threads as pool
from tilepress.codecs.tile import TileCodec
from tilepress.workflows.bench import speed
from tilepress.workflows.bench.speed import (
    SPEED_PEERS,
    SpeedRow,
    Workload,
    measure_speed,
    sample_type,
)


def ours(nodata: float | int | None) -> TileCodec:
    return TileCodec(nodata=nodata)


def noisy(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    values = 60 + np.random.default_rng(seed).integers(0, 9, shape) + np.arange(shape[-1]) // 8
    return values.astype(dtype)


def row(codec: str, encode_s: tuple[float, ...], decode_s: tuple[float, ...]) -> SpeedRow:
    return SpeedRow(
        kind="16-bit grey",
        codec=codec,
        encode_setting="tiles",
        decode_setting="tiles",
        raw_bytes=6_000_000,
        samples=3_000_000,
        coded_bytes=1_000_000,
        first_s=0.0,
        encode_s=encode_s,
        decode_s=decode_s,
        encode_cpu_s=encode_s,
        decode_cpu_s=decode_s,
    )


class TestRatiosArePaired:
    """A machine that is busy in one round slows both: only rounds compare."""

    def test_the_median_of_the_rounds(self):
        a = row("a", (1.0, 10.0, 2.0), (1.0, 1.0, 1.0))
        b = row("b", (2.0, 20.0, 8.0), (0.5, 0.5, 3.0))
        assert a.ratios(b) == (2.0, 0.5)

    def test_megabytes_are_of_decoded_samples(self):
        assert row("a", (1.0, 2.0, 3.0), (6.0, 6.0, 6.0)).encode_mb_s == pytest.approx(3)


class TestSampleTypesAreApart:
    @pytest.mark.parametrize(
        ("shape", "dtype", "bands", "kind"),
        [
            ((9, 9), "u2", 1, "16-bit grey"),
            ((4, 9, 9), "i2", 1, "16-bit grey"),
            ((3, 9, 9), "u1", 3, "8-bit RGB"),
            ((6, 9, 9), "u1", 6, "8-bit multi-band"),
            ((3, 9, 9), "u2", 3, "16-bit multi-band"),
            ((9, 9), "f4", 1, "float32 grey"),
        ],
    )
    def test_named_for_what_they_are(self, shape, dtype, bands, kind):
        assert sample_type(np.zeros(shape, dtype), bands) == kind


class TestTheWorkloadIsBounded:
    def test_classes_take_turns(self):
        work = Workload(limit_bytes=4000)
        for seed in range(4):
            work.add(noisy((20, 20), "u2", seed), 1, "ct", None)
        work.add(noisy((20, 20), "u2", 9), 1, "sar", None)
        ((kind, images),) = work.chosen()
        assert kind == "16-bit grey"
        assert len(images) == 5
        assert np.array_equal(images[1].samples, noisy((20, 20), "u2", 9))

    def test_large_images_give_a_part(self):
        work = Workload(limit_bytes=2**20)
        work.add(np.zeros((30, 3000, 700), np.uint8), 1, "ct", None)
        ((_, (image,)),) = work.chosen()
        assert image.samples.nbytes <= 2**20
        assert image.samples.shape[0] == 1
        assert image.samples.shape[-1] == 700

    def test_nothing_is_nothing(self):
        work = Workload()
        work.add(np.zeros((0, 5), np.uint8), 1, "ct", None)
        assert list(work.chosen()) == []


@pytest.fixture(scope="module")
def result() -> speed.SpeedResult:
    work = Workload()
    work.add(noisy((600, 40), "u2"), 1, "grey", 61)
    work.add(noisy((4, 30, 40), "u1"), 4, "rgb", None)
    work.add(noisy((2, 30, 40), "f4"), 2, "bands", None)
    return measure_speed(work, {"tilepress": ours}, rounds=3, threads=2)


class TestEveryCodecIsTimedInEveryRound:
    def test_on_every_sample_type(self, result: speed.SpeedResult):
        kinds = {"16-bit grey", "8-bit RGB", "float32 multi-band"}
        wanted = {(kind, codec) for kind in kinds for codec in ("tilepress", *SPEED_PEERS)}
        assert {(row.kind, row.codec) for row in result.rows} == wanted

    def test_three_times(self, result: speed.SpeedResult):
        for row in result.rows:
            assert len(row.encode_s) == len(row.decode_s) == result.rounds == 3
            assert row.coded_bytes > 0

    def test_references_stand_at_one(self, result: speed.SpeedResult):
        written = result.to_json()["rows"]
        own = [row["to jpegxl e7"] for row in written if row["codec"] == "jpegxl e7"]
        assert own == [{"encode": 1.0, "decode": 1.0}] * 3

    def test_the_threads_are_told(self, result: speed.SpeedResult):
        assert result.threads == 2
        assert "2 threads" in result.figures()[0].notes[0]

    def test_time_by_function_names_the_kernels(self, result: speed.SpeedResult):
        stages = result.stages["tilepress, 16-bit grey"]
        assert any(name.startswith("coder.") for name in stages["decode"])
        assert len(result.figures()) == 2

    def test_the_threads_are_as_before(self):
        before = pool.threads()
        measure_speed(Workload(), {}, threads=before + 3)
        assert pool.threads() == before


class TestOrderTurns:
    """Whoever always came first would always meet a cold cache."""

    def test_each_round_starts_with_another(self):
        order: list[str] = []

        def way(name: str) -> speed._Way:
            def encode(item: np.ndarray) -> bytes:
                order.append(name)
                return item.tobytes()

            items = [np.arange(4)]
            return speed._Way("as is", False, items, encode, lambda pair: pair[1])

        rows = list(speed._time_kind("kind", [], {n: [way(n)] for n in "abc"}, 3))
        assert [row.codec for row in rows] == ["a", "b", "c"]
        assert "".join(order) == "abc" + "abc" + "bca" + "cab"


class TestOnlyWhatComesBackIsTimed:
    def test_a_codec_that_changes_samples_is_an_error(self):
        bad = speed._Way("as is", True, [np.arange(4)], lambda item: b"", lambda pair: pair[1] + 1)
        with pytest.raises(RuntimeError, match="x did not give back the same samples"):
            speed._first_pass("x", [bad])

    def test_the_faster_way_is_taken_for_each_direction(self, monkeypatch):
        now = [0.0]
        monkeypatch.setattr(speed.time, "perf_counter", lambda: now[0])

        def way(setting: str, encode_s: float, decode_s: float) -> speed._Way:
            def encode(item: np.ndarray) -> bytes:
                now[0] += encode_s
                return setting.encode()

            def decode(pair: tuple[bytes, np.ndarray]) -> np.ndarray:
                now[0] += decode_s
                return pair[1]

            return speed._Way(setting, False, [np.arange(4)], encode, decode)

        found = speed._first_pass("x", [way("tiles", 1, 5), way("planes", 5, 1)])
        assert (found.encode_way.setting, found.decode_way.setting) == ("tiles", "planes")
        assert found.coded == [b"planes"]
        assert found.coded_bytes == len(b"tiles")
        assert found.first_s == 12

    def test_fewer_than_three_rounds_are_refused(self):
        with pytest.raises(ValueError, match="want at least 3"):
            measure_speed(Workload(), {}, rounds=2)
