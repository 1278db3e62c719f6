"""Files come back valid, with their pixels and without what identifies, in every encoding."""

from __future__ import annotations

import json
import random
import warnings
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.dataset import FileDataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from tilepress.errors import DamagedStore, ExcludedSource, SourceError
from tilepress.pipeline.archive.private import archive_pseudonyms
from tilepress.pipeline.dicom.export import export_dicom
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.privacy.profile import Profile
from tilepress.pipeline.privacy.recipe import DEIDENTIFIED, KEY_FOLDER, deidentified
from tilepress.pipeline.sources.deidentified import DeidentifiedSource
from tilepress.pipeline.storage.path import storage_path

from ...helpers import canaries
from ...helpers.canaries import Planter
from .conftest import CANARY, MemoryReader, build, save

PIXELS = np.arange(30 * 41, dtype=np.uint16).reshape(30, 41)
SYNTAXES = [
    *(ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian),
    DeflatedExplicitVRLittleEndian,
]


@pytest.fixture
def asked(tmp_path: Path, one_spec: Callable[..., SourceSpec]) -> Callable[..., SourceSpec]:
    """Return a function from files to the recipe of their image, de-identified."""
    archive = storage_path(tmp_path / "archive")
    pseudonyms = archive_pseudonyms(archive)

    def recipe(*paths: Path, options: str = "basic") -> SourceSpec:
        return deidentified(one_spec(*paths), Profile.parse(options), pseudonyms, archive)

    return recipe


def stored(spec: SourceSpec) -> MemoryReader:
    source = DeidentifiedSource(DicomSource(spec))
    try:
        return MemoryReader(source)  # type: ignore[arg-type]  # what it asks of one
    finally:
        source.close()


def exported(spec: SourceSpec, out: Path) -> Iterator[FileDataset]:
    """Yield what the files are that an export gives; a warning would be an error."""
    for path in export_dicom(stored(spec), out):
        assert CANARY.encode() not in path.read_bytes()
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            yield pydicom.dcmread(path)


class TestWholeFiles:
    @pytest.mark.parametrize("syntax", SYNTAXES, ids=lambda uid: uid.name)
    def test_every_encoding_is_valid_and_has_its_pixels(
        self, syntax: str, write: Callable[..., Path], asked: Any, tmp_path: Path
    ):
        path = write("a.dcm", PIXELS, syntax=syntax)
        (made,) = exported(asked(path), tmp_path / "out")
        assert made.preamble == bytes(128)
        meta = made.file_meta
        assert meta.TransferSyntaxUID == syntax
        assert meta.MediaStorageSOPInstanceUID == made.SOPInstanceUID
        assert meta.MediaStorageSOPClassUID == made.SOPClassUID
        assert meta.ImplementationVersionName == "TILEPRESS"
        pydicom.dataset.validate_file_meta(meta, enforce_standard=True)
        assert np.array_equal(made.pixel_array, PIXELS)
        assert made.PatientIdentityRemoved == "YES"

    def test_compressed_ones_come_back_decoded(
        self, asked: Any, tmp_path: Path, synthetic: Callable[..., FileDataset]
    ):
        dataset = synthetic(PIXELS)
        dataset.compress(RLELossless)
        path = save(dataset, tmp_path / "in/a.dcm")
        (made,) = exported(asked(path), tmp_path / "out")
        assert np.array_equal(made.pixel_array, PIXELS)

    def test_names_of_files_are_numbers(self, write: Any, asked: Any, tmp_path: Path):
        paths = [write(f"{CANARY}/{n}.dcm", PIXELS, instance=n) for n in (1, 2, 3)]
        out = tmp_path / "out"
        for _ in exported(asked(*paths), out):
            pass
        assert sorted(p.name for p in out.iterdir()) == [f"00000{n}.dcm" for n in (1, 2, 3)]
        assert CANARY not in json.dumps(stored(asked(*paths)).origin)

    def test_a_file_without_preamble_and_meta_gets_none(
        self, synthetic: Any, asked: Any, tmp_path: Path
    ):
        path = save(synthetic(PIXELS, syntax=ImplicitVRLittleEndian), tmp_path / "in/a.dcm")
        data = path.read_bytes()
        path.write_bytes(data[data.index(b"\x08\0\x05\0") :])
        items = stored(asked(path)).items
        assert items["dicom-headers"][:4] == b"\x08\0\x05\0"

    def test_the_file_meta_information_says_nothing_of_who_wrote_it(
        self, synthetic: Any, asked: Any, tmp_path: Path
    ):
        dataset = synthetic(PIXELS)
        dataset.file_meta.SourceApplicationEntityTitle = CANARY
        dataset.file_meta.ImplementationVersionName = CANARY
        dataset.file_meta.PrivateInformationCreatorUID = "1.2.3"
        dataset.file_meta.PrivateInformation = CANARY.encode() + b"\0"
        path = save(dataset, tmp_path / "in/a.dcm")
        (made,) = exported(asked(path), tmp_path / "out")
        assert "PrivateInformation" not in made.file_meta
        assert "SourceApplicationEntityTitle" not in made.file_meta


