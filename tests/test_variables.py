"""Which tool reads which variable: what the figure of the reference of tools says is what happens.

Each tool reads an object by a program with as little in its code as the tool allows. One
variable is spoiled, and the program runs again: if it fails now, it has read that variable.
"""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import certifi
import geopandas as gpd  # type: ignore[import-untyped]
import pytest
import s3fs

ROOT = Path(__file__).resolve().parent.parent
FIGURE = ROOT / "notebooks" / "images" / "91_variables.svg"

#: What a program has to import, which is done once, and what it does then.
PROGRAMS = {
    "s3fs": ("import s3fs", "s3fs.S3FileSystem().info('{shapes}')"),
    # it looks for certificates when it is imported
    "pyarrow": (
        "",
        "from pyarrow.fs import S3FileSystem\n"
        "S3FileSystem(endpoint_override='{host}').open_input_file('{shapes}').read(4)",
    ),
    "polars": (
        "import polars",
        "polars.scan_parquet('s3://{table}', storage_options={{'max_retries': 0}})"
        ".collect_schema()",
    ),
    "DuckDB": (
        "import duckdb",
        "db = duckdb.connect()\n"
        "db.execute(\"LOAD httpfs; LOAD aws; SET http_retries = 0; SET ca_cert_file = '{ca}'\")\n"
        'db.execute("CREATE SECRET (TYPE s3, PROVIDER credential_chain, '
        "ENDPOINT '{host}', URL_STYLE 'path')\")\n"
        "db.execute(\"SELECT size FROM read_blob('s3://{shapes}')\").fetchone()",
    ),
    "GDAL": ("import pyogrio", "pyogrio.read_info('/vsis3/{shapes}')"),
}
#: Values with which nothing can be read; those of "" spoil nothing.
WRONG = {
    "": "",
    "AWS_SECRET_ACCESS_KEY": "wrong",
    "AWS_ENDPOINT_URL": "https://s3.invalid",
    "AWS_S3_ENDPOINT": "s3.invalid",
    "AWS_VIRTUAL_HOSTING": "TRUE",
    "AWS_CA_BUNDLE": "/nowhere.pem",
    "SSL_CERT_FILE": "/nowhere.pem",
    "GDAL_CURL_CA_BUNDLE": "/nowhere.pem",
}
#: A Python for each tool imports it once, and splits in two for each variable.
FORK = """
import os, signal, sys
exec(sys.argv[1])
for variable, wrong in eval(sys.argv[3]).items():
    if os.fork() == 0:
        signal.alarm(60)  # who waits for ever has not read the object
        os.dup2(2, 1)  # what a tool prints is no answer
        os.environ[variable or "NOTHING"] = wrong
        try:
            exec(sys.argv[2])
        except BaseException:
            os._exit(1)
        os._exit(0)
    print("fails" if os.wait()[1] else "reads", flush=True)
"""


@pytest.fixture(scope="module")
def place() -> Iterator[str]:
    """A prefix with a table for polars, and a file of shapes that GDAL can open."""
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    place = f"student/test-variables-{uuid4().hex[:8]}"
    points = gpd.GeoDataFrame({"a": [1]}, geometry=gpd.points_from_xy([2], [3]), crs=4326)
    points.to_parquet(f"{place}/table.parquet", filesystem=fs)
    fs.pipe(f"{place}/shapes.geojson", points.to_json().encode())
    yield place
    fs.rm(place, recursive=True)


def reads(tool: str, place: str) -> set[str]:
    """The variables without whose right value the tool reads nothing."""
    ca = os.environ.get("SSL_CERT_FILE", certifi.where())
    first, then = PROGRAMS[tool]
    then = then.format(
        shapes=f"{place}/shapes.geojson",
        table=f"{place}/table.parquet",
        host=os.environ["AWS_S3_ENDPOINT"],
        ca=ca,
    )
    done = subprocess.run(
        [sys.executable, "-c", FORK, first, then, repr(WRONG)],
        capture_output=True,
        text=True,
        env=os.environ | {"AWS_VIRTUAL_HOSTING": "FALSE", "AWS_MAX_ATTEMPTS": "1"},
    )
    said = dict(zip(WRONG, done.stdout.split(), strict=True))
    assert said.pop("") == "reads", f"{tool} fails with nothing spoiled: {done.stderr[-2000:]}"
    return {variable for variable, what in said.items() if what == "fails"}


def marks() -> set[tuple[str, str]]:
    """Tool and variable of each mark in the figure."""
    return set(re.findall(r'data-tool="([^"]+)" data-variable="([^"]+)"', FIGURE.read_text()))


@pytest.mark.parametrize("tool", PROGRAMS)
def test_a_tool_reads_the_variables_that_the_figure_marks(tool: str, place: str) -> None:
    assert reads(tool, place) == {variable for marked, variable in marks() if marked == tool}


def test_the_figure_speaks_of_these_tools_and_variables_only() -> None:
    assert {tool for tool, _ in marks()} == set(PROGRAMS)
    assert {variable for _, variable in marks()} <= set(WRONG)
