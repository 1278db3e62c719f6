"""Codestreams: what they say of themselves, and those that pydicom does not decode."""

from __future__ import annotations

import struct
from pathlib import Path

import imagecodecs
import numpy as np
import pytest
from pydicom.encaps import encapsulate

from tilepress.errors import DamagedSource, UnsupportedSource
from tilepress.pipeline.dicom.codestreams import Declared, declared
from tilepress.pipeline.dicom.source import DicomSource

JPEG_XL = "1.2.840.10008.1.2.4.110"
HTJ2K = "1.2.840.10008.1.2.4.201"
ENCAPSULATED_NATIVE = "1.2.840.10008.1.2.1.98"


def noise(*shape: int, top: int = 4095) -> np.ndarray:
    return np.random.default_rng(7).integers(0, top, shape, np.uint16 if top > 255 else np.uint8)


@pytest.fixture
def coded(synthetic, tmp_path: Path):
    def write(syntax: str, streams: list[bytes], image: np.ndarray, **elements: object) -> Path:
        dataset = synthetic(np.zeros(image.shape[:2], image.dtype), **elements)
        known = HTJ2K if syntax == JPEG_XL else syntax  # pydicom does not write what it has not
        dataset.file_meta.TransferSyntaxUID = known
        dataset.PixelData = encapsulate(streams)
        dataset["PixelData"].VR = "OB"
        dataset["PixelData"].is_undefined_length = True
        path = tmp_path / "x.dcm"
        dataset.save_as(path)
        path.write_bytes(path.read_bytes().replace(known.encode(), syntax.encode()))
        return path

    return write


class TestJpegXl:
    @pytest.mark.parametrize("container", [False, True])
    @pytest.mark.parametrize("shape", [(24, 20), (40, 40), (9, 12), (600, 1), (16, 8)])
    def test_its_size_is_known_before_it_is_decoded(self, shape, container):
        image = noise(*shape)
        stream = imagecodecs.jpegxl_encode(image, lossless=True, usecontainer=container)
        assert declared(stream) == Declared(*shape, 0, 0)

    @pytest.mark.parametrize("stream", [b"\xff\x0a", b"\0\0\0\x0cJXL \x0d\x0a\x87\x0a", b"\xff"])
    def test_beginnings(self, stream):
        assert declared(stream) is None or declared(stream) == Declared(1, 1, 0, 0)

    def test_grey_of_twelve_bits(self, coded, one_spec, read_all):
        image = noise(24, 20)
        stream = imagecodecs.jpegxl_encode(image, lossless=True)
        spec = one_spec(coded(JPEG_XL, [stream], image, BitsStored=12))
        assert np.array_equal(read_all(spec), image)
        assert DicomSource(spec).info.attributes["transfer_syntax_uid"] == JPEG_XL

    def test_colour(self, coded, one_spec, read_all):
        image = noise(24, 20, 3, top=255)
        stream = imagecodecs.jpegxl_encode(image, lossless=True)
        colour = {"SamplesPerPixel": 3, "PlanarConfiguration": 0}
        spec = one_spec(coded(JPEG_XL, [stream], image, PhotometricInterpretation="RGB", **colour))
        assert np.array_equal(read_all(spec), image.transpose(2, 0, 1))

    def test_more_bits_than_the_header_says_are_damage(self, coded, one_spec, read_all):
        image = noise(24, 20)
        stream = imagecodecs.jpegxl_encode(image, lossless=True)
        spec = one_spec(coded(JPEG_XL, [stream], image, BitsStored=10))
        with pytest.raises(DamagedSource, match="10 bits"):
            read_all(spec)

    def test_another_size_is_damage_before_anything_is_decoded(
        self, coded, one_spec, read_all, monkeypatch
    ):
        image = noise(24, 20)
        stream = imagecodecs.jpegxl_encode(noise(2000, 1000), lossless=True)
        spec = one_spec(coded(JPEG_XL, [stream], image))
        monkeypatch.setattr(imagecodecs, "jpegxl_decode", None)
        with pytest.raises(DamagedSource, match=r"\(2000, 1000, 1\)"):
            read_all(spec)

    def test_signed_samples_are_refused(self, coded, one_spec, read_all):
        image = noise(24, 20)
        stream = imagecodecs.jpegxl_encode(image, lossless=True)
        spec = one_spec(coded(JPEG_XL, [stream], image, PixelRepresentation=1))
        with pytest.raises(UnsupportedSource, match="signed"):
            read_all(spec)


class TestEncapsulatedUncompressed:
    def test_frames_in_fragments(self, coded, one_spec, read_all):
        images = noise(3, 24, 20)
        streams = [image.astype("<u2").tobytes() for image in images]
        path = coded(ENCAPSULATED_NATIVE, streams, images[0], NumberOfFrames=3, BitsStored=12)
        assert np.array_equal(read_all(one_spec(path)), images)

    def test_a_short_fragment_is_damage(self, coded, one_spec, read_all):
        image = noise(24, 20)
        path = coded(ENCAPSULATED_NATIVE, [image.tobytes()[:100]], image)
        with pytest.raises(DamagedSource):
            read_all(one_spec(path))


class TestJpeg:
    def test_the_frame_header_tells(self):
        stream = imagecodecs.jpeg8_encode(noise(17, 33, top=255))
        assert declared(stream) == Declared(17, 33, 1, 8)

    def test_jpeg_2000(self):
        stream = imagecodecs.jpeg2k_encode(noise(17, 33), level=0, bitspersample=12)
        found = declared(stream)
        assert found is not None
        assert found[:3] == (17, 33, 1)

    def test_others_tell_nothing(self):
        assert declared(struct.pack("<16I", 2, 64, *[0] * 14)) is None
