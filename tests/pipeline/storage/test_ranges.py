"""Objects are read by ranges: few bytes, and never those of another version."""

from __future__ import annotations

import os

import numpy as np
import pytest

from tilepress.errors import DamagedSource
from tilepress.pipeline.storage.ranges import RemoteBytes, look_up, reader

from ...helpers.s3 import S3Server
from ..remote import put_object


class TestRangedReads:
    @pytest.fixture
    def data(self) -> bytes:
        return np.random.default_rng(3).bytes(3_000_000)

    def test_give_the_bytes_and_fetch_few(
        self, bucket: str, data: bytes, s3_server: S3Server
    ) -> None:
        put_object(bucket, "x", data)
        source = RemoteBytes(look_up(f"{bucket}/x"))
        before = s3_server.traffic()["sent_bytes"]
        for offset, length in [(0, 132), (65_530, 20), (2_999_990, 100), (10, 0), (3_000_001, 5)]:
            assert source.read(offset, length) == data[offset : offset + length]
        assert s3_server.traffic()["sent_bytes"] - before <= 3 * 2**16
        assert source.read(100, 2_000_000) == data[100:2_000_100]
        stream = source.stream()
        stream.seek(-5, os.SEEK_END)
        assert stream.read() == data[-5:]
        assert stream.read(10**15) == b""
        with pytest.raises(ValueError, match="negative"):
            stream.seek(-1)

    def test_of_another_version_are_errors(self, bucket: str, data: bytes) -> None:
        put_object(bucket, "x", data)
        source = RemoteBytes(look_up(f"{bucket}/x"))
        source.read(0, 10)
        put_object(bucket, "x", data[::-1])
        assert source.read(0, 10) == data[:10]
        with pytest.raises(DamagedSource, match="changed since it was found"):
            source.read(2_000_000, 10)

    def test_an_empty_object_has_no_bytes(self, bucket: str) -> None:
        put_object(bucket, "x", b"")
        assert reader(f"{bucket}/x").read(0, 132) == b""
