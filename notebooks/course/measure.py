"""What a read costs: requests, bytes and memory.

Three functions, which every notebook of the course uses:

- ``traffic`` watches the requests of s3fs, boto3 or DuckDB::

      with traffic(fs) as seen:
          pd.read_csv(fs.open("bucket/table.csv"))
      seen.requests, seen.bytes

- ``draw`` draws them: when each request ran, and which bytes of the object it brought.
- ``peak_memory`` runs a function in a Python of its own and says how much memory it took.

All sizes are in bytes. A megabyte is a million of them: ``seen.bytes / 1e6``.
"""

import ast
import inspect
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from time import perf_counter
from typing import Any
from urllib.parse import unquote, urlsplit

from botocore.utils import determine_content_length

from course import CourseError

# -- what was seen ---------------------------------------------------------------------


@dataclass
class Request:
    """One request to the store, and its answer."""

    name: str  #: S3's word for it, such as "GetObject" or "HeadObject"
    path: str  #: bucket and key (the key alone where the bucket is part of the host's name)
    start: float  #: seconds since the watch began
    end: float  #: seconds since the watch began
    bytes: int  #: what came back, without headers
    sent: int = 0  #: what was uploaded with it, without headers
    first: int | None = None  #: which byte of the object came first, if it brought any


class Traffic:
    """The requests that were seen, in the order in which they were answered.

    Attributes
    ----------
    log : list of Request
        One entry for each request. A request that had to be repeated counts again.
    """

    def __init__(self) -> None:
        self.log: list[Request] = []

    @property
    def requests(self) -> int:
        """Number of requests."""
        return len(self.log)

    @property
    def bytes(self) -> int:
        """Bytes that came back. An answer that was given up halfway counts in full."""
        return sum(request.bytes for request in self.log)

    @property
    def sent(self) -> int:
        """Bytes that were uploaded."""
        return sum(request.sent for request in self.log)

    def table(self) -> Any:
        """The requests as a data frame of pandas, one row each."""
        import pandas as pd  # type: ignore[import-untyped]

        return pd.DataFrame([asdict(request) for request in self.log])

    def __repr__(self) -> str:
        return f"{self.requests} requests, {self.bytes / 1e6:.2f} MB"


# -- watching --------------------------------------------------------------------------


@contextmanager
def traffic(source: Any, may_be_zero: bool = False) -> Iterator[Traffic]:
    """Watch what travels between ``source`` and the store, as long as the block runs.

    Parameters
    ----------
    source
        A file system of s3fs, a client of boto3, or a connection of DuckDB. Only requests
        that go through it are seen: ``pd.read_parquet("s3://…")``, for example, reads with
        a client of its own.
    may_be_zero
        Take it that nothing was seen, as when all comes from a cache. The counter is then
        tried with one more request, which is not in the result.

    Yields
    ------
    Traffic
        It is complete when the block has ended.

    Raises
    ------
    CourseError
        Nothing was seen, or ``source`` cannot be watched.
    """
    seen = Traffic()
    if hasattr(source, "call_s3"):
        watch: Any = _events(source.s3, seen)
    elif hasattr(source, "meta") and hasattr(source.meta, "events"):
        watch = _events(source, seen)
    elif hasattr(source, "execute") and "duckdb" in type(source).__module__:
        watch = _duckdb_log(source, seen)
    else:
        raise CourseError(
            f"traffic() cannot watch a {type(source).__name__}.",
            "Give it a file system of s3fs, a client of boto3 or a connection of DuckDB.",
        )
    client = getattr(source, "s3", None)
    with watch:
        yield seen
        if not seen.log and may_be_zero:
            _probe(source)
            if seen.log:
                seen.log.clear()
                return
    if getattr(source, "s3", None) is not client:
        raise CourseError(
            "The file system has made a new connection, whose requests were not seen.",
            "Run the cell again.",
        )
    if not seen.log:
        raise CourseError(
            "The counter has seen no request.",
            "Look whether the block reads through what traffic() was given, and whether a cache "
            "had the data already (if that is meant: may_be_zero=True).",
        )


