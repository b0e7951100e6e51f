"""Step 2, interim: one typed table, without what cannot be."""

import io
import json
from pathlib import Path
from typing import Any

import pandas as pd
from failure import ProjectError
from store import Store, digest

LABELS = list("ABCDEFG")


def clean(store: Store, manifest: str, config: dict[str, Any]) -> str:
    """Make the table of certificates, unless it is up to date; gives its key."""
    key = "interim/certificates.parquet"
    about = json.loads(store.read(manifest))
    made_from = digest(Path(__file__), about, config)
    if store.is_made_from(key, made_from):
        print(f"interim  {key}: up to date")
        return key

    records = []
    for page, expected in about["pages"].items():
        content = store.read(page)
        if digest(content) != expected:
            raise ProjectError(
                f"{page} is not what was fetched: raw data were changed.",
                "Fetch a new copy: change snapshot in config.toml.",
            )
        records += json.loads(content)["results"]
    frame = pd.DataFrame(records, columns=about["columns"])
    frame["date_etablissement_dpe"] = pd.to_datetime(frame["date_etablissement_dpe"])
    frame["etiquette_dpe"] = pd.Categorical(frame["etiquette_dpe"], LABELS, ordered=True)
    frame["annee_construction"] = frame["annee_construction"].astype("Int64")
    frame = frame.drop_duplicates("numero_dpe").sort_values("numero_dpe", ignore_index=True)
    # an unknown surface is no mistake: such a row stays
    kept = frame[~(frame["surface_habitable_logement"] > config["largest_surface"])]

    buffer = io.BytesIO()
    kept.to_parquet(buffer, index=False, compression="zstd")
    store.write(key, buffer.getvalue(), made_from)
    print(f"interim  {key}: {len(kept)} certificates, {len(frame) - len(kept)} dropped")
    return key
