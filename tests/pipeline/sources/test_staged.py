"""Images in buckets are read from copies, and nobody can tell but by time."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import obstore
import pytest
from obstore.store import S3Store

from tilepress.errors import DamagedSource, SourceError, UnsupportedSource
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.image.source import SourceSpec
from tilepress.pipeline.sources.open import open_source
from tilepress.pipeline.storage.ranges import look_up, reader

from ...helpers.s3 import S3Server
from ..images import IMAGE, tiff
from ..remote import WHOLE, copies_in, put_object, spec_of

pytestmark = pytest.mark.usefixtures("scratch")


class TestAnObjectThatChanged:
    def test_is_not_read(self, bucket: str, scene: str, tmp_path: Path, scratch: Path) -> None:
        spec = spec_of(scene)
        put_object(bucket, "in/scene.tif", tiff(tmp_path / "b.tif", IMAGE[::-1]).read_bytes())
        with pytest.raises(DamagedSource, match="changed since it was found") as caught:
            open_source(spec)
        assert scene in str(caught.value)
        assert not copies_in(scratch)
        obstore.delete(S3Store(bucket.removeprefix("s3://")), "in/scene.tif")
        with pytest.raises(SourceError, match="no such object"):
            open_source(spec)

    def test_has_another_fingerprint(self, bucket: str, scene: str, tmp_path: Path) -> None:
        """What is open is read to its end; sealing compares fingerprints and refuses."""
        source = open_source(spec_of(scene))
        before = source.fingerprint()
        assert source.fingerprint() == before
        put_object(bucket, "in/scene.tif", tiff(tmp_path / "b.tif", IMAGE[::-1]).read_bytes())
        np.testing.assert_array_equal(source.read(WHOLE), IMAGE)
        assert source.fingerprint() != before
        obstore.delete(S3Store(bucket.removeprefix("s3://")), "in/scene.tif")
        assert source.fingerprint()["versions"] == ["absent"]
        source.close()

    def test_and_one_that_did_not_is_the_same_on_every_machine(
        self, scene: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        found = []
        for machine in "ab":
            monkeypatch.setenv("TILEPRESS_SCRATCH", str(tmp_path / machine))
            source = open_source(spec_of(scene))
            found.append((source.spec, source.fingerprint()))
            source.close()
        assert found[0] == found[1]
        assert "mtime" not in json.dumps(found[0][1])


class TestMessages:
    def test_name_the_object(self, bucket: str, tmp_path: Path, scratch: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (200, 300), dtype=np.uint16)
        data = bytearray(tiff(tmp_path / "a.tif", noise, compress="deflate").read_bytes())
        data[40_000:50_000] = bytes(10_000)
        put_object(bucket, "in/a.tif", bytes(data))
        source = open_source(spec_of(f"{bucket}/in/a.tif"))
        with pytest.raises(DamagedSource) as caught:
            source.read(Box((0, 0), (200, 300)))
        assert f"{bucket}/in/a.tif" in str(caught.value)
        assert str(scratch) not in str(caught.value)
        source.close()

    def test_at_opening_too(self, bucket: str, tmp_path: Path, scratch: Path) -> None:
        noise = np.random.default_rng(1).integers(0, 2**16, (200, 300), dtype=np.uint16)
        data = tiff(tmp_path / "a.tif", noise, compress="deflate").read_bytes()
        put_object(bucket, "in/a.tif", data[: len(data) // 2])
        with pytest.raises(SourceError) as caught:
            open_source(spec_of(f"{bucket}/in/a.tif"))
        assert f"{bucket}/in/a.tif" in str(caught.value)
        assert str(scratch) not in str(caught.value)

    def test_keep_the_secret(self, scene: str, s3_server: S3Server) -> None:
        spec = spec_of(scene)
        source = open_source(spec)
        told = repr((spec, source, source.fingerprint(), look_up(scene), reader(scene).__dict__))
        source.close()
        s3_server.fail(10**6, 403)
        try:
            with pytest.raises(SourceError) as caught:
                open_source(SourceSpec(kind="geotiff", paths=(f"{scene}x",), options=spec.options))
        finally:
            s3_server.fail(0)
        told += repr(caught.value) + str(caught.value)
        secrets = [
            s3_server.environment[f"AWS_{n}"] for n in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY")
        ]
        assert not [secret for secret in secrets if secret in told]


class TestRecipes:
    def test_are_plain_json_and_pin_what_was_found(self, scene: str) -> None:
        spec = spec_of(scene)
        assert json.loads(json.dumps(spec.options)) == spec.options
        ((version, size),) = spec.options["objects"]
        assert re.fullmatch(r'"[0-9a-f]{32}"', version)
        assert spec.source_bytes == size == look_up(scene).size

    @pytest.mark.parametrize("name", ["../x", "a/../../x", "/etc/x", "a//x", "", ".", "a\0b"])
    def test_that_somebody_changed_write_nowhere_else(
        self, scene: str, name: str, tmp_path: Path
    ) -> None:
        spec = spec_of(scene)
        options = {**spec.options, "companions": [[name, *spec.options["objects"][0]]]}
        before = sorted(tmp_path.rglob("*"))
        with pytest.raises(UnsupportedSource, match="leaves the image's folder"):
            open_source(SourceSpec(kind="geotiff", paths=spec.paths, options=options))
        assert sorted(tmp_path.rglob("*")) == before
