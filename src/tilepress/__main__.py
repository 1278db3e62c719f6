"""The command ``tilepress``, also as ``python -m tilepress``.

A stop signal that comes before the command knows what to do with it, or when it is over, ends the
process as it would have ended in between: with exit code 130, and no traceback.
"""

from typing import NoReturn

from tilepress.workflows.interrupts import end_when_asked


def main() -> NoReturn:
    """Run the command line and exit."""
    end_when_asked()
    from tilepress.workflows.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
