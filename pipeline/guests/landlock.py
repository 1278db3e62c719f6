"""Landlock: a process gives up all files but those that it names (Linux 5.13, landlock(7)).

No way back, no privilege needed, and root is held by it, too. What the kernel is too old for stays
allowed: ``version`` tells which.
"""

from __future__ import annotations

import ctypes
import os
import stat
import struct
import sys
from collections.abc import Iterable

__all__ = ["allow_only", "version"]

# system calls, the same numbers on every architecture
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_CREATE_RULESET_VERSION = 1
_RULE_PATH_BENEATH = 1

# rights to files (linux/landlock.h)
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_REMOVE_DIR, _REMOVE_FILE, _MAKE_DIR, _MAKE_SYM = 1 << 4, 1 << 5, 1 << 7, 1 << 12
_READING = _READ_FILE | _READ_DIR
_LINKING = _REMOVE_DIR | _REMOVE_FILE | _MAKE_DIR | _MAKE_SYM
_FILE_RIGHTS = (
    (1, 13),  # version, number of the rights known to it: the lowest bits
    (2, 14),  # REFER
    (3, 15),  # TRUNCATE
    (5, 16),  # IOCTL_DEV
)
_NETWORK_RIGHTS = 3
"""To bind and to connect by TCP; from version 4 on."""
_SCOPES = 3
"""Abstract Unix sockets of, and signals to, processes outside; from version 6 on."""

_PR_SET_NO_NEW_PRIVS = 38

_libc = ctypes.CDLL(None, use_errno=True)


def version() -> int:
    """Return the version of Landlock that this kernel has; 0 where it has none."""
    if sys.platform != "linux":
        return 0
    found: int = _libc.syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _CREATE_RULESET_VERSION)
    return max(found, 0)


def allow_only(paths: Iterable[str], scratch: str | None = None) -> int:
    """Give up all files but those at and below ``paths``, which may be read; return the version.

    In the folder ``scratch`` folders and links may be made, and removed.

    Also given up, where the kernel knows how: TCP, and signals to others. Paths that are not there
    are passed over: nothing is at them. Returns 0, with nothing given up, where the kernel has no
    Landlock; raises OSError where it refuses.
    """
    found = version()
    if not found:
        return 0
    rights = max(count for since, count in _FILE_RIGHTS if found >= since)
    words = [(1 << rights) - 1]
    if found >= 4:
        words.append(_NETWORK_RIGHTS)
    if found >= 6:
        words.append(_SCOPES)
    attributes = struct.pack(f"={len(words)}Q", *words)
    ruleset = _called(_CREATE_RULESET, attributes, ctypes.c_size_t(len(attributes)), 0)
    try:
        for path in paths:
            _allow(ruleset, path, _READING)
        if scratch is not None:
            _allow(ruleset, scratch, _READING | _LINKING)
        _libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
        _called(_RESTRICT_SELF, ruleset, 0)
    finally:
        os.close(ruleset)
    return found


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        return
    try:
        if not stat.S_ISDIR(os.fstat(opened).st_mode):
            rights &= _READ_FILE
        _called(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, struct.pack("=Qi", rights, opened), 0)
    finally:
        os.close(opened)


def _called(number: int, *arguments: object) -> int:
    result: int = _libc.syscall(number, *arguments)
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result
