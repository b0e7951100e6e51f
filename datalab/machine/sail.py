"""Find Sail, the engine that speaks as Spark; where a machine lacks it, fetch its wheel.

The wheel ``pysail`` holds the engine. PySpark's client beside it gives the engine its version
and what it runs Python functions with; the packages that both could use are those of this Python.
"""

import platform
import re
import sys
from importlib.util import find_spec
from pathlib import Path

from datalab.errors import DatalabError
from datalab.machine import wheels
from datalab.machine.binaries import cache_folder

LOCKED = Path(__file__).with_name("sail.txt")
#: Systems and processors for which there is a wheel.
WHEELS = {
    (system, processor)
    for system, processors in {
        "linux": ("x86_64", "aarch64"),
        "darwin": ("x86_64", "arm64"),
    }.items()
    for processor in processors
}


def is_here() -> bool:
    """Whether Sail is on this machine: among the packages of this Python, or in the cache."""
    return _is_installed() or cached().exists()


def python_path() -> str:
    """The folder that has to be on ``PYTHONPATH``; empty where this Python has Sail itself.

    Raises
    ------
    DatalabError
        Sail is not here, and could not be fetched.
    """
    if _is_installed():
        return ""
    install()
    return str(cached())


def _is_installed() -> bool:
    return all(find_spec(name) for name in ("pysail", "pyspark"))


def cached() -> Path:
    """The folder of the cache that holds Sail, once it is installed."""
    name = re.search(r"^pysail==(\S+)", LOCKED.read_text(), re.MULTILINE)
    assert name
    return cache_folder() / f"sail-{name[1]}"


def install() -> None:
    """Install it into the cache, unless it is there.

    Raises
    ------
    DatalabError
        There is no wheel for this machine, or it could not be fetched.
    """
    without = "or do without: all of the course but a part of unit 52 does."
    if not cached().exists() and (sys.platform, platform.machine()) not in WHEELS:
        raise DatalabError(
            f"Sail has no wheel for this machine ({platform.system()}, {platform.machine()}).",
            f"Take another machine, {without}",
        )
    wheels.install_once(
        "Sail",
        LOCKED,
        cached(),
        f"Connect to a package index, or free some space, and try again; {without}",
        "--only-binary=pysail",  # its source would need Rust and an hour
        "--no-deps",
    )
