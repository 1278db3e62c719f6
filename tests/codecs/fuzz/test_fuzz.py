"""Forged records, configurations and weights: right samples or an error of ours, within limits.

Each runs in a process of its own (``run.py``), so that a crash or a hang there is a failure here.
``TILEPRESS_FUZZ_CASES`` says how many cases the long ones take.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.codec import WaveCoder
from tilepress.errors import TilepressError

from ...helpers.native import checked
from ..test_mutations import crc32c

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
CORPUS = HERE / "corpus"
LONG = int(os.environ.get("TILEPRESS_FUZZ_CASES", "100000"))
PEAK_BYTES = 1 << 30
RECORDS_A_CASE, CONFIGURATIONS_A_CASE = 13, 5
"""What one index of ``run.py`` tries."""


def fuzz(what: str, start: int, stop: int, timeout_s: float, **variables: str) -> dict[str, Any]:
    """Run cases ``start`` … ``stop`` − 1; fail on anything that they must not give."""
    done = subprocess.run(
        [sys.executable, "-m", "tests.codecs.fuzz.run", what, str(start), str(stop)],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        cwd=ROOT,
    )
    assert done.returncode == 0, f"{what} ended with {done.returncode}: {done.stderr[-3000:]}"
    report: dict[str, Any] = json.loads(done.stdout)
    assert not report["all_wrong"], f"{report['all_wrong']} wrong:\n" + "\n".join(report["wrong"])
    assert report["peak_bytes"] < PEAK_BYTES, report
    return report


class TestCorpus:
    """What was found once, or is of a kind of its own."""

    @pytest.mark.parametrize("path", sorted(CORPUS.glob("*.tp")), ids=lambda p: p.stem)
    def test_records(self, path: Path) -> None:
        want = json.loads((CORPUS / "index.json").read_text())[path.stem]
        model = WaveCoder.former_models[want["tier"]][-1]  # which they were written with
        codec, record = TileCodec(tier=want["tier"], model=model), path.read_bytes()
        if want["kind"] == "samples":
            samples = codec.decode(record, max_memory="64MiB")
            assert crc32c(np.ascontiguousarray(samples).tobytes()) == want["crc32c"]
            return
        with pytest.raises(TilepressError) as caught:
            codec.decode(record, max_memory="64MiB")
        assert caught.value.kind == want["kind"]
        assert "\n" not in str(caught.value)

    def test_configurations(self) -> None:
        for config in json.loads((CORPUS / "configurations.json").read_text()):
            with pytest.raises(TilepressError):
                TileCodec.from_config(config)

    def test_is_complete(self) -> None:
        index = json.loads((CORPUS / "index.json").read_text())
        assert {path.stem for path in CORPUS.glob("*.tp")} == set(index)
        assert len(index) > 10


class TestRecords:
    """Written by a grammar of FORMAT.md, then changed, their checksums mended."""

    def test_everyday(self) -> None:
        report = fuzz("records", 0, 150, timeout_s=200)
        kinds = report["kinds"]
        assert report["cases"] == 150 * RECORDS_A_CASE
        assert kinds["same"] == 150  # all that the grammar writes is right
        assert kinds["invalid-record"] > 300
        assert kinds["forged"] > 20

    @pytest.mark.long
    @pytest.mark.timeout(0)
    def test_long(self) -> None:
        fuzz("records", 150, 150 + -(-LONG // RECORDS_A_CASE), timeout_s=60 + LONG / 50)

    @pytest.mark.long
    @pytest.mark.timeout(0)
    def test_no_index_leaves_its_array(self, tmp_path: Path) -> None:
        """Run with every access to memory checked: whatever a record says, none is wrong."""
        variables = checked(tmp_path / "_kernel.so")
        stop = -(-LONG // RECORDS_A_CASE)
        fuzz("records", 0, stop, timeout_s=600 + LONG / 50, **variables)


class TestConfigurationsAndWeights:
    """Every key with values of every type, and weights files changed in header and bytes."""

    def test_everyday(self) -> None:
        report = fuzz("configurations", 0, 200, timeout_s=200)
        assert report["cases"] > 10_000
        assert report["kinds"]["made"] > 500
        assert report["kinds"]["model"] > 500

    @pytest.mark.long
    @pytest.mark.timeout(0)
    def test_long(self) -> None:
        stop = 200 + -(-LONG // CONFIGURATIONS_A_CASE)
        fuzz("configurations", 200, stop, timeout_s=60 + LONG / 50)
