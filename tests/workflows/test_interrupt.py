"""A stop signal ends the command wherever it falls, also where Python drops exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable

import pytest

from tilepress.workflows.interrupt import interrupts

WAIT_S = 10.0


class Asks:
    """Sends the signal to its own process from a destructor, where an exception is dropped."""

    def __init__(self, number: signal.Signals) -> None:
        self.number = number

    def __del__(self) -> None:
        os.kill(os.getpid(), self.number)
        for _ in range(1000):  # the handler runs between these steps
            pass


def was_interrupted(ask: Callable[[], object]) -> bool:
    """Whether a block that asks for its own end and then waits is interrupted."""
    try:
        with interrupts():
            ask()
            time.sleep(WAIT_S)
    except KeyboardInterrupt:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
class TestInterrupts:
    """SIGINT and SIGTERM mean the same."""

    def test_it_is_raised(self, number: signal.Signals):
        assert was_interrupted(lambda: os.kill(os.getpid(), number))

    def test_it_is_not_lost_in_a_destructor(
        self, number: signal.Signals, capfd: pytest.CaptureFixture[str]
    ):
        assert was_interrupted(lambda: Asks(number))
        assert "Traceback" not in capfd.readouterr().err

    def test_handlers_are_put_back(self, number: signal.Signals):
        before, hook = signal.getsignal(number), sys.unraisablehook
        with interrupts():
            assert signal.getsignal(number) is not before
        assert signal.getsignal(number) is before
        assert sys.unraisablehook is hook

    def test_the_second_ends_the_process(self, number: signal.Signals):
        script = (
            "import os, time\n"
            "from tilepress.workflows.interrupt import interrupts\n"
            "with interrupts():\n"
            "    try:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "        time.sleep(10)\n"
            "    finally:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "        time.sleep(10)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 130


def test_other_errors_of_destructors_are_still_told():
    script = (
        "from tilepress.workflows.interrupt import interrupts\n"
        "class Fails:\n"
        "    def __del__(self): raise ValueError('seen')\n"
        "with interrupts():\n"
        "    Fails()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert b"ValueError: seen" in done.stderr
