"""The study index: hashes for identifiers, from attributes or from kept headers."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
)

from tilepress.codecs.tile import TileCodec
from tilepress.pipeline.catalogue.dicom_studies import (
    Identity,
    SeriesEntry,
    identity,
    index_document,
    study_document,
)
from tilepress.pipeline.dicom.source import DicomSource
from tilepress.pipeline.image.grid import choose_grid
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.store.manifest import ShardEntry
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.shard_encode import encode_shard
from tilepress.pipeline.store.summary import read_summary
from tilepress.pipeline.store.writer import StoreWriter

STUDY = "1.2.826.0.1.3680043.10.999.77"
PIXELS = np.arange(20 * 24, dtype=np.uint16).reshape(20, 24)


def digest(uid: str) -> str:
    return hashlib.sha256(uid.encode()).hexdigest()[:12]


@pytest.fixture
def stored(tmp_path: Path) -> Callable[..., StoreReader]:
    """Return a function that writes the store of one source."""

    def store(spec: SourceSpec, without: tuple[str, ...] = (), **attributes: Any) -> StoreReader:
        source = DicomSource(spec)
        kept = {k: v for k, v in source.info.attributes.items() if k not in without}
        info = replace(source.info, attributes=kept | attributes)
        grid = choose_grid(info.shape, info.dtype.itemsize, tile=64)
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.zarr"
        codec = TileCodec()
        writer = StoreWriter.create(path, info, grid, codec.to_config())
        entries: list[ShardEntry] = []
        for index in grid.indices():
            box = grid.box(index)
            coded = encode_shard(codec, source.read(box), box, grid, index, writer.fill("image"))
            writer.write_shard("image", index, coded.data)
            entries.append(coded.entry("image", index))
        writer.seal(source.source_items(), entries)
        source.close()
        return StoreReader.open(path)

    return store


OLD = ("study", "series")
"""Attributes that stores did not have at first."""


class TestIdentityIsKnownForEveryStore:
    """Series of one study must be found together, whoever wrote their stores and when."""

    @pytest.mark.parametrize(
        "syntax",
        [
            ExplicitVRLittleEndian,
            ImplicitVRLittleEndian,
            ExplicitVRBigEndian,
            DeflatedExplicitVRLittleEndian,
        ],
    )
    def test_from_the_header_of_an_older_store(
        self,
        write: Callable[..., Path],
        one_spec: Callable[..., SourceSpec],
        stored: Callable[..., StoreReader],
        syntax: str,
    ):
        path = write("a.dcm", PIXELS, syntax=syntax, StudyInstanceUID=STUDY)
        known = identity(stored(one_spec(path), without=OLD))
        assert known == Identity(digest(STUDY), digest("1.2.826.0.1.3680043.10.999.1"))

    def test_from_attributes_where_they_are(
        self,
        write: Callable[..., Path],
        one_spec: Callable[..., SourceSpec],
        stored: Callable[..., StoreReader],
    ):
        path = write("a.dcm", PIXELS, StudyInstanceUID=STUDY)
        known = identity(stored(one_spec(path), study="0123456789ab", series="ba9876543210"))
        assert known == Identity("0123456789ab", "ba9876543210")

    def test_a_series_without_identifiers_or_with_damage_has_none(
        self,
        write: Callable[..., Path],
        one_spec: Callable[..., SourceSpec],
        stored: Callable[..., StoreReader],
    ):
        path = write("a.dcm", PIXELS)
        reader = stored(one_spec(path), without=OLD)
        assert identity(reader).study is None
        assert identity(reader).series is not None
        source = Path(str(reader.path)) / "source/c/0"
        source.write_bytes(bytes(source.stat().st_size))
        assert identity(StoreReader.open(reader.path)) == Identity(None, None)


class TestIndexHoldsNoPatientText:
    """It is read by people who may not see the headers."""

    def test_only_numbers_codes_and_hashes(
        self,
        write: Callable[..., Path],
        one_spec: Callable[..., SourceSpec],
        stored: Callable[..., StoreReader],
        canary: str,
    ):
        path = write(
            "a.dcm",
            PIXELS,
            StudyInstanceUID=STUDY,
            PixelSpacing=[0.5, 0.25],
            StudyDate="20200518",
            AccessionNumber=canary,
            StudyID=canary,
        )
        reader = stored(one_spec(path), without=OLD)
        summary = read_summary(reader.path)
        series = SeriesEntry.of("CT-1.zarr", summary, identity(reader)).to_json()
        document = study_document(digest(STUDY), [series])
        counts = {"studies": 1, "series": 1, "raw_bytes": 960, "stored_bytes": 1}
        text = json.dumps(index_document(counts, studies=[document]))
        for secret in (canary, STUDY, "1.2.826.0.1", "20200518", "preamble"):
            assert secret not in text
        assert document["modalities"] == ["CT"]
        assert series["pixel_spacing_mm"] == [0.5, 0.25]
        assert series["shape"] == (20, 24)
        assert series["ratio"] == round(series["raw_bytes"] / series["stored_bytes"], 4)
        assert series["stored_bytes"] == summary.stored_bytes
