"""Step 1, raw: copy the API's answer, page by page, unchanged.

Each page is an object of its own, so a run that is interrupted goes on with the next
page. The manifest is written last: without it, the copy is not complete.
"""

import json
from typing import Any

import requests
from store import Store, digest
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exponential,
    wait_random,
)
from tqdm import tqdm

PASSING = {429, 500, 502, 503, 504}  # HTTP statuses that another attempt may cure
LONGEST_PAUSE = 60  # seconds


def fetch(store: Store, config: dict[str, Any]) -> str:
    """Complete the copy; gives the key of its manifest."""
    folder = f"raw/dpe/{config['snapshot']}"
    manifest = f"{folder}/manifest.json"
    asked = {
        "address": config["address"],
        "filter": config["filter"],
        "page_rows": config["page_rows"],
    }
    question = f"{folder}/question.json"
    if not store.list(question):
        store.write(question, json.dumps(asked, indent=1).encode())
    if json.loads(store.read(question)) != asked:
        raise SystemExit(
            f"{folder} holds the answer to another question. Raw data never change: "
            "give this copy another name (snapshot in config.toml)."
        )
    if store.list(manifest):
        print(f"raw      {folder}: complete already")
        return manifest

    there = set(store.list(folder))
    pages, rows, come = {}, 0, 0
    address, parameters = config["address"], {**config["filter"], "size": config["page_rows"]}
    with requests.Session() as session, tqdm(unit="row", disable=None) as bar:
        while address:
            key = f"{folder}/page-{len(pages):05}.json"
            if key in there:
                content = store.read(key)
            else:
                content = get(session, address, parameters, config)
                json.loads(content)  # what is not JSON is not stored
                store.write(key, content)
                come += 1
            page = json.loads(content)
            pages[key] = digest(content)
            rows += len(page["results"])
            bar.total = bar.total or page.get("total")
            bar.update(len(page["results"]))
            # `next` is a whole address, with the parameters in it; the last page has none
            address, parameters = page.get("next"), None
    if rows != json.loads(store.read(next(iter(pages))))["total"]:
        raise SystemExit(
            f"The source changed while {folder} was fetched: {rows} rows came, another number was "
            "announced. Name a new copy (snapshot in config.toml), and fetch it in one go."
        )
    about = {"rows": rows, "columns": config["filter"]["select"].split(","), "pages": pages}
    store.write(manifest, json.dumps(about, indent=1).encode())
    print(f"raw      {folder}: {rows} rows; of {len(pages)} pages {come} came in this run")
    return manifest


def get(
    session: requests.Session,
    address: str,
    parameters: dict[str, Any] | None,
    config: dict[str, Any],
) -> bytes:
    """The body of an answer; tried again where that can help."""
    attempts = Retrying(
        retry=retry_if_exception(may_pass),
        wait=pause,
        stop=stop_after_attempt(config["attempts"]),
        before_sleep=say,
        reraise=True,
    )
    for attempt in attempts:
        with attempt:
            answer = session.get(address, params=parameters, timeout=config["timeout"])
            answer.raise_for_status()
    return answer.content


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, requests.exceptions.SSLError):
        return False  # a certificate does not become right by asking again
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    broken = (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError)
    return isinstance(error, broken)


def pause(state: RetryCallState) -> float:
    """Seconds to wait: what the server asks for, else longer each time, never the same for all."""
    error = state.outcome.exception() if state.outcome else None
    answer = getattr(error, "response", None)
    asked = answer.headers.get("Retry-After", "") if answer is not None else ""
    if asked.isdigit():
        return min(float(asked), LONGEST_PAUSE)
    return (wait_exponential(multiplier=0.5, max=LONGEST_PAUSE) + wait_random(0, 0.5))(state)


def say(state: RetryCallState) -> None:
    """One line for each attempt that failed."""
    error = state.outcome.exception() if state.outcome else None
    status = getattr(getattr(error, "response", None), "status_code", type(error).__name__)
    tqdm.write(f"         {status}: attempt {state.attempt_number + 1} follows")
