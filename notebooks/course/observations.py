"""The two public tables of the Earth-science units, wherever the notebook runs.

On the local datalab they are in the bucket ``earth-science``, with made-up numbers. On any
other store ``find`` fetches them from their publishers, once, into a bucket of yours.
"""

import shutil
from http.client import HTTPException
from urllib.request import urlopen

import s3fs

from course import CourseError

#: One weather station and year of NOAA's Integrated Surface Database, a CSV of some MB.
STATION_YEAR = "noaa-isd/2023/07149099999.csv"
#: GLODAP's table of water samples, a CSV in a ZIP archive of some hundreds of MB.
GLODAP = "glodap/GLODAPv2.2023_Merged_Master_File.csv.zip"
#: Where their publishers offer them.
OFFICIAL = {
    STATION_YEAR: "https://www.ncei.noaa.gov/data/global-hourly/access/2023/07149099999.csv",
    GLODAP: "https://glodap.info/glodap_files/v2.2023/GLODAPv2.2023_Merged_Master_File.csv.zip",
}
SHARED = "earth-science"


def find(table: str, below: str) -> str:
    """The path of a table, as bucket and key; it is fetched if nobody has done so before.

    Parameters
    ----------
    table
        ``STATION_YEAR`` or ``GLODAP``.
    below
        A prefix of yours, such as ``"my-bucket/41-tables"``, for a table that is fetched.

    Raises
    ------
    CourseError
        The publisher's copy could not be fetched; nothing is stored under the path.
    """
    fs = s3fs.S3FileSystem()
    fs.invalidate_cache()
    own = f"{below}/official/{table}"
    for path in (f"{SHARED}/{table}", own):
        if _is_there(fs, path):
            return path
    print(f"Fetching {OFFICIAL[table]}; this may take some minutes.", flush=True)
    try:
        _fetch(fs, OFFICIAL[table], own)
    except (OSError, HTTPException) as error:
        raise CourseError(
            f"{OFFICIAL[table]} could not be fetched: {error}.",
            "Run this cell again later.",
        ) from None
    return own


def _is_there(fs: s3fs.S3FileSystem, path: str) -> bool:
    try:
        return bool(fs.exists(path))
    except PermissionError:  # of a bucket that does not exist, many stores say so
        return False


def _fetch(fs: s3fs.S3FileSystem, url: str, path: str) -> None:
    """Copy as a stream: neither memory nor disk has to hold it."""
    part = f"{path}.part"
    with urlopen(url, timeout=60) as web, fs.open(part, "wb") as target:
        shutil.copyfileobj(web, target, 8_000_000)
        expected = int(web.headers["Content-Length"] or target.tell())
        arrived = target.tell()
    if arrived < expected:
        fs.rm(part)
        raise OSError(f"the transfer broke off after {arrived / 1e6:.0f} MB")
    fs.mv(part, path)  # under its name it is whole
