"""Tables that are larger than memory: make them, run programs on them, predict the cost.

Four things that the units on large tables use:

- ``choose_rows`` and ``make_tables`` put three made-up tables on your bucket, each ten times
  as large as the one before.
- ``run`` calls a function in a Python of its own, measures time and memory, and kills it if
  it takes more memory than it may: what a platform does to a service.
- ``connect_duckdb`` opens a DuckDB that reads the store of the environment.
- ``fit`` finds out what a byte, a request and a row cost, from reads that were measured.

All sizes are in bytes, all times in seconds.
"""

import ast
import inspect
import json
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cache
from itertools import combinations
from math import inf
from pathlib import Path
from signal import SIGKILL
from threading import Thread
from typing import IO, Any

import numpy as np

from course import CourseError
from course.measure import REPORT

# -- three tables ----------------------------------------------------------------------

SIZES = (100_000_000, 10_000_000, 1_000_000)
"""Rows of the largest table, from which the machine gets the first that it can carry."""
MEMORY, DISK = 80, 40
"""Free bytes that each row of the largest table asks of the memory and of the disk."""
MONTHS = {"small": (1, 1), "medium": (1, 10), "large": (10, 10)}
"""How many files each table has, and how many months each file."""
SEED = 2019

REGIONS = """11 75 77 78 91 92 93 94 95|24 18 28 36 37 41 45|27 21 25 39 58 70 71 89 90
28 14 27 50 61 76|32 02 59 60 62 80|44 08 10 51 52 54 55 57 67 68 88|52 44 49 53 72 85
53 22 29 35 56|75 16 17 19 23 24 33 40 47 64 79 86 87|76 09 11 12 30 31 32 34 46 48 65 66 81 82
84 01 03 07 15 26 38 42 43 63 69 73 74|93 04 05 06 13 83 84|94 2A 2B""".replace("\n", "|")
"""The regions of metropolitan France, each followed by its departments (Insee, 2019)."""
REGION_OF = np.repeat(np.arange(13), [len(line.split()) - 1 for line in REGIONS.split("|")])
"""The place of each department's region among them."""
ZONES_EACH = 520
"""Made-up neighbourhoods of a department."""


@dataclass
class Table:
    """A table on the store, in one folder of Parquet files."""

    name: str
    path: str  #: such as ``s3://bucket/prefix/large``
    rows: int
    bytes: int  #: of all its files


def choose_rows() -> int:
    """How many rows the largest table gets on this machine.

    It is what the variable ``COURSE_ROWS`` says, if it is set; else 100 million where memory
    and disk have room for the work on them, or else 10 million or one.

    Raises
    ------
    CourseError
        ``COURSE_ROWS`` is no number between 100,000 and a billion.
    """
    asked = os.environ.get("COURSE_ROWS", "").replace("_", "").strip()
    if asked:
        if not (asked.isascii() and asked.isdigit() and 10**5 <= int(asked) <= 10**9):
            raise CourseError(
                f"COURSE_ROWS is {asked[:30]!r}, which is no number from 100,000 to a billion.",
                "Set it to such a number, or remove it, so that the machine decides.",
            )
        return int(asked) // 100 * 100
    memory, disk = free_memory(), shutil.disk_usage(tempfile.gettempdir()).free
    fitting = [rows for rows in SIZES if rows * MEMORY <= memory and rows * DISK <= disk]
    return max(fitting, default=SIZES[-1])


def free_memory() -> int:
    """Bytes of memory that this program can still get; in a container, of its share."""
    import psutil

    free = int(psutil.virtual_memory().available)
    group = Path("/sys/fs/cgroup")
    with suppress(OSError, ValueError):  # "max" where there is no limit
        limit = int((group / "memory.max").read_text())
        free = min(free, limit - int((group / "memory.current").read_text()))
    return max(free, 0)


