"""Images of the unit on images: made-up terrain, and what GDAL moves over the network.

- ``terrain`` makes heights, ``write_plain`` writes them as an ordinary GeoTIFF.
- ``gdal_cost`` counts the requests and the bytes of a read that GDAL does.
"""

import inspect
import json
import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import rasterio  # type: ignore[import-untyped]
from rasterio.transform import from_origin  # type: ignore[import-untyped]

from course import CourseError

#: GDAL prints what it has sent and received when its program ends.
COUNT = {"CPL_VSIL_NETWORK_STATS_ENABLED": "YES", "CPL_VSIL_SHOW_NETWORK_STATS": "YES"}


def terrain(seed: int, n: int = 1200) -> Any:
    """Made-up heights: random hills of six sizes, added.

    Parameters
    ----------
    seed
        The same number gives the same terrain.
    n
        Number of rows, and of columns.

    Returns
    -------
    numpy.ndarray
        ``n`` by ``n`` heights in metres, float32, to a tenth of a metre.
    """
    chance, heights = np.random.default_rng(seed), np.full((n, n), 1500, "float32")
    for hills in [4, 8, 16, 32, 64, 128]:
        place = np.arange(n, dtype="float32")[:, None] * hills / n
        near = np.maximum(0, 1 - abs(place - np.arange(hills + 1, dtype="float32")))
        smooth, size = near**2 * (3 - 2 * near), (hills + 1, hills + 1)
        heights += smooth @ chance.normal(0, 2800 / hills, size).astype("float32") @ smooth.T
    return np.round(heights, 1)


def write_plain(path: Path | str, heights: Any, north: int, east: int) -> None:
    """Write heights of one degree by one degree as an ordinary GeoTIFF, neither cut nor packed.

    Parameters
    ----------
    path
        Of the file.
    heights
        A square array, in metres.
    north, east
        Degrees of the south-western corner. The centre of the first pixel lies on the degree,
        as in the elevation model of Copernicus.
    """
    n = len(heights)
    place = from_origin(east - 0.5 / n, north + 1 + 0.5 / n, 1 / n, 1 / n)
    options = {"width": n, "height": n, "count": 1, "dtype": "float32", "transform": place}
    with rasterio.open(path, "w", driver="GTiff", crs="EPSG:4326", **options) as image:
        image.update_tags(TIFFTAG_DATETIME="2021:04:06 10:00:00")
        image.write(heights, 1)


def gdal_cost(read: Callable[[str], Any], address: str) -> tuple[int, int]:
    """Requests and bytes of a read, as GDAL itself counts them.

    GDAL keeps what it has fetched, and tells its count at its end, so each read runs in a
    Python of its own.

    Parameters
    ----------
    read
        A function of an address. It is sent to the other Python as text: it has to import
        what it needs.
    address
        Of an image, such as ``"s3://my-bucket/image.tif"``.

    Returns
    -------
    requests, bytes
        Of all requests that brought a part of an object.

    Raises
    ------
    CourseError
        The function ended in an error.
    """
    source = textwrap.dedent(inspect.getsource(read))
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{source}\n{read.__name__}({address!r})"],
        env=os.environ | COUNT,
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise CourseError(
            f"{read.__name__} ended in an error: {done.stderr.strip().splitlines()[-1]}",
            "It has to import what it needs, and to take everything else from its argument.",
        )
    said = done.stdout + done.stderr
    get = json.loads(said[said.index("{") :])["methods"]["GET"]
    return get["count"], get["downloaded_bytes"]
