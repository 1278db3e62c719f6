"""A second decoder of tilepress records, for the tests: written from ``codecs/FORMAT.md`` alone."""

import hashlib
import io
import json
import struct
from functools import reduce

import numpy as np

DTYPES = ["?", "u1", "i1", "<u2", "<i2", "<u4", "<i4", "<u8", "<i8", "<f2", "<f4", "<f8"]
CHANCES = np.round(32768 / (1 + np.exp(4 - 8 * np.arange(64) / 35))).astype(int)  # list of §6
TAPS_Y = np.array([0, -1, -1, -1, 0, -2, -1, -2, -2, -2, -2, 0, -3, -2, -1, -3])[:, None]
TAPS_X = np.array([-1, 0, -1, 1, -2, 0, -2, -1, 1, -2, 2, -3, 0, 3, -3, -1])[:, None]
FAR_Y = [-3, -3, -3, -2, -4, 0, -1, -4, -4, -3, -3, -4, -4, -2, -5, -4, -4, -3, -3, 0, -5, -5, -1]
FAR_X = [1, -2, 2, -3, 0, -4, -4, -1, 1, -3, 3, -2, 2, -4, 0, -3, 3, -4, 4, -5, -1, 1, -5]
FAR_Y = np.array([*FAR_Y, -5, -5, -2, -4, -4])[:, None]  # §5.5
FAR_X = np.array([*FAR_X, -2, 2, -5, -4, 4])[:, None]
REFS = np.array([[0, 0, -1, 0, 1, -1, -1, 1, 1], [0, -1, 0, 1, 0, -1, 1, -1, 1]])[..., None]
CRC_TABLE = [reduce(lambda c, _: c >> 1 ^ 0x82F63B78 * (c & 1), range(8), n) for n in range(256)]


def need(true, what):
    if not true:
        raise ValueError(f"record: {what}")


def crc32c(data):
    return reduce(lambda c, b: c >> 8 ^ CRC_TABLE[(c ^ b) & 255], data, 2**32 - 1) ^ 2**32 - 1


