"""Places: folders and buckets keep the same few promises."""

from __future__ import annotations

import errno
import os
import pickle
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.storage import s3
from tilepress.pipeline.storage.http import HttpPath
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import StoragePath, storage_path
from tilepress.pipeline.storage.regular import RefusedFile
from tilepress.pipeline.storage.s3 import BucketPath


@pytest.fixture(params=["folder", "bucket"])
def root(request: pytest.FixtureRequest, tmp_path: Path) -> StoragePath:
    if request.param == "folder":
        return storage_path(tmp_path / "root")
    return storage_path(f"{request.getfixturevalue('bucket')}/root")


class TestNames:
    """A place is a name: it costs nothing and travels."""

    def test_paths_and_urls(self):
        assert isinstance(storage_path("out/a.zarr"), FolderPath)
        found = storage_path("s3://bucket/out//a.zarr/")
        assert found == BucketPath("bucket", "out/a.zarr")
        assert (found.name, found.stem, found.suffix) == ("a.zarr", "a", ".zarr")
        assert str(found.parent / "b") == "s3://bucket/out/b"
        assert found.relative_to(storage_path("s3://bucket")) == "out/a.zarr"
        assert pickle.loads(pickle.dumps(found)) == found

    def test_at_a_prompt_it_says_where(self):
        assert repr(FolderPath(Path("out/a.zarr"))) == "FolderPath('out/a.zarr')"
        assert repr(BucketPath("bucket", "a.zarr")) == "BucketPath('s3://bucket/a.zarr')"
        found = HttpPath.parse("https://host/a.zarr")
        assert repr(found) == "HttpPath('https://host/a.zarr')"

    @pytest.mark.parametrize(
        "where",
        ["gs://b/x", "http://host/x", "s3://", "s3:///x", "s3://B!/x", "s3://b/a/../../x"],
    )
    def test_what_is_no_place(self, where: str):
        with pytest.raises(UsageError):
            storage_path(where)

    def test_a_password_in_a_url_is_not_repeated(self):
        with pytest.raises(UsageError) as caught:
            storage_path("s3://user:canary@bucket/x")
        assert "canary" not in str(caught.value)
        with pytest.raises(UsageError, match="signed addresses are not taken") as caught:
            storage_path("s3://bucket/x.tif?X-Amz-Algorithm=AWS4&X-Amz-Signature=canary")
        assert "canary" not in str(caught.value)

    def test_what_is_elsewhere_is_not_below(self, tmp_path: Path):
        with pytest.raises(ValueError, match="not below"):
            storage_path("s3://bucket/a").relative_to(storage_path("s3://bucket/b"))
        with pytest.raises(ValueError, match="not below"):
            storage_path("s3://bucket/a").relative_to(storage_path(tmp_path))
        with pytest.raises(ValueError, match="not below"):
            storage_path(tmp_path).relative_to(storage_path("s3://bucket/a"))


