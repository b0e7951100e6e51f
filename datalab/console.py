"""What the datalab says while it works: on standard error, so that output can be piped."""

from rich.console import Console

console = Console(stderr=True, highlight=False)


def say(text: str) -> None:
    """Print a line for the user; paths and brackets stay as they are."""
    console.print(text, markup=False, soft_wrap=True)