def make_month(number: int, rows: int) -> Any:
    """One month of made-up facilities.

    Places and types follow no order, some of them are far more common than others, and the
    same month has the same rows on every machine.

    Parameters
    ----------
    number
        Which month; 0 is January 2012.
    rows
        How many rows it has.

    Returns
    -------
    pyarrow.Table
        The columns of Insee's file of facilities, and ``MOIS``: ``REG``, ``DEP``, ``DEPCOM``,
        ``DCIRIS`` and ``TYPEQU`` as text, ``AN``, ``MOIS`` and ``NB_EQUIP`` as numbers.
    """
    import pyarrow as pa

    codes = _codes()
    draws = np.random.default_rng([SEED, number])
    zone = (draws.random(rows) ** 2 * len(codes["DCIRIS"])).astype(np.int32)
    kind = (draws.random(rows) ** 2 * len(codes["TYPEQU"])).astype(np.int32)
    department = zone // ZONES_EACH
    columns = {
        "REG": REGION_OF[department],
        "DEP": department,
        "DEPCOM": zone // 4,
        "DCIRIS": zone,
        "AN": np.full(rows, 2012 + number // 12, np.int32),
        "MOIS": np.full(rows, number % 12 + 1, np.int32),
        "TYPEQU": kind,
        "NB_EQUIP": (1 + draws.random(rows) ** 3 * 9).astype(np.int32),
    }
    return pa.table(
        {
            name: codes[name].take(pa.array(values)) if name in codes else pa.array(values)
            for name, values in columns.items()
        }
    )


@cache
def _codes() -> dict[str, Any]:
    """The codes of each column of text, as arrays of Arrow."""
    import pyarrow as pa

    departments = [name for line in REGIONS.split("|") for name in line.split()[1:]]
    communes = [f"{each}{n + 1:03}" for each in departments for n in range(ZONES_EACH // 4)]
    codes = {
        "REG": [line.split()[0] for line in REGIONS.split("|")],
        "DEP": departments,
        "DEPCOM": communes,
        "DCIRIS": [f"{each}{n + 101:04}" for each in communes for n in range(4)],
        "TYPEQU": [f"{a}{b}{c:02}" for a in "ABCDEFG" for b in "12" for c in range(1, 14)],
    }
    return {name: pa.array(values) for name, values in codes.items()}


def make_tables(place: str, rows: int) -> list[Table]:
    """Write three tables: a hundredth of ``rows``, a tenth, and all of them.

    A hundredth is a month, and a row group. The small table is the first month, the medium
    one the first ten, the large one all hundred, in ten files. What takes longer than two
    seconds says how far it is.

    Parameters
    ----------
    place
        Bucket and prefix, below which the folders ``small``, ``medium`` and ``large`` are
        written; what is there already is replaced.
    rows
        Of the large table, as ``choose_rows`` gives them.
    """
    import pyarrow.parquet as pq
    import s3fs

    fs = s3fs.S3FileSystem(use_listings_cache=False)
    of_month = rows // 100
    tables, said = [], time.monotonic()
    for name, (files, months) in MONTHS.items():
        size = 0
        for file in range(files):
            path = f"{place}/{name}/part-{file}.parquet"
            with (
                fs.open(path, "wb") as target,
                pq.ParquetWriter(target, make_month(0, 0).schema, compression="zstd") as writer,
            ):
                for number in range(file * months, (file + 1) * months):
                    writer.write_table(make_month(number, of_month), row_group_size=of_month)
                    if time.monotonic() - said > 2:
                        said = time.monotonic()
                        print(f"{name}: month {number + 1} of {files * months}", flush=True)
            size += fs.size(path)
        tables.append(Table(name, f"s3://{place}/{name}", of_month * files * months, size))
    return tables


# -- programs under a limit ------------------------------------------------------------


@dataclass
class Run:
    """How one call of a function ended."""

    engine: str  #: name of the function
    table: str  #: last part of its first argument
    seconds: float
    peak: float  #: the most memory that it took so far, without Python and its packages
    spilled: float  #: the most that lay in its temporary folder so far
    answer: Any  #: what it returned; None if it was killed
    killed: bool


PROGRAM = """
import json, os, sys, time
said = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)  # what the function prints is no answer
before = high_water_mark()
print(json.dumps(before), file=said, flush=True)
for call in json.loads(sys.argv[1]):
    begin = time.perf_counter()
    answer = {name}(*call)
    seconds = time.perf_counter() - begin
    print(json.dumps([seconds, high_water_mark() - before, answer]), file=said, flush=True)
"""


def run(
    function: Callable[..., Any], calls: Sequence[Sequence[Any]], limit: float = inf
) -> list[Run]:
    """Call a function once or several times in a Python of its own, and watch its memory.

    The system notes the highest mark of a process, which never falls: put the call that
    needs least first. A process that takes more than ``limit`` is killed by ``SIGKILL``, as
    the system kills a service that takes more than its share. Here a loop looks a hundred
    times a second, and at the mark after each call, so that none slips through.

    Parameters
    ----------
    function
        It is sent as text, so it imports what it needs, and takes all else as arguments.
        ``tempfile.gettempdir()`` is a folder of its own, which is watched, too.
    calls
        The arguments of each call: texts, numbers, or lists and dictionaries of these.
    limit
        Bytes beyond what Python and the packages take.

    Returns
    -------
    list of Run
        One for each call; the last one is the one that was killed, if any was.

    Raises
    ------
    CourseError
        The function ended in an error.
    """
    paths = [str(Path(__file__).resolve().parents[1]), os.environ.get("PYTHONPATH", "")]
    runs: list[Run] = []
    seen = _Seen()
    with (
        tempfile.TemporaryFile("w+") as errors,
        tempfile.TemporaryDirectory() as spill,
        subprocess.Popen(
            [sys.executable, "-c", _program(function), json.dumps(calls)],
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "TMPDIR": spill},
        ) as process,
        ExitStack() as at_the_end,
    ):
        at_the_end.callback(process.kill)  # also of a cell that is interrupted
        assert process.stdout
        if before := process.stdout.readline():
            watch = (process, int(before), limit, Path(spill), seen)
            Thread(target=_watch, args=watch, daemon=True).start()
        for call in calls:
            begin = time.perf_counter()
            line = process.stdout.readline()
            ended = time.perf_counter() - begin, seen.memory, None
            seconds, peak, answer = json.loads(line) if line else ended
            killed = peak > limit or (not line and process.wait() == -SIGKILL)
            if not line and not killed:
                raise CourseError(
                    f"{function.__name__} ended in an error: {_reason(errors)}",
                    "It has to import what it needs, and to take all else as an argument.",
                )
            table = str(call[0]).rsplit("/", 1)[-1]
            answer = None if killed else answer
            runs.append(Run(function.__name__, table, seconds, peak, seen.disk, answer, killed))
            if killed:
                break
    return runs


def _program(function: Callable[..., Any]) -> str:
    """A program that calls a function; what it imports is not measured."""
    source = textwrap.dedent(inspect.getsource(function))
    nodes = ast.walk(ast.parse(source))
    imports = [ast.unparse(one) for one in nodes if isinstance(one, ast.Import | ast.ImportFrom)]
    return "\n".join([*imports, REPORT, source, PROGRAM.format(name=function.__name__)])


def _reason(errors: IO[str]) -> str:
    """The line of a traceback that names the error."""
    errors.seek(0)
    said = errors.read().strip().splitlines() or ["nothing said"]
    return next((one for one in reversed(said) if "Error" in one), said[-1])[:300]


@dataclass
class _Seen:
    memory: float = 0
    disk: float = 0


def _watch(
    process: "subprocess.Popen[str]", before: int, limit: float, spill: Path, seen: _Seen
) -> None:
    """Note what a process takes of memory and disk, and kill it beyond its limit."""
    import psutil

    with suppress(psutil.Error):
        other = psutil.Process(process.pid)
        while process.poll() is None:
            seen.memory = max(seen.memory, other.memory_info().rss - before)
            if seen.memory > limit:
                process.kill()
            with suppress(OSError):  # files come and go
                sizes = [path.stat().st_size for path in spill.rglob("*") if path.is_file()]
                seen.disk = max(seen.disk, sum(sizes))
            time.sleep(0.01)


def connect_duckdb(limit: int = 0) -> Any:
    """A connection of DuckDB that reads the store of the environment.

    Parameters
    ----------
    limit
        Bytes of memory that DuckDB may use; what is more lies in ``tempfile.gettempdir()``.
        Two threads share it, since each of them needs buffers of its own. 0 for DuckDB's
        own limit and as many threads as it likes.
    """
    import certifi
    import duckdb

    db = duckdb.connect()
    db.execute("INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws")
    db.execute(f"SET ca_cert_file = '{os.environ.get('SSL_CERT_FILE', certifi.where())}'")
    endpoint = os.environ.get("AWS_S3_ENDPOINT", "s3.amazonaws.com")
    db.execute(
        f"CREATE OR REPLACE SECRET (TYPE s3, PROVIDER credential_chain, "
        f"ENDPOINT '{endpoint}', URL_STYLE 'path')"
    )
    db.execute(f"SET temp_directory = '{tempfile.gettempdir()}'")
    if limit:
        db.execute(f"SET memory_limit = '{limit} B'; SET threads = 2")
    return db


# -- what a read will cost -------------------------------------------------------------


@dataclass
class CostModel:
    """``seconds = bytes / bandwidth + requests x latency + rows / speed``."""

    bandwidth: float  #: bytes a second; infinite if bytes made no difference
    latency: float  #: seconds a request
    speed: float  #: rows a second; infinite if rows made no difference

    def terms(self, bytes: Any, requests: Any, rows: Any) -> tuple[Any, Any, Any]:  # noqa: A002
        """Seconds that bytes, requests and rows take; numbers or arrays."""
        return bytes / self.bandwidth, requests * self.latency, rows / self.speed

    def seconds(self, bytes: Any, requests: Any, rows: Any) -> Any:  # noqa: A002
        """Seconds that a read takes."""
        return sum(self.terms(bytes, requests, rows))


def fit(points: Any) -> CostModel:
    """Find the three costs that explain measured reads best; none is negative.

    The squares of the errors are the least in proportion to each read's seconds, so that
    short reads count as much as long ones. Of the three costs each subset is tried, since
    one that would be negative has to be zero.

    Parameters
    ----------
    points
        A data frame with the columns ``bytes``, ``requests``, ``rows`` and ``seconds``, one
        row for each read. They have to differ in more than size: if bytes, requests and
        rows always grow together, nobody can say which of them takes the time.
    """
    seconds = np.asarray(points["seconds"], float)
    amounts = np.column_stack([np.asarray(points[c], float) for c in ("bytes", "requests", "rows")])
    if len(seconds) < 3 or np.linalg.matrix_rank(amounts / np.maximum(amounts.max(0), 1)) < 3:
        raise CourseError(
            "From these reads nobody can tell what bytes, requests and rows cost.",
            "Measure at least three that differ: many requests, many bytes, many rows.",
        )
    scale = amounts.max(0)
    weighted = amounts / scale / seconds[:, None]
    best, least = np.zeros(3), inf
    for number in (1, 2, 3):
        for chosen in map(list, combinations(range(3), number)):
            found = np.linalg.lstsq(weighted[:, chosen], np.ones(len(seconds)), rcond=None)[0]
            error = float(((weighted[:, chosen] @ found - 1) ** 2).sum())
            if (found >= 0).all() and error < least:
                best, least = np.zeros(3), error
                best[chosen] = found
    a_byte, a_request, a_row = (float(each) for each in best / scale)
    return CostModel(1 / a_byte if a_byte else inf, a_request, 1 / a_row if a_row else inf)
