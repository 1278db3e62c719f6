"""Files that a hostile reader reads, in guests."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.helpers.hostile_format import MAGIC

from tilepress.pipeline.guests import client, source
from tilepress.pipeline.guests.source import GuestSource
from tilepress.pipeline.image.source import SourceSpec

MODULES = ("tests.helpers.hostile_format",)

Opens = Callable[[str], GuestSource]


@pytest.fixture
def opens(tmp_path: Path) -> Iterator[Opens]:
    """Return a function that opens a file whose reader does a deed."""
    if not client.are_possible():
        pytest.skip("guests need Linux" if sys.platform != "linux" else "guests are switched off")
    with contextlib.ExitStack() as opened:

        def opens(deed: str) -> GuestSource:
            path = tmp_path / "image.hostile"
            path.write_bytes(MAGIC + deed.encode())
            spec = SourceSpec(kind="hostile", paths=(str(path),), options={"name": "hostile"})
            found = GuestSource(spec, MODULES, whole_folders=False)
            opened.callback(found.close)
            return found

        yield opens
    while source._waiting:
        source._waiting.popitem()[1].close()
