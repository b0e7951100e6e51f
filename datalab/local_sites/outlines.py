"""Outlines of the 96 departments of metropolitan France, made up, as a zipped shapefile.

The form is that of the file on data.gouv.fr (from OpenStreetMap): the columns
``code_insee``, ``nom``, ``nuts3`` (codes of 2010), ``wikipedia`` and ``surf_km2`` (area
in km²), longitudes and latitudes in degrees (WGS 84). A department here is the land
that is nearer to its prefecture than to any other, within a coast and a border drawn by
hand; lines are roughened so that they look like borders. Real are the codes, the names
and the places of the prefectures.

Run as a program, it writes the archive to standard output.
"""

import io
import math
import sys
import tempfile
import zipfile
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import geopandas
import numpy as np
import numpy.typing as npt
from shapely import (
    LineString,
    MultiPoint,
    Polygon,
    STRtree,
    affinity,
    ops,
    transform,
    unary_union,
    voronoi_polygons,
)
from shapely import Point as Place

from datalab.samples.departments import list_departments

LAYER: Final = "departements-20180101"
EARTH_KM: Final = 6371.0
ROUGHNESS: Final = 0.11  # of a line's length, sideways
FINEST: Final = 0.012  # degrees

PREFECTURES: Final = """
01 5.23 46.20 FR711  02 3.62 49.56 FR221  03 3.33 46.57 FR721  04 6.24 44.09 FR821
05 6.08 44.56 FR822  06 7.26 43.70 FR823  07 4.60 44.74 FR712  08 4.72 49.77 FR211
09 1.61 42.97 FR621  10 4.08 48.30 FR212  11 2.35 43.21 FR811  12 2.57 44.35 FR622
13 5.37 43.30 FR824  14 -0.37 49.18 FR251 15 2.44 44.93 FR722  16 0.16 45.65 FR531
17 -1.15 46.16 FR532 18 2.40 47.08 FR241  19 1.77 45.27 FR631  21 5.04 47.32 FR261
22 -2.76 48.51 FR521 23 1.87 46.17 FR632  24 0.72 45.19 FR611  25 6.02 47.24 FR431
26 4.89 44.93 FR713  27 1.15 49.02 FR231  28 1.49 48.45 FR242  29 -4.10 48.00 FR522
2A 8.74 41.92 FR831  2B 9.45 42.70 FR832  30 4.36 43.84 FR812  31 1.44 43.60 FR623
32 0.58 43.65 FR624  33 -0.58 44.84 FR612 34 3.88 43.61 FR813  35 -1.68 48.11 FR523
36 1.69 46.81 FR243  37 0.69 47.39 FR244  38 5.72 45.19 FR714  39 5.55 46.67 FR432
40 -0.50 43.89 FR613 41 1.33 47.59 FR245  42 4.39 45.43 FR715  43 3.88 45.04 FR723
44 -1.55 47.22 FR511 45 1.91 47.90 FR246  46 1.44 44.45 FR625  47 0.62 44.20 FR614
48 3.50 44.52 FR814  49 -0.56 47.47 FR512 50 -1.09 49.12 FR252 51 4.36 48.96 FR213
52 5.14 48.11 FR214  53 -0.77 48.07 FR513 54 6.18 48.69 FR411  55 5.16 48.77 FR412
56 -2.76 47.66 FR524 57 6.18 49.12 FR413  58 3.16 46.99 FR262  59 3.06 50.63 FR301
60 2.08 49.43 FR222  61 0.09 48.43 FR253  62 2.78 50.29 FR302  63 3.08 45.78 FR724
64 -0.37 43.30 FR615 65 0.08 43.23 FR626  66 2.90 42.70 FR815  67 7.75 48.57 FR421
68 7.36 48.08 FR422  69 4.84 45.76 FR716  70 6.15 47.62 FR433  71 4.83 46.31 FR263
72 0.20 48.01 FR514  73 5.92 45.57 FR717  74 6.13 45.90 FR718  75 2.35 48.86 FR101
76 1.10 49.44 FR232  77 2.66 48.54 FR102  78 2.13 48.80 FR103  79 -0.46 46.32 FR533
80 2.30 49.89 FR223  81 2.15 43.93 FR627  82 1.35 44.02 FR628  83 5.93 43.12 FR825
84 4.81 43.95 FR826  85 -1.43 46.67 FR515 86 0.34 46.58 FR534  87 1.26 45.83 FR633
88 6.45 48.17 FR414  89 3.57 47.80 FR264  90 6.86 47.64 FR434  91 2.44 48.63 FR104
92 2.21 48.89 FR105  93 2.44 48.91 FR106  94 2.46 48.79 FR107  95 2.05 49.04 FR108
"""
"""Code, longitude and latitude of the prefecture (degrees), NUTS 3 code of 2010."""

