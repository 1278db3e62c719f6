"""Bytes are for ever: every golden record of ``ntc`` decodes to its samples, on each machine."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.native.library import (
    FILE_VARIABLE,
    VARIABLE,
    instruction_set,
    instruction_sets,
)
from tilepress.codecs.record import samples_crc, unpack_record
from tilepress.codecs.weights import load_named

from ...helpers.native import built

GOLDEN = Path(__file__).parent.parent / "golden"
INDEX = json.loads((GOLDEN / "ntc/index.json").read_text())

_spec = importlib.util.spec_from_file_location("regenerate_ntc", GOLDEN / "regenerate_ntc.py")
assert _spec is not None
assert _spec.loader is not None
regenerate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(regenerate)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    @pytest.mark.parametrize("instructions", instruction_sets())
    def test_decodes_as_ever(self, name: str, instructions: str, monkeypatch) -> None:
        monkeypatch.setenv(VARIABLE, instructions)
        instruction_set.cache_clear()
        try:
            data = (GOLDEN / "ntc" / f"{name}.tp").read_bytes()
            assert sha256(data) == INDEX[name]["record_sha256"], "a golden file changed"
            samples = regenerate.decoded(data, INDEX[name]["model"])
        finally:
            monkeypatch.undo()
            instruction_set.cache_clear()
        assert [samples.dtype.name, list(samples.shape)] == [
            INDEX[name]["dtype"],
            INDEX[name]["shape"],
        ]
        assert sha256(np.ascontiguousarray(samples).tobytes()) == INDEX[name]["samples_sha256"]
        header = unpack_record(data)[0]
        assert samples_crc(samples) == header.symbols_crc
        assert header.model_id.hex() == load_named(INDEX[name]["model"]).sha256[:16]


def test_none_is_missing() -> None:
    files = {path.stem for path in (GOLDEN / "ntc").glob("*.tp")}
    assert files == set(INDEX) == {case[0] for case in regenerate.cases()}


def written_again() -> dict[str, tuple[str, str]]:
    """Return the hashes of what is encoded here, and of what the golden records decode to."""
    found = {}
    for name, *case in regenerate.cases():
        data = (GOLDEN / "ntc" / f"{name}.tp").read_bytes()
        samples = regenerate.decoded(data, INDEX[name]["model"])
        found[name] = (sha256(regenerate.record(*case)), sha256(samples.tobytes()))
    return found


class TestProcessorsChangeNothing:
    """Sums of singles run down vectors, never across: neither width nor compiler may be seen."""

    def check(self, **variables: str) -> None:
        line = (
            "import json, tests.codecs.ntc.test_golden as t; print(json.dumps(t.written_again()))"
        )
        done = subprocess.run(
            [sys.executable, "-c", line],
            env={**os.environ, **variables},
            cwd=GOLDEN.parents[2],
            capture_output=True,
            text=True,
            timeout=250,
        )
        assert done.returncode == 0, done.stderr
        there = json.loads(done.stdout)
        assert there == {name: list(pair) for name, pair in written_again().items()}
        for name, (_, samples) in there.items():
            assert samples == INDEX[name]["samples_sha256"]

    @pytest.mark.parametrize("instructions", instruction_sets())
    def test_with_every_instruction_set(self, instructions: str) -> None:
        self.check(**{VARIABLE: instructions})

    @pytest.mark.slow
    def test_without_optimisation(self, tmp_path: Path) -> None:
        self.check(**{FILE_VARIABLE: str(built(tmp_path / "_kernel.so", "-O0"))})
