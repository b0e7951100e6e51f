"""``python -m datalab``, and the command ``datalab``."""

import sys

from datalab.errors import DatalabError
from datalab.machine import system


def main() -> int:
    """Run one command, on a system that can."""
    try:
        system.check()
    except DatalabError as error:
        print(f"datalab: {error}", file=sys.stderr)
        return 1
    from datalab.cli import main as run  # Windows could not import it

    return run()


if __name__ == "__main__":
    sys.exit(main())
