"""Engines on one large table, measured in one run: ``python -m tests.engines [--rows N]``.

Each answers two questions about the made-up facilities of ``course.big``, on a datalab that
is started for it, in a process of its own. A has few groups, the sum by department; C has
many, the sum by neighbourhood and type, for which rows have to be shuffled. Memory and CPU
are those of the process and all that it starts, looked at twenty times a second: the peak
is the most that was seen, with Python and its packages. Compare the lines of one table with
each other, not with those of another run.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import psutil

from datalab.environment import merge
from datalab.errors import DatalabError
from datalab.lab import AVAILABLE
from datalab.temporary import temporary

PROJECT = Path(__file__).resolve().parent.parent
sys.path.append(str(PROJECT / "notebooks"))
QUESTIONS = {"A": ["DEP"], "C": ["DCIRIS", "TYPEQU"]}
UNIT = PROJECT / "notebooks" / "51_larger_than_memory.ipynb"
PLACE = "student/tests-of-engines"
COLUMNS = ["start, s", "A, s", "C, s", "CPU, s", "peak, MB"]
SERVERS: list[Any] = []  # a server of Sail ends when nobody holds it

Ask = Callable[[list[str]], tuple[int, int]]

# -- the engines: what each needs to begin, then how it asks ---------------------------


def of_the_unit(function: str, package: str, limited: bool = False) -> Callable[[str], Ask]:
    """An engine as unit 51 has it; one that is limited may take as much memory as there."""

    def begin(table: str) -> Ask:
        cells = json.loads(UNIT.read_text(encoding="utf-8"))["cells"]
        sources = ["".join(one["source"]) for one in cells if one["id"] in ("questions", "engines")]
        names: dict[str, Any] = {}
        exec("\n".join(sources), names)
        import_module(package)
        limit = 64_000_000 + 8 * int(os.environ["COURSE_ROWS"]) if limited else 0
        more = [limit] if function == "with_duckdb" else []
        return lambda keys: names[function](table, keys, *more)

    return begin


def sail(table: str, mode: str = "local") -> Ask:
    os.environ |= {"SAIL_MODE": mode, "SAIL_CLUSTER__WORKER_INITIAL_COUNT": "2"}
    os.environ |= {"SAIL_CLUSTER__WORKER_MAX_COUNT": "2", "RUST_LOG": "warn"}
    os.environ |= {"SAIL_EXECUTION__DEFAULT_PARALLELISM": "2"}
    os.environ["AWS_ENDPOINT"] = os.environ["AWS_ENDPOINT_URL"]
    from pysail.spark import SparkConnectServer
    from pyspark.sql import SparkSession

    server = SparkConnectServer(ip="127.0.0.1", port=0)
    server.start(background=True)
    SERVERS.append(server)
    _, port = server.listening_address
    return _of_spark(SparkSession.builder.remote(f"sc://127.0.0.1:{port}").getOrCreate(), table)


def pyspark(table: str, master: str = "local[2]") -> Ask:
    from pyspark.sql import SparkSession

    # its own client of S3 wants Java's packages and a trust store of Java's: a copy on disk
    builder = SparkSession.builder.master(master).config("spark.ui.enabled", "false")
    for name in ("spark.driver.bindAddress", "spark.driver.host"):
        builder = builder.config(name, "127.0.0.1")
    return _of_spark(builder.getOrCreate(), os.environ["ENGINES_COPY"])


def _of_spark(session: Any, table: str) -> Ask:
    from pyspark.sql import functions

    session.range(1).count()  # a session begins with its first question

    def ask(keys: list[str]) -> tuple[int, int]:
        totals = (
            session.read.parquet(table).groupBy(*keys).agg(functions.sum("NB_EQUIP").alias("n"))
        )
        return tuple(totals.agg(functions.count("n"), functions.max("n")).collect()[0])

    return ask


def _missing(*names: str) -> str:
    missing = [name for name in names if not find_spec(name)]
    return f"it needs {' and '.join(missing)}, not installed here" if missing else ""


def _java() -> str:
    jars = not _missing("pyspark") and Path(find_spec("pyspark").origin).with_name("jars").is_dir()
    return (
        "" if jars and shutil.which("java") else "it needs pyspark (not its client alone) and Java"
    )


SAIL = partial(_missing, "pysail", "pyspark", "grpc")
#: Name, function, and why it cannot run here.
ENGINES: dict[str, tuple[Callable[[str], Ask], Callable[[], str]]] = {
    "pandas": (of_the_unit("with_pandas", "pandas"), str),
    "DuckDB": (of_the_unit("with_duckdb", "duckdb"), str),
    "DuckDB with a limit": (of_the_unit("with_duckdb", "duckdb", limited=True), str),
    "polars, streaming": (of_the_unit("with_polars", "polars"), str),
    "pyarrow, batches": (of_the_unit("with_batches", "pyarrow.dataset"), str),
    "Sail, one process": (sail, SAIL),
    "Sail, cluster of two workers": (partial(sail, mode="local-cluster"), SAIL),
    "PySpark, one process, local copy": (pyspark, _java),
    "PySpark, cluster of two workers, local copy": (
        partial(pyspark, master="local-cluster[2,1,1200]"),
        _java,
    ),
}

# -- measuring -------------------------------------------------------------------------


def _one(name: str, table: str) -> None:
    """In the process of an engine: print what it took, and what it answered."""
    begin = time.perf_counter()
    ask = ENGINES[name][0](table)
    found: dict[str, Any] = {"start, s": time.perf_counter() - begin}
    for title, keys in QUESTIONS.items():
        begin = time.perf_counter()
        found[f"answer {title}"] = list(ask(keys))
        found[f"{title}, s"] = time.perf_counter() - begin
    print(f"RESULT {json.dumps(found)}", flush=True)
    os._exit(0)  # Sail would wait for its own threads


def measure(name: str, table: str) -> dict[str, Any]:
    """Run an engine; seconds, bytes of memory and answers, or None where it failed."""
    cpu: dict[int, float] = {}
    peak = 0
    with tempfile.TemporaryFile("w+") as said, tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tests.engines", "--engine", name, "--table", table]
        environment = {**os.environ, "TMPDIR": folder}
        with subprocess.Popen(
            command, stdout=said, stderr=subprocess.STDOUT, cwd=PROJECT, env=environment
        ) as process:
            while process.poll() is None:
                now, tree = 0, []
                with suppress(psutil.Error):
                    tree = [top := psutil.Process(process.pid), *top.children(recursive=True)]
                for each in tree:
                    with suppress(psutil.Error):
                        now += each.memory_info().rss
                        cpu[each.pid] = sum(each.cpu_times()[:2])
                peak = max(peak, now)
                time.sleep(0.05)
        said.seek(0)
        lines = said.read().splitlines()
    result = next((line for line in lines if line.startswith("RESULT ")), None)
    if result is None:
        print(f"  failed: {lines[-1][:300] if lines else 'without a word'}", flush=True)
        return {}
    found: dict[str, Any] = json.loads(result.removeprefix("RESULT "))
    return found | {"CPU, s": sum(cpu.values()), "peak, MB": peak / 1e6}


def main() -> int:
    """Make the table, run each engine, print the table of what they took."""
    parser = argparse.ArgumentParser(description="Compare engines on one large table.")
    parser.add_argument("--rows", type=int, default=5_000_000, help="rows of the table")
    parser.add_argument("--engine", choices=ENGINES, help=argparse.SUPPRESS)
    parser.add_argument("--table", help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.engine:
        _one(asked.engine, asked.table)
        return 0
    os.environ |= {"DATALAB_INTERNET": "local", "COURSE_ROWS": str(asked.rows)}
    with temporary([AVAILABLE]) as lab, tempfile.TemporaryDirectory() as copy:
        environment = merge(lab.environment(), os.environ)
        os.environ.clear()
        os.environ.update(environment)
        from course.big import choose_rows, make_tables

        print(f"Making {choose_rows():,} rows…", flush=True)
        *_, table = make_tables(PLACE, choose_rows())
        if not _java():
            import s3fs

            s3fs.S3FileSystem().get(table.path, f"{copy}/large", recursive=True)
            os.environ["ENGINES_COPY"] = f"{copy}/large"
        found = {}
        for name, (_, why_not) in ENGINES.items():
            print(f"{name}…", flush=True)
            if why_not():
                print(f"  left out: {why_not()}", flush=True)
            else:
                found[name] = measure(name, table.path)
    print(f"\n{table.rows:,} rows, {table.bytes / 1e6:.0f} MB, {os.cpu_count()} processors\n")
    print("\n".join(table_of(found)))
    answers = {str([one[f"answer {q}"] for q in QUESTIONS]) for one in found.values() if one}
    if len(answers) > 1:
        print(f"\nThe engines do not agree: {answers}")
    return int(len(answers) > 1 or not all(found.values()))


def table_of(found: dict[str, dict[str, Any]]) -> Iterator[str]:
    """Lines of Markdown, the quickest whole first."""
    yield "| engine | " + " | ".join(COLUMNS) + " |"
    yield "|---" * (len(COLUMNS) + 1) + "|"
    done = {name: one for name, one in found.items() if one}
    for name in sorted(done, key=lambda each: sum(done[each][c] for c in COLUMNS[:3])):
        values = [f"{done[name][c]:.0f}" if "MB" in c else f"{done[name][c]:.1f}" for c in COLUMNS]
        yield f"| {name} | " + " | ".join(values) + " |"


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (DatalabError, KeyboardInterrupt) as error:
        print(error or "Interrupted.", file=sys.stderr)
        sys.exit(1)
