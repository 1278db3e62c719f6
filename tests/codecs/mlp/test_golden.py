"""Bytes are for ever: every golden record of ``mlp`` decodes to its samples, on each machine."""

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

from tilepress.codecs.record import samples_crc, unpack_record
from tilepress.codecs.weights import load_named

GOLDEN = Path(__file__).parent.parent / "golden"
INDEX = json.loads((GOLDEN / "mlp/index.json").read_text())


def module(name: str, folder: Path):
    spec = importlib.util.spec_from_file_location(name, folder / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


regenerate = module("regenerate_mlp", GOLDEN)
independent = module("independent_mlp", GOLDEN.parent)


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    def test_decodes_as_ever(self, name: str) -> None:
        data = (GOLDEN / "mlp" / f"{name}.tp").read_bytes()
        assert sha256(data) == INDEX[name]["record_sha256"], "a golden file changed"
        samples = regenerate.decoded(data, INDEX[name]["model"])
        told = [samples.dtype.name, list(samples.shape)]
        assert told == [INDEX[name]["dtype"], INDEX[name]["shape"]]
        assert sha256(np.ascontiguousarray(samples).tobytes()) == INDEX[name]["samples_sha256"]
        header = unpack_record(data)[0]
        assert samples_crc(samples) == header.symbols_crc
        assert header.model_id.hex() == load_named(INDEX[name]["model"]).sha256[:16]

    def test_a_decoder_written_from_the_format_gives_the_same(self, name: str) -> None:
        """FORMAT.md §18 says enough."""
        data = (GOLDEN / "mlp" / f"{name}.tp").read_bytes()
        header, payload = unpack_record(data)
        weights = load_named(INDEX[name]["model"]).data
        samples = independent.decode(bytes(payload), header.coded, header.dtype, weights)
        assert sha256(np.ascontiguousarray(samples).tobytes()) == INDEX[name]["samples_sha256"]


def test_none_is_missing() -> None:
    files = {path.stem for path in (GOLDEN / "mlp").glob("*.tp")}
    assert files == set(INDEX) == {case[0] for case in regenerate.cases()}


def written_again() -> dict[str, str]:
    """Return the hashes of what is encoded here."""
    return {name: sha256(regenerate.record(*case)) for name, *case in regenerate.cases()}


@pytest.mark.parametrize(
    "variables",
    [
        {"OPENBLAS_CORETYPE": "Prescott"},
        {"OPENBLAS_CORETYPE": "Haswell"},
        {"OPENBLAS_NUM_THREADS": "1", "NPY_DISABLE_CPU_FEATURES": "AVX2 FMA3"},
    ],
)
def test_kernels_of_matrix_products_change_nothing(variables: dict[str, str]) -> None:
    """Sums are exact, so that it does not matter how a library adds: bytes stay the same."""
    line = "import json, tests.codecs.mlp.test_golden as t; print(json.dumps(t.written_again()))"
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", line],
        env={**os.environ, **variables},
        cwd=GOLDEN.parents[2],
        capture_output=True,
        text=True,
        timeout=250,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == {n: INDEX[n]["record_sha256"] for n in INDEX}
