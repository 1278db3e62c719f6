"""Who may ask."""

from __future__ import annotations

from pathlib import Path

import pytest
from starlette.testclient import TestClient

from tilepress.workflows.serve.access import COOKIE
from tilepress.workflows.serve.app import build
from tilepress.workflows.serve.shelf import Shelf


class TestHosts:
    @pytest.mark.parametrize("host", ["127.0.0.1:8000", "localhost", "LOCALHOST:9", "[::1]:8000"])
    def test_names_of_this_machine(self, client: TestClient, host: str) -> None:
        assert client.get("/", headers={"host": host}).status_code == 200

    @pytest.mark.parametrize("host", ["evil.example", "127.0.0.1.evil.example:8000", "", "0.0.0.0"])
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
        location = guarded.get("//evil.example/?token=s3cret").headers.get("location", "/")
        assert not location.startswith("//")


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
