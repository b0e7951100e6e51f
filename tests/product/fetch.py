"""Step 1: a frozen copy of what the API answers, page by page and unchanged."""

import json
from datetime import UTC, datetime
from typing import Any

import requests
from store import Store, digest
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

PASSING = {429, 500, 502, 503, 504}  # HTTP statuses that another attempt may cure


def fetch(store: Store, config: dict[str, Any], published: str = "") -> dict[str, Any]:
    """Complete the copy, unless it is complete; gives what is known of it.

    With `published`, the copy is taken from a version that somebody else has published.
    """
    folder = f"raw/{config['snapshot']}"
    about = store.json(f"{folder}/fetched.json")
    if about is None:
        api = config["api"]
        about = copied(store, api, published) if published else asked(store, api, folder)
        store.write(f"{folder}/fetched.json", json.dumps(about, indent=1).encode())
    print(f"raw      {folder}: {len(about['raw'])} files")
    return about


def asked(store: Store, api: dict[str, Any], folder: str) -> dict[str, Any]:
    """Ask the API for one page after the other."""
    fetched = datetime.now(UTC).isoformat(timespec="seconds")
    first = requests.Request("GET", api["address"], params=api["parameters"]).prepare().url
    address, raw = first, []
    while address:
        content = get(address, api)
        path = f"{folder}/page-{len(raw):05}.json"
        store.write(path, content)
        raw.append({"path": path, "sha256": digest(content)})
        address = json.loads(content).get("next")
    return {"fetched": fetched, "address": first, "raw": raw}


def copied(store: Store, api: dict[str, Any], published: str) -> dict[str, Any]:
    """Copy the raw files of a published version, and look whether they are whole."""
    known = json.loads(get(f"{published}/provenance.json", api))
    for one in known["raw"]:
        content = get(f"{published}/../{one['path']}", api)
        if digest(content) != one["sha256"]:
            raise SystemExit(f"{one['path']} of {published} is not what was fetched.")
        store.write(one["path"], content)
    return {name: known[name] for name in ("fetched", "address", "raw")}


def get(address: str, api: dict[str, Any]) -> bytes:
    """The body of an answer; asked for again where that can help."""
    attempts = Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exponential(multiplier=0.5, max=30),
        stop=stop_after_attempt(api["attempts"]),
        reraise=True,
    )
    for attempt in attempts:
        with attempt:
            answer = requests.get(address, timeout=api["timeout"])
            answer.raise_for_status()
    return answer.content


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    return isinstance(error, requests.ConnectionError | requests.Timeout)
