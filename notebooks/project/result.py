"""Step 3, final: the table that is published."""

import io
from pathlib import Path

import pandas as pd
from store import Store, digest


def result(store: Store, table: str) -> str:
    """Make the share of each label in each commune, unless it is up to date; gives its key."""
    key = "final/labels.csv"
    content = store.read(table)
    made_from = digest(Path(__file__), content)
    if store.is_made_from(key, made_from):
        print(f"final    {key}: up to date")
        return key

    frame = pd.read_parquet(io.BytesIO(content))
    shares = pd.crosstab(frame["nom_commune_ban"], frame["etiquette_dpe"], normalize="index")
    store.write(key, (100 * shares).round(1).to_csv().encode(), made_from)
    print(f"final    {key}: {len(shares)} communes")
    return key
