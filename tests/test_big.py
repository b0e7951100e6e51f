"""Large tables and their costs: what units 51 and 52 rely on."""

import os
import sys
from collections.abc import Iterator
from math import inf
from pathlib import Path
from types import SimpleNamespace
from uuid import uuid4

import pandas as pd
import pyarrow.dataset as ds
import pytest
import s3fs

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError, big, bucket
from course.big import CostModel, choose_rows, connect_duckdb, fit, make_month, make_tables, run

OWN = "student"
MB = 1_000_000

# -- how large -------------------------------------------------------------------------


@pytest.mark.parametrize(("asked", "rows"), [("100000", 100_000), ("2_000_050", 2_000_000)])
def test_the_variable_decides_on_the_rows(
    asked: str, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_ROWS", asked)
    assert choose_rows() == rows


@pytest.mark.parametrize("asked", ["many", "0", "-5", "1e9", "99999", "1000000001", "2000000x"])
def test_a_bad_number_of_rows_is_told(asked: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COURSE_ROWS", asked)
    with pytest.raises(CourseError, match=r"COURSE_ROWS is .*Set it to"):
        choose_rows()


@pytest.mark.parametrize(
    ("memory", "rows"), [(10**12, 100_000_000), (10**9, 10_000_000), (10**6, 1_000_000)]
)
def test_without_it_the_machine_decides(
    memory: int, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COURSE_ROWS", " ")
    monkeypatch.setattr(big, "free_memory", lambda: memory)
    monkeypatch.setattr(big, "DISK", 0)
    assert choose_rows() == rows


def test_a_full_disk_counts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COURSE_ROWS", raising=False)
    monkeypatch.setattr(big, "free_memory", lambda: 10**12)
    monkeypatch.setattr(big, "DISK", 10**12)
    assert choose_rows() == 1_000_000


def test_there_is_some_free_memory_here() -> None:
    assert 10 * MB < big.free_memory() < 10**14


# -- the tables ------------------------------------------------------------------------


@pytest.fixture
def place() -> Iterator[str]:
    place = f"{OWN}/test-big-{uuid4().hex[:8]}"
    yield place
    bucket.clean_up(place)


def test_a_month_is_the_same_each_time_and_no_other() -> None:
    assert make_month(3, 500).equals(make_month(3, 500))
    assert not make_month(3, 500).equals(make_month(4, 500))


def test_a_month_has_the_columns_and_codes_of_the_facilities() -> None:
    month = make_month(14, 20_000).to_pandas()
    assert list(month) == ["REG", "DEP", "DEPCOM", "DCIRIS", "AN", "MOIS", "TYPEQU", "NB_EQUIP"]
    assert set(month["AN"]) == {2013} and set(month["MOIS"]) == {3}
    assert month["DEP"].nunique() == 96 and month["REG"].nunique() == 13
    assert (month["DEPCOM"].str[:2] == month["DEP"]).all()
    assert (month["DCIRIS"].str[:5] == month["DEPCOM"]).all()
    assert set(month["DCIRIS"].str.len()) == {9} and set(month["TYPEQU"].str.len()) == {4}
    assert month["NB_EQUIP"].between(1, 9).all()
    of = month.groupby("DEP")["REG"].unique().map(list)
    assert of["75"] == ["11"] and of["35"] == ["53"] and of["2A"] == ["94"]


def test_some_places_are_far_more_common_than_others() -> None:
    sizes = make_month(0, 20_000).to_pandas()["DEP"].value_counts()
    assert sizes.max() > 5 * sizes.median()


def test_the_three_tables_hold_each_other_and_say_how_large_they_are(place: str) -> None:
    tables = make_tables(place, 100_000)
    assert [(one.name, one.rows) for one in tables] == [
        ("small", 1_000),
        ("medium", 10_000),
        ("large", 100_000),
    ]
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    frames = []
    for table in tables:
        paths = fs.find(table.path)
        assert sum(map(fs.size, paths)) == table.bytes
        frames.append(pd.concat(ds.dataset(p, filesystem=fs).to_table().to_pandas() for p in paths))
        assert len(frames[-1]) == table.rows
    small, medium, large = frames
    assert small.reset_index(drop=True).equals(medium[:1_000].reset_index(drop=True))
    assert medium.reset_index(drop=True).equals(large[:10_000].reset_index(drop=True))
    assert len(large[["AN", "MOIS"]].drop_duplicates()) == 100


def test_they_are_made_again_in_place_and_what_takes_long_is_told(
    place: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    first = make_tables(place, 100_000)
    ticks = iter(range(0, 10**6, 3))
    monkeypatch.setattr(big, "time", SimpleNamespace(monotonic=lambda: next(ticks)))
    assert make_tables(place, 100_000) == first
    assert "large: month 100 of 100" in capsys.readouterr().out


# -- programs under a limit ------------------------------------------------------------


def hold(megabytes: int, folder: str = "") -> int:
    import tempfile
    from pathlib import Path
    from time import sleep

    print("this is no answer")
    data = b"x" * (megabytes * 1_000_000)
    if folder:
        Path(tempfile.gettempdir(), folder).write_bytes(data)
        sleep(0.3)
    return len(data)


def fail(number: int) -> float:
    return 1 / number


def test_each_call_is_measured() -> None:
    small, large = run(hold, [[1], [60]])
    assert (small.answer, large.answer) == (MB, 60 * MB)
    assert not small.killed and not large.killed
    assert large.peak > 59 * MB > small.peak
    assert small.seconds > 0 and small.engine == "hold" and large.table == "60"


def test_what_takes_too_much_is_killed_and_what_came_before_is_kept() -> None:
    runs = run(hold, [[1], [200], [2]], limit=100 * MB)
    assert [one.killed for one in runs] == [False, True]
    assert runs[0].answer == MB and runs[1].answer is None
    assert runs[1].peak > 100 * MB


def test_what_is_put_on_the_disk_is_seen_and_removed() -> None:
    assert run(hold, [[5, "spilled"]])[0].spilled == 5 * MB
    assert run(hold, [[5]])[0].spilled == 0


def test_an_error_is_told_in_a_sentence() -> None:
    with pytest.raises(CourseError, match="fail ended in an error: ZeroDivisionError"):
        run(fail, [[1], [0]])


def test_duckdb_reads_the_store_and_keeps_to_its_limit(place: str) -> None:
    make_tables(place, 100_000)
    with connect_duckdb(100 * MB) as db:
        rows = db.read_parquet(f"s3://{place}/large/*.parquet")
        assert len(rows.fetchall()) == 100_000
        limit = db.execute("SELECT current_setting('memory_limit')").fetchone()[0]
        assert limit == "95.3 MiB"


# -- costs -----------------------------------------------------------------------------

POINTS = pd.DataFrame(
    [(80, 20, 0), (10**8, 1, 0), (0, 0, 10**6), (10**6, 4, 10**5), (10**7, 30, 10**6)],
    columns=["bytes", "requests", "rows"],
)


@pytest.mark.parametrize(
    ("bandwidth", "latency", "speed"), [(5e7, 0.05, 2e7), (inf, 0.01, 1e6), (1e6, 0.0, inf)]
)
def test_the_costs_that_made_the_seconds_are_found(
    bandwidth: float, latency: float, speed: float
) -> None:
    truth = CostModel(bandwidth, latency, speed)
    points = POINTS[1:] if latency == 0 or speed == inf else POINTS
    points = points[truth.seconds(*points.to_numpy(float).T) > 0]
    points = points.assign(seconds=truth.seconds(points["bytes"], points.requests, points.rows))
    found = fit(points)
    expected = truth.seconds(3e9, 500, 3e8)
    assert found.seconds(3e9, 500, 3e8) == pytest.approx(expected, rel=1e-6)
    assert sum(found.terms(3e9, 500, 3e8)) == pytest.approx(expected, rel=1e-6)


def test_noise_makes_no_cost_negative() -> None:
    truth = CostModel(inf, 0.01, 1e6)
    seconds = truth.seconds(POINTS["bytes"], POINTS["requests"], POINTS["rows"])
    found = fit(POINTS.assign(seconds=(seconds * [1, 0.9, 1.1, 0.8, 1.2]).clip(1e-6)))
    assert found.latency >= 0 and found.bandwidth > 0 and found.speed > 0


def test_reads_that_differ_in_size_only_are_refused() -> None:
    points = pd.DataFrame({"bytes": [1e6, 1e7, 1e8], "requests": [2, 20, 200]})
    points = points.assign(rows=points["bytes"] / 8, seconds=[1, 10, 100])
    with pytest.raises(CourseError, match="nobody can tell"):
        fit(points)


def test_the_rows_of_the_tests_are_few() -> None:
    assert int(os.environ["COURSE_ROWS"]) <= 2 * MB
