"""Spark as a server of the datalab: private, with the student's rights, found again."""

from __future__ import annotations

import io
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from datalab.errors import DatalabError
from datalab.lab import Datalab
from datalab.machine import sail
from datalab.servers.issuer import token_file
from datalab.servers.spark import WORKERS_VARIABLE, Spark
from datalab.servers.store import Keys, Store
from datalab.state import State
from tests.lab_secrets import leaks, secrets_of
from tests.laptop import call, clear, processes, shell, wait_until

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

pytestmark = pytest.mark.xdist_group("spark")
needs_spark = pytest.mark.skipif(
    not sail._is_installed(), reason="Sail and PySpark's client are not here: make .venv/cluster"
)
TABLE = pa.table({"department": ["01", "02", "03"] * 100, "rooms": range(300)})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    place = (
        tmp_path_factory.mktemp("spark") / "a lab"
    )  # folders of users have spaces in their names
    yield place
    clear(place)


@pytest.fixture
def lab(folder: Path) -> Datalab:
    """A datalab with Spark, which runs."""
    there = Datalab(folder)
    if there.state() is None or not all(there.running().values()):
        done = call(folder, "up", "--with", "spark")
        assert done.returncode == 0, done.stderr
    return there


def server(folder: Path) -> Spark:
    """The Spark of a datalab, found by its folder alone."""
    return Spark(folder, State.new(["spark"]).servers)


def remote(folder: Path) -> str:
    url = Datalab(folder).environment()["SPARK_REMOTE"]
    assert url
    return url


@contextmanager
def session(folder: Path) -> Iterator[SparkSession]:
    from pyspark.sql import SparkSession

    # PySpark takes a worker of xdist, whose main module has no file, for a run of its doctests
    vars(sys.modules["__main__"]).setdefault("__file__", __file__)
    made = SparkSession.builder.remote(remote(folder)).create()
    try:
        yield made
    finally:
        made.stop()


def put(store: Store, bucket: str, key: str = "test-spark/table/1.parquet") -> str:
    """A table, put by the administrator; gives the address of its folder."""
    file = io.BytesIO()
    pq.write_table(TABLE, file)
    s3 = store.client("s3", store.settings.root)
    s3.put_object(Bucket=bucket, Key=key, Body=file.getvalue())
    return f"s3://{bucket}/{Path(key).parent}"


def refused(action: Any) -> bool:
    """Whether the store forbids it to Spark."""
    from pyspark.errors import PySparkException

    with pytest.raises(PySparkException, match=r"403|AccessDenied"):
        action()
    return True


@needs_spark
def test_it_works_on_the_store_with_the_student_s_rights(lab: Datalab) -> None:
    store = lab.store()
    own, foreign = put(store, "student"), put(store, "colleague")
    with session(lab.folder) as spark:
        table: DataFrame = spark.read.parquet(own)
        assert table.count() == 300
        sums = {row[0]: row[1] for row in table.groupBy("department").sum("rooms").collect()}
        assert sums == {"01": 14850, "02": 14950, "03": 15050}
        table.write.mode("overwrite").partitionBy("department").parquet(f"{own}-parts")
        assert spark.read.parquet(f"{own}-parts").where("department = '02'").count() == 100

        assert refused(lambda: spark.read.parquet(foreign).count())
        assert refused(lambda: table.write.parquet(f"{foreign}-2"))
        assert refused(lambda: table.write.parquet("s3://donnees-insee/test-spark"))

        assert spark.table("system.cluster.workers").count() == 2
        process = server(lab.folder).process.find()
        assert process is not None
        listening = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
        assert len(listening) == 4  # for clients, of the driver, of the workers
        assert {each.laddr.ip for each in listening} == {"127.0.0.1"}


@needs_spark
def test_a_function_of_the_notebook_runs_on_its_workers(lab: Datalab) -> None:
    from pyspark.sql.functions import udf

    with session(lab.folder) as spark:
        next_one = udf(lambda number: number + 1, "bigint")
        rows = spark.range(3).select(next_one("id")).collect()
    assert sorted(row[0] for row in rows) == [1, 2, 3]