@contextmanager
def _events(client: Any, seen: Traffic) -> Iterator[None]:
    """Note each request of a client of boto3, or of the one inside s3fs.

    Both tell whoever registers for it what they are about to send ("before-call") and what
    was answered ("response-received").
    """
    begin, mark = perf_counter(), f"watched {id(seen)}"

    def before(model: Any, params: dict[str, Any], context: dict[str, Any], **_: Any) -> None:
        context[mark] = model.name, params, perf_counter() - begin

    def after(
        context: dict[str, Any],
        response_dict: dict[str, Any] | None,
        parsed_response: dict[str, Any] | None,
        **_: Any,
    ) -> None:
        if mark not in context:  # it was on its way already
            return
        name, sent, start = context[mark]
        now = perf_counter() - begin
        request = Request(name, _path(sent["url"]), start, now, 0)
        request.sent = _length_sent(sent)
        seen.log.append(request)
        context[mark] = name, sent, now  # should it be repeated
        if response_dict is None:  # there was no answer
            return
        if name == "GetObject" and response_dict["status_code"] < 300:
            request.bytes, request.first = _range(response_dict["headers"])
            _note_end(parsed_response["Body"], request, begin)  # type: ignore[index]
        else:
            request.bytes = len(response_dict["body"] or b"")

    client.meta.events.register("before-call.s3", before)
    client.meta.events.register("response-received.s3", after)
    try:
        yield
    finally:
        client.meta.events.unregister("before-call.s3", before)
        client.meta.events.unregister("response-received.s3", after)


def _path(url: str) -> str:
    return unquote(urlsplit(url).path).strip("/")


def _range(headers: Any) -> tuple[int, int]:
    """Of an object's answer: how many bytes it has, and the place of the first of them."""
    headers = {str(name).lower(): value for name, value in headers.items()}
    if "content-length" not in headers:
        raise CourseError(
            "The store does not say how long its answer is, so it cannot be counted.",
            "Run the cell without traffic().",
        )
    place = headers.get("content-range", "bytes 0-")  # such as "bytes 100-199/5000"
    return int(headers["content-length"]), int(place.split()[1].split("-")[0])


def _length_sent(request: dict[str, Any]) -> int:
    """Bytes of a request's body; of one sent in pieces a header says how many they are."""
    decoded = request["headers"].get("X-Amz-Decoded-Content-Length")
    return int(decoded or determine_content_length(request["body"]) or 0)


def _note_end(body: Any, request: Request, begin: float) -> None:
    """The answer begins with headers; its end is when the last bytes of the body are read."""
    read = body.read

    def reading(*size: Any, **named: Any) -> Any:
        data = read(*size, **named)
        request.end = perf_counter() - begin
        return data

    async def reading_async(*size: Any, **named: Any) -> Any:  # the same, for s3fs
        data = await read(*size, **named)
        request.end = perf_counter() - begin
        return data

    body.read = reading_async if inspect.iscoroutinefunction(read) else reading


@contextmanager
def _duckdb_log(db: Any, seen: Traffic) -> Iterator[None]:
    """Read the log that DuckDB keeps of its HTTP requests.

    The log holds whole requests, and so the session token among their headers. We take the
    columns that we need, and delete the rest.
    """
    db.execute("CALL truncate_duckdb_logs()")
    db.execute("CALL enable_logging('HTTP')")
    begin = db.execute("SELECT epoch_us(now())").fetchone()[0]
    try:
        yield
        rows = db.execute("""
            SELECT request.type, request.url, epoch_us(request.start_time),
                request.duration_ms, request.request_body_length, response.headers
            FROM duckdb_logs_parsed('HTTP') ORDER BY request.start_time""").fetchall()
    finally:
        db.execute("CALL disable_logging()")
        db.execute("CALL truncate_duckdb_logs()")
    for method, url, started, milliseconds, sent, headers in rows:
        start = (started - begin) / 1e6
        name = "ListObjectsV2" if "list-type=" in url else f"{method.title()}Object"
        request = Request(name, _path(url), start, start, 0, sent or 0)
        request.end += (milliseconds or 0) / 1e3
        if name == "GetObject":
            request.bytes, request.first = _range(headers)
        seen.log.append(request)


