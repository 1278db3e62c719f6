"""What stands for a UID is of use to those alone who have the key."""

from __future__ import annotations

import hashlib

from tilepress.pipeline.image.pseudonyms import (
    KEY_MARK,
    NO_KEY,
    UNKEYED,
    UNNAMED,
    Pseudonyms,
    as_stored,
    told,
)
from tilepress.pipeline.image.source import SourceSpec

PLAIN = hashlib.sha256(b"1.2.3").hexdigest()[:12]
ONE, OTHER = Pseudonyms(bytes(32)), Pseudonyms(b"\1" * 32)


class TestWithAKey:
    def test_the_plain_hash_is_not_told(self):
        assert ONE.of(PLAIN) != PLAIN
        assert len(ONE.of(PLAIN)) == 12

    def test_the_same_key_gives_the_same(self):
        assert ONE.of(PLAIN) == Pseudonyms(bytes(32)).of(PLAIN) != OTHER.of(PLAIN)

    def test_keys_are_told_apart_and_not_shown(self):
        assert ONE.mark != OTHER.mark
        assert "00" not in repr(ONE)

    def test_attributes_keep_their_order(self):
        """Documents are compared byte for byte when a store is repaired."""
        options = ONE.options(PLAIN, PLAIN)
        found = told({"modality": "CT", "study": PLAIN, "series": PLAIN, "bits": 12}, options)
        assert list(found) == ["modality", "study", "series", "bits", KEY_MARK]
        assert found["series"] == ONE.of(PLAIN)


class TestWithoutOne:
    def test_names_of_old_archives_stay(self):
        assert UNKEYED.of(PLAIN) == PLAIN
        assert UNKEYED.options(PLAIN, PLAIN) == {}
        assert told({"series": PLAIN}, {}) == {"series": PLAIN}

    def test_a_single_store_belongs_to_nothing(self):
        options = UNNAMED.options(PLAIN, PLAIN)
        found = told({"modality": "CT", "series": PLAIN}, options)
        assert found == {"modality": "CT", KEY_MARK: NO_KEY}
        assert UNNAMED.of(PLAIN) != PLAIN


class TestAStoreThatIsThere:
    def test_keeps_its_identifiers(self):
        spec = SourceSpec(kind="dicom", paths=("/a",), options=ONE.options(PLAIN, PLAIN))
        for stored in ({"series": PLAIN}, {"series": "f" * 12, KEY_MARK: "0" * 8}, {}):
            options = as_stored(spec, {"modality": "CT", **stored}).options
            found = told({"modality": "CT", "series": PLAIN}, options)
            assert found == {"modality": "CT", **stored}

    def test_that_tells_nothing_leaves_the_recipe_as_it_is(self):
        spec = SourceSpec(kind="dicom", paths=("/a",))
        assert as_stored(spec, None) is spec
