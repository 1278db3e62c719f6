"""Groups of small images: each is opened, looked at and sealed no more often than it must be."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tilepress.pipeline.archive import images, write
from tilepress.pipeline.archive.destination import Destination
from tilepress.pipeline.archive.images import Job, Todo, plan_images
from tilepress.pipeline.archive.lease import Holder, Lease
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.pipeline.archive.outcome import Outcome
from tilepress.pipeline.archive.plan import ledger_folder
from tilepress.pipeline.find.discover import discover
from tilepress.pipeline.guests import source as guest_source
from tilepress.pipeline.guests.client import Guest
from tilepress.pipeline.image.source import SourceSpec, TileSource
from tilepress.pipeline.sources import open as sources
from tilepress.pipeline.storage.local import FolderPath
from tilepress.pipeline.storage.path import storage_path
from tilepress.pipeline.store.seal import is_sealed

from ...helpers.samples import smooth

STORE = "scene.zarr"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    np.save(tmp_path / "scene.npy", smooth((40, 52)))
    return tmp_path / "scene.npy"


@pytest.fixture(autouse=True)
def nothing_stays_open() -> Iterator[None]:
    yield
    assert not write._sources


def press(source: Path, **options: Any) -> Outcome:
    """Plan, write and seal one image in one task."""
    (spec,) = discover([source])
    assert isinstance(spec, SourceSpec)
    job = Job(
        destination=Destination(storage_path(source.parent / STORE)),
        options=EncodeOptions(tile=64),
        holder=Holder.this_process(),
        whole_bytes=2**20,
        **options,
    )
    (outcome,) = plan_images((Todo(spec),), job)
    return outcome


def failure(outcome: Outcome) -> str:
    assert outcome.failure is not None
    return outcome.failure.kind


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """Count sources opened, leases and root documents read, and objects written into the store."""
    found: Counter[str] = Counter()
    opened = sources._open_local

    def open_local(spec: SourceSpec) -> TileSource:
        found["sources"] += 1
        return opened(spec)

    def counted(name: str, what: str, *, of: str) -> None:
        real = getattr(FolderPath, name)

        def method(self: FolderPath, *arguments: Any) -> Any:
            if self.name == of or (
                not of and f"{STORE}/" in str(self) and ".tilepress" not in str(self)
            ):
                found[what] += 1
            return real(self, *arguments)

        monkeypatch.setattr(FolderPath, name, method)

    def guest(*arguments: Any, **options: Any) -> Guest:
        found["readers"] += 1
        return Guest(*arguments, **options)

    monkeypatch.setattr(sources, "_open_local", open_local)
    monkeypatch.setattr(guest_source, "Guest", guest)
    counted("read_tagged", "leases", of="lease.json")
    counted("read", "seals", of="zarr.json")
    counted("write", "objects", of="")
    return found


class TestWhatOneSmallImageCosts:
    """An archive may have millions of them: three openings each are three of every file."""

    def test_when_it_is_written(self, source: Path, counts: Counter[str]):
        assert press(source).result is not None
        assert counts["sources"] == 2, "to plan and code it; to see at the seal that it is the same"
        assert counts["readers"] == 1, "the one that has it open waits to open it again"
        assert counts["seals"] == 0, "what is in the store is known, for it was written just now"
        objects = counts["objects"]
        assert objects == 1 + 3 + 1, "a shard; source and two documents; the root document"
        assert counts["leases"] == objects + 2, "each object, the start of the seal, the release"

    def test_when_it_is_there(self, source: Path, counts: Counter[str]):
        press(source)
        counts.clear()
        outcome = press(source)
        assert outcome.result is not None
        assert outcome.result.status == "unchanged"
        assert counts == {"sources": 1, "seals": 1}

    def test_its_sizes_are_those_of_the_store(self, source: Path):
        for outcome in (press(source), press(source)):
            assert outcome.result is not None
            files = [p for p in (source.parent / STORE).rglob("*") if p.is_file()]
            assert outcome.result.stored_bytes == sum(p.stat().st_size for p in files)
            root = json.loads((source.parent / STORE / "zarr.json").read_bytes())
            assert outcome.result.raw_bytes == root["attributes"]["tilepress"]["raw_bytes"]


class TestWhatIsStillSeen:
    def test_a_source_that_changes_after_it_was_planned(
        self, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        real = images.put_shard

        def put(*arguments: Any) -> Any:
            done = real(*arguments)
            np.save(source, smooth((40, 52), seed=9))
            return done

        monkeypatch.setattr(images, "put_shard", put)
        assert failure(press(source)) == "damaged-source"
        assert not is_sealed(source.parent / STORE)

    @pytest.mark.parametrize("after", range(5))
    def test_another_writer_that_took_the_store_over(
        self, source: Path, monkeypatch: pytest.MonkeyPatch, after: int
    ):
        """After any object that is written, the first of them the shard."""
        real, left = FolderPath.write, after

        def write_object(self: FolderPath, data: bytes) -> None:
            nonlocal left
            real(self, data)
            if f"{STORE}/" in str(self) and ".tilepress" not in str(self):
                if left == 0:
                    seize(source)
                left -= 1

        monkeypatch.setattr(FolderPath, "write", write_object)
        outcome = press(source)
        if after == 4:  # it was the root document: the store was sealed before
            assert outcome.result is not None
            return
        assert failure(outcome) == "lease-lost"
        assert left == -1, "nothing was written any more"
        assert not is_sealed(source.parent / STORE)

    def test_another_writer_that_removed_what_was_written(
        self, source: Path, monkeypatch: pytest.MonkeyPatch
    ):
        """It is that one's doing that a shard is missing, and no damage."""
        real = images.put_shard

        def put(*arguments: Any) -> Any:
            done = real(*arguments)
            seize(source)
            (source.parent / STORE / "0/image/c/0/0").unlink()
            return done

        monkeypatch.setattr(images, "put_shard", put)
        assert failure(press(source)) == "lease-lost"

    def test_another_writer_that_was_there_first(self, source: Path):
        lease = Lease.acquire(ledger_folder(source.parent / STORE))
        assert failure(press(source)) == "destination-conflict"
        lease.release()


def seize(source: Path) -> None:
    """Make another host the holder of the lease."""
    lease = ledger_folder(source.parent / STORE) / "lease.json"
    changed = {**json.loads(lease.read()), "id": "0", "host": "elsewhere"}
    Path(str(lease)).write_text(json.dumps(changed))
