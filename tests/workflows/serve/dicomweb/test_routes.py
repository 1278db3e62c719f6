"""Addresses that lead somewhere, and those that do not."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "status"),
        [
            ("studies/1.2.77/series", 404),
            ("studies/1.2.1/series/1.2.2.1/instances", 404),
            ("studies/1.2.1'/series", 400),
            ("studies/..%2f..%2fetc/series", 404),
            ("studies/%00/series", 400),
            ("studies/" + "1" * 65 + "/series", 400),
            ("patients", 404),
        ],
    )
    def test_addresses_that_lead_nowhere(
        self, dicomweb: TestClient, address: str, status: int
    ) -> None:
        assert dicomweb.get(address).status_code == status

    @pytest.mark.parametrize("address", ["", "/"])
    def test_the_root_tells_what_there_is(self, dicomweb: TestClient, address: str) -> None:
        """Every address that it tells leads somewhere."""
        url = f"http://127.0.0.1:8000/dicom-web{address}"
        told = dicomweb.get(url, follow_redirects=False)
        assert told.status_code == 200
        assert told.headers["content-type"] == "application/json"
        services = told.json()
        assert services["root"] == "http://127.0.0.1:8000/dicom-web"
        names = {"study": "1.2.1", "series": "1.2.1.5", "instance": "1.2.1.5.2", "frames": "1"}
        addresses = [one for name, group in services.items() if "-RS" in name for one in group]
        assert len(addresses) == 20
        for one in addresses:
            asked = one.format(path="7FE00010", **names)
            assert dicomweb.get(asked.lstrip("/")).status_code == 200, asked

    @pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:8000", "localhost:81"])
    def test_are_those_that_the_client_has(self, dicomweb: TestClient, host: str) -> None:
        """A client that leaves out the port of this machine gets it told."""
        (model,) = dicomweb.get("studies?PatientID=P-1", headers={"host": host}).json()
        told = host if ":" in host else f"{host}:8000"
        assert model["00081190"]["Value"] == [f"http://{told}/dicom-web/studies/1.2.1"]
