"""Events: programs follow a run by them, so each is whole, documented and never lost silently."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

import tilepress
from tilepress.errors import DamagedSource, UsageError
from tilepress.pipeline.archive.stages import Stages
from tilepress.workflows.report import events as module
from tilepress.workflows.report.events import EventLog, read_events
from tilepress.workflows.report.report import Report
from tilepress.workflows.report.telling import Discovered, Failed, ImageDone, Note

from .made_up import failure, result, shard_stored, tell_all

Event = dict[str, Any]

ALWAYS = {"time", "event", "run"}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def ended(path: Path, how: BaseException | None = None) -> list[Event]:
    """Return the events of a run that ended in a way."""

    def run() -> None:
        with EventLog(path, {"max_error": 2, "cluster": "tls://me:pa55@host:1"}) as log:
            tell_all(log)
            if how is not None:
                raise how

    if how is None:
        run()
    else:
        with pytest.raises(type(how)):
            run()
    return list(read_events(path))


def documented() -> dict[str, set[str]]:
    """Return the fields of every event, as the table in the module's docstring has them."""
    images = result().to_json().keys()
    rows = re.findall(r"^    ([a-z]+-?[a-z]+)  +(\S.*)$", module.__doc__ or "", re.MULTILINE)
    table = {name: text for name, text in rows if name != "event"}
    fields: dict[str, set[str]] = {}
    for name, text in table.items():
        plain = re.sub(r"\(.*?\)|;.*|:.*", "", text)
        if name == "image-done":
            fields[name] = set(images)
        elif plain.startswith("the same"):
            fields[name] = fields["run-done"] | ({"kind", "message"} if "kind" in text else set())
        else:
            fields[name] = {field.strip() for field in plain.split(",")}
    return fields


