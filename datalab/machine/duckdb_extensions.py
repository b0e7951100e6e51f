"""DuckDB's extensions, put where DuckDB looks for them, without a network."""

import importlib.util

from datalab.console import say

EXTENSIONS = ("aws", "avro", "httpfs", "iceberg", "postgres_scanner", "spatial")


def install() -> None:
    """Install the extensions that came as Python packages; those installed stay.

    After this, ``LOAD httpfs`` and ``INSTALL httpfs`` work as they do online. They land
    where ``INSTALL`` always puts them, ``~/.duckdb/extensions``. Without those packages
    nothing is done.
    """
    if not importlib.util.find_spec("duckdb_extensions"):
        return
    import duckdb  # slow to import, and not needed to say `status`
    from duckdb_extensions import import_extension

    with duckdb.connect() as connection:
        for name in EXTENSIONS:
            if importlib.util.find_spec(f"duckdb_extension_{name}"):
                try:
                    import_extension(name, con=connection)
                except duckdb.Error as error:  # HOME is not writable: all else works
                    say(f"DuckDB's extension {name} could not be installed: {error}")
