"""What the datalab says while it works: on standard error, so that output can be piped."""

from functools import cache
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
    console().print(text, markup=False, soft_wrap=True)
