"""Is there a cluster here? If not, the cells that need one say so, and nothing fails.

A notebook of the course that uses Spark has the line ``# on the cluster`` among the comments
at the top of those cells, and calls ``spark_is_here()`` once.
"""

import os
import socket
from importlib.util import find_spec
from itertools import takewhile
from urllib.parse import urlsplit

MARK = "# on the cluster"
#: Where a Spark Connect server answers: Spark's own variable.
REMOTE = "SPARK_REMOTE"
NEXT_STEP = (
    "On the SSP Cloud, open this notebook in the service jupyter-pyspark. On a laptop, start "
    "the datalab with `python -m datalab up --with spark`, then the notebook."
)
SKIPPED = "Not run: there is no cluster here. The text says what it shows."


def needs_client() -> bool:
    """Whether a Spark server is named, and this Python cannot speak to it yet.

    Services with Spark have the module ``pyspark`` without its name in the list of packages.
    """
    return REMOTE in os.environ and find_spec("pyspark") is None


def spark_is_here() -> bool:
    """Whether this notebook can have a Spark session.

    That is so if ``SPARK_REMOTE`` names a server that answers, or if Spark itself is
    installed, as in the service jupyter-pyspark. Otherwise a sentence says what is missing,
    and from now on each cell marked ``# on the cluster`` prints that it was not run.
    """
    problem = _problem()
    _skip_cells(bool(problem))
    if problem:
        print(problem, NEXT_STEP, sep="\n")
    return not problem


def _problem() -> str:
    """Why there is no session to be had; empty if there is one."""
    address = os.environ.get(REMOTE, "")
    if find_spec("pyspark") is None:
        return "There is no cluster here: this Python has no Spark."
    if not address:
        # Spark itself needs py4j, which its client for remote servers lacks
        return "" if find_spec("py4j") else f"There is no cluster here: {REMOTE} is not set."
    parts = urlsplit(address)
    try:
        socket.create_connection((parts.hostname or "", parts.port or 15002), timeout=10).close()
    except (OSError, ValueError):
        return f"There is no cluster here: {REMOTE} is {address}, where nothing answers."
    return ""


def _skip_cells(skip: bool) -> None:
    """Let this notebook skip the marked cells, or run them."""
    from IPython.core.getipython import get_ipython

    shell = get_ipython()
    if shell is None:  # a program of its own
        return
    hooks = shell.input_transformers_cleanup
    hooks[:] = [hook for hook in hooks if hook is not _not_run]
    if skip:
        hooks.append(_not_run)


def _not_run(lines: list[str]) -> list[str]:
    """A cell as it is; one that needs the cluster as a print that says it was not run."""
    # a folded cell has a comment of its own above the mark
    comments = takewhile(lambda line: line.startswith("#"), lines)
    marked = any(line.strip() == MARK for line in comments)
    return [f"print({SKIPPED!r})\n"] if marked else lines
