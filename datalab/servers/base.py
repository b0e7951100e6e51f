"""What a server of the datalab is: one file beside this one, and one line in SERVERS."""
# ruff: noqa: B027  # methods that do nothing are those that most servers need not have

import secrets
import signal
import subprocess
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import Any, ClassVar, Self

import msgspec

from datalab.errors import DatalabError
from datalab.process import Process, free_port, is_free, persistently

PROJECT = Path(__file__).resolve().parent.parent.parent  # whence `datalab` is imported


def secret() -> str:
    """A fresh random password."""
    return secrets.token_hex(20)


class Effort(IntEnum):
    """What it takes to have a program on this machine."""

    NONE = 0
    DOWNLOAD = 1  # seconds
    BUILD = 2  # minutes
    UNKNOWN = 3  # whatever its user does


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """What the datalab remembers of a server: its ports and its credentials.

    Each field whose name ends in ``port`` is a TCP port of 127.0.0.1, 0 before the first
    start. `reset` keeps the ports; a port that is taken at a start is chosen anew.
    """

    port: int = 0

    def ports(self) -> dict[str, int]:
        """The ports by name."""
        values = msgspec.structs.asdict(self)
        return {name: port for name, port in values.items() if name.endswith("port")}

    def renewed(self) -> Self:
        """Fresh credentials on the same ports."""
        return type(self)(**self.ports())

    def on_free_ports(self) -> Self:
        """The same, with other ports for those that are taken."""
        chosen: dict[str, int] = {}
        for name, wanted in self.ports().items():
            port = wanted
            while not port or port in chosen.values() or not is_free(port):
                port = free_port()
            chosen[name] = port
        return msgspec.structs.replace(self, **chosen)


