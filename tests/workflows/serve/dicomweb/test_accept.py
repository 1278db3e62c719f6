"""What a client takes is read from its header, or refused."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

CT = "studies/1.2.1/series/1.2.1.5/instances/1.2.1.5.2"
AS_KEPT = 'multipart/related; type="application/dicom"; transfer-syntax=*'


class TestAccept:
    @pytest.mark.parametrize(
        "accept",
        [
            *("nonsense", "a/b/c", "application/dicom;", ";;;", 'multipart/related; type="', "é"),
            *("application/dicom; q=2", "application/dicom; q=-1", "*/*; q=x"),
            "application/dicom; transfer-syntax=1.2;3",
            "application/dicom; transfer-syntax=../..",
            ", ".join(["application/dicom"] * 400),
        ],
    )
    def test_what_is_no_list_is_400(self, dicomweb: TestClient, accept: str) -> None:
        answer = dicomweb.get(CT, headers={"accept": accept.encode()})  # type: ignore[dict-item]
        assert answer.status_code == 400, answer.text

    def test_weights_and_the_address(self, dicomweb: TestClient) -> None:
        accept = "application/dicom;q=0.3, " + AS_KEPT + ";q=0.8"
        kind = dicomweb.get(CT, headers={"accept": accept}).headers["content-type"]
        assert kind.startswith("multipart/related")
        answer = dicomweb.get(f"{CT}?accept=application/dicom", headers={"accept": "text/html"})
        assert answer.headers["content-type"].startswith("application/dicom;")
