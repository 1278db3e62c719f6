"""Addresses of web servers."""

from __future__ import annotations

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.storage.http import HttpPath, is_http


class TestAddresses:
    @pytest.mark.parametrize(
        ("address", "shown"),
        [
            ("http://example.com/a.zarr", "https://"),
            ("https://me:secret@example.com/a.zarr", "without a password"),
            ("https://example.com/a.zarr?X-Amz-Signature=secret", "parameters"),
            ("https://example.com/../a.zarr", "'..'"),
            ("https:///a.zarr", "want https://host"),
        ],
    )
    def test_addresses_that_are_not_taken(self, address: str, shown: str) -> None:
        with pytest.raises(UsageError, match=shown) as caught:
            HttpPath.parse(address)
        assert "secret" not in str(caught.value)

    def test_places_below(self) -> None:
        path = HttpPath.parse("HTTPS://example.com/a//b.zarr/")
        assert str(path / "0/image") == "https://example.com/a/b.zarr/0/image"
        assert path.name == "b.zarr"
        assert HttpPath.parse("https://example.com").name == "example.com"

    def test_nothing_is_written(self) -> None:
        with pytest.raises(UsageError, match="only be read"):
            HttpPath.parse("https://example.com/a.zarr").zarr_store(read_only=False)

    def test_which_texts_are_addresses(self) -> None:
        assert is_http("HTTPS://example.com")
        assert not is_http("s3://bucket/a")
        assert not is_http("/a/http://b")
