"""One array, one record: whatever the processor, the number of threads and what ran before.

A Dask task that runs twice must leave the same bytes, and an archive written on one machine must
open on every other. Other processors are met by their instruction sets and by other builds of the
kernel, in child processes. Run as a program, this module is that child: it reads records of another
machine and prints the hashes of its own.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from tilepress.codecs.native.library import (
    FILE_VARIABLE,
    VARIABLE,
    instruction_set,
    instruction_sets,
)
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import choices, plane_encode

from ..helpers.native import built, checked

Array = npt.NDArray[Any]
ROOT = Path(__file__).parents[2]


def field(seed: int, shape: tuple[int, ...], top: int, noise: int) -> Array:
    """Return a smooth int64 field of 0 … about ``top`` with noise; of integers alone."""
    rng = np.random.default_rng(seed)
    smooth = rng.integers(-8, 9, shape).cumsum(-1).cumsum(-2)
    smooth -= smooth.min()
    return smooth * top // max(1, int(smooth.max())) + rng.integers(0, noise + 1, shape)


def textures(seed: int, shape: tuple[int, int], period: int = 40) -> Array:
    """Return (y, x) stripes, each with waves and a walk of its own, of integers alone.

    No few sets of weights suit all of it: those that follow the plane do.
    """
    rng = np.random.default_rng(seed)
    y, x = np.indices(shape)
    out = 1500 * (((x * (5 + y // 37) + y * (9 - x // 29)) % 97 - 48) ** 2) // 2304
    for k in range(6):
        walk = rng.integers(-9, 10, shape).cumsum(0 if k % 2 else 1)
        out += np.where((x + y * (k + 1)) // period % 6 == k, walk * 40, 0)
    return out - out.min()


@functools.lru_cache(maxsize=1)
def cases() -> dict[str, tuple[TileCodec, Array, int]]:
    """Return arrays that take every way through the encoder: codec, array, bands."""
    volume = field(1, (4, 96, 101), 3000, 30).astype(np.uint16) + 1
    holes = volume.copy()
    holes[:, 20:50, 30:90] = 0
    rgb = np.stack(
        [field(2, (80, 90), 150, 6), field(2, (80, 90), 130, 9), field(3, (80, 90), 150, 5)]
    )
    real = (field(4, (70, 80), 90_000, 50) * np.pi / 7).astype(np.float32)
    real[3:20, 40:] = np.nan
    exact, near, absent = TileCodec(), TileCodec(max_error=2), TileCodec(nodata=0)
    return {
        "volume": (exact, volume, 1),
        "near": (near, volume, 1),
        "holes": (absent, holes, 1),
        "near-holes": (TileCodec(max_error=5, nodata=0), holes, 1),
        "rgb": (exact, rgb.astype(np.uint8), 3),
        "wide": (exact, field(5, (60, 70), 10**11, 10**6), 1),
        "signed": (exact, (field(6, (90, 77), 5000, 9) - 2500).astype(np.int16), 1),
        "bool": (exact, field(7, (99, 98), 40, 0) % 5 == 0, 1),
        "float": (exact, real, 1),
        "float-near": (TileCodec(max_error=0.3, nodata=float("nan")), real, 1),
        "float-decimal": (exact, (field(8, (64, 64), 9000, 20) / 100).astype(np.float32), 1),
        "half": (exact, (field(9, (50, 60), 900, 3) / 8).astype(np.float16), 1),
        "double": (TileCodec(max_error=1e-3), field(10, (40, 50), 9000, 5) * np.e, 1),
        "packed": (exact, (field(11, (90, 90), 700, 3) * 7).astype(np.uint16), 1),
        "replicated": (
            exact,
            field(12, (40, 45), 900, 20).repeat(3, 0).repeat(2, 1).astype("u2"),
            1,
        ),
        "levels": (exact, (field(13, (99, 99), 60, 0) // 9 * 9).astype(np.uint8), 1),
        "lanes": (exact, field(14, (260, 270), 9000, 60).astype(np.uint16), 1),
        "posters": (exact, (rgb[:, :72].repeat(3, 1).repeat(2, 2) // 25 * 25).astype("u1"), 3),
        "posters-max": (TileCodec(tier="max"), (volume[:2] // 200).astype(np.uint8), 1),
        "posters-fast": (TileCodec(tier="fast"), (holes[:2] // 300).astype(np.uint8), 1),
        "followed": (exact, textures(0, (150, 170)).astype(np.uint16)[None], 1),
        "followed-planes": (
            TileCodec(tier="max"),
            np.stack([textures(1, (140, 131)), textures(1, (140, 131)) // 3]).astype(np.int16),
            1,
        ),
        "followed-holes": (
            TileCodec(max_error=1, nodata=0),
            textures(2, (161, 150)).astype(np.uint16)[None] * (field(3, (161, 150), 9, 1) > 2),
            1,
        ),
        "noise": (exact, field(15, (30, 30), 0, 255).astype(np.uint8), 1),
    }


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def encode_all() -> dict[str, bytes]:
    return {name: codec.encode(a, bands=bands) for name, (codec, a, bands) in cases().items()}


@functools.lru_cache(maxsize=1)
def records() -> dict[str, bytes]:
    """The records as this process codes them first, one after another."""
    return encode_all()


def hashes(found: dict[str, bytes]) -> dict[str, tuple[str, str]]:
    """Return the hashes of records and of what they decode to."""
    return {
        name: (digest(record), digest(cases()[name][0].decode(record).tobytes()))
        for name, record in found.items()
    }


def elsewhere(folder: Path, **variables: str) -> dict[str, Any]:
    """Code and decode in a child process, as another processor would."""
    for name, record in records().items():
        (folder / f"{name}.tp").write_bytes(record)
    done = subprocess.run(
        [sys.executable, "-m", "tests.codecs.test_determinism", str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path]), **variables},
        capture_output=True,
        text=True,
        timeout=900,
        cwd=folder,
    )
    assert done.returncode == 0, done.stderr
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def check(report: dict[str, Any], instructions: str) -> None:
    assert report["instructions"] == instructions, "not the instruction set that was asked for"
    here = {name: list(pair) for name, pair in hashes(records()).items()}
    assert report["own"] == here, "the same arrays gave other records or samples"
    assert report["read"] == here, "records of this process gave other samples there"


class TestEveryWayIsTaken:
    def test_the_arrays_are_what_they_should_be(self) -> None:
        """The tests below compare hashes: these make sure that they are hashes of something."""
        for name, (codec, array, _) in cases().items():
            back = codec.decode(records()[name])
            assert back.shape == array.shape
            if not codec.max_error:
                assert back.tobytes() == array.tobytes()
            elif name != "float-near":
                wide = [a.astype(np.float64) for a in (back, array)]
                assert np.abs(wide[0] - wide[1]).max() <= codec.max_error
        sizes = {name: len(record) for name, record in records().items()}
        assert sizes["noise"] > cases()["noise"][1].nbytes  # stored
        assert all(size < cases()[n][1].nbytes for n, size in sizes.items() if n != "noise")


def names_where(
    monkeypatch: pytest.MonkeyPatch,
    room: ModuleType,
    choice: str,
    begins: str,
    told: Callable[[Any], bool] = lambda chosen: chosen is not None,
) -> set[str]:
    """Return for which cases whose names begin so the encoder's choice tells so."""
    found: set[str] = set()
    real = getattr(room, choice)
    for name, (codec, array, bands) in cases().items():
        if name.startswith(begins):

            def seen(*asked: Any, name: str = name) -> Any:
                chosen = real(*asked)
                if told(chosen):
                    found.add(name)
                return chosen

            monkeypatch.setattr(room, choice, seen)
            assert codec.encode(array, bands=bands) == records()[name]
    return found


