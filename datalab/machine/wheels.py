"""Programs that come as Python packages, into folders of their own in the cache."""

import os
import subprocess
import sys
from pathlib import Path


def install(locked: Path, folder: Path) -> str:
    """Install what a file of requirements locks, with hashes, into ``folder``.

    Returns
    -------
    str
        Why that failed, in the installer's words; empty if it did not.
    """
    done = subprocess.run(
        [
            *(sys.executable, "-m", "uv", "pip", "install", "--quiet"),
            *("--python", sys.executable, "--target", str(folder)),
            *("--require-hashes", "--requirement", str(locked)),
        ],
        capture_output=True,
        text=True,
        # an unreachable index is a matter of seconds
        env={"UV_SYSTEM_CERTS": "1", "UV_HTTP_RETRIES": "1", **os.environ},
    )
    if done.returncode == 0:
        return ""
    said = done.stderr.strip().splitlines() or ["no reason given"]
    return "\n".join(said[-3:]).strip()
