"""``scalar.py`` beside ``scalar.h``, function by function; ``test_cuda.py`` runs this simulated.

The simulator's functions are plain Python; the header is compiled for this machine.
"""

from __future__ import annotations

import ctypes
import subprocess
from collections.abc import Callable, Iterator

import numpy as np
import pytest
from tests.helpers.native import CODECS, compiler

from tilepress.codecs.wave.cuda import scalar

_TWINS = {
    "bit_length": "bit_length",
    "corrected": "corrected",
    "extra_bits": "extra_bits",
    "fold": "fold",
    "log8": "log8",
    "lower": "min",
    "pitch_of": "pitch",
    "position_of": "position",
    "steps": "steps",
    "token_of": "token_of",
    "upper": "max",
}
_OTHERS = {
    "active_rows": "two functions of the header: below",
    "unfold": "what takes fold back: below",
    "device": "no arithmetic",
    **dict.fromkeys(("cell_of", "clip_s7", "median_edge", "scaled_s7", "table_of"), "vectors.h"),
}
"""Those of vectors.h are held to the CPU's by the samples and words of whole planes."""

Function = Callable[..., int]


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> ctypes.CDLL:
    """Compile the header's functions as ones that a library shows."""
    folder = tmp_path_factory.mktemp("scalar")
    source, library = folder / "scalar.c", folder / "scalar.so"
    source.write_text('#define TP_FUNCTION\n#include "scalar.h"\n')
    include = f"-I{CODECS / 'wave' / 'native'}"
    command = [*compiler(), "-std=gnu11", "-O1", "-fPIC", "-shared", include, str(source)]
    subprocess.run([*command, "-o", str(library)], check=True)
    return ctypes.CDLL(str(library))


def twin(header: ctypes.CDLL, name: str) -> Function:
    function = getattr(header, f"tp_{name}")
    wide = name in ("pitch", "position", "steps", "first_row", "end_row")
    kind = ctypes.c_int64 if wide else ctypes.c_int32
    function.restype = kind

    def call(*given: int) -> int:
        return int(function(*map(kind, given)))

    return call


def arguments(name: str) -> Iterator[tuple[int, ...]]:
    """Yield what a function may be asked, its bounds among it."""
    rng = np.random.default_rng(len(name))
    powers = [(1 << k) + d for k in range(31) for d in (-1, 0, 1)]
    if name in ("bit_length", "token_of", "log8"):
        most = (1 << 30) if name == "log8" else (1 << 31) - 1
        yield from ((v,) for v in [*range(2100), *powers] if 0 <= v <= most)
    elif name == "extra_bits":
        yield from ((v,) for v in range(72))
    elif name in ("lower", "upper"):
        yield from ((int(a), int(b)) for a, b in rng.integers(-9, 10, (99, 2)))
    elif name == "fold":
        for up, down in [(0, 0), (0, 5), (5, 0), (3, 7), (7, 3), (9, 9), (131071, 40)]:
            for residual in {*range(max(-down, -60), min(up, 60) + 1), up, -down}:
                yield from ((residual, up, down, flip) for flip in (0, 1))
    elif name == "corrected":
        for limit in (0, 64, 64 * ((1 << 17) - 1)):
            for linear in rng.integers(0, limit + 1, 40).tolist():
                correction, gain = int(rng.integers(-(1 << 20), 1 << 20)), int(rng.integers(0, 16))
                yield from ((linear, c, gain, limit) for c in (0, 3, -3, correction))
    elif name in ("steps", "pitch_of"):
        yield from ((h, w) for h in (1, 2, 3, 7, 64, 512) for w in (1, 2, 5, 33, 512, 4096))
    else:
        assert name == "position_of"
        yield from ((int(a), int(b), int(c)) for a, b, c in rng.integers(0, 9999, (99, 3)))


@pytest.mark.parametrize("name", sorted(_TWINS))
def test_gives_what_the_header_gives(header: ctypes.CDLL, name: str) -> None:
    function, there = getattr(scalar, name), twin(header, _TWINS[name])
    asked = list(arguments(name))
    assert len(asked) >= 30
    assert [int(function(*given)) for given in asked] == [there(*given) for given in asked]


def test_rows_of_a_step(header: ctypes.CDLL) -> None:
    first, end = twin(header, "first_row"), twin(header, "end_row")
    for height in (1, 2, 5, 40):
        for width in (1, 2, 3, 31):
            for t in range(scalar.steps(height, width)):
                found = scalar.active_rows(t, height, width)
                assert tuple(map(int, found)) == (first(t, width), end(t, height))


def test_what_is_folded_unfolds(header: ctypes.CDLL) -> None:
    fold = twin(header, "fold")
    for residual, up, down, flip in arguments("fold"):
        assert scalar.unfold(fold(residual, up, down, flip), up, down, flip) == residual


def test_nothing_is_left_out() -> None:
    assert _TWINS.keys() | _OTHERS.keys() == set(scalar.__all__)


def test_the_header_has_no_others() -> None:
    """What is added there must be compared, or be none of the device's."""
    text = (CODECS / "wave" / "native" / "scalar.h").read_text()
    lines = [line for line in text.splitlines() if line.startswith("TP_FUNCTION")]
    names = {line.partition("tp_")[2].partition("(")[0] for line in lines}
    only_there = {"abs", "most_rows", "sheared_size", "first_row", "end_row"}
    assert names == set(_TWINS.values()) | only_there
