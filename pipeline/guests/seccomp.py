"""Seccomp: a process gives up system calls that no decoder needs (Linux 3.5, seccomp(2)).

Refused are new connections, other programs and processes, raising one's own limits, tracing and
mounting, and what changes files beside their content, which Landlock does not hold. A refused call
fails with EPERM; clone3, whose arguments a filter cannot see, with ENOSYS, so that libraries fall
back to clone.
"""

from __future__ import annotations

import ctypes
import errno
import os
import struct
import sys
from collections.abc import Iterator
from functools import cache

__all__ = ["filter_calls", "is_known_machine", "prepare"]

_CALLS = {
    # name: (x86-64, AArch64); None where the architecture has no such call
    "accept": (43, 202),
    "accept4": (288, 242),
    "acct": (163, 89),
    "add_key": (248, 217),
    "adjtimex": (159, 171),
    "bind": (49, 200),
    "bpf": (321, 280),
    "chmod": (90, None),
    "chown": (92, None),
    "chroot": (161, 51),
    "clock_adjtime": (305, 266),
    "clock_settime": (227, 112),
    "connect": (42, 203),
    "delete_module": (176, 106),
    "execve": (59, 221),
    "execveat": (322, 281),
    "fchmod": (91, 52),
    "fchmodat": (268, 53),
    "fchmodat2": (452, 452),
    "fchown": (93, 55),
    "fchownat": (260, 54),
    "finit_module": (313, 273),
    "fork": (57, None),
    "fremovexattr": (199, 16),
    "fsconfig": (431, 431),
    "fsetxattr": (190, 7),
    "fsmount": (432, 432),
    "fsopen": (430, 430),
    "fspick": (433, 433),
    "futimesat": (261, None),
    "init_module": (175, 105),
    "io_uring_enter": (426, 426),
    "io_uring_register": (427, 427),
    "io_uring_setup": (425, 425),
    "kexec_file_load": (320, 294),
    "kexec_load": (246, 104),
    "keyctl": (250, 219),
    "kill": (62, 129),
    "lchown": (94, None),
    "listen": (50, 201),
    "lremovexattr": (198, 15),
    "lsetxattr": (189, 6),
    "mount": (165, 40),
    "mount_setattr": (442, 442),
    "move_mount": (429, 429),
    "mq_open": (240, 180),
    "msgget": (68, 186),
    "open_by_handle_at": (304, 265),
    "open_tree": (428, 428),
    "perf_event_open": (298, 241),
    "pidfd_getfd": (438, 438),
    "pidfd_open": (434, 434),
    "pidfd_send_signal": (424, 424),
    "pivot_root": (155, 41),
    "process_madvise": (440, 440),
    "process_vm_readv": (310, 270),
    "process_vm_writev": (311, 271),
    "ptrace": (101, 117),
    "quotactl": (179, 60),
    "reboot": (169, 142),
    "removexattr": (197, 14),
    "request_key": (249, 218),
    "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240),
    "semget": (64, 190),
    "ioprio_set": (251, 30),
    "sched_setaffinity": (203, 122),
    "sched_setattr": (314, 274),
    "sched_setparam": (142, 118),
    "sched_setscheduler": (144, 119),
    "setpriority": (141, 140),
    "truncate": (76, 45),
    "setdomainname": (171, 162),
    "sethostname": (170, 161),
    "setns": (308, 268),
    "setrlimit": (160, 164),
    "settimeofday": (164, 170),
    "setxattr": (188, 5),
    "shmget": (29, 194),
    "socket": (41, 198),
    "swapoff": (168, 225),
    "swapon": (167, 224),
    "umount2": (166, 39),
    "unshare": (272, 97),
    "userfaultfd": (323, 282),
    "utime": (132, None),
    "utimensat": (280, 88),
    "utimes": (235, None),
    "vfork": (58, None),
}
"""What is refused whatever its arguments are."""

