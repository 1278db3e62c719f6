"""Do storage operations again while storage reports what may pass."""

from __future__ import annotations

import errno
import random
import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["TRANSIENT_ERRORS", "retried"]

STORAGE_TRIES = 4
"""Times that an operation is tried."""

STORAGE_WAIT_S = 0.5
"""Seconds before the second try; doubled each time, give or take a quarter by chance."""

TRANSIENT_ERRORS = frozenset(
    {
        errno.EIO,
        errno.EAGAIN,
        errno.EBUSY,
        errno.EINTR,
        errno.ESTALE,
        errno.ETIMEDOUT,
        errno.ENETDOWN,
        errno.ENETUNREACH,
        errno.ENOLCK,
    }
)
"""What networked storage reports for a while; a full or read-only disk is not among them."""

T = TypeVar("T")


def retried(operation: Callable[[], T]) -> T:
    """Call an operation that may be called twice, again while it fails with a passing error."""
    wait_s = STORAGE_WAIT_S
    for _ in range(STORAGE_TRIES - 1):
        try:
            return operation()
        except Exception as error:
            if not _may_pass(error):
                raise
        # not all of many workers at once
        time.sleep(wait_s * random.uniform(0.75, 1.25))  # noqa: S311
        wait_s *= 2
    return operation()


def _may_pass(error: BaseException | None) -> bool:
    """Whether storage reported an error that may pass, or the one that this error came of.

    Readers of sources translate what storage reports. GDAL does not tell: its errors never pass.
    """
    while error is not None:
        if isinstance(error, OSError) and error.errno in TRANSIENT_ERRORS:
            return True
        error = error.__cause__ or error.__context__
    return False