class TestWhatLiesAroundThePixels:
    def test_elements_after_them_are_treated_alike(self, write: Any, asked: Any):
        path = write("a.dcm", PIXELS)
        trailer = b"\xfc\xff\xfc\xffOB\0\0\x06\0\0\0" + CANARY.encode()[:6]
        path.write_bytes(path.read_bytes() + trailer)
        assert stored(asked(path)).items["dicom-trailers"] == b""

    def test_bytes_that_are_no_elements_go(self, write: Any, asked: Any):
        path = write("a.dcm", PIXELS)
        path.write_bytes(path.read_bytes() + CANARY.encode() * 5)
        items = stored(asked(path)).items
        assert items["dicom-trailers"] == b""

    def test_padding_of_the_pixel_value_is_zero(self, synthetic: Any, asked: Any, tmp_path: Path):
        pixels = PIXELS.astype("<u2").tobytes() + CANARY.encode() + b"!"
        dataset = synthetic(pixels, Rows=30, Columns=41, BitsAllocated=16, BitsStored=16,
                            PixelRepresentation=0)  # fmt: skip
        path = save(dataset, tmp_path / "in/a.dcm")
        reader = stored(asked(path))
        assert reader.items["dicom-trailers"] == bytes(len(CANARY) + 1)

    @pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ExplicitVRBigEndian])
    @pytest.mark.parametrize("columns", [3, 5, 8])
    def test_samples_within_the_last_byte_stay(
        self, columns: int, syntax: str, synthetic: Any, asked: Any, tmp_path: Path
    ):
        bits = np.arange(3 * columns) % 3 == 0
        packed = np.packbits(bits, bitorder="little").tobytes()
        value = bytearray(packed + b"\0" * (len(packed) % 2))
        dataset = synthetic(bytes(value), syntax=syntax, Rows=3, Columns=columns, BitsAllocated=1,
                            BitsStored=1, PixelRepresentation=0)  # fmt: skip
        path = save(dataset, tmp_path / "in/a.dcm")
        (made,) = exported(asked(path), tmp_path / "out")
        assert made.PixelData[: len(packed)] == packed

    def test_overlays_in_unused_bits_go(self, write: Any, asked: Any, tmp_path: Path):
        words = (PIXELS & 0x0FFF) | 0xA000
        path = write("a.dcm", words, BitsStored=12)
        (made,) = exported(asked(path), tmp_path / "out")
        assert np.array_equal(np.frombuffer(made.PixelData, "<u2").reshape(30, 41), PIXELS & 0xFFF)

    def test_bytes_behind_a_deflated_stream_go(self, write: Any, asked: Any):
        path = write("a.dcm", PIXELS, syntax=DeflatedExplicitVRLittleEndian)
        path.write_bytes(path.read_bytes() + CANARY.encode())
        (entry,) = stored(asked(path)).origin["instances"]
        assert entry["deflate"] == {"settings": [6, 8], "tail": "", "exact": False}
        assert zlib.decompressobj  # what an export deflates with


