"""Speeds of lossy codecs are compared in rounds that all of them take part in."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from tilepress.codecs import threads as pool
from tilepress.errors import UsageError
from tilepress.workflows.bench import rate_speed
from tilepress.workflows.bench.rate_speed import RateSpeeds, Timed, run_rate_speeds
from tilepress.workflows.bench.rate_tables import speed_table
from tilepress.workflows.cli.app import app


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """A folder of a picture of 8 bits and one of 16, and one of flags."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:90, :110]
    scene = 120 + 50 * np.sin(x / 13) + 40 * np.cos(y / 9 + x / 31) + rng.normal(0, 6, x.shape)
    folder = tmp_path / "in"
    folder.mkdir()
    np.save(folder / "narrow.npy", scene.clip(0, 255).astype(np.uint8))
    np.save(folder / "wide.npy", (scene * 100).clip(0, 65535).astype(np.uint16))
    np.save(folder / "flags.npy", scene > 130)
    return folder


def _timed(image: str, codec: str, seconds: list[float]) -> Timed:
    times = tuple(seconds)
    return Timed(
        image=image, codec=codec, samples=1_000_000, psnr_db=42.0, peak=255.0, bits_per_sample=1.0,
        encode_s=times, decode_s=times, encode_cpu_s=times, decode_cpu_s=times,
    )  # fmt: skip


class TestRatios:
    def test_are_of_rounds_and_of_images_that_both_took(self) -> None:
        """A round in which the machine was slow is so for both."""
        found = RateSpeeds(("a", "b", "c"), 42.0, 3, 2, 0.0)
        found.rows = [
            _timed("one", "a", [1, 10, 1]),
            _timed("two", "a", [1, 10, 1]),
            _timed("one", "b", [2, 20, 2]),
        ]
        assert found.faster("b", "encode_s") == 0.5
        assert found.faster("a", "decode_s") == 1
        assert found.faster("c", "decode_s") is None
        table = speed_table(found)
        cells = [list(column.cells) for column in table.columns]
        assert (cells[0], cells[5], cells[7]) == (["a", "b"], ["1.0", "0.5"], ["", "0.50"])


class TestRounds:
    def test_every_codec_takes_part_in_each(
        self, images: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        order: list[str] = []
        inner = rate_speed._Contender.run

        def run(self: rate_speed._Contender) -> None:
            order.append(self._name)
            inner(self)

        monkeypatch.setattr(rate_speed._Contender, "run", run)
        before = pool.threads()
        found = run_rate_speeds([images], ["jpeg2000", "webp", "ntc"], 36, rounds=3, threads=1)
        assert pool.threads() == before
        assert order[:9] == [
            *("jpeg2000", "webp", "ntc", "webp", "ntc", "jpeg2000", "ntc", "jpeg2000", "webp")
        ]
        assert {len(row.encode_s) for row in found.rows} == {3}
        assert set(found.of("webp")) == {name for name in found.of("ntc") if "narrow" in name}
        assert "codec 'webp' takes uint8" in " ".join(found.skipped)
        assert "flags.npy: samples are true or false" in " ".join(found.skipped)
        assert all(abs(row.psnr_db - 36) < 1.5 for row in found.rows if row.psnr_db is not None)

    def test_codecs_that_cannot_be_timed(self, images: Path) -> None:
        for name in ("jpeg", "compressai:bmshj2018-factorized@a+b"):
            with pytest.raises(UsageError, match="which is none of tiles"):
                run_rate_speeds([images], [name])
        with pytest.raises(UsageError, match="got 0 dB"):
            run_rate_speeds([images], ["ntc"], 0)


class TestTheCommand:
    def test_tells_and_writes(self, images: Path, tmp_path: Path) -> None:
        line = [
            *("bench", str(images), "--rd", "--speed", "3", "--psnr", "36", "--threads", "1"),
            *("--codecs", "jpeg2000,ntc", "--json", str(tmp_path / "a.json")),
        ]
        done = CliRunner().invoke(app, line)
        assert done.exit_code == 0, done.output
        assert "Speed near 36 dB, 1 threads, 3 paired rounds" in done.stdout
        told = json.loads((tmp_path / "a.json").read_text())
        assert told["anchor"] == "jpeg2000"
        assert set(told["times_as_fast"]) == {"ntc"}
        assert len(told["rows"]) == 4
        peaks = {row["image"].rpartition("/")[2]: row["peak"] for row in told["rows"]}
        wide = np.load(images / "wide.npy")
        assert peaks == {"narrow.npy": 255.0, "wide.npy": float(np.ptp(wide))}
        assert "as compress --psnr has it" in told["psnr_over"]
        assert f"{np.ptp(wide)}" in done.stdout
