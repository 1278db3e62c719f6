"""What a damaged store still tells: believed where it is sealed, vouched for or said twice."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.salvage import Layout, Salvaged, salvage

pytestmark = pytest.mark.usefixtures("roomy_stores")  # of small ones: test_lean.py

ROOT, LEVEL, OWN = "zarr.json", "0/zarr.json", "0/image/zarr.json"


def spoil(store: Path, *keys: str) -> None:
    """Make documents say another chunk, and the root fail its seal."""
    for key in keys:
        data = (store / key).read_bytes()
        assert b'"chunk_shape":[3,16,16]' in data
        (store / key).write_bytes(
            data.replace(b'"chunk_shape":[3,16,16]', b'"chunk_shape":[3,8,8]')
        )


def salvaged(store: Any) -> Salvaged:
    return salvage(storage_path(store.path))


class TestASoundStore:
    def test_tells_everything(self, geo_store: Any):
        found = salvaged(geo_store)
        assert found.reader is not None
        assert found.refusal is None
        assert found.manifest is not None
        assert set(found.layouts) == {"image", "mask"}
        image = found.layouts["image"]
        assert (image.grid.shape, image.grid.chunk) == ((3, 40, 52), (3, 16, 16))
        assert (image.dtype, image.axes) == ("uint16", ("band", "y", "x"))
        assert image.config == json.loads(found.reader.codec("image").configuration)
        assert found.unproved == {}
        assert found.origin == {"kind": "array"}
        assert found.reader.statement["source_digest"]["sha256"] in found.digests

    def test_layouts_go_through_json(self, geo_store: Any):
        for layout in salvaged(geo_store).layouts.values():
            assert Layout.from_json(json.loads(json.dumps(layout.to_json()))) == layout


class TestWhomToBelieve:
    """A wrong layout would read good shards as damaged ones."""

    def test_a_sealed_root_alone(self, geo_store: Any):
        right = salvaged(geo_store).layouts
        spoil(geo_store.path, LEVEL, OWN)
        assert salvaged(geo_store).layouts == right

    @pytest.mark.parametrize("spoiled", [(ROOT,), (ROOT, LEVEL), (ROOT, OWN)])
    def test_two_that_agree_or_one_that_is_listed(self, geo_store: Any, spoiled: tuple[str, ...]):
        """The root says something else here; the others are right, or lost."""
        right = salvaged(geo_store).layouts["image"]
        spoil(geo_store.path, ROOT)
        for key in set(spoiled) - {ROOT}:
            (geo_store.path / key).write_bytes(b"{}")
        found = salvaged(geo_store)
        assert found.reader is None
        assert found.manifest is None
        if OWN in spoiled:
            assert "image" not in found.layouts, "one says this, one that"
            assert "image" in found.unproved
        else:
            assert found.layouts["image"] == right
            assert found.unproved == {}

    def test_attributes_are_what_most_documents_say(self, geo_store: Any):
        """Of a sealed root they are its own, whatever lies beside it."""

        def spoil_nodata(*keys: str) -> None:
            for key in keys:
                data = (geo_store.path / key).read_bytes()
                (geo_store.path / key).write_bytes(data.replace(b'"nodata":7,', b'"nodata":6,'))

        spoil_nodata(LEVEL, OWN)
        assert dict(salvaged(geo_store).attributes or {})["nodata"] == 7
        spoil_nodata(ROOT)
        assert dict(salvaged(geo_store).attributes or {})["nodata"] == 6, "nobody knows better"

    def test_one_document_that_was_changed_is_outvoted(self, geo_store: Any):
        data = (geo_store.path / ROOT).read_bytes()
        (geo_store.path / ROOT).write_bytes(data.replace(b'"nodata":7,', b'"nodata":6,'))
        found = salvaged(geo_store)
        assert found.reader is None
        assert dict(found.attributes or {})["nodata"] == 7

    def test_nobody_vouches_for_the_last_one(self, geo_store: Any):
        right = salvaged(geo_store).layouts["image"]
        for key in (ROOT, LEVEL, "source/manifest/c/0"):
            (geo_store.path / key).unlink()
        found = salvaged(geo_store)
        assert found.layouts == {}
        assert found.unproved["image"] == right

    def test_nothing_is_left(self, tmp_path: Path):
        found = salvage(storage_path(tmp_path / "none.zarr"))
        assert (found.root, found.reader, found.origin) == (None, None, None)
        assert (found.layouts, found.unproved, found.digests) == ({}, {}, frozenset())

    @pytest.mark.parametrize("node", [None, [], {}, {"codecs": []}, {"codecs": [{}]}, {"shape": 3}])
    def test_nonsense_is_no_layout(self, node: object):
        assert Layout.parse(node) is None

    @pytest.mark.parametrize(
        ("place", "value"),
        [("attributes", None), ("attributes", {"tilepress": []}), ("shape", [math.inf, 1, 1])],
    )
    def test_neither_is_a_document_with_nonsense_in_it(
        self, geo_store: Any, place: str, value: object
    ):
        root = json.loads((geo_store.path / ROOT).read_bytes())
        node = root["consolidated_metadata"]["metadata"]["0/image"]
        assert Layout.parse(node) is not None
        assert Layout.parse({**node, place: value}) is None


class TestDigests:
    def test_are_found_in_documents_that_are_none(self, geo_store: Any):
        """A document that was cut still holds the digests before the cut."""
        path = geo_store.path / LEVEL
        digest = salvaged(geo_store).reader.statement["source_digest"]["sha256"]  # type: ignore[union-attr]
        data = path.read_bytes()
        path.write_bytes(data[: data.index(digest.encode()) + 65])
        (geo_store.path / ROOT).unlink()
        assert digest in salvaged(geo_store).digests