class Reader(io.BytesIO):  # of a payload, or of a body with all its symbols
    def get(self, form):
        return struct.unpack("<" + form, self.read(struct.calcsize("<" + form)))[0]

    def varint(self, signed=False):
        byte = self.get("B")
        value = byte if byte < 128 else byte & 127 | self.varint() << 7
        return value >> 1 ^ -(value & 1) if signed else value

    def block(self):
        return Reader(self.read(self.varint()))

    def packed(self, count, width):
        data = np.frombuffer(self.read((count * width + 7) // 8), np.uint8)
        digits = np.unpackbits(data, count=count * width, bitorder="little")
        return digits.reshape(count, width).astype(np.int64) @ (1 << np.arange(width))

    def used(self, count):
        return np.flatnonzero(self.block().start().bitmap(1, count))

    def start(self):  # the adaptive binary decoder of §4.2
        self.span, self.contexts = 2**32 - 1, {}
        self.code = int.from_bytes(self.read(4).ljust(4, b"\0"), "big")
        return self

    def bit(self, c):
        p, r = self.contexts.get(c, (32768, 1))
        bit = int(self.code >= (bound := (self.span >> 16) * p))
        self.span, self.code = (self.span - bound, self.code - bound) if bit else (bound, self.code)
        p += -(p >> r) if bit else 65536 - p >> r
        self.contexts[c] = min(max(p, 16), 65520), min(r + 1, 6)
        while self.span < 1 << 24:
            self.span, self.code = self.span << 8, self.code << 8 | sum(self.read(1))
        return bit

    def bitmap(self, rows, columns):
        out, up = {}, columns + 12
        near = [1, 2, 3, 4, *range(up + 2, up - 3, -1), 2 * up] if rows > 1 else range(1, 11)
        for place in (y * up + x for y in range(rows) for x in range(columns)):
            out[place] = self.bit(reduce(lambda c, v: 2 * c + out.get(place - v, 0), near, 0))
        need(not self.read(), "bytes of a bitmap are left over")
        return np.array([*out.values()]).reshape(rows, columns)

    def number(self, width, first):
        return reduce(lambda v, _: 2 * v + self.bit(first + v - 1), range(width), 1) - (1 << width)

    def branch(self):  # §4.5: a function from properties of samples to their flags and tables
        if not self.bit(0):
            leaf = np.array([[self.number(7, 67)], [self.number(7, 195)], [self.number(6, 323)]])
            return lambda known: leaf
        kind, size = self.number(5, 1), self.number(5, 33)
        sign = 1 - 2 * self.bit(65) if size else 0
        threshold = sign * reduce(lambda v, _: 2 * v + self.bit(66), range(size - 1), 1)
        low, high = self.branch(), self.branch()
        return lambda known: np.where(known[kind] > threshold, high(known), low(known))

    def table(self):
        tokens, level = range(self.number(7, 387)), 0
        levels = [level := self.number(6, 515 + 64 * (level >> 2)) for _ in tokens]
        weights = [(54, 32, 38, 45)[k & 3] << (k - 1 >> 2) if k else 0 for k in levels]
        sizes = [max((w << 15) // sum(weights), w > 0) for w in weights]
        sizes[weights.index(max(weights))] += (1 << 15) - sum(sizes)
        return [*np.cumsum([0, *sizes]).tolist(), 1 << 15]  # an escape of no size

    def stream(self, bounds):  # from the gain (§4) up to the end
        (grown, self.gain), self.bounds = divmod(self.get("B"), 16), bounds
        flags, self.tables = np.zeros((3, 1024), int), np.arange(306)
        if grown:
            tree = self.block().start()
            own, self.leaves = tree.number(6, 323), tree.branch()
            self.bounds = [*bounds, *(tree.table() for _ in range(own))]
            need(grown == 1 and not tree.read(), "bytes of a tree are left over")
        else:
            np.put(flags, used := self.used(2048), self.packed(len(used), 6) + 1)
            np.put(self.tables, used := self.used(306), self.packed(len(used), 9))
            self.leaves = lambda known: flags[:, known[-1]]
        words, self.states = self.varint(), [self.get("I") for _ in range(self.get("B"))]
        self.words = [self.get("H") for _ in range(words)][::-1]
        self.bits = int.from_bytes(self.read() + b"\1", "little")  # a 1 above the raw bits

    def symbol(self, bounds):
        high, slot = divmod(self.states.pop(0), 1 << 15)
        k = sum(bound <= slot for bound in bounds) - 1
        state = high * (bounds[k + 1] - bounds[k]) + slot - bounds[k]
        self.states.append(state if state >= 1 << 16 else state << 16 | self.words.pop())
        return k

    def raw(self, count):
        value, self.bits = self.bits & (1 << count) - 1, self.bits >> count
        return value

    def step(self, top, known):  # the samples of a step, but for the absent ones
        (context, f, p, w, n), (west, north, own) = known[:5], self.leaves(known)
        m, side, far = np.minimum(p, top - p), np.where(f < 0, -1, 1), np.where(top - p > p, 1, -1)
        table = np.where(context < 54, 4 * context + np.minimum(abs(f) >> 3, 3), 162 + context)
        table = np.where(own > 0, 305 + own, self.tables[table])
        z, gone = np.full(len(p), -1), [[] for _ in p]
        for r, flags in ((w - p, west), (n - p, north * (w != n))):
            same = np.where(abs(r) > m, abs(r) + m, 2 * abs(r) - (side * r > 0))
            for i in np.flatnonzero((flags > 0) & (z < 0)):
                yes = self.symbol([0, int(CHANCES[flags[i] - 1]), 1 << 15]) == 0
                z[i], gone[i] = same[i] if yes else -1, [*gone[i], same[i]]
        for i in np.flatnonzero(z < 0):
            token = self.symbol(bounds := self.bounds[table[i]])
            token = self.raw(7) if token == len(bounds) - 2 else token
            left = token if token < 16 else (4 + (token & 3) << (b := token - 8 >> 2)) + self.raw(b)
            z[i] = reduce(lambda v, other: v + (other <= v), sorted(gone[i]), left)
        return p + np.where(z > 2 * m, far * (z - m), side * (np.where(z & 1, z + 1, -z) >> 1))


def log(v):
    n = np.frexp(v + 1)[1] - 1
    return 8 * n + ((v + 1 << np.maximum(3 - n, 0) >> np.maximum(n - 3, 0)) & 7)


def scaled(v, s, most=6):  # v / 2^s, rounded; v · 2^−s for negative s, down to −most
    return (v << np.clip(-s, 0, most)) + (1 << np.maximum(s, 0) >> 1) >> np.maximum(s, 0)


def weights_of(data):  # §7, and the intervals of its tables' symbols
    size, types = 8 + int.from_bytes(data[:8], "little"), {"I8": "i1", "U8": "u1", "U16": "<u2"}
    model, entries = {}, json.loads(data[8:size])
    for name in entries.keys() - {"__metadata__"}:
        kind, shape, (a, b) = (entries[name][key] for key in ("dtype", "shape", "data_offsets"))
        flat = np.frombuffer(data[size + a : size + b], types.get(kind, "<i4"))
        model[name] = flat.reshape([*shape, 1][:2]).astype(np.int64)
    tables = np.split(model["tables"].ravel(), np.cumsum(model["tables.sizes"])[:-1])
    return model | {"bounds": [[0, *np.cumsum(table).tolist()] for table in tables]}


class Follower:  # §5.5, §5.6: weights that follow the plane
    def __init__(self, memory, up, far, blended, terms, rows):
        self.keep, self.up, self.far, k = memory / 16, up, far, terms + far
        self.blended, self.both = blended, 0
        self.sums = np.zeros((-(-rows // 8) + 3, k, k + 1))  # strip s at s + 2; beside the plane, 0
        self.products = np.zeros(self.sums.shape, np.int64)

    def turn(self):
        s = self.sums = self.sums * self.keep + self.products
        self.products[:], k = 0, s.shape[1]
        a = ((s[2:-1] + 0.75 * s[1:-2]) + 0.5 * s[:-3]) + 0.25 * s[3:]
        trace = reduce(lambda total, i: total + a[:, i, i], range(k), np.zeros(len(a)))
        a[:, range(k), range(k)] += (trace * (2.0**-10 / k) + 1)[:, None]
        inverse, x = np.zeros((2, k, len(a)))
        for i in range(k):
            inverse[i] = 1 / a[:, i, i]
            for j in range(i + 1, k):
                a[:, j, j:] -= (a[:, i, j] * inverse[i])[:, None] * a[:, i, j:]
        for i in range(k)[::-1]:
            for j in range(i + 1, k):
                a[:, i, k] -= a[:, i, j] * x[j]
            x[i] = a[:, i, k] * inverse[i]
        w = np.floor(np.clip(2.0**14 * x, -131071, 131071) + 131072.5).astype(np.int64) - 131072
        self.weights = w * (abs(w).sum(0) <= 1 << 17)

    def add(self, d, la, fixed):
        self.seen, self.down, self.fixed = np.vstack([d, self.beyond]), la >> 4, fixed
        return (self.weights[:, self.y // 8] * self.seen).sum(0) + 128 >> 8

    def learn(self, value, live):
        parts = (self.seen, self.up), (64 * value - self.fixed, self.up - 6)
        rows = np.vstack([v << b if b > 0 else v >> -b for v, b in parts]) >> self.down
        for row, strip in zip(
            np.clip(rows, -2047, 2047)[:, live].T, self.y[live] // 8, strict=True
        ):
            self.products[strip + 2] += np.outer(row[:-1], row)


def predict(own, errors, refs, fit, top, m):  # §5: linear, and properties and pattern (§6.1)
    (w, n, nw, ne, ww, nn), (weights, limits, classes, gain, follower) = own[:6], fit
    base = (w + n + nw + ne + 2) >> 2
    d = [own - base, np.sort([w, n, w + n - nw], 0)[1] - base]
    same = [n == nw, w == nw, n == ne, ww == w, nn == n, w == n]
    for r, e in refs:
        edge, same = np.sort([r[1], r[2], r[1] + r[2] - r[5]], 0)[1], [*same, r[0] == r[1:3]]
        d += [r - (r[1] + r[2] + r[5] + r[6] + 2 >> 2), r[0] - edge, e[0]]
    d, same, a = np.vstack(d), np.vstack(same).astype(np.int64), abs(errors)
    near, far, pattern = abs(d[:4]).sum(0), abs(d[4:16]).sum(0), (1 << np.arange(len(same))) @ same
    act, both = 2 * near + far, a.sum(0) + a[0] + a[1]
    e, e2, la, lb = np.frexp(act)[1] - 9, np.frexp(both)[1] - 8, log(act), log(both)
    cell = 16 * (la >= limits[:, None]).sum(0) + (pattern & 3) + (pattern >> 4 & 12)
    linear = np.clip(64 * base + ((weights[classes[cell]].T * d).sum(0) + 128 >> 8), 0, 64 * top)
    if follower:
        by_sets = linear
        if follower.blended:
            linear = 64 * base + ((weights[0][:, None] * d).sum(0) + 128 >> 8)
            linear = np.clip(linear, 0, 64 * top)
        linear = np.clip(linear + follower.add(d, la, linear), 0, 64 * top)
        if follower.blended:
            follower.both = np.stack([by_sets, linear])
            logs = [log(abs(v).sum(0) + abs(v[0]) + abs(v[1])) for v in follower.near]
            share = np.clip(32 + 4 * (logs[1] - logs[0]), 0, 64)
            linear = linear + ((by_sets - linear) * share + 32 >> 6)
    added, fine = linear - 64 * base, act >> np.maximum(e + 2, 0) << np.maximum(-e - 2, 0) & 127
    f = [scaled(d[:16], e), scaled(added, e + 6), scaled(d[16], e), (la >> 1) - 40, fine - 96]
    f += [log(3 * near) - log(far), scaled(linear, e + 7), scaled(64 * top - linear, e + 7)]
    f += [32 * same[:6], scaled(errors[:6], e2), log(a[:6]) - lb + 28, log(a[6:].sum(0)) - lb + 12]
    f += [(lb >> 1) - 50, lb - la - 32, 8 * (lb & 7) - 28, scaled(64 * d[[0, 1, 16]] - added, e2)]
    for i, (_, cross) in enumerate(refs):
        here, energy = (np.minimum(abs(v).sum(0), 1 << 22) for v in (cross[:1], cross))
        ratios = [log(64 * here) - lb + 16, log(64 * energy) - lb]
        taps, e_taps = ([28, 37], 1) if i else ([17, 18, 19, 20, 21, 24, 25, 26], 3)
        f += [np.full_like(e, 32), scaled(d[taps], e), scaled(cross[:e_taps], e2 - 6)]
        f += [*ratios, 32 * same[8]] if i else [32 * same[6:8], *ratios, (log(energy) >> 1) - 32]
    f = np.clip(np.pad(f := np.vstack(f), ((0, 72 - len(f)), (0, 0))), -63, 63)
    h = np.clip(scaled(m["hidden.weight"] @ f + m["hidden.bias"], m["hidden.shift"]), 0, 127)
    o = (m["output.weight"] @ h + m["output.bias"] >> m["output.shift"]) * (len(h) > 0)
    scale = np.clip(3 * lb + (np.clip(o[1], -1023, 1023) >> 1) - 129 >> 3, 0, 47)
    correction = scaled(np.clip(o[0], -2047, 2047), 4 - e2, 99) * gain + 4 >> 3
    mean = np.clip(linear + correction, 0, 64 * top)
    p, context = mean + 32 >> 6, 3 * scale + (o[2] > -16) + (o[2] > 16)
    known = [context, mean - 64 * p, p, w, n, w - nw, n - nw, n - ne, w - ww, n - nn, w - n]
    known += [w - p, n - p, errors[:2], *(v for r, e in refs for v in (r[0], r[0] - r[1:5], e[0]))]
    return linear, np.vstack([*known, pattern])


def decode_samples(reader, flags, absent, top, refs, model):  # §4.1: R and E
    (rows, columns), first, terms = absent.shape, reader.varint(), 17 + 11 * len(refs)
    kind, follower = reader.get("B") if flags & 64 else -1, None
    if model["wave"] == 3 and flags & 64 and kind & 64:
        far, memory, up = (0, 8, 14, 28)[kind >> 4 & 3], reader.get("B"), reader.get("B") - 11
        need(0 < memory < 16 and up < 12 and rows <= 1 << 13, "weights that follow")
        blended, kind = kind >> 7, kind & 15
        need(kind >= blended, "two predictions")
        follower = Follower(memory, up, far, blended, terms, rows)
    need((sets := kind + 1) <= 16, "sets of weights")
    limits, classes = (reader.packed(n, bits * (sets > 1)) for n, bits in ((3, 8), (64, 4)))
    fits = [(reader.get("B"), reader.packed(terms, w := reader.get("B")), w) for _ in range(sets)]
    weights = [v - (v >> (w - 1) << w) << 14 - f for f, v, w in fits]
    reader.stream(model["bounds"])
    fit = [np.array(weights or [model["linear"][len(refs), :terms]]), limits, classes, reader.gain]
    fit.append(follower)
    ty, tx = TAPS_Y, TAPS_X
    if follower:
        ty, tx = np.vstack([ty, FAR_Y[: follower.far]]), np.vstack([tx, FAR_X[: follower.far]])
    plane = np.zeros((4, rows, columns), np.int64)  # samples, errors, those of two predictions
    outside = np.array([first, 0, 0, 0])[:, None, None]
    for t in range(columns + 2 * rows - 2):
        x = t - 2 * (y := np.arange(max(0, (t - columns + 2) // 2), min(rows - 1, t // 2) + 1))
        if follower and t % 16 == 0:
            follower.turn()
        at_y, at_x = y + ty - (x + tx < 0), np.clip(x + tx, 0, columns - 1)
        own, near, *both = np.where(at_y < 0, outside, plane[:, np.maximum(at_y, 0), at_x])
        if follower:
            far, own = own[16:], own[:16]
            w, n, nw, ne = own[:4]
            follower.y, follower.beyond = y, far - ((w + n + nw + ne + 2) >> 2)
            follower.near = [errors[[*range(9), 11, 12]] for errors in both]
        at = np.clip(y + REFS[0], 0, rows - 1), np.clip(x + REFS[1], 0, columns - 1)
        seen = [(r[2][at], r[3][at][:5]) for r in refs]
        linear, known = predict(own, near[[*range(9), 11, 12]], seen, fit, top, model)
        value, live = (own[0] + own[1] + 1) >> 1, absent[y, x] == 0
        value[live] = reader.step(top, known[:, live])
        plane[:2, y, x] = value, np.where(live, 64 * value - linear, 0)
        if follower:
            plane[2:, y, x] = np.where(live, 64 * value - follower.both, 0)
            follower.learn(value, live)
    need([*reader.words, *{*reader.states}] == [65536] and 0 < reader.bits < 256, "symbols left")
    return plane[0], (plane[1] + 31) >> 6


def decode_body(reader, shape, refs, model):  # §4: its integers, 1 where absent, its R and E
    if (flags := reader.get("B")) & 1:
        blocks = zip(shape, (reader.read(2), reader.read(2)), strict=True)
        ys, xs = ((np.arange(n) - phase) // size + (phase > 0) for n, (size, phase) in blocks)
        y, x = (np.unique(v, return_index=True)[1] for v in (ys, xs))
        all_of = [np.ones(shape, np.int64), *refs]
        count, *refs = (np.add.reduceat(np.add.reduceat(a, y, -2), x, -1) for a in all_of)
        shape, refs = count.shape, [(2 * r + count) // (2 * count) for r in refs]
    seen = values = residual = absent = np.zeros(shape, np.int64)
    if flags & 130:
        absent = reader.block().start().bitmap(*shape) if flags & 2 else refs[0][1]
    offset = reader.varint(signed=True)
    if flags & 20 == 20:  # clusters
        levels = reader.used(reader.varint() + 1)
        begins, number = reader.used(len(levels)), decode_body(reader.block(), shape, refs, model)
        within = decode_body(reader, shape, [number], model)[0]
        values = levels[np.minimum(begins[number[0]] + within, len(levels) - 1)]
        seen, residual = number[2:]
    elif flags & 16:
        b, high = reader.get("B"), decode_body(reader.block(), shape, refs, model)[0]
        values = (high << b) + decode_body(reader, shape, [], model)[0]
        seen = values >> max(0, int(values.max()).bit_length() - 17)
    elif not flags & 8:
        levels = (reader.used if flags & 4 else np.arange)(reader.varint() + 1)
        rare = reader.used(len(levels)) if flags & 4 else []
        levels = np.append(np.delete(levels, rare), levels[rare])
        if flags & 32:
            seen = reader.packed(absent.size, (len(levels) - 1).bit_length()).reshape(shape)
        else:
            seen, residual = decode_samples(reader, flags, absent, len(levels) - 1, refs, model)
        values = levels[seen]
    need(not reader.read(), "bytes of a body are left over")
    plane = np.stack([values + offset, absent, seen, residual])
    return plane[:, ys][:, :, xs] if flags & 1 else plane


def undo_colour(kind, a, b, c, plain):  # §3, step 1: red, green, blue
    need(kind < 3 and (plain or kind != 1), "colours")
    if kind == 2:
        return a + b, b, b + c
    if kind == 0:
        t = b - (c >> 1)
        return t - (a >> 1) + a, c + t, t - (a >> 1)
    need(min(a.min(), b.min(), c.min()) >= 0 and max(a.max(), b.max(), c.max()) < 256, "Y, Cb, Cr")
    added = (91881, 0), (-46802, -22554), (0, 116130)
    return [np.clip(b + (r * (a - 128) + s * (c - 128) + 32768 >> 16), 0, 255) for r, s in added]


def decode_planes(payload, shape, dtype, weights, wave):  # §3: the coded box
    reader, model, size = Reader(payload), weights_of(weights) | {"wave": wave}, dtype.itemsize
    index, planes, out, whole = [], {}, np.empty(shape, dtype), (-(2**63), 2**63 - 1)
    (kind, e, step), k = [reader.get(form) for form in "Bbd"], reader.varint()
    nodata = np.frombuffer(reader.read(size) if reader.get("B") else bytes(size), dtype)[0]
    colours = [
        (reader.varint(), reader.get("B") if wave == 3 else 0) for _ in range(reader.varint())
    ]
    for _ in range(shape[0]):
        n = reader.get("B")
        refs = [reader.varint() for _ in range(1 if n == 3 else n)]
        clamp = [reader.varint(True), reader.varint(True)] if k and reader.get("B") else whole
        patch = reader.block().read() if k else b""
        index.append((n, refs, clamp, patch, reader.get("I"), reader.varint()))
    bodies = [Reader(reader.read(entry[-1])) for entry in index]
    need(not reader.read(), "bytes are left over")
    while todo := {*range(shape[0])} - planes.keys():
        i = next(i for i in todo if planes.keys() >= {*index[i][1]})
        refs, copied = [planes[r] for r in index[i][1]], index[i][0] == 3
        planes[i] = refs[0] if copied else decode_body(bodies[i], shape[1:], refs, model)
    values = [planes[i][0] for i in range(shape[0])]
    for g, colour in colours:
        values[g : g + 3] = undo_colour(colour, *values[g : g + 3], dtype == "u1" and k == 0)
    for i, (_, _, clamp, patch, crc, _) in enumerate(index):
        v, present = np.clip(values[i] * (2 * k + 1), *clamp), planes[i][1] == 0
        if patch:
            hit = np.flatnonzero((v == nodata) & present)
            v.flat[hit] += 2 * Reader(patch[1:]).start().bitmap(1, len(hit))[0] - 1
        pattern = np.where(v >= 0, v, v ^ (1 << 8 * size - 1) - 1).astype(f"<i{size}").view(dtype)
        x = (v, v * 2.0**e, v / 10.0**e, pattern, (v + e / 2) * step)[kind]
        out[i] = np.where(present, x.astype(dtype), nodata)
        need(crc32c(out[i].tobytes()) == crc, f"checksum of plane {i}")
    return out


def decode(record, weights):  # §2: the array of a record, or ValueError
    flags, coder, code, *rest = struct.unpack("<HBB3I3I8sd8sII", record[8:68])
    shape, box, (fill, _, sha, crc, size) = rest[:3], rest[3:6], rest[6:]
    need(record[:7] == b"\x89TP\r\n\x1a\2" and flags < 2 and size == len(record) - 72, "not of 2.0")
    need(crc32c(record[:-4]) == int.from_bytes(record[-4:], "little"), "checksum of the record")
    need(coder == 0 or hashlib.sha256(weights).digest()[:8] == sha, "other weights")
    dtype, payload = np.dtype(DTYPES[code]), record[68:-4]
    need(coder in (0, 1, 4), "not of wave")
    if coder:
        inside = decode_planes(payload, box, dtype, weights, 3 if coder == 4 else 2)
    else:
        inside = np.frombuffer(payload, dtype)
    need(crc32c(inside.tobytes()) == crc, "checksum of the samples")
    out = np.full(shape, np.frombuffer(fill[: dtype.itemsize], dtype)[0])
    out[: box[0], : box[1], : box[2]] = inside.reshape(box)
    return out[0] if flags & 1 else out
