"""Fuzz in a process of its own, and report as JSON::

    python -m tests.codecs.fuzz.run records START STOP        written by the grammar, then forged
    python -m tests.codecs.fuzz.run configurations START STOP configurations and weights
    python -m tests.codecs.fuzz.run records INDEX             one case in the open

Run from the root of the checkout. Whatever happens but the right samples or an error of ours, of
one line, within the limits of time and memory, is a failure. A case depends on its index alone.
"""

from __future__ import annotations

import collections
import faulthandler
import json
import os
import resource
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from tests.codecs.fuzz import configurations, grammar
from tests.codecs.test_mutations import Valid, change, fits, repair, valid_records

from tilepress.codecs.native.library import FILE_VARIABLE
from tilepress.codecs.numcodecs_codec import TilepressTile
from tilepress.codecs.record import HEADER_BYTES, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.codec import WaveCoder
from tilepress.codecs.weights import load_named
from tilepress.codecs.zarr_codec import TilepressTileV3
from tilepress.errors import TilepressError

CASE_SECONDS = 5
"""The slowest case takes a tenth of that on a busy machine."""
ADDRESS_BYTES = 6 << 30
MAX_MEMORY = 64 << 20
"""Of a record; what claims more must be refused before it is taken."""
FORGERIES = 12
"""Of each record that the grammar writes."""
_CODECS = [TileCodec(tier=tier) for tier in ("fast", "standard", "max")]


class Report:
    """Counts outcomes, and keeps the first wrong ones."""

    def __init__(self) -> None:
        self.kinds: collections.Counter[str] = collections.Counter()
        self.wrong: list[str] = []

    def attempt(self, name: str, action: Callable[[], str]) -> None:
        """Run a case: ``action`` returns what came, or a text that begins with "wrong"."""
        began = time.process_time()
        try:
            kind = action()
        except TilepressError as error:
            kind = error.kind
            if not 10 < len(str(error)) < 500 or "\n" in str(error):
                kind = f"wrong: an error that says {str(error)[:100]!r}"
        except Exception as error:  # whatever it is: it is told
            kind = f"wrong: {type(error).__name__}: {error}"[:200]
        took = time.process_time() - began
        if took > CASE_SECONDS:
            kind = f"wrong: it took {took:.1f} s"
        self.kinds[kind.partition(":")[0]] += 1
        if kind.startswith("wrong"):
            self.wrong.append(f"{name}: {kind}")

    def as_json(self) -> dict[str, Any]:
        cases = self.kinds.total()
        return {"cases": cases, "kinds": self.kinds, "all_wrong": len(self.wrong),
                "wrong": self.wrong[:20], "peak_bytes": _peak_bytes()}  # fmt: skip


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def records(report: Report, start: int, stop: int) -> None:
    """Decode what the grammar writes, and forgeries of each with their checksums mended."""
    golden = valid_records()
    for index in range(start, stop):
        faulthandler.dump_traceback_later(12 * CASE_SECONDS, exit=True)
        rng = np.random.default_rng([9, index])
        written = grammar.record(rng, _CODECS)
        report.attempt(f"record {index}", lambda w=written: _whole(w))
        valid = Valid(
            "", written.data, written.codec, unpack_record(written.data)[0], written.samples
        )
        for number in range(FORGERIES):
            data = _forged(valid, golden, rng)
            report.attempt(
                f"record {index}, forgery {number}", lambda d=data, v=valid: _decoded(v, d)
            )


def _whole(written: grammar.Written) -> str:
    found = written.codec.decode(written.data, max_memory=MAX_MEMORY)
    same = found.tobytes() == written.samples.tobytes() and found.shape == written.samples.shape
    return "same" if same else "wrong: other samples"


def _forged(valid: Valid, golden: list[Valid], rng: np.random.Generator) -> bytes:
    data = bytearray(valid.record)
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        if rng.random() < 0.5 and len(data) > HEADER_BYTES + 8:  # the payload alone
            payload = change(data[HEADER_BYTES:-4], golden, rng)
            data = data[:HEADER_BYTES] + payload + bytes(4)
        else:
            data = change(data, golden, rng)
        if not data:
            break
    return repair(data)


def _decoded(valid: Valid, data: bytes) -> str:
    found = valid.codec.decode(data, max_memory=MAX_MEMORY)
    header, _ = unpack_record(data)
    fault = fits(found, header)
    return f"wrong: {fault}" if fault else "forged"


def configurations_and_weights(report: Report, start: int, stop: int) -> None:
    """Make codecs of configurations, and of weights files; what is accepted must code."""
    if start == 0:
        for name, config in configurations.every_single_change():
            _configured(report, name, config)
    with tempfile.TemporaryDirectory() as folder:
        for index in range(start, stop):
            faulthandler.dump_traceback_later(12 * CASE_SECONDS, exit=True)
            rng = np.random.default_rng([10, index])
            _configured(report, f"configuration {index}", configurations.configuration(rng))
            data = configurations.weights_file(rng)
            path = Path(folder) / "forged.safetensors"
            path.write_bytes(data)
            report.attempt(f"weights {index}", lambda p=path, n=index: _weights(p, n))


def _configured(report: Report, name: str, config: Any) -> None:
    metadata = {"name": "tilepress.tile", "configuration": config}
    ways: dict[str, Callable[[], object]] = {
        "TileCodec": lambda: TileCodec.from_config(config),
        "zarr": lambda: TilepressTileV3.from_dict(metadata),
        "numcodecs": lambda: TilepressTile.from_config(config),
        "metadata": lambda: TilepressTileV3.from_dict(config),
    }
    for way, make in ways.items():
        report.attempt(f"{name} for {way}", lambda m=make: "made" if m() else "wrong: nothing")


def _weights(path: Path, index: int) -> str:
    data = load_named(str(path)).data
    WaveCoder.check_weights(data)
    if index % 8 == 0:  # weights that are accepted are weights: they lose nothing
        codec = TileCodec(model=str(path))
        tile = (np.arange(600).reshape(20, 30) * 7919 % 251).astype(np.uint8)
        if not np.array_equal(codec.decode(codec.encode(tile)), tile):
            return "wrong: other samples"
        return "coded"
    return "accepted"


def main(arguments: list[str]) -> None:
    faulthandler.enable()
    runs = {"records": records, "configurations": configurations_and_weights}
    run, start = runs[arguments[0]], int(arguments[1])
    stop = int(arguments[2]) if len(arguments) > 2 else start + 1
    if FILE_VARIABLE not in os.environ:  # a library that checks memory claims far more for it
        resource.setrlimit(resource.RLIMIT_AS, (ADDRESS_BYTES, ADDRESS_BYTES))
    warnings.simplefilter("error")  # a reader that makes errors of warnings is a reader too
    report = Report()
    run(report, start, stop)
    faulthandler.cancel_dump_traceback_later()
    print(json.dumps(report.as_json()))


if __name__ == "__main__":
    main(sys.argv[1:])
