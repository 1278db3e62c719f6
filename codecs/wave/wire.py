"""Read and write the small numbers of a payload, every read checked against its end."""

from __future__ import annotations

from tilepress.errors import InvalidRecord

__all__ = ["Reader", "signed_varint", "varint"]


def varint(value: int) -> bytes:
    """Code a non-negative integer below 2^64 as unsigned LEB128."""
    out = bytearray()
    while True:
        out.append((value & 0x7F) | (0x80 if value > 0x7F else 0))
        value >>= 7
        if not value:
            return bytes(out)


def signed_varint(value: int) -> bytes:
    """Code an integer in −2^63 … 2^63 − 1, zigzag, as a varint."""
    return varint(value * 2 if value >= 0 else -value * 2 - 1)


class Reader:
    """A cursor over a payload."""

    def __init__(self, data: memoryview) -> None:
        self._data = data
        self._at = 0

    @property
    def left(self) -> int:
        return len(self._data) - self._at

    def take(self, count: int) -> memoryview:
        if count < 0 or count > self.left:
            raise InvalidRecord(f"decoding a payload: got {self.left} bytes, want {count}")
        self._at += count
        return self._data[self._at - count : self._at]

    def byte(self) -> int:
        return self.take(1)[0]

    def flag(self) -> bool:
        value = self.byte()
        if value > 1:
            raise InvalidRecord(f"decoding a payload: got flag {value}")
        return value == 1

    def fixed(self, count: int) -> int:
        return int.from_bytes(self.take(count), "little")

    def varint(self, limit: int) -> int:
        """Read a varint that must not exceed ``limit``."""
        value = 0
        for shift in range(0, 64, 7):
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value > limit:
                    raise InvalidRecord(f"decoding a payload: got {value}, at most {limit} allowed")
                return value
        raise InvalidRecord("decoding a payload: a number has too many bytes")

    def signed_varint(self) -> int:
        value = self.varint(2**64 - 1)
        return value >> 1 if value % 2 == 0 else -((value + 1) >> 1)

    def finish(self) -> None:
        if self.left:
            raise InvalidRecord(f"decoding a payload: {self.left} bytes are left over")
