"""Data sets become the DICOM JSON model, whatever is wrong with them."""

from __future__ import annotations

import json
from io import BytesIO

import pydicom
from pydicom.dataset import Dataset
from pydicom.filereader import read_dataset

from tilepress.pipeline.dicom.model import INLINE_BYTES, bulk_value, json_model


def _data_set() -> Dataset:
    ds = Dataset()
    ds.SpecificCharacterSet = "ISO_IR 100"
    ds.PatientName, ds.Rows, ds.PixelSpacing = "Jörg", 3, [0.5, 0.25]
    ds.FrameReferenceTime = None
    item = Dataset()
    item.add_new(0x00091001, "OB", b"\1" * 2000)
    item.add_new(0x00091002, "OB", b"\2" * INLINE_BYTES)
    ds.ReferencedSeriesSequence = [Dataset(), item]
    ds.add_new(0x00091001, "UN", b"\3" * 1025)
    return ds


class TestModel:
    def test_is_what_pydicom_reads_back(self) -> None:
        model = json_model(_data_set(), lambda path: f"http://x/{path}")
        assert model["00080005"]["Value"] == ["ISO_IR 192"]
        assert model["00091001"] == {"vr": "UN", "BulkDataURI": "http://x/00091001"}
        item = model["00081115"]["Value"][1]
        assert item["00091001"]["BulkDataURI"] == "http://x/00081115/1/00091001"
        assert "InlineBinary" in item["00091002"]
        read = pydicom.Dataset.from_json(model, lambda *_: b"")
        assert read.PatientName == "Jörg"
        assert read.PixelSpacing == [0.5, 0.25]

    def test_without_addresses_has_no_binary(self) -> None:
        model = json_model(_data_set())
        assert "00091001" not in model
        assert model["00081115"]["Value"] == [{}, {}]

    def test_leaves_out_what_is_no_value_of_its_kind(self) -> None:
        """A number that is none, a date that is none: no error that quotes them."""
        raw = (
            b"\x20\x00\x13\x00IS\x04\x00many"
            b"\x08\x00\x20\x00DA\x08\x00Geburtst"
            b"\x18\x00\x60\x00DS\x04\x00nan "
            b"\x28\x00\x10\x00US\x03\x00\x01\x02\x03"
        )
        model = json_model(read_dataset(BytesIO(raw), False, True))
        text = json.dumps(model, allow_nan=False)
        assert "many" not in text
        assert set(model) == {"00080020", "00180060", "00200013", "00280010"}

    def test_has_a_depth(self) -> None:
        ds = Dataset()
        for _ in range(60):
            outer = Dataset()
            outer.ReferencedSeriesSequence = [ds]
            ds = outer
        assert json.dumps(json_model(ds)).count("00081115") == 32


class TestBulkData:
    def test_is_found_by_its_path(self) -> None:
        ds = _data_set()
        assert bulk_value(ds, "00091001") == b"\3" * 1025
        assert bulk_value(ds, "00081115/1/00091001") == b"\1" * 2000

    def test_or_not(self) -> None:
        ds = _data_set()
        for path in (
            *("", "00100010", "00081115", "00081115/0/00091001", "00081115/9/00091001", "0009"),
            *("00091001/0/00091001", "../00091001", "00081115/-1/00091001", "x" * 10_000),
        ):
            assert bulk_value(ds, path) is None, path
