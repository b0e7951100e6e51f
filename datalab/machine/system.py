"""The systems that the datalab runs on."""

import sys

from datalab.errors import DatalabError


def check() -> None:
    """Look whether this is one of them.

    Raises
    ------
    DatalabError
        It is Windows, whose processes know no signals.
    """
    if sys.platform == "win32":
        raise DatalabError(
            "The datalab runs on Linux and on macOS, not on Windows itself.",
            "Install the Windows Subsystem for Linux (`wsl --install` in PowerShell), and "
            "start the datalab in its Linux terminal.",
        )
