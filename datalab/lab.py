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

from datalab import binaries, duckdb_extensions, postgres, rabbitmq, trust
from datalab.console import console, say
from datalab.environment import student_environment
from datalab.errors import DatalabError
from datalab.locks import held
from datalab.minio import STUDENT, Keys, Minio
from datalab.postgres import Passwords, Postgres
from datalab.rabbitmq import Rabbit
from datalab.services import ServerExited

FORMAT = 1  # of the folder; to be raised when an older datalab could not read it
STATE = "datalab.json"
RENEW_BEFORE = timedelta(days=1)
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
    port: int = 0
    console_port: int = 0
    postgres_port: int = 0
    broker: rabbitmq.Settings | None = None  # of a datalab with RabbitMQ
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
        if values["token"]:
            expires = datetime.fromisoformat(values["token"].pop("expires"))
            values["token"] = Keys(**values["token"], expires=expires)
        values["passwords"] = Passwords(**values["passwords"])
        if values.get("broker"):
            values["broker"] = rabbitmq.Settings(**values["broker"])
        return cls(**values)

    def text(self) -> str:
        """The file's text."""
        return json.dumps(asdict(self), indent=2, default=lambda moment: moment.isoformat())


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

    def _servers(self, state: State) -> tuple[Minio | Postgres | Rabbit, ...]:
        return (self._minio(state), Postgres(self.folder, state.passwords), *self._broker(state))

    def _minio(self, state: State) -> Minio:
        notify = rabbitmq.minio_environment(self.folder, state.broker) if state.broker else {}
        return Minio(self.folder, state.root, notify)

    def _broker(self, state: State) -> list[Rabbit]:
        return [Rabbit(self.folder, state.broker)] if state.broker else []

    def running(self) -> dict[str, str | None]:
        """Where each server listens (``host:port``), None for one that does not run.

        A server whose process lives but that does not answer counts as not running.
        """
        state = self.state()
        if state is None:
            return {"MinIO": None, "PostgreSQL": None}
        ports = [state.port, state.postgres_port, *([state.broker.port] if state.broker else [])]
        return {
            server.server.name: f"127.0.0.1:{port}" if self._serves(server, port) else None
            for server, port in zip(self._servers(state), ports, strict=True)
        }

    def lives(self) -> bool:
        """Whether a server process is there, answering or not."""
        state = self.state()
        return state is not None and any(s.server.process() for s in self._servers(state))

    @staticmethod
    def _serves(server: Minio | Postgres | Rabbit, port: int) -> bool:
        return port != 0 and server.server.process() is not None and server.answers(port)

    # -- up and down ---------------------------------------------------------------

    def up(self, broker: bool = False) -> bool:
        """Start what does not run; what the student stored stays.

        Parameters
        ----------
        broker
            With RabbitMQ, from now on: later starts of this datalab start it, too.

        Returns
        -------
        bool
            False if all of it ran already.
        """
        self.state()  # refuses a folder that is not ours before anything is written to it
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
            try:
                self._save(state)
                (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error
            if all(self.running().values()) and state.furnished:
                self._renew_token(state)
                return False
            programs = binaries.find_all()
            with console.status("Starting the datalab…"):
                self._start(state, programs)
            return True

    def _alone(self) -> AbstractContextManager[None]:
        return held(self._lock, f"Another command is at work on {self.folder}")

    def _start(self, state: State, programs: dict[str, Path]) -> None:
        trust.make_certificates(self.folder / "certs")
        trust.write_bundle(self.folder / "certs", os.environ)
        self._put_on_path(programs["mc"])
        duckdb_extensions.install()
        database = Postgres(self.folder, state.passwords)
        started: list[Minio | Postgres | Rabbit] = []
        try:
            for rabbit in self._broker(state):
                if not self._serves(rabbit, rabbit.settings.port):
                    # MinIO learns the broker's address at its own start
                    self._minio(state).server.stop()
                    rabbit.server.stop()
                    started.append(rabbit)
                    state = replace(state, broker=rabbit.start())
                    self._save(state)
            minio = self._minio(state)
            if not self._serves(minio, state.port):
                minio.server.stop()  # alive and deaf
                started.append(minio)
                port, console_port = minio.start(programs["minio"], state.port, state.console_port)
                state = replace(state, port=port, console_port=console_port)
                self._save(state)
            if not self._serves(database, state.postgres_port):
                database.server.stop()
                started.append(database)
                state = replace(state, postgres_port=database.start(state.postgres_port))
                self._save(state)
            if not state.furnished:
                database.furnish(state.postgres_port)
                minio.furnish(programs["mc"], state.port, state.student)
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
        folder = self.folder / "bin"
        folder.mkdir(exist_ok=True)
        link = folder / "mc"
        mc = mc.resolve()  # in a shell of this datalab, the one on PATH is this very link
        if not link.is_symlink() or link.readlink() != mc:
            link.unlink(missing_ok=True)
            link.symlink_to(mc)

    def _renew_token(self, state: State) -> State:
        expires = state.token.expires if state.token else None
        if expires and expires - datetime.now(UTC) > RENEW_BEFORE:
            return state
        minio = self._minio(state)
        state = replace(state, token=minio.token(state.port, state.student))
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
            stopped = [server.server.stop() for server in self._servers(state)]
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
            self._save(replace(state, token=None, furnished=False))
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
                    broker=state.broker and state.broker.renewed(),
                )
            )

    # -- what notebooks get --------------------------------------------------------

    def environment(self) -> dict[str, str | None]:
        """The variables of a service on this datalab; None for those to be unset.

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
        assert state.token is not None
        return student_environment(
            self.folder,
            state.token,
            state.port,
            state.postgres_port,
            state.passwords.student,
            state.broker,
        )


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
