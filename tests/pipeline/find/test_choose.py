"""Patterns choose files by their names, or by their paths below what was named."""

from __future__ import annotations

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.find.choose import Choice


@pytest.mark.parametrize(
    ("pattern", "taken", "not_taken"),
    [
        ("*.tif", ["a.tif", "x/y/a.tif"], ["a.tiff", "a.tif2"]),
        ("raw", ["raw/a.tif", "x/raw/a.tif", "raw"], ["rawer/a.tif"]),
        ("raw/*.tif", ["raw/a.tif"], ["x/raw/a.tif", "raw/x/a.tif", "a.tif"]),
        ("raw/**", ["raw/a", "raw/x/a"], ["a", "x/raw/a"]),
        ("**/raw/*.tif", ["raw/a.tif", "x/y/raw/a.tif"], ["raw/x/a.tif"]),
        ("raw/", ["raw/a", "x/raw/a"], ["raws/a"]),
        ("a?.t[ix]*", ["ab.tif", "a1.txt"], ["a.tif", "abc.tif"]),
        ("[!a]*", ["b.tif"], ["a.tif"]),
        ("a(1).tif", ["a(1).tif"], ["a1.tif"]),
        ("x/[ab].tif", ["x/a.tif"], ["x/c.tif"]),
    ],
)
def test_a_pattern_takes(pattern: str, taken: list[str], not_taken: list[str]):
    choice, rest = Choice.of(pattern, ()), Choice.of((), [pattern])
    assert [choice.takes(path) for path in taken] == [True] * len(taken)
    assert [choice.takes(path) for path in not_taken] == [False] * len(not_taken)
    assert [rest.takes(path) for path in taken] == [False] * len(taken)


def test_what_is_excluded_is_so_whatever_includes_it():
    choice = Choice.of(["*.tif", "*.npy"], ["b*"])
    assert [choice.takes(name) for name in ("a.tif", "a.npy", "b.tif", "a.txt")] == [
        True, True, False, False,
    ]  # fmt: skip


@pytest.mark.parametrize("pattern", ["", "/", "//"])
def test_an_empty_one_is_refused(pattern: str):
    with pytest.raises(UsageError, match="empty pattern"):
        Choice.of((), [pattern])