class TestAnImage:
    def test_the_store_says_how_and_what_went(self, write: Any, asked: Any):
        spec = asked(write("a.dcm", PIXELS), options="retain-uids")
        reader = stored(spec)
        told = reader.origin[DEIDENTIFIED]
        assert told["options"] == ["basic", "retain-uids"]
        assert told["codes"] == ["113100", "113110"]
        assert told["counts"]["removed"]["StudyDescription"] == 1
        assert told["key"] == spec.options["deidentify"]["key"]

    def test_burned_in_annotation_is_told_and_never_claimed_removed(self, write: Any, asked: Any):
        paths = [
            write(f"{n}.dcm", PIXELS, instance=n, **({"BurnedInAnnotation": said} if said else {}))
            for n, said in enumerate(("NO", "YES", ""), 1)
        ]
        with closing(DeidentifiedSource(DicomSource(asked(*paths)))) as source:
            told = source.info.attributes["burned_in_annotation"]
            assert told == {"NO": 1, "YES": 1, "unknown": 1}
            assert any("2 of 3 files do not say" in remark for remark in source.info.remarks)
        with closing(DeidentifiedSource(DicomSource(asked(paths[0])))) as source:
            assert not source.info.remarks

    @pytest.mark.parametrize("kind", ["LABEL", "OVERVIEW"])
    def test_labels_of_slides_are_left_out(self, kind: str, write: Any, asked: Any):
        path = write("a.dcm", PIXELS, ImageType=["ORIGINAL", "PRIMARY", kind, "NONE"])
        with pytest.raises(ExcludedSource, match=f"its {kind} image is left out"):
            DicomSource(asked(path))

    def test_the_same_bytes_each_time_and_others_with_another_key(
        self, write: Any, asked: Any, one_spec: Any, tmp_path: Path
    ):
        path = write("a.dcm", PIXELS)
        spec = asked(path)
        assert stored(spec).items == stored(spec).items
        other = storage_path(tmp_path / "other")
        theirs = deidentified(one_spec(path), Profile(), archive_pseudonyms(other), other)
        assert stored(theirs).items["dicom-headers"] != stored(spec).items["dicom-headers"]

    def test_files_of_a_series_refer_to_each_other_as_before(
        self, asked: Any, write: Any, tmp_path: Path
    ):
        paths = [write(f"{n}.dcm", PIXELS, instance=n) for n in (1, 2)]
        made = list(exported(asked(*paths), tmp_path / "out"))
        assert made[0].SeriesInstanceUID == made[1].SeriesInstanceUID
        assert made[0].SOPInstanceUID != made[1].SOPInstanceUID

    def test_without_its_key_nothing_is_made(self, write: Any, asked: Any, tmp_path: Path):
        spec = asked(write("a.dcm", PIXELS))
        (tmp_path / "archive/.tilepress/private/key.json").unlink()
        with pytest.raises(DamagedStore, match=r"the key of .* is not there"):
            stored(spec)
        assert str(tmp_path / "archive") == spec.options[KEY_FOLDER]

    def test_the_files_as_they_were_are_not_given_by_mistake(self, write: Any, asked: Any):
        with (
            closing(DicomSource(asked(write("a.dcm", PIXELS)))) as source,
            pytest.raises(AssertionError),
        ):
            source.source_items()


def test_parsing_what_comes_out_loses_nothing(asked: Any, tmp_path: Path):
    """What is written is whole: the same elements once more."""
    dataset = build(
        PIXELS, WindowCenter=["40", "400"], WindowWidth=["80", "800"], PixelSpacing=[1, 2]
    )
    path = save(dataset, tmp_path / "in/a.dcm")
    (made,) = exported(asked(path), tmp_path / "out")
    stream = BytesIO()
    made.save_as(stream)
    again = pydicom.dcmread(BytesIO(stream.getvalue()))
    assert again == made
    assert list(again.WindowCenter) == [40, 400]


@pytest.mark.parametrize("seed", range(12))
def test_a_header_that_is_damaged_is_an_error_or_leaks_nothing(
    seed: int, asked: Any, tmp_path: Path
):
    """Flipped bits make other VRs, lengths and tags of what is there."""
    rng, planter = random.Random(seed), Planter()
    path = planter.dicom(tmp_path / "in/a.dcm", "1.2.3", 1, PIXELS)
    spec = asked(path)
    data = bytearray(path.read_bytes())
    for at in rng.sample(range(132, data.index(b"\xe0\x7f\x10\0OW")), 1 + 2 * (seed % 3)):
        data[at] ^= 1 << rng.randrange(8)
    path.write_bytes(data)
    try:
        items = stored(spec).items
    except SourceError:
        return
    assert not canaries.in_bytes(b"".join(items.values()))
