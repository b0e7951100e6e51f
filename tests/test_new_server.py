"""A server more is one file and one line: here a toy, in a copy of the datalab."""

import json
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalab.state import FILE as STATE
from tests.laptop import DEADLINE, PROJECT, clear, processes, shell, wait_until

pytestmark = pytest.mark.xdist_group("a new server")

#: One file, as a server of somebody's own course might be ...
TOY = '''
"""Python's web server, which serves a folder."""

import sys

import msgspec

from datalab.files import write
from datalab.https import get
from datalab.servers.base import Server, Settings, secret


class ToySettings(Settings, frozen=True, kw_only=True):
    password: str = msgspec.field(default_factory=secret)


class Toy(Server):
    key = "toy"
    name = "Toy"
    settings_type = ToySettings

    def mark(self):
        return ("--directory", str(self.data))

    def command(self):
        serve = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1"]
        return [*serve, *self.mark(), str(self.settings.port)]

    def configure(self):
        write(self.data / "password", self.settings.password)

    def is_ready(self):
        answer = get(f"http://{self.address}/password", self.authority)
        return answer == (200, self.settings.password.encode())

    def variables(self):
        return {"TOY_URL": f"http://{self.address}/"}
'''
#: ... and one line.
LINE = "from datalab.servers.toy import Toy; SERVERS[Toy.key] = Toy"


class Copy:
    """A datalab with a server more, run from a folder of its own."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.lab = room / "lab"
        # as it is installed, without the course's data: seconds less a start
        ignore = shutil.ignore_patterns("__pycache__", "samples", "local_sites")
        shutil.copytree(PROJECT / "datalab", room / "datalab", ignore=ignore)
        servers = room / "datalab" / "servers"
        (servers / "toy.py").write_text(TOY)
        with (servers / "__init__.py").open("a") as file:
            file.write(f"\n{LINE}\n")

    def call(self, *words: str, code: int = 0) -> str:
        """One command; gives all that it said."""
        done = subprocess.run(
            [sys.executable, "-m", "datalab", "--dir", str(self.lab), *words],
            cwd=self.room,
            env=shell(TMPDIR=str(self.room)),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE * 2,
        )
        said = done.stdout + done.stderr
        assert done.returncode == code, said
        assert "Traceback" not in said
        return said

    def asked(self, what: str) -> str:
        """What a command in the datalab's environment is answered by the toy."""
        code = "import os, sys, urllib.request as u; "
        code += "print(u.urlopen(os.environ['TOY_URL'] + sys.argv[1]).read().decode())"
        return self.call("run", "--", "python", "-c", code, what).strip().splitlines()[-1]

    @property
    def settings(self) -> dict[str, object]:
        return json.loads((self.lab / STATE).read_text())["servers"]["toy"]


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    made = Copy(tmp_path_factory.mktemp("copy"))
    yield made
    clear(made.room)


@pytest.fixture
def running(copy: Copy) -> Copy:
    copy.call("up")
    (copy.lab / "toy" / "mine.txt").write_text("my work")
    return copy


def toys(copy: Copy) -> list[int]:
    return [process.pid for process in processes(copy.lab) if "http.server" in process.cmdline()]


def test_it_is_started_shown_and_found_by_a_command(running: Copy) -> None:
    address = f"127.0.0.1:{running.settings['port']}"
    assert any(line.split() == ["Toy", address] for line in running.call("status").splitlines())
    assert f"export TOY_URL=http://{address}/" in running.call("env").splitlines()
    assert running.asked("mine.txt") == "my work"
    assert "runs already" in running.call("up")
    assert len(toys(running)) == 1


def test_killed_it_is_missed_and_started_again(running: Copy) -> None:
    before = running.settings
    (toy,) = toys(running)
    subprocess.run(["kill", "-KILL", str(toy)], check=True)
    wait_until(lambda: not toys(running), "the toy is dead")
    assert "does not run" in running.call("status", code=1)
    assert "Toy" in running.call("env", code=1)
    running.call("up")
    assert running.settings == before
    assert running.asked("mine.txt") == "my work"


def test_a_port_that_was_taken_meanwhile_is_chosen_anew(running: Copy) -> None:
    before = running.settings
    running.call("down")
    assert toys(running) == []
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(("127.0.0.1", before["port"]))
        other.listen()
        running.call("up")
    after = running.settings
    assert after["port"] != before["port"] and after["password"] == before["password"]
    assert running.asked("mine.txt") == "my work"


def test_reset_forgets_what_it_held_and_keeps_its_port(running: Copy) -> None:
    before = running.settings
    running.call("reset", "--yes")
    after = running.settings
    assert after["port"] == before["port"] and after["password"] != before["password"]
    assert not (running.lab / "toy" / "mine.txt").exists()
    assert running.asked("password") == after["password"]


def test_it_ends_with_the_others(running: Copy) -> None:
    running.call("down")
    assert processes(running.lab) == []
    assert running.call("status", code=3).startswith("No datalab runs")
    # on a datalab of its own, which is removed
    assert len(running.asked("password")) == 40
    assert processes(running.room) == []
    assert list(running.room.glob("datalab-*")) == []
