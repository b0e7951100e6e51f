"""One datalab: a folder, the servers that keep their data in it, and the keys to them."""

import json
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
from filelock import FileLock

from datalab import (
    aws_cli,
    binaries,
    duckdb_extensions,
    internet,
    postgres,
    rabbitmq,
    service,
    trust,
)
from datalab.console import console, say
from datalab.environment import search_path, student_environment
from datalab.errors import DatalabError
from datalab.internet import Internet
from datalab.issuer import Issuer
from datalab.locks import held
from datalab.minio import STUDENT, Keys, Minio, policy
from datalab.postgres import Passwords, Postgres
from datalab.rabbitmq import Rabbit
from datalab.services import ServerExited

FORMAT = 1  # of the folder; to be raised when an older datalab could not read it
STATE = "datalab.json"
RENEW_BEFORE = timedelta(days=1)
LAPTOP = "laptop"  # all that the datalab has
SERVICE = "service"  # what a service of the SSP Cloud has, see datalab/service.py
PROJECT = Path(__file__).resolve().parent.parent


def default_folder() -> Path:
    """The folder of ``$DATALAB_DIR``, else ``.datalab`` in this checkout."""
    named = os.environ.get("DATALAB_DIR")
    return Path(named) if named else PROJECT / ".datalab"


@dataclass(frozen=True)
class State:
    """What a datalab remembers between two starts (``datalab.json``, mode 600)."""

    root: Keys
    student: Keys
    passwords: Passwords
    token: Keys | None = None
    service_token: Keys | None = None  # with the rights of a service
    role: str = LAPTOP  # whose variables are given where nothing else is asked for
    with_postgresql: bool = False  # to a service
    port: int = 0
    console_port: int = 0
    postgres_port: int = 0
    issuer_port: int = 0
    broker: rabbitmq.Settings | None = None  # of a datalab with RabbitMQ
    internet_port: int = 0
    internet: str = ""  # "local" or "real", as it was chosen at the last start
    upstream: str = ""  # the machine's own proxy, with which `up` was called
    proxy_password: str = field(default_factory=lambda: secrets.token_hex(20))
    furnished: bool = False  # accounts, buckets and samples are all there
    format: int = FORMAT

    @classmethod
    def new(cls) -> "State":
        """Fresh random credentials."""
        return cls(
            root=Keys("root-" + secrets.token_hex(8), secrets.token_hex(20)),
            student=Keys(STUDENT, secrets.token_hex(20)),
            passwords=Passwords(secrets.token_hex(20), secrets.token_hex(20)),
        )

    @classmethod
    def read(cls, text: str) -> "State":
        """Parse the file's text; ValueError, KeyError or TypeError if it is not ours."""
        values: dict[str, Any] = json.loads(text)
        for name in ("root", "student"):
            values[name] = Keys(**values[name])
        for name in ("token", "service_token"):
            if values.get(name):
                expires = datetime.fromisoformat(values[name].pop("expires"))
                values[name] = Keys(**values[name], expires=expires)
        values["passwords"] = Passwords(**values["passwords"])
        if values["broker"]:
            values["broker"] = rabbitmq.Settings(**values["broker"])
        return cls(**values)

    def text(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2, default=lambda moment: moment.isoformat())


AnyServer = Minio | Postgres | Issuer | Rabbit | Internet


@dataclass(frozen=True)
class Servers:
    """Those of one datalab."""

    minio: Minio
    postgres: Postgres
    issuer: Issuer
    internet: Internet
    broker: Rabbit | None

    def ports(self, state: State) -> dict[AnyServer, int]:
        """Each server with the port that it is to listen on, 0 before its first start."""
        ports: dict[AnyServer, int] = {
            self.minio: state.port,
            self.postgres: state.postgres_port,
            self.issuer: state.issuer_port,
            self.internet: state.internet_port,
        }
        if self.broker:
            ports[self.broker] = self.broker.settings.port
        return ports


