"""Coefficients of a record of JPEG streams, decoded from FORMAT.md §12 alone, in plain Python.

Nothing here is taken from the package: where both agree, the text says what the code does. Slow;
for small records.
"""

from __future__ import annotations

import zlib
from bisect import bisect_left
from collections.abc import Callable
from itertools import accumulate

import numpy as np
import safetensors.numpy

KNOTS = [22, 36, 60, 98, 162, 267, 439, 720, 1179, 1921, 3108, 4971, 7812, 11955, 17625, 24743,
         32768, 40793, 47911, 53581, 57724, 60565, 62428, 63615, 64357, 64816, 65097, 65269, 65374,
         65438, 65476, 65500, 65514]  # fmt: skip
SQUASH = [
    (KNOTS[k >> 7] * (128 - (k & 127)) + KNOTS[(k >> 7) + 1] * (k & 127) + 64) >> 7
    for k in range(4096)
]
STRETCH = [max(min(bisect_left(SQUASH, 16 * q + 8) - 2048, 2047), -2047) for q in range(4096)]
ZIGZAG = sorted(
    range(64),
    key=lambda k: (k // 8 + k % 8, k // 8 if (k // 8 + k % 8) % 2 else k % 8),
)
INNER = [k for k in ZIGZAG if k % 8 and k // 8]
CENTRE = [8192, 11363, 10703, 9633, 8192, 6436, 4433, 2260]

TABLE = [  # slots of a context, sizes of six inputs
    (40, [50, 144, 50, 50, 144, 144]),
    (8, [128, 100, 360, 128, 128, 2]),
    (8, [2304, 6272, 3136, 784, 1536, 3072]),
    (8, [3584, 1344, 896, 1008, 3072, 1792]),
    (16, [64, 128, 64, 192, 12, 8]),
    (1, [1024, 2048, 27, 576, 1024, 576]),
    (1, [16, 16, 9, 16, 8, 27]),
]
NUMBERS, SIDES, INNERS, EDGES, MEANS, SIGNS, MEAN_SIGNS = range(7)


def classes(limits: list[int], most: int) -> Callable[[int], int]:
    return lambda x: sum(limit <= min(x, most) for limit in limits)


FINE = classes([1, 2, 3, 4, 5, 7, 9, 12, 16, 22, 32, 48, 72, 112, 192], 255)
COARSE = classes([1, 2, 3, 4, 6, 9, 14], 1 << 30)
COUNT = classes([1, 2, 3, 4, 6, 8, 11, 15, 20, 26, 34], 1 << 30)


def sgn(x: int) -> int:
    return 0 if x == 0 else 1 if x > 0 else 2


class Coder:
    """§12.4, mixing and arithmetic coding."""

    def __init__(self, code: bytes) -> None:
        self.bytes = iter(code + bytes(1 << 16))
        self.low, self.high, self.code = 0, 2**32 - 1, 0
        for _ in range(4):
            self.code = self.code * 256 + next(self.bytes)

    def bit(self, p: int) -> int:
        middle = self.low + (((self.high - self.low) * p) >> 16)
        y = int(self.code <= middle)
        self.low, self.high = (self.low, middle) if y else (middle + 1, self.high)
        while self.low >> 24 == self.high >> 24:
            self.low = (self.low & 0xFFFFFF) << 8
            self.high = (self.high & 0xFFFFFF) << 8 | 255
            self.code = (self.code & 0xFFFFFF) << 8 | next(self.bytes)
        return y


class Kind:
    """Slots and weights of one kind of components, as they learn (§12.6)."""

    def __init__(self, tensors: dict[str, np.ndarray], kind: int) -> None:
        p, seen, w = (
            zlib.decompress(tensors[name].tobytes())
            for name in ("slots.probability", "slots.seen", "weights")
        )
        size, sets = len(p) // 4, len(w) // 4 // 2
        part = slice(kind * size, (kind + 1) * size)
        self.p = [
            SQUASH[max(64 * b, 1)] << 6 if n else 1 << 21
            for b, n in zip(p[part], seen[part], strict=True)
        ]
        self.n = list(seen[part])
        weights = np.frombuffer(w, "<i2").astype(int)[kind * sets : (kind + 1) * sets] * 16
        self.w = weights.reshape(-1, 6).tolist()
        self.base, at = [], 0
        for slots, sizes in TABLE:
            self.base.append([at + slots * s for s in accumulate([0, *sizes[:-1]])])
            at += slots * sum(sizes)
        self.rest = at

    def learn(self, slot: int, y: int) -> None:
        self.p[slot] += (((y << 22) - self.p[slot]) * (131072 // (2 * self.n[slot] + 3))) >> 16
        self.n[slot] += self.n[slot] < 255

    def mixed(self, coder: Coder, what: int, contexts: list[int], offset: int, key: int) -> int:
        slots = [
            base + TABLE[what][0] * c + offset
            for base, c in zip(self.base[what], contexts, strict=True)
        ]
        v = [STRETCH[self.p[slot] >> 10] for slot in slots]
        total = sum(a * b for a, b in zip(v, self.w[key], strict=True)) >> 16
        probability = SQUASH[max(min(total, 2047), -2047) + 2048]
        y = coder.bit(probability)
        for j, slot in enumerate(slots):
            self.w[key][j] += (v[j] * 18 * ((y << 16) - probability) + (1 << 19)) >> 20
            self.learn(slot, y)
        return y

    def plain(self, coder: Coder, slot: int) -> int:
        y = coder.bit(min(max(self.p[slot] >> 6, 32), 65504))
        self.learn(slot, y)
        return y

    def number(self, coder: Coder, what: int, contexts: list[int], bits: int, key: int) -> int:
        length = 0
        while length < bits and self.mixed(coder, what, contexts, length, key + length):
            length += 1
        value = 1 if length else 0
        for _ in range(length - 1):
            at = bits + value
            value = 2 * value + self.mixed(coder, what, contexts, at, key + at)
        return value

    def length(self, coder: Coder, what: int, contexts: list[int], most: int, key: int) -> int:
        length = 0
        while length < 16:
            at = min(length, most)
            if not self.mixed(coder, what, contexts, at, key + at):
                break
            length += 1
        return length

    def magnitude(self, coder: Coder, length: int, kind: int, expected: int) -> int:
        value = 1
        for shift in range(length - 2, -1, -1):
            at = 2176 * kind + 8 * (16 * length + shift) + min(2 * expected >> length, 7)
            value = 2 * value + self.plain(coder, self.rest + at)
        return value


def transform(s: list[int], shift: int) -> list[int]:
    """Eight numbers by the matrix that the flow graph of the slow integer DCT comes to."""
    z1 = (s[2] + s[6]) * 4433
    e2, e3 = z1 - s[6] * 15137, z1 + s[2] * 6270
    e0, e1 = (s[0] + s[4]) * 8192, (s[0] - s[4]) * 8192
    even = [e0 + e3, e1 + e2, e1 - e2, e0 - e3]
    a, b, c, d = s[7], s[5], s[3], s[1]
    z5 = (a + c + b + d) * 9633
    z1, z2 = -7373 * (a + d), -20995 * (b + c)
    z3, z4 = z5 - 16069 * (a + c), z5 - 3196 * (b + d)
    odd = [d * 12299 + z1 + z4, c * 25172 + z2 + z3, b * 16819 + z2 + z4, a * 2446 + z1 + z3]
    half = 1 << (shift - 1)
    return [(e + o + half) >> shift for e, o in zip(even, odd, strict=True)] + [
        (e - o + half) >> shift for e, o in zip(even[::-1], odd[::-1], strict=True)
    ]


def decode(
    code: bytes,
    priors: bytes,
    owners: list[np.ndarray],
    factors: list[tuple[int, int]],
    steps: np.ndarray,
    alike: bool,
) -> list[np.ndarray]:
    """Return the blocks of each component, (rows, columns, 64).

    owners : of each component, which stream a block is of, −1 for none; factors : v, h; steps :
    (components, streams, 64).
    """
    tensors = safetensors.numpy.load(priors)
    coder, kinds, done = Coder(code), {}, []
    for index, owner in enumerate(owners):
        number = 0 if index in (0, 3) else 3 if alike else index
        kind = kinds.setdefault(number, Kind(tensors, number))
        before = done[-1] if done else None
        scale = None
        if before is not None:
            v, h = (a / b for a, b in zip(factors[index - 1], factors[index], strict=True))
            shape = before.blocks.shape
            if v == int(v) and h == int(h) and owner.shape[0] * v <= shape[0] \
                    and owner.shape[1] * h <= shape[1]:  # fmt: skip
                scale = int(v), int(h)
        done.append(Component(coder, kind, owner, steps[index], before, scale))
    return [one.blocks for one in done]


class Component:
    """§12.3 and §12.4, block by block."""

    def __init__(self, coder, kind, owner, steps, before, scale) -> None:
        self.coder, self.kind = coder, kind
        self.owner, self.before, self.scale = owner, before, scale
        self.blocks = np.zeros((*owner.shape, 64), int)
        self.counts = np.zeros((*owner.shape, 3), int)
        self.misses = np.zeros(owner.shape, int)
        self.samples = np.zeros((*owner.shape, 8, 8), int)
        for y, x in np.argwhere(owner >= 0):
            self.block(int(y), int(x), [int(n) for n in steps[owner[y, x]]])

    def there(self, y: int, x: int) -> bool:
        rows, columns = self.owner.shape
        return 0 <= y < rows and 0 <= x < columns and self.owner[y, x] >= 0

    def block(self, y: int, x: int, step: list[int]) -> None:
        up, left = self.there(y - 1, x), self.there(y, x - 1)
        zeros = [0] * 64
        a = self.blocks[y - 1, x].tolist() if up else None
        b = self.blocks[y, x - 1].tolist() if left else None
        a, b = a or b or zeros, b or a or zeros
        d = self.blocks[y - 1, x - 1].tolist() if up and left else a
        beyond = up and self.there(y - 1, x + 1)
        e = self.blocks[y - 1, x + 1].tolist() if beyond else a
        n_a = self.counts[y - 1, x].tolist() if up else None
        n_b = self.counts[y, x - 1].tolist() if left else None
        n_a, n_b = n_a or n_b or [0, 0, 0], n_b or n_a or [0, 0, 0]
        n_e = int(self.counts[y - 1, x + 1, 0]) if beyond else n_a[0]
        n_ll = int(self.counts[y, x - 2, 0]) if x > 1 else n_b[0]
        other, n_x, m_x = zeros, [0, 0, 0], 0
        if self.scale is not None:
            at = (y * self.scale[0], x * self.scale[1])
            n_x, m_x = self.before.counts[at].tolist(), int(self.before.misses[at])
            if self.scale == (1, 1):
                other = self.before.blocks[at].tolist()
        out = self.numbers(a, b, d, e, other, n_a, n_b, n_e, n_ll, n_x, up, left, step, (y, x))
        p = self.without_mean(out, step)
        m_a = int(self.misses[y - 1, x]) if up else 0
        m_b = int(self.misses[y, x - 1]) if left else 0
        told = []
        for i in range(8):
            if up:
                s = self.samples[y - 1, x].tolist()
                told.append(s[7][i] + ((s[7][i] - s[6][i]) >> 1)
                            - p[0][i] - ((p[0][i] - p[1][i]) >> 1))  # fmt: skip
            if left:
                s = self.samples[y, x - 1].tolist()
                told.append(s[i][7] + ((s[i][7] - s[i][6]) >> 1)
                            - p[i][0] - ((p[i][0] - p[i][1]) >> 1))  # fmt: skip
        told.sort()
        n, level, spread = len(told), 0, 0
        if n:
            used = told[n // 4 : n - n // 4]
            level = (2 * sum(used) + len(used)) // (2 * len(used))
            spread = told[n - 1 - n // 8] - told[n // 8]
        self.mean(out, (y, x), level, spread, max(step[0], 1), m_a, m_b, m_x)
        self.blocks[y, x] = out
        self.samples[y, x] = np.array(p) + out[0] * step[0]

    def numbers(self, a, b, d, e, other, n_a, n_b, n_e, n_ll, n_x, up, left, step, at):
        coder, kind = self.coder, self.kind
        average = (n_a[0] + n_b[0] + 1) >> 1
        n = kind.number(
            coder, NUMBERS,
            [n_x[0], 12 * COUNT(n_x[0]) + COUNT(average), n_b[0], n_a[0],
             12 * COUNT(n_a[0]) + COUNT(n_b[0]), 12 * COUNT(n_e) + COUNT(n_ll)], 6, 0,
        )  # fmt: skip
        both = [abs(p) + abs(q) for p, q in zip(a, b, strict=True)] + [0] * 16
        weighted = [min((13 * both[k] + 6 * abs(d[k])) >> 3, 255) for k in range(64)]
        out, left_over, last, second = [0] * 64, n, 0, 0
        for i, k in enumerate(INNER):
            if not left_over:
                break
            o = other[k]
            wide = min(both[k] + abs(e[k]) + ((both[k - 1] + both[k + 1] + both[k - 8]
                       + both[k + 8]) >> 1), 255)  # fmt: skip
            near = sum(abs(out[k - j]) for j in (1, 8) if (k - j) % 8 and (k - j) // 8)
            length = kind.length(
                coder, INNERS,
                [9 * (16 * min(left_over, 15) + min(49 - i - left_over, 47) // 3)
                 + 3 * min(last, 2) + min(second, 2),
                 8 * (16 * i + FINE(2 * near)) + min(COUNT(left_over), 7),
                 64 * i + 8 * COARSE(abs(o)) + COARSE((both[k] + 1) >> 1),
                 16 * i + FINE(wide),
                 8 * (16 * COUNT(n) + FINE(weighted[k])) + COARSE(abs(o)),
                 16 * (16 * COUNT(left_over) + FINE(weighted[k])) + min((49 - i) // 3, 15)],
                7, 56 + 8 * i,
            )  # fmt: skip
            last, second = length, last
            if not length:
                continue
            if o == 0:
                negative = kind.plain(coder, kind.base[SIGNS][1] + 32 * k)
            else:
                corner = out[k - 9] if (k - 9) % 8 and (k - 9) // 8 and k % 8 > 1 else 0
                negative = kind.mixed(
                    coder, SIGNS,
                    [16 * k + 2 * min(abs(o), 7) + (o < 0), 32 * k,
                     9 * sgn(o) + 3 * sgn(a[k]) + sgn(b[k]), 9 * k + 3 * sgn(o) + sgn(a[k]),
                     16 * k + sgn(corner), 9 * k + 3 * sgn(a[k]) + sgn(b[k])], 0, 560 + k,
                )  # fmt: skip
            value = kind.magnitude(coder, length, 0, weighted[k] >> 1)
            out[k] = -value if negative else value
            left_over -= 1
        found = [n]
        for s in range(2):
            found.append(self.side(s, out, a, b, other, n_a, n_b, n_x, found, weighted,
                                   up if s == 0 else left, step))  # fmt: skip
        self.counts[at] = found
        return out

    def side(self, s, out, a, b, other, n_a, n_b, n_x, found, weighted, has, step):
        coder, kind, n = self.coder, self.kind, found[0]
        far = max((k % 8 if s == 0 else k // 8 for k in INNER if out[k]), default=0)
        average = (n_a[1 + s] + n_b[1 + s] + 1) >> 1
        row = found[1] if s else 0
        left_over = here = kind.number(
            coder, SIDES,
            [64 * s + 8 * n_x[1 + s] + average, 50 * s + n,
             15 * (12 * s + COUNT(n)) + n_a[1 + s] + n_b[1 + s], 64 * s + 8 * row + far,
             64 * s + 8 * row + average, s], 3, 40 + 8 * s,
        )  # fmt: skip
        along, across, border = (1, 8, a) if s == 0 else (8, 1, b)
        last, second = 0, 0
        for u in range(1, 8):
            if not left_over:
                break
            k, e = u * along, 7 * s + u - 1
            g = 0
            if has:
                g = border[k] * step[k] * CENTRE[0] + sum(
                    ((-1) ** j * border[k + j * across] - out[k + j * across])
                    * step[k + j * across] * CENTRE[j]
                    for j in range(1, 8)
                )  # fmt: skip
                g //= 1024 * max(step[k], 1)
            o, size = other[k], abs(g)
            guessed, fine = FINE((size + 1) >> 1), FINE(weighted[k])
            length = kind.length(
                coder, EDGES,
                [16 * (16 * e + guessed) + fine, 8 * (12 * e + COUNT(n)) + left_over,
                 64 * e + 8 * COARSE(abs(o)) + COARSE((size + 4) >> 3),
                 8 * (9 * e + 3 * min(last, 2) + min(second, 2)) + left_over,
                 12 * (16 * guessed + fine) + COUNT(n), 8 * (16 * e + guessed) + left_over],
                7, 448 + 8 * e,
            )  # fmt: skip
            last, second = length, last
            if not length:
                continue
            negative = kind.mixed(
                coder, SIGNS,
                [16 * k + 2 * min(abs(o), 7) + (o < 0), 32 * k + 2 * guessed + (g < 0),
                 9 * sgn(o) + 3 * sgn(g) + sgn(b[k]), 9 * k + 3 * sgn(o) + sgn(a[k]),
                 16 * k + guessed, 9 * k + 3 * sgn(g) + sgn(o)], 0, 560 + k,
            )  # fmt: skip
            value = kind.magnitude(coder, length, 1, size >> 1)
            out[k] = -value if negative else value
            left_over -= 1
        return here

    def without_mean(self, out: list[int], step: list[int]) -> list[list[int]]:
        s = [value * q for value, q in zip(out, step, strict=True)]
        s[0] = 0
        columns = [transform(s[k::8], 11) for k in range(8)]
        return [transform([column[y] for column in columns], 15) for y in range(8)]

    def mean(self, out, at, level, spread, step, m_a, m_b, m_x) -> None:
        coder, kind, n = self.coder, self.kind, int(self.counts[at][0])
        guess = max(min((2 * level + step) // (2 * step), 32767), -32768)
        x, q = COARSE(abs(m_x)), FINE(2 * (spread // step))
        length = kind.length(
            coder, MEANS,
            [8 * COARSE(abs(m_b)) + COARSE(abs(m_a)), 8 * q + x,
             8 * (FINE(abs(m_b) + abs(m_a)) >> 1) + x, 12 * q + COUNT(n), COUNT(n), x], 15, 624,
        )  # fmt: skip
        value = 0
        if length:
            part = min(max((8 * (level - guess * step)) // step + 4, 0), 7)
            negative = kind.mixed(
                coder, MEAN_SIGNS,
                [2 * COARSE(abs(m_b)) + (m_b < 0), 2 * COARSE(abs(m_a)) + (m_a < 0),
                 3 * sgn(m_x) + sgn(m_b), 2 * x + (m_x < 0), part,
                 9 * sgn(m_x) + 3 * sgn(m_b) + sgn(m_a)], 0, 640,
            )  # fmt: skip
            value = kind.magnitude(coder, length, 2, spread // step)
            value = -value if negative else value
        self.misses[at] = value
        out[0] = value + guess
