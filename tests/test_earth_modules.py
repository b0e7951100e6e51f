"""What the notebooks of part 4 take from `course.observations` and `course.geo`."""

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar
from uuid import uuid4

import geopandas as gpd  # type: ignore[import-untyped]
import numpy as np
import pyarrow.parquet as pq
import pytest
import s3fs

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError, bucket, observations
from course.geo import draw_boxes, group_boxes

TABLE = b"STATION,TMP\n" + b"07149099999,+0017\n" * 1000


class Publisher(BaseHTTPRequestHandler):
    """Offers one table; of the path /broken it sends half and hangs up."""

    asked: ClassVar[list[str]] = []

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_response(200)
        self.send_header("Content-Length", str(len(TABLE)))
        self.end_headers()
        self.wfile.write(TABLE[: len(TABLE) // 2] if self.path == "/broken" else TABLE)

    def log_message(self, *_: object) -> None:
        """Say nothing on the terminal."""


@pytest.fixture
def publisher() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Publisher)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    Publisher.asked = []
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


@pytest.fixture
def place() -> Iterator[str]:
    place = f"student/test-earth-{uuid4().hex[:8]}"
    yield place
    bucket.clean_up(place)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """A store on which nobody offers the tables."""
    monkeypatch.setattr(observations, "SHARED", f"no-such-bucket-{uuid4().hex[:8]}")


def offer(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    monkeypatch.setitem(observations.OFFICIAL, observations.STATION_YEAR, url)


def test_on_the_datalab_the_tables_are_where_they_are_shared(place: str) -> None:
    for table in observations.OFFICIAL:
        assert observations.find(table, place) == f"earth-science/{table}"


def test_elsewhere_a_table_is_fetched_once(
    place: str, publisher: str, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{publisher}/table.csv")
    path = observations.find(observations.STATION_YEAR, place)
    assert path.startswith(f"{place}/")
    fs = s3fs.S3FileSystem(skip_instance_cache=True)
    assert fs.cat_file(path) == TABLE
    assert observations.find(observations.STATION_YEAR, place) == path
    assert Publisher.asked == ["/table.csv"]
    assert fs.find(place) == [path]  # nothing half done beside it


def test_of_a_transfer_that_breaks_off_nothing_stays_under_the_name(
    place: str, publisher: str, elsewhere: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, f"{publisher}/broken")
    with pytest.raises(CourseError, match="could not be fetched"):
        observations.find(observations.STATION_YEAR, place)
    offer(monkeypatch, f"{publisher}/table.csv")
    path = observations.find(observations.STATION_YEAR, place)
    assert s3fs.S3FileSystem(skip_instance_cache=True).cat_file(path) == TABLE


@pytest.fixture
def points() -> gpd.GeoDataFrame:
    draws = np.random.default_rng(42)
    places = gpd.points_from_xy(draws.uniform(-20, 60, 90), draws.uniform(10, 40, 90), crs=4326)
    return gpd.GeoDataFrame({"row": range(90)}, geometry=places)


@pytest.mark.parametrize(
    "kind", [{"write_covering_bbox": True}, {"schema_version": "2.0.0"}], ids=["covering", "native"]
)
def test_the_box_of_a_row_group_is_that_of_its_points(
    kind: dict[str, object], points: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = str(tmp_path / "points.parquet")
    points.to_parquet(path, index=False, row_group_size=40, **kind)
    boxes = group_boxes(path)
    assert list(boxes.columns) == ["west", "south", "east", "north"]
    expected = [points.iloc[at : at + 40].total_bounds for at in (0, 40, 80)]
    assert np.allclose(boxes, expected)


def test_a_file_without_boxes_is_refused(points: gpd.GeoDataFrame, tmp_path: Path) -> None:
    path = str(tmp_path / "points.parquet")
    points.to_parquet(path)
    with pytest.raises(CourseError, match="does not say where"):
        group_boxes(path)


def test_a_drawing_counts_the_groups_that_meet_the_box(
    points: gpd.GeoDataFrame, tmp_path: Path
) -> None:
    path = str(tmp_path / "points.parquet")
    points.sort_values("geometry").to_parquet(
        path, index=False, row_group_size=30, write_covering_bbox=True
    )
    groups = group_boxes(path)
    assert pq.read_metadata(path).num_row_groups == 3
    edge = (-180.0, -90.0, float(groups["west"].min()), 90.0)  # touches one group, or more
    touched = int((groups["west"] == groups["west"].min()).sum())
    titles = [
        axes.get_title()
        for box in (edge, (100.0, 0.0, 110.0, 10.0))
        for axes in draw_boxes({"mine": groups, "again": groups}, box).axes
    ]
    assert titles == [
        f"{name}: {number} of 3 row groups" for number in (touched, 0) for name in ("mine", "again")
    ]
