"""A decoder of ``mlp`` written from FORMAT.md §18 alone, in plain Python; slow.

Only bitmaps (§4.2) and CRCs are tilepress's own.
"""

from __future__ import annotations

import json
import struct
from fractions import Fraction

import numpy as np

from tilepress.codecs.record import crc32c
from tilepress.codecs.wave.bitmap import decode_bitmap

__all__ = ["decode"]


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        assert 0 <= count <= len(self.data) - self.at
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            (byte,) = self.take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value


def weights_of(data: bytes) -> dict[str, np.ndarray]:
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + size])
    assert header.pop("__metadata__") == {"format": "tilepress-mlp-1"}
    kinds = {"I16": "<i2", "U8": "u1", "U16": "<u2"}
    out = {}
    for name, told in header.items():
        start, stop = (8 + size + n for n in told["data_offsets"])
        flat = np.frombuffer(data[start:stop], kinds[told["dtype"]])
        out[name] = flat.reshape(told["shape"]).astype(object)
    return out


class Symbols:
    """rANS and raw bits of a plane."""

    def __init__(self, states: list[int], words: list[int], raw: bytes, weights) -> None:
        self.states, self.words, self.raw = states, words, raw
        self.count = self.word = self.bit = 0
        self.tables, at = [], 0
        for size in weights["tables.sizes"]:
            self.tables.append([int(n) for n in weights["tables"][at : at + size]])
            at += size

    def bits(self, count: int) -> int:
        value = 0
        for k in range(count):
            value |= (self.raw[self.bit >> 3] >> (self.bit & 7) & 1) << k
            self.bit += 1
        return value

    def value(self, table: int) -> int:
        lane = self.count % len(self.states)
        self.count += 1
        state = self.states[lane]
        slot, token, start = state & 32767, 0, 0
        sizes = self.tables[table]
        while slot >= start + sizes[token]:
            start += sizes[token]
            token += 1
        state = sizes[token] * (state >> 15) + slot - start
        if state < 1 << 16:
            state = state << 16 | self.words[self.word]
            self.word += 1
        self.states[lane] = state
        if token == len(sizes) - 1:
            token = self.bits(7)
            assert len(sizes) - 1 <= token < 88
        if token >= 16:
            extra = ((token - 16) >> 2) + 2
            token = ((4 + ((token - 16) & 3)) << extra) + self.bits(extra)
        return -token if token and self.bits(1) else token

    def finish(self) -> None:
        assert all(state == 1 << 16 for state in self.states)
        assert self.word == len(self.words)
        assert (self.bit + 7) // 8 == len(self.raw)


def units_of(symbols, weights, count, rows, columns, before):
    """Return values and magnitudes, both by (unit, y, x)."""
    values, sizes = {}, {}
    second = 0 if before is None else 1

    def size(unit: int, y: int, x: int) -> int:
        return sizes.get((unit, y, x), 0)

    def cross(where, unit: int, y: int, x: int) -> int:
        return sum(
            where.get((unit, y + v, x + u), 0) for v, u in ((-1, 0), (1, 0), (0, -1), (0, 1))
        )

    for unit in range(count):
        parents = [int(p) for p in weights["parents"][unit]]
        for y in range(rows):
            for x in range(columns):
                f = [
                    size(unit, y, x - 1),
                    size(unit, y - 1, x),
                    size(unit, y - 1, x - 1) + size(unit, y - 1, x + 1),
                    size(unit, y, x - 2) + size(unit, y - 2, x),
                    *(size(p, y, x) for p in parents),
                    cross(sizes, parents[0], y, x),
                    sum(size(unit - k, y, x) for k in range(1, 9)),
                    0 if before is None else before.get((unit, y, x), 0),
                    0 if before is None else cross(before, unit, y, x),
                ]
                total = 1 + sum(
                    a * int(w) for a, w in zip(f, weights["weights"][second][unit], strict=True)
                )
                octave = total.bit_length() - 1
                found = 2 * octave + (total >> (octave - 1) & 1 if octave else 0)
                value = symbols.value(int(weights["classes"][second][unit][min(found, 39)]))
                sizes[unit, y, x] = min(abs(value), 32767)
                if unit == 0 and y and x:
                    value += (values[0, y - 1, x] + values[0, y, x - 1] + 1) >> 1
                elif unit == 0 and (y or x):
                    value += values[(0, y - 1, x) if y else (0, y, x - 1)]
                values[unit, y, x] = value
    return values, sizes


