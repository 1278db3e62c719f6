"""Write files that are there whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tilepress.pipeline.storage import atomic


class TestTemporaryNames:
    @pytest.mark.parametrize("name", ["a", "n" * 255, "ü" * 127, "a" * 229 + "üüü"])
    def test_are_no_longer_than_names_may_be(self, tmp_path: Path, name: str) -> None:
        atomic.write_atomic(tmp_path / name, b"whole")
        assert atomic.write_new(tmp_path / name, b"other") is False
        assert [path.name for path in tmp_path.iterdir()] == [name]
        partial = atomic.partial_of(tmp_path / name)
        assert len(os.fsencode(partial.name)) <= 255
        assert atomic.is_partial(partial)


class TestAFileIsWholeOrAbsent:
    @pytest.mark.parametrize("step", ["open", "write", "fsync", "close", "replace"])
    @pytest.mark.parametrize("old", [None, b"old"])
    def test_whatever_call_fails(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str, old: bytes | None
    ) -> None:
        """A full disk or an I/O error at any step leaves the old state and no half file."""
        path = tmp_path / "object"
        if old is not None:
            path.write_bytes(old)
        real = getattr(os, step)

        def fail(*args: object, **kwargs: object) -> None:
            if step == "close":
                real(*args, **kwargs)
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(atomic.os, step, fail)
        with pytest.raises(OSError, match="No space"):
            atomic.write_atomic(path, b"new" * 1000)
        monkeypatch.undo()
        assert [p.name for p in tmp_path.iterdir()] == ([] if old is None else ["object"])
        assert old is None or path.read_bytes() == old

    def test_a_short_write_goes_on(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        real = os.write
        monkeypatch.setattr(atomic.os, "write", lambda fd, data: real(fd, data[:7]))
        atomic.write_atomic(tmp_path / "a" / "b" / "object", bytes(range(100)))
        assert (tmp_path / "a/b/object").read_bytes() == bytes(range(100))

    def test_data_is_synced_before_the_name_and_the_name_after(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        calls: list[str] = []
        for name in ("fsync", "replace"):
            real = getattr(os, name)
            monkeypatch.setattr(
                atomic.os, name, lambda *a, r=real, n=name: (calls.append(n), r(*a))[1]
            )
        atomic.write_atomic(tmp_path / "object", b"data")
        assert calls == ["fsync", "replace", "fsync"]


class TestSweepingRemovesWhatAKilledWriterLeft:
    def test_only_that(self, tmp_path: Path) -> None:
        (tmp_path / "c").mkdir()
        left = tmp_path / "c" / f".0.1234{atomic.PARTIAL_SUFFIX}"
        left.write_bytes(b"half")
        (tmp_path / "c" / "0").write_bytes(b"whole")
        assert atomic.is_partial(left)
        assert atomic.sweep_partials(tmp_path) == 1
        assert [p.name for p in (tmp_path / "c").iterdir()] == ["0"]
