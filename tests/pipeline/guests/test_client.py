"""A guest that dies, hangs or answers nonsense is one error; the next request works."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tilepress.errors import (
    DamagedSource,
    SourceError,
    SourceTooLarge,
    StoreError,
    UnsupportedSource,
    UsageError,
)
from tilepress.pipeline.guests import budget, client, hosts
from tilepress.pipeline.guests.told import raise_told, told
from tilepress.pipeline.image.grid import Box
from tilepress.pipeline.storage.retry import _may_pass

WHOLE = Box((0, 0), (64, 64))


def is_right(samples: np.ndarray) -> bool:
    y, x = np.ogrid[:64, :64]
    return np.array_equal(samples, y * 100 + x)


def test_samples_and_items_are_the_sources_own(opens):
    source = opens("nothing")
    assert is_right(source.read(WHOLE))
    part = source.read(Box((3, 5), (4, 9)))
    assert part.tolist() == [[305, 306, 307, 308]]
    assert part.flags.writeable
    assert part.flags.c_contiguous
    assert source.read_mask(WHOLE).min() == 255
    assert list(source.source_items()) == [("result", b"done")]
    assert source.fingerprint() == {"file": source.spec.paths[0]}


@pytest.mark.parametrize(
    ("deed", "kind", "text"),
    [
        ("crash", DamagedSource, "crashed (SIGSEGV)"),
        ("abort", DamagedSource, "gave up (SIGABRT)"),
        ("exit", SourceError, "ended"),
        ("eat 9000000000", SourceTooLarge, "wanted more than 2."),
        ("fail ours", DamagedSource, "text of ours"),
        ("fail foreign", SourceError, "unexpected KeyError"),
        ("deep", SourceError, "unexpected RecursionError"),
    ],
)
def test_what_a_reader_does_is_one_error(opens, deed, kind, text):
    source = opens(deed)
    with pytest.raises(kind) as caught:
        source.read(WHOLE)
    assert text in str(caught.value)
    assert "text of the file" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_error_names_what_was_done_and_the_file(opens):
    source = opens("crash")
    with pytest.raises(DamagedSource, match=r"^reading .*image\.hostile: its decoder crashed"):
        source.read(WHOLE)


def test_a_reader_that_dies_while_it_opens_is_an_error_too(opens):
    with pytest.raises(DamagedSource, match=r"^opening .*crashed"):
        opens("on-open crash")
    assert is_right(opens("nothing").read(WHOLE))


def test_an_error_of_storage_that_may_pass_is_known_as_such():
    for number, passes in ((errno.ESTALE, True), (errno.EACCES, False)):
        error = DamagedSource("reading it")
        error.__cause__ = OSError(number, "text")
        with pytest.raises(DamagedSource, match=r"^reading it$") as caught:
            raise_told(told(error), "reading", "/a", 0)
        assert _may_pass(caught.value) == passes


LIES = [
    ["ours", "UsageError", "stop", None],
    ["ours", "StoreError", "stop", None],
    ["ours", "DamagedSource", "fine", -5],
    ["system", errno.ENOSPC],
    ["system", "x"],
    ["memory"],
    ["foreign", "text"],
    [],
    "text",
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_no_error_of_a_guest_is_one_of_the_run(lie):
    with pytest.raises(SourceError) as caught:
        raise_told(lie, "reading", "/a", 0)
    assert not isinstance(caught.value, (UsageError, StoreError))


def test_limits_of_a_batch_system_stay():
    """Nobody may raise a hard limit: below one, guests have theirs."""
    script = (
        "import resource, sys\n"
        "resource.setrlimit(resource.RLIMIT_CPU, (500, 500))\n"
        "resource.setrlimit(resource.RLIMIT_AS, (6 * 2**30, 6 * 2**30))\n"
        "from tilepress.pipeline.guests.client import Guest\n"
        "from tilepress.pipeline.guests.budget import Budget\n"
        "g = Guest(['tilepress.pipeline.arrays.source'], [])\n"
        "g._limit(Budget(2**40, 10**6))\n"
        "print(resource.prlimit(g._process, resource.RLIMIT_CPU))\n"
        "print(resource.prlimit(g._process, resource.RLIMIT_AS)[1] == 6 * 2**30)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert done.stdout.split("\n")[:2] == ["(500, 500)", "True"], done.stderr


def test_processor_time_is_limited(opens, monkeypatch):
    monkeypatch.setattr(budget, "BASE_CPU_S", 1)
    source = opens("spin")
    with pytest.raises(UnsupportedSource, match=r"took more than \d+ s of processor time"):
        source.read(WHOLE)


@pytest.mark.parametrize("deed", ["sleep 60", "stop"])
def test_waiting_is_limited(opens, monkeypatch, deed):
    source = opens(deed)
    monkeypatch.setattr(budget, "BASE_WALL_S", 1)
    monkeypatch.setattr(budget, "WALL_S_PER_CPU_S", 0)
    started = time.monotonic()
    if deed == "stop":  # a signal to itself is refused, too: it goes on
        assert is_right(source.read(WHOLE))
        return
    with pytest.raises(UnsupportedSource, match="took more than 1 s"):
        source.read(WHOLE)
    assert time.monotonic() - started < 20


def test_after_its_guest_has_died_a_source_works_again(opens):
    source = opens("nothing")
    os.kill(source._guest._process, signal.SIGKILL)
    with pytest.raises(SourceError, match="ended from outside"):
        source.read(WHOLE)
    assert is_right(source.read(WHOLE))


def test_after_the_host_has_died_the_next_image_has_a_new_one(opens):
    opens("nothing")
    host = hosts._host()
    host._process.kill()
    host._process.wait()
    assert is_right(opens("nothing ").read(WHOLE))
    assert hosts._host() is not host


def test_samples_that_the_guest_can_still_change_are_not_taken(opens):
    source = opens("hold")
    with pytest.raises(SourceError, match="holds on to samples"):
        source.read(WHOLE)


def test_an_image_that_is_opened_again_has_the_same_guest_and_another_image_a_new_one(opens):
    first = opens("nothing")
    process = first._guest._process
    first.close()
    again = opens.again(first.spec)
    assert again._guest._process == process
    path = again.spec.paths[0] + ".other"
    os.link(again.spec.paths[0], path)
    from dataclasses import replace

    from tilepress.pipeline.guests.source import GuestSource

    other = GuestSource(
        replace(again.spec, paths=(path,)), ("tests.helpers.hostile_format",), whole_folders=False
    )
    assert other._guest._process != process
    other.close()


@pytest.mark.parametrize("when", ["after it is closed", "while it is open"])
def test_a_file_that_another_has_taken_the_place_of_is_opened_anew(opens, tmp_path, when):
    first = opens("nothing")
    if when == "after it is closed":
        first.close()
    new = tmp_path / "new"
    new.write_bytes((tmp_path / "image.hostile").read_bytes())
    os.replace(new, tmp_path / "image.hostile")
    first.close()
    assert is_right(opens.again(first.spec).read(WHOLE))


def test_no_guest_outlives_the_process_that_began_it(tmp_path):
    """Not even where that is killed, and the guest is busy."""
    script = (
        "import sys, os\n"
        "from tilepress.pipeline.guests.client import Guest\n"
        "from tilepress.pipeline.guests.budget import to_look\n"
        "g = Guest(['tests.helpers.hostile_format'], [])\n"
        "print(g._process, g._host._process.pid, flush=True)\n"
        "g.ask({'do': 'items'}, to_look(0), 'x', sys.stdin.read())\n"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        text=True,
    )
    with child:
        processes = [int(one) for one in child.stdout.readline().split()]
        assert len(processes) == 2
        child.kill()
    until = time.monotonic() + 20
    while any(map(alive, processes)) and time.monotonic() < until:
        time.sleep(0.05)
    assert not any(map(alive, processes))


def alive(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_a_process_that_is_forked_from_this_one_begins_a_host_of_its_own(opens):
    assert is_right(opens("nothing").read(WHOLE))
    host = hosts._host()._process.pid
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        code = 1
        try:
            code = 0 if not hosts._hosts else 2
        finally:
            os._exit(code)
    os.close(reading)
    os.close(writing)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert hosts._host()._process.pid == host
    assert is_right(opens("nothing ").read(WHOLE))


def test_switched_off_files_are_read_in_this_process(monkeypatch):
    monkeypatch.setenv(client.SWITCH, "off")
    assert not client.are_possible()
