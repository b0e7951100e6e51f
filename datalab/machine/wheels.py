"""Programs that come as Python packages, into folders of their own in the cache."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from filelock import FileLock

from datalab.console import say
from datalab.errors import DatalabError
from datalab.locks import held


def install(locked: Path, folder: Path, *options: str) -> str:
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
            *("--require-hashes", "--requirement", str(locked), *options),
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


def install_once(name: str, locked: Path, folder: Path, otherwise: str, *options: str) -> None:
    """Install into a folder of the cache, unless it is there; whole or not at all.

    Parameters
    ----------
    name
        Of the program, as shown to the user.
    otherwise
        What to do where that fails.

    Raises
    ------
    DatalabError
        It failed.
    """
    if folder.exists():
        return
    cache = folder.parent
    try:
        cache.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatalabError(
            f"The cache folder {cache} cannot be written: {error.strerror}.",
            "Set XDG_CACHE_HOME to a folder of yours.",
        ) from error
    with held(FileLock(cache / f"{folder.name}.lock"), f"Another datalab installs {name}"):
        if folder.exists():
            return
        say(f"Fetching {name}, once…")
        work = Path(tempfile.mkdtemp(dir=cache, prefix=f"{folder.name}-"))
        try:
            reason = install(locked, work, *options)
            if reason:
                said = f"{name} could not be installed. The installer said:\n{reason}"
                raise DatalabError(said[0].upper() + said[1:], otherwise)
            work.rename(folder)
        finally:
            shutil.rmtree(work, ignore_errors=True)
