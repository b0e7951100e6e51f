"""Spark, the optional engine of unit 52: Sail, which speaks as a Spark Connect server.

One process holds a driver and its workers. They send each other over TCP what a shuffle
moves, as those of a cluster of machines do. Sail asks nobody for a password: whoever reaches
its port acts as the user of the datalab.
"""

import os
import shlex
import shutil
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import psutil

from datalab.errors import DatalabError
from datalab.files import write
from datalab.machine import sail
from datalab.servers import spark_keys
from datalab.servers.base import Server, Settings
from datalab.servers.store import REGION, StoreSettings

WORKERS_VARIABLE = "DATALAB_SPARK_WORKERS"
MOST_WORKERS = 16
#: What a client of HTTP/2, under gRPC, says first: its preface, and settings that change none.
GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
SETTINGS_FRAME = 4  # the kind of what a server says first
PATIENCE = 5.0  # seconds


class SparkSettings(Settings, frozen=True, kw_only=True):
    """What the datalab remembers of Spark.

    Parameters
    ----------
    port
        Spark Connect. Driver and workers take other free ones, for each session.
    workers
        How many a session has.
    """

    workers: int = 2


class Spark(Server):
    """The Spark of one datalab."""

    key = "spark"
    name = "Spark"
    settings_type = SparkSettings
    settings: SparkSettings
    needs: ClassVar[tuple[str, ...]] = ("store",)  # it reads and writes there
    optional: ClassVar[bool] = True
    of_a_service: ClassVar[bool] = True
    optional_variables: ClassVar[tuple[str, ...]] = ("SPARK_REMOTE",)

    @classmethod
    def check_wishes(cls) -> None:
        """The number of workers is one."""
        wished = os.environ.get(WORKERS_VARIABLE, "")
        if wished and not (wished.isdecimal() and 1 <= int(wished) <= MOST_WORKERS):
            raise DatalabError(
                f"{WORKERS_VARIABLE} is {wished!r}.",
                f"Set it to a number from 1 to {MOST_WORKERS}, or unset it: "
                f"unset {WORKERS_VARIABLE}",
            )

    def adapted(self, environ: Mapping[str, str]) -> SparkSettings:
        """With as many workers as the variable says; where it is not set, as before."""
        wished = environ.get(WORKERS_VARIABLE, "")
        if not wished:
            return self.settings
        return msgspec.structs.replace(self.settings, workers=int(wished))

    @classmethod
    def find_program(cls) -> None:
        """Sail, fetched first where it is found nowhere."""
        sail.python_path()

    @classmethod
    def is_available(cls) -> bool:
        """Whether Sail is here already: 60 MB are not fetched unasked."""
        return sail.is_here()

    def mark(self) -> tuple[str, str]:
        """The folder that it works in."""
        return ("--directory", str(self.data))

    def command(self) -> Sequence[str]:
        """One port of this machine; driver and workers take theirs of this machine, too."""
        return [
            *(sys.executable, "-P", "-m", "pysail", "spark", "server"),
            *("--ip", "127.0.0.1", "--port", str(self.settings.port)),
            *self.mark(),
        ]

    def process_environment(self) -> Mapping[str, str]:
        """Nothing of the user's: where the store is, and who tells the keys to it."""
        store = self.all_settings[self._store]
        workers = str(self.settings.workers)
        return {
            "PATH": os.environ.get("PATH", os.defpath),
            "HOME": str(self.data),
            "TMPDIR": str(self._temporary),
            "PYTHONPATH": sail.python_path(),
            "SSL_CERT_FILE": str(self.authority),
            "AWS_ENDPOINT": f"https://127.0.0.1:{store.port}",
            "AWS_REGION": REGION,
            "AWS_CONFIG_FILE": str(self._aws_config),
            "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
            "AWS_EC2_METADATA_DISABLED": "true",  # else it would look for keys in the network
            "SAIL_MODE": "local-cluster",
            "SAIL_CLUSTER__WORKER_INITIAL_COUNT": workers,
            "SAIL_CLUSTER__WORKER_MAX_COUNT": workers,
            # as many parts on every machine, whatever its processors
            "SAIL_EXECUTION__DEFAULT_PARALLELISM": workers,
            # the libraries of AWS would log the name of each key
            "RUST_LOG": "warn,sail=info",
        }

    def prepare(self) -> None:
        """Its folders; what a killed one left in that for a moment is gone."""
        super().prepare()
        shutil.rmtree(self._temporary, ignore_errors=True)
        self._temporary.mkdir(mode=0o700)

    def configure(self) -> None:
        """Who tells it the keys, which end after seven days and are renewed by then."""
        from datalab.state import FILE  # which knows the servers

        state = str(self.folder / FILE)
        # isolated: what it needs is in Python itself
        command = [sys.executable, "-I", spark_keys.__file__, state, self._store]
        write(self._aws_config, f"[default]\ncredential_process = {shlex.join(command)}\n")

    def is_ready(self) -> bool:
        """Whether *this* Spark answers: the port is of its process, and speaks HTTP/2."""
        process = self.process.find()
        try:
            if process is None or self.settings.port not in _listening(process):
                return False
            address = ("127.0.0.1", self.settings.port)
            with socket.create_connection(address, PATIENCE) as connection:
                connection.sendall(GREETING)
                return connection.recv(4)[3:] == bytes([SETTINGS_FRAME])
        except (OSError, psutil.Error):
            return False

    def variables(self) -> Mapping[str, str]:
        """What PySpark reads where it is told no address."""
        return {"SPARK_REMOTE": f"sc://{self.address}"}

    def service_variables(self) -> Mapping[str, str]:
        """The same."""
        return self.variables()

    def shown(self) -> Mapping[str, str]:
        """Where it is, and with how many workers."""
        workers = self.settings.workers
        return {self.name: f"{self.address}, {workers} worker{'s' if workers > 1 else ''}"}

    @property
    def _store(self) -> str:
        """The key of the datalab's store."""
        return next(
            key for key, each in self.all_settings.items() if isinstance(each, StoreSettings)
        )

    @property
    def _aws_config(self) -> Path:
        return self.data / "aws-config"

    @property
    def _temporary(self) -> Path:
        return self.data / "tmp"


def _listening(process: psutil.Process) -> set[int]:
    return {
        each.laddr.port
        for each in process.net_connections("tcp4")
        if each.status == psutil.CONN_LISTEN
    }