MAINLAND: Final = """
2.55 51.09  2.37 51.05  1.85 50.97  1.58 50.87  1.58 50.70  1.57 50.45  1.55 50.22  1.35 50.08
1.08 49.93  0.65 49.87  0.20 49.72  0.07 49.52  0.28 49.46  0.10 49.38  -0.25 49.28 -0.60 49.34
-1.12 49.37 -1.20 49.47 -1.30 49.58 -1.26 49.69 -1.60 49.65 -1.94 49.72 -1.85 49.53 -1.78 49.37
-1.60 49.20 -1.58 48.98 -1.60 48.83 -1.40 48.66 -1.60 48.62 -1.85 48.70 -2.02 48.66 -2.30 48.68
-2.66 48.54 -2.86 48.70 -3.05 48.84 -3.45 48.83 -3.62 48.68 -3.98 48.73 -4.35 48.68 -4.75 48.53
-4.78 48.34 -4.42 48.35 -4.58 48.24 -4.32 48.12 -4.72 48.04 -4.37 47.80 -3.95 47.86 -3.55 47.77
-3.36 47.70 -3.12 47.50 -2.95 47.58 -2.72 47.50 -2.50 47.50 -2.53 47.29 -2.16 47.25 -2.16 47.10
-2.00 46.98 -2.13 46.82 -1.95 46.69 -1.80 46.49 -1.40 46.34 -1.12 46.30 -1.24 46.15 -1.06 45.98
-1.22 45.78 -1.05 45.61 -0.72 45.30 -1.10 45.54 -1.16 45.30 -1.20 44.95 -1.25 44.66 -1.06 44.70
-1.22 44.55 -1.27 44.20 -1.35 43.85 -1.48 43.55 -1.78 43.36 -1.58 43.26 -1.42 43.05 -0.75 42.95
-0.55 42.80 -0.30 42.84 0.00 42.69  0.30 42.69  0.67 42.70  0.72 42.86  0.95 42.79  1.35 42.72
1.46 42.61  1.78 42.57  1.98 42.45  2.02 42.36  2.30 42.43  2.67 42.34  2.95 42.47  3.17 42.43
3.05 42.55  3.03 42.85  3.07 43.10  3.25 43.23  3.52 43.28  3.70 43.40  3.95 43.54  4.15 43.46
4.45 43.45  4.60 43.36  4.85 43.35  4.95 43.43  5.04 43.33  5.32 43.34  5.35 43.21  5.60 43.17
5.90 43.08  6.15 43.04  6.40 43.14  6.65 43.17  6.68 43.28  6.88 43.42  7.00 43.54  7.13 43.55
7.28 43.68  7.53 43.78  7.50 43.90  7.68 44.15  7.00 44.23  6.88 44.36  6.90 44.56  7.05 44.70
7.00 44.84  6.70 44.95  6.65 45.10  7.10 45.22  7.15 45.40  6.98 45.65  6.80 45.72  6.80 45.84
7.04 45.92  6.88 46.05  6.80 46.13  6.80 46.39  6.50 46.46  6.25 46.37  6.30 46.25  6.10 46.14
5.97 46.14  6.06 46.42  6.14 46.56  6.45 46.77  6.45 46.93  6.70 47.07  7.05 47.33  6.90 47.37
7.00 47.50  7.35 47.43  7.59 47.59  7.52 47.78  7.57 48.03  7.72 48.33  7.82 48.55  7.95 48.72
8.23 48.97  7.93 49.05  7.43 49.17  7.05 49.12  6.85 49.21  6.55 49.42  6.37 49.46  5.82 49.54
5.47 49.50  5.30 49.62  4.87 49.80  4.85 50.15  4.68 49.99  4.25 49.96  4.15 50.00  4.20 50.27
4.02 50.35  3.70 50.32  3.60 50.49  3.28 50.53  3.20 50.73  2.80 50.72  2.63 50.81
"""
CORSICA: Final = """
9.40 43.01  9.48 42.82  9.49 42.68  9.54 42.50  9.56 42.15  9.41 41.95  9.40 41.70  9.26 41.55
9.22 41.38  9.10 41.39  8.88 41.52  8.79 41.58  8.88 41.70  8.66 41.74  8.78 41.90  8.60 41.90
8.60 42.05  8.72 42.14  8.56 42.22  8.58 42.38  8.74 42.57  8.95 42.65  9.13 42.73  9.30 42.69
9.33 42.86  9.35 43.00
"""
"""Coast and border, longitude and latitude in degrees, drawn by hand for this course."""

