"""The format is enough: a decoder written from its text alone reads what the codec wrote."""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave import plane_format
from tilepress.codecs.wave.tree import ContextTree, read_tree

HERE = Path(__file__).parent
GOLDEN = HERE / "golden"
INDEX = {
    f"{folder.name}/{name}": entry
    for folder in sorted(GOLDEN.glob("v*"))
    for name, entry in json.loads((folder / "index.json").read_text()).items()
}
CODECS = HERE.parent.parent / "codecs"
TEXT = (CODECS / "FORMAT.md").read_text(encoding="utf-8")

_spec = importlib.util.spec_from_file_location("independent", HERE / "independent.py")
independent = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(independent)


def installed(sha256: str) -> bytes:
    """The bundled weights file of a hash."""
    files = (path.read_bytes() for path in sorted(CODECS.glob("models/*.safetensors")))
    return next(data for data in files if hashlib.sha256(data).hexdigest() == sha256)


def weights_of(name: str) -> bytes:
    """The weights file that a golden record asks for, as §1 of the format finds it."""
    model = INDEX[name]["configuration"]["model"]
    base, colon, text = (model["weights"] or "").rpartition(":")
    if not text:
        return installed(model["sha256"])
    data = base64.b64decode(text)
    if colon:
        pairs = zip(installed(base), zlib.decompress(data), strict=True)
        data = bytes(one ^ other for one, other in pairs)
    assert hashlib.sha256(data).hexdigest() == model["sha256"]
    return data


def example() -> tuple[bytes, np.ndarray]:
    """The record of the worked example, §11, and its samples, both from the text."""
    text = TEXT.partition("## 11. ")[2].partition("\n## ")[0]
    record = "".join(re.findall(r"^    ([0-9a-f]+)$", text, re.MULTILINE))
    rows = re.findall(r"^    (\d+(?: +\d+)+)$", text, re.MULTILINE)
    return bytes.fromhex(record), np.array([row.split() for row in rows], np.uint32)


def example_weights() -> bytes:
    """The weights that §11 describes, as a safetensors file."""
    linear = np.zeros((3, 39), "<i4")
    linear[0, 16] = 8192
    tensors = {
        "hidden.weight": np.zeros((0, 72), "i1"),
        "hidden.bias": np.zeros(0, "<i4"),
        "hidden.shift": np.zeros(0, "<i4"),
        "output.weight": np.zeros((3, 0), "i1"),
        "output.bias": np.zeros(3, "<i4"),
        "output.shift": np.zeros(3, "<i4"),
        "tables.sizes": np.full(306, 16, "u1"),
        "tables": np.full(306 * 16, 2048, "<u2"),
        "linear": linear,
    }
    header, body = {}, b""
    for name, tensor in tensors.items():
        dtype = {"i1": "I8", "u1": "U8", "u2": "U16", "i4": "I32"}[tensor.dtype.str[1:]]
        ends = [len(body), len(body) + tensor.nbytes]
        header[name] = {"dtype": dtype, "shape": tensor.shape, "data_offsets": ends}
        body += tensor.tobytes()
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + body


def sealed(record: bytes, weights: bytes) -> bytes:
    """The record for those weights, with its length of payload and last CRC put right."""
    head = record[:52] + hashlib.sha256(weights).digest()[:8] + record[60:64]
    whole = head + struct.pack("<I", len(record) - 72) + record[68:-4]
    return whole + struct.pack("<I", independent.crc32c(whole))


