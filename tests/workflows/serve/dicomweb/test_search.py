"""QIDO-RS: what is found, what of it is told, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from tilepress.workflows.serve.dicomweb import search as searching


def _found(client: TestClient, address: str, tag: str) -> list[Any]:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return [model[tag]["Value"][0] for model in answer.json()]


STUDY, SERIES, INSTANCE = "0020000D", "0020000E", "00080018"


class TestStudies:
    def test_have_what_the_standard_asks_for(self, dicomweb: TestClient) -> None:
        models = {m[STUDY]["Value"][0]: m for m in dicomweb.get("studies").json()}
        assert sorted(models) == ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]
        first = models["1.2.1"]
        assert first["00100010"] == {"vr": "PN", "Value": [{"Alphabetic": "Müller^Anna Maria"}]}
        assert first["00080005"]["Value"] == ["ISO_IR 192"]
        assert first["00080061"]["Value"] == ["CT"]
        assert first["00201206"]["Value"] == [2]
        assert first["00201208"]["Value"] == [5]
        assert first["00081190"]["Value"] == ["http://127.0.0.1:8000/dicom-web/studies/1.2.1"]
        assert models["1.2.2"]["00080061"]["Value"] == ["US"]
        assert "00081030" not in first, "attributes of a study without a description"

    @pytest.mark.parametrize(
        ("query", "want"),
        [
            ("PatientName=MÜLLER^*", ["1.2.1"]),
            ("PatientName=*anna*", ["1.2.1"]),
            ("PatientName=Müller^Anna Maria", ["1.2.1"]),
            ("PatientName=Müller", []),
            ("PatientName=?ther^One", ["1.2.2"]),
            ("00100020=P-3", ["1.2.3"]),
            ("PatientID=p-3", []),
            ("PatientID=", ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]),
            ("PatientID=*", ["1.2.1", "1.2.2", "1.2.3", "1.2.4"]),
            ("StudyDate=20200131", ["1.2.1"]),
            ("StudyDate=20200101-20211231", ["1.2.1", "1.2.2"]),
            ("StudyDate=-19991231", ["1.2.3"]),
            ("StudyDate=20210301-", ["1.2.2"]),
            ("StudyTime=10-1015", ["1.2.1", "1.2.3"]),
            ("StudyDate=20200101-20211231&StudyTime=23-", ["1.2.2"]),
            ("StudyInstanceUID=1.2.1,1.2.3,1.2.77", ["1.2.1", "1.2.3"]),
            ("StudyInstanceUID=1.2.4\\1.2.2", ["1.2.4", "1.2.2"]),
            ("ModalitiesInStudy=US", ["1.2.2"]),
            ("ModalitiesInStudy=US&PatientID=P-1", []),
            ("limit=2", ["1.2.1", "1.2.2"]),
            ("limit=2&offset=3", ["1.2.4"]),
            ("offset=4", []),
            ("limit=0", []),
            ("limit=999999999999999999&offset=1", ["1.2.2", "1.2.3", "1.2.4"]),
        ],
    )
    def test_are_found(self, dicomweb: TestClient, query: str, want: list[str]) -> None:
        assert _found(dicomweb, f"studies?{query}", STUDY) == want

    def test_say_when_there_are_more(self, dicomweb: TestClient) -> None:
        assert "additional results" in dicomweb.get("studies?limit=1").headers["warning"]
        assert "warning" not in dicomweb.get("studies?limit=4").headers

    def test_fields_may_be_asked_for(self, dicomweb: TestClient) -> None:
        usual = dicomweb.get("studies?PatientID=P-1").json()[0]
        more = dicomweb.get("studies?PatientID=P-1&includefield=all").json()[0]
        assert set(usual) <= set(more)
        named = dicomweb.get("series?limit=1&includefield=FrameOfReferenceUID,00181030").json()[0]
        assert set(named) >= {SERIES, STUDY}

    def test_fuzzy_matching_is_literal_and_says_so(self, dicomweb: TestClient) -> None:
        answer = dicomweb.get("studies?PatientName=Mueller*&fuzzymatching=true")
        assert answer.json() == []
        assert "Only literal matching" in answer.headers["warning"]
        assert "warning" not in dicomweb.get("studies?fuzzymatching=false").headers


class TestSeries:
    @pytest.mark.parametrize(
        ("address", "want"),
        [
            ("series", ["1.2.1.5", "1.2.1.6", "1.2.2.1", "1.2.2.2", "1.2.3.1", "1.2.4.1"]),
            ("studies/1.2.1/series", ["1.2.1.5", "1.2.1.6"]),
            ("studies/1.2.1/series?SeriesDescription=th*", ["1.2.1.5"]),
            ("studies/1.2.1/series?SeriesNumber=3", ["1.2.1.5", "1.2.1.6"]),
            ("studies/1.2.1/series?SeriesNumber=4", []),
            ("series?Modality=US&PatientID=P-2", ["1.2.2.1", "1.2.2.2"]),
            ("series?SeriesInstanceUID=1.2.2.1,1.2.4.1", ["1.2.2.1", "1.2.4.1"]),
            ("series?RequestAttributesSequence.ScheduledProcedureStepID=STEP", ["1.2.1.5"]),
            ("series?00400275.00400009=OTHER", []),
        ],
    )
    def test_are_found(self, dicomweb: TestClient, address: str, want: list[str]) -> None:
        assert _found(dicomweb, address, SERIES) == want

    def test_count_their_instances(self, dicomweb: TestClient) -> None:
        found = dicomweb.get("studies/1.2.1/series").json()
        assert [model["00201209"]["Value"][0] for model in found] == [4, 1]
        assert "00100010" not in found[0], "the study's attributes are known to who names it"
        assert "00100010" in dicomweb.get("series?limit=1").json()[0]


class TestInstances:
    @pytest.mark.parametrize(
        ("address", "want"),
        [
            ("studies/1.2.1/series/1.2.1.5/instances", [f"1.2.1.5.{n}" for n in (1, 2, 3, 4)]),
            ("studies/1.2.1/series/1.2.1.5/instances?InstanceNumber=3", ["1.2.1.5.3"]),
            ("studies/1.2.1/series/1.2.1.5/instances?offset=1&limit=2", ["1.2.1.5.2", "1.2.1.5.3"]),
            ("studies/1.2.2/instances", ["1.2.2.1.1", "1.2.2.2.1"]),
            ("instances?NumberOfFrames=5", ["1.2.2.1.1"]),
            ("instances?SOPInstanceUID=1.2.1.5.2,1.2.3.1.1", ["1.2.1.5.2", "1.2.3.1.1"]),
            ("instances?Modality=SM", ["1.2.4.1.1"]),
            ("instances?PatientName=big*&Rows=20", ["1.2.3.1.1"]),
        ],
    )
    def test_are_found(self, dicomweb: TestClient, address: str, want: list[str]) -> None:
        assert _found(dicomweb, address, INSTANCE) == want

    def test_tell_where_they_are(self, dicomweb: TestClient) -> None:
        (model,) = dicomweb.get("instances?SOPInstanceUID=1.2.3.1.1").json()
        assert dicomweb.get(model["00081190"]["Value"][0]).status_code == 200
        assert model["00280010"]["Value"] == [20]

    def test_nobody_makes_it_read_everything(
        self, dicomweb: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(searching, "MAX_LOOKED", 3)
        answer = dicomweb.get("instances?InstanceNumber=77")
        assert answer.status_code == 413
        assert dicomweb.get("instances?InstanceNumber=77&StudyInstanceUID=1.2.3").json() == []

    def test_a_page_reads_its_own_headers_alone(
        self, dicomweb: TestClient, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = []
        real = searching.json_model
        monkeypatch.setattr(searching, "json_model", lambda ds: read.append(1) or real(ds))
        assert len(dicomweb.get("instances?offset=3&limit=2").json()) == 2
        assert len(read) == 2
        assert dicomweb.get(f"instances?offset={10**17}").json() == []
        assert len(read) == 2


class TestNonsense:
    @pytest.mark.parametrize(
        "query",
        [
            *("limit=-1", "limit=", "limit=1.5", "limit=1e3", "offset=-1", "offset=٣"),
            *("limit=" + "9" * 30, "NoSuchKeyword=1", "0010=1", "0010001G=1", "=1"),
            *("StudyDate=yesterday", "StudyDate=20200101-x", "StudyDate=-", "Rows=many"),
            *("fuzzymatching=perhaps", "includefield=Nonsense", "RequestAttributesSequence=1"),
            ".".join(["00400275"] * 20) + "=1",
            "&".join(["PatientID=a"] * 65),
            "PatientID=" + "x" * 3000,
        ],
    )
    def test_is_400_and_quotes_no_value(self, dicomweb: TestClient, query: str) -> None:
        answer = dicomweb.get(f"studies?{query}")
        assert answer.status_code == 400
        assert len(answer.json()["error"]) < 200
        assert "yesterday" not in answer.text

    def test_patterns_cost_no_more_than_their_product(self, dicomweb: TestClient) -> None:
        pattern = "*a" * 900 + "b"
        assert dicomweb.get(f"studies?PatientName={pattern}").json() == []

    def test_json_or_nothing(self, dicomweb: TestClient) -> None:
        for accept, status in (
            ("application/dicom+json", 200),
            ("application/json;q=0.1, text/html", 200),
            ("*/*", 200),
            ('multipart/related; type="application/dicom+xml"', 406),
            ("text/html", 406),
            ("application/dicom+json;q=0", 406),
        ):
            assert dicomweb.get("studies", headers={"accept": accept}).status_code == status, accept
