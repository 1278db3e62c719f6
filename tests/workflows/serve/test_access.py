"""Who may ask."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tilepress.errors import UsageError
from tilepress.workflows.serve.access import COOKIE
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf


class TestHosts:
    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"])
    def test_names_of_this_machine(self, client: TestClient, host: str) -> None:
        assert client.get("/", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize(
        "host",
        [
            *("evil.example", "127.0.0.1.evil.example:8000", "", "0.0.0.0"),
            *("localhost:80@evil.example", "localhost:x", "localhost:/evil.example", "[::1", ":80"),
        ],
    )
    def test_others_are_refused(self, client: TestClient, host: str) -> None:
        answer = client.get("/api/stores", headers={"host": host})
        assert answer.status_code == 403


class TestToken:
    @pytest.fixture
    def guarded(self, served: Path) -> TestClient:
        app = build(Shelf(served), hosts=None, token="s3cret")
        return TestClient(app, base_url="https://host.example", follow_redirects=False)

    def test_nothing_is_answered_without_it(self, guarded: TestClient) -> None:
        for path in ("/", "/api/stores", "/static/viewer.css", "/api/thumb/scene.zarr"):
            assert guarded.get(path).status_code == 401
        assert guarded.get("/?token=other").status_code == 401
        assert guarded.get("/", headers={"cookie": f"{COOKIE}=other"}).status_code == 401
        assert guarded.get("/?token=s%C3%A9").status_code == 401

    def test_it_leaves_the_address_for_a_cookie(self, guarded: TestClient) -> None:
        answer = guarded.get("/?token=s3cret&q=x")
        assert answer.status_code == 307
        assert answer.headers["location"] == "/?q=x"
        cookie = answer.headers["set-cookie"].lower()
        assert "httponly" in cookie
        assert "samesite=strict" in cookie
        assert guarded.get("/api/stores").status_code == 200

    def test_it_never_leads_to_another_site(self, guarded: TestClient) -> None:
        for path in ("//evil.example/", "///evil.example/", "/%5Cevil.example/", "//%5C/evil"):
            answer = guarded.get(f"https://host.example{path}?token=s3cret")
            assert answer.status_code == 307
            assert re.match(r"/[^/\\]", answer.headers["location"])


class TestMethodsAndHeaders:
    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
    def test_nothing_but_reading(self, client: TestClient, method: str) -> None:
        assert client.request(method, "/").status_code == 405

    def test_every_answer_has_the_headers(self, client: TestClient) -> None:
        for path in ("/", "/api/stores", "/api/info/none", "/api/tile/99/0/0/scene.zarr"):
            headers = client.get(path).headers
            assert "default-src 'self'" in headers["content-security-policy"]
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["cross-origin-resource-policy"] == "same-origin"

    def test_a_long_address(self, client: TestClient) -> None:
        assert client.get("/api/stores?q=" + "x" * 5000).status_code == 414


class TestOtherOrigins:
    ORIGIN = "https://viewer.example"

    @pytest.fixture
    def open_to(self, served: Path) -> TestClient:
        app = build(Shelf(served), token="s3cret", origins=[self.ORIGIN])
        return TestClient(app, base_url="http://127.0.0.1")

    def test_none_by_itself(self, client: TestClient) -> None:
        answer = client.get("/api/stores", headers={"origin": self.ORIGIN})
        assert "access-control-allow-origin" not in answer.headers
        asked = client.options(
            "/api/stores",
            headers={"origin": self.ORIGIN, "access-control-request-method": "GET"},
        )
        assert asked.status_code == 405

    def test_the_one_that_was_named(self, open_to: TestClient) -> None:
        asked = open_to.options("/dicom-web/studies", headers={"origin": self.ORIGIN})
        assert asked.status_code == 204
        assert asked.headers["access-control-allow-origin"] == self.ORIGIN
        assert "authorization" in asked.headers["access-control-allow-headers"]
        headers = {"origin": self.ORIGIN, "authorization": "Bearer s3cret"}
        answer = open_to.get("/api/stores", headers=headers)
        assert answer.status_code == 200
        assert answer.headers["access-control-allow-origin"] == self.ORIGIN
        assert answer.headers["cross-origin-resource-policy"] == "cross-origin"
        assert "access-control-allow-credentials" not in answer.headers

    def test_no_other_and_nothing_without_the_token(self, open_to: TestClient) -> None:
        for origin in ("https://evil.example", "null", self.ORIGIN + ".evil.example", "*"):
            answer = open_to.get("/api/stores", headers={"origin": origin})
            assert answer.status_code == 401
            assert "access-control-allow-origin" not in answer.headers
            assert answer.headers["vary"] == "Origin"
            assert open_to.options("/", headers={"origin": origin}).status_code == 405
        assert open_to.get("/api/stores", headers={"origin": self.ORIGIN}).status_code == 401
        host = {"origin": self.ORIGIN, "host": "evil.example"}
        assert open_to.options("/", headers=host).status_code in (403, 405)


class TestOtherMachines:
    def test_need_a_token(self, served: Path) -> None:
        """Headers of DICOM files have names of patients."""
        with pytest.raises(UsageError, match="need a token"):
            build(Shelf(served), hosts=None)
