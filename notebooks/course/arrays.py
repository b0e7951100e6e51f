"""Arrays of the units on arrays: made-up temperatures, a slow line, and a drawn task graph.

- ``temperatures`` makes a year of daily temperatures on a grid over Europe.
- ``chunks_of_netcdf`` says where the pieces of a variable lie in a NetCDF file.
- ``zarr_store`` opens the place of a Zarr store so that ``traffic`` can count its requests.
- ``far_away`` makes each request wait, as it would on a store on another continent.
- ``draw_graph`` draws what dask has planned.
"""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import xarray as xr

#: Mountains of the made-up climate: latitude, longitude, width (degrees) and height (km).
MOUNTAINS = [
    (45.0, 6.8, 1.3, 3.0),
    (46.8, 11.0, 1.6, 2.5),
    (42.6, 0.5, 1.2, 2.5),
    (45.0, 3.0, 1.3, 1.0),
    (46.0, 25.0, 1.7, 1.8),
    (61.5, 8.5, 2.2, 1.8),
    (66.5, 16.0, 2.5, 1.4),
    (42.8, 43.5, 1.6, 3.5),
    (38.5, 39.0, 3.0, 2.0),
]


def temperatures(year: int = 2022) -> xr.Dataset:
    """Made-up daily mean temperatures, 2 m above the ground, on a grid over Europe.

    The climate is cold in the north, on mountains and in January; waves pass over it as
    weather, and noise comes on top. There is no sea in it. Each call gives the same values.

    Parameters
    ----------
    year
        The days are those of this year.

    Returns
    -------
    xarray.Dataset
        One variable, ``t2m`` (kelvin, float32), with the dimensions ``time`` (days),
        ``lat`` (75 values, from north to south) and ``lon`` (120 values): about 13 MB.
        Names, units and attributes follow the CF conventions.
    """
    time = pd.date_range(f"{year}-01-01", f"{year}-12-31")
    lat = np.arange(71, 33.5, -0.5, dtype="float32")[:, None]
    lon = np.arange(-15, 45, 0.5, dtype="float32")
    day = np.arange(len(time), dtype="float32")[:, None, None]
    winter = np.cos(2 * np.pi * (day - 20) / 365.25)  # 1 in January, -1 in July
    values = 288 - 0.6 * (lat - 45) - (6 + 0.12 * (lon + 15)) * winter
    for north, east, width, height in MOUNTAINS:
        distance = ((lat - north) ** 2 + ((lon - east) * 0.7) ** 2) / width**2
        values -= 5 * height * np.exp(-distance)
    chance = np.random.default_rng(7)
    for a, b, c in chance.uniform(0.05, 0.2, (5, 3)).astype("float32"):
        values += 2 * np.sin(a * lat + b * lon - (6 * c - 0.2) * day)
    values += chance.standard_normal(values.shape, dtype="float32") / 2
    about = {
        "standard_name": "air_temperature",
        "long_name": "2 m temperature",
        "units": "K",
        "cell_methods": "time: mean",
    }
    north_south = {"standard_name": "latitude", "units": "degrees_north"}
    east_west = {"standard_name": "longitude", "units": "degrees_east"}
    return xr.Dataset(
        {"t2m": (("time", "lat", "lon"), values.round(2).astype("float32"), about)},
        {"time": time, "lat": ("lat", lat[:, 0], north_south), "lon": ("lon", lon, east_west)},
        {"Conventions": "CF-1.11", "title": "Made-up daily temperatures"},
    )


def chunks_of_netcdf(path: Any, name: str) -> pd.DataFrame:
    """Where the stored pieces (chunks) of a variable lie in its file.

    Parameters
    ----------
    path
        Of a NetCDF 4 file on the disk.
    name
        Of the variable.

    Returns
    -------
    pandas.DataFrame
        One row for each chunk, in the order of their position in the array: ``first``, the
        place of its first byte in the file, and ``bytes``, its size as it is stored.
    """
    import h5py  # type: ignore[import-untyped]

    with h5py.File(path) as file:
        stored = file[name].id
        found = [stored.get_chunk_info(number) for number in range(stored.get_num_chunks())]
        found.sort(key=lambda chunk: chunk.chunk_offset)
        return pd.DataFrame(
            {"first": [one.byte_offset for one in found], "bytes": [one.size for one in found]}
        )


def zarr_store(address: str) -> Any:
    """The place of a Zarr store on S3, with a connection that ``traffic`` can watch.

    ``traffic(store.fs)`` counts what goes through it, and ``xarray.open_zarr(store)`` reads
    through it. It fetches each chunk with one request: ``max_concurrency=1`` tells s3fs not
    to ask for the size of each object first.

    Parameters
    ----------
    address
        Such as ``"s3://my-bucket/a/data.zarr"``.

    Returns
    -------
    zarr.storage.FsspecStore
    """
    from zarr.core.sync import sync
    from zarr.storage import FsspecStore

    store = FsspecStore.from_url(address, storage_options={"max_concurrency": 1})
    sync(store.fs.set_session())  # connect now: there is nothing to be watched before
    return store


@contextmanager
def far_away(fs: Any, seconds: float = 0.05) -> Iterator[None]:
    """Let each request of a file system of s3fs wait before it leaves.

    Write it after ``traffic``, so that the wait is counted: ``with traffic(fs) as seen,
    far_away(fs):``.
    """

    async def wait(**_: Any) -> None:
        await asyncio.sleep(seconds)

    fs.s3.meta.events.register("before-call.s3", wait)
    try:
        yield
    finally:
        fs.s3.meta.events.unregister("before-call.s3", wait)


def draw_graph(planned: Any) -> Any:
    """Draw the tasks that dask has planned, and which of them waits for which.

    Parameters
    ----------
    planned
        Something lazy: an array of xarray or dask.

    Returns
    -------
    matplotlib.figure.Figure
        One dot for each task. Tasks of a row can run at the same time; each line leads from
        a task to one that needs its result.
    """
    import matplotlib.pyplot as plt
    from dask.utils import key_split

    needs = planned.__dask_graph__().get_all_dependencies()
    level: dict[Any, int] = {}

    def natural(key: Any) -> tuple[str, Any]:
        """So that block 2 stands before block 10."""
        return (str(key[0]), key[1:]) if isinstance(key, tuple) else (str(key), ())

    def level_of(key: Any) -> int:
        if key not in level:
            level[key] = 1 + max(map(level_of, needs[key]), default=-1)
        return level[key]

    for key in needs:
        level_of(key)
    rows: dict[int, list[Any]] = {}
    for key in sorted(needs, key=natural):
        rows.setdefault(level[key], []).append(key)
    place = {
        key: ((number + 0.5) / len(keys), row)
        for row, keys in rows.items()
        for number, key in enumerate(keys)
    }
    figure, axes = plt.subplots(figsize=(8, 0.8 + 0.55 * len(rows)), layout="constrained")
    for key, before in needs.items():
        for one in before:
            axes.plot(*zip(place[one], place[key], strict=True), color="#9aa7b8", linewidth=0.8)
    for row, keys in rows.items():
        across = [place[key][0] for key in keys]
        axes.scatter(across, [row] * len(keys), s=60, color="#4c6fa5", zorder=3)
        names = dict.fromkeys(key_split(key) for key in keys)
        axes.text(1.02, row, f"{len(keys)} x {', '.join(names)}", va="center")
    axes.set_xlim(0, 1.7)
    axes.axis("off")
    plt.close(figure)  # a notebook shows what a cell gives; it would be shown twice
    return figure
