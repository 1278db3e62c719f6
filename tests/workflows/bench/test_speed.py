"""Speeds are compared in pairs on samples that come back; how fast anything is, no test says."""

from __future__ import annotations

import numpy as np
import pytest

from tilepress.codecs import threads as pool
from tilepress.codecs.tile import TileCodec
from tilepress.workflows.bench import speed
from tilepress.workflows.bench.speed import measure_speed, speed_settings
from tilepress.workflows.bench.speed_results import SpeedResult
from tilepress.workflows.bench.workload import Workload


def ours(nodata: float | int | None) -> TileCodec:
    return TileCodec(nodata=nodata)


def noisy(shape: tuple[int, ...], dtype: str, seed: int = 1) -> np.ndarray:
    values = 60 + np.random.default_rng(seed).integers(0, 9, shape) + np.arange(shape[-1]) // 8
    return values.astype(dtype)


@pytest.fixture(scope="module")
def result() -> SpeedResult:
    work = Workload()
    work.add(noisy((600, 40), "u2"), 1, "grey", 61)
    work.add(noisy((4, 30, 40), "u1"), 4, "rgb", None)
    work.add(noisy((2, 30, 40), "f4"), 2, "bands", None)
    return measure_speed(work, {"tilepress": ours}, rounds=3, threads=2)


class TestEveryCodecIsTimedInEveryRound:
    def test_on_every_sample_type(self, result: SpeedResult):
        kinds = {"16-bit grey", "8-bit RGB", "float32 multi-band"}
        wanted = {(kind, codec) for kind in kinds for codec in ("tilepress", *speed_settings())}
        assert {(row.kind, row.codec) for row in result.rows} == wanted

    def test_three_times(self, result: SpeedResult):
        for row in result.rows:
            assert len(row.encode_s) == len(row.decode_s) == result.rounds == 3
            assert row.coded_bytes > 0

    def test_references_stand_at_one(self, result: SpeedResult):
        written = result.to_json()["rows"]
        own = [row["to jpegxl e7"] for row in written if row["codec"] == "jpegxl e7"]
        assert own == [{"encode": 1.0, "decode": 1.0}] * 3

    def test_the_threads_are_told(self, result: SpeedResult):
        assert result.threads == 2
        assert "2 threads" in result.figures()[0].notes[0]

    def test_time_by_function_names_the_kernels(self, result: SpeedResult):
        stages = result.stages["tilepress, 16-bit grey"]
        assert "library.tp_decode" in stages["decode"]
        assert {"library.tp_predict", "library.tp_symbols"} <= stages["encode"].keys()
        assert len(result.figures()) == 2

    def test_the_threads_are_as_before(self):
        before = pool.threads()
        measure_speed(Workload(), {}, threads=before + 3)
        assert pool.threads() == before


class TestOrderOfTheTable:
    """The references come first, whatever the order in which codecs are registered."""

    def test_speeds_are_in_the_order_of_the_table(self):
        assert list(speed_settings()) == [
            "jpegxl e3", "jpegxl e7", "jpegls", "htj2k", "jpeg2000", "zstd 3",
        ]  # fmt: skip
        assert list(speed_settings(["zstd", "tilepress", "jpegxl"])) == [
            "jpegxl e3", "jpegxl e7", "zstd 3",
        ]  # fmt: skip


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
