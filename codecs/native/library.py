"""The compiled library, opened by ctypes, and its functions with their arrays checked.

    bind("tp_means", "iinwwi")(linears, corrections, n, gain, top, means)

No call holds the interpreter's lock. The library chooses the best instruction set that the machine
has; every one gives the same bits.
"""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tilepress.codecs.native.elf import least_bytes
from tilepress.errors import CodecError

__all__ = [
    "ABI",
    "FILE_VARIABLE",
    "VARIABLE",
    "bind",
    "check_memory",
    "instruction_set",
    "instruction_sets",
]

ABI = 4
"""Number of the contract with the library: that of export.h, which says when it is raised."""

VARIABLE = "TILEPRESS_INSTRUCTIONS"
"""Names the instruction set to use, of ``instruction_sets``; for tests and comparisons."""

FILE_VARIABLE = "TILEPRESS_KERNEL"
"""Names another build of the library, as one that checks memory; for tests."""

_X86 = ("sse2", "avx2", "avx512")
_NO_MEMORY = 100
_ARRAYS = {
    letter: np.dtype(name)
    for letter, name in zip(
        "bBhHiIlds",
        ("int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "float64", "float32"),
        strict=True,
    )
}
_NUMBERS: dict[str, Any] = {
    "n": ctypes.c_int64,
    "w": ctypes.c_int32,
    "f": ctypes.c_double,
    "F": ctypes.c_float,
}
_RESULTS: dict[str, Any] = {
    "": None,
    "n": ctypes.c_int64,
    "w": ctypes.c_int32,
    "f": ctypes.c_double,
}


@cache
def _library() -> ctypes.CDLL:
    """Open the library; raises CodecError where it is missing, cut short, of another machine, or
    built from other sources than these modules call."""
    # beside this module, or where an editable installation has put it
    spec = find_spec("tilepress.codecs.native._kernel")
    file = Path(__file__).with_name("_kernel.so")
    if said := os.environ.get(FILE_VARIABLE):
        file = Path(said)
    elif spec is not None and spec.origin is not None:
        file = Path(spec.origin)
    try:
        content = file.read_bytes()
        if len(content) < (least := least_bytes(content)):  # to open it would end the process
            raise _unfit(file.name, f"is cut short: it has {len(content)} bytes of {least}")
        library = ctypes.CDLL(str(file))
    except OSError as error:
        why = f"cannot be opened ({error})" if file.exists() else "is missing"
        raise _unfit(file.name, why) from None
    found = library.tp_abi() if hasattr(library, "tp_abi") else "none"
    if found != ABI:
        why = f"is of another build: it has ABI {found}, these modules call {ABI}"
        raise _unfit(str(file), why)
    return library


def _unfit(file: str, why: str) -> CodecError:
    return CodecError(
        f"loading the native kernel: {file} {why}; install tilepress again (pip install "
        "--force-reinstall tilepress), or, in a source tree, run make native or pip install ."
    )


def bind(name: str, signature: str, result: str = "") -> Callable[..., int]:
    """Return a function of the library, which is opened at its first call.

    A letter of ``signature`` each: an array of int8 … float64 (``b B h H i I l d``) or float32
    (``s``), contiguous, or None; a number (``n`` 64 bits, ``w`` 32 bits, ``f`` a double, ``F`` a
    single); or ``p``, a structure. Another kind of array is a TypeError: nothing is converted in
    silence, and nothing copied.
    """
    kinds = [_ARRAYS.get(letter) for letter in signature]

    @cache
    def opened() -> Any:
        library = _library()
        function = getattr(library, name, None)
        if function is None:
            raise _unfit(library._name, f"has no function {name}")
        function.restype = _RESULTS[result]
        function.argtypes = [_NUMBERS.get(letter, ctypes.c_void_p) for letter in signature]
        return function

    def call(*args: Any) -> int:
        given = [
            arg if kind is None or arg is None else _address(arg, kind, name)
            for arg, kind in zip(args, kinds, strict=True)
        ]
        return opened()(*given)  # type: ignore[no-any-return]

    call.__code__ = call.__code__.replace(co_name=name)  # by which a profile tells them apart
    return call


def _address(array: Any, dtype: np.dtype[Any], name: str) -> int:
    if array.dtype != dtype or not array.flags.c_contiguous:
        raise TypeError(f"{name}: an array of {array.dtype}, not of contiguous {dtype}")
    return int(array.ctypes.data)


_kernels = bind("tp_kernels", "", "w")


@cache
def instruction_sets() -> tuple[str, ...]:
    """Return the instruction sets that this machine can run, the best last."""
    if platform.machine().lower() in ("x86_64", "amd64"):
        return _X86[: _kernels()]
    return ("neon" if platform.machine().lower() in ("aarch64", "arm64") else "plain",)


@cache
def instruction_set() -> int:
    """Return the number of the instruction set in use; raises CodecError."""
    sets = instruction_sets()
    said = os.environ.get(VARIABLE)
    if not said:
        return len(sets) - 1
    if said not in sets:
        raise CodecError(f"reading {VARIABLE}: {said!r}, this machine has {', '.join(sets)}")
    return sets.index(said)


def check_memory(fault: int) -> int:
    """Return what a function of the library said; raises MemoryError where it found none."""
    if fault == _NO_MEMORY:
        raise MemoryError("the native kernel found no memory for what it works in")
    return fault
