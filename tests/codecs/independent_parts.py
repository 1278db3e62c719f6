"""A second decoder of coder 7, written from FORMAT.md §16 alone, over those of its parts."""

from __future__ import annotations

import struct

import numpy as np


def decode(payload, shape, dtype, inner, bitmap):
    """Decode a payload.

    ``inner(coder, weights, payload, shape, dtype)`` decodes a part; ``bitmap`` bitmaps of §4.2.
    """
    at = 0

    def take(count):
        nonlocal at
        at += count
        return bytes(payload[at - count : at])

    def varint():
        value = shift = 0
        while True:
            (byte,) = take(1)
            value |= (byte & 127) << shift
            shift += 7
            if byte < 128:
                return value

    def svarint():
        value = varint()
        return value // 2 if value % 2 == 0 else -(value + 1) // 2

    def sample():
        return int(np.frombuffer(take(dtype.itemsize), dtype)[0])

    assert take(1) == b"\1"
    out = np.zeros(shape, dtype)
    for _ in range(varint()):
        flags, coder = take(2)
        weights = take(8)
        bits = take((shape[0] + 7) // 8)
        planes = [p for p in range(shape[0]) if bits[p // 8] >> p % 8 & 1]
        part = (len(planes), *shape[1:])
        absent, told, kind = None, [], dtype
        if flags == 1:
            kind = np.dtype("<i2" if dtype.itemsize == 1 else "<i4")
            if take(1) == b"\1":
                absent = sample()
                for _ in planes:
                    length = varint()
                    told.append(take(length - 1) if length else None)
        elif flags == 2:
            kind = np.dtype("<u4")
            shift, has = struct.unpack("2B", take(2))
            absent = sample() if has else None
            told = [(svarint(), varint()) for _ in planes]
        samples = inner(coder, weights, take(varint()), part, kind)
        for k, plane in enumerate(planes):
            v = samples[k].astype(np.int64)
            if flags == 0:
                out[plane] = samples[k]
            elif flags == 1:
                before, limits = out[plane].astype(np.int64), np.iinfo(dtype)
                total = np.clip(before + v, limits.min, limits.max)
                if absent is not None:
                    hits = np.flatnonzero((total == absent) & (before != absent))
                    if told[k] is not None:
                        up = bitmap(told[k], 1, len(hits))[0]
                        for place, one in zip(hits, up, strict=True):
                            total.flat[place] += 1 if one else -1
                    total[before == absent] = absent
                out[plane] = total
            else:
                least, span = told[k]
                w = np.minimum(v * 2**shift + 2**shift // 2, span)
                if absent is not None and span and 0 <= absent - least <= span:
                    a = absent - least
                    w[w == a] = a - 1 if a == span else a + 1
                w += least
                if absent is not None:
                    w[v == 2**32 - 1] = absent
                out[plane] = w.astype(dtype)
    assert at == len(payload)
    return out
