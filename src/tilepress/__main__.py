"""The command ``tilepress``, also as ``python -m tilepress``.

A stop signal that comes before the command knows what to do with it, or when it is over, ends the
process as it would have ended in between: with exit code 130, and no traceback.
"""

import sys
from typing import NoReturn

from tilepress.errors import UsageError
from tilepress.workflows.environment import check_interpreter, prepare
from tilepress.workflows.interrupts import end_when_asked


def main() -> NoReturn:
    """Run the command line and exit."""
    end_when_asked()
    prepare()
    try:
        check_interpreter()
    except UsageError as error:
        from tilepress.workflows.cli.console import EXIT_USAGE, complain

        complain(str(error))
        sys.exit(EXIT_USAGE)
    from tilepress.workflows.cli.app import main as run

    run()


if __name__ == "__main__":
    main()
