"""SIGKILL of everything that can be killed, at random moments and at every named point."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from .killing import (
    POINTS,
    SEAL_POINTS,
    Archive,
    kill_command,
    kill_part,
    kill_scheduler,
    kill_workers,
)

KILLS = 100
"""Kills of a campaign at least."""

REUSE = 0.95
"""Share of the finished shards that must not be coded again."""

SHARD_POINTS = tuple(point for point in POINTS if point not in SEAL_POINTS)


@pytest.fixture
def archive(tmp_path: Path) -> Iterator[Archive]:
    before = set(psutil.Process().children(recursive=True))
    yield Archive(tmp_path, random.Random(4))
    for process in set(psutil.Process().children(recursive=True)) - before:
        with suppress(psutil.NoSuchProcess):
            process.kill()


def verdict(archive: Archive) -> None:
    print(f"\n{archive.table()}")
    for kind, tally in archive.tally.items():
        assert tally.wrong == 0, kind
        assert tally.reused >= REUSE, f"{kind}: {tally.redone} of {tally.finished} coded again"


@pytest.mark.slow
class TestAFewKills:
    """Of every kind, every day."""

    def test_of_the_command_at_points(self, archive: Archive):
        kill_command(archive, 0, "mid-write", "after-rename", "mid-seal", "after-seal")
        verdict(archive)

    def test_of_the_command_with_workers(self, archive: Archive):
        kill_command(archive, 2, "")
        verdict(archive)

    def test_of_workers(self, archive: Archive):
        kill_workers(archive, kills=3)
        assert archive.kills()
        verdict(archive)

    def test_of_a_part(self, archive: Archive):
        kill_part(archive, "", "before-rename", "after-ledger")
        verdict(archive)

    def test_of_the_scheduler(self, archive: Archive):
        took_s = kill_scheduler(archive)
        print(f"the command ended {took_s:.1f} s after its scheduler")
        verdict(archive)


@pytest.mark.long
@pytest.mark.timeout(7200)
class TestTheCampaign:
    """At least a hundred kills over all kinds; ``pytest -m long -s`` shows the table."""

    def test_a_hundred_kills(self, archive: Archive):
        for _ in range(2):
            for seal in SEAL_POINTS:
                kill_command(archive, 0, *archive.dice.sample(SHARD_POINTS, 3), seal)
            kill_part(archive, *SHARD_POINTS[:3], "")
            kill_part(archive, *SHARD_POINTS[3:], "")
            kill_command(archive, 0, *[""] * 4)
            kill_workers(archive, kills=5)
            print(archive.table(), flush=True)
        for _ in range(2):
            kill_command(archive, 0, *[""] * 4)
            kill_command(archive, 2, *[""] * 3)
            kill_workers(archive, kills=5)
        for point in POINTS:
            kill_workers(archive, (point,))
        print(archive.table(), flush=True)
        for _ in range(10):
            kill_scheduler(archive)
        while archive.kills() < KILLS:  # some ended by themselves before they were killed
            kill_command(archive, 0, *archive.dice.sample(SHARD_POINTS, 3), "")
        verdict(archive)
