"""The end of a run: a report, whatever ended it, and the catalogue."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from tilepress.pipeline.catalogue import update as cataloguing
from tilepress.pipeline.catalogue.index import Index
from tilepress.pipeline.storage.path import storage_path
from tilepress.workflows.cluster.contract import NoWorkers
from tilepress.workflows.cluster.executor import InProcessExecutor
from tilepress.workflows.report.events import EventLog, read_events
from tilepress.workflows.report.telling import Event, Note, SilentProgress

from .conftest import run


class TestInterruptedAtTheEnd:
    """The report is written, too, and the events end as what they are."""

    def test_while_the_catalogue_is_made(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def interrupted(*_: object, **__: object) -> None:
            raise KeyboardInterrupt

        told, events = tmp_path / "report.json", tmp_path / "events"
        with monkeypatch.context() as patch:
            patch.setattr(cataloguing, "update_catalogue", interrupted)
            with pytest.raises(KeyboardInterrupt):
                run(image, tmp_path / "out", report=told, progress=EventLog(events))
        report = json.loads(told.read_text())
        assert (report["interrupted"], report["ok"], report["written"]) == (True, False, 1)
        assert [event["event"] for event in read_events(events)][-1] == "interrupted"
        assert run(image, tmp_path / "out").unchanged == 1

    def test_a_catalogue_that_fails_is_listed(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def failing(*_: object, **__: object) -> None:
            raise OSError(28, "No space left on device")

        with monkeypatch.context() as patch:
            patch.setattr(cataloguing, "update_catalogue", failing)
            report = run(image, tmp_path / "out", progress=EventLog(tmp_path / "events"))
        (failure,) = report.failures
        assert (report.ok, report.written, failure.kind) == (False, 1, "catalogue")
        *_, told, end = read_events(tmp_path / "events")
        assert "is not up to date (No space left on device)" in told["message"]
        assert end["event"] == "run-done"
        assert run(image, tmp_path / "out").ok

    def test_workers_that_end_leave_a_report(
        self, image: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        def gone(*_: object) -> None:
            raise NoWorkers("waiting for workers: none")

        other = tmp_path / "in"
        other.mkdir()
        np.save(other / "a.npy", np.zeros((40, 40), np.uint16))
        assert run(other, tmp_path / "out").ok
        np.save(other / "b.npy", np.ones((40, 40), np.uint16))
        real = InProcessExecutor.next
        answers = iter([real])
        monkeypatch.setattr(InProcessExecutor, "next", lambda self: next(answers, gone)(self))
        with pytest.raises(NoWorkers):
            run(other, tmp_path / "out", report=tmp_path / "report.json")
        report = json.loads((tmp_path / "report.json").read_text())
        assert (report["interrupted"], report["ok"], report["unchanged"]) == (True, False, 1)


class TestAStoreOfItsOwnNameInAnArchive:
    """The archive was not named, so its catalogue stays as it is; that is told."""

    class _Notes(SilentProgress):
        def __init__(self) -> None:
            self.texts: list[str] = []

        def tell(self, event: Event) -> None:
            if isinstance(event, Note):
                self.texts.append(event.text)

    def test_is_told_to_be_missing_in_its_catalogue(self, image: Path, tmp_path: Path) -> None:
        run(image, tmp_path / "out")
        notes = self._Notes()
        run(image, tmp_path / "out" / "by-name" / "one.zarr", progress=notes)
        (text,) = (text for text in notes.texts if "catalogue" in text)
        assert (
            text == f"the catalogue of {tmp_path / 'out'} lists one.zarr after the next run into it"
        )
        run(image, tmp_path / "out")
        listed = [
            entry.key for entry in Index(storage_path(tmp_path / "out" / "catalogue")).entries()
        ]
        assert "by-name/one.zarr" in listed

    def test_elsewhere_nothing_is_said(self, image: Path, tmp_path: Path) -> None:
        notes = self._Notes()
        run(image, tmp_path / "alone" / "one.zarr", progress=notes)
        assert not [text for text in notes.texts if "catalogue" in text]
