"""Decoders are the reader's choice: what is exact stays so, what is promised is the base's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tilepress.codecs.ntc.decoders.choose import is_generative, remake_of
from tilepress.codecs.tile import TileCodec
from tilepress.errors import (
    ChecksumMismatch,
    ModelError,
    TooMuchMemory,
    UnsupportedFormat,
    UsageError,
)

from ..pictures import image


def coded(**options: object) -> tuple[TileCodec, bytes, np.ndarray]:
    samples = image(90, 100)
    samples[:, 20:40, 30:60] = 0
    codec = TileCodec("ntc", psnr=30, nodata=0, **options)
    return codec, codec.encode(samples), samples


class TestWhatIsExact:
    def test_absent_samples_stay_absent_and_no_other_becomes_so(self) -> None:
        codec, record, samples = coded()
        seen = codec.decode(record, decoder="view")
        assert np.array_equal(seen == 0, samples == 0)

    def test_samples_stay_within_the_range(self) -> None:
        codec, record, samples = coded()
        seen = codec.decode(record, decoder="view")
        present = samples[samples > 0]
        assert seen[seen > 0].min() >= present.min()
        assert seen.max() <= present.max()

    def test_the_base_is_checked_first(self) -> None:
        codec, record, _ = coded()
        broken = bytearray(record)
        broken[-1] ^= 1
        with pytest.raises(ChecksumMismatch):
            codec.decode(bytes(broken), decoder="view")

    def test_a_record_that_is_stored_is_as_it_was(self) -> None:
        codec = TileCodec("ntc", psnr=40, decoder="view")
        samples = np.arange(4, dtype=np.uint8).reshape(1, 2, 2)
        record = codec.encode(samples)
        assert np.array_equal(codec.decode(record), samples)


class TestRecordsOfParts:
    def test_exact_bands_stay_so_beside_others(self) -> None:
        samples = np.stack([image(90, 100)[0]] * 4)
        samples[3] = np.random.default_rng(1).integers(0, 2, samples[3].shape) * 255
        codec = TileCodec.from_config(TileCodec("ntc", psnr=30).to_config(), exact=[3])
        record = codec.encode(samples, bands=4)
        assert record[10] == 7, "it is one of parts"
        base, seen = codec.decode(record), codec.decode(record, decoder="view")
        assert not np.array_equal(base[:3], seen[:3])
        assert np.array_equal(seen[3], samples[3])

    def test_a_bound_is_that_of_the_base_alone(self) -> None:
        codec = TileCodec("ntc", psnr=30, max_error=60)
        record = codec.encode(image(90, 100))
        with pytest.raises(UnsupportedFormat, match="within a bound"):
            codec.decode(record, decoder="view")
        other = TileCodec("ntc", psnr=30, decoder="view")
        assert record[10] == 7, "something is added to its samples"
        with pytest.raises(UnsupportedFormat, match="added to those of 'base'"):
            other.decode(record)

    def test_only_the_base_decodes_at_a_scale(self) -> None:
        codec, record, _ = coded(decoder="view")
        assert not codec.has_scales
        with pytest.raises(UsageError, match="only the decoder 'base' decodes at a scale"):
            codec.decode(record, scale=2)
        assert codec.decode(record, scale=2, decoder="base").shape == (1, 45, 50)


class TestChoosing:
    def test_of_a_codec_or_of_a_call(self) -> None:
        codec, record, _ = coded(decoder="view")
        assert codec.decoder == "view"
        plain = codec.decode(record, decoder="base")
        assert not np.array_equal(codec.decode(record), plain)
        again = TileCodec.from_config(codec.to_config())
        assert again.decoder == "base"
        assert np.array_equal(again.decode(record), plain)
        (many,) = codec.decode_many([record])
        assert np.array_equal(many, codec.decode(record))

    def test_records_do_not_depend_on_it(self) -> None:
        assert coded(decoder="view")[1] == coded()[1]

    def test_what_it_says_of_itself(self) -> None:
        assert TileCodec("ntc", psnr=40).decoder_note is None
        codec = TileCodec("ntc", psnr=40, decoder="view")
        assert codec.makes_up
        assert codec.decoder_note is not None
        assert "made up" in codec.decoder_note
        assert is_generative("view")
        assert is_generative("gan")
        assert not is_generative("base")

    def test_a_codec_without_any(self) -> None:
        with pytest.raises(UnsupportedFormat, match="codec 'wave' has 'base' only"):
            TileCodec(decoder="view")
        codec = TileCodec()
        with pytest.raises(UnsupportedFormat, match="only"):
            codec.decode(codec.encode(image(8, 8)), decoder="view")

    @pytest.mark.parametrize("name", ["gun", "", "Net", 5, None])
    def test_unknown_ones(self, name: object) -> None:
        with pytest.raises(UnsupportedFormat, match="choosing a decoder"):
            TileCodec("ntc", psnr=40, decoder=name)  # type: ignore[arg-type]

    def test_files_that_are_none(self, tmp_path: Path) -> None:
        with pytest.raises(ModelError, match="No such file"):
            remake_of(str(tmp_path / "none.safetensors"))
        (tmp_path / "bad.safetensors").write_bytes(b"nothing")
        with pytest.raises(ModelError, match="safetensors"):
            remake_of(str(tmp_path / "bad.safetensors"))

    def test_memory_is_counted(self) -> None:
        codec, record, samples = coded()
        allowed = 80 * samples.size + 2**20
        codec.decode(record, max_memory=allowed)
        with pytest.raises(TooMuchMemory):
            codec.decode(record, max_memory=allowed, decoder="view")
