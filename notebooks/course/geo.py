"""Where the row groups of a GeoParquet file lie on the map, and a drawing of them."""

from collections.abc import Mapping
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pyarrow.parquet as pq

from course import CourseError

#: A side of the box of a row group: its limit in the covering column, and which one.
SIDES = {
    "west": ("xmin", "min"),
    "south": ("ymin", "min"),
    "east": ("xmax", "max"),
    "north": ("ymax", "max"),
}


def group_boxes(path: str, fs: Any = None) -> pd.DataFrame:
    """The box around each row group, from the footer alone.

    Parameters
    ----------
    path
        Of a GeoParquet file whose shapes are in the column ``geometry``: with a covering
        column ``bbox``, or with Parquet's own type GEOMETRY.
    fs
        File system of s3fs; without it, the file is on the disk.

    Returns
    -------
    pandas.DataFrame
        A row for each row group, with the columns ``west``, ``south``, ``east`` and
        ``north`` in the units of the coordinates.

    Raises
    ------
    CourseError
        The footer has neither kind of box.
    """
    about = pq.read_metadata(path, filesystem=fs)
    boxes = []
    for number in range(about.num_row_groups):
        group = about.row_group(number)
        chunks = {}
        for place in range(group.num_columns):
            chunk = group.column(place)
            chunks[chunk.path_in_schema] = chunk
        native = chunks["geometry"].geo_statistics if "geometry" in chunks else None
        if native is not None:
            boxes.append({side: getattr(native, name) for side, (name, _) in SIDES.items()})
        elif "bbox.xmin" in chunks:
            boxes.append(
                {
                    side: getattr(chunks[f"bbox.{name}"].statistics, limit)
                    for side, (name, limit) in SIDES.items()
                }
            )
        else:
            raise CourseError(
                f"The footer of {path} does not say where its row groups lie.",
                "Write the file with write_covering_bbox=True.",
            )
    return pd.DataFrame(boxes).rename_axis("row group")


def draw_boxes(layouts: Mapping[str, pd.DataFrame], box: tuple[float, float, float, float]) -> Any:
    """Draw the row groups of several files side by side; those that meet a box are filled.

    Parameters
    ----------
    layouts
        What ``group_boxes`` gives, by the title of the picture.
    box
        West, south, east and north of the place that a question is about.

    Returns
    -------
    matplotlib.figure.Figure
    """
    import matplotlib.pyplot as plt
    from matplotlib.patches import Rectangle

    west, south, east, north = box
    figure, pictures = plt.subplots(
        1, len(layouts), figsize=(5.2 * len(layouts), 3.3), sharey=True, layout="constrained"
    )
    for axes, (title, groups) in zip(pictures, layouts.items(), strict=True):
        met = 0
        for group in groups.itertuples():
            across = group.west <= east and group.east >= west
            hit = across and group.south <= north and group.north >= south
            met += hit
            corner = (group.west, group.south)
            size = (group.east - group.west, group.north - group.south)
            colour = "#f3c969" if hit else "none"
            axes.add_patch(
                Rectangle(corner, *size, facecolor=colour, edgecolor="#4c6fa5", alpha=0.55)
            )
        axes.add_patch(
            Rectangle((west, south), east - west, north - south, fill=False, ec="#c62828", lw=2.5)
        )
        axes.set(xlim=(-180, 180), ylim=(-90, 90), xlabel="longitude (°)")
        axes.set_title(f"{title}: {met} of {len(groups)} row groups")
    pictures[0].set_ylabel("latitude (°)")
    plt.close(figure)  # a notebook shows what a cell gives; it would be shown twice
    return figure