class TestEveryEventIsAsDocumented:
    """Readers are written from the table: an event or field that is not in it does not exist."""

    def test_the_fields_are_those_of_the_table(self, path: Path):
        told = ended(path)
        told += ended(path, KeyboardInterrupt())[len(told) :]
        told += ended(path, DamagedSource("torn"))[len(told) :]
        assert {event["event"] for event in told} == set(documented())
        for event in told:
            assert event.keys() - ALWAYS == documented()[event["event"]], event["event"]

    def test_the_order_is_that_of_the_run(self, path: Path):
        assert [event["event"] for event in ended(path)] == [
            "run-started", "note", "discovered", "workers", "image-started", "shard-done",
            "shard-done", "image-done", "image-done", "failed", "files-kept", "run-done",
        ]  # fmt: skip

    def test_values_are_those_of_the_run(self, path: Path):
        told = ended(path)
        start, shard, done = told[0], told[5], told[-1]
        assert start["version"] == 1
        assert start["tilepress"] == tilepress.__version__
        assert start["options"] == {"max_error": 2, "cluster": "tls://host:1"}
        assert (shard["store"], shard["shard"], shard["raw_bytes"]) == ("s", "image-0.1", 900)
        assert shard["stages"] == Stages(code_s=3, check_s=1).to_json()
        assert told[6]["stages"] is None
        assert told[4]["shape"] == [1000, 500]
        assert (done["written"], done["unchanged"], done["failed"]) == (1, 1, 1)
        assert done["ok"] is False
        assert done["stages"] == Stages(code_s=3, check_s=1).to_json(), "once, not per image too"

    def test_results_are_those_of_the_report(self, path: Path, tmp_path: Path):
        report = Report()
        report.images.append(result(2, stages=Stages(read_s=1)))
        report.failures.append(failure(3))
        report.write(tmp_path / "report.json")
        told = json.loads((tmp_path / "report.json").read_text())
        with EventLog(path) as log:
            log.tell(ImageDone(result(2, stages=Stages(read_s=1))))
            log.tell(Failed(failure(3)))
        done, failed = list(read_events(path))[1:3]
        assert {k: v for k, v in done.items() if k not in ALWAYS} == told["images"][0]
        assert {k: v for k, v in failed.items() if k not in ALWAYS} == told["failures"][0]

    def test_times_are_in_utc_and_in_order(self, path: Path):
        before = datetime.now(UTC)
        times = [datetime.fromisoformat(event["time"]) for event in ended(path)]
        assert times == sorted(times)
        assert all(moment.utcoffset() == before.utcoffset() for moment in times)

    def test_small_images_bring_their_stages(self, path: Path):
        with EventLog(path) as log:
            log.tell(shard_stored(9, 3, reused=False))
            log.tell(ImageDone(result(1, stages=Stages(code_s=2))))
        assert list(read_events(path))[-1]["stages"]["code_s"] == 2

    def test_the_search_does_not_flood_it(self, path: Path):
        with EventLog(path) as log:
            for number in range(1000):
                log.tell(Discovered(number, number // 2))
            log.tell(Discovered(1000, 500, done=True))
        told = [event for event in read_events(path) if event["event"] == "discovered"]
        assert len(told) < 100
        assert (told[-1]["files"], told[-1]["done"]) == (1000, True)

    @pytest.mark.parametrize("name", ["\udce4", "a\nb", "ä\u2028", '"}'])
    def test_any_file_name_is_one_line(self, path: Path, name: str):
        with EventLog(path) as log:
            log.tell(Failed(failure(source=name)))
        assert len(path.read_bytes().split(b"\n")) == 4
        assert list(read_events(path))[1]["source"] == name


class TestHowARunEndedIsTold:
    """Done, interrupted and failed are three things; nothing of them means that it was killed."""

    def test_an_interrupt(self, path: Path):
        assert ended(path, KeyboardInterrupt())[-1]["event"] == "interrupted"

    def test_an_error(self, path: Path):
        last = ended(path, DamagedSource("opening x.tif: torn"))[-1]
        assert (last["event"], last["kind"]) == ("run-failed", "damaged-source")
        assert last["message"] == "opening x.tif: torn"
        assert last["ok"] is False

    def test_what_is_told_afterwards_goes_nowhere(self, path: Path):
        """Its number of the file may be that of another one by then."""
        with EventLog(path) as log:
            pass
        told = path.read_bytes()
        with (path.parent / "other").open("wb"):
            log.tell(Note("later"))
        assert path.read_bytes() == told
        assert (path.parent / "other").read_bytes() == b""

    def test_a_strange_error_does_not_tell_what_it_read(self, path: Path):
        last = ended(path, RuntimeError("PATIENT^NAME"))[-1]
        assert last["kind"] == "internal"
        assert "PATIENT" not in path.read_text()


class TestTheFileGoesOn:
    """A run that is resumed, or stands beside others, appends to what is there."""

    def test_runs_stand_one_after_another_under_their_own_name(self, path: Path):
        first = ended(path, KeyboardInterrupt())
        both = ended(path)
        assert both[: len(first)] == first
        assert {event["run"] for event in both[: len(first)]} != {both[-1]["run"]}
        assert len({event["run"] for event in both}) == 2

    def test_a_cut_line_is_ended_and_passed_over(self, path: Path):
        first = ended(path)
        path.write_bytes(path.read_bytes()[:-20])
        assert list(read_events(path)) == first[:-1]
        both = ended(path)
        assert [e["event"] for e in both] == [e["event"] for e in first[:-1] + first]

    def test_lines_are_there_at_once(self, path: Path):
        with EventLog(path) as log:
            log.tell(Note("now"))
            assert list(read_events(path))[-1]["text"] == "now"

    @pytest.mark.parametrize("content", [b"", b"\n\n", b"\xff\xfe\n", b"[1]\n7\n", b'{"a":1}\n{'])
    def test_what_is_no_event_is_passed_over(self, path: Path, content: bytes):
        path.write_bytes(content)
        assert list(read_events(path)) == []

    def test_a_kill_cuts_one_line_at_most(self, path: Path):
        for runs in range(1, 4):
            child = subprocess.Popen([sys.executable, "-c", ENDLESS, str(path)])
            begun = path.stat().st_size if path.exists() else 0
            while not path.exists() or path.stat().st_size < begun + 50_000:
                assert child.poll() is None, "it ended by itself"
                time.sleep(0.01)
            child.kill()
            child.wait()
            lines = [line for line in path.read_bytes().split(b"\n") if line]
            events = list(read_events(path))
            assert len(lines) - len(events) <= runs
            assert sum(event["event"] == "run-started" for event in events) == runs


ENDLESS = """
import itertools, sys
from tilepress.workflows.report.events import EventLog
from tilepress.workflows.report.telling import ShardStored

with EventLog(sys.argv[1]) as log:
    for number in itertools.count():
        log.tell(
            ShardStored(
                raw_bytes=number, stored_bytes=number, reused=False, shard="image-0.0",
                store=200 * "s",
            )
        )
"""


class TestUnwritableIsSaidAtTheStart:
    """Not after the first image."""

    def test_a_folder(self, tmp_path: Path):
        with pytest.raises(UsageError, match=r"writing events to .*it is a folder"):
            EventLog(tmp_path)

    def test_below_a_file(self, tmp_path: Path):
        (tmp_path / "file").write_text("")
        with pytest.raises(UsageError, match="Not a directory"):
            EventLog(tmp_path / "file" / "events.jsonl")

    def test_a_bucket(self):
        with pytest.raises(UsageError, match="want a path on this machine"):
            EventLog("s3://bucket/events.jsonl")

    def test_folders_are_made(self, tmp_path: Path):
        assert ended(tmp_path / "logs" / "today" / "events.jsonl")


class TestStandardOutput:
    """``--events -`` feeds a pipe."""

    def test_it_gets_the_lines(self, capfd: pytest.CaptureFixture[str]):
        with EventLog("-") as log:
            log.tell(Note("hello"))
        told = [json.loads(line) for line in capfd.readouterr().out.splitlines()]
        assert [event["event"] for event in told] == ["run-started", "note", "run-done"]

    def test_it_stays_open(self, capfd: pytest.CaptureFixture[str]):
        with EventLog("-"):
            pass
        os.write(1, b"still here\n")
        assert capfd.readouterr().out.endswith("still here\n")


class TestAFullDiskStopsTheRun:
    """Who asked for events relies on them: a log that ends silently looks like a run that hangs."""

    @pytest.fixture
    def full(self) -> EventLog:
        if not Path("/dev/full").exists():
            pytest.skip("no /dev/full")
        return EventLog("/dev/full")

    def test_it_is_one_storage_error_that_says_how_to_go_on(self, full: EventLog):
        with pytest.raises(OSError, match=r"writing events .*go on\): No space") as caught, full:
            pass
        assert caught.value.errno == errno.ENOSPC
        assert caught.value.filename == "/dev/full"

    @pytest.fixture
    def breaking(self, monkeypatch: pytest.MonkeyPatch) -> list[bool]:
        """Return a list of one: whether the disk is full."""
        write, broken = os.write, [False]

        def sometimes(file: int, data: bytes) -> int:
            if broken[0]:
                raise OSError(errno.ENOSPC, "No space left on device")
            return write(file, data)

        monkeypatch.setattr(module.os, "write", sometimes)
        return broken

    @pytest.fixture
    def broken(self, path: Path, breaking: list[bool]) -> EventLog:
        """Return a log that could not write a note, when the disk is empty again."""
        log = EventLog(path)
        log.__enter__()
        breaking[0] = True
        with pytest.raises(OSError, match="No space"):
            log.tell(Note("lost"))
        breaking[0] = False
        return log

    def test_every_later_call_raises_it_again(self, broken: EventLog, path: Path):
        """The first may have been taken for a failure of the image that was told of."""
        with pytest.raises(OSError, match="No space left"):
            broken.tell(Failed(failure()))
        with pytest.raises(OSError, match="No space left"):
            broken.__exit__(None, None, None)
        assert [event["event"] for event in read_events(path)] == ["run-started"]

    def test_an_interrupt_remains_one(self, broken: EventLog):
        broken.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)

    def test_a_reader_that_went_away_is_a_broken_pipe(self):
        ours, theirs = os.pipe()
        with pytest.raises(BrokenPipeError):
            self.tell_nobody(ours, theirs)

    def tell_nobody(self, ours: int, theirs: int) -> None:
        log = EventLog(f"/dev/fd/{theirs}")
        os.close(theirs)
        os.close(ours)
        with log:
            pass