class Server(ABC):
    """One server of one datalab.

    Parameters
    ----------
    folder
        Of the datalab.
    all_settings
        Of every server of the datalab, by key: a server may read those that it needs.
    """

    key: ClassVar[str]
    """In the state, in ``--with``, in ``needs`` of others."""
    name: ClassVar[str]
    """As shown to the user."""
    settings_type: ClassVar[type[Settings]] = Settings
    role: ClassVar[str] = ""
    """Of servers that can stand in for each other: a datalab has one of them, and keeps it."""
    needs: ClassVar[tuple[str, ...]] = ()
    """Servers, by key or role, that start before it; it learns their addresses at its start."""
    optional: ClassVar[bool] = False
    """Whether it is there only where it is asked for (``--with``)."""
    has: ClassVar[frozenset[str]] = frozenset()
    """What others may want of it."""
    hosts: ClassVar[tuple[str, ...]] = ()
    """Names, other than this machine's, for which the datalab's certificates are made."""
    wants: ClassVar[Mapping[str, str]] = {}
    """What one of the other servers has to have, and what to say where none has it."""
    optional_variables: ClassVar[tuple[str, ...]] = ()
    """Variables that are unset where it is not there."""
    of_a_service: ClassVar[bool] = False
    """Whether :meth:`service_variables` are those of a service of its own, asked for by name."""
    stop_signal: ClassVar[signal.Signals] = signal.SIGTERM
    abandon_signal: ClassVar[signal.Signals] = signal.SIGKILL
    """Ends it where its data are about to go."""

    def __init__(self, folder: Path, all_settings: Mapping[str, Any]) -> None:
        self.folder = folder
        self.all_settings = all_settings
        self.settings = all_settings[self.key]
        self._begun: subprocess.Popen[bytes] | None = None

    # -- what each server says of itself --------------------------------------------

    @property
    def data(self) -> Path:
        """The folder that it writes to, removed by `reset`."""
        return self.folder / self.key

    @abstractmethod
    def mark(self) -> tuple[str, str]:
        """Two arguments in a row that only this server of this datalab has."""

    @abstractmethod
    def command(self) -> Sequence[str]:
        """How it is started; the arguments of :meth:`mark` are among them."""

    @abstractmethod
    def is_ready(self) -> bool:
        """Whether *this* server answers, and not another on its port."""

    def process_environment(self) -> Mapping[str, str] | None:
        """The variables of its process; None for those of this one."""
        return None

    def process_folder(self) -> Path:
        """Where its process works."""
        return Path("/")

    @classmethod
    def check_wishes(cls) -> None:
        """Look whether what the user's shell wishes of it can be.

        Raises
        ------
        DatalabError
            It cannot.
        """

    def check_data(self) -> None:
        """Look whether this version can use the data that are there.

        Raises
        ------
        DatalabError
            It cannot.
        """

    @classmethod
    def find_program(cls) -> None:
        """Find what it runs, or fetch it, before anything is started.

        Raises
        ------
        DatalabError
            It cannot be had.
        """

    @classmethod
    def effort(cls) -> Effort:
        """What it takes to have its program, found without fetching anything."""
        return Effort.NONE

    @classmethod
    def is_available(cls) -> bool:
        """Whether its program can be had."""
        try:
            cls.find_program()
        except DatalabError:
            return False
        return True

    def prepare(self) -> None:
        """Make ready for a start: its folder."""
        self.data.mkdir(mode=0o700, exist_ok=True)

    def configure(self) -> None:
        """Write what it reads at its start, now that its ports are known."""

    def provision(self) -> None:
        """Make accounts, rights and samples, once; what an interrupted one left is kept."""

    @classmethod
    def import_client(cls) -> None:
        """Import what :meth:`provision` needs and is slow to import, while servers start."""

    @classmethod
    def client_errors(cls) -> tuple[type[Exception], ...]:
        """What :meth:`provision` raises where the server does not do as it should."""
        return ()

    def adapted(self, environ: Mapping[str, str]) -> Settings:  # noqa: ARG002
        """The settings for this machine as it is now; others than before restart the server."""
        return self.settings  # type: ignore[no-any-return]

    def surveyed(self) -> Settings:
        """The settings after a look at the world outside, at each `up`."""
        return self.settings  # type: ignore[no-any-return]

    def refreshed(self) -> Settings:
        """The settings with what has to be renewed now and then, on the running server."""
        return self.settings  # type: ignore[no-any-return]

    def variables(self) -> Mapping[str, str | None]:
        """What a notebook finds in its environment; None is for unset."""
        return {}

    def service_variables(self) -> Mapping[str, str]:
        """What a service of the SSP Cloud with this server has beside the usual."""
        return {}

    def shown(self) -> Mapping[str, str]:
        """Rows of `status`, by their titles, of a running server."""
        return {self.name: self.address}

    # -- what is the same for all ---------------------------------------------------

    @property
    def address(self) -> str:
        """Host and port."""
        return f"127.0.0.1:{self.settings.port}"

    @property
    def authority(self) -> Path:
        """The certificate that those of the datalab are checked with."""
        return self.folder / "certs" / "ca.pem"

    @property
    def process(self) -> Process:
        """Its process, whether it runs or not."""
        return Process(
            self.name, self.mark(), self.folder / "logs" / f"{self.key}.log", self.stop_signal
        )

    def runs(self) -> bool:
        """Whether its process is there and answers."""
        return self.settings.port != 0 and self.process.find() is not None and self.is_ready()

    def start(self) -> Settings:
        """Start it on its ports, or on others where they are taken by now.

        Returns
        -------
        Settings
            With the ports that it listens on.
        """
        self.begin()
        return self.finish()

    def begin(self) -> None:
        """The first half of :meth:`start`: it need not answer yet."""
        self.prepare()
        self._begin()

    def finish(self) -> Settings:
        """The second half: wait for it; begin again where it ended by itself."""
        return persistently(self._finish)

    def _begin(self) -> None:
        self.stop()  # what an earlier attempt, or a kill, left would keep its ports
        self.settings = self.settings.on_free_ports()
        self.configure()
        self._begun = self.process.start(
            self.command(), self.process_environment(), self.process_folder()
        )

    def _finish(self) -> Settings:
        if self._begun is None:
            self._begin()
        assert self._begun is not None
        begun, self._begun = self._begun, None  # an attempt that fails is not waited for again
        self.process.wait(begun, self.is_ready)
        return self.settings  # type: ignore[no-any-return]

    def stop(self) -> bool:
        """Stop it; False if it did not run."""
        return self.process.stop()

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Stop it for a while, and start it again on the same ports."""
        self.stop()
        try:
            yield
        finally:
            wanted = self.settings
            if self.finish() != wanted:
                raise RuntimeError(f"{self.name} is back, but on other ports")