def decode(payload: bytes, shape: tuple[int, int, int], dtype: np.dtype, data: bytes) -> np.ndarray:
    weights = weights_of(data)
    dense, first, out = weights["dense"], weights["first"], weights["second"]
    block = {16: 4, 64: 8, 256: 16}[len(dense)]
    planes, height, width = shape
    rows, columns = -(-height // block), -(-width // block)
    cursor = Cursor(payload)
    version, flags, step = struct.unpack("<BBd", cursor.take(10))
    assert version == 1
    assert flags < 4
    bands = cursor.varint()
    matrix = shifts = None
    if flags & 1:
        matrix = np.frombuffer(cursor.take(2 * bands * bands), "<i2").reshape(bands, bands)
    if flags & 2:
        shifts = list(cursor.take(dense.shape[1]))
    marks = []
    for _ in range(2):
        length = cursor.varint()
        if not length:
            marks.append((None, None))
            continue
        bitmap = decode_bitmap(cursor.take(length - 1), planes * height, width).reshape(shape)
        count = 1 if not marks else int(bitmap.sum())
        marks.append((bitmap, np.frombuffer(cursor.take(count * dtype.itemsize), dtype)))
    heads = []
    for _ in range(planes):
        (middle,) = struct.unpack("<d", cursor.take(8))
        low, high = np.frombuffer(cursor.take(2 * dtype.itemsize), dtype)
        heads.append((middle, low, high, struct.unpack("<I", cursor.take(4))[0]))
    made, magnitudes = [], {}
    for index in range(planes):
        plane = np.zeros((rows * block, columns * block))
        before = index - 1 if index % bands else index - bands
        earlier = magnitudes.get(before)
        count = cursor.varint()
        values: dict[tuple[int, int, int], int] = {}
        magnitudes[index] = {}
        if count:
            lanes = (1, 4, 8, 32)[cursor.take(1)[0]]
            words, raw = cursor.varint(), cursor.varint()
            states = [int(n) for n in np.frombuffer(cursor.take(4 * lanes), "<u4")]
            numbers = [int(n) for n in np.frombuffer(cursor.take(2 * words), "<u2")]
            symbols = Symbols(states, numbers, cursor.take(raw), weights)
            values, magnitudes[index] = units_of(symbols, weights, count, rows, columns, earlier)
            symbols.finish()
        for y in range(rows):
            for x in range(columns):
                q = [values.get((u, y, x), 0) for u in range(count)]
                if shifts is not None:
                    q = [n << s for n, s in zip(q, shifts, strict=False)]
                hidden = [sum(int(w) * n for w, n in zip(row, q, strict=False)) for row in first]
                hidden = [min(256, max(-256, n)) for n in hidden]
                for k in range(block * block):
                    total = sum(int(w) * n for w, n in zip(dense[k], q, strict=False))
                    total += sum(int(w) * n for w, n in zip(out[k], hidden, strict=True))
                    assert Fraction(float(total)) == total
                    at = (y * block + k // block, x * block + k % block)
                    plane[at] = float(total) * (step / 16384)
        made.append(plane[:height, :width])
    assert cursor.at == len(payload)
    samples = np.empty(shape, dtype)
    for index, (middle, low, high, _) in enumerate(heads):
        plane = made[index]
        if matrix is not None:
            start = index - index % bands
            row = [int(n) / 16384 for n in matrix[index % bands]]
            plane = row[0] * made[start]
            for k in range(1, bands):
                plane = plane + row[k] * made[start + k]
        plane = plane + middle
        if dtype.kind == "f":
            samples[index] = np.clip(plane.astype(dtype), low, high)
        else:
            for at, value in np.ndenumerate(plane):
                whole = round(Fraction(min(max(value, float(low)), float(high))))
                samples[index][at] = min(max(whole, int(low)), int(high))
    for bitmap, kept in marks:
        if bitmap is not None:
            samples[bitmap] = kept
    for plane, head in zip(samples, heads, strict=True):
        assert crc32c(plane.astype(dtype.newbyteorder("<")).tobytes()) == head[3]
    return samples
