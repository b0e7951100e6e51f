"""One datalab: a folder, the servers that keep their data in it, and the keys to them."""

import os
import shlex
import shutil
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Thread
from typing import Any

from filelock import FileLock

from datalab import service, state
from datalab.console import console, say
from datalab.environment import environment, search_path
from datalab.errors import DatalabError
from datalab.locks import held
from datalab.machine import aws_cli, duckdb_extensions, trust
from datalab.machine.course import is_the_course
from datalab.process import Exited, one_look
from datalab.servers import SERVERS, Server, in_order, in_turns, needed_by, of_role
from datalab.servers.base import PROJECT
from datalab.servers.store import Store
from datalab.state import SERVICE, State

AVAILABLE = "available"  # among optional servers: those that this machine has
STORE = Store.role
STORE_VARIABLE = "DATALAB_STORE"


def default_folder() -> Path:
    """The folder of ``$DATALAB_DIR``, else ``.datalab`` beside the course, or where one is."""
    named = os.environ.get("DATALAB_DIR")
    return Path(named) if named else (PROJECT if is_the_course() else Path.cwd()) / ".datalab"


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
        try:
            found = state.read(self.folder)
        except FileNotFoundError:
            others = self._strangers()
            if state.FILE in others:  # another `up` made it this very moment
                return self.state()
            if others:
                raise DatalabError(
                    f"{self.folder} is not a datalab: it holds {others[0]}.",
                    "Name an empty or a new folder with --dir or DATALAB_DIR.",
                ) from None
            return None
        except OSError as error:
            raise self._unusable(error) from error
        for server in self._servers(found):
            server.check_data()
        return found

    def _strangers(self) -> list[str]:
        try:
            names = [path.name for path in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as error:
            raise self._unusable(error) from error
        # another `up` may be at its first lines
        ours = ("lock", ".gitignore", f"{state.FILE}.")
        return sorted(name for name in names if not name.startswith(ours))

    def _unusable(self, error: OSError) -> DatalabError:
        return DatalabError(
            f"The datalab's folder {self.folder} cannot be used: {error.strerror} "
            f"({error.filename}).",
            "Name a folder of yours with --dir or DATALAB_DIR.",
        )

    def _servers(self, of: State) -> list[Server]:
        """Its servers, each after those that it needs."""
        return [SERVERS[key](self.folder, of.servers) for key in in_order([*of.servers])]

    def server(self, key: str) -> Server:
        """One of its servers, as the folder remembers it.

        Raises
        ------
        KeyError
            It has none of that name.
        """
        present = self.state()
        if present is None or key not in present.servers:
            raise KeyError(key)
        return SERVERS[key](self.folder, present.servers)

    def store(self) -> Store:
        """Its S3 store.

        Raises
        ------
        KeyError
            It is no datalab yet.
        """
        present = self.state()
        servers = self._servers(present) if present else []
        for server in servers:
            if isinstance(server, Store):
                return server
        raise KeyError("store")

    def servers(self) -> list[Server]:
        """Its servers, in the order of their start."""
        return self._servers(self.state() or State.new(default_servers()))

    def running(self) -> dict[str, bool]:
        """Whether each server runs, by key.

        A server whose process lives but that does not answer counts as not running.
        """
        with one_look():
            return {server.key: server.runs() for server in self.servers()}

    def lives(self) -> bool:
        """Whether a server process is there, answering or not."""
        with one_look():
            return self.state() is not None and any(s.process.find() for s in self.servers())

    # -- up and down ---------------------------------------------------------------

    def up(
        self,
        also: Sequence[str] = (),
        role: str = "",
        services: Sequence[str] = (),
        store: str = "",
    ) -> bool:
        """Start what does not run; what the student stored stays.

        Parameters
        ----------
        also
            Keys of optional servers, or AVAILABLE; later starts start them, too.
        role, services
            What :meth:`environment` gives from now on, LAPTOP or SERVICE; as before where
            it is empty.
        store
            Key of the store; where it is empty, the one that the datalab has, else see
            :func:`choose_store`.

        Returns
        -------
        bool
            False if all of it ran already.
        """
        self.state()  # refuses a folder that is not ours before anything is written to it
        for key in SERVERS:
            SERVERS[key].check_wishes()
        wished_store()
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(self.folder.stat().st_mode & 0o700)  # it was there: keep others out
            (self.folder / ".gitignore").write_text("*\n")
            (self.folder / "lock").touch(mode=0o600)
        except OSError as error:
            raise self._unusable(error) from error
        with self._alone():
            present = self._with_servers(self._with_store(store, also), also)
            if role:
                present = present.changed(role=role, services=tuple(services))
            try:
                present.save(self.folder)
                (self.folder / "logs").mkdir(mode=0o700, exist_ok=True)
            except OSError as error:
                raise self._unusable(error) from error
            present = self._adapted(present)
            with one_look():
                complete = all(server.runs() for server in self._servers(present))
            if present.provisioned and complete:
                self._refreshed(self._surveyed(present))
                return False
            for key in present.servers:
                SERVERS[key].find_program()
            with console().status("Starting the datalab…"):
                self._start(present)
            return True

    def _with_store(self, store: str, also: Sequence[str]) -> State:
        """What the folder remembers, or a new datalab, on a store that this machine has."""
        present = self.state()
        if present is None:
            chosen = store or choose_store(partial(_command, self.folder), also)
            SERVERS[chosen].find_program()  # before it is remembered
            return State.new(default_servers(chosen))
        held = self.store()
        if store in ("", held.key):
            if wished_store() not in ("", held.key):
                say(f"{STORE_VARIABLE} is for a new datalab; this one has {held.name}.")
            return present
        if any(server.data.exists() for server in self._servers(present)):
            raise DatalabError(
                f"This datalab keeps its objects in {held.name}, and one datalab has one store.",
                f"Name another folder: {_command(self.folder, store)}",
            )
        SERVERS[store].find_program()
        return State.new(default_servers(store))  # nothing is stored in it: after a `reset`

    def _with_servers(self, present: State, also: Sequence[str]) -> State:
        """With the servers that are asked for, or the reason why they cannot be."""
        has = {what for key in present.servers for what in SERVERS[key].has}
        wanted = [key for key in also if key != AVAILABLE]
        if AVAILABLE in also:
            wanted += [
                key
                for key, server in SERVERS.items()
                if server.optional and server.wants.keys() <= has and server.is_available()
            ]
        for key in wanted:
            for what, problem in SERVERS[key].wants.items():
                if what not in has:
                    names = [name for name, server in SERVERS.items() if what in server.has]
                    raise DatalabError(
                        problem,
                        f"Start without --with {key}, or take another store: "
                        f"{_command(self.folder, names[0])} --with {key}",
                    )
            if key not in present.servers:
                SERVERS[key].find_program()
                present = present.with_server(key, SERVERS[key].settings_type())
        return present

    def _adapted(self, present: State) -> State:
        """Stop what has to run otherwise on this machine as it is now."""
        for server in self._servers(present):
            settings = server.adapted(os.environ)
            if settings != server.settings:
                server.stop()
                present = present.with_server(server.key, settings)
        present.save(self.folder)
        return present

    def _surveyed(self, present: State) -> State:
        settings = {server.key: server.surveyed() for server in self._servers(present)}
        return self._noted(present, settings)

    def _refreshed(self, present: State) -> State:
        settings = {server.key: server.refreshed() for server in self._servers(present)}
        return self._noted(present, settings)

    def _noted(self, present: State, settings: dict[str, Any]) -> State:
        """With these settings of the servers; written only where one is another."""
        if settings == present.servers:
            return present
        present = present.changed(servers=settings)
        present.save(self.folder)
        return present

    def _alone(self) -> AbstractContextManager[None]:
        return held(self._lock, f"Another command is at work on {self.folder}")

    def _start(self, present: State) -> None:
        hosts = [host for key in present.servers for host in SERVERS[key].hosts]
        trust.make_certificates(self.folder / "certs", hosts)
        trust.write_bundle(self.folder / "certs", os.environ)
        try:
            aws_cli.put_on_path(self.folder / "bin")
        except DatalabError as error:  # the rest of the course works
            say(f"The datalab starts without `aws`. {error}")
        duckdb_extensions.install()
        if not present.provisioned:
            clients = [SERVERS[key].import_client for key in present.servers]
            Thread(target=lambda: [each() for each in clients], daemon=True).start()
        started: list[Server] = []
        moved: set[str] = set()
        try:
            for keys in in_turns([*present.servers]):
                begun: list[Server] = []
                for key in keys:
                    server = SERVERS[key](self.folder, present.servers)
                    if server.runs() and not needed_by(key, moved):
                        continue
                    started.append(server)
                    server.begin()  # stops it first: alive and deaf, or with old addresses
                    begun.append(server)
                for server in begun:  # they get ready side by side
                    settings = server.finish()
                    if settings.ports() != present.servers[server.key].ports():
                        moved.add(server.key)
                    present = present.with_server(server.key, settings)
                    present.save(self.folder)
            if not present.provisioned:
                for server in self._servers(present):
                    server.provision()
                present = present.changed(provisioned=True)
                present.save(self.folder)
            self._refreshed(self._surveyed(present))
        except BaseException as error:
            for server in started:  # also on a Ctrl-C: a start is whole or not at all
                server.stop()
            if isinstance(error, Exited):
                raise DatalabError(
                    f"{error.process.name} ended before it answered. Its last words:\n{error}",
                    f"Its log is {error.process.log}. `python -m datalab up` tries again.",
                ) from error
            errors = (each for server in started for each in server.client_errors())
            if isinstance(error, tuple(errors)):
                words = (f"{each.name}: {each.process.last_words(3)}" for each in started)
                raise DatalabError(
                    f"The datalab started, but could not be made ready: {error}\n"
                    "The last words of its servers:\n" + "\n".join(words),
                    f"The logs are in {self.folder / 'logs'}. `python -m datalab up` tries again.",
                ) from error
            raise

    def down(self) -> bool:
        """Stop the servers, keep the data; False if none ran."""
        if self.state() is None:
            return False
        with self._alone(), one_look():
            stopped = [server.stop() for server in reversed(self.servers())]
        return any(stopped)

    def reset(self) -> None:
        """Forget all that was stored; the next :meth:`up` starts from the samples."""
        if self.state() is None:
            return
        with self._alone():
            self.down()
            present = self.state()
            assert present is not None
            # each step leaves what the next `up` can start from, should this be killed
            present = present.changed(provisioned=False)
            present.save(self.folder)
            for server in self._servers(present):
                discarded = server.data.with_name(f"{server.data.name}.discarded")
                if discarded.exists():
                    shutil.rmtree(discarded)
                if server.data.exists():
                    server.data.rename(discarded)
                    shutil.rmtree(discarded)
            # on the same ports: the addresses are noted somewhere
            renewed = {key: settings.renewed() for key, settings in present.servers.items()}
            present.changed(servers=renewed).save(self.folder)

    # -- what notebooks get --------------------------------------------------------

    def environment(self, role: str = "", services: Sequence[str] = ()) -> dict[str, str | None]:
        """The variables of a notebook on this datalab; None for those to be unset.

        Parameters
        ----------
        role
            LAPTOP or SERVICE; where it is empty, as `up` was told.
        services
            Keys of servers whose variables a service has as well.

        Raises
        ------
        DatalabError
            The datalab does not run, or not all of it.
        """
        with one_look():
            stopped = [server.name for server in self.servers() if not server.runs()]
        if stopped:
            raise DatalabError(
                f"{' and '.join(stopped)} of the datalab in {self.folder} "
                f"{'does' if len(stopped) == 1 else 'do'} not run.",
                "Start the datalab with: python -m datalab up",
            )
        with self._alone():
            present = self.state()
            assert present is not None
            if not present.provisioned:
                raise DatalabError(
                    f"The datalab in {self.folder} runs, but its start was interrupted.",
                    "Complete it with: python -m datalab up",
                )
            # the tokens; nothing else changes on a datalab that runs
            present = self._refreshed(present)
        if not role:
            role, services = present.role, [*present.services, *services]
        servers = self._servers(present)
        values = environment(self.folder, servers)
        if role != SERVICE:
            return values
        path = service.path_without(service.GONE, search_path(self.folder), self.folder / "path")
        return service.service_environment(values, servers, path, services)


def default_servers(store: str = "") -> list[str]:
    """Keys of the servers of a datalab that asks for no others but this store."""
    store = store or of_role(STORE)[0]
    return [
        key
        for key, server in SERVERS.items()
        if not server.optional and (server.role != STORE or key == store)
    ]


def wished_store() -> str:
    """The store that ``DATALAB_STORE`` names for new datalabs, or "".

    Raises
    ------
    DatalabError
        It names none.
    """
    wished = os.environ.get(STORE_VARIABLE, "")
    if wished and wished not in of_role(STORE):
        raise DatalabError(
            f"{STORE_VARIABLE} is {wished!r}.",
            f"Set it to {' or '.join(of_role(STORE))}, or unset it: unset {STORE_VARIABLE}",
        )
    return wished


def choose_store(way: Callable[[str], str], also: Sequence[str] = ()) -> str:
    """The store of a new datalab: that of ``DATALAB_STORE``, else the one with the least effort.

    Where that is another than the preferred one, this is said, with the ``way`` to that one.
    It has what the servers want that are asked for ``also``.
    """
    wished = wished_store()
    if wished:
        return wished
    wants = {what for key in also if key in SERVERS for what in SERVERS[key].wants}
    stores = [key for key in of_role(STORE) if wants <= SERVERS[key].has] or of_role(STORE)
    chosen = min(stores, key=lambda key: SERVERS[key].effort())
    preferred = stores[0]
    if chosen != preferred:
        say(
            f"The store is {SERVERS[chosen].name}, which starts at once; "
            f"{SERVERS[preferred].name} would first be built, for some minutes. "
            f"To have {SERVERS[preferred].name}: {way(preferred)}"
        )
    return chosen


def _command(folder: Path, store: str) -> str:
    """What starts a datalab on a store in another folder than this one."""
    other = shlex.quote(str(folder.with_name(f"{folder.name}-{store}")))
    return f"python -m datalab --dir {other} up --store {store}"
