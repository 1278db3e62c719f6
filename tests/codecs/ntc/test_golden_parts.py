"""Records of parts decode as ever, as FORMAT.md §16 says, and hostile ones end in our errors.

More of these:

    TILEPRESS_FUZZ=100000 python -m pytest -m long tests/codecs/ntc/test_golden_parts.py
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from tilepress.codecs.native.library import VARIABLE, instruction_set, instruction_sets
from tilepress.codecs.ntc import chunk, turned
from tilepress.codecs.ntc.klt import fit
from tilepress.codecs.record import pack_record, unpack_record
from tilepress.codecs.tile import TileCodec
from tilepress.codecs.wave.bitmap import decode_bitmap
from tilepress.codecs.weights import known_models, load_named
from tilepress.errors import CodecError

HERE = Path(__file__).parent.parent
INDEX = json.loads((HERE / "golden/parts/index.json").read_text())
ROUNDS = int(os.environ.get("TILEPRESS_FUZZ", "2000"))


def module(path: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(Path(path).stem, HERE / path)
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


regenerate = module("golden/regenerate_parts.py")


def data(name: str) -> bytes:
    return (HERE / "golden/parts" / f"{name}.tp").read_bytes()


def sha256(samples: np.ndarray) -> str:
    return hashlib.sha256(np.ascontiguousarray(samples).tobytes()).hexdigest()


@pytest.mark.parametrize("name", sorted(INDEX))
class TestGoldenRecords:
    @pytest.mark.parametrize("instructions", instruction_sets())
    def test_decode_as_ever(
        self, name: str, instructions: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        entry = INDEX[name]
        assert hashlib.sha256(data(name)).hexdigest() == entry["record_sha256"], "a file changed"
        codec = regenerate.codec(entry["options"])
        monkeypatch.setenv(VARIABLE, instructions)
        instruction_set.cache_clear()
        try:
            samples = codec.decode(data(name))
            scaled = [codec.decode(data(name), scale=scale) for scale in (2, 4, 8)]
        finally:
            monkeypatch.undo()
            instruction_set.cache_clear()
        assert sha256(samples) == entry["samples_sha256"]
        assert [sha256(one) for one in scaled] == entry["scaled_sha256"]
        assert unpack_record(data(name))[0].coder == entry["coder"]

    def test_is_written_again(self, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """By an encoder that turns bands as that of these records did: by a KLT, slices never."""
        monkeypatch.setattr(turned, "fit_joint", fit)
        monkeypatch.setattr(chunk, "_CELLS_OF_A_BAND", 2**40)
        (case,) = (case for case in regenerate.cases() if case[0] == name)
        assert regenerate.record(*case[1:]) == data(name)

    def test_a_decoder_of_the_format_alone_gives_the_same(self, name: str) -> None:
        header, payload = unpack_record(data(name))
        ntc, wave = module("independent_ntc.py"), module("independent.py")

        def inner(coder, weights, part, shape, dtype):
            (found,) = (w for w in known_models() if bytes.fromhex(w.sha256)[:8] == weights)
            if coder == 6:
                return ntc.decode(part, shape, dtype, found.data, decode_bitmap)
            return wave.decode_planes(part, shape, dtype, found.data, 3 if coder == 4 else 2)

        if header.coder == 7:
            parts = module("independent_parts.py")
            samples = parts.decode(bytes(payload), header.coded, header.dtype, inner, decode_bitmap)
        else:
            samples = inner(
                header.coder, header.model_id, bytes(payload), header.coded, header.dtype
            )
        assert sha256(samples) == INDEX[name]["samples_sha256"]


def test_none_is_missing() -> None:
    files = {path.stem for path in (HERE / "golden/parts").glob("*.tp")}
    assert files == set(INDEX) == {case[0] for case in regenerate.cases()}


def fuzz(rounds: int, seed: int) -> int:
    """Decode records whose payloads are changed; returns how many are refused."""
    from .test_fuzz import mutated

    rng, refused = np.random.default_rng(seed), 0
    names = [name for name in sorted(INDEX) if INDEX[name]["coder"] == 7]
    codecs = {name: regenerate.codec(INDEX[name]["options"]) for name in names}
    for number in range(rounds):
        name = names[number % len(names)]
        header, payload = unpack_record(data(name))
        changed = mutated(bytes(payload), rng)
        record = pack_record(header, changed)
        scale = int(rng.choice([1, 1, 2, 4, 8]))
        planes = None if rng.random() < 0.7 else [0]
        try:
            out = codecs[name].decode(record, scale=scale, planes=planes, max_memory=2**28)
        except CodecError:
            refused += 1
            continue
        if scale == 1 and planes is None:
            assert sha256(out) == INDEX[name]["samples_sha256"]
    return refused


class TestHostileRecords:
    def test_end_in_our_errors(self) -> None:
        assert fuzz(400, 1) > 200

    @pytest.mark.long
    @pytest.mark.timeout(3600)
    def test_many(self) -> None:
        assert fuzz(ROUNDS, 2) > ROUNDS // 2

    def test_of_weights_that_nobody_has(self) -> None:
        header, payload = unpack_record(data("alpha"))
        wave = bytes.fromhex(load_named("wave-3").sha256)[:8]
        other = bytes(payload).replace(wave, b"12345678")
        assert other != bytes(payload)
        with pytest.raises(CodecError, match="needs model 3132333435363738"):
            TileCodec("ntc", psnr=40, model="ntc-1").decode(pack_record(header, other))

    def test_configurations_of_other_codecs_stand_for_their_own(self) -> None:
        with pytest.raises(CodecError, match="its coder is 7"):
            TileCodec().decode(data("alpha"))
        wave = TileCodec().encode(np.arange(600, dtype=np.uint16).reshape(20, 30))
        with pytest.raises(CodecError, match="its coder is 4"):
            TileCodec("jpegxl", psnr=40).decode(wave)