class TestObjects:
    """What a run relies on, in a folder and in a bucket alike."""

    def test_write_read_remove(self, root: StoragePath):
        one = root / "a/b"
        assert one.size() is None
        assert one.tag() is None
        assert one.sha256() is None
        assert one.read_tagged() is None
        with pytest.raises(FileNotFoundError):
            one.read()
        one.write(b"first")
        before = one.tag()
        one.write(memoryview(b"second!"))
        assert one.tag() != before
        assert (one.read(), one.size()) == (b"second!", 7)
        assert one.sha256() is not None
        assert one.exists()
        assert (root / "a").is_folder()
        one.remove()
        one.remove()
        assert not one.exists()

    def test_what_is_larger_than_the_limit_is_not_read(self, root: StoragePath):
        (root / "a").write(bytes(9))
        assert (root / "a").read(limit_bytes=9) == bytes(9)
        with pytest.raises(RefusedFile, match="more than 8 bytes"):
            (root / "a").read(limit_bytes=8)
        with pytest.raises(FileNotFoundError):
            (root / "b").read(limit_bytes=8)

    def test_a_pipe_is_not_waited_for(self, tmp_path: Path):
        os.mkfifo(tmp_path / "a")
        place = storage_path(tmp_path / "a")
        for read in (place.read, place.read_tagged, place.sha256):
            with pytest.raises(RefusedFile, match="no regular file"):
                read()

    def test_of_many_that_create_one_does(self, root: StoragePath):
        one = root / "once"
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: one.create(b"%d" % n), range(16)))
        assert sum(made) == 1
        assert one.read() == b"%d" % made.index(True)

    def test_of_many_that_swap_one_does(self, root: StoragePath):
        one = root / "swapped"
        one.write(b"old")
        found = one.read_tagged()
        assert found is not None
        with ThreadPoolExecutor(8) as pool:
            made = list(pool.map(lambda n: one.swap(b"new %d" % n, found[1]), range(16)))
        assert sum(made) == 1
        assert one.read() == b"new %d" % made.index(True)

    def test_what_a_repeated_request_wrote_itself_counts_as_written(self, bucket: str):
        """The answer to the first request was lost; the service refuses the second."""
        one = storage_path(f"{bucket}/repeated")
        assert [one.create(b"mine"), one.create(b"mine"), one.create(b"other's")] == [
            True,
            True,
            False,
        ]
        found = one.read_tagged()
        assert found is not None
        assert [one.swap(b"new", found[1]), one.swap(b"new", found[1])] == [True, True]
        assert not one.swap(b"other's", found[1])

    def test_nothing_is_swapped_for_nothing(self, root: StoragePath):
        root.make_folder()
        assert not (root / "none").swap(b"x", "tag")

    def test_walk_and_folders(self, root: StoragePath):
        for key in ("a/1", "a/b/2", "c.zarr/zarr.json"):
            (root / key).write(key.encode())
        assert sorted(root.walk()) == [("a/1", 3), ("a/b/2", 5), ("c.zarr/zarr.json", 16)]
        assert root.folders() == ["a", "c.zarr"]
        (root / "a").remove_tree()
        assert [key for key, _ in root.walk()] == ["c.zarr/zarr.json"]
        (root / "a").remove_tree()

    def test_removing_many_at_once(self, root: StoragePath):
        for key in ("a/b/1", "a/b/2", "a/3", "4"):
            (root / key).write(b"x")
        root.remove_all(["a/b/1", "a/b/2", "4", "not/there"])
        assert [key for key, _ in root.walk()] == ["a/3"]
        assert root.folders() == ["a"]
        assert (root / "a").folders() == []

    def test_a_neighbour_with_a_longer_name_is_not_below(self, root: StoragePath):
        (root / "scene/x").write(b"1")
        (root / "scene-2/x").write(b"1")
        assert [key for key, _ in (root / "scene").walk()] == ["x"]
        (root / "scene").remove_tree()
        assert (root / "scene-2/x").exists()

    def test_age_and_touch(self, root: StoragePath):
        one = root / "lease"
        assert one.age_s() is None
        assert not one.touch()
        one.write(b"x")
        age_s = one.age_s()
        assert age_s is not None
        assert -2 < age_s < 100
        assert one.touch()
        assert [key for key, _ in root.walk()] == ["lease"]

    def test_zarr_reads_it(self, root: StoragePath):
        import zarr

        store = (root / "x.zarr").zarr_store(read_only=False)
        array = zarr.create_array(store, shape=(4,), dtype="u1")
        array[...] = [1, 2, 3, 4]
        again = zarr.open_array((root / "x.zarr").zarr_store(), mode="r")
        assert list(again[...]) == [1, 2, 3, 4]

    def test_it_can_be_tried_out(self, root: StoragePath):
        root.check_writable()
        assert list(root.walk()) == []


class TestFailures:
    """A fault of storage is an OSError with an errno, and never tells a secret."""

    def test_a_missing_bucket_is_not_an_empty_one(self, bucket: str):
        with pytest.raises(OSError, match="there is no bucket") as caught:
            storage_path("s3://no-such-bucket-here/x").read()
        assert caught.value.errno == errno.ENXIO

    def test_what_goes_in_the_clear_is_to_be_asked_for(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.delenv("AWS_ALLOW_HTTP", raising=False)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        with pytest.raises(UsageError, match="set AWS_ALLOW_HTTP=true"):
            storage_path("s3://in-the-clear/x").read()

    def test_a_signature_is_not_repeated(self):
        with pytest.raises(UsageError) as caught:
            storage_path("https://host/x.tif?X-Amz-Signature=canary")
        assert "canary" not in str(caught.value)

    def test_a_service_that_is_away_may_come_back(self, monkeypatch: pytest.MonkeyPatch):
        monkeypatch.setattr(s3, "RETRY_FOR_S", 1)
        monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-key")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
        monkeypatch.setenv("AWS_REGION", "us-east-1")
        with pytest.raises(OSError, match="the service failed") as caught:
            storage_path("s3://away-for-good/x").read()
        assert caught.value.errno == errno.EIO
        assert "canary" not in str(caught.value)

    def test_no_credential_is_in_a_place(self, bucket: str):
        found = storage_path(f"{bucket}/x")
        found.write(b"x")
        secret = os.environ["AWS_SECRET_ACCESS_KEY"].encode()
        assert secret not in pickle.dumps(found)
        assert secret.decode() not in repr(found)
