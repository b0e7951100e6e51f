"""A user's machine, as the tests need it: its shell, and what runs on it."""

import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil
import pytest

from datalab.environment import merge
from datalab.machine.trust import BUNDLE_VARIABLES
from datalab.machine.variables import is_owned

PROJECT = Path(__file__).resolve().parent.parent
DEADLINE = 60.0
OF_THE_COURSE = (
    *("MY_BUCKET", "SCRATCH_BUCKET", "PROJECT_BUCKET", "MY_TOKEN_FILE", "COLLEAGUE_TOKEN_FILE"),
    *("S3_ENDPOINT", "NO_PROXY", "no_proxy"),
)
OF_A_MACHINE = ("DATALAB_DIR", "DATALAB_MINIO", "DATALAB_WEED", "DATALAB_AWS")
OF_A_MACHINE += ("HTTPS_PROXY", "HTTP_PROXY", "https_proxy")
#: The store of the labs of the tests, and the program that it runs as.
OF_THE_TESTS = os.environ.get("DATALAB_STORE", "minio")
STORE_PROGRAM = {"minio": "minio", "seaweedfs": "weed"}[OF_THE_TESTS]


def shell(**changes: str | None) -> dict[str, str]:
    """The environment of a user's shell: that of this run without its datalab."""
    folder = os.environ["TEST_DATALAB"]
    absent = {*BUNDLE_VARIABLES, *OF_THE_COURSE, *OF_A_MACHINE, *filter(is_owned, os.environ)}
    absent.add("PYTHONDONTWRITEBYTECODE")  # which makes each command twice as slow
    path = [part for part in os.get_exec_path() if not part.startswith(folder)]
    values: dict[str, str | None] = {"PATH": os.pathsep.join(path), **dict.fromkeys(absent)}
    return merge({**values, **changes}, os.environ)


@contextmanager
def outside() -> Iterator[None]:
    """Trust what the machine trusts, as this run does not: for a look at the world outside."""
    with pytest.MonkeyPatch.context() as patch:
        for name in BUNDLE_VARIABLES:
            patch.delenv(name, raising=False)
            if own := os.environ.get(f"TEST_MACHINES_{name}"):
                patch.setenv(name, own)
        yield


def command(folder: Path, *words: str) -> list[str]:
    return [sys.executable, "-m", "datalab", "--dir", str(folder), *words]


def call(
    folder: Path, *words: str, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """One command of the datalab in ``folder``, which must not end in a traceback."""
    done = subprocess.run(
        command(folder, *words),
        cwd=PROJECT,
        env=env if env is not None else shell(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE * 2,
        start_new_session=True,  # away from the terminal of whoever runs the tests
    )
    assert "Traceback" not in done.stderr, done.stderr
    return done


def start(
    words: list[str], env: Mapping[str, str] | None = None, **options: object
) -> "subprocess.Popen[str]":
    """Start a program that takes signals as one started by hand does."""
    return subprocess.Popen(  # type: ignore[call-overload,no-any-return]
        words,
        **{
            "cwd": PROJECT,
            "env": env if env is not None else shell(),
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
            "text": True,
            "start_new_session": True,
            # a test run in the background ignores it, and hands that on
            "preexec_fn": lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
            **options,
        },
    )


def processes(folder: Path) -> list[psutil.Process]:
    """Those that work in ``folder`` or name it, or something in it, in their arguments."""
    found = []
    for process in psutil.process_iter(["cmdline", "cwd", "status"]):
        words = [*(process.info["cmdline"] or ()), process.info["cwd"] or ""]
        alive = process.info["status"] != psutil.STATUS_ZOMBIE
        if alive and process.pid != os.getpid() and any(str(folder) in word for word in words):
            found.append(process)
    return found


def servers(folder: Path) -> list[str]:
    """Names of the programs that serve ``folder``."""
    names = [program(process) for process in processes(folder)]
    return sorted(name for name in names if name in ("issuer", STORE_PROGRAM, "postgres"))


def program(process: psutil.Process) -> str:
    """Name of what a process found by :func:`processes` runs."""
    words = process.info["cmdline"] or [""]
    if "--datalab-issuer" in words:
        return "issuer"
    # the first word of the title that a process of PostgreSQL gives itself is a path no more
    return Path(words[0]).name


def wait_until(happened: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + DEADLINE
    while not happened():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.05)


def clear(folder: Path) -> None:
    """Leave nothing behind, whatever became of the test."""
    sockets: list[Path] = []
    for process in processes(folder):
        with suppress(psutil.NoSuchProcess):
            if program(process) == "weed":  # killed, it leaves them in /tmp
                sockets += [Path(each.laddr) for each in process.net_connections("unix")]
            # which ends PostgreSQL with its shared memory
            number = signal.SIGQUIT if process.name() == "postgres" else signal.SIGKILL
            process.send_signal(number)
    wait_until(lambda: not processes(folder), f"nothing runs in {folder}")
    for socket in sockets:
        if socket.suffix == ".sock":
            socket.unlink(missing_ok=True)
    shutil.rmtree(folder, ignore_errors=True)
