"""RabbitMQ as a service of the datalab: private, found again, and gone when it is stopped."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pika
import psutil
import pytest

from datalab.lab import Datalab
from datalab.servers import rabbitmq
from datalab.state import State
from tests.laptop import OF_THE_TESTS, call, clear, processes, shell

needs_broker = pytest.mark.skipif(
    OF_THE_TESTS != "minio" or not rabbitmq.RabbitMQ.is_available(),
    reason="RabbitMQ is not on this machine (Debian: the package rabbitmq-server), or its "
    "store sends no notifications",
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "a lab"  # folders of users have spaces in their names
    yield place
    node(place).stop()
    clear(place)


def node(folder: Path) -> rabbitmq.RabbitMQ:
    """The broker of a datalab, found by its folder alone."""
    return rabbitmq.RabbitMQ(folder, State.new(["rabbitmq"]).servers)


def mappers(folder: Path) -> list[psutil.Process]:
    """The ``epmd`` processes of a datalab: they name it in their environment only."""
    home = str(folder / "rabbitmq")
    found = []
    for process in psutil.process_iter(["name"]):
        with suppress(psutil.Error):  # one that ends at this moment
            if process.info["name"] == "epmd" and process.environ().get("HOME") == home:
                found.append(process)
    return found


def amqp_url(folder: Path) -> str:
    done = call(folder, "env", "--json")
    return str(json.loads(done.stdout)["AMQP_URL"])


@needs_broker
def test_a_private_broker_comes_and_goes_with_the_datalab(folder: Path) -> None:
    assert call(folder, "up", "--with", "rabbitmq").returncode == 0
    assert "RabbitMQ     127.0.0.1:" in call(folder, "status").stdout

    running = node(folder).process.find()
    assert running is not None
    (mapper,) = mappers(folder)
    for process in (running, mapper):
        listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert listening
        assert {c.laddr.ip for c in listening} <= {"127.0.0.1", "::1"}

    url = amqp_url(folder)
    pika.BlockingConnection(pika.URLParameters(url)).close()
    address = pika.URLParameters(url)
    address.credentials = pika.PlainCredentials("guest", "guest")
    with pytest.raises(pika.exceptions.AMQPError):
        pika.BlockingConnection(address)
    for file in (folder / "rabbitmq").glob("*"):
        assert file.is_dir() or not file.stat().st_mode & 0o077 or file.name == "none.plugins", file
    assert not (folder.stat().st_mode & 0o077)

    running.kill()
    running.wait(10)
    status = call(folder, "status")
    assert status.returncode == 1
    assert "RabbitMQ     does not run" in status.stdout
    assert call(folder, "up").returncode == 0  # it remembers
    assert amqp_url(folder) == url

    assert call(folder, "down").returncode == 0
    assert processes(folder) == [] and mappers(folder) == []


@needs_broker
def test_a_running_datalab_gets_a_broker_when_asked(folder: Path) -> None:
    assert call(folder, "up").returncode == 0
    assert json.loads(call(folder, "env", "--json").stdout)["AMQP_URL"] is None
    refused = call(folder, "run", "--with", "rabbitmq", "--", "true")
    assert refused.returncode == 1
    assert "up --with rabbitmq" in refused.stderr
    assert call(folder, "up", "--with", "rabbitmq").returncode == 0
    assert call(folder, "run", "--with", "rabbitmq", "--", "true").returncode == 0
    old = Datalab(folder).server("rabbitmq").settings.student_password
    assert call(folder, "reset", "--yes").returncode == 0
    assert Datalab(folder).server("rabbitmq").settings.student_password != old
    pika.BlockingConnection(pika.URLParameters(amqp_url(folder))).close()


def test_without_rabbitmq_the_message_names_the_package(folder: Path) -> None:
    program = (
        "import sys; from datalab import cli; from datalab.servers import rabbitmq;"
        "rabbitmq.SYSTEM_FOLDERS = ();"
        f"sys.exit(cli.main(['--dir', {str(folder)!r}, 'up', '--with', 'rabbitmq']))"
    )
    others = [p for p in os.get_exec_path() if not (Path(p) / "rabbitmq-server").exists()]
    path = os.pathsep.join(others)
    done = subprocess.run(
        [sys.executable, "-c", program],
        env=shell(PATH=path),
        capture_output=True,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    assert done.returncode == 1
    assert "rabbitmq-server" in done.stderr and "Traceback" not in done.stderr
    assert not Datalab(folder).lives()
