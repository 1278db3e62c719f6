"""Stores of small images: the manifest in the root document, no copies at the level."""

from __future__ import annotations

import base64
import json
import shutil
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
import zarr

from tilepress.errors import DamagedStore
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store import lean
from tilepress.pipeline.store.manifest import sha256_hex
from tilepress.pipeline.store.reader import StoreReader
from tilepress.pipeline.store.salvage import salvage
from tilepress.pipeline.store.seal import read_root
from tilepress.pipeline.verify import verify

Make = Callable[..., Any]

ROOT = b'{"attributes":{"tilepress_manifest":""},"consolidated_metadata":{"metadata":{}}}'


class TestTheManifestInTheRoot:
    def test_comes_back(self) -> None:
        assert lean.listed_in(lean.with_listed(ROOT, b"manifest")) == b"manifest"

    @pytest.mark.parametrize("at", range(0, 24, 3))
    def test_every_change_is_found(self, at: int) -> None:
        document = bytearray(lean.with_listed(ROOT, bytes(range(256))))
        document[document.index(b'manifest":"') + 11 + at] ^= 1
        with pytest.raises(DamagedStore):
            lean.listed_in(bytes(document))

    def test_nothing_is_found_where_there_is_none(self) -> None:
        with pytest.raises(DamagedStore, match="tilepress_manifest"):
            lean.listed_in(b"{}")


