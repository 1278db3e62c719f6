"""Configurations and weights files as nobody of good will writes them: every key, every type."""

from __future__ import annotations

import base64
import copy
import functools
import json
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from tilepress.codecs.tile import TileCodec
from tilepress.codecs.weights import known_models

__all__ = ["ODD", "configuration", "every_single_change", "weights_file"]

ODD: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 0.0, 1.0, 1.5, -0.0, 2**31, 2**31 - 1, 2**53 + 1, 2**63,
    2**64, -(2**63) - 1, 10**30, 10**309, -(10**400), 1e308, 1e-320, math.nan, math.inf, -math.inf,
    "", "0", "1", "wave", "standard", "fast", "auto", "NaN", "nan", "Infinity", "-Infinity", "1e5",
    "١", "\0", "\ud800", "a" * 300, "a" * 100_000, "wave-2", "../wave-2", "x.safetensors",
    "/dev/zero.safetensors", "\0.safetensors", ":", "::", "0" * 64, "é" * 64, "=" * 8,
    "0" * 64 + ":", "0" * 64 + ":eNoDAAAAAAE=", [], [0], [[]], ["wave"], [None] * 50, {}, {"": 0},
    {"version": 1}, {"name": "wave"}, {"a": {"b": {"c": [1, 2, {"d": None}]}}}, b"bytes", (1, 2),
]  # fmt: skip
"""Values of every type that JSON has, and some that only Python has."""

_KEYS = ["version", "codec", "tier", "max_error", "nodata", "model", "id", "name", "", "weights"]
_PATHS: list[tuple[str, ...]] = [
    *((key,) for key in ("version", "codec", "tier", "max_error", "nodata", "model")),
    *(("model", key) for key in ("name", "sha256", "weights")),
]


@functools.lru_cache(maxsize=1)
def seeds() -> list[dict[str, Any]]:
    """Return configurations that are as they should be."""
    found = [
        TileCodec(tier=tier, max_error=error, nodata=nodata).to_config()
        for tier, error, nodata in (
            ("standard", 0, None), ("fast", 2, 0), ("max", 0.5, -9999.0), ("standard", 0, math.nan)
        )
    ]  # fmt: skip
    wave = next(model for model in known_models() if model.name.startswith("wave"))
    data = wave.data
    inline = copy.deepcopy(found[0])
    inline["model"]["weights"] = base64.b64encode(data).decode()
    patched = copy.deepcopy(found[0])
    patch = base64.b64encode(zlib.compress(bytes(len(data)))).decode()
    patched["model"]["weights"] = f"{wave.sha256}:{patch}"
    for one in (inline, patched):
        one["model"]["sha256"] = wave.sha256
    return [*found, inline, patched]


def every_single_change() -> Iterator[tuple[str, Any]]:
    """Yield every seed with each key set to each odd value, left out, or joined by another."""
    for odd in ODD:
        yield f"whole is {odd!r:.40}", odd
    for number, seed in enumerate(seeds()):
        for path in _PATHS:
            for odd in ODD:
                changed = copy.deepcopy(seed)
                _within(changed, path)[path[-1]] = odd
                yield f"seed {number}, {path} is {odd!r:.40}", changed
            changed = copy.deepcopy(seed)
            del _within(changed, path)[path[-1]]
            yield f"seed {number} without {path}", changed
        for key in (*_KEYS, 0, None, True):
            changed = copy.deepcopy(seed)
            changed[key] = 0
            yield f"seed {number} with {key!r}", changed


def configuration(rng: np.random.Generator) -> Any:
    """Return a configuration with some of what it holds changed, at random."""
    config: Any = copy.deepcopy(seeds()[int(rng.integers(0, len(seeds())))])
    for _ in range(int(rng.choice([1, 1, 2, 3]))):
        way = int(rng.integers(0, 6))
        path = _PATHS[int(rng.integers(0, len(_PATHS)))]
        inner = _within(config, path)
        if not isinstance(inner, dict):
            continue
        if way <= 1:
            inner[path[-1]] = value(rng)
        elif way == 2:
            inner.pop(path[-1], None)
        elif way == 3:
            inner[_KEYS[int(rng.integers(0, len(_KEYS)))]] = value(rng)
        elif way == 4 and isinstance(inner.get(path[-1]), str):
            inner[path[-1]] = _altered_text(inner[path[-1]], rng)
        else:
            inner[path[-1]] = [inner.get(path[-1])]
    return config


