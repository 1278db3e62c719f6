"""Keys: what is written under a key is found under it, and nothing else is taken for it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.pipeline.store import keys


class TestAShardIsFoundByItsKey:
    @given(
        st.sampled_from(["image", "mask"]),
        st.lists(st.integers(0, 10**6), min_size=1, max_size=5).map(tuple),
    )
    def test_and_back(self, array: str, index: tuple[int, ...]):
        assert keys.shard_of(keys.shard_key(array, index)) == (array, index)

    def test_as_it_is_on_storage(self):
        """Stores that exist are named so, whatever the names here become."""
        assert keys.shard_key("image", (0, 3)) == "0/image/c/0/3"
        assert keys.source_key("dicom-headers") == "source/dicom-headers"
        assert keys.document_key() == "zarr.json"
        assert keys.document_key(keys.MASK) == "0/mask/zarr.json"
        assert (keys.ORIGIN, keys.IMAGE) == ("source/origin", "0/image")
        assert (keys.MANIFEST, keys.ROOT_MANIFEST) == ("source/manifest", "manifest")

    def test_levels_have_their_numbers_in_their_names(self):
        """The names of the full resolution are those of stores that knew of no levels."""
        assert [keys.level_image(n) for n in (0, 1, 12)] == ["image", "1/image", "12/image"]
        assert keys.shard_key("1/image", (0, 3)) == "1/image/c/0/3"
        assert keys.shard_of("1/image/c/0/3") == ("1/image", (0, 3))
        names = ("image", "12/image", "mask", "1/mask", "x/image", "1/y")
        assert [keys.level_of(name) for name in names] == [0, 12, None, None, None, None]

    @pytest.mark.parametrize(
        "key",
        [
            "0/image/c", "0/image/c/", "0/image/c/0/", "0/image/c/00", "0/image/c/-1",
            "0/image/c/٣", "0/image/zarr.json", "0/image/c/0/.1.ab.partial", "01/image/c/0",
            "image/c/0", "0/c/0", "0/image/d/0", "",
        ],
    )  # fmt: skip
    def test_what_is_no_shard_has_none(self, key: str):
        assert keys.shard_of(key) is None


class TestKindsOfObjects:
    def test_each_key_is_of_one_kind(self):
        documents = ["zarr.json", "0/zarr.json", "manifest/zarr.json", "source/zarr.json"]
        chunks = ["0/image/c/0/0", "0/spatial_ref/c", "manifest/c/0", "source/manifest/c/3"]
        assert [keys.is_document(key) for key in documents + chunks] == [True] * 4 + [False] * 4
        assert [keys.is_chunk(key) for key in documents + chunks] == [False] * 4 + [True] * 4
        found = [key for key in documents + chunks if keys.is_manifest_chunk(key)]
        assert found == ["manifest/c/0", "source/manifest/c/3"]


class TestSeparators:
    """A store and the one that replaces it have no chunk key in common, but for scalars."""

    INDEX = (0, 13, 2)

    def test_there_and_back(self):
        key = keys.shard_key("image", self.INDEX, ".")
        assert key == "0/image/c.0.13.2"
        assert keys.shard_of(key, ".") == ("image", self.INDEX)
        assert keys.shard_of(key) is None
        assert keys.shard_of(keys.shard_key("image", self.INDEX), ".") is None
        assert keys.other_separator("/") == "."
        assert keys.other_separator(".") == "/"

    @pytest.mark.parametrize(
        "name", ["0/image", "0/x", "source/origin", "manifest", "source/manifest"]
    )
    def test_whose_a_chunk_is(self, name: str):
        slash, dot, scalar = f"{name}/c/0", f"{name}/c.0", f"{name}/c"
        assert all(keys.is_chunk(key) for key in (slash, dot, scalar))
        assert [keys.is_chunk_of(key, "/") for key in (slash, dot, scalar)] == [True, False, False]
        assert [keys.is_chunk_of(key, ".") for key in (slash, dot, scalar)] == [False, True, False]
        shared = [keys.is_shared(key) for key in (slash, dot, scalar, f"{name}/zarr.json")]
        assert shared == [False, False, True, True]
        assert keys.is_manifest_chunk(dot, ".") == name.endswith("manifest")
