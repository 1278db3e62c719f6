"""Files that a hostile reader reads, in guests."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.hostile_format import MAGIC

from tilepress.pipeline.guests import client, hosts, source
from tilepress.pipeline.guests.source import GuestSource
from tilepress.pipeline.image.source import SourceSpec

MODULES = ("tests.helpers.hostile_format",)

Opens = Callable[[str], GuestSource]


ROOT = Path(__file__).resolve().parents[3]


def find_hostile_format(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let hosts that begin from now on find the tests' own modules."""
    if str(ROOT) not in os.environ.get("PYTHONPATH", "").split(os.pathsep):
        paths = [str(ROOT), os.environ.get("PYTHONPATH", "")]
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, paths)))
        hosts._close_hosts()


@pytest.fixture
def opens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Opens]:
    """Return a function that opens a file whose reader does a deed."""
    if not client.are_possible():
        pytest.skip("guests need Linux" if sys.platform != "linux" else "guests are switched off")
    find_hostile_format(monkeypatch)
    with contextlib.ExitStack() as opened:

        def opens(deed: str) -> GuestSource:
            path = tmp_path / "image.hostile"
            path.write_bytes(MAGIC + deed.encode())
            return again(
                SourceSpec(kind="hostile", paths=(str(path),), options={"name": "hostile"})
            )

        def again(spec: SourceSpec) -> GuestSource:
            found = GuestSource(spec, MODULES, whole_folders=False)
            opened.callback(found.close)
            return found

        opens.again = again
        yield opens
    while source._waiting:
        source._waiting.popitem()[1].close()
