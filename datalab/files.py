"""Write a file whole or not at all."""

import os
from pathlib import Path


def write(file: Path, text: str, mode: int = 0o600) -> None:
    """Replace ``file`` by ``text``; whoever reads it meanwhile finds the old one or the new.

    Parameters
    ----------
    mode
        Of the file, from its first moment on.
    """
    unfinished = file.with_name(f"{file.name}.{os.getpid()}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        opened = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode | 0o200)
        with os.fdopen(opened, "w") as stream:
            stream.write(text)
        unfinished.chmod(mode)
        unfinished.replace(file)
    finally:
        unfinished.unlink(missing_ok=True)
