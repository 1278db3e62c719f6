"""A client that others wrote asks for everything it knows."""

from __future__ import annotations

import io

import imagecodecs
import numpy as np
import pydicom
import pytest

from .conftest import Made

dicomweb_client = pytest.importorskip("dicomweb_client")


@pytest.fixture(scope="module")
def client(address: str) -> dicomweb_client.DICOMwebClient:  # type: ignore[name-defined]
    return dicomweb_client.DICOMwebClient(address)


CT = ("1.2.1", "1.2.1.5", "1.2.1.5.2")
CINE = ("1.2.2", "1.2.2.1", "1.2.2.1.1")
JPEG = ("1.2.2", "1.2.2.2", "1.2.2.2.1")


class TestSearch:
    def test_studies_series_and_instances(self, client) -> None:
        found = client.search_for_studies(search_filters={"PatientName": "Müller*"})
        assert [pydicom.Dataset.from_json(one).StudyInstanceUID for one in found] == ["1.2.1"]
        assert len(client.search_for_studies(limit=2, offset=1)) == 2
        assert len(client.search_for_studies(limit=1, get_remaining=True)) == 4
        assert len(client.search_for_series()) == 6
        assert len(client.search_for_series("1.2.1", fields=["all"], fuzzymatching=True)) == 2
        assert len(client.search_for_instances(*CT[:2])) == 4
        assert len(client.search_for_instances(search_filters={"Modality": "US"})) == 2
        assert client.search_for_studies(search_filters={"PatientID": "nobody"}) == []


class TestRetrieve:
    def test_instances(self, client, made: Made) -> None:
        ds = client.retrieve_instance(*CT)
        original = pydicom.dcmread(made.ct[1])
        assert ds == original
        np.testing.assert_array_equal(ds.pixel_array, original.pixel_array)
        assert len(client.retrieve_series(*CT[:2])) == 4
        assert len(client.retrieve_study("1.2.1")) == 5
        assert sum(1 for _ in client.iter_study("1.2.2")) == 2

    def test_metadata_and_bulk_data(self, client) -> None:
        found = client.retrieve_series_metadata(*CT[:2])
        assert len(found) == 4
        (uri,) = {one["00111001"]["BulkDataURI"] for one in found if _uid(one) == CT[2]}
        assert client.retrieve_bulkdata(uri) == [bytes(range(256)) * 8]
        assert len(client.retrieve_study_metadata("1.2.2")) == 2
        assert _uid(client.retrieve_instance_metadata(*JPEG)) == JPEG[2]

    def test_frames(self, client, made: Made) -> None:
        pixels = pydicom.dcmread(made.cine).pixel_array
        found = client.retrieve_instance_frames(*CINE, frame_numbers=[5, 1])
        assert found == [pixels[4].tobytes(), pixels[0].tobytes()]
        kind = (("image/jpeg", "1.2.840.10008.1.2.4.50"),)
        (stream,) = client.retrieve_instance_frames(*JPEG, frame_numbers=[2], media_types=kind)
        assert np.asarray(imagecodecs.jpeg8_decode(stream)).shape == (48, 64, 3)

    def test_pictures(self, client) -> None:
        data = client.retrieve_instance_rendered(*CT, media_types=("image/png",))
        assert np.asarray(imagecodecs.png_decode(data)).shape == (40, 52)
        data = client.retrieve_instance_frames_rendered(
            *CINE, frame_numbers=[3], media_types=("image/jpeg",), params={"quality": 50}
        )
        assert np.asarray(imagecodecs.jpeg8_decode(data)).shape == (30, 34)


def _uid(model: dict) -> str:
    return str(model["00080018"]["Value"][0])


class TestToken:
    def test_is_a_header(self, made: Made) -> None:
        """Clients have no cookie from a page; they send what they were given."""
        from starlette.testclient import TestClient

        from tilepress.workflows.serve.app import build
        from tilepress.workflows.serve.shelf import Shelf

        app = build(Shelf(made.archive), hosts=None, token="s3cret")
        asked = TestClient(app, base_url="https://host.example")
        for given, status in (
            ("Bearer s3cret", 200),
            ("bearer  s3cret", 200),
            ("Bearer other", 401),
            ("Basic s3cret", 401),
            ("s3cret", 401),
            ("", 401),
        ):
            answer = asked.get("/dicom-web/studies", headers={"authorization": given})
            assert answer.status_code == status, given
            assert (status == 200) == ("Müller" in answer.text)
        answer = asked.get(
            "/dicom-web/studies/1.2.1/series/1.2.1.5/instances/1.2.1.5.2",
            headers={"authorization": "Bearer s3cret", "accept": "application/dicom"},
        )
        assert pydicom.dcmread(io.BytesIO(answer.content)).PatientID == "P-1"