@needs_spark
def test_keys_that_have_ended_are_asked_for_anew(lab: Datalab) -> None:
    """Without a new start, and so without an end of what runs."""
    store = lab.store()
    table = put(store, "student")
    token = token_file(lab.folder, "student").read_text()
    answer = store.client("sts", store.settings.student).assume_role_with_web_identity(
        RoleArn="arn:aws:iam::minio:role/student",
        RoleSessionName="test-spark",
        WebIdentityToken=token,
    )
    short = Keys.given(answer["Credentials"])
    state = lab.state()
    assert state is not None
    short_lived = msgspec.structs.replace(store.settings, token=short)
    state.with_server(store.key, short_lived).save(lab.folder)
    spark_settings = lab.server("spark").settings
    lab.server("spark").stop()  # a new one, which has asked for no keys yet
    begun = lab.server("spark")
    begun.begin()
    assert begun.finish() == spark_settings
    from pyspark.sql import SparkSession

    spark = SparkSession.builder.remote(begun.variables()["SPARK_REMOTE"]).create()
    try:
        s3 = store.client("s3", short)

        def ended() -> bool:
            try:
                s3.list_objects_v2(Bucket="student")
                return False
            except s3.exceptions.ClientError:
                return True

        wait_until(ended, "the keys have ended")
        assert refused(lambda: spark.read.parquet(table).count())
        assert remote(lab.folder)  # as any command, it renews keys that end within a day
        assert spark.read.parquet(table).count() == 300
    finally:
        spark.stop()


@needs_spark
def test_killed_it_is_missed_and_started_again(lab: Datalab) -> None:
    url = remote(lab.folder)
    table = put(lab.store(), "student")
    running = server(lab.folder).process.find()
    assert running is not None
    running.kill()
    running.wait(10)
    status = call(lab.folder, "status")
    assert status.returncode == 1
    assert "Spark        does not run" in status.stdout
    assert "Spark" in call(lab.folder, "env").stderr
    assert call(lab.folder, "up").returncode == 0  # it remembers
    assert remote(lab.folder) == url
    with session(lab.folder) as spark:
        assert spark.read.parquet(table).count() == 300
    assert "runs already" in call(lab.folder, "up").stderr


@needs_spark
def test_another_number_of_workers_and_a_port_that_was_taken(lab: Datalab) -> None:
    wrong = call(lab.folder, "up", env=shell(**{WORKERS_VARIABLE: "many"}))
    assert wrong.returncode == 1
    assert f"{WORKERS_VARIABLE} is 'many'" in wrong.stderr and "from 1 to" in wrong.stderr
    before = lab.server("spark").settings.port
    assert server(lab.folder).stop()
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # taken by somebody else by now: as good
            other.bind(("127.0.0.1", before))
            other.listen()
        assert call(lab.folder, "up", env=shell(**{WORKERS_VARIABLE: "1"})).returncode == 0
    port = lab.server("spark").settings.port
    assert port != before
    assert f"Spark        127.0.0.1:{port}, 1 worker\n" in call(lab.folder, "status").stdout
    assert call(lab.folder, "up", env=shell(**{WORKERS_VARIABLE: "2"})).returncode == 0
    assert remote(lab.folder) == f"sc://127.0.0.1:{port}"


@needs_spark
def test_a_service_has_it_where_it_asks_for_it(lab: Datalab) -> None:
    def seen(*words: str) -> str:
        return call(lab.folder, "run", *words, "--", "printenv", "SPARK_REMOTE").stdout.strip()

    url = lab.server("spark").variables()["SPARK_REMOTE"]
    assert seen("--with", "spark") == url
    assert seen("--as", "service") == ""
    assert seen("--as", "service", "--with", "spark") == url


@needs_spark
def test_its_log_and_its_files_show_no_secret(lab: Datalab) -> None:
    secrets = secrets_of(lab)
    assert secrets
    assert "driver" in (lab.folder / "logs" / "spark.log").read_text()
    assert leaks(lab.folder / "logs", secrets) == []
    assert leaks(lab.folder / "spark", secrets) == []


@needs_spark
def test_it_ends_with_the_others(lab: Datalab) -> None:
    assert call(lab.folder, "down").returncode == 0
    assert processes(lab.folder) == []


# -- where it is not ---------------------------------------------------------------------


@pytest.fixture
def without_sail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine that has it neither among its packages nor in its cache, which is given."""
    monkeypatch.setattr(sail, "_is_installed", lambda: False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path


def test_without_an_index_the_message_says_what_to_do(
    without_sail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("UV_DEFAULT_INDEX", "https://index.invalid/simple")
    monkeypatch.setenv("UV_NO_CACHE", "1")
    with pytest.raises(DatalabError) as error:
        Spark.find_program()
    assert error.value.problem.startswith("Sail could not be installed. The installer said:")
    assert error.value.next_step.startswith("Connect to a package index")
    assert "or do without" in error.value.next_step
    assert not sail.is_here()


def test_without_a_wheel_the_message_says_so(
    without_sail: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "vax")
    with pytest.raises(DatalabError, match=r"Sail has no wheel for this machine .*vax"):
        Spark.find_program()
    assert list(without_sail.rglob("*")) == []


def test_available_fetches_nothing(without_sail: Path) -> None:
    assert not Spark.is_available()
    assert list(without_sail.rglob("*")) == []
