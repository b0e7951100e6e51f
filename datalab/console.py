"""What the datalab says while it works: on standard error, so that output can be piped."""

import sys
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console


@cache
def console() -> "Console":
    """The terminal, or what stands in for it."""
    from rich.console import Console  # slow to import, and not needed to say `status`

    return Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print a line for the user; paths and brackets stay as they are."""
    console().print(as_called(text), markup=False, soft_wrap=True)


def as_called(text: str) -> str:
    """``text``, which names the command in full, with the command as the user gave it."""
    return text.replace("python -m datalab", "datalab") if is_installed_command() else text


def is_installed_command() -> bool:
    """Whether this is the command ``datalab``, and not ``python -m datalab`` or a library."""
    return Path(sys.argv[0]).name == "datalab"