class TestThreadsChangeNothing:
    """The loops release the GIL: what two of them shared would show as other bytes."""

    @pytest.mark.parametrize("threads", [1, 2, 5])
    def test_several_chunks_at_once(self, threads: int) -> None:
        work = [name for name in cases() for _ in range(2)]
        order = np.random.default_rng(threads).permutation(work).tolist()

        def code(name: str) -> tuple[str, bytes, bytes]:
            codec, array, bands = cases()[name]
            record = codec.encode(array, bands=bands)
            return name, record, codec.decode(record).tobytes()

        with ThreadPoolExecutor(threads) as pool:
            for name, record, samples in pool.map(code, order):
                assert record == records()[name], name
                assert samples == cases()[name][0].decode(record).tobytes(), name

    def test_trees_are_among_the_cases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        grown = names_where(monkeypatch, choices, "grow_tree", "posters")
        assert grown == {"posters", "posters-max", "posters-fast"}

    def test_weights_that_follow_are_among_the_cases(self, monkeypatch: pytest.MonkeyPatch) -> None:
        taken = names_where(monkeypatch, plane_encode, "follows", "followed")
        assert taken == {"followed", "followed-holes"}
        room, memory = (plane_encode, "best_path", "followed"), lambda best: best.path.memory > 0
        assert names_where(monkeypatch, *room, memory) == {"followed-planes"}

    def test_what_ran_before_is_no_matter(self) -> None:
        backwards = {
            name: codec.encode(array, bands=bands)
            for name, (codec, array, bands) in reversed(cases().items())
        }
        assert backwards == records()


