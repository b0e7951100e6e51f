"""Programs of this machine: what they say that they are."""

import subprocess
from collections.abc import Sequence
from os import PathLike


def said(program: str | PathLike[str], words: Sequence[str] = ("--version",)) -> str:
    """What a program prints when it is asked for its version; nothing where it does not run."""
    try:
        done = subprocess.run(
            [program, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # it may be any program
            timeout=60,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""
