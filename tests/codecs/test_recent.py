"""What was used last is kept, up to a size."""

from __future__ import annotations

from tilepress.codecs.recent import Recent


class TestRecent:
    def test_what_was_not_used_for_longest_goes_first(self) -> None:
        kept: Recent[str, int] = Recent(2)
        assert not kept.put("a", 1)
        kept.put("b", 2)
        assert kept.get("a") == 1
        kept.put("c", 3)
        assert kept.values() == [1, 3]
        assert "b" not in kept
        assert kept.get("b") is None

    def test_sizes_add_up(self) -> None:
        kept: Recent[str, bytes] = Recent(10, len)
        kept.put("a", b"1234")
        assert kept.put("a", b"12")
        kept.put("b", b"12345678")
        assert kept.size == 10
        kept.put("c", b"1")
        assert (len(kept), kept.size) == (2, 9)
        kept.drop("b")
        kept.drop("b")
        assert kept.size == 1

    def test_the_newest_stays_however_large_it_is(self) -> None:
        kept: Recent[str, bytes] = Recent(3, len)
        kept.put("a", b"12")
        kept.put("b", b"12345")
        assert kept.values() == [b"12345"]
