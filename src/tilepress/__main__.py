"""Let ``python -m tilepress`` be the command ``tilepress``."""

from tilepress.workflows.cli import main

if __name__ == "__main__":
    main()
