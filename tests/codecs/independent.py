"""A second decoder of tilepress records, for the tests: written from ``codecs/FORMAT.md`` alone.

NumPy takes one wavefront step at a time, in arrays of one column a sample, Python its symbols.
A decoded plane is an int64 array (4, rows, columns): integers, 1 where absent, and its R and E.
"""

import bisect
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
REFS = np.array([[0, 0, -1, 0, 1, -1, -1, 1, 1], [0, -1, 0, 1, 0, -1, 1, -1, 1]])[..., None]
CRC_TABLE = [reduce(lambda c, _: c >> 1 ^ 0x82F63B78 * (c & 1), range(8), n) for n in range(256)]


def need(true, what):
    if not true:
        raise ValueError(f"record: {what}")


def crc32c(data):
    return reduce(lambda c, b: c >> 8 ^ CRC_TABLE[(c ^ b) & 255], data, 2**32 - 1) ^ 2**32 - 1


class Reader(io.BytesIO):  # ``read()`` gives the rest
    def get(self, form):
        return struct.unpack("<" + form, self.read(struct.calcsize("<" + form)))[0]

    def varint(self, signed=False):
        byte = self.get("B")
        value = byte if byte < 128 else byte & 127 | self.varint() << 7
        return value >> 1 ^ -(value & 1) if signed else value

    def packed(self, count, width):
        data = np.frombuffer(self.read((count * width + 7) // 8), np.uint8)
        digits = np.unpackbits(data, count=count * width, bitorder="little")
        return digits.reshape(count, width).astype(np.int64) @ (1 << np.arange(width))

    def used(self, count):
        return np.flatnonzero(bitmap(self.read(self.varint()), 1, count))


def bitmap(data, rows, columns):
    """(rows, columns) of 0 and 1 (§4.2); of no bytes, 0."""
    code, span, at = int.from_bytes(data[:4].ljust(4, b"\0"), "big"), 2**32 - 1, 4
    chance, seen, up = [32768] * 1024, [0] * 1024, columns + 12
    out = [0] * (rows + 2) * up  # two rows above, ten samples to the left, two to the right
    near = [1, 2, 3, 4, *range(up + 2, up - 3, -1), 2 * up] if rows > 1 else range(1, 11)
    for place in (y * up + x for y in range(2, rows + 2) for x in range(10, columns + 10)):
        c = reduce(lambda c, back: 2 * c + out[place - back], near, 0)
        bound, seen[c] = (span >> 16) * chance[c], min(seen[c] + 1, 6)
        out[place] = bit = int(code >= bound)
        span, code = (span - bound, code - bound) if bit else (bound, code)
        move = -(chance[c] >> seen[c]) if bit else (65536 - chance[c]) >> seen[c]
        chance[c] = min(max(chance[c] + move, 16), 65520)
        while span < 1 << 24:
            span, code, at = span << 8, code << 8 | int.from_bytes(data[at : at + 1], "big"), at + 1
    need(at >= len(data), "bytes of a bitmap are left over")
    return np.array(out).reshape(-1, up)[2:, 10:-2]


def log(v):
    n = np.frexp(v + 1)[1] - 1
    return 8 * n + ((v + 1 << np.maximum(3 - n, 0) >> np.maximum(n - 3, 0)) & 7)


def scaled(v, s, most=6):
    """v / 2^s, rounded; v · 2^−s for negative s, down to −most."""
    down = np.maximum(s, 0)
    return (v << np.clip(-s, 0, most)) + (1 << down >> 1) >> down


def weights_of(data):
    """The tensors of a weights file (§7), and the intervals of its tables' symbols."""
    size, types = 8 + int.from_bytes(data[:8], "little"), {"I8": "i1", "U8": "u1", "U16": "<u2"}
    model, entries = {}, json.loads(data[8:size])
    for name in entries.keys() - {"__metadata__"}:
        (a, b), shape = entries[name]["data_offsets"], (*entries[name]["shape"], 1)
        flat = np.frombuffer(data[size + a : size + b], types.get(entries[name]["dtype"], "<i4"))
        model[name] = flat.reshape(shape[: max(2, len(shape) - 1)]).astype(np.int64)
    tables = np.split(model["tables"].ravel(), np.cumsum(model["tables.sizes"])[:-1])
    return model | {"bounds": [[0, *np.cumsum(table).tolist()] for table in tables]}


def predict(own, errors, refs, fit, gain, top, m):
    """§5: linear, mean, context and pattern of the samples of a step."""
    (w, n, nw, ne, ww, nn), (weights, limits, classes) = own[:6], fit
    base = (w + n + nw + ne + 2) >> 2
    d = [own - base, np.clip(w + n - nw, np.minimum(w, n), np.maximum(w, n)) - base]
    same = [n == nw, w == nw, n == ne, ww == w, nn == n, w == n]
    for r, e in refs:
        edge = np.clip(r[1] + r[2] - r[5], np.minimum(r[1], r[2]), np.maximum(r[1], r[2]))
        d += [r - (r[1] + r[2] + r[5] + r[6] + 2 >> 2), r[0] - edge, e[0]]
        same += [r[0] == r[1], r[0] == r[2]]
    d, same = np.vstack(d), np.vstack(same).astype(np.int64)
    near, far = abs(d[:4]).sum(0), abs(d[4:16]).sum(0)
    act, pattern = 2 * near + far, (1 << np.arange(len(same))) @ same
    la, a, wide = log(act), abs(errors[:6]), abs(errors[6:]).sum(0)
    cell = 16 * (la >= limits).sum(0) + (pattern & 3) + (pattern >> 4 & 12)
    linear = np.clip(64 * base + ((weights[classes[cell]].T * d).sum(0) + 128 >> 8), 0, 64 * top)
    both, added = a.sum(0) + a[0] + a[1] + wide, linear - 64 * base
    e, e2, lb = np.frexp(act)[1] - 9, np.frexp(both)[1] - 8, log(both)
    fine = act >> np.maximum(e + 2, 0) << np.maximum(-e - 2, 0) & 127
    f = [scaled(d[:16], e), scaled(added, e + 6), scaled(d[16], e), (la >> 1) - 40, fine - 96]
    f += [log(3 * near) - log(far), scaled(linear, e + 7), scaled(64 * top - linear, e + 7)]
    f += [32 * same[:6], scaled(errors[:6], e2), log(a) - lb + 28, log(wide) - lb + 12]
    f += [(lb >> 1) - 50, lb - la - 32, 8 * (lb & 7) - 28, scaled(64 * d[[0, 1, 16]] - added, e2)]
    for i, (_, cross) in enumerate(refs):
        here, energy = (np.minimum(abs(v).sum(0), 1 << 22) for v in (cross[:1], cross))
        ratios = [log(64 * here) - lb + 16, log(64 * energy) - lb]
        taps, e_taps = ([28, 37], 1) if i else ([17, 18, 19, 20, 21, 24, 25, 26], 3)
        f += [np.full_like(e, 32), scaled(d[taps], e), scaled(cross[:e_taps], e2 - 6)]
        f += [*ratios, 32 * same[8]] if i else [32 * same[6:8], *ratios, (log(energy) >> 1) - 32]
    f = np.clip(np.pad(f := np.vstack(f), ((0, 72 - len(f)), (0, 0))), -63, 63).astype(float)
    hidden = (m["hidden.weight"] @ f).astype(np.int64) + m["hidden.bias"]  # exact
    hidden = np.clip(scaled(hidden, m["hidden.shift"]), 0, 127)
    o = (m["output.weight"] @ hidden + m["output.bias"] >> m["output.shift"]) * (len(hidden) > 0)
    scale = np.clip(3 * lb + (np.clip(o[1], -1023, 1023) >> 1) - 129 >> 3, 0, 47)
    correction = scaled(np.clip(o[0], -2047, 2047), 4 - e2, 99) * gain + 4 >> 3
    mean = np.clip(linear + correction, 0, 64 * top)
    return linear, mean, 3 * scale + (o[2] > -16) + (o[2] > 16), pattern


class Symbols:  # §6: match flags and tokens by interleaved rANS, raw bits
    def __init__(self, reader, bounds):
        self.chances, used = np.zeros(2048, np.int64), reader.used(2048)
        self.chances[used] = CHANCES[reader.packed(len(used), 6)]
        self.tables, used = np.arange(306), reader.used(306)
        self.tables[used] = reader.packed(len(used), 9)
        words, lanes = reader.varint(), reader.get("B")
        self.states = list(struct.unpack(f"<{lanes}I", reader.read(4 * lanes)))
        self.words = list(struct.unpack(f"<{words}H", reader.read(2 * words)))[::-1]
        self.bits, self.at, self.bounds = reader.read(), 0, bounds

    def symbol(self, bounds):
        high, slot = divmod(self.states.pop(0), 1 << 15)
        k = bisect.bisect_right(bounds, slot) - 1
        state = high * (bounds[k + 1] - bounds[k]) + slot - bounds[k]
        self.states.append(state if state >= 1 << 16 else state << 16 | self.words.pop())
        return k

    def raw(self, count):
        at, self.at = self.at, self.at + count
        return (
            int.from_bytes(self.bits[at // 8 : at // 8 + 4], "little") >> at % 8 & (1 << count) - 1
        )

    def step(self, top, mean, context, pattern, w, n):
        """The samples of a step, but for the absent ones."""
        p = (mean + 32) >> 6
        f, m = mean - 64 * p, np.minimum(p, top - p)
        side, far = np.where(f < 0, -1, 1), np.where(top - p > p, 1, -1)
        table = np.where(context < 54, 4 * context + np.minimum(abs(f) >> 3, 3), 162 + context)
        out, gone = [None] * len(p), [[] for _ in p]
        for first, r in ((0, w - p), (1024, n - p)):
            z = np.where(abs(r) > m, abs(r) + m, 2 * abs(r) - (side * r > 0)).tolist()
            chances = self.chances[first + pattern] * ((w != n) | (first == 0))
            for i, chance in enumerate(chances.tolist()):
                if chance and out[i] is None:
                    yes = self.symbol([0, chance, 1 << 15]) == 0
                    out[i], gone[i] = (z[i], []) if yes else (None, [*gone[i], z[i]])
        for i, k in enumerate(self.tables[table].tolist()):
            if out[i] is None:
                token = self.symbol(self.bounds[k])
                token = self.raw(7) if token == len(self.bounds[k]) - 2 else token
                b = (token - 16 >> 2) + 2
                z = token if token < 16 else (4 + (token & 3) << b) + self.raw(b)
                out[i] = reduce(lambda z, other: z + (other <= z), sorted(gone[i]), z)
        z = np.array(out, np.int64)
        return p + np.where(z > 2 * m, far * (z - m), side * (np.where(z & 1, z + 1, -z) >> 1))


def decode_samples(reader, flags, absent, top, refs, model):
    """The coded samples of a body, step by step (§4.1), and their residuals."""
    (rows, columns), first, terms = absent.shape, reader.varint(), 17 + 11 * len(refs)
    sets = reader.get("B") + 1 if flags & 64 else 0
    limits = np.array([*reader.read(3 * (sets > 1))], int)[:, None]
    classes = reader.packed(64, 4 * (sets > 1))
    weights = [] if sets else [model["linear"][len(refs), :terms]]
    for _ in range(sets):
        f, width = reader.read(2)
        v = reader.packed(terms, width)
        weights.append(v - (v >> (width - 1) << width) << 14 - f)
    fit = np.array(weights), limits, classes
    gain, symbols = reader.get("B"), Symbols(reader, model["bounds"])
    plane, outside = np.zeros((2, rows, columns), np.int64), np.array([first, 0])[:, None, None]
    for t in range(columns + 2 * rows - 2):
        y = np.arange(max(0, (t - columns + 2) // 2), min(rows - 1, t // 2) + 1)
        x = t - 2 * y
        # To the left of a row is the row above it, above the plane nothing but ``first`` and 0.
        at_y, at_x = y + TAPS_Y - (x + TAPS_X < 0), np.clip(x + TAPS_X, 0, columns - 1)
        own, near = np.where(at_y < 0, outside, plane[:, np.maximum(at_y, 0), at_x])
        at = np.clip(y + REFS[0], 0, rows - 1), np.clip(x + REFS[1], 0, columns - 1)
        seen = [(r[2][at], r[3][at][:5]) for r in refs]
        linear, *found = predict(own, near[[*range(9), 11, 12]], seen, fit, gain, top, model)
        value, live = (own[0] + own[1] + 1) >> 1, absent[y, x] == 0
        value[live] = symbols.step(top, *(v[live] for v in (*found, own[0], own[1])))
        plane[:, y, x] = value, np.where(live, 64 * value - linear, 0)
    left = len(symbols.words), 8 * len(symbols.bits) - symbols.at, {*symbols.states}
    need(left in [(0, bit, {1 << 16}) for bit in range(8)], f"words, raw bits, states left: {left}")
    return plane[0], (plane[1] + 31) >> 6


def decode_body(data, shape, refs, model):
    """§4. ``refs``: the planes referred to."""
    reader, flags = Reader(data[1:]), data[0]
    if flags & 1:
        fy, py, fx, px = reader.read(4)
        ys = (np.arange(shape[0]) - py) // fy + (py > 0)
        xs = (np.arange(shape[1]) - px) // fx + (px > 0)
        y, x = (np.unique(v, return_index=True)[1] for v in (ys, xs))
        all_of = [np.ones(shape, np.int64), *refs]
        count, *refs = (np.add.reduceat(np.add.reduceat(a, y, -2), x, -1) for a in all_of)
        shape, refs = count.shape, [(2 * r + count) // (2 * count) for r in refs]
    absent = refs[0][1] if flags & 128 else np.zeros(shape, np.int64)
    absent = bitmap(reader.read(reader.varint()), *shape) if flags & 2 else absent
    offset = reader.varint(signed=True)
    seen = values = residual = np.zeros(shape, np.int64)
    if flags & 20 == 20:  # clusters
        levels = reader.used(reader.varint() + 1)
        begins = reader.used(len(levels))
        number = decode_body(reader.read(reader.varint()), shape, refs, model)
        within = decode_body(reader.read(), shape, [number], model)[0]
        values = levels[np.minimum(begins[number[0]] + within, len(levels) - 1)]
        seen, residual = number[2:]
    elif flags & 16:
        b = reader.get("B")
        high = decode_body(reader.read(reader.varint()), shape, refs, model)[0]
        values = (high << b) + decode_body(reader.read(), shape, [], model)[0]
        seen = values >> max(0, int(values.max()).bit_length() - 17)
    elif not flags & 8:
        size = reader.varint() + 1
        levels = reader.used(size) if flags & 4 else np.arange(size)
        top = len(levels) - 1
        if flags & 32:
            seen = reader.packed(absent.size, top.bit_length()).reshape(shape)
        else:
            seen, residual = decode_samples(reader, flags, absent, top, refs, model)
        values = levels[seen]
    need(not reader.read(), "bytes of a body are left over")
    plane = np.stack([values + offset, absent, seen, residual])
    return plane[:, ys][:, :, xs] if flags & 1 else plane


def decode_planes(payload, shape, dtype, weights):
    """§3: the coded box."""
    reader, model, size = Reader(payload), weights_of(weights), dtype.itemsize
    index, planes, out, whole = [], {}, np.empty(shape, dtype), (-(2**63), 2**63 - 1)
    (kind, e, step), k = [reader.get(form) for form in "Bbd"], reader.varint()
    nodata = np.frombuffer(reader.read(size) if reader.get("B") else bytes(size), dtype)[0]
    colours = [reader.varint() for _ in range(reader.varint())]
    for _ in range(shape[0]):
        n = reader.get("B")
        refs = [reader.varint() for _ in range(1 if n == 3 else n)]
        clamp = [reader.varint(True), reader.varint(True)] if k and reader.get("B") else whole
        patch = reader.read(reader.varint()) if k else b""
        index.append((n, refs, clamp, patch, reader.get("I"), reader.varint()))
    bodies = [reader.read(entry[-1]) for entry in index]
    need(not reader.read(), "bytes are left over")
    while todo := [i for i in range(shape[0]) if i not in planes]:
        i = next(i for i in todo if planes.keys() >= {*index[i][1]})
        refs, copied = [planes[r] for r in index[i][1]], index[i][0] == 3
        planes[i] = refs[0] if copied else decode_body(bodies[i], shape[1:], refs, model)
    values = [planes[i][0] for i in range(shape[0])]
    for g in colours:
        co, t, cg = values[g], values[g + 1] - (values[g + 2] >> 1), values[g + 2]
        values[g : g + 3] = t - (co >> 1) + co, cg + t, t - (co >> 1)
    for i, (_, _, clamp, patch, crc, _) in enumerate(index):
        v, present = np.clip(values[i] * (2 * k + 1), *clamp), planes[i][1] == 0
        if patch:
            hit = np.flatnonzero((v == nodata) & present)
            v.flat[hit] += 2 * bitmap(patch[1:], 1, len(hit))[0] - 1
        pattern = np.where(v >= 0, v, v ^ (1 << 8 * size - 1) - 1).astype(f"<i{size}").view(dtype)
        x = (v, v * 2.0**e, v / 10.0**e, pattern, (v + e / 2) * step)[kind]
        out[i] = np.where(present, x.astype(dtype), nodata)
        need(crc32c(out[i].tobytes()) == crc, f"checksum of plane {i}")
    return out


def decode(record, weights):
    """The array of a record (§2), or ValueError."""
    flags, coder, code, *rest = struct.unpack("<HBB3I3I8sd8sII", record[8:68])
    shape, box, (fill, _, sha, crc, size) = rest[:3], rest[3:6], rest[6:]
    need(record[:7] == b"\x89TP\r\n\x1a\2" and flags < 2 and size == len(record) - 72, "not of 2.0")
    need(crc32c(record[:-4]) == int.from_bytes(record[-4:], "little"), "checksum of the record")
    need(coder == 0 or hashlib.sha256(weights).digest()[:8] == sha, "other weights")
    dtype, payload = np.dtype(DTYPES[code]), record[68:-4]
    inside = decode_planes(payload, box, dtype, weights) if coder else np.frombuffer(payload, dtype)
    need(crc32c(inside.tobytes()) == crc, "checksum of the samples")
    out = np.full(shape, np.frombuffer(fill[: dtype.itemsize], dtype)[0])
    out[: box[0], : box[1], : box[2]] = inside.reshape(box)
    return out[0] if flags & 1 else out
