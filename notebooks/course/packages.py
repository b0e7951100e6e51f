"""Install the packages that a notebook needs, and move none that is already there.

Standard library only: the start script of a service uses it before anything is installed.
"""

import importlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, distributions, version

from course import CourseError

TIMEOUT = 240  # seconds; Onyxia gives up a service that does not start within ten minutes


def install(*requirements: str) -> None:
    """Install those of ``requirements`` that this Python lacks.

    Every package that is installed keeps its version: a newer botocore, say, would break
    the s3fs that came with the service.

    Parameters
    ----------
    requirements
        As pip takes them, such as ``"boto3"`` or ``"psycopg[binary]"``.

    Raises
    ------
    CourseError
        They could not be installed; says why, and nothing was changed.
    """
    needed = missing(requirements)
    if not needed:
        return
    print(f"Installing {', '.join(needed)}…", flush=True)
    problem = try_to_install(needed)
    if problem:
        raise CourseError(
            f"These packages could not be installed: {', '.join(needed)}. "
            f"The installer says:\n{problem}\n",
            "Nothing was changed. Look whether this machine reaches a package index, "
            "then run this cell again.",
        )


def missing(requirements: tuple[str, ...] | list[str]) -> list[str]:
    """Those of ``requirements`` of which no version is installed."""
    return [line for line in requirements if not _is_installed(line)]


def _is_installed(requirement: str) -> bool:
    try:
        version(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])
    except PackageNotFoundError:
        return False
    return True


def try_to_install(requirements: list[str]) -> str:
    """Install them; why that failed, in the installer's words, empty if it did not."""
    present: dict[str, str] = {}
    for found in distributions():
        present.setdefault(found.name.lower(), f"{found.name}=={found.version}")
    # an unreachable index is a matter of seconds, not of minutes
    environment = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15"}
    if index := os.environ.get("PIP_REPOSITORY"):  # of the platform; Onyxia tells pip only
        environment |= {"UV_DEFAULT_INDEX": index, "UV_SYSTEM_CERTS": "true"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(present.values()))
        constraints.flush()
        try:
            done = subprocess.run(
                [*_installer(), "--quiet", "--constraint", constraints.name, *requirements],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                env={**environment, **os.environ},
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {TIMEOUT} seconds"
        except OSError as error:
            return str(error)
    importlib.invalidate_caches()  # this Python has already looked into the folder
    said = (done.stderr.strip() or "no reason given").splitlines()
    return "" if done.returncode == 0 else "\n".join(said[-5:])


def _installer() -> list[str]:
    # no cache: on a service it would be kept in the student's work folder
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--no-cache", "--python", sys.executable]
    return [
        *(sys.executable, "-m", "pip", "install", "--no-cache-dir"),
        *("--disable-pip-version-check", "--no-input"),
    ]
