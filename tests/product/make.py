"""Step 2: the typed table, and the files that describe it."""

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
from store import Store, digest

HERE = Path(__file__).resolve().parent
CODE = ("*.py", "*.toml", "*.json", "*.txt", "Makefile", "README.md")
TYPES = {"string": pa.string(), "number": pa.float64(), "integer": pa.int32(), "date": pa.date32()}


def make(store: Store, config: dict[str, Any], fetched: dict[str, Any]) -> dict[str, bytes]:
    """The files of a version, by their path in its folder.

    The same raw copy, code and configuration give the same bytes.
    """
    schema = json.loads((HERE / "dictionary.json").read_text(encoding="utf-8"))
    files = {
        "data/certificates.parquet": table(store, config, fetched, schema["fields"]),
        "README.md": (HERE / "README.md").read_bytes(),
        "code.zip": code(),
    }
    archive = {"archive": f"v{config['version']}/code.zip", "sha256": digest(files["code.zip"])}
    provenance = {**fetched, "code": {**archive, "command": "make"}}
    files["provenance.json"] = written(provenance)
    files["dcat.jsonld"] = written(dcat(config, store.url))
    files["datapackage.json"] = written(package(config, files, schema))
    return files


def table(
    store: Store, config: dict[str, Any], fetched: dict[str, Any], fields: list[dict[str, Any]]
) -> bytes:
    """The certificates as Parquet, with the types of the dictionary."""
    records = []
    for one in fetched["raw"]:
        content = store.read(one["path"])
        if digest(content) != one["sha256"]:
            raise SystemExit(f"{one['path']} is not what was fetched: raw data were changed.")
        records += json.loads(content)["results"]
    frame = pd.DataFrame(records, columns=[field["name"] for field in fields])
    frame = frame.drop_duplicates("numero_dpe").sort_values("numero_dpe")
    frame = frame[~(frame["surface_habitable_logement"] > config["largest_surface"])]
    frame["date_etablissement_dpe"] = pd.to_datetime(frame["date_etablissement_dpe"]).dt.date
    arrow = pa.schema([(field["name"], TYPES[field["type"]]) for field in fields])
    buffer = io.BytesIO()
    frame.to_parquet(buffer, index=False, schema=arrow, compression="zstd")
    return buffer.getvalue()


def package(
    config: dict[str, Any], files: dict[str, bytes], schema: dict[str, Any]
) -> dict[str, Any]:
    """The Data Package: what it is, under which licence, and each file with its checksum."""
    resources: list[dict[str, Any]] = [
        {
            "name": Path(path).stem.lower(),
            "path": path,
            "bytes": len(content),
            "hash": f"sha256:{digest(content)}",
        }
        for path, content in sorted(files.items())
    ]
    for one in resources:
        if one["path"].endswith(".parquet"):
            one["schema"] = schema
    return {
        "name": config["name"],
        "title": config["title"],
        "version": config["version"],
        "licenses": [config["licence"]],
        "sources": [config["source"]],
        "resources": resources,
    }


def dcat(config: dict[str, Any], url: str) -> dict[str, Any]:
    """The description that catalogues harvest."""
    return {
        "@context": {
            "dcat": "http://www.w3.org/ns/dcat#",
            "dct": "http://purl.org/dc/terms/",
            "foaf": "http://xmlns.com/foaf/0.1/",
        },
        "@type": "dcat:Dataset",
        "dct:title": config["title"],
        "dct:description": "Certificates as they were filed, one row each, with repaired types.",
        "dct:license": {"@id": config["licence"]["path"]},
        "dct:publisher": {"@type": "foaf:Agent", "foaf:name": config["publisher"]},
        "dcat:version": config["version"],
        "dcat:distribution": {
            "@type": "dcat:Distribution",
            "dcat:downloadURL": {"@id": f"{url}/v{config['version']}/data/certificates.parquet"},
            "dcat:mediaType": "application/vnd.apache.parquet",
        },
    }


def code() -> bytes:
    """The project as an archive; the same bytes for the same files."""
    buffer = io.BytesIO()
    paths = sorted({path for pattern in CODE for path in HERE.glob(pattern)})
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in paths:
            archive.writestr(zipfile.ZipInfo(path.name), path.read_bytes())
    return buffer.getvalue()


def written(about: dict[str, Any]) -> bytes:
    """A description as JSON."""
    return json.dumps(about, indent=1, ensure_ascii=False).encode()