@pytest.fixture(scope="module")
def sanitized(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return checked(tmp_path_factory.mktemp("sanitized") / "_kernel.so")


class TestProcessorsChangeNothing:
    """Wider vectors sum in another order: only exact sums bear that."""

    @pytest.mark.parametrize("instructions", instruction_sets())
    def test_with_every_instruction_set(self, instructions: str, tmp_path: Path) -> None:
        check(elsewhere(tmp_path, **{VARIABLE: instructions}), instructions)

    @pytest.mark.slow
    def test_without_optimisation(self, tmp_path: Path) -> None:
        """Nor may the compiler's own rearrangements be seen: the plainest code gives the same."""
        plain = {FILE_VARIABLE: str(built(tmp_path / "_kernel.so", "-O0"))}
        best = instruction_sets()[-1]
        check(elsewhere(tmp_path, **plain, **{VARIABLE: best}), best)

    @pytest.mark.slow
    @pytest.mark.timeout(1200)
    @pytest.mark.parametrize("instructions", instruction_sets())
    def test_with_memory_checked(
        self, instructions: str, tmp_path: Path, sanitized: dict[str, str]
    ) -> None:
        """By AddressSanitizer and UndefinedBehaviorSanitizer, which end the child at once."""
        check(elsewhere(tmp_path, **sanitized, **{VARIABLE: instructions}), instructions)

    @pytest.mark.long
    @pytest.mark.timeout(1800)
    def test_with_avx512_emulated(self, tmp_path: Path) -> None:
        """By SIMD Everywhere, where a processor does not have it."""
        if not Path("/usr/include/simde/x86/avx512.h").exists():
            pytest.skip("SIMD Everywhere is not installed (libsimde-dev)")
        emulated = built(tmp_path / "_kernel.so", "-O2", "-DTP_EMULATED")
        check(elsewhere(tmp_path, **{FILE_VARIABLE: str(emulated), VARIABLE: "avx512"}), "avx512")


def main(folder: Path) -> None:
    """Print hashes of own records, and of what the records in ``folder`` decode to."""
    given = {name: (folder / f"{name}.tp").read_bytes() for name in cases()}
    instructions = instruction_sets()[instruction_set()]
    report = {"own": hashes(encode_all()), "read": hashes(given), "instructions": instructions}
    print(json.dumps(report))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
