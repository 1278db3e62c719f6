"""Sources are of C11 alone: each names the headers that it takes its types from."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from ...helpers.native import CODECS, compiler

SOURCES = sorted(CODECS.glob("*/native/*.c"))
OF_EVERY_MACHINE = [one for one in SOURCES if "_avx" not in one.stem]


@pytest.mark.parametrize("source", OF_EVERY_MACHINE, ids=lambda one: f"{one.parts[-3]}-{one.stem}")
def test_a_strict_compiler_takes_it(source: Path) -> None:
    """Without GNU's extensions headers of the C library bring fewer names along."""
    command = [*compiler(), "-std=c11", "-fsyntax-only", f"-I{CODECS / 'native'}", str(source)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
