"""Tables that most JPEG streams have: what their headers are squeezed against (FORMAT.md §12)."""

from __future__ import annotations

from functools import lru_cache

__all__ = ["usual_tables"]

_LUMINANCE = bytes.fromhex(
    "100b0c0e0c0a100e0d0e1211101318281a181616183123251d283a333d3c3933383740485c4e404457453738506d"
    "51575f626768673e4d71797064785c656763"
)
"""Quantisation of brightness of T.81 table K.1, in zigzag order."""

_CHROMINANCE = bytes.fromhex(
    "1112121815182f1a1a2f634238426363636363636363636363636363636363636363636363636363636363636363"
    "636363636363636363636363636363636363"
)
"""Of colour, table K.2."""

_HUFFMAN = bytes.fromhex(
    "ffc4001f0000010501010101010100000000000000000102030405060708090a0bffc400b5100002010303020403"
    "050504040000017d01020300041105122131410613516107227114328191a1082342b1c11552d1f0243362728209"
    "0a161718191a25262728292a3435363738393a434445464748494a535455565758595a636465666768696a737475"
    "767778797a838485868788898a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7"
    "c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4f5f6f7f8f9faffc4001f01000301010101010101"
    "01010000000000000102030405060708090a0bffc400b51100020102040403040705040400010277000102031104"
    "052131061241510761711322328108144291a1b1c109233352f0156272d10a162434e125f11718191a262728292a"
    "35363738393a434445464748494a535455565758595a636465666768696a737475767778797a8283848586878889"
    "8a92939495969798999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9da"
    "e2e3e4e5e6e7e8e9eaf2f3f4f5f6f7f8f9fa"
)
"""Segments of the four Huffman tables K.3 … K.6."""

_JFIF = bytes.fromhex("ffd8ffe000104a46494600010100000100010000")
"""The beginning of a file of the Independent JPEG Group's library."""


@lru_cache(maxsize=1)
def usual_tables() -> bytes:
    """Return segments of quantisation tables of the IJG's qualities 1 … 100, then the others."""
    pieces = []
    for quality in range(1, 101):
        scale = 5000 // quality if quality < 50 else 200 - 2 * quality
        for number, base in enumerate((_LUMINANCE, _CHROMINANCE)):
            steps = (min(max((step * scale + 50) // 100, 1), 255) for step in base)
            pieces.append(b"\xff\xdb\x00\x43" + bytes([number, *steps]))
    return b"".join([*pieces, _HUFFMAN, _JFIF])