def value(rng: np.random.Generator, depth: int = 2) -> Any:
    """Return a value of any type of JSON."""
    way = int(rng.integers(0, 6 if depth else 4))
    if way == 0:
        size = int(rng.choice([8, 32, 53, 63, 64, 65, 200, 1100]))
        return (int.from_bytes(rng.bytes(140), "big") >> (1120 - size)) * int(rng.choice([1, -1]))
    if way == 1:
        return struct.unpack("<d", rng.bytes(8))[0]
    if way == 2:
        return "".join(map(chr, rng.integers(0, 0x300, int(rng.integers(0, 70)))))
    if way == 3:
        return ODD[int(rng.integers(0, len(ODD)))]
    if way == 4:
        return [value(rng, depth - 1) for _ in range(int(rng.integers(0, 4)))]
    keys = [*_KEYS, "k"]
    return {
        keys[int(rng.integers(0, len(keys)))]: value(rng, depth - 1)
        for _ in range(int(rng.integers(0, 4)))
    }


def _within(config: Any, path: tuple[str, ...]) -> Any:
    for key in path[:-1]:
        config = config.get(key) if isinstance(config, dict) else None
    return config


def _altered_text(text: str, rng: np.random.Generator) -> str:
    at = int(rng.integers(0, len(text) + 1))
    new = chr(int(rng.integers(0, 0x200)))
    return [text[:at] + new + text[at + 1 :], text[:at], text[:at] + new + text[at:], text * 2][
        int(rng.integers(0, 4))
    ]


def weights_file(rng: np.random.Generator) -> bytes:
    """Return a weights file changed in its header, as JSON, or in its bytes."""
    models = known_models()
    data = models[int(rng.integers(0, len(models)))].data
    way = int(rng.integers(0, 5))
    if way == 0:
        return _altered_bytes(data, rng)
    size = int.from_bytes(data[:8], "little")
    header, body = json.loads(data[8 : 8 + size]), bytearray(data[8 + size :])
    if way == 1:  # values that numbers of a tensor must not have
        at = int(rng.integers(0, len(body)))
        body[at : at + 4] = struct.pack("<i", int(rng.choice([0, -1, 1, 2**31 - 1, -(2**31)])))
        return _packed(header, bytes(body))
    names = sorted(header)
    for _ in range(int(rng.choice([1, 1, 2]))):
        name = names[int(rng.integers(0, len(names)))]
        entry = header.get(name)
        if way == 2 and isinstance(entry, dict) and entry:
            key = sorted(entry)[int(rng.integers(0, len(entry)))]
            entry[key] = _tensor_value(key, rng)
        elif way == 3:
            header[name] = value(rng)
        else:
            other = names[int(rng.integers(0, len(names)))]
            header[name], header[other] = header.get(other), header.get(name)
    return _packed(header, bytes(body))


def _tensor_value(key: str, rng: np.random.Generator) -> Any:
    if key == "dtype":
        kinds = ["I8", "U8", "I16", "U16", "I32", "U32", "I64", "F16", "BF16", "F32", "F64", "BOOL",
                 "F8_E4M3", "F4", "C64", "", "i32"]  # fmt: skip
        return kinds[int(rng.integers(0, len(kinds)))]
    if key in ("shape", "data_offsets"):
        count = int(rng.integers(0, 4))
        sizes = [0, 1, 2, 3, 8, 39, 72, 306, -1, 2**31, 2**63, 2**64]
        return [sizes[int(rng.integers(0, len(sizes)))] for _ in range(count)]
    return value(rng)


def _packed(header: Any, body: bytes) -> bytes:
    text = json.dumps(header, allow_nan=True, default=str).encode("utf-8", "surrogatepass")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + body


def _altered_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    out = bytearray(data)
    way, at = int(rng.integers(0, 5)), int(rng.integers(0, len(data)))
    if rng.random() < 0.5:
        at = min(at, int(rng.exponential(300)))
    if way == 0:
        out[at] ^= 1 << int(rng.integers(0, 8))
    elif way == 1:
        del out[at:]
    elif way == 2:
        out[at:at] = rng.bytes(int(rng.integers(1, 20)))
    elif way == 3:
        del out[at : at + int(rng.integers(1, 20))]
    else:
        out[at : at + 8] = rng.bytes(8)
    return bytes(out)
