"""A second decoder of ``ntc``, written from FORMAT.md §15 alone: plain loops, no code of tilepress.

It is slow, and checks nothing that a sound payload cannot fail.
"""

from __future__ import annotations

import json
import struct

import numpy as np

F = np.float32


def read_weights(data: bytes) -> dict[str, np.ndarray]:
    size = int.from_bytes(data[:8], "little")
    kinds = {"I8": np.int8, "I16": "<i2", "I32": "<i4", "U8": np.uint8, "U16": "<u2"}
    out = {}
    for name, told in json.loads(data[8 : 8 + size]).items():
        if name != "__metadata__":
            begin, end = told["data_offsets"]
            part = data[8 + size + begin : 8 + size + end]
            out[name] = np.frombuffer(part, kinds[told["dtype"]]).reshape(told["shape"])
    return out


class Cursor:
    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, count: int) -> bytes:
        self.at += count
        return self.data[self.at - count : self.at]

    def varint(self) -> int:
        value = shift = 0
        while True:
            byte = self.take(1)[0]
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def svarint(self) -> int:
        value = self.varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2


def log(a: int) -> int:
    n = (a + 1).bit_length() - 1
    below = (a + 1) - (1 << n)
    return 16 * n + ((below << 4) >> n)


class Values:
    """Values of a plane's stream, one after another."""

    def __init__(self, weights, states, words, raw) -> None:
        self.states, self.words, self.raw = list(states), list(words), raw
        self.symbol = self.word = self.bit = 0
        self.tables, at = [], 0
        for size in weights["tables.sizes"]:
            self.tables.append([int(f) for f in weights["tables"][at : at + int(size)]])
            at += int(size)

    def bits(self, count: int) -> int:
        value = 0
        for k in range(count):
            value |= (self.raw[self.bit // 8] >> (self.bit % 8) & 1) << k
            self.bit += 1
        return value

    def next(self, table: int) -> int:
        lane = self.symbol % len(self.states)
        self.symbol += 1
        state = int(self.states[lane])
        slot, start, token = state % 32768, 0, 0
        while slot >= start + self.tables[table][token]:
            start += self.tables[table][token]
            token += 1
        state = self.tables[table][token] * (state // 32768) + slot - start
        if state < 65536:
            state = state * 65536 + int(self.words[self.word])
            self.word += 1
        self.states[lane] = state
        if token == len(self.tables[table]) - 1:
            token = self.bits(7)
        size = token
        if token >= 16:
            octave = token // 4
            size = ((4 + token % 4) << (octave - 2)) + self.bits(octave - 2)
        return -size if size and self.bits(1) else size

    def finish(self) -> None:
        assert self.states == [65536] * len(self.states)
        assert self.word == len(self.words)
        assert (self.bit + 7) // 8 == len(self.raw)


class Map:
    """Logarithms of a band, and what is taken from them; 0 beyond its border."""

    def __init__(self, height: int, width: int) -> None:
        self.m, self.sums = np.zeros((height, width), int), np.zeros((height, width), int)
        self.mean = 0

    def close(self, total: int) -> None:
        height, width = self.m.shape
        padded = np.pad(self.m, 1)
        self.sums = sum(padded[y : y + height, x : x + width] for y in range(3) for x in range(3))
        self.mean = 128 * total // (height * width)


def at(a: np.ndarray | None, y: int, x: int) -> int:
    if a is None or not (0 <= y < a.shape[0] and 0 <= x < a.shape[1]):
        return 0
    return int(a[y, x])


def m_of(band: Map | None):
    return None if band is None else band.m


def s_of(band: Map | None):
    return None if band is None else band.sums


AFTER_EVEN, AFTER_ODD = (0, 5, 1, 6, 2, 4, 3, 7), (2, 7, 3, 4, 0, 6, 1, 5)


class Plane:
    """Decodes the coefficients of one plane."""

    def __init__(
        self, weights, values: Values, bands: int, table: int, before, dependent: bool
    ) -> None:
        self.dependent = dependent
        self.weights, self.values, self.left, self.table = weights, values, bands, table
        self.before: dict[tuple, Map] = before
        self.maps: dict[tuple, Map] = {}

    def value(self, q: int, table: int) -> np.float32:
        if q == 0:
            return F(0)
        off = F(int(self.weights["offsets"][table, min(abs(q), 4) - 1])) / F(256)
        size = F(abs(q)) - (off + F(0.5) if table >= 80 else off)
        return -size if q < 0 else size

    def band(self, key: tuple, out: np.ndarray, net: str, row: int, context: int, more) -> None:
        height, width = out.shape
        band = Map(height, width)
        self.maps[key] = band
        out[:] = 0
        if self.left == 0:
            return
        self.left -= 1
        w = self.weights
        follows = self.before is not None
        first = w[f"{net}.first"].astype(int)
        bias = w[f"{net}.bias"][int(follows), row].astype(int)
        output = w[f"{net}.second"].astype(int)
        base, shifts = int(w[f"{net}.base"][int(follows), row]), w[f"{net}.shifts"]
        old = self.before.get(key) if follows else None
        running, total, m, state = context, 0, band.m, 0
        for y in range(height):
            row_total = 0
            for x in range(width):
                f = [
                    at(m, y, x - 1), at(m, y, x - 2), at(m, y - 1, x),
                    (at(m, y - 1, x - 1) + at(m, y - 1, x + 1)) >> 1, at(m, y - 2, x),
                    (at(m, y - 2, x - 1) + at(m, y - 2, x + 1)
                     + at(m, y - 1, x - 2) + at(m, y - 1, x + 2)) >> 2,
                    *more(y, x), log(running), log(context), log(old.mean) if old else 0,
                ]  # fmt: skip
                hidden = np.clip((bias + np.array(f) @ first) >> int(shifts[0]), 0, 32767)
                table = (base + int(hidden @ output)) >> int(shifts[1])
                second = state % 2
                table = min(max(table, 0), 79) + 80 * second
                q = self.values.next(table)
                out[y, x] = self.value(q, table)
                h = 2 * abs(q) - (1 if second and q else 0)
                m[y, x] = log(h + 1) - 16
                row_total += h
                if self.dependent:
                    state = (AFTER_ODD if q % 2 else AFTER_EVEN)[state]
            total += row_total
            running += (128 * row_total // width - running) >> 3
        band.close(total)

    def wavelet(self, plane: np.ndarray, most: int, extra: int) -> int:
        height, width = plane.shape
        levels, side = 0, min(height, width)
        while levels < most and side >= 8:
            side, levels = (side + 1) // 2, levels + 1
        heights, widths = [height], [width]
        for _ in range(levels):
            heights.append((heights[-1] + 1) // 2)
            widths.append((widths[-1] + 1) // 2)
        whole = np.zeros((heights[-1], widths[-1]), int)
        for y in range(heights[-1]):
            for x in range(widths[-1]):
                if y == 0:
                    p = int(whole[0, x - 1]) if x else 0
                else:
                    p = int(whole[y - 1, x])
                    p = (p + int(whole[y, x - 1]) + 1) >> 1 if x else p
                whole[y, x] = self.values.next(self.table) + p
        plane[: heights[-1], : widths[-1]] = whole
        for level in range(levels, 0, -1):
            for k in (1, 2, 3):
                y0, y1 = (heights[level], heights[level - 1]) if k & 2 else (0, heights[level])
                x0, x1 = (widths[level], widths[level - 1]) if k & 1 else (0, widths[level])
                key = ("w", level, k)
                p, *others = (self.maps.get(("w", level + 1, j)) for j in [k, *({1, 2, 3} - {k})])
                grand = self.maps.get(("w", level + 2, k))
                siblings = [self.maps.get(("w", level, j)) if k > j else None for j in (1, 2)]
                old = self.before.get(key) if self.before is not None else None

                def more(y, x, p=p, others=others, grand=grand, siblings=siblings, old=old):
                    parents = [at(s_of(b), y >> 1, x >> 1) for b in (p, *others)]
                    return [
                        at(m_of(p), y >> 1, x >> 1), parents[0] >> 3, sum(parents) // 24,
                        at(s_of(grand), y >> 2, x >> 2) >> 3,
                        at(m_of(siblings[0]), y, x), at(s_of(siblings[0]), y, x) >> 3,
                        at(m_of(siblings[1]), y, x), at(s_of(siblings[1]), y, x) >> 3,
                        at(m_of(old), y, x), at(s_of(old), y, x) >> 3, 0, 0, 0,
                    ]  # fmt: skip

                row = 3 * (level - 1) + k - 1 + extra
                context = p.mean if p else 0
                self.band(key, plane[y0:y1, x0:x1], "wavelet", row, context, more)
        return levels

    def lapped(self, plane: np.ndarray) -> None:
        means = np.zeros((plane.shape[0] // 8, plane.shape[1] // 8), F)
        levels = self.wavelet(means, 3, 15)
        energy = np.zeros(means.shape, int)
        order = [(v, u) for v in range(8) for u in range(8) if v + u]
        for coded, (v, u) in enumerate(sorted(order, key=lambda f: (f[0] + f[1], f[0]))):

            def here(v, u):
                return self.maps.get(("l", v, u))

            def past(v, u):
                return m_of(self.before.get(("l", v, u))) if self.before is not None else None

            old = self.before.get(("l", v, u)) if self.before is not None else None
            up, left = here(v - 1, u), here(v, u - 1)

            def more(y, x, v=v, u=u, up=up, left=left, old=old, coded=coded, energy=energy):
                wide = sum(
                    at(s_of(b), y + dy, x + dx)
                    for b in (up, left)
                    for dy in (-2, 2)
                    for dx in (-2, 2)
                )
                return [
                    at(m_of(up), y, x), at(m_of(left), y, x),
                    at(m_of(here(v - 2, u)), y, x), at(m_of(here(v, u - 2)), y, x),
                    at(m_of(here(v - 1, u - 1)), y, x), at(m_of(here(v - 1, u + 1)), y, x),
                    at(s_of(up), y, x) >> 3, at(s_of(left), y, x) >> 3, wide >> 6,
                    (int(energy[y, x]) * (65536 // coded)) >> 16 if coded else 0,
                    at(m_of(old), y, x), at(s_of(old), y, x) >> 3,
                    sum(at(past(*f), y, x) for f in
                        ((v - 1, u), (v, u - 1), (v + 1, u), (v, u + 1))) >> 2,
                ]  # fmt: skip

            context = (up.mean if up else 0) + (left.mean if left else 0)
            context //= 2 if up and left else 1
            self.band(("l", v, u), plane[v::8, u::8], "lapped", 8 * v + u, context, more)
            energy += self.maps["l", v, u].m
        unwavelet(means, levels)
        plane[::8, ::8] = means


LOW, HIGH = (4096, 4061, 4158, 4201, 4214, 4217), (4096, 4178, 4028, 4176, 4247, 4268)


def unlift(a: np.ndarray) -> np.ndarray:
    """Undo one level along the first axis."""
    n = len(a)
    if n < 2:
        return a
    out = np.empty_like(a)
    out[0::2] = a[: (n + 1) // 2] * F(0.86986445)
    out[1::2] = a[(n + 1) // 2 :] * F(1.149604398)
    for first, by in ((0, -0.4435068522), (1, -0.8829110762), (0, 0.05298011854), (1, 1.586134342)):
        for y in range(first, n, 2):
            above, below = (y - 1 if y else 1), (y + 1 if y + 1 < n else y - 1)
            out[y] = out[y] + F(by) * (out[above] + out[below])
    return out


def unwavelet(plane: np.ndarray, levels: int) -> None:
    regions = [plane.shape]
    for _ in range(levels):
        regions.append(tuple((n + 1) // 2 for n in regions[-1]))
    for level in range(1, levels + 1):
        (height, width), (low_height, low_width) = regions[level - 1], regions[level]
        for k in range(0 if level == levels else 1, 4):
            across, down = (HIGH if k & 1 else LOW)[level], (HIGH if k & 2 else LOW)[level]
            by = F(1) / (F(across) / F(4096) * (F(down) / F(4096)))
            rows = slice(low_height, height) if k & 2 else slice(0, low_height)
            columns = slice(low_width, width) if k & 1 else slice(0, low_width)
            plane[rows, columns] *= by
    for level in range(levels, 0, -1):
        height, width = regions[level - 1]
        region = unlift(plane[:height, :width].T.copy()).T.copy()
        plane[:height, :width] = unlift(region)


LENGTHS = (3437, 3457, 3797, 3804, 3934, 3924, 4014, 3999)
UNLAP = [[2881, -2350, 372, -235], [1604, 2395, -1892, -171], [213, 1035, 2971, -1218],
         [84, 31, 324, 3325]]  # fmt: skip


def unlapped(a: np.ndarray) -> np.ndarray:
    """Undo the transform along the first axis."""
    c = [F(np.sqrt(1 / 8)), *(F(np.cos(k * np.pi / 16) / 2) for k in range(1, 8))]
    out = np.empty_like(a)
    for i in range(0, len(a), 8):
        y = a[i : i + 8]
        p, q = c[0] * (y[0] + y[4]), c[0] * (y[0] - y[4])
        r, s = c[2] * y[2] + c[6] * y[6], c[6] * y[2] - c[2] * y[6]
        even = [p + r, q + s, q - s, p - r]
        odd = [
            ((c[1] * y[1] + c[3] * y[3]) + c[5] * y[5]) + c[7] * y[7],
            ((c[3] * y[1] - c[7] * y[3]) - c[1] * y[5]) - c[5] * y[7],
            ((c[5] * y[1] - c[1] * y[3]) + c[7] * y[5]) + c[3] * y[7],
            ((c[7] * y[1] - c[5] * y[3]) + c[3] * y[5]) - c[1] * y[7],
        ]
        for k in range(4):
            out[i + k], out[i + 7 - k] = even[k] + odd[k], even[k] - odd[k]
    m = [[F(v) / F(4096) for v in row] for row in UNLAP]
    for i in range(8, len(a), 8):
        r = out[i - 4 : i + 4].copy()
        s, d = [r[k] + r[7 - k] for k in range(4)], [r[3 - k] - r[4 + k] for k in range(4)]
        f = [
            ((m[k][0] * d[0] + m[k][1] * d[1]) + m[k][2] * d[2]) + m[k][3] * d[3] for k in range(4)
        ]
        for k in range(4):
            out[i - 4 + k] = F(0.5) * (s[k] + f[3 - k])
            out[i - 4 + 7 - k] = F(0.5) * (s[k] - f[3 - k])
    return out


def decode(payload: bytes, shape, dtype, weights_file: bytes, bitmap) -> np.ndarray:
    """Decode a payload; ``bitmap`` decodes bitmaps of §4.2."""
    weights, cursor = read_weights(weights_file), Cursor(payload)
    count, rows, columns = shape
    version, flags = cursor.take(2)
    assert version == 1
    (step,) = struct.unpack("<f", cursor.take(4))
    bands, matrix, absent = cursor.varint(), None, None
    if flags & 2:
        matrix = np.frombuffer(cursor.take(2 * bands**2), "<i2").reshape(bands, bands)
    if flags & 4:
        absent = int(np.frombuffer(cursor.take(dtype.itemsize), dtype)[0])
    heads, mask = [], None
    for _ in range(count):
        head = [cursor.svarint(), cursor.varint(), cursor.varint(), cursor.take(4)]
        how = cursor.take(1)[0] if flags & 4 else 0
        if how == 1:
            mask = bitmap(cursor.take(cursor.varint()), rows, columns)
        heads.append([*head, mask if how else None])
    streams = []
    for _ in range(count):
        n = cursor.varint()
        if n:
            table, lanes = cursor.take(2)
            streams.append((n - 1, table, (1, 4, 8, 32)[lanes], cursor.varint(), cursor.varint()))
        else:
            streams.append(None)
    height, width = (rows, columns) if flags & 1 else (-(-rows // 8) * 8, -(-columns // 8) * 8)
    planes, maps = np.zeros((count, height, width), F), []
    for i, stream in enumerate(streams):
        before = i - 1 if i % bands else i - bands
        if stream is None:
            maps.append({})
            continue
        n, table, lanes, words, raw = stream
        states = np.frombuffer(cursor.take(4 * lanes), "<u4")
        numbers = np.frombuffer(cursor.take(2 * words), "<u2")
        values = Values(weights, states, numbers, cursor.take(raw))
        old = maps[before] if before >= 0 else None
        plane = Plane(weights, values, n, table, old, bool(flags & 8))
        if flags & 1:
            unwavelet(planes[i], plane.wavelet(planes[i], 5, 0))
        else:
            plane.lapped(planes[i])
            for v in range(8):
                for u in range(8):
                    s = F(LENGTHS[v]) / F(4096) * (F(LENGTHS[u]) / F(4096))
                    planes[i, v::8, u::8] *= F(1) / s
            planes[i] = unlapped(unlapped(planes[i].T.copy()).T.copy())
        values.finish()
        maps.append(plane.maps)
    assert cursor.at == len(payload)
    if matrix is not None:
        turned = np.empty_like(planes)
        for i in range(count):
            first, row = i - i % bands, matrix[i % bands]
            total = F(int(row[0])) / F(16384) * planes[first]
            for j in range(1, bands):
                total = total + F(int(row[j])) / F(16384) * planes[first + j]
            turned[i] = total
        planes = turned
    out = np.zeros(shape, dtype)
    for i, (least, span, mean, _, mask) in enumerate(heads):
        v = planes[i, :rows, :columns] * F(step) + F(mean)
        v = np.floor(np.clip(v, F(0), F(span)) + F(0.5)).astype(np.int64)
        if absent is not None and span and 0 <= absent - least <= span:
            a = absent - least
            v[v == a] = a + 1 if a < span else a - 1
        out[i] = (least + v).astype(dtype)
        if mask is not None:
            out[i][mask] = absent
    return out
