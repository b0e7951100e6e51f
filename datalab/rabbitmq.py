"""RabbitMQ, the optional message broker: MinIO tells it of each object written or deleted.

Debian's scripts on PATH change to a system user and keep their data in /var; the scripts
behind them, and Erlang, serve as well as a private node that writes to one folder only.
"""

import base64
import hashlib
import json
import os
import secrets
import shutil
import signal
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from datalab.errors import DatalabError
from datalab.services import Server, free_port, is_free, persistently

STUDENT = "student"
PUBLISHER = "minio"
EXCHANGE = "bucket-events"
TARGET = "BROKER"  # MinIO's name of this broker
PORTS = ("port", "distribution_port", "mapper_port")  # of Settings
NOTIFICATION_ARN = f"arn:minio:sqs::{TARGET}:amqp"
# Where the scripts may be although they are not on an ordinary user's PATH.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


@dataclass(frozen=True)
class Settings:
    """What the datalab remembers of its broker.

    Parameters
    ----------
    student_password, publisher_password
        Of the student, and of MinIO, which may publish to one exchange and nothing else.
    cookie
        Whoever knows it may run code in the node (Erlang's distribution).
    port, distribution_port, mapper_port
        TCP ports of 127.0.0.1: AMQP, the node's own, and that of ``epmd``.
    """

    student_password: str
    publisher_password: str
    cookie: str
    port: int = 0
    distribution_port: int = 0
    mapper_port: int = 0

    @classmethod
    def new(cls) -> "Settings":
        """Fresh random credentials."""
        return cls(secrets.token_hex(20), secrets.token_hex(20), secrets.token_hex(20))

    def renewed(self) -> "Settings":
        """Fresh credentials on the same ports."""
        return replace(Settings.new(), **{name: getattr(self, name) for name in PORTS})

    def url(self, user: str = STUDENT) -> str:
        """Address of the broker, with the password of ``user``; %2F is the virtual host ``/``."""
        password = self.student_password if user == STUDENT else self.publisher_password
        return f"amqp://{user}:{password}@127.0.0.1:{self.port}/%2F"


@dataclass(frozen=True)
class Node(Server):
    """The broker's process, and the ``epmd`` that Erlang starts beside it and never ends."""

    def stop(self) -> bool:
        """Stop both."""
        stopped = super().stop()
        for process in psutil.process_iter(["name"]):
            if process.info["name"] != "epmd":
                continue
            try:
                if process.environ().get("HOME") == str(self.folder):
                    process.kill()  # it has no data
                    process.wait(5)
            except psutil.Error:  # of another user, or gone
                pass
        return stopped


def server(folder: Path) -> Node:
    """The server process of the datalab in ``folder``."""
    return Node(
        "RabbitMQ",
        folder / "rabbitmq",
        mark=("-datalab", str(folder)),  # Erlang ignores words that it does not know
        log=folder / "logs" / "rabbitmq.log",
        stop_signal=signal.SIGTERM,
    )


def find() -> Path:
    """The script ``rabbitmq-server`` that runs as any user.

    Raises
    ------
    DatalabError
        RabbitMQ is not on this machine; names the package.
    """
    for folder in (*os.get_exec_path(), *SYSTEM_FOLDERS):
        found = shutil.which("rabbitmq-server", path=folder)
        if found is None:
            continue
        # Debian's is a link to a wrapper, which has the real one beside it. The wrapper
        # goes by the name that it is called with: under its own it calls itself forever.
        script = Path(found).resolve().with_name("rabbitmq-server").resolve()
        if script.name == "rabbitmq-server" and script.with_name("rabbitmq-env").exists():
            return script
    raise DatalabError(
        "RabbitMQ is not on this machine: there is no `rabbitmq-server` on PATH.",
        "Install it (Debian and Ubuntu: sudo apt-get install rabbitmq-server; macOS: brew "
        "install rabbitmq), or do without: all of the course but a part of chapter 8 does.",
    )


def available() -> bool:
    """Whether this machine has RabbitMQ."""
    try:
        return bool(find())
    except DatalabError:
        return False


