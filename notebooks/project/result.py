"""Step 3, final: the table and the picture that are published."""

import io
from pathlib import Path

import matplotlib as mpl
import pandas as pd
from matplotlib.figure import Figure
from store import Store, digest

COLOURS = ["#1a7f3c", "#5aa64b", "#b5c334", "#f2d03b", "#eda53a", "#dd6b33", "#b3262c"]


def result(store: Store, table: str) -> None:
    """Make the share of each label in each commune, unless it is there."""
    content = store.read(table)
    made_from = digest(Path(__file__), content)
    keys = "final/labels.csv", "final/labels.svg"
    if all(store.is_made_from(key, made_from) for key in keys):
        print(f"final    {' and '.join(keys)}: up to date")
        return

    frame = pd.read_parquet(io.BytesIO(content))
    shares = pd.crosstab(frame["nom_commune_ban"], frame["etiquette_dpe"], normalize="index")
    shares = (100 * shares).round(1)
    store.write(keys[0], shares.to_csv().encode(), made_from)
    store.write(keys[1], picture(shares), made_from)
    print(f"final    {' and '.join(keys)}: made")


def picture(shares: pd.DataFrame) -> bytes:
    """A bar for each commune, as SVG; the same bytes for the same numbers."""
    figure = Figure(figsize=(8, 1.2 + 0.5 * len(shares)), layout="constrained")
    axes = figure.subplots()
    shares.plot.barh(stacked=True, ax=axes, color=COLOURS, width=0.7)
    axes.set(xlabel="share of the certificates (%)", ylabel="", xlim=(0, 100))
    axes.legend(title="label", ncols=7, loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False)
    buffer = io.BytesIO()
    with mpl.rc_context({"svg.hashsalt": "labels"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    return buffer.getvalue()
