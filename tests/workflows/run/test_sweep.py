"""What was replaced goes when it is due, beside the work; an error that nobody expected is told."""

from __future__ import annotations

import pytest

from tilepress.pipeline.archive.lease import LeaseKeeper
from tilepress.workflows.run import sweep
from tilepress.workflows.run.sweep import Sweeper


@pytest.fixture
def swept(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    found: list[str] = []
    monkeypatch.setattr(sweep, "clear_leftovers", lambda store, _: found.append(store))
    return found


@pytest.fixture
def sweeper() -> Sweeper:
    return Sweeper(LeaseKeeper())


def test_nothing_goes_before_it_is_due(swept: list[str], sweeper: Sweeper):
    sweeper.add("a.zarr")
    sweeper.start_due()
    sweeper.close()
    assert swept == []


def test_the_end_of_a_run_waits_for_all(
    swept: list[str], sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(sweep, "READERS_S", 0.05)
    for store in ("a.zarr", "b.zarr"):
        sweeper.add(store)
    sweeper.finish()
    sweeper.close()
    assert sorted(swept) == ["a.zarr", "b.zarr"]


@pytest.mark.parametrize("error", [OSError("storage"), AssertionError("a mistake")])
def test_storage_may_fail_and_nothing_else(
    sweeper: Sweeper, monkeypatch: pytest.MonkeyPatch, error: Exception
):
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr(sweep, "READERS_S", 0.0)
    monkeypatch.setattr(sweep, "clear_leftovers", fail)
    sweeper.add("a.zarr")
    if isinstance(error, OSError):
        sweeper.finish()
        return
    with pytest.raises(AssertionError, match="a mistake"):
        sweeper.finish()
