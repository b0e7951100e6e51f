"""The helper of the notebooks that finds a PostgreSQL, and makes a schema of its own there."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import psycopg
import pytest

from datalab.environment import merge
from datalab.lab import Datalab
from datalab.state import SERVICE

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError, database

NAME = "test_database"


@pytest.fixture(params=["laptop", "service"])
def db(
    request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> "Iterator[psycopg.Connection]":
    """A schema of its own, with a role that may make others, and with the platform's."""
    if request.param == "service":
        lab = Datalab(Path(os.environ["TEST_DATALAB"]))
        for name, value in merge(lab.environment(SERVICE, ["postgres"]), os.environ).items():
            if name in database.VARIABLES:
                monkeypatch.setenv(name, value)
    for name in ("PGOPTIONS", "PGAPPNAME"):
        monkeypatch.setenv(name, "")  # to be put back
    with database.own_schema(NAME) as connection:
        yield connection
    database.clean_up_database(NAME)


def tables() -> list[str]:
    with psycopg.connect() as other:
        query = "SELECT tablename FROM pg_tables WHERE schemaname = %s"
        return [name for (name,) in other.execute(query, [NAME])]


def test_each_statement_counts_at_once_and_later_programs_find_the_tables(
    db: psycopg.Connection,
) -> None:
    db.execute("CREATE TABLE one (number integer)")
    with psycopg.connect() as other:
        assert other.execute("SELECT count(*) FROM one").fetchone() == (0,)


def test_what_an_interrupted_run_left_is_removed_even_if_it_is_locked(
    db: psycopg.Connection,
) -> None:
    db.execute("CREATE TABLE one (number integer)")
    left = psycopg.connect()
    left.execute("LOCK TABLE one")
    with database.own_schema(NAME):
        assert tables() == []
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")


def test_a_frame_is_copied_by_the_names_of_its_columns(db: psycopg.Connection) -> None:
    db.execute('CREATE TABLE place (name text, number integer, "Total" double precision)')
    frame = pd.DataFrame(
        {"Total": [1.5, None], "name": ["L'Hermitage", 'say "Rennes", please'], "number": [4, 251]}
    )
    database.copy_frame(db, frame, "place")
    found = db.execute("SELECT * FROM place ORDER BY number").fetchall()
    assert found == [("L'Hermitage", 4, 1.5), ('say "Rennes", please', 251, None)]


def test_it_cleans_up_twice_and_leaves_neither_schema_nor_role(
    db: psycopg.Connection, capsys: pytest.CaptureFixture[str]
) -> None:
    db.execute("CREATE TABLE one (number integer)")
    try:
        db.execute(f"CREATE ROLE {NAME}_reader")
        db.execute(f"GRANT SELECT ON one TO {NAME}_reader")
    except psycopg.errors.InsufficientPrivilege:
        assert os.environ["PGUSER"] == "service"
    for _ in range(2):
        database.clean_up_database(NAME)
        assert "is removed" in capsys.readouterr().out
    with psycopg.connect() as other:
        query = "SELECT count(*) FROM pg_roles WHERE rolname = %s"
        assert other.execute(query, [f"{NAME}_reader"]).fetchone() == (0,)
    assert tables() == []


def test_a_server_that_is_named_is_used_and_none_is_started(tmp_path: Path) -> None:
    database.start_server(tmp_path / "server")
    assert not (tmp_path / "server").exists()


def test_a_server_that_does_not_take_the_role_is_told_in_two_sentences(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("PGOPTIONS", "PGAPPNAME"):
        monkeypatch.setenv(name, "")
    monkeypatch.setenv("PGPASSWORD", "of another service")
    with pytest.raises(CourseError, match="password authentication failed") as error:
        database.own_schema(NAME)
    assert "PGPASSWORD" in error.value.next_step
