"""The commands of the datalab, on datalabs of their own, in good situations and in bad."""

import json
import os
import pty
import shlex
import shutil
import signal
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from socketserver import BaseRequestHandler, TCPServer
from typing import Any

import boto3
import psycopg
import pytest
import trustme
from botocore import UNSIGNED
from botocore.config import Config

from datalab.lab import Datalab
from datalab.machine import binaries, seaweedfs
from datalab.machine.binaries import cache_folder
from datalab.machine.trust import BUNDLE_VARIABLES
from datalab.servers import SERVERS as ALL
from datalab.servers import base
from datalab.servers.minio import Minio
from datalab.state import FILE as STATE
from tests.laptop import (
    OF_THE_TESTS,
    PROJECT,
    STORE_PROGRAM,
    call,
    clear,
    command,
    processes,
    program,
    servers,
    shell,
    start,
    wait_until,
)

pytestmark = pytest.mark.xdist_group("datalabs of their own")

SERVERS = sorted(["issuer", STORE_PROGRAM, "postgres"])
only_minio = pytest.mark.skipif(
    Minio.key != OF_THE_TESTS, reason="about MinIO; these tests run on another store"
)


@pytest.fixture(scope="module")
def furnished(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A datalab that was started once and stopped, to be copied: seconds less a test."""
    folder = tmp_path_factory.mktemp("furnished") / "lab"
    done = call(folder, "up")
    assert done.returncode == 0, done.stderr
    done = call(folder, "down")
    assert done.returncode == 0, done.stderr
    assert servers(folder) == []
    yield folder
    clear(folder)


@pytest.fixture
def lab(furnished: Path, tmp_path: Path) -> Iterator[Path]:
    """A stopped datalab."""
    folder = tmp_path / "lab"
    subprocess.run(["cp", "-a", furnished, folder], check=True)
    yield folder
    clear(folder)


@pytest.fixture(scope="module")
def running(furnished: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A running datalab, for tests that leave it as it is."""
    folder = tmp_path_factory.mktemp("running") / "lab"
    subprocess.run(["cp", "-a", furnished, folder], check=True)
    values = json.loads((folder / STATE).read_text())
    # the ports of the original stay free for the tests of ports
    for settings in values["servers"].values():
        settings |= {name: 0 for name in settings if name.endswith("port")}
    (folder / STATE).write_text(json.dumps(values))
    up(folder)
    yield folder
    clear(folder)


@pytest.fixture
def fresh(tmp_path: Path) -> Iterator[Path]:
    """A folder that does not exist yet."""
    folder = tmp_path / "fresh"
    yield folder
    clear(folder)


def up(folder: Path, env: dict[str, str] | None = None) -> dict[str, str]:
    """Start it; gives what a notebook would have got at that moment."""
    done = call(folder, "up", env=env)
    assert done.returncode == 0, done.stderr
    assert servers(folder) == SERVERS
    return variables(folder, env)


def variables(folder: Path, env: dict[str, str] | None = None) -> dict[str, str]:
    values = json.loads(call(folder, "env", "--json", env=env).stdout)
    return {name: value for name, value in values.items() if value is not None}


@contextmanager
def notebook(env: dict[str, str]) -> Iterator[tuple[Any, psycopg.Connection[Any]]]:
    """The clients of a notebook that was started with these variables and knows no others."""
    with pytest.MonkeyPatch.context() as patch:
        for name in os.environ.keys() - shell().keys():
            patch.delenv(name)
        for name, value in env.items():
            patch.setenv(name, value)
        with psycopg.connect(autocommit=True) as connection:
            yield boto3.Session().client("s3"), connection


def store(env: dict[str, str]) -> None:
    with notebook(env) as (s3, connection):
        s3.put_object(Bucket="student", Key="mine.txt", Body=b"my work")
        connection.execute("CREATE TABLE mine AS SELECT 'my work' AS what")


def stored(env: dict[str, str]) -> bool:
    """Whether all that :func:`store` stored is there."""
    with notebook(env) as (s3, connection):
        text = s3.get_object(Bucket="student", Key="mine.txt")["Body"].read()
        row = connection.execute("SELECT what FROM mine").fetchone()
    return (text, row) == (b"my work", ("my work",))


def logs_in(env: dict[str, str]) -> bool:
    """Whether the store gives keys for the student's present identity token."""
    with notebook(env):
        sts = boto3.Session().client("sts", config=Config(signature_version=UNSIGNED))
        given = sts.assume_role_with_web_identity(
            RoleArn="arn:aws:iam::minio:role/student",
            RoleSessionName="test",
            WebIdentityToken=Path(env["MY_TOKEN_FILE"]).read_text(),
        )
    return bool(given["Credentials"]["SessionToken"])


def only_samples(env: dict[str, str]) -> bool:
    """Whether it is as after the first start."""
    with notebook(env) as (s3, connection):
        counts = [
            s3.list_objects_v2(Bucket=bucket)["KeyCount"] for bucket in ("student", "donnees-insee")
        ]
        row = connection.execute("SELECT to_regclass('mine')").fetchone()
    return (counts, row) == ([0, 9], (None,))


# -- up and down -----------------------------------------------------------------------


def test_up_twice_is_up_once(running: Path) -> None:
    first = variables(running)
    pids = {process.pid for process in processes(running)}
    done = call(running, "up")
    assert done.returncode == 0
    assert "runs already" in done.stderr
    assert f"https://{first['AWS_S3_ENDPOINT']}" in done.stdout
    assert {process.pid for process in processes(running)} == pids
    assert variables(running) == first


def test_two_ups_at_once_make_one_datalab(fresh: Path) -> None:
    both = [start(command(fresh, "up")) for _ in range(2)]
    said = [process.communicate(timeout=120)[1] for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert "Traceback" not in "".join(said)
    assert servers(fresh) == SERVERS
    assert only_samples(variables(fresh))


def test_what_was_stored_and_where_survives_down_and_up(lab: Path) -> None:
    before = up(lab)
    store(before)
    done = call(lab, "down")
    assert done.returncode == 0
    assert "its data stays" in done.stderr
    assert servers(lab) == []
    assert up(lab) == before  # the same ports, the same token: notebooks go on
    assert stored(before)


@pytest.mark.parametrize("there", [True, False])
def test_down_with_nothing_running_is_no_error(furnished: Path, fresh: Path, there: bool) -> None:
    folder = furnished if there else fresh
    done = call(folder, "down")
    assert done.returncode == 0
    assert "No datalab was running" in done.stderr
    assert not fresh.exists()


def test_status_says_by_its_exit_code_what_runs(
    furnished: Path, running: Path, fresh: Path
) -> None:
    assert call(fresh, "status").returncode == 3
    assert not fresh.exists()
    done = call(furnished, "status")
    assert (done.returncode, done.stdout) == (3, f"No datalab runs in {furnished}.\n")
    env = variables(running)
    done = call(running, "status")
    assert done.returncode == 0
    store = f"store        {ALL[OF_THE_TESTS].name}"
    for part in (env["AWS_S3_ENDPOINT"], store, f"127.0.0.1:{env['PGPORT']}", str(running)):
        assert part in done.stdout


LOOK = """
import sys
import psutil

looks, look = [], psutil.process_iter
psutil.process_iter = lambda *args, **options: looks.append(1) or look(*args, **options)
from datalab import cli

assert cli.main(sys.argv[1:]) == 0
clients = {"boto3", "duckdb", "minio", "numpy", "pyarrow", "rich", "trustme"}
print(len(looks), sorted(clients & sys.modules.keys()), file=sys.stderr)
"""


@pytest.mark.parametrize("words", ["status", "env"])
def test_a_quick_command_looks_at_all_processes_once_and_imports_no_client(
    running: Path, words: str
) -> None:
    program = [sys.executable, "-c", LOOK, "--dir", str(running), words]
    done = subprocess.run(program, env=shell(), cwd=PROJECT, capture_output=True, text=True)
    assert done.stderr == "1 []\n"


def test_datalabs_run_side_by_side(lab: Path, furnished: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    subprocess.run(["cp", "-a", furnished, other], check=True)  # with the same ports in mind
    try:
        one, two = up(lab), up(other)
        assert not {one["AWS_S3_ENDPOINT"], one["PGPORT"]} & {two["AWS_S3_ENDPOINT"], two["PGPORT"]}
        store(one)
        assert only_samples(two)
        assert call(other, "down").returncode == 0
        assert servers(other) == []
        assert stored(one)
    finally:
        clear(other)


def test_a_program_that_only_names_the_folder_is_not_taken_for_a_server(lab: Path) -> None:
    for name in SERVERS:
        look = start(["tail", "-f", "/dev/null", str(lab / name)])
        wait_until(lambda: processes(lab), "tail runs")
        try:
            assert "No datalab was running" in call(lab, "down").stderr
            assert look.poll() is None
        finally:
            look.kill()
            look.communicate()


def test_git_does_not_see_a_folder_in_a_repository(lab: Path) -> None:
    subprocess.run(["git", "init", "--quiet", lab.parent], check=True)
    status = ["git", "-C", str(lab.parent), "status", "--porcelain", "--untracked-files=all"]
    assert subprocess.check_output(status, text=True) == ""


def test_reset_asks_and_gives_the_samples_again(lab: Path) -> None:
    before = up(lab)
    store(before)
    done = call(lab, "reset")
    assert done.returncode == 1
    assert "reset --yes" in done.stderr
    assert on_a_terminal(command(lab, "reset"), b"n\n")[0] == 1
    assert stored(before)

    done = call(lab, "reset", "--yes")
    assert done.returncode == 0, done.stderr
    after = variables(lab)
    assert after["AWS_ENDPOINT_URL"] == before["AWS_ENDPOINT_URL"]
    assert after["PGPASSWORD"] != before["PGPASSWORD"]
    assert only_samples(after)


# -- env ---------------------------------------------------------------------------------


def test_env_can_be_evaluated_by_a_shell_whatever_the_values_hold(lab: Path) -> None:
    odd = """/it's "odd"/$HOME/`x`/a b"""
    env = shell(PATH=f"{odd}{os.pathsep}{os.environ['PATH']}", AWS_PROFILE="work", PGSERVICE="x")
    up(lab, env)
    words = shlex.join(command(lab, "env"))
    script = f'eval "$({words})"; exec {shlex.quote(sys.executable)} -c "$0"'
    code = "import json, os; print(json.dumps(dict(os.environ)))"
    done = subprocess.run(
        ["sh", "-c", script, code], cwd=PROJECT, env=env, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    got = json.loads(done.stdout)
    assert odd in got["PATH"].split(os.pathsep)
    expected = variables(lab, env)
    assert {name: got[name] for name in expected} == expected
    assert not {"AWS_PROFILE", "PGSERVICE"} & got.keys()


def test_env_with_nothing_running_says_what_to_do(furnished: Path) -> None:
    done = call(furnished, "env")
    assert (done.returncode, done.stdout) == (1, "")
    assert "python -m datalab up" in done.stderr


def test_the_bundle_of_a_company_is_extended_also_in_a_shell_of_the_datalab(
    lab: Path, tmp_path: Path
) -> None:
    company = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    company.issue_cert("localhost").configure_cert(context)
    company.cert_pem.write_to_path(str(tmp_path / "company.pem"))

    class Intranet(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"intranet")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Intranet) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        code = f"""
import os, urllib.request, requests
for url in ("https://localhost:{server.server_port}/", os.environ["AWS_ENDPOINT_URL"] +
            "earth-science/public/README.md"):
    assert requests.get(url).status_code == urllib.request.urlopen(url).status == 200
print("trusted")
"""
        look = f"{shlex.quote(sys.executable)} -c {shlex.quote(code)}"
        mine = shlex.join(command(lab))
        # the second half is what a student does in a terminal of `make lab`
        script = (
            f"{look} && {mine} down && {mine} up && {look} && {mine} run -- {look} && aws s3 ls"
        )
        env = shell(SSL_CERT_FILE=str(tmp_path / "company.pem"))
        up(lab, env)
        done = call(lab, "run", "--", "sh", "-c", script, env=env)
        server.shutdown()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trusted") == 3
    assert "donnees-insee" in done.stdout
    inside = variables(lab, env)
    assert {inside[name] for name in BUNDLE_VARIABLES} == {str(lab / "certs" / "bundle.pem")}


def test_duckdb_finds_httpfs_in_an_empty_home(lab: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    code = "import duckdb; c = duckdb.connect(); c.sql('SET autoinstall_known_extensions = false');"
    code += "c.sql('INSTALL httpfs'); c.sql('LOAD httpfs'); print('loaded')"
    # pip, Go and DuckDB would go through this proxy, which is not there
    env = shell(HOME=str(home), HTTPS_PROXY="http://127.0.0.1:9", HTTP_PROXY="http://127.0.0.1:9")
    if Minio.key == OF_THE_TESTS:
        env["DATALAB_MINIO"] = str(binaries.find_minio())
    else:
        env["DATALAB_WEED"] = str(seaweedfs.find_weed()[0])
    up(lab, env)
    done = call(lab, "run", "--", "python", "-c", code, env=env)
    assert done.stdout == "loaded\n", done.stderr


def test_a_damaged_server_is_told_with_the_way_out(fresh: Path, tmp_path: Path) -> None:
    damaged = tmp_path / "data-in-the-cloud" / binaries.cached().relative_to(cache_folder())
    damaged.parent.mkdir(parents=True)
    damaged.write_bytes(b"\x7fELF, and nothing more")
    damaged.chmod(0o755)
    path = str(Path(sys.executable).parent) + os.pathsep + os.defpath  # without a MinIO
    done = call(fresh, "up", "--store", "minio", env=shell(XDG_CACHE_HOME=str(tmp_path), PATH=path))
    assert done.returncode == 1
    assert str(damaged) in done.stderr and "delete it" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("cache", ["cannot be written", "is damaged"])
def test_it_starts_whatever_became_of_what_the_cache_keeps(
    fresh: Path, tmp_path: Path, cache: str
) -> None:
    place = tmp_path / "cache"
    env = shell(XDG_CACHE_HOME=str(place), DATALAB_MINIO=str(binaries.find_minio()))
    if cache == "cannot be written":
        place.touch()
        assert only_samples(up(fresh, env))
        return
    (place / "data-in-the-cloud").mkdir(parents=True)
    for each in cache_folder().glob("awscli-*"):
        (place / "data-in-the-cloud" / each.name).symlink_to(each)
    archives = place / "data-in-the-cloud" / "archives"
    shutil.copytree(cache_folder() / "archives", archives)
    for archive in archives.glob("*.zip"):
        os.truncate(archive, archive.stat().st_size // 2)
    before = {kind: newest(archives, kind).stat().st_size for kind in ("postgres", "samples")}
    first = start(command(fresh, "up"), env=env)
    wait_until(lambda: [*fresh.glob("postgres.empty/*")], "it makes an empty database")
    first.kill()
    first.communicate()
    assert only_samples(up(fresh, env))
    assert [*fresh.glob("postgres.*"), *archives.glob("*.unfinished")] == []
    assert all(newest(archives, kind).stat().st_size > before[kind] for kind in before)


def newest(archives: Path, kind: str) -> Path:
    return max(archives.glob(f"{kind}-*.zip"), key=lambda archive: archive.stat().st_mtime_ns)


def test_no_password_is_kept_in_the_cache_and_no_two_datalabs_have_the_same(
    furnished: Path, lab: Path
) -> None:
    archive = newest(cache_folder() / "archives", "postgres")
    assert b"SCRAM-SHA-256$" not in archive.read_bytes()  # how PostgreSQL keeps a password
    assert call(lab, "reset", "--yes").returncode == 0
    secrets = [
        Datalab(folder).server("postgres").settings.administrator for folder in (lab, furnished)
    ]
    assert secrets[0] != secrets[1]
    up(lab)
    files = [lab / "postgres", *(lab / "postgres").rglob("*")]
    assert not [file for file in files if file.stat().st_mode & 0o077]


def test_stray_variables_do_not_keep_it_from_starting(fresh: Path) -> None:
    env = shell(
        AWS_PROFILE="work",
        AWS_ENDPOINT_URL_S3="https://127.0.0.1:9",
        PGSERVICE="work",
        PGOPTIONS="-c nonsense=1",
        MINIO_VOLUMES="/nonexistent",
        HTTPS_PROXY="http://127.0.0.1:9",
        LC_ALL="xx_XX.UTF-8",
    )
    assert only_samples(up(fresh, env))


# -- wrong command lines -----------------------------------------------------------------


def test_an_unknown_command_is_named(fresh: Path) -> None:
    done = call(fresh, "lift")
    assert done.returncode == 2
    assert "lift" in done.stderr


@pytest.mark.parametrize("words", [["run"], ["run", "--"]])
def test_run_without_a_command_says_how_it_is_used(fresh: Path, words: list[str]) -> None:
    done = call(fresh, *words)
    assert done.returncode == 2
    assert "run -- CMD" in done.stderr


@pytest.mark.parametrize("runs", [True, False])
def test_run_of_what_cannot_run_ends_as_in_a_shell(
    furnished: Path, running: Path, tmp_path: Path, runs: bool
) -> None:
    plain = tmp_path / "plain.txt"
    plain.write_text("not a program")
    cases = {"no-such-program": 127, str(tmp_path / "absent"): 127, str(plain): 126}
    cases |= {str(tmp_path): 126}
    if runs:  # known only when it is tried
        broken = tmp_path / "broken"
        broken.write_bytes(b"\x7fELF")
        broken.chmod(0o755)
        cases[str(broken)] = 126
    for name, code in cases.items():
        folder = running if runs else furnished
        done = call(folder, "run", "--", name, env=shell(TMPDIR=str(tmp_path)))
        assert done.returncode == code, done.stderr
        assert name in done.stderr
    assert list(tmp_path.glob("datalab-*")) == []


# -- run -----------------------------------------------------------------------------------


def test_run_uses_the_running_datalab_and_passes_on_code_and_arguments(running: Path) -> None:
    env = variables(running)
    script = 'echo "$AWS_S3_ENDPOINT" "$@"; exit 41'
    done = call(running, "run", "--", "sh", "-c", script, "sh", "--dir", "a b", "--", "$x")
    assert done.returncode == 41
    assert done.stdout.strip() == f"{env['AWS_S3_ENDPOINT']} --dir a b -- $x"
    done = call(running, "run", "--", "sh", "-c", "kill -KILL $$")
    assert done.returncode == 128 + 9
    assert servers(running) == SERVERS


# Says what it gets, and ends at SIGTERM only.
TRAPS = """
trap 'echo got INT' INT
trap 'echo got TERM; exit 7' TERM
echo "$AWS_S3_ENDPOINT" $$
while :; do sleep 0.05; done
"""


def temporary_labs(parent: Path) -> list[Path]:
    return [path for path in parent.glob("datalab-*") if path.is_dir()]


@pytest.fixture
def room(tmp_path: Path) -> Iterator[Path]:
    """Where ``run`` puts datalabs of its own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    yield folder
    clear(folder)


def test_run_passes_signals_on_and_removes_a_datalab_of_its_own(
    furnished: Path, room: Path
) -> None:
    run = start(command(furnished, "run", "--", "sh", "-c", TRAPS), env=shell(TMPDIR=str(room)))
    assert run.stdout
    assert run.stdout.readline().startswith("127.0.0.1:")
    (own,) = temporary_labs(room)
    assert servers(own) == SERVERS
    assert servers(furnished) == []
    run.send_signal(signal.SIGINT)
    assert run.stdout.readline() == "got INT\n"
    assert servers(own) == SERVERS
    run.send_signal(signal.SIGTERM)
    said, errors = run.communicate(timeout=60)
    assert (run.returncode, said) == (7, "got TERM\n")
    assert "Traceback" not in errors
    assert processes(room) == []
    assert list(room.iterdir()) == []


def test_run_that_is_killed_leaves_nothing(fresh: Path, room: Path) -> None:
    script = "echo $$; exec sleep 600"
    run = start(command(fresh, "run", "--", "sh", "-c", script), env=shell(TMPDIR=str(room)))
    assert run.stdout
    orphan = int(run.stdout.readline())
    try:
        shared = {
            Path(mapping.path)
            for process in processes(room)
            for mapping in (process.memory_maps() if sys.platform == "linux" else ())
            if mapping.path.startswith("/dev/shm/PostgreSQL")  # noqa: S108
        }
        assert shared or sys.platform != "linux"
        run.kill()
        wait_until(lambda: not processes(room), "the cleaning process and the servers are gone")
        assert list(room.iterdir()) == []
        assert not [path for path in shared if path.exists()]
    finally:
        os.kill(orphan, signal.SIGKILL)
        run.communicate()


def on_a_terminal(words: list[str], keys: bytes, wait_for: bytes = b"") -> tuple[int, str]:
    """Type ``keys`` once the program has said ``wait_for``; gives its code and output."""
    pid, terminal = pty.fork()
    if pid == 0:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.chdir(PROJECT)
        os.execve(words[0], words, shell())  # noqa: S606
    said = b""
    typed = False
    while True:
        try:
            part = os.read(terminal, 4096)
        except OSError:  # how Linux says that the other end is closed
            part = b""
        if not part:
            break
        said += part
        if not typed and wait_for in said:
            os.write(terminal, keys)
            typed = True
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), said.decode()


def test_ctrl_c_on_a_terminal_reaches_the_command_once(running: Path) -> None:
    count = """
import signal, sys, time
caught = []
signal.signal(signal.SIGINT, lambda *_: caught.append(1))
print("ready", flush=True)
while not caught:
    time.sleep(0.05)
time.sleep(0.5)  # for a second one to arrive
sys.exit(40 + len(caught))
"""
    words = shlex.join(command(running, "run", "--", "python", "-c", count))
    # as in `cmd < file`: standard input is not the terminal
    code, said = on_a_terminal(["/bin/sh", "-c", f"exec {words} </dev/null"], b"\x03", b"ready")
    assert code == 41, said


# -- bad situations --------------------------------------------------------------------------


def kill(folder: Path, name: str) -> None:
    found = [process for process in processes(folder) if program(process) == name]
    assert len(found) == 1
    found[0].kill()
    wait_until(lambda: name not in servers(folder), f"{name} is dead")


def test_servers_killed_are_seen_and_repaired_without_a_loss(lab: Path) -> None:
    before = up(lab)
    store(before)
    labels = {"postgres": "PostgreSQL", "issuer": "Token issuer"}
    labels[STORE_PROGRAM] = ALL[OF_THE_TESTS].name
    for name, label in labels.items():
        kill(lab, name)
        done = call(lab, "status")
        assert done.returncode == 1
        assert "does not run" in done.stdout
        assert "python -m datalab up" in done.stderr
        for words in (["env"], ["run", "--", "true"]):
            done = call(lab, *words)
            assert done.returncode == 1
            assert label in done.stderr
        assert up(lab) == before
        assert call(lab, "status").returncode == 0
        assert logs_in(before)
    assert stored(before)


def test_ctrl_c_during_the_first_start_leaves_nothing_running(fresh: Path) -> None:
    first = start(command(fresh, "up"))
    wait_until(lambda: STORE_PROGRAM in servers(fresh), "the store starts")
    first.send_signal(signal.SIGINT)
    said = first.communicate(timeout=60)[1]
    assert first.returncode == 130
    assert "Traceback" not in said
    assert processes(fresh) == []
    assert call(fresh, "status").returncode == 3


def test_a_first_start_that_was_killed_is_completed_by_the_next(fresh: Path) -> None:
    moments = (
        lambda: list(fresh.glob("postgres*/postgresql.conf")),
        lambda: STORE_PROGRAM in servers(fresh),
        lambda: list((fresh / OF_THE_TESTS).rglob("donnees-insee*")),
    )
    for number, reached in enumerate(moments):
        first = start(command(fresh, "up"))
        wait_until(reached, f"moment {number}")
        first.kill()
        first.communicate()
        assert servers(fresh)
        assert call(fresh, "status").returncode == 1
        assert call(fresh, "env").returncode == 1
    assert only_samples(up(fresh))
    assert list(fresh.glob("postgres.*")) == []


def test_an_issuer_that_has_to_move_takes_the_store_along(lab: Path) -> None:
    before = up(lab)
    store(before)
    issuer, of_the_store = ports(lab)["issuer"], ports(lab)[OF_THE_TESTS]
    kill(lab, "issuer")
    with owner_of(issuer[0]):
        assert logs_in(up(lab))
    assert stored(variables(lab))
    assert ports(lab)["issuer"] != issuer
    assert ports(lab)[OF_THE_TESTS] == of_the_store


def test_an_issuer_whose_folder_is_gone_ends(lab: Path) -> None:
    up(lab)
    for name in (STORE_PROGRAM, "postgres"):
        assert name in servers(lab)
    (issuer,) = [process for process in processes(lab) if program(process) == "issuer"]
    lab.rename(lab.with_name("elsewhere"))
    try:
        wait_until(lambda: not issuer.is_running(), "the issuer has ended")
    finally:
        lab.with_name("elsewhere").rename(lab)


def ports(folder: Path) -> dict[str, list[int]]:
    """The ports of each server, by its key."""
    return {
        server.key: list(server.settings.ports().values()) for server in Datalab(folder).servers()
    }


@contextmanager
def owner_of(port: int) -> Iterator[None]:
    """Another program that listens on ``port``."""
    with Other(("127.0.0.1", port), BaseRequestHandler) as other:
        threading.Thread(target=other.serve_forever, args=(0.05,), daemon=True).start()
        yield
        other.shutdown()


class Other(TCPServer):
    allow_reuse_address = True  # as servers do, or a port left a moment ago seems taken


def test_a_port_taken_while_it_was_stopped_is_left_to_its_owner(lab: Path) -> None:
    taken = ports(lab)
    with ExitStack() as owners:
        for port in [port for each in taken.values() for port in each]:
            owners.enter_context(owner_of(port))
        env = up(lab)
        assert only_samples(env)
        assert logs_in(env)
    assert all(set(each).isdisjoint(taken[key]) for key, each in ports(lab).items())


@pytest.mark.parametrize("key", [OF_THE_TESTS, "postgres", "issuer"])
def test_a_port_taken_between_choice_and_start_is_left_to_its_owner(
    lab: Path, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    port = ports(lab)[key][0]
    asked: list[int] = []

    def is_free(number: int) -> bool:
        asked.append(number)
        # and a moment later the owner has it
        return asked.count(number) == 1 if number == port else True

    monkeypatch.setattr(base, "is_free", is_free)
    with owner_of(port):
        assert Datalab(lab).up()
        assert asked.count(port) == 2
        assert all(Datalab(lab).running().values())
    assert ports(lab)[key][0] != port


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("text")
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o500)
    folders = [file, file / "lab", Path("/dev/null/lab")]
    folders += [closed, closed / "lab"] if os.geteuid() else []  # nothing is closed to root
    for folder in folders:
        done = call(folder, "up")
        assert done.returncode == 1
        assert str(folder) in done.stderr
        assert "--dir" in done.stderr
    assert file.read_text() == "text"


def test_a_folder_of_something_else_is_refused_and_untouched(tmp_path: Path) -> None:
    folder = tmp_path / "thesis"
    folder.mkdir()
    (folder / "chapter.md").write_text("text")
    for words in (["up"], ["down"], ["status"], ["reset", "--yes"], ["env"]):
        done = call(folder, *words)
        assert done.returncode == 1
        assert "is not a datalab" in done.stderr
        assert "chapter.md" in done.stderr
    assert [path.name for path in folder.iterdir()] == ["chapter.md"]


@pytest.mark.parametrize("part", ["format", "postgres", "broken", "shortened"])
def test_a_folder_of_another_version_is_refused_and_untouched(
    furnished: Path, tmp_path: Path, part: str
) -> None:
    folder = tmp_path / "old"
    (folder / "postgres").mkdir(parents=True)
    values = json.loads((furnished / STATE).read_text())
    if part == "format":
        values["format"] = 999
    if part == "shortened":
        del values["servers"]
    text = json.dumps(values)
    (folder / STATE).write_text(text if part != "broken" else text[:100])
    (folder / "postgres" / "PG_VERSION").write_text("17\n" if part == "postgres" else "18\n")
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    for words in (["up"], ["status"], ["reset", "--yes"]):
        done = call(folder, *words)
        assert done.returncode == 1
        assert "another version" in done.stderr
        assert f"mv {folder}" in done.stderr
    assert {"format": "999", "postgres": "17"}.get(part, "unknown") in done.stderr
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


def as_of_format_1(folder: Path) -> dict[str, object]:
    """The state as the first version of the datalab wrote it."""
    values = json.loads((folder / STATE).read_text())["servers"]
    store, postgres = values["minio"], values["postgres"]
    return {
        "format": 1,
        "port": store["port"],
        "console_port": store["console_port"],
        "postgres_port": postgres["port"],
        "issuer_port": values["issuer"]["port"],
        "internet_port": values["internet"]["port"],
        "proxy_password": values["internet"]["password"],
        "root": store["root"],
        "student": store["student"],
        "passwords": {name: postgres[name] for name in ("administrator", "student")},
        "broker": None,
    }


@only_minio
def test_a_datalab_of_the_first_format_is_taken_over_even_if_that_is_killed(lab: Path) -> None:
    store(up(lab))
    assert call(lab, "down").returncode == 0
    (lab / STATE).write_text(json.dumps(as_of_format_1(lab)))

    def format_now() -> int:
        return int(json.loads((lab / STATE).read_text())["format"])  # never a half

    for reached in (lambda: processes(lab), lambda: format_now() == 2):
        first = start(command(lab, "up"))
        wait_until(reached, "the datalab is being taken over")
        first.kill()
        first.communicate()
        assert format_now() in (1, 2)
    assert stored(up(lab))
    done = call(lab, "up", "--store", "seaweedfs")  # it holds MinIO's objects
    assert done.returncode == 1
    assert "keeps its objects in MinIO" in done.stderr


@only_minio
def test_a_minio_that_ends_at_once_is_quoted(lab: Path, tmp_path: Path) -> None:
    program = tmp_path / "minio"
    program.write_text(
        '#!/bin/sh\n[ "$1" = --version ] && echo "minio version 0" && exit\n'
        'echo "FATAL: no such luck" >&2\nexit 1\n'
    )
    program.chmod(0o755)
    done = call(lab, "up", env=shell(DATALAB_MINIO=str(program)))
    assert done.returncode == 1
    assert "FATAL: no such luck" in done.stderr
    assert str(lab / "logs" / "minio.log") in done.stderr
    assert processes(lab) == []
    assert only_samples(up(lab))
