"""How fast ``ntc`` codes on a device beside the CPU, in one run, and whether both give the same.

python -m tilepress.workflows.bench.device [--torch cuda] [--chunks 64] [--side 512] [--step 8]
    [--rounds 3] [--weights NAME]

Chunks are planes of 16 bits, noise whose power falls with frequency, memory to memory. In each
round the device and the CPU, with the process's threads, encode and decode all of them; figures
are medians, MB of samples. Ends with 1 where a record or a sample differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tilepress.codecs import threads
from tilepress.codecs.budget import Budget
from tilepress.codecs.ntc.backend import CPU, Backend
from tilepress.codecs.ntc.chunk import decode_chunk, encode_chunk
from tilepress.codecs.ntc.codec import NtcCoder, parse_model
from tilepress.codecs.ntc.device.backend import DeviceBackend
from tilepress.codecs.ntc.model import NtcModel
from tilepress.codecs.weights import load_named
from tilepress.errors import CodecError

__all__ = ["Speeds", "compare", "main", "noise"]

Chunks = Sequence[npt.NDArray[Any]]


class Speeds(NamedTuple):
    """MB a second."""

    encode: float
    decode: float


def noise(count: int, side: int) -> Chunks:
    """Return so many planes, (1, side, side) uint16, of noise with the spectrum of scenes."""
    rng = np.random.default_rng(0)
    down, across = np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side)[None, :]
    falling = 1 / np.maximum(np.hypot(down, across), 1 / side)
    made = []
    for _ in range(count):
        spectrum = np.fft.rfft2(rng.normal(size=(side, side))) * falling
        plane = np.fft.irfft2(spectrum, (side, side))
        plane = 2000 + 300 * plane / plane.std() + rng.normal(0, 4, plane.shape)
        made.append(np.clip(np.rint(plane), 0, 65535).astype(np.uint16)[None])
    return made


def compare(
    device: DeviceBackend, chunks: Chunks, step: float, rounds: int, model: NtcModel
) -> dict[str, Speeds]:
    """Return the speeds of "device" and "CPU"; raises RuntimeError where they differ."""

    def encode(backend: Backend) -> list[bytes]:
        def one(chunk: npt.NDArray[Any]) -> bytes:
            found = encode_chunk(chunk, None, 1, step, model, backend=backend)
            assert found is not None, "ntc codes integers"
            return found[0]

        return backend.map(one, chunks)

    def decode(backend: Backend, payloads: list[bytes]) -> Chunks:
        def one(pair: tuple[bytes, npt.NDArray[Any]]) -> npt.NDArray[Any]:
            payload, chunk = pair
            budget = Budget("decoding a chunk", 2**33)
            return decode_chunk(
                memoryview(payload), chunk.shape, chunk.dtype, model, budget, backend=backend
            )

        return backend.map(one, list(zip(payloads, chunks, strict=True)))

    backends: dict[str, Backend] = {"device": device, "CPU": CPU}
    _check(backends, encode, decode)
    megabytes = sum(chunk.nbytes for chunk in chunks) / 1e6
    payloads = encode(CPU)
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in backends}
    for _ in range(rounds):
        for name, backend in backends.items():
            begun = time.perf_counter()
            encode(backend)
            middle = time.perf_counter()
            decode(backend, payloads)
            spent[name].append((middle - begun, time.perf_counter() - middle))
    return {
        name: Speeds(*(megabytes / seconds for seconds in np.median(times, axis=0)))
        for name, times in spent.items()
    }


def _check(
    backends: dict[str, Backend],
    encode: Callable[[Backend], list[bytes]],
    decode: Callable[[Backend, list[bytes]], Chunks],
) -> None:
    """Code everything once on each, so that kernels are compiled, and compare."""
    records = [encode(backend) for backend in backends.values()]
    if records[0] != records[1]:
        raise RuntimeError("comparing a device with the CPU: it writes other bytes")
    samples = [decode(backend, records[0]) for backend in backends.values()]
    for one, other in zip(*samples, strict=True):
        if not np.array_equal(one, other):
            raise RuntimeError("comparing a device with the CPU: it decodes to other samples")


def main(arguments: list[str] | None = None) -> int:
    """Measure, and print two lines."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torch", default="cuda", help="torch's name of the device")
    parser.add_argument("--chunks", type=int, default=64)
    parser.add_argument("--side", type=int, default=512)
    parser.add_argument("--step", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    standard = str(NtcCoder.models["standard"])
    parser.add_argument("--weights", default=standard, help="a model's name or a file")
    given = parser.parse_args(arguments)
    chunks = noise(given.chunks, given.side)
    try:
        weights = load_named(given.weights)
        model = parse_model(weights.data)
        found = compare(DeviceBackend(given.torch), chunks, given.step, given.rounds, model)
    except (RuntimeError, CodecError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(
        f"ntc, {len(chunks)} chunks of {given.side} × {given.side}, step {given.step:g}, "
        f"weights {weights.name}: the same records and samples on both\n"
    )
    names = {"device": f"torch's {given.torch}", "CPU": f"CPU, {threads.threads()} threads"}
    for name, speeds in found.items():
        sys.stdout.write(
            f"  {names[name]:<16} encode {speeds.encode:8.1f} MB/s  "
            f"decode {speeds.decode:8.1f} MB/s\n"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
