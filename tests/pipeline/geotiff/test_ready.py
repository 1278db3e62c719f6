"""What is done before the first raster leaves nothing that a fork would lose."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from tilepress.pipeline.geotiff.ready import prepare


@pytest.mark.skipif(sys.platform != "linux", reason="threads are counted in /proc")
def test_it_leaves_no_thread_and_no_file_of_its_own() -> None:
    prepare()  # what PROJ keeps open is open now
    threads, files = Path("/proc/self/task"), Path("/proc/self/fd")
    before = [len(os.listdir(one)) for one in (threads, files)]
    prepare()
    assert [len(os.listdir(one)) for one in (threads, files)] == before