@dataclass
class Datalab:
    """A datalab in a folder; nothing is read or started before a method is called.

    Parameters
    ----------
    folder
        Made by :meth:`up` if absent.
    """

    folder: Path
    _lock: FileLock = field(init=False, repr=False)

    def __post_init__(self) -> None:
        self.folder = self.folder.expanduser().absolute()
        self._lock = FileLock(self.folder / "lock")

    # -- what is there -------------------------------------------------------------

    def state(self) -> State | None:
        """What the folder remembers, None if it is not a datalab yet.

        Raises
        ------
        DatalabError
            The folder holds something else, or was made by another version.
        """
        file = self.folder / STATE
        try:
            text = file.read_text()
        except FileNotFoundError:
            others = self._strangers()
            if STATE in others:  # another `up` made it this very moment
                return self.state()
            if others:
                raise DatalabError(
                    f"{self.folder} is not a datalab: it holds {others[0]}.",
                    "Name an empty or a new folder with --dir or DATALAB_DIR.",
                ) from None
            return None
        except OSError as error:
            raise self._unusable(error) from error
        try:
            found = json.loads(text).get("format")
            if found == FORMAT:
                state = State.read(text)
        except (ValueError, AttributeError, KeyError, TypeError):
            found = "unknown"
        if found != FORMAT:
            raise self._other_version(f"of format {found}; this version reads {FORMAT}")
        version = Postgres(self.folder, state.passwords).version()
        if version not in (None, postgres.VERSION):
            raise self._other_version(
                f"with data of PostgreSQL {version}; this version runs {postgres.VERSION}"
            )
        return state

    def _strangers(self) -> list[str]:
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error
        # another `up` may be at its first lines
        ours = ("lock", ".gitignore", f"{STATE}.")
        return sorted(name for name in names if not name.startswith(ours))

    def _other_version(self, what: str) -> DatalabError:
        return DatalabError(
            f"{self.folder} was made by another version of the datalab: {what}.",
            f"Use another folder (--dir), or move it away: mv {self.folder} {self.folder}.old",
        )

    def _unusable(self, error: OSError) -> DatalabError:
        return DatalabError(
            f"The datalab's folder {self.folder} cannot be used: {error.strerror} "
            f"({error.filename}).",
            "Name a folder of yours with --dir or DATALAB_DIR.",
        )

    def _servers(self, state: State) -> Servers:
        notify = rabbitmq.minio_environment(self.folder, state.broker) if state.broker else {}
        return Servers(
            Minio(self.folder, state.root, notify),
            Postgres(self.folder, state.passwords),
            Issuer(self.folder),
            Internet(self.folder, state.proxy_password, state.upstream),
            Rabbit(self.folder, state.broker) if state.broker else None,
        )

    def running(self) -> dict[str, str | None]:
        """Where each server listens (``host:port``), None for one that does not run.

        A server whose process lives but that does not answer counts as not running.
        """
        state = self.state() or State.new()
        return {
            server.server.name: f"127.0.0.1:{port}" if self._serves(server, port) else None
            for server, port in self._servers(state).ports(state).items()
        }

    def lives(self) -> bool:
        """Whether a server process is there, answering or not."""
        state = self.state()
        return state is not None and any(
            server.server.process() for server in self._servers(state).ports(state)
        )

    @staticmethod
    def _serves(server: AnyServer, port: int) -> bool:
        return port != 0 and server.server.process() is not None and server.answers(port)

    # -- up and down ---------------------------------------------------------------

    def up(self, broker: bool = False, role: str = "", with_postgresql: bool = False) -> bool:
        """Start what does not run; what the student stored stays.

        Parameters
        ----------
        broker
            With RabbitMQ, from now on: later starts of this datalab start it, too.
        role, with_postgresql
            What :meth:`environment` gives from now on, LAPTOP or SERVICE; as before where
            it is empty.

        Returns
        -------
        bool
            False if all of it ran already.
        """
        self.state()  # refuses a folder that is not ours before anything is written to it
        internet.wanted()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(self.folder.stat().st_mode & 0o700)  # it was there: keep others out
            (self.folder / ".gitignore").write_text("*\n")
            (self.folder / "lock").touch(mode=0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with self._alone():
            state = self.state() or State.new()
            if broker and not state.broker:
                rabbitmq.find()  # or the reason why not, before anything is changed
                state = replace(state, broker=rabbitmq.Settings.new())
            if role:
                state = replace(state, role=role, with_postgresql=with_postgresql)
            try:
                self._save(state)
                (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error
            state = self._with_upstream(state)
            if all(self.running().values()) and state.furnished:
                self._renew_token(self._with_internet(state))
                return False
            programs = binaries.find_all()
            with console.status("Starting the datalab…"):
                self._start(state, programs)
            return True

    def _with_upstream(self, state: State) -> State:
        """Note the machine's proxy; a server that goes through another one is stopped."""
        inner = self._servers(state).internet
        upstream = internet.upstream_of(os.environ)
        if upstream in (state.upstream, inner.url(state.internet_port)):
            return state  # the second: this is a shell of the datalab
        inner.server.stop()
        state = replace(state, upstream=upstream)
        self._save(state)
        return state

    def _with_internet(self, state: State) -> State:
        chosen = internet.choose(state.upstream, self.folder / "certs" / "bundle.pem")
        state = replace(state, internet=chosen)
        self._save(state)
        return state

    def _alone(self) -> AbstractContextManager[None]:
        return held(self._lock, f"Another command is at work on {self.folder}")

    def _start(self, state: State, programs: dict[str, Path]) -> None:
        trust.make_certificates(self.folder / "certs", internet.HOSTS)
        trust.write_bundle(self.folder / "certs", os.environ)
        self._put_on_path(programs["mc"])
        try:
            aws_cli.put_on_path(self.folder / "bin")
        except DatalabError as error:  # the rest of the course works
            say(f"The datalab starts without `aws`. {error}")
        duckdb_extensions.install()
        servers = self._servers(state)
        started: list[AnyServer] = []

        def begin(server: AnyServer) -> None:
            server.server.stop()  # alive and deaf
            started.append(server)

        try:
            # MinIO learns the addresses of the issuer and of the broker at its own start
            if not self._serves(servers.issuer, state.issuer_port):
                begin(servers.issuer)
                port = servers.issuer.start(state.issuer_port)
                if port != state.issuer_port:
                    servers.minio.server.stop()
                state = replace(state, issuer_port=port)
                self._save(state)
            broker = servers.broker
            if broker and not self._serves(broker, broker.settings.port):
                begin(broker)
                servers.minio.server.stop()
                state = replace(state, broker=broker.start())
                self._save(state)
                servers = self._servers(state)
            if not self._serves(servers.minio, state.port):
                begin(servers.minio)
                port, console_port = servers.minio.start(
                    programs["minio"], state.port, state.console_port, state.issuer_port
                )
                state = replace(state, port=port, console_port=console_port)
                self._save(state)
            if not self._serves(servers.postgres, state.postgres_port):
                begin(servers.postgres)
                state = replace(state, postgres_port=servers.postgres.start(state.postgres_port))
                self._save(state)
            if not self._serves(servers.internet, state.internet_port):
                begin(servers.internet)
                state = replace(state, internet_port=servers.internet.start(state.internet_port))
                self._save(state)
            state = self._with_internet(state)
            if not state.furnished:
                servers.postgres.furnish(state.postgres_port)
                servers.minio.furnish(programs["mc"], state.port, state.student)
                state = replace(state, furnished=True)
                self._save(state)
            self._renew_token(state)
        except BaseException as error:
            for server in started:  # also on a Ctrl-C: a start is whole or not at all
                server.server.stop()
            if isinstance(error, ServerExited):
                name = started[-1].server.name
                log = started[-1].server.log
                raise DatalabError(
                    f"{name} ended before it answered. Its last words:\n{error}",
                    f"Its log is {log}. `python -m datalab up` tries again.",
                ) from error
            from botocore.exceptions import BotoCoreError, ClientError  # slow to import

            if isinstance(error, (BotoCoreError, ClientError, psycopg.Error)):
                raise DatalabError(
                    f"The datalab started, but could not be made ready: {error}",
                    f"The logs are in {self.folder / 'logs'}. `python -m datalab up` tries again.",
                ) from error
            raise

    def _put_on_path(self, mc: Path) -> None:
        folder = self.folder / "bin-laptop"  # a service has no mc
        folder.mkdir(exist_ok=True)
        (self.folder / "bin" / "mc").unlink(missing_ok=True)  # where it was until November 2026
        link = folder / "mc"
        mc = mc.resolve()  # in a shell of this datalab, the one on PATH is this very link
        if not link.is_symlink() or link.readlink() != mc:
            link.unlink(missing_ok=True)
            link.symlink_to(mc)

    def _renew_token(self, state: State) -> State:
        tokens = (state.token, state.service_token)
        now = datetime.now(UTC)
        if all(each and each.expires and each.expires - now > RENEW_BEFORE for each in tokens):
            return state
        minio = self._servers(state).minio
        state = replace(
            state,
            token=minio.token(state.port, state.student),
            service_token=minio.token(
                state.port, state.student, rights=policy(STUDENT, buckets=[STUDENT])
            ),
        )
        self._save(state)
        return state

    def _save(self, state: State) -> None:
        unfinished = self.folder / f"{STATE}.{os.getpid()}"
        with os.fdopen(
            os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w"
        ) as file:
            file.write(state.text())
        unfinished.replace(self.folder / STATE)

    def down(self) -> bool:
        """Stop the servers, keep the data; False if none ran."""
        state = self.state()
        if state is None:
            return False
        with self._alone():
            stopped = [server.server.stop() for server in self._servers(state).ports(state)]
        return any(stopped)

    def reset(self) -> None:
        """Forget all that was stored; the next :meth:`up` starts from the samples."""
        if self.state() is None:
            return
        with self._alone():
            self.down()
            state = self.state()
            assert state is not None
            # each step leaves what the next `up` can start from, should this be killed
            self._save(replace(state, token=None, service_token=None, furnished=False))
            for name in ("minio", "postgres", "rabbitmq", "mc"):  # never the folder as a whole
                discarded = self.folder / f"{name}.discarded"
                if discarded.exists():
                    shutil.rmtree(discarded)
                if (self.folder / name).exists():
                    (self.folder / name).rename(discarded)
                    shutil.rmtree(discarded)
            self._save(
                replace(
                    State.new(),  # on the same ports: the addresses are noted somewhere
                    port=state.port,
                    console_port=state.console_port,
                    postgres_port=state.postgres_port,
                    issuer_port=state.issuer_port,
                    internet_port=state.internet_port,
                    broker=state.broker and state.broker.renewed(),
                )
            )

    # -- what notebooks get --------------------------------------------------------

    def environment(self, role: str = "", with_postgresql: bool = False) -> dict[str, str | None]:
        """The variables of a notebook on this datalab; None for those to be unset.

        Parameters
        ----------
        role
            LAPTOP or SERVICE; where it is empty, as `up` was told.
        with_postgresql
            To a service, the variables of a PostgreSQL service.

        Raises
        ------
        DatalabError
            The datalab does not run, or not all of it.
        """
        running = self.running()
        stopped = [name for name, where in running.items() if where is None]
        if stopped:
            raise DatalabError(
                f"{' and '.join(stopped)} of the datalab in {self.folder} "
                f"{'does' if len(stopped) == 1 else 'do'} not run.",
                "Start the datalab with: python -m datalab up",
            )
        with self._alone():
            state = self.state()
            assert state is not None
            if not state.furnished:
                raise DatalabError(
                    f"The datalab in {self.folder} runs, but its start was interrupted.",
                    "Complete it with: python -m datalab up",
                )
            state = self._renew_token(state)
        if not role:
            role, with_postgresql = state.role, state.with_postgresql
        token = state.service_token if role == SERVICE else state.token
        assert token is not None
        values = student_environment(
            self.folder,
            token,
            state.port,
            state.postgres_port,
            state.passwords.student,
            state.broker,
        )
        own = self._servers(state).internet.url(state.internet_port)
        chosen = internet.wanted()
        if (state.internet if chosen == "auto" else chosen) == "local":
            values |= dict.fromkeys(internet.PROXY_VARIABLES, own)
        elif internet.upstream_of(os.environ) == own:  # a shell of this datalab
            values |= dict.fromkeys(internet.PROXY_VARIABLES, state.upstream or None)
        if role == SERVICE:
            database = self._service_database(state) if with_postgresql else None
            path = service.path_without(
                service.GONE, search_path(self.folder, laptop=False), self.folder / "path"
            )
            return service.service_environment(values, path, database)
        return values

    def _service_database(self, state: State) -> dict[str, str]:
        self._servers(state).postgres.furnish_service(state.postgres_port)
        return {
            "PGHOST": "127.0.0.1",
            "PGPORT": str(state.postgres_port),
            "PGUSER": postgres.SERVICE,
            "PGPASSWORD": state.passwords.student,
            "PGDATABASE": postgres.SERVICE_DATABASE,
        }


@contextmanager
def temporary(broker: bool = False) -> Iterator[Datalab]:
    """A datalab of one's own, gone with its data at the end, however the end comes.

    Even a ``kill -9`` of this process leaves nothing behind: a second process waits for
    the end of this one, at the other end of a pipe, and clears up.
    """
    folder = Path(tempfile.mkdtemp(prefix="datalab-")).resolve()
    caretaker = subprocess.Popen(
        [sys.executable, "-m", "datalab.caretaker", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
        start_new_session=True,
    )
    lab = Datalab(folder)
    try:
        lab.up(broker)
        yield lab
    finally:
        assert caretaker.stdin is not None
        caretaker.stdin.close()
        if caretaker.wait():
            say(f"The temporary datalab in {folder} could not be removed.")