class TestTheSource:
    def test_comes_back(self) -> None:
        assert lean.unpacked_source(lean.packed_source(b"origin")) == b"origin"

    def test_a_flipped_bit_is_found_or_says_nothing(self) -> None:
        text = b"origin, and what is packed with it" * 3
        good, found = lean.packed_source(text), 0
        for bit in range(8 * len(good)):
            data = bytearray(good)
            data[bit // 8] ^= 1 << bit % 8
            try:
                assert lean.unpacked_source(bytes(data)) == text
            except DamagedStore:
                found += 1
        assert found >= 8 * len(good) - 16, "some bits fill a byte"

    @pytest.mark.parametrize("length", [0, 1, 5, -1])
    def test_a_cut_one_is_found(self, length: int) -> None:
        with pytest.raises(DamagedStore):
            lean.unpacked_source(lean.packed_source(b"origin" * 9)[:length])

    def test_one_that_is_too_long_is_refused(self, monkeypatch: pytest.MonkeyPatch) -> None:
        for data in (lean.packed_source(b"origin") + b"more", lean.packed_source(bytes(5000))):
            monkeypatch.setattr(lean, "_MAX_UNPACKED", 4000)
            with pytest.raises(DamagedStore, match="too long"):
                lean.unpacked_source(data)


class TestWhichStores:
    @pytest.mark.parametrize("limit", ["LEAN_STORED_BYTES", "MAX_ROWS_BYTES"])
    def test_larger_ones_keep_their_arrays(
        self, make_store: Make, monkeypatch: pytest.MonkeyPatch, limit: str
    ) -> None:
        monkeypatch.setattr(lean, limit, 1)
        path = make_store().path
        assert not read_root(path).is_lean
        assert (path / "source/manifest/zarr.json").exists()


@pytest.fixture
def root(geo_store: Any) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((geo_store.path / "zarr.json").read_bytes())
    return content


class TestALeanStore:
    def test_has_few_objects(self, geo_store: Any) -> None:
        keys = {p.relative_to(geo_store.path).as_posix() for p in geo_store.path.rglob("*.json")}
        names = ("image", "mask", "spatial_ref", "band", "y", "x")
        assert keys == {"zarr.json", "0/zarr.json", *(f"0/{name}/zarr.json" for name in names)}
        assert not (geo_store.path / "0/spatial_ref/c").exists()

    def test_is_read_as_the_document_says(self, geo_store: Any, root: dict[str, Any]) -> None:
        """STORE.md §5a, in a few lines and with nothing of ours."""
        listed = zlib.decompress(base64.b64decode(root["attributes"]["tilepress_manifest"]))
        header = json.loads(listed.partition(b"\n")[0])
        assert header["documents"] == {}
        assert "source/c/0" in header["files"]
        for key, (size, digest) in header["files"].items():
            found = (geo_store.path / key).read_bytes()
            assert (len(found), sha256_hex(found)) == (size, digest)
        source = zlib.decompress((geo_store.path / "source/c/0").read_bytes())
        assert json.loads(source.partition(b"\n")[0])["kind"] == "array"

    def test_copies_are_the_documents(self, geo_store: Any, root: dict[str, Any]) -> None:
        nodes = root["consolidated_metadata"]["metadata"]
        for name, node in nodes.items():
            node.pop("consolidated_metadata", None)
            own = (geo_store.path / name / "zarr.json").read_bytes()
            assert own == json.dumps(node, separators=(",", ":")).encode()

    def test_verify_names_what_is_damaged(self, geo_store: Any) -> None:
        assert verify(geo_store.path) == []
        (geo_store.path / "0/y/zarr.json").write_bytes(b"{}")
        (geo_store.path / "0/x/c/0").unlink()
        (geo_store.path / "manifest/c").mkdir(parents=True)
        (geo_store.path / "manifest/c/0").write_bytes(b"what a store of format 2 has")
        found = {(one.kind, one.key) for one in verify(geo_store.path)}
        assert found == {
            ("changed", "0/y/zarr.json"), ("missing", "0/x/c/0"), ("unexpected", "manifest/c/0"),
        }  # fmt: skip

    def test_readers_read_all_that_they_did(self, geo_store: Any) -> None:
        dataset = xr.open_zarr(geo_store.path, group="0")
        assert dataset.image.attrs["proj:code"] == "EPSG:32631"
        assert dataset.image.attrs["spatial:transform"][0] == 30
        assert dataset.spatial_ref.item() == 0
        assert dataset.spatial_ref.attrs["crs_wkt"].startswith("PROJ")
        assert dataset.attrs["tilepress"]["loss"]["lossless"] is True
        assert set(dataset.coords) >= {"x", "y", "spatial_ref"}
        assert zarr.open_array(geo_store.path, path="0/image", mode="r").shape == (3, 40, 52)

    def test_our_reader_gives_scalars(self, geo_store: Any) -> None:
        """A missing chunk is damage, but of the scalar whose fill value says it."""
        from tilepress.pipeline.read.open import open_dataset

        dataset = open_dataset(geo_store.path)
        assert dataset.spatial_ref.item() == 0
        assert "tilepress_manifest" not in StoreReader.open(geo_store.path).root_attributes
        assert dataset.attrs["tilepress"]["seal"]


class TestWhatSomebodySealed:
    """A seal is right of whatever was sealed: what it says is looked at."""

    @pytest.mark.parametrize(
        "new",
        [
            b'"tilepress_manifest":"!', b'"tilepress_manifest":"AAAA', b'"tilepress_manifes":"',
        ],
    )  # fmt: skip
    def test_a_manifest_that_is_none(self, geo_store: Any, new: bytes) -> None:
        old = b'"tilepress_manifest":"'
        path = geo_store.path / "zarr.json"
        data = path.read_bytes()
        seal = read_root(geo_store.path).seal.encode()
        data = data.replace(old, new, 1).replace(seal, b"0" * 64)
        path.write_bytes(data.replace(b"0" * 64, sha256_hex(data).encode(), 1))
        with pytest.raises(DamagedStore, match=r"reading small\.zarr: "):
            _ = StoreReader.open(geo_store.path).manifest
        (found,) = verify(geo_store.path)
        assert found.key == "zarr.json"


class TestWhatADamagedOneTells:
    def test_without_its_root_document(self, geo_store: Any) -> None:
        before = read_root(geo_store.path).statement
        (geo_store.path / "zarr.json").unlink()
        found = salvage(storage_path(geo_store.path))
        assert found.version == 5
        assert found.sealed_by == before["tools"]["tilepress"]
        assert before["source_digest"]["sha256"] in found.digests
        assert set(found.layouts) == {"image", "mask"}, "the level vouches for them"

    def test_a_document_that_was_changed_besides(self, geo_store: Any) -> None:
        (geo_store.path / "zarr.json").unlink()
        path = geo_store.path / "0/image/zarr.json"
        path.write_bytes(path.read_bytes().replace(b"[3,16,16]", b"[3,8,8]"))
        found = salvage(storage_path(geo_store.path))
        assert found.layouts == {}
        assert set(found.unproved) == {"image", "mask"}

    def test_its_own_documents_go_before_a_root_that_was_changed(self, geo_store: Any) -> None:
        right = salvage(storage_path(geo_store.path)).layouts["image"]
        path = geo_store.path / "zarr.json"
        path.write_bytes(path.read_bytes().replace(b"[3,16,16]", b"[3,8,8]"))
        assert salvage(storage_path(geo_store.path)).layouts["image"] == right

    def test_with_a_root_document_that_fails_its_seal(self, geo_store: Any) -> None:
        path = geo_store.path / "zarr.json"
        path.write_bytes(path.read_bytes().replace(b'"raw_bytes":', b'"row_bytes":'))
        found = salvage(storage_path(geo_store.path))
        assert found.reader is None
        assert found.origin == {"kind": "array"}
        assert set(found.layouts) == {"image", "mask"}

    def test_of_all_documents_its_image_is_left(self, geo_store: Any, tmp_path: Path) -> None:
        for key in ("zarr.json", "0/zarr.json"):
            (geo_store.path / key).unlink()
        shutil.rmtree(geo_store.path / "0/spatial_ref")
        found = salvage(storage_path(geo_store.path))
        assert found.version == 5
        assert found.unproved["image"].grid.shape == (3, 40, 52)
