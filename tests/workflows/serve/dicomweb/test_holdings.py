"""Which stores are served, and that nothing of them gets out elsewhere."""

from __future__ import annotations

import logging
import shutil
import struct
from pathlib import Path

import pytest
from pydicom.dataset import Dataset
from starlette.testclient import TestClient

from tilepress.pipeline.dicom.model import Model
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.dicomweb import holdings
from tilepress.workflows.serve.shelf import Shelf

from .conftest import Made


def _client(where: Path) -> TestClient:
    return TestClient(build(Shelf(where)), base_url="http://127.0.0.1:8000/dicom-web")


class TestStores:
    def test_one_alone(self, made: Made) -> None:
        (store,) = made.archive.glob("SM-*.zarr")
        found = _client(store).get("studies").json()
        assert [model["0020000D"]["Value"] for model in found] == [["1.2.4"]]

    def test_one_that_is_forged_hides_no_other(
        self, made: Made, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        real = holdings.json_model

        def forged(found: Dataset) -> Model:
            if found.StudyInstanceUID == "1.2.4":
                raise struct.error("Müller")  # parsers of headers raise nearly every type
            return real(found)

        monkeypatch.setattr(holdings, "json_model", forged)
        answer = _client(made.archive).get("studies")
        assert answer.status_code == 200
        uids = [model["0020000D"]["Value"][0] for model in answer.json()]
        assert "1.2.1" in uids
        assert "1.2.4" not in uids

    def test_others_than_dicom_hold_nothing(self, made: Made) -> None:
        client = _client(made.archive / "other.zarr")
        assert client.get("studies").json() == []
        assert client.get("studies/1.2.1").status_code == 404

    def test_what_was_removed_from_headers_stays_away(self, made: Made) -> None:
        client = _client(made.hidden)
        (study,) = client.get("studies?includefield=all").json()
        uid = study["0020000D"]["Value"][0]
        assert uid != "1.2.9"
        for address in ("studies?includefield=all", f"studies/{uid}/metadata", f"studies/{uid}"):
            content = client.get(address).content
            assert b"M\xfcller" not in content
            assert "Müller".encode() not in content
            assert b"KENNUNG" not in content
        assert client.get("studies/1.2.9").status_code == 404
        assert client.get("studies?PatientID=KENNUNG*").json() == []

    def test_that_come_and_go(
        self, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(holdings, "WALK_S", 0.0)
        (slide,) = made.archive.glob("SM-*.zarr")
        shutil.copytree(slide, tmp_path / "archive" / slide.name)
        client = _client(tmp_path / "archive")
        assert len(client.get("studies").json()) == 1
        for store in made.archive.glob("US-*.zarr"):
            shutil.copytree(store, tmp_path / "archive" / store.name)
        assert len(client.get("studies").json()) == 2
        shutil.rmtree(tmp_path / "archive" / slide.name)
        assert [m["0020000D"]["Value"] for m in client.get("studies").json()] == [["1.2.2"]]
        assert client.get("studies/1.2.4").status_code == 404

    def test_one_that_cannot_be_read_is_left_out(self, made: Made, tmp_path: Path) -> None:
        shutil.copytree(made.archive, tmp_path / "archive")
        (slide,) = (tmp_path / "archive").glob("SM-*.zarr")
        (slide / "zarr.json").write_text("{")
        found = _client(tmp_path / "archive").get("studies").json()
        assert [m["0020000D"]["Value"] for m in found] == [["1.2.1"], ["1.2.2"], ["1.2.3"]]


class TestPatients:
    def test_are_in_no_log_and_no_error(
        self,
        made: Made,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
        capfd: pytest.CaptureFixture[str],
    ) -> None:
        """Also where a library fails with a text that quotes a header."""
        caplog.set_level(logging.DEBUG)
        client = _client(made.archive)
        client.get("studies?PatientName=M%C3%BCller*")
        client.get("studies?StudyDate=Geburtstag")
        client.get("studies/1.2.1/metadata")

        def fail(*_: object, **__: object) -> None:
            raise ValueError("Müller^Anna Maria is no date")

        monkeypatch.setattr("tilepress.workflows.serve.dicomweb.search.json_model", fail)
        monkeypatch.setattr("tilepress.workflows.serve.dicomweb.retrieve.json_model", fail)
        for address in ("instances", "studies/1.2.1/metadata"):
            answer = client.get(address)
            assert answer.status_code == 500
            assert "ValueError" in answer.text
            assert "Müller" not in answer.text
        told = caplog.text.replace("httpx", "") + "".join(capfd.readouterr())
        for line in told.splitlines():
            assert "HTTP Request" in line or ("ller" not in line and "Geburtstag" not in line)