_CLONE, _CLONE3 = (56, 220), (435, 435)
_PRLIMIT = (302, 261)
_TKILL, _TGKILL = (200, 130), (234, 131)
_FCNTL = (72, 25)
_OWNERS = (8, 10, 15)
"""F_SETOWN, F_SETSIG and F_SETOWN_EX: to whom signals of a file go, and which."""
_MACHINES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the numbers above, and AUDIT_ARCH (linux/audit.h)."""

_CLONE_THREAD = 0x00010000
_X32 = 0x40000000

# instructions of the classic BPF (linux/bpf_common.h) and what they return (linux/seccomp.h)
_LOAD, _EQUAL, _AT_LEAST, _ANY_BIT, _RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
_ALLOW, _REFUSE, _KILL = 0x7FFF0000, 0x00050000, 0x80000000
_NUMBER_AT, _MACHINE_AT, _ARGUMENTS_AT = 0, 4, 16

_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("instructions", ctypes.c_char_p))


def is_known_machine() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return sys.platform == "linux" and os.uname().machine in _MACHINES


def filter_calls() -> bool:
    """Give the system calls up, in all threads to come; False where this machine is not known.

    Raises OSError where the kernel refuses.
    """
    if not is_known_machine() or struct.calcsize("P") != 8:
        return False
    column, machine = _MACHINES[os.uname().machine]
    code = _of_any_process(column, machine) + b"".join(_of_this_process(column, os.getpid()))
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    program = _Program(len(code) // 8, code)
    if libc.prctl(_PR_SET_SECCOMP, _FILTER, ctypes.byref(program), 0, 0):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return True


@cache
def _of_any_process(column: int, machine: int) -> bytes:
    """Return the larger part of the filter, which who forks may have put together before."""
    return b"".join(_instructions(column, machine))


def prepare() -> None:
    """Put together what the filters of processes that are forked from this one have in common."""
    if is_known_machine():
        _of_any_process(*_MACHINES[os.uname().machine])


def _instructions(column: int, machine: int) -> Iterator[bytes]:
    refused = _REFUSE | errno.EPERM
    yield _one(_LOAD, _MACHINE_AT)
    yield _one(_EQUAL, machine, 1, 0)
    yield _one(_RETURN, _KILL)
    yield _one(_LOAD, _NUMBER_AT)
    yield _one(_AT_LEAST, _X32, 0, 1)
    yield _one(_RETURN, refused)
    found = (call[column] for call in _CALLS.values())
    for number in sorted(number for number in found if number is not None):
        yield _one(_EQUAL, number, 0, 1)
        yield _one(_RETURN, refused)
    yield _one(_EQUAL, _CLONE3[column], 0, 1)
    yield _one(_RETURN, _REFUSE | errno.ENOSYS)
    # a thread may be begun, a process not
    yield _one(_EQUAL, _CLONE[column], 0, 4)
    yield _one(_LOAD, _ARGUMENTS_AT)
    yield _one(_ANY_BIT, _CLONE_THREAD, 1, 0)
    yield _one(_RETURN, refused)
    yield _one(_RETURN, _ALLOW)
    # limits may be asked for, not set: the new ones are the third argument, a pointer
    yield _one(_EQUAL, _PRLIMIT[column], 0, 6)
    yield _one(_LOAD, _ARGUMENTS_AT + 16)
    yield _one(_EQUAL, 0, 0, 3)
    yield _one(_LOAD, _ARGUMENTS_AT + 20)
    yield _one(_EQUAL, 0, 0, 1)
    yield _one(_RETURN, _ALLOW)
    yield _one(_RETURN, refused)
    # signals of a file are signals to others
    yield _one(_EQUAL, _FCNTL[column], 0, 2 + 2 * len(_OWNERS))
    yield _one(_LOAD, _ARGUMENTS_AT + 8)
    for command in _OWNERS:
        yield _one(_EQUAL, command, 0, 1)
        yield _one(_RETURN, refused)
    yield _one(_RETURN, _ALLOW)


def _of_this_process(column: int, own: int) -> Iterator[bytes]:
    """Yield the end of the filter: abort() sends a signal to its own process."""
    refused = _REFUSE | errno.EPERM
    yield _one(_EQUAL, _TGKILL[column], 0, 4)
    yield _one(_LOAD, _ARGUMENTS_AT)
    yield _one(_EQUAL, own, 1, 0)
    yield _one(_RETURN, refused)
    yield _one(_RETURN, _ALLOW)
    yield _one(_EQUAL, _TKILL[column], 0, 1)
    yield _one(_RETURN, refused)
    yield _one(_RETURN, _ALLOW)


def _one(code: int, value: int, if_true: int = 0, if_false: int = 0) -> bytes:
    return struct.pack("=HBBI", code, if_true, if_false, value)
