"""From an object of the bucket to a STAC item: its metadata and its GeoTIFF header."""

from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import pystac
from botocore.exceptions import ClientError
from rasterio.errors import RasterioError
from rasterio.io import MemoryFile
from rasterio.warp import transform_bounds
from rio_cogeo import cog_validate

ENDING = ".tif"
MEDIATYPE = "fairease.catalog.mediatype"
# A COG begins with its header. This much holds the header of 40,000 x 40,000 pixels.
HEADER_BYTES = 128 * 1024


class Refused(Exception):
    """An object that has no place in the catalogue; the text says why."""


def item_id(name: str) -> str:
    """A name for the item and its file: two objects never share one.

    Parameters
    ----------
    name
        Key of the object below the prefix of the images, with its ``.tif``.
    """
    safe = quote(name.removesuffix(ENDING), safe="").replace("~", "%7E")
    return safe.replace("%", "~")  # a % in a file name would have to be encoded again in links


def look(s3: Any, bucket: str, key: str, prefix: str) -> pystac.Item | None:
    """The item of an object as it is now, None if there is no such object.

    One request brings metadata and header of the same version of the object.

    Raises
    ------
    Refused
        It is there, but not a GeoTIFF that a catalogue can describe.
    botocore.exceptions.BotoCoreError, botocore.exceptions.ClientError
        The store did not answer; says nothing about the object.
    """
    try:
        answer = s3.get_object(Bucket=bucket, Key=key, Range=f"bytes=0-{HEADER_BYTES - 1}")
    except ClientError as error:
        code = error.response["Error"]["Code"]
        if code in ("NoSuchKey", "404"):
            return None
        if code in ("InvalidRange", "416"):
            raise Refused("the object is empty") from None
        raise
    header = answer["Body"].read()
    metadata = {name.lower(): value for name, value in answer["Metadata"].items()}
    if not key.endswith(ENDING):
        raise Refused(f"its key does not end in {ENDING}")
    if metadata.get(MEDIATYPE) != "COG":
        given = repr(metadata[MEDIATYPE]) if MEDIATYPE in metadata else "absent"
        raise Refused(f"its metadata {MEDIATYPE} is {given}, not 'COG'")
    item = _describe(header, item_id(key.removeprefix(prefix)), answer["LastModified"])
    item.properties["title"] = key.rpartition("/")[2].removesuffix(ENDING)
    return item


def _describe(header: bytes, identifier: str, modified: datetime) -> pystac.Item:
    try:
        with MemoryFile(header) as memory:
            valid, errors, _ = cog_validate(memory.name, quiet=True)
            with memory.open() as raster:
                crs, bounds, tags = raster.crs, raster.bounds, raster.tags()
    except RasterioError:  # its text names a temporary file
        raise Refused(f"no GeoTIFF header in its first {HEADER_BYTES} bytes") from None
    if not valid:
        raise Refused("not a cloud-optimised GeoTIFF: " + "; ".join(errors))
    if crs is None:
        raise Refused("its header names no coordinate reference system")
    west, south, east, north = transform_bounds(crs, "EPSG:4326", *bounds)
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    image = pystac.Asset("", media_type=pystac.MediaType.COG, roles=["data"])  # addressed later
    return pystac.Item(
        id=identifier,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=[west, south, east, north],
        datetime=_taken(tags) or modified,
        properties={"updated": f"{modified.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}"},
        assets={"image": image},
    )


def _taken(tags: dict[str, str]) -> datetime | None:
    try:
        moment = datetime.strptime(tags["TIFFTAG_DATETIME"], "%Y:%m:%d %H:%M:%S")
    except (KeyError, ValueError):
        return None
    return moment.replace(tzinfo=UTC)  # TIFF has no time zones