class Rabbit:
    """The RabbitMQ node of one datalab; all that it writes goes into ``rabbitmq/``."""

    def __init__(self, folder: Path, settings: Settings) -> None:
        self.server = server(folder)
        self.settings = settings

    def start(self) -> Settings:
        """Start the node on the ports of the settings, or on others if they are taken.

        Returns
        -------
        Settings
            With the ports that it listens on.
        """
        program = find()
        self.server.folder.mkdir(mode=0o700, exist_ok=True)
        return persistently(partial(self._start_once, program))

    def _start_once(self, program: Path) -> Settings:
        self.server.stop()  # an epmd that outlived its node would keep the port
        wanted = {name: getattr(self.settings, name) for name in PORTS}
        ports: dict[str, Any] = {
            name: port if port and is_free(port) else free_port() for name, port in wanted.items()
        }
        self.settings = replace(self.settings, **ports)
        self._configure()
        command = [
            str(program),
            # else the node's own port is open to other machines
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *self.server.mark,
        ]
        self.server.start(command, partial(self.answers, ports["port"]), self._environment())
        return self.settings

    def _environment(self) -> dict[str, str]:
        folder = self.server.folder
        foreign = ("RABBITMQ_", "ERL_", "ERLANG_")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
        return kept | {
            "HOME": str(folder),  # where Erlang looks for its cookie
            "RABBITMQ_NODENAME": "datalab@localhost",
            "RABBITMQ_DIST_PORT": str(self.settings.distribution_port),
            "ERL_EPMD_PORT": str(self.settings.mapper_port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_MNESIA_BASE": str(folder / "data"),
            "RABBITMQ_LOG_BASE": str(folder / "data"),
            "RABBITMQ_LOGS": "-",  # to our own log
            # files of /etc that are of the machine's broker
            "RABBITMQ_CONF_ENV_FILE": str(folder / "none"),
            "RABBITMQ_CONFIG_FILES": str(folder / "none.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "none.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "none.plugins"),
            "RUNNING_UNDER_SYSTEMD": "true",  # become the node, do not wait beside it
        }

    def _configure(self) -> None:
        folder = self.server.folder
        everything = {"configure": ".*", "write": ".*", "read": ".*"}
        one_exchange = f"^{EXCHANGE}$"
        definitions = {
            "vhosts": [{"name": "/"}],
            "users": [
                _user(STUDENT, self.settings.student_password),
                _user(PUBLISHER, self.settings.publisher_password),
            ],
            "permissions": [
                {"user": STUDENT, "vhost": "/", **everything},
                {
                    "user": PUBLISHER,
                    "vhost": "/",
                    "configure": one_exchange,
                    "write": one_exchange,
                    "read": "^$",
                },
            ],
        }
        _write(folder / "definitions.json", json.dumps(definitions, indent=2))
        _write(
            folder / "rabbitmq.conf",
            f"listeners.tcp.1 = 127.0.0.1:{self.settings.port}\n"
            # with users of our own, RabbitMQ makes no `guest`
            f"load_definitions = {folder / 'definitions.json'}\n"
            "log.console.level = warning\n",
        )
        _write(folder / ".erlang.cookie", self.settings.cookie)

    def answers(self, port: int) -> bool:
        """Whether *this* RabbitMQ answers: it knows the student's password."""
        import pika  # not needed to say `status` of a datalab without a broker
        from pika.exceptions import AMQPError

        address = pika.URLParameters(replace(self.settings, port=port).url())
        address.socket_timeout = address.stack_timeout = 5
        try:
            pika.BlockingConnection(address).close()
            return True
        except (AMQPError, OSError):
            return False


def minio_environment(folder: Path, settings: Settings) -> dict[str, str]:
    """MinIO's variables that make this broker a target of bucket notifications.

    An event is on disk before the request that caused it is answered, and stays there
    until the broker has confirmed that it is on the broker's disk.
    """
    waiting = folder / "rabbitmq" / "undelivered"
    values = {
        "ENABLE": "on",
        "URL": settings.url(PUBLISHER),
        "EXCHANGE": EXCHANGE,
        "EXCHANGE_TYPE": "topic",
        "ROUTING_KEY": "s3",
        "DURABLE": "on",
        "DELIVERY_MODE": "2",  # persistent
        "PUBLISHING_CONFIRMS": "on",
        "QUEUE_DIR": str(waiting),
    }
    variables = {f"MINIO_NOTIFY_AMQP_{name}_{TARGET}": value for name, value in values.items()}
    return variables | {"MINIO_API_SYNC_EVENTS": "on"}


def _user(name: str, password: str) -> dict[str, object]:
    # RabbitMQ's form: base64 of four bytes of salt, then SHA-256 of salt and password
    salt = secrets.token_bytes(4)
    digest = hashlib.sha256(salt + password.encode()).digest()
    return {
        "name": name,
        "password_hash": base64.b64encode(salt + digest).decode(),
        "hashing_algorithm": "rabbit_password_hashing_sha256",
        "tags": "",
    }


def _write(file: Path, text: str) -> None:
    unfinished = file.with_name(f"{file.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT, 0o600), "w") as stream:
        stream.write(text)
    unfinished.chmod(0o400)
    unfinished.replace(file)