Point = tuple[float, float]


def shapefile() -> bytes:
    """The zipped shapefile."""
    cells = _cells()
    named = {department.code: department.name for department in list_departments()}
    nuts = {word[0]: word[3] for word in _prefectures()}
    frame = geopandas.GeoDataFrame(
        {
            "code_insee": list(cells),
            "nom": [named[code] for code in cells],
            "nuts3": [nuts[code] for code in cells],
            "wikipedia": [f"fr:{named[code]}" for code in cells],
            "surf_km2": [_area(cell) for cell in cells.values()],
        },
        geometry=list(cells.values()),
        crs="EPSG:4326",
    )
    packed = io.BytesIO()
    with tempfile.TemporaryDirectory() as folder, zipfile.ZipFile(packed, "w") as archive:
        frame.to_file(Path(folder) / f"{LAYER}.shp", encoding="utf-8")
        for path in sorted(Path(folder).iterdir()):
            # a date of its own would make each archive another one
            entry = zipfile.ZipInfo(path.name, (2018, 1, 1, 0, 0, 0))
            archive.writestr(entry, path.read_bytes(), zipfile.ZIP_DEFLATED)
        archive.writestr(
            zipfile.ZipInfo("LICENCE.txt", (2018, 1, 1, 0, 0, 0)),
            "Made up for a course: these are not the outlines of the departments.\n",
        )
    return packed.getvalue()


def _prefectures() -> list[tuple[str, float, float, str]]:
    words = PREFECTURES.split()
    rows = zip(words[0::4], words[1::4], words[2::4], words[3::4], strict=True)
    return [(code, float(lon), float(lat), nuts) for code, lon, lat, nuts in rows]


def _points(text: str) -> list[Point]:
    numbers = [float(word) for word in text.split()]
    return list(zip(numbers[0::2], numbers[1::2], strict=True))


def _cells() -> dict[str, Any]:
    """The land nearest to each prefecture, by code; a (multi)polygon each."""
    # a degree of longitude is shorter than one of latitude: nearest is meant in km
    narrow = math.cos(math.radians(46.5))
    seats = [Place(lon * narrow, lat) for _, lon, lat, _ in _prefectures()]
    land = unary_union([Polygon(_points(MAINLAND)), Polygon(_points(CORSICA))])
    borders = voronoi_polygons(MultiPoint(seats), extend_to=land.buffer(5), only_edges=True)
    borders = affinity.scale(borders, xfact=1 / narrow, origin=(0, 0))
    lines = unary_union([land.boundary, borders])  # cut at each crossing
    shore = land.buffer(1e-6)
    inland = [line for line in lines.geoms if shore.covers(line.interpolate(0.5, normalized=True))]
    rough = [LineString(_roughened(list(line.coords))) for line in inland]
    pieces: dict[str, list[Polygon]] = {code: [] for code, *_ in _prefectures()}
    nearest = STRtree(seats)
    for piece in ops.polygonize(unary_union(rough)):
        inside = piece.representative_point()
        number = int(nearest.nearest(Place(inside.x * narrow, inside.y)))
        pieces[_prefectures()[number][0]].append(piece)
    return {code: unary_union(parts) for code, parts in pieces.items()}


def _roughened(line: list[Point]) -> list[Point]:
    """The line with the middle of each stretch moved sideways, and so on for its halves.

    How far depends on the stretch alone, so that neighbours agree on their border.
    """
    points = line[:1]
    for (x1, y1), (x2, y2) in pairwise(line):
        length = math.hypot(x2 - x1, y2 - y1)
        if length < FINEST:
            points.append((x2, y2))
            continue
        noise = math.sin(12.9898 * (x1 + x2) + 78.233 * (y1 + y2)) * 43758.5453
        aside = ROUGHNESS * (2 * (noise - math.floor(noise)) - 1)
        middle = ((x1 + x2) / 2 - aside * (y2 - y1), (y1 + y2) / 2 + aside * (x2 - x1))
        points += _roughened([(x1, y1), middle])[1:] + _roughened([middle, (x2, y2)])[1:]
    return points


def _area(cell: Any) -> int:
    """Area in km², on a sphere (Lambert's cylindrical equal-area projection)."""

    def flat(coordinates: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        x, y = np.radians(coordinates).T
        return EARTH_KM * np.column_stack([x, np.sin(y)])

    return round(float(transform(cell, flat).area))


if __name__ == "__main__":
    sys.stdout.buffer.write(shapefile())
