"""The AWS CLI, the command line of the SSP Cloud's services.

They have version 2, which is in no package index. Where this machine has none, it is
version 1, in a folder of its own: its packages would not go together with the course's.
"""

import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from datalab.errors import DatalabError
from datalab.machine import wheels
from datalab.machine.binaries import cache_folder
from datalab.machine.programs import said

VARIABLE = "DATALAB_AWS"
OLDEST = (2, 13)  # the first of version 2 that reads AWS_ENDPOINT_URL
LOCKED = Path(__file__).with_name("aws-cli.txt")
#: Version 1 signs links the old way with temporary keys, and stores refuse them.
CONFIG = "[default]\ns3 =\n    signature_version = s3v4\n"


def put_on_path(folder: Path) -> None:
    """Write a program ``aws`` into ``folder``.

    Looked for in this order: the variable that names it, the cache, PATH; else it is
    installed into the cache.

    Raises
    ------
    DatalabError
        It could not be installed, or the variable names something else.
    """
    named = os.environ.get(VARIABLE)
    if named and version(named) is None:
        raise DatalabError(
            f"{VARIABLE} names {named}, which is not the AWS CLI.",
            "Set it to the path of a program `aws`, or unset it.",
        )
    folder.mkdir(parents=True, exist_ok=True)
    program = named
    if not program and not cached().exists():
        others = [part for part in os.get_exec_path() if Path(part) != folder]
        program = _recent_enough(shutil.which("aws", path=os.pathsep.join(others)))
    unfinished = folder / f"aws.{os.getpid()}"
    unfinished.write_text(_script(program, folder))
    unfinished.chmod(0o755)
    unfinished.replace(folder / "aws")


def _script(program: str | None, folder: Path) -> str:
    if program:
        return f'#!/bin/sh\nexec {shlex.quote(program)} "$@"\n'
    install()
    config = folder / "aws-config"
    config.write_text(CONFIG)
    return (
        "#!/bin/sh\n"
        f': "${{AWS_CONFIG_FILE:={config}}}"; export AWS_CONFIG_FILE\n'
        f"export PYTHONPATH={shlex.quote(str(cached()))}\n"
        f'exec {shlex.quote(sys.executable)} -m awscli "$@"\n'
    )


def version(program: str) -> tuple[int, int] | None:
    """The version that a program says it is, ``aws-cli/2.36.7 …``; None if it is another."""
    found = re.match(r"aws-cli/(\d+)\.(\d+)", said(program))
    return (int(found[1]), int(found[2])) if found else None


def _recent_enough(program: str | None) -> str | None:
    found = version(program) if program else None
    return program if found and found >= OLDEST else None


def cached() -> Path:
    """The folder of the cache that holds version 1, as locked, once it is installed."""
    name = re.search(r"^awscli==(\S+)", LOCKED.read_text(), re.MULTILINE)
    assert name
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    return cache_folder() / f"awscli-{name[1]}-python{python}"


def install() -> None:
    """Install version 1 into the cache, unless it is there."""
    otherwise = (
        "Connect to a package index and start the datalab again, or name a program `aws` in "
        f"{VARIABLE}."
    )
    wheels.install_once("the AWS CLI", LOCKED, cached(), otherwise)
