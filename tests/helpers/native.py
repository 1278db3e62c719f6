"""Other builds of the native library: without optimisation, or with memory checked."""

from __future__ import annotations

import os
import platform
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from tilepress.codecs.native.library import FILE_VARIABLE

CODECS = Path(__file__).parents[2] / "codecs"
_AVX2 = ["-mavx2", "-mbmi", "-mbmi2", "-mlzcnt"]
_AVX512 = [*_AVX2, *(f"-mavx512{name}" for name in ("f", "bw", "vl", "cd", "dq", "vnni"))]


def compiler() -> list[str]:
    """Return the command of a C compiler; skips where there is none."""
    if said := os.environ.get("CC"):
        return shlex.split(said)
    for name in ("cc", "gcc", "clang"):
        if found := shutil.which(name):
            return [found]
    pytest.skip("no C compiler is installed")


def built(library: Path, *flags: str) -> Path:
    """Compile the sources with more flags; returns the library."""
    folder = library.with_suffix("")
    folder.mkdir(parents=True)
    always = ["-std=c11", "-fPIC", "-ffp-contract=off", f"-I{CODECS / 'native'}"]
    x86 = platform.machine().lower() in ("x86_64", "amd64")
    objects, running = [], []
    for source in sorted(CODECS.glob("*/native/*.c")):
        sets = {"avx2": _AVX2, "avx512": _AVX512}.get(source.stem.rpartition("_")[2], [])
        if sets and not x86:
            continue
        if sets and "-DTP_EMULATED" in flags:
            sets = _AVX2
        objects.append(str(folder / f"{source.parts[-3]}-{source.stem}.o"))
        command = [*compiler(), *always, *flags, *sets, "-c", str(source), "-o", objects[-1]]
        running.append(subprocess.Popen(command))
    assert [child.wait() for child in running] == [0] * len(objects)
    command = [*compiler(), *flags, "-shared", "-o", str(library), *objects, "-lm"]
    subprocess.run(command, check=True)
    return library


def checked(library: Path) -> dict[str, str]:
    """Compile with every access to memory checked; returns the environment of a child with it."""
    sanitizers = ("-fsanitize=address,undefined", "-fno-sanitize-recover=all")
    file = built(library, "-O1", "-g", "-fno-omit-frame-pointer", *sanitizers)
    runtime = subprocess.run(
        [*compiler(), "-print-file-name=libasan.so"], check=True, capture_output=True, text=True
    )
    return {
        FILE_VARIABLE: str(file),
        "LD_PRELOAD": runtime.stdout.strip(),
        "ASAN_OPTIONS": "detect_leaks=0",  # the interpreter's own
    }
