"""Close the box around this process, for good: it reads what it was given, and nothing else."""

from __future__ import annotations

import os
import resource
import site
import sys
from collections.abc import Iterable

from tilepress.pipeline.guests import landlock, seccomp

__all__ = ["close", "libraries", "offered"]

_SYSTEM = (
    "/usr", "/lib", "/lib64", "/etc/ld.so.cache", "/etc/localtime",
    "/dev/null", "/dev/urandom",
)  # fmt: skip
"""What the interpreter and its libraries read on their own."""

_LIBRARY_DATA = ("GDAL_DATA", "PROJ_DATA", "PROJ_LIB")


def close(readable: Iterable[str], libraries: Iterable[str], scratch: str | None = None) -> None:
    """Give up files beside ``readable`` and ``libraries``, the network, programs, core dumps.

    In the folder ``scratch`` folders and links may be made, and removed, but no files.
    """
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    landlock.allow_only([*readable, *libraries], scratch)
    seccomp.filter_calls()


def offered() -> dict[str, int | bool]:
    """Return what this machine's kernel can hold guests by, as JSON."""
    return {"landlock": landlock.version(), "seccomp": seccomp.is_known_machine()}


def libraries() -> list[str]:
    """Return what the interpreter, its libraries and its modules are read from.

    The search path itself is not: it may have the working folder on it, or a home.
    """
    named = [*_SYSTEM, sys.prefix, sys.base_prefix]
    if site.ENABLE_USER_SITE:
        named.append(site.getusersitepackages())
    for name in _LIBRARY_DATA:
        named += filter(None, os.environ.get(name, "").split(os.pathsep))
    for module in list(sys.modules.values()):
        folders, file = getattr(module, "__path__", None), getattr(module, "__file__", None)
        if folders is not None:
            named += map(str, folders)
        elif isinstance(file, str):
            named.append(file)
    found: list[str] = []
    for path in sorted({os.path.realpath(path) for path in named if os.path.exists(path)}):
        if not found or not path.startswith(f"{found[-1]}/"):  # those below are allowed with it
            found.append(path)
    return found
