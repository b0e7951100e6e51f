"""What the units on arrays and images take from their modules."""

import os
import sys
import zlib
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
import xarray as xr

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError
from course.arrays import chunks_of_netcdf, draw_graph, far_away, temperatures, zarr_store
from course.bucket import clean_up
from course.images import gdal_cost, terrain, write_plain
from course.measure import traffic


def test_the_temperatures_are_the_same_each_time_small_and_described() -> None:
    first = temperatures()
    assert first.identical(temperatures())
    assert first.nbytes < 15e6
    assert dict(first["t2m"].sizes) == {"time": 365, "lat": 75, "lon": 120}
    assert first["t2m"].attrs["units"] == "K" and first["lat"].attrs["units"] == "degrees_north"
    assert 200 < float(first["t2m"].min()) < float(first["t2m"].max()) < 330


def test_the_chunks_of_a_file_are_where_it_is_said_that_they_are(tmp_path: Path) -> None:
    data = temperatures().isel(time=slice(0, 12))
    path = tmp_path / "data.nc"
    encoding = {"t2m": {"chunksizes": (1, 75, 120), "zlib": True, "shuffle": False}}
    data.to_netcdf(path, engine="h5netcdf", encoding=encoding)
    pieces, raw = chunks_of_netcdf(path, "t2m"), path.read_bytes()
    assert len(pieces) == 12
    for day, (first, size) in enumerate(zip(pieces["first"], pieces["bytes"], strict=True)):
        values = np.frombuffer(zlib.decompress(raw[first : first + size]), "<f4")
        assert np.array_equal(values.reshape(75, 120), data["t2m"].values[day])


def test_a_zarr_store_is_counted_and_a_distant_one_waits_at_each_request() -> None:
    address = f"s3://{os.environ['MY_BUCKET']}/test-arrays/a.zarr"
    store = zarr_store(address)
    data = xr.Dataset({"n": (("x",), np.arange(6.0))})
    try:
        data.to_zarr(store, mode="w", zarr_format=3, encoding={"n": {"chunks": (2,)}})
        lazy = xr.open_zarr(store, zarr_format=3, chunks=None)["n"]
        with traffic(store.fs) as seen, far_away(store.fs, 0.02):
            assert lazy.values.tolist() == [0, 1, 2, 3, 4, 5]
        assert seen.requests == 3
        assert all(one.end - one.start >= 0.02 for one in seen.log)
        fresh = xr.open_zarr(store, zarr_format=3, chunks=None)["n"]
        with traffic(store.fs) as seen:
            assert fresh[2:4].values.tolist() == [2, 3]
        assert [one.path.rsplit("/", 1)[1] for one in seen.log] == ["1"]
    finally:
        clean_up(address.removeprefix("s3://"))


def test_a_drawn_plan_has_a_dot_for_each_task() -> None:
    planned = da.ones((4, 2), chunks=(1, 2)).sum()
    axes = draw_graph(planned).axes[0]
    dots = sum(len(one.get_offsets()) for one in axes.collections)
    assert dots == len(planned.__dask_graph__())


def test_the_same_seed_gives_the_same_terrain() -> None:
    assert np.array_equal(terrain(3, 50), terrain(3, 50))
    assert not np.array_equal(terrain(3, 50), terrain(4, 50))


def first_row(address: str) -> None:
    import rasterio
    from rasterio.windows import Window

    with rasterio.open(address) as image:
        image.read(1, window=Window(0, 0, image.width, 1))


def test_a_read_that_cannot_be_counted_says_why(tmp_path: Path) -> None:
    with pytest.raises(CourseError, match=r"first_row ended in an error: .*no-such-image"):
        gdal_cost(first_row, str(tmp_path / "no-such-image.tif"))


def test_what_gdal_moves_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import s3fs

    monkeypatch.setenv("AWS_VIRTUAL_HOSTING", "FALSE")
    monkeypatch.setenv("GDAL_DISABLE_READDIR_ON_OPEN", "EMPTY_DIR")
    write_plain(tmp_path / "a.tif", terrain(3, 600), 45, 6)
    fs, path = s3fs.S3FileSystem(), f"{os.environ['MY_BUCKET']}/test-arrays/a.tif"
    fs.put(str(tmp_path / "a.tif"), path)
    try:
        requests, size = gdal_cost(first_row, f"s3://{path}")
        assert 1 <= requests <= 4 and 600 * 4 <= size < fs.size(path)
    finally:
        fs.rm(path)
