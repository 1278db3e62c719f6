"""The device code gives the CPU's bytes: in numba's simulator, compiled for the CPU, on a device.

Each in a process of its own, because the simulator must be switched on before numba is imported.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tilepress.codecs.wave.cuda.backend import cuda_available

_CHECKS = Path(__file__).with_name("checks.py")
_SCALAR_CHECKS = Path(__file__).with_name("scalar_checks.py")


def run_checks(checks: Path = _CHECKS, **variables: str) -> int:
    """Run checks in a child; returns how many passed."""
    not_theirs = ("NUMBA_ENABLE_CUDASIM", "TILEPRESS_NO_SKIPS")  # some of them need a device
    environment = {k: v for k, v in os.environ.items() if k not in not_theirs}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(checks)]
    child = subprocess.run(
        command, env=environment | variables, capture_output=True, text=True, timeout=900
    )
    assert child.returncode == 0, child.stdout[-4000:] + child.stderr[-2000:]
    passed = re.search(r"(\d+) passed", child.stdout)
    assert passed, child.stdout
    return int(passed[1])


class TestDeviceCodeGivesTheBytesOfTheCpu:
    @pytest.mark.slow
    @pytest.mark.timeout(900)
    def test_in_the_simulator(self) -> None:
        assert run_checks(NUMBA_ENABLE_CUDASIM="1") >= 24

    @pytest.mark.long
    @pytest.mark.timeout(900)
    def test_compiled_for_one_thread(self) -> None:
        """Numba's typing, which the simulator does not have, and planes of full size."""
        assert run_checks(NUMBA_ENABLE_CUDASIM="1", TILEPRESS_CUDA_TYPED="1") >= 27

    @pytest.mark.gpu
    def test_on_a_device(self) -> None:
        if not cuda_available():
            pytest.skip("no CUDA device: the device code ran in numba's simulator only")
        assert run_checks() >= 27


class TestScalarArithmeticIsTheHeaders:
    def test_function_by_function(self) -> None:
        assert run_checks(_SCALAR_CHECKS, NUMBA_ENABLE_CUDASIM="1") >= 15


class TestWithoutADeviceNothingIsLoaded:
    def test_importing_the_module_leaves_cuda_alone(self) -> None:
        code = (
            "import sys, tilepress.codecs.wave.cuda.backend; "
            "sys.exit(any(m.startswith('numba.cuda') for m in sys.modules))"
        )
        assert subprocess.run([sys.executable, "-c", code], timeout=120).returncode == 0
