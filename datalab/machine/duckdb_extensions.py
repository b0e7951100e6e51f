"""DuckDB's extensions, put where DuckDB looks for them, without a network."""

import importlib.util
import platform
import sys
from pathlib import Path

from datalab.console import say

EXTENSIONS = ("aws", "avro", "httpfs", "iceberg", "postgres_scanner", "spatial")


def install() -> None:
    """Install the extensions that came as Python packages; those installed stay.

    After this, ``LOAD httpfs`` and ``INSTALL httpfs`` work as they do online. They land
    where ``INSTALL`` always puts them, ``~/.duckdb/extensions``. Without those packages
    nothing is done.
    """
    missing = [
        name
        for name in EXTENSIONS
        if importlib.util.find_spec(f"duckdb_extension_{name}") and not _is_installed(name)
    ]
    if not missing:
        return
    import duckdb  # slow to import, and needed once for each version
    from duckdb_extensions import import_extension

    with duckdb.connect() as connection:
        for name in missing:
            try:
                import_extension(name, con=connection)
            except duckdb.Error as error:  # HOME is not writable: all else works
                say(f"DuckDB's extension {name} could not be installed: {error}")


def _is_installed(name: str) -> bool:
    from importlib.metadata import version  # slow to import, and not needed to say `status`

    # a home may be that of several machines
    system = "osx" if sys.platform == "darwin" else "linux"
    processor = "arm64" if platform.machine() in ("arm64", "aarch64") else "amd64"
    folder = Path.home() / ".duckdb" / "extensions" / f"v{version('duckdb')}"
    file = folder / f"{system}_{processor}" / f"{name}.duckdb_extension"
    return file.exists() and file.with_name(f"{file.name}.info").exists()  # written last
