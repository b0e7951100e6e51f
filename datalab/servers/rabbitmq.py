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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec
import psutil

from datalab.errors import DatalabError
from datalab.files import write
from datalab.process import Process
from datalab.servers.base import Server, Settings, secret

STUDENT = "student"
PUBLISHER = "minio"
EXCHANGE = "bucket-events"
TARGET = "BROKER"  # MinIO's name of this broker
NOTIFICATION_ARN = f"arn:minio:sqs::{TARGET}:amqp"
# Where the scripts may be although they are not on an ordinary user's PATH.
SYSTEM_FOLDERS = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")


class RabbitMQSettings(Settings, frozen=True, kw_only=True):
    """What the datalab remembers of its broker.

    Parameters
    ----------
    port, distribution_port, mapper_port
        AMQP, the node's own, and that of ``epmd``.
    student_password, publisher_password
        Of the student, and of MinIO, which may publish to one exchange and nothing else.
    cookie
        Whoever knows it may run code in the node (Erlang's distribution).
    """

    distribution_port: int = 0
    mapper_port: int = 0
    student_password: str = msgspec.field(default_factory=secret)
    publisher_password: str = msgspec.field(default_factory=secret)
    cookie: str = msgspec.field(default_factory=secret)


class Node(Process):
    """The broker's process, and the ``epmd`` that Erlang starts beside it and never ends."""

    def stop(self) -> bool:
        """Stop both."""
        stopped = super().stop()
        home = str(Path(self.mark[1]) / RabbitMQ.key)
        for process in psutil.process_iter(["name"]):
            if process.info["name"] != "epmd":
                continue
            try:
                if process.environ().get("HOME") == home:
                    process.kill()  # it has no data
                    process.wait(5)
            except psutil.Error:  # of another user, or gone
                pass
        return stopped


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
        "install rabbitmq), or do without: all of the course but a part of unit 47 does.",
    )


def available() -> bool:
    """Whether this machine has RabbitMQ."""
    try:
        return bool(find())
    except DatalabError:
        return False


class RabbitMQ(Server):
    """The RabbitMQ node of one datalab."""

    key = "rabbitmq"
    name = "RabbitMQ"
    settings_type = RabbitMQSettings
    settings: RabbitMQSettings
    optional: ClassVar[bool] = True
    optional_variables: ClassVar[tuple[str, ...]] = (
        "AMQP_URL",
        "AMQP_EXCHANGE",
        "NOTIFICATION_ARN",
    )
    wants: ClassVar[Mapping[str, str]] = {
        "notifications": "RabbitMQ would receive nothing: the store of this datalab sends no "
        "notifications."
    }

    @classmethod
    def find_program(cls) -> None:
        """RabbitMQ on this machine."""
        find()

    def mark(self) -> tuple[str, str]:
        """A word that Erlang ignores, as it does all that it does not know."""
        return ("-datalab", str(self.folder))

    @property
    def process(self) -> Process:
        """The node, with its ``epmd``."""
        usual = super().process
        return Node(usual.name, usual.mark, usual.log, usual.stop_signal)

    def command(self) -> Sequence[str]:
        """Its node's own port only on this machine."""
        return [
            str(find()),
            *("-kernel", "inet_dist_use_interface", "{127,0,0,1}"),
            *self.mark(),
        ]

    def url(self, user: str = STUDENT) -> str:
        """Address of the broker, with the password of ``user``; %2F is the virtual host ``/``."""
        settings = self.settings
        password = settings.student_password if user == STUDENT else settings.publisher_password
        return f"amqp://{user}:{password}@{self.address}/%2F"

    def variables(self) -> Mapping[str, str]:
        """Where notebooks find it, and the store's name of it."""
        return {
            "AMQP_URL": self.url(),
            "AMQP_EXCHANGE": EXCHANGE,
            "NOTIFICATION_ARN": NOTIFICATION_ARN,
        }

    def process_environment(self) -> Mapping[str, str]:
        """Its own folder for everything, nothing of the machine's broker."""
        folder = self.data
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

    def configure(self) -> None:
        """Users, rights, ports."""
        folder = self.data
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
        write(folder / "definitions.json", json.dumps(definitions, indent=2), 0o400)
        write(
            folder / "rabbitmq.conf",
            f"listeners.tcp.1 = 127.0.0.1:{self.settings.port}\n"
            # with users of our own, RabbitMQ makes no `guest`
            f"load_definitions = {folder / 'definitions.json'}\n"
            "log.console.level = warning\n",
            0o400,
        )
        write(folder / ".erlang.cookie", self.settings.cookie, 0o400)

    def is_ready(self) -> bool:
        """Whether *this* RabbitMQ answers: it knows the student's password."""
        import pika  # not needed to say `status` of a datalab without a broker
        from pika.exceptions import AMQPError

        address = pika.URLParameters(self.url())
        address.socket_timeout = address.stack_timeout = 5
        try:
            pika.BlockingConnection(address).close()
            return True
        except (AMQPError, OSError):
            return False

    def minio_environment(self) -> dict[str, str]:
        """MinIO's variables that make this broker a target of bucket notifications.

        An event is on disk before the request that caused it is answered, and stays there
        until the broker has confirmed that it is on the broker's disk. Of what is written in
        the moment after its start, before it has read the rules of its buckets, MinIO sends
        no event.
        """
        values = {
            "ENABLE": "on",
            "URL": self.url(PUBLISHER),
            "EXCHANGE": EXCHANGE,
            "EXCHANGE_TYPE": "topic",
            "ROUTING_KEY": "s3",
            "DURABLE": "on",
            "DELIVERY_MODE": "2",  # persistent
            "PUBLISHING_CONFIRMS": "on",
            "QUEUE_DIR": str(self.data / "undelivered"),
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
