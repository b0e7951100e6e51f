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
import time
from importlib.metadata import PackageNotFoundError, distributions, requires

from course import CourseError

TIMEOUT = 240  # seconds; Onyxia gives up a service that does not start within ten minutes
#: What uv and pip say of a package that cannot stand beside those that are there, or not
#: be built on this machine. An index that does not answer is another matter.
DOES_NOT_FIT = re.compile("No solution found|ResolutionImpossible|[Ff]ailed (to build|building)")
NAME_AND_EXTRAS = re.compile(r"([\w.-]+)(?:\[([\w.,\s-]*)\])?")


def install(*requirements: str) -> None:
    """Install those of ``requirements`` that this Python lacks.

    Every package that is installed keeps its version: a newer botocore, say, would break
    the s3fs that came with the service. A package that does not fit beside these is left
    out, and named; the others are installed.

    Parameters
    ----------
    requirements
        As pip takes them, such as ``"boto3"`` or ``"psycopg[binary]"``.

    Raises
    ------
    CourseError
        They could not be fetched. What the installer said is printed.
    """
    needed = missing(*requirements)
    if not needed:
        return
    print(f"Installing {', '.join(needed)}…", flush=True)
    deadline = time.monotonic() + TIMEOUT
    problems = {", ".join(needed): _attempt(needed, deadline)}
    if len(needed) > 1 and all(map(DOES_NOT_FIT.search, problems.values())):
        problems = {each: _attempt([each], deadline) for each in needed}
    problems = {each: said for each, said in problems.items() if said}
    if not problems:
        return
    print(*problems.values(), sep="\n")
    if not all(map(DOES_NOT_FIT.search, problems.values())):
        raise CourseError(
            f"These packages could not be installed: {', '.join(problems)}.",
            "Wait a minute and run this cell again. If that does not help, this machine does "
            "not reach a package index: ask whoever looks after its network.",
        )
    print(
        f"\nLeft out, since they do not go with what is installed here: {', '.join(problems)}.\n"
        "Go on without them. Cells that import them will fail; the others do not need them."
    )


def missing(*requirements: str) -> list[str]:
    """Those of ``requirements`` that are not installed, or without one of their extras."""
    return [requirement for requirement in requirements if not _is_installed(requirement)]


def _is_installed(requirement: str) -> bool:
    matched = NAME_AND_EXTRAS.match(requirement)
    assert matched, requirement
    name, extras = matched.groups()
    try:
        needs = requires(name) or []
    except PackageNotFoundError:
        return False
    return all(
        _is_installed(need)
        for extra in filter(None, re.split(r"[\s,]+", extras or ""))
        for need in needs
        if re.search(rf"extra == .{extra}\W", need)
    )


def _attempt(requirements: list[str], deadline: float) -> str:
    """Install them; why that failed, in the installer's words, empty if it did not."""
    present: dict[str, str] = {}
    for found in distributions():
        if found.name and found.version:  # or it is the rest of one that was removed
            name = re.sub(r"[-_.]+", "-", found.name).lower()
            present.setdefault(name, f"{name}=={found.version}")
    # an unreachable index is a matter of seconds, not of minutes; and no cache, which on a
    # service would be kept in the student's work folder
    environment = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15"}
    environment |= {"PIP_NO_CACHE_DIR": "1", "UV_NO_CACHE": "1"}
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
                timeout=max(deadline - time.monotonic(), 1),
                env={**environment, **os.environ},
            )
        except subprocess.TimeoutExpired:
            return f"no end within {TIMEOUT} seconds"
        except OSError as error:
            return str(error)
    importlib.invalidate_caches()  # this Python has already looked into the folder
    return "" if done.returncode == 0 else _shortened(done.stderr or "no reason given")


def _installer() -> list[str]:
    uv = shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    pip = [sys.executable, "-m", "pip", "install"]
    return [*pip, "--disable-pip-version-check", "--no-input"]


def _shortened(text: str) -> str:
    """The first and the last lines: what failed, and why."""
    lines = text.strip().splitlines()
    return "\n".join(lines if len(lines) < 10 else [*lines[:4], "…", *lines[-4:]])