def _probe(source: Any) -> None:
    """One request that changes nothing; whether it is allowed does not matter."""
    try:
        if hasattr(source, "call_s3"):
            source.call_s3("list_buckets")
        elif hasattr(source, "list_buckets"):
            source.list_buckets()
    except Exception:  # noqa: S110 - a refusal is an answer, too
        pass


# -- drawing ---------------------------------------------------------------------------


def draw(seen: Traffic, size: int, title: str = "") -> Any:
    """Draw the requests that brought bytes of an object, one line for each.

    The left picture shows when each request ran, the right one which bytes of the object
    it brought.

    Parameters
    ----------
    seen
        What ``traffic`` gave.
    size
        Bytes of the whole object.
    title
        Of the picture.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt

    reads = sorted((one for one in seen.log if one.first is not None), key=lambda one: one.start)
    lines = range(1, len(reads) + 1)
    figure, (times, places) = plt.subplots(
        ncols=2, sharey=True, figsize=(9, 1.3 + 0.22 * max(len(reads), 3)), layout="constrained"
    )
    begin = reads[0].start if reads else 0
    waits = [(one.end - one.start) * 1e3 for one in reads]
    times.barh(lines, waits, left=[(one.start - begin) * 1e3 for one in reads], color="#4c6fa5")
    places.barh(
        lines,
        [max(one.bytes, size / 400) / 1e6 for one in reads],  # or a few bytes would not be seen
        left=[(one.first or 0) / 1e6 for one in reads],
        color="#c8781e",
    )
    places.set_xlim(0, size / 1e6)
    times.set_ylim(len(reads) + 0.6, 0.4)
    times.yaxis.get_major_locator().set_params(integer=True)
    times.set(xlabel="time (ms)", ylabel="request", title="when it ran")
    places.set(xlabel="position in the object (MB)", title="which bytes it brought")
    figure.suptitle(title)
    plt.close(figure)  # a notebook shows what a cell gives; it would be shown twice
    return figure


# -- memory ----------------------------------------------------------------------------

REPORT = """
import os, resource

def high_water_mark():
    if os.path.exists("/proc/self/status"):  # Linux, where ru_maxrss begins with the parent's
        with open("/proc/self/status") as status:
            return int(status.read().split("VmHWM:")[1].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # macOS
"""


def peak_memory(function: Callable[..., Any], *arguments: Any) -> int:
    """The most memory that a function takes at any moment, in a Python of its own.

    The system notes a "high-water mark" for each process. It never falls again, so each
    measurement needs a process that has done nothing else. What the packages themselves
    take, which the function imports, is not counted.

    Parameters
    ----------
    function
        It is sent to the other Python as text: it has to import what it needs, and to take
        everything else as an argument.
    arguments
        Texts, numbers, or lists and dictionaries of these.

    Returns
    -------
    int
        Bytes, on Linux and macOS.

    Raises
    ------
    CourseError
        The function ended in an error.
    """
    source = textwrap.dedent(inspect.getsource(function))
    tree = ast.parse(source)
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    call = f"{function.__name__}(*{arguments!r})"
    program = [*map(ast.unparse, imports), REPORT, source, "before = high_water_mark()", call]
    program += ["print('peak', high_water_mark() - before)"]
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(program)], capture_output=True, text=True
    )
    if done.returncode:
        raise CourseError(
            f"{function.__name__} ended in an error: {done.stderr.strip().splitlines()[-1]}",
            "It has to import what it needs, and to take everything else as an argument.",
        )
    return int(done.stdout.rsplit("peak ", 1)[1])
