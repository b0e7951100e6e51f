"""Start a process in the background, wait until it is ready, find it again, stop it.

A process is recognised by its command line, which names the folder that it keeps its
data in, so there is no file of process numbers that a crash could leave wrong.
"""

import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import psutil

from datalab.errors import DatalabError

START_SECONDS = 60.0
STOP_SECONDS = 20.0
START_ATTEMPTS = 5
PAUSE = 0.2  # seconds between two attempts

Ports = TypeVar("Ports")


class Exited(Exception):
    """A process ended before it was ready; the text is the end of its log."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process.last_words())
        self.process = process


@dataclass(frozen=True)
class Process:
    """One background process of a datalab.

    Parameters
    ----------
    name
        As shown to the user.
    mark
        Arguments that stand in this order in its command line and, unlike a folder
        alone (``du -sh FOLDER``), in that of no other program.
    log
        File for what it prints; begun anew at each start.
    stop_signal
        Asks for a quick and clean end.
    """

    name: str
    mark: tuple[str, str]
    log: Path
    stop_signal: signal.Signals = signal.SIGTERM

    def find(self) -> psutil.Process | None:
        """The running process, or None."""
        return _seen_or_now().get(self.mark)

    def start(
        self,
        command: Sequence[str],
        environment: Mapping[str, str] | None = None,
        folder: Path = Path("/"),
    ) -> "subprocess.Popen[bytes]":
        """Start ``command`` detached from this terminal, in ``folder``.

        Raises
        ------
        DatalabError
            The machine does not execute the program, which may be damaged or for another one.
        """
        with os.fdopen(
            os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb"
        ) as log:
            try:
                return subprocess.Popen(
                    command,
                    env=dict(environment) if environment is not None else None,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd=folder,
                    start_new_session=True,  # a Ctrl-C in the terminal is not for the server
                )
            except OSError as error:
                raise DatalabError(
                    f"{self.name} cannot be started: {command[0]}: {error.strerror}.",
                    "It may be damaged, or made for another machine. If it lies in a folder "
                    "data-in-the-cloud of your cache, delete it: the next start gets it anew.",
                ) from error

    def wait(self, process: "subprocess.Popen[bytes]", ready: Callable[[], bool]) -> None:
        """Wait for what was started until ``ready()``.

        Raises
        ------
        Exited
            It ended by itself.
        DatalabError
            It runs but did not answer within ``START_SECONDS``; it was stopped.
        """
        deadline = time.monotonic() + START_SECONDS
        while not ready():
            if process.poll() is not None:
                raise Exited(self)
            if time.monotonic() > deadline:
                self.stop()
                raise DatalabError(
                    f"{self.name} started but did not answer within {START_SECONDS:.0f} seconds.",
                    f"Its log is {self.log}.",
                )
            time.sleep(0.05)

    def stop(self) -> bool:
        """Stop it, by force if it takes over ``STOP_SECONDS``; False if none ran."""
        process = self.find()
        if process is None:
            return False
        try:
            process.send_signal(self.stop_signal)
            deadline = time.monotonic() + STOP_SECONDS
            while _alive(process):
                if time.monotonic() > deadline:
                    process.kill()
                time.sleep(0.02)
        except psutil.NoSuchProcess:
            pass
        return True

    def last_words(self, lines: int = 8) -> str:
        """The end of its log."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        return "\n".join(text.strip().splitlines()[-lines:])


_Seen = dict[tuple[str, str], psutil.Process]
#: Of one thread: datalabs may be started side by side, and none looks through another's eyes.
_seen: ContextVar[_Seen | None] = ContextVar("_seen", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Within it, all processes are looked at once: what starts or ends meanwhile is not seen.

    A look reads the command line of every process of the machine.
    """
    before = _seen.set(_seen_or_now())
    try:
        yield
    finally:
        _seen.reset(before)


def _seen_or_now() -> _Seen:
    seen = _seen.get()
    return _processes() if seen is None else seen


def _processes() -> _Seen:
    """The living processes, by each two arguments in a row of theirs; the oldest of several."""
    found: _Seen = {}
    for process in psutil.process_iter():
        with suppress(psutil.Error):  # of another user, ended, or gone
            for pair in pairwise(process.cmdline()):
                found.setdefault(pair, process)
    return found


def _alive(process: psutil.Process) -> bool:
    # A zombie has ended: whoever started it (perhaps another process) collects it later. But
    # as long as another thread of it is about to end, it holds its ports.
    try:
        ended = process.status() == psutil.STATUS_ZOMBIE and process.num_threads() <= 1
        return bool(process.is_running()) and not ended
    except psutil.NoSuchProcess:
        return False


def persistently(start: Callable[[], Ports]) -> Ports:
    """``start()``, again while the server ends by itself: ``START_ATTEMPTS`` times at most.

    Between the choice of a port and the start another program may take it; and after a
    ``kill -9``, processes of the old server may still be about to end.

    Raises
    ------
    Exited
        It ended each time.
    """
    for _ in range(START_ATTEMPTS - 1):
        try:
            return start()
        except Exited:
            time.sleep(PAUSE)
    return start()


#: Below the ports that Linux and macOS give to clients: a server that is down for a moment
#: would lose one of those to the next connection of anybody.
PORTS = range(20_000, 32_768)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now; another server may take it a moment later."""
    for _ in range(100):
        port = secrets.choice(PORTS)
        if is_free(port):
            return port
    with socket.socket() as probe:  # the system finds one, if there is any
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def is_free(port: int) -> bool:
    """Whether a server could listen on ``port`` of 127.0.0.1."""
    with socket.socket() as probe:
        # as servers do; else the port of a server stopped a moment ago looks taken
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True
