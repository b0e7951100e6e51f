"""The counters of the notebooks: what they say of a read is so, or they say nothing."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import certifi
import duckdb
import pandas as pd
import pytest
import s3fs
from aiobotocore.hooks import AioHierarchicalEmitter as Emitter
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError, bucket
from course.measure import draw, peak_memory, traffic

OWN = "student"
SIZE = 3_000_000


@pytest.fixture
def fs() -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(skip_instance_cache=True, use_listings_cache=False)


@pytest.fixture
def place(fs: s3fs.S3FileSystem) -> Iterator[str]:
    """A prefix of its own with an object of random bytes and a table."""
    place = f"{OWN}/test-measure-{uuid4().hex[:8]}"
    fs.pipe(f"{place}/bytes", os.urandom(SIZE))
    frame = pd.DataFrame({"a": range(100_000), "b": [str(n) for n in range(100_000)]})
    frame.to_parquet(f"s3://{place}/table.parquet", row_group_size=10_000)
    yield place
    bucket.clean_up(place)


@pytest.fixture
def db() -> duckdb.DuckDBPyConnection:
    db = duckdb.connect()
    db.execute("INSTALL httpfs; LOAD httpfs; INSTALL aws; LOAD aws")
    db.execute(f"SET ca_cert_file = '{os.environ.get('SSL_CERT_FILE', certifi.where())}'")
    db.execute(f"""CREATE SECRET (TYPE s3, PROVIDER credential_chain,
        ENDPOINT '{os.environ["AWS_S3_ENDPOINT"]}', URL_STYLE 'path')""")
    return db


# -- s3fs and boto3 ------------------------------------------------------------------


def test_each_request_of_s3fs_is_seen_with_its_bytes_place_and_time(
    fs: s3fs.S3FileSystem, place: str
) -> None:
    with traffic(fs) as seen:
        fs.cat_file(f"{place}/bytes", start=1000, end=3000)
        fs.cat_file(f"{place}/bytes")
    # before it fetches a whole object, s3fs asks for its size
    assert [request.name for request in seen.log] == ["GetObject", "HeadObject", "GetObject"]
    assert [request.path for request in seen.log] == [f"{place}/bytes"] * 3
    assert [request.bytes for request in seen.log] == [2000, 0, SIZE]
    assert [request.first for request in seen.log] == [1000, None, 0]
    assert (seen.requests, seen.bytes, seen.sent) == (3, 2000 + SIZE, 0)
    first, second, third = seen.log
    assert 0 <= first.start < first.end <= second.start < second.end <= third.start < third.end
    assert repr(seen) == "3 requests, 3.00 MB"
    assert list(seen.table()["bytes"]) == [2000, 0, SIZE]


def test_what_a_library_reads_through_s3fs_is_seen(fs: s3fs.S3FileSystem, place: str) -> None:
    path = f"{place}/table.parquet"
    with traffic(fs) as exact, fs.open(path, cache_type="none") as file:
        pd.read_parquet(file, columns=["a"], filters=[("a", "<", 5)])
    with traffic(fs) as ahead, fs.open(path) as file:
        pd.read_parquet(file, columns=["a"], filters=[("a", "<", 5)])
    assert 0 < exact.bytes < fs.size(path) <= ahead.bytes


def test_a_head_a_listing_and_a_refusal_bring_no_bytes_of_an_object(
    fs: s3fs.S3FileSystem, place: str
) -> None:
    with traffic(fs) as seen:
        fs.info(f"{place}/bytes")
        fs.find(place)
        with pytest.raises(FileNotFoundError):
            fs.cat_file(f"{place}/missing", start=0, end=10)
    names = [request.name for request in seen.log]
    assert names[0] == "HeadObject" and "ListObjectsV2" in names and names[-1] == "GetObject"
    assert seen.log[0].bytes == 0
    assert all(request.first is None for request in seen.log)
    assert seen.bytes < 10_000


def test_what_is_uploaded_counts_apart(fs: s3fs.S3FileSystem, place: str, tmp_path: Path) -> None:
    s3, key = boto3.client("s3"), f"{place}/new".partition("/")[2]
    (tmp_path / "file").write_bytes(b"x" * 5000)
    with traffic(fs) as seen:
        fs.pipe(f"{place}/new", b"x" * 5000)
    assert (seen.sent, seen.bytes) == (5000, 0)
    with traffic(s3) as seen:
        s3.put_object(Bucket=OWN, Key=key, Body=b"x" * 700)
        s3.upload_file(tmp_path / "file", OWN, key)
    assert (seen.requests, seen.sent, seen.bytes) == (2, 5700, 0)
    with traffic(fs) as seen:
        fs.copy(f"{place}/bytes", f"{place}/copy")
    assert (seen.sent, seen.bytes < 1000) == (0, True)


def test_boto3_is_watched_too_however_the_body_is_read(place: str) -> None:
    s3, key = boto3.client("s3"), f"{place}/bytes".partition("/")[2]
    with traffic(s3) as seen:
        s3.get_object(Bucket=OWN, Key=key, Range="bytes=-10")["Body"].read()
        whole = b"".join(s3.get_object(Bucket=OWN, Key=key)["Body"].iter_chunks())
    assert len(whole) == SIZE
    assert [(one.first, one.bytes) for one in seen.log] == [(SIZE - 10, 10), (0, SIZE)]
    assert seen.log[1].end > seen.log[1].start


def test_a_request_that_is_repeated_counts_again() -> None:
    config = Config(retries={"total_max_attempts": 3}, connect_timeout=2)
    s3 = boto3.client("s3", endpoint_url="http://127.0.0.1:9", config=config)
    with traffic(s3) as seen, pytest.raises(EndpointConnectionError):
        s3.list_buckets()
    assert (seen.requests, seen.bytes) == (3, 0)


def test_one_watch_may_stand_in_another(fs: s3fs.S3FileSystem, place: str) -> None:
    with traffic(fs) as outer:
        fs.cat_file(f"{place}/bytes", start=0, end=10)
        with traffic(fs) as inner:
            fs.cat_file(f"{place}/bytes", start=0, end=20)
    fs.cat_file(f"{place}/bytes", start=0, end=30)
    assert (inner.bytes, outer.bytes) == (20, 30)
    assert inner.log[0].start < outer.log[1].start


# -- DuckDB --------------------------------------------------------------------------


def test_the_requests_of_duckdb_are_seen_and_its_log_with_the_keys_is_gone(
    db: duckdb.DuckDBPyConnection, fs: s3fs.S3FileSystem, place: str
) -> None:
    path = f"{place}/table.parquet"
    with traffic(db) as seen:
        query = f"SELECT sum(a) FROM 's3://{path}' WHERE a < 5"  # noqa: S608
        found = db.execute(query).fetchone()
    assert found == (10,)
    assert {request.name for request in seen.log} == {"HeadObject", "GetObject"}
    assert {request.path for request in seen.log} == {path}
    assert 0 < seen.bytes < fs.size(path)
    brought = [(one.first, one.bytes) for one in seen.log if one.name == "GetObject"]
    assert all(0 <= first < first + size <= fs.size(path) for first, size in brought)
    assert -1 < seen.log[0].start < 60 and all(one.end >= one.start for one in seen.log)
    assert db.execute("SELECT count(*) FROM duckdb_logs").fetchone() == (0,)


def test_duckdb_lists_and_uploads(db: duckdb.DuckDBPyConnection, place: str) -> None:
    with traffic(db) as seen:
        db.execute(f"FROM glob('s3://{place}/*')").fetchall()
        db.execute(f"COPY (FROM range(100_000)) TO 's3://{place}/new.parquet'")
    assert seen.log[0].name == "ListObjectsV2"
    assert seen.sent > 10_000


# -- a zero is not believed ------------------------------------------------------------


def test_a_read_that_goes_past_the_counter_is_an_error(fs: s3fs.S3FileSystem, place: str) -> None:
    with pytest.raises(CourseError, match="has seen no request"), traffic(fs):
        pd.read_parquet(f"s3://{place}/table.parquet")  # with a client of pyarrow's own


def test_a_zero_that_is_allowed_is_proven(fs: s3fs.S3FileSystem, place: str) -> None:
    with traffic(fs, may_be_zero=True) as seen:
        pass
    assert (seen.requests, seen.bytes) == (0, 0)
    # what a new version might do: let nobody know of its requests
    fs.s3.meta.events.emit_until_response = Emitter().emit_until_response
    with pytest.raises(CourseError, match="has seen no request"), traffic(fs, may_be_zero=True):
        fs.cat_file(f"{place}/bytes", start=0, end=10)


def test_requests_of_a_new_connection_are_not_left_out_in_silence(
    fs: s3fs.S3FileSystem, place: str
) -> None:
    with pytest.raises(CourseError, match="has made a new connection"), traffic(fs):
        fs.cat_file(f"{place}/bytes", start=0, end=10)
        fs.connect(refresh=True)
        fs.cat_file(f"{place}/bytes", start=0, end=1000)


def test_a_zero_of_duckdb_is_no_number(db: duckdb.DuckDBPyConnection) -> None:
    with pytest.raises(CourseError, match="has seen no request"), traffic(db, may_be_zero=True):
        db.execute("SELECT 1")


def test_an_error_in_the_block_is_that_error(fs: s3fs.S3FileSystem) -> None:
    with pytest.raises(ZeroDivisionError), traffic(fs):
        _ = 1 / 0


def test_what_cannot_be_watched_is_named() -> None:
    with pytest.raises(CourseError, match="cannot watch a str"), traffic("s3://bucket/key"):
        pass


# -- pictures and memory -----------------------------------------------------------------


def test_a_picture_has_a_bar_for_each_read_and_names_its_axes(
    fs: s3fs.S3FileSystem, place: str
) -> None:
    with traffic(fs) as seen:
        fs.info(f"{place}/bytes")  # brings no bytes of the object, and is not drawn
        for start in (2_000_000, 0, 1_000_000):
            fs.cat_file(f"{place}/bytes", start=start, end=start + 500_000)
    times, places = draw(seen, SIZE, "three reads").axes
    assert len(times.patches) == len(places.patches) == 3
    assert [bar.get_x() for bar in places.patches] == pytest.approx([2, 0, 1])
    assert [bar.get_width() for bar in places.patches] == pytest.approx([0.5] * 3)
    assert times.patches[0].get_x() == 0 < times.patches[1].get_x()
    assert (times.get_xlabel(), places.get_xlabel()) == (
        "time (ms)",
        "position in the object (MB)",
    )


def blank(megabytes: int) -> int:
    return len(bytearray(megabytes * 1_000_000))


def imported() -> None:
    import pandas as pd

    pd.DataFrame({"a": [1]})


def broken() -> None:
    raise ValueError("no such table")


def test_the_memory_of_a_function_is_measured_apart() -> None:
    assert 75e6 < peak_memory(blank, 80) < 100e6
    assert peak_memory(blank, 0) < 10e6  # and this process has taken much more
    assert peak_memory(imported) < 20e6  # pandas itself does not count


def test_an_error_in_the_other_python_is_told() -> None:
    with pytest.raises(CourseError, match="broken ended in an error: ValueError: no such table"):
        peak_memory(broken)
