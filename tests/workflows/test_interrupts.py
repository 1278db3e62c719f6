"""A stop signal ends the command wherever it falls, also where Python drops exceptions."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tilepress.workflows.interrupts import interrupts

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

    def test_the_timer_of_another_is_left_alone(self, number: signal.Signals):
        signal.setitimer(signal.ITIMER_REAL, WAIT_S)
        with interrupts():
            pass
        assert signal.setitimer(signal.ITIMER_REAL, 0)[0] > 0

    def test_the_second_ends_the_process(self, number: signal.Signals):
        script = (
            "import os, time\n"
            "from tilepress.workflows.interrupts import interrupts\n"
            "with interrupts():\n"
            "    try:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "        time.sleep(10)\n"
            "    finally:\n"
            f"        os.kill(os.getpid(), {int(number)})\n"
            "        time.sleep(10)\n"
        )
        assert subprocess.run([sys.executable, "-c", script], timeout=60).returncode == 130


def test_the_exit_code_is_kept_where_executed_text_was_interrupted(tmp_path: Path):
    """As while torch is imported: Python itself would end ``python -m`` by the signal then."""
    (tmp_path / "interrupted.py").write_text(
        "import os, signal, sys\n"
        "from tilepress.workflows.interrupts import interrupts\n"
        "try:\n"
        "    with interrupts():\n"
        "        exec('os.kill(os.getpid(), signal.SIGINT)\\nwhile True: pass')\n"
        "except KeyboardInterrupt:\n"
        "    sys.exit(130)\n"
    )
    line = [sys.executable, "-m", "interrupted"]
    assert subprocess.run(line, cwd=tmp_path, timeout=60).returncode == 130


def test_other_errors_of_destructors_are_still_told():
    script = (
        "from tilepress.workflows.interrupts import interrupts\n"
        "class Fails:\n"
        "    def __del__(self): raise ValueError('seen')\n"
        "with interrupts():\n"
        "    Fails()\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, timeout=60)
    assert done.returncode == 0
    assert b"ValueError: seen" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_command_that_still_imports_its_libraries_ends_as_later(number: signal.Signals):
    line = [sys.executable, "-X", "importtime", "-m", "tilepress", "models"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        next(text for text in process.stderr if " typer." in text)
        process.send_signal(number)
        rest = process.stderr.read()
        assert process.wait(timeout=60) == 130
    assert "Traceback" not in rest
