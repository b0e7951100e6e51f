"""Made-up satellite scenes: small images in the form in which real ones come.

Each covers a square of 100 km with 100 by 100 pixels, in metres of UTM zone 32 (EPSG:32632,
6° to 12° east), and is a cloud-optimised GeoTIFF with the time of its exposure. Pixels are
brightness from 0 to 255; clouds are 255.
"""

from datetime import datetime

import numpy as np
from rasterio.io import MemoryFile  # type: ignore[import-untyped]
from rasterio.transform import from_origin  # type: ignore[import-untyped]

PIXELS = 100  # a side
METRES = 1000  # a pixel


def scene(east: float, north: float, taken: datetime, clouds: float = 0.2) -> bytes:
    """The bytes of one scene, a file to be uploaded.

    Parameters
    ----------
    east, north
        Its upper left corner, in metres of UTM zone 32.
    taken
        When it was exposed, in UTC; to the second.
    clouds
        Share of its pixels that are clouds, from 0 to 1.
    """
    chance = np.random.default_rng([int(east), int(north), int(taken.timestamp())])
    across, down = np.meshgrid(np.linspace(0, 6, PIXELS), np.linspace(0, 6, PIXELS))
    phases = chance.uniform(0, 6, 4)
    relief = np.sin(across + phases[0]) + np.sin(down + phases[1])
    brightness = 90 + 30 * relief + chance.normal(0, 3, relief.shape)
    sky = np.sin(2 * across + phases[2]) * np.sin(down + phases[3])
    brightness = brightness.clip(0, 254)
    if clouds > 0:
        brightness[sky >= np.quantile(sky, 1 - clouds)] = 255
    with MemoryFile() as memory:
        with memory.open(
            driver="COG",
            width=PIXELS,
            height=PIXELS,
            count=1,
            dtype="uint8",
            compress="deflate",
            crs="EPSG:32632",
            transform=from_origin(east, north, METRES, METRES),
        ) as image:
            image.update_tags(TIFFTAG_DATETIME=f"{taken:%Y:%m:%d %H:%M:%S}")
            image.write(brightness.astype("uint8"), 1)
        return bytes(memory.getbuffer())
