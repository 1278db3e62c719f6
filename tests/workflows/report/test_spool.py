"""Spools: lists to those who use them, files to the memory."""

from __future__ import annotations

import errno
import gc
import json
import os
import sqlite3
import subprocess
import sys
import threading
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tilepress.workflows.report.spool import Spool

KILLED_WITH_A_SPOOL = """
import json, os, signal, sys
from pathlib import Path
from tilepress.workflows.report.spool import Spool

made = Spool(json.dumps, json.loads, keep=10)
for number in range(20_000):
    made.append(200 * "x")
for entry in Path("/proc/self/fd").iterdir():
    if entry.is_symlink() and os.readlink(entry).startswith(sys.argv[1]):
        print(os.readlink(entry), os.fstat(int(entry.name)).st_size, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def spool(keep: int = 4) -> Spool[object]:
    return Spool(json.dumps, json.loads, keep=keep)


def filled(entries: list[object], keep: int = 4) -> Spool[object]:
    made = spool(keep)
    for entry in entries:
        made.append(entry)
    return made


class TestItIsAList:
    """Code that took a list of results takes this, whatever lies on disk."""

    @given(st.lists(st.integers()), st.integers(1, 9), st.integers(-25, 25), st.integers(-25, 25))
    def test_every_look_gives_what_a_list_gives(
        self, entries: list[object], keep: int, first: int, last: int
    ):
        made = filled(entries, keep)
        assert list(made) == entries
        assert len(made) == len(entries)
        assert bool(made) == bool(entries)
        assert made[first:last] == entries[first:last]
        assert made[::-1] == entries[::-1]
        assert list(reversed(made)) == entries[::-1]
        for place in (first, last):
            if -len(entries) <= place < len(entries):
                assert made[place] == entries[place]
            else:
                with pytest.raises(IndexError):
                    made[place]

    @given(st.lists(st.integers(0, 1), max_size=9), st.lists(st.integers(0, 1), max_size=9))
    def test_it_equals_the_list_of_the_same_entries(self, mine: list[object], other: list[object]):
        assert (filled(mine) == other) is (mine == other)
        assert (other == filled(mine)) is (mine == other)
        assert (filled(mine) == filled(other)) is (mine == other)
        assert (filled(mine) == tuple(other)) is (mine == other)

    def test_it_is_not_equal_to_what_is_no_list(self):
        assert filled([1]) != 1
        assert filled([]) != ""

    def test_an_iteration_sees_what_is_appended_meanwhile(self):
        made = filled([0])
        seen = []
        for entry in made:
            seen.append(entry)
            if len(made) < 1500:
                made.append(len(made))
        assert seen == list(range(1500))

    def test_its_text_is_short(self):
        assert repr(filled([1, 2])) == "[1, 2]"
        assert repr(filled(list(range(2000)))) == "[0, 1, 2, … 2000 in all]"

    def test_threads_may_share_it(self):
        made = spool()

        def work() -> None:
            for number in range(300):
                made.append(number)
                assert made[0] == 0

        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(made) == sorted(4 * list(range(300)))


class TestMemoryStaysFlat:
    """A run of a million images must not need more than one of ten thousand."""

    def test_ten_times_the_entries_take_no_more_memory(self):
        peaks = []
        for count in (3000, 30_000):
            tracemalloc.start()
            made = spool(keep=200)
            for number in range(count):
                made.append(f"{number} " + 500 * "x")
            assert sum(1 for _ in made) == count
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
        assert peaks[1] < 1.5 * peaks[0], peaks


class TestNothingIsLeft:
    """Results name files of patients: they leave with the process, however it ends."""

    def test_the_file_has_no_name(self, tmp_path: Path):
        if not Path("/proc/self/fd").is_dir():
            pytest.skip("no /proc: open files cannot be listed")
        done = subprocess.run(
            [sys.executable, "-c", KILLED_WITH_A_SPOOL, str(tmp_path)],
            env={**os.environ, "SQLITE_TMPDIR": str(tmp_path)},
            capture_output=True,
            text=True,
            timeout=100,
        )
        (told,) = done.stdout.splitlines()
        assert int(told.split()[-1]) > 1_000_000, done.stderr
        assert done.returncode == -9
        assert list(tmp_path.iterdir()) == []

    def test_a_collected_spool_closes_its_file(self):
        made = filled(list(range(100)))
        database = made._database
        assert database is not None
        del made
        gc.collect()
        with pytest.raises(sqlite3.ProgrammingError, match="closed"):
            database.execute("SELECT 1")

    def test_a_closed_spool_is_empty(self):
        made = filled(list(range(100)))
        made.close()
        assert made == []
        made.append(1)
        assert made == [1]


class TestAFullDisk:
    """The temporary folder may be small: that is a storage error, and no entry is lost."""

    def test_it_is_an_os_error_that_says_what_is_full(self, monkeypatch: pytest.MonkeyPatch):
        made = spool(keep=100)
        open_it = made._open

        def small() -> sqlite3.Connection:
            database = open_it()
            database.execute("PRAGMA max_page_count = 8")
            return database

        monkeypatch.setattr(made, "_open", small)

        def fill() -> None:
            for number in range(10_000):
                made.append(f"{number} " + 100 * "x")

        with pytest.raises(OSError, match="keeping the report in a temporary file") as caught:
            fill()
        assert caught.value.errno == errno.ENOSPC
        assert 100 < len(made) < 10_000
        assert [int(str(entry).split()[0]) for entry in made] == list(range(len(made)))