def drawing() -> np.ndarray:
    """Three planes of few levels, dots in some places, absent samples in a corner, uint16."""
    y, x = np.mgrid[:96, :96]
    rings = (np.hypot(y - 30, x - 40) // 12).astype(int)
    planes = np.stack([7 * rings, 90 - 5 * rings + x // 32, 4 * rings + (y // 24) ** 2]) + 9
    dots = np.random.default_rng(1).random((3, 96, 96)) < 0.3
    return np.where(y + x > 170, 0, planes + (dots & (x > 60))).astype(np.uint16)


class TestTheFormatIsEnough:
    @pytest.mark.parametrize("name", sorted(INDEX))
    def test_to_decode_every_golden_record(self, name: str) -> None:
        entry = INDEX[name]
        record = (GOLDEN / f"{name}.tp").read_bytes()
        samples = independent.decode(record, weights_of(name))
        assert samples.dtype.name == entry["dtype"]
        assert list(samples.shape) == entry["shape"]
        assert hashlib.sha256(np.ascontiguousarray(samples)).hexdigest() == entry["samples_sha256"]

    @pytest.mark.parametrize(
        "tier", ["fast", "standard", pytest.param("max", marks=pytest.mark.slow)]
    )
    @pytest.mark.parametrize("max_error", [0, pytest.param(1, marks=pytest.mark.slow)])
    def test_to_decode_context_trees(
        self, tier: str, max_error: int, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        trees: list[int] = []

        def read(data: memoryview, n_refs: int) -> ContextTree:
            trees.append(n_refs)
            return read_tree(data, n_refs)

        monkeypatch.setattr(plane_format, "read_tree", read)
        codec = TileCodec(tier=tier, max_error=max_error, nodata=0, device="cpu")
        record = bytes(codec.encode(drawing()))
        samples = codec.decode(record)
        assert {0, 1} <= set(trees)
        decoded = independent.decode(record, codec.model.data)
        assert decoded.dtype == samples.dtype
        np.testing.assert_array_equal(decoded, samples)

    def test_to_decode_the_worked_example(self) -> None:
        record, samples = example()
        weights = example_weights()
        decoded = independent.decode(sealed(record, weights), weights)
        assert decoded.dtype == samples.dtype
        np.testing.assert_array_equal(decoded, samples)
        assert len(record) == int(re.search(r"The record, (\d+) bytes", TEXT)[1])
        assert independent.crc32c(record[:-4]).to_bytes(4, "little") == record[-4:]

    def test_without_the_codec(self) -> None:
        assert "tilepress" not in (HERE / "independent.py").read_text().partition('"""\n')[2]

    def test_in_four_hundred_lines(self) -> None:
        assert len((HERE / "independent.py").read_text().splitlines()) <= 400

    def test_to_state_the_probabilities_that_the_decoder_computes(self) -> None:
        listed = re.search(r"^589, .*767\.$", TEXT, re.MULTILINE)[0]
        assert listed.rstrip(".").split(", ") == [str(chance) for chance in independent.CHANCES]

    @pytest.mark.parametrize("place", [7, 12, 52, 60, 100, -1])
    def test_to_notice_a_flipped_bit(self, place: int) -> None:
        record = bytearray((GOLDEN / "v2/nodata.tp").read_bytes())
        record[place] ^= 4
        with pytest.raises(ValueError, match="record: checksum"):
            independent.decode(bytes(record), weights_of("v2/nodata"))

    @pytest.mark.parametrize(("place", "byte"), [(0, 0x88), (6, 1), (8, 2), (64, 0)])
    def test_to_refuse_what_it_does_not_know(self, place: int, byte: int) -> None:
        record = bytearray((GOLDEN / "v2/nodata.tp").read_bytes())
        record[place] = byte
        with pytest.raises(ValueError, match=r"not of 2\.0"):
            independent.decode(bytes(record), weights_of("v2/nodata"))

    def test_to_notice_other_weights(self) -> None:
        record = (GOLDEN / "v2/nodata.tp").read_bytes()
        with pytest.raises(ValueError, match="other weights"):
            independent.decode(record, weights_of("v2/nodata") + b"\0")

    @pytest.mark.parametrize("more", [0, 1])
    def test_to_notice_raw_bytes_that_are_left_over(self, more: int) -> None:
        weights = example_weights()
        record, _ = example()
        index = record.index(bytes.fromhex("a0cc3cc5"), 68) + 4  # the length of the only body
        length = bytes([record[index] + more])
        longer = record[:index] + length + record[index + 1 : -4] + bytes(1) + record[-4:]
        with pytest.raises(ValueError, match="left"):
            independent.decode(sealed(longer, weights), weights)

    def test_to_compute_the_checksum_of_rfc_3720(self) -> None:
        assert independent.crc32c(bytes(32)) == 0x8A9136AA
        assert independent.crc32c(b"123456789") == 0xE3069283
