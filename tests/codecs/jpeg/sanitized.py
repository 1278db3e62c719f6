"""Fuzz the native code of JPEG built with checks of memory and undefined behaviour.

    LD_PRELOAD=$(cc -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
        python -m tests.codecs.jpeg.sanitized LIBRARY STREAMS PAYLOADS SEED

``build`` makes the library. The first wrong access ends the process with a report.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from tilepress.codecs.jpeg import fine, samples
from tilepress.codecs.native import library

ROOT = Path(__file__).parents[3]
FLAGS = [
    "-std=c11", "-O1", "-g", "-fPIC", "-shared", "-fno-omit-frame-pointer", "-fno-math-errno",
    "-ffp-contract=off", "-fsanitize=address,undefined", "-fno-sanitize-recover=all",
]  # fmt: skip


def build(folder: Path) -> Path:
    """Compile the sources of JPEG, and return the library."""
    out = folder / "sanitized.so"
    number = folder / "abi.c"  # of the whole library; another of its sources has it
    number.write_text('#include "export.h"\nEXPORT int tp_abi(void) { return ABI; }\n')
    sources = [number, *sorted((ROOT / "codecs/jpeg/native").glob("*.c"))]
    line = ["cc", *FLAGS, f"-I{ROOT}/codecs/native", *map(str, sources), "-o", str(out), "-lm"]
    subprocess.run(line, check=True, capture_output=True, text=True)
    return out


def preload() -> str:
    """Return the library of checks, which must be there before Python is."""
    line = ["cc", "-print-file-name=libasan.so"]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


def extremes(rounds: int) -> None:
    """Make samples of the largest coefficients and steps, and code blocks of them."""
    from tests.codecs.jpeg import test_coefficients

    rng = np.random.default_rng(0)
    kinds = (-32768, -32767, -1, 0, 1, 32767)
    for number in range(rounds):
        blocks = rng.choice(kinds, (6, 64)).astype(np.int16)
        steps = rng.choice((0, 1, 255, 65535), 64).astype(np.int64)
        bits = 8 if number & 1 else 12
        small = np.empty((16, 24), np.uint16)
        samples.component_samples(blocks, 0, 3, 2, 3, steps, bits, small)
        high, wide = bool(number & 2), bool(number & 4)
        large = np.empty((16 << high, 24 << wide), np.uint16)
        samples.larger_samples(blocks, 0, 3, 2, 3, steps, bits, high, wide, large)
        sixteenths = np.empty((16, 24), np.int64)
        fine.fine_samples(blocks, 0, 3, 2, 3, steps, bits, sixteenths)
        by_v, by_h = 1 + number % 2, 1 + number // 2 % 2
        rows, columns = int(rng.integers(1, 17)), int(rng.integers(1, 25))
        out = np.empty((rows * by_v - number % by_v, columns * by_h - (by_h > 1)), np.uint16)
        fine.fine_upsample(sixteenths, rows, columns, by_v, by_h, bits, out)
        for fancy, tall in ((False, False), (True, False), (True, True)):
            samples.upsample(small, rows, columns, by_v, by_h, fancy, tall, out)
        samples.to_rgb(small.reshape(3, -1), bits, bool(number & 1), 22554)
    blocks_come_back = test_coefficients.TestEveryCoefficientComesBack()
    blocks_come_back.test_extremes()
    blocks_come_back.test_at_random(32767, 1.0)
    blocks_come_back.test_with_holes_and_subsampled()
    test_coefficients.TestHostileCodes().test_are_refused_or_blocks()


def main(file: str, streams: int, payloads: int, seed: int) -> None:
    """Fuzz, and print how many cases were refused and read."""
    library.find_spec = lambda _: SimpleNamespace(origin=file)  # type: ignore[assignment]
    from tests.codecs.jpeg.test_fuzz import fuzz_payloads, fuzz_streams

    extremes(streams)
    print(*fuzz_streams(streams, seed), *fuzz_payloads(payloads, seed + 1))
    loaded = Path("/proc/self/maps").read_text()
    assert file in loaded
    assert "_kernel.so" not in loaded


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:]))
