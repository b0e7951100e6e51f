"""The datalab as the platform: what a service has, and all notebooks in one of them.

Each notebook alone, in the student's edition, runs with no more in tests/test_exercises.py.
"""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import boto3
import nbformat
import psycopg
import pytest
from botocore.exceptions import ClientError

from book import execute
from datalab import service
from datalab.environment import merge
from datalab.lab import Datalab
from datalab.servers.postgres import Postgres
from datalab.servers.spark import Spark
from datalab.state import FILE as STATE
from datalab.state import SERVICE, State, read
from tests import service as services
from tests.test_exercises import write_all

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
TABLE = service.VARIABLES | service.DATABASE_VARIABLES | service.SPARK_VARIABLES


def environment(*services: str) -> dict[str, str]:
    lab = Datalab(Path(os.environ["TEST_DATALAB"]))
    return merge(lab.environment(SERVICE, services), os.environ)


# -- what it has ----------------------------------------------------------------------


def test_it_has_the_variables_of_the_chart_and_no_others(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MC_HOST_mine", "https://somewhere.invalid")
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.setenv("GDAL_HTTP_TIMEOUT", "1")
    names = {name for name in environment() if not service.is_of_the_machine(name)}
    assert names == {name for name in service.VARIABLES if name not in service.NETWORK}
    assert not names & set(service.NEVER)


def test_it_has_those_of_postgresql_where_it_is_asked_for() -> None:
    more = environment(Postgres.key).keys() - environment().keys()
    assert more == set(service.DATABASE_VARIABLES)


@pytest.mark.skipif(not Spark.is_available(), reason="Sail is not on this machine")
def test_it_has_that_of_spark_where_it_is_asked_for() -> None:
    more = environment(Spark.key).keys() - environment().keys()
    assert more == set(service.SPARK_VARIABLES)


def test_a_service_with_postgresql_of_an_older_datalab_still_has_it(tmp_path: Path) -> None:
    State.new([Postgres.key]).save(tmp_path)
    file = tmp_path / STATE
    values = json.loads(file.read_text())
    del values["services"]
    file.write_text(json.dumps(values | {"role": SERVICE, "with_postgresql": True}))
    assert read(tmp_path).services == (Postgres.key,)


def test_forms_are_those_of_the_chart() -> None:
    values = environment()
    host = values["AWS_S3_ENDPOINT"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", host)
    assert values["AWS_ENDPOINT_URL"] == values["S3_ENDPOINT"] == f"https://{host}/"
    assert values["KUBERNETES_NAMESPACE"] == "user-student"
    assert values["AWS_WORKING_DIRECTORY_PATH"] == ""


def test_there_is_aws_and_no_mc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even one of the user's own, in a folder with other programs."""
    for name in ("mc", "neighbour"):
        (tmp_path / name).write_text("#!/bin/sh\n")
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    script = "command -v mc; command -v neighbour aws; aws s3 ls"
    done = subprocess.run(
        ["bash", "-c", script], env=environment(), capture_output=True, text=True, check=True
    )
    found, listed = done.stdout.splitlines()[:2], done.stdout
    assert [Path(path).name for path in found] == ["neighbour", "aws"]
    assert "donnees-insee" in listed


@pytest.mark.parametrize(
    ("bucket", "may"),
    [("student", True), ("student-scratch", False), ("projet-village", False)],
)
def test_its_keys_open_the_own_bucket_and_no_shared_one(bucket: str, may: bool) -> None:
    values = environment()
    s3 = boto3.client(
        "s3",
        aws_access_key_id=values["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=values["AWS_SECRET_ACCESS_KEY"],
        aws_session_token=values["AWS_SESSION_TOKEN"],
    )
    if may:
        s3.put_object(Bucket=bucket, Key="test-service/a", Body=b"")
        s3.delete_object(Bucket=bucket, Key="test-service/a")
    else:
        with pytest.raises(ClientError, match="AccessDenied"):
            s3.put_object(Bucket=bucket, Key="test-service/a", Body=b"")


def test_its_database_role_owns_a_database_and_makes_no_roles() -> None:
    values = environment(Postgres.key)
    where = {
        "host": values["PGHOST"],
        "port": values["PGPORT"],
        "user": values["PGUSER"],
        "password": values["PGPASSWORD"],
        "dbname": values["PGDATABASE"],
    }
    with psycopg.connect(**where, autocommit=True) as connection:
        connection.execute("CREATE SCHEMA test_service")
        connection.execute("DROP SCHEMA test_service")
        for statement in ("CREATE ROLE another", "CREATE DATABASE another"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)


def test_the_page_on_testing_shows_the_table_of_the_code() -> None:
    page = (ROOT / "book" / "testing.md").read_text(encoding="utf-8")
    for name, (text, source) in TABLE.items():
        assert f"| `{name}` | {text} | {source} |" in page, name


# -- what a notebook leaves behind -----------------------------------------------------


def test_what_was_left_is_found_and_what_was_there_before_is_not(tmp_path: Path) -> None:
    s3 = services.administrator()
    before, left = ({"Bucket": "projet-village", "Key": f"test-service/{n}"} for n in "ab")
    s3.put_object(**before, Body=b"")
    (tmp_path / "a").touch()
    try:
        with services.nothing_left_behind(tmp_path):
            pass
        with pytest.raises(AssertionError, match="test-service/b"), services.nothing_left_behind():
            s3.put_object(**left, Body=b"")
        with pytest.raises(AssertionError, match="b"), services.nothing_left_behind(tmp_path):
            (tmp_path / "b").touch()
    finally:
        for each in (before, left):
            s3.delete_object(**each)


# -- the notebooks, in the order of the badges ----------------------------------------


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The work folder of one service, in which unit follows unit."""
    folder = tmp_path_factory.mktemp("work")
    write_all(ROOT / "notebooks", folder, solutions=True)
    return folder


@pytest.mark.when_asked  # each alone leaves nothing that a next one could meet; CI asks
@pytest.mark.xdist_group("in a service, one after the other")
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs_in_a_service_after_those_before_it(path: Path, work: Path) -> None:
    notebook = nbformat.read(work / path.name, as_version=4)
    with services.nothing_left_behind(work):
        execute.client(notebook, work, 300).execute(env=services.service(path))
    for cell in notebook.cells:
        if "raises-exception" in cell.metadata.get("tags", []):
            raised = any(output.output_type == "error" for output in cell.outputs)
            assert raised, f"cell {cell.id} is to show an error, and ran through"


@pytest.mark.parametrize(
    ("words", "units"),
    [
        (["-o", f"testpaths={Path(__file__)}"], 0),
        (["-o", f"testpaths={Path(__file__)}", "--all"], len(NOTEBOOKS)),
        ([Path(__file__)], len(NOTEBOOKS)),
    ],
    ids=["make test", "ALL=yes", "named"],
)
def test_all_notebooks_in_one_service_run_when_somebody_asks(
    words: list[str | Path], units: int
) -> None:
    listed = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "--numprocesses=0", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    assert "test_forms_are_those_of_the_chart" in listed
    assert listed.count("test_a_notebook_runs_in_a_service_after_those_before_it") == units
