"""The command ``tilepress``, also as ``python -m tilepress``.

A stop signal that comes before the command knows what to do with it, or when it is over, ends the
process as it would have ended in between: with exit code 130, and no traceback.
"""

import os
import signal
from typing import NoReturn

EXIT_INTERRUPTED = 130
"""As in workflows/interrupt.py, which would have to be imported first."""


def main() -> NoReturn:
    """Run the command line and exit."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: os._exit(EXIT_INTERRUPTED))
    from tilepress.workflows.cli import main as run

    run()


if __name__ == "__main__":
    main()
