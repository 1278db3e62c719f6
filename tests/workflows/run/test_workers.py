"""Who does the work, and that it can."""

from __future__ import annotations

import errno
import multiprocessing.context

import pytest

from tilepress.errors import UsageError
from tilepress.pipeline.archive.options import EncodeOptions
from tilepress.workflows.run.workers import make_executor


def test_shared_memory_that_cannot_be_written_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers whose /dev/shm is read-only."""

    def refused(_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(multiprocessing.context.ForkContext, "Lock", refused)
    with pytest.raises(UsageError, match=r"/dev/shm\) cannot be used: Read-only .* --workers 0"):
        make_executor(1, None, "cpu", EncodeOptions.of({}), None)
    make_executor(0, None, "cpu", EncodeOptions.of({}), None)
