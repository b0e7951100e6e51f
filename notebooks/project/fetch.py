"""Step 1, raw: copy the answer of the API, page by page, unchanged.

Each page is an object of its own, so a run that is interrupted goes on with the next
page. The manifest is written last: without it, the copy is not complete.
"""

import json
from typing import Any
from urllib.parse import urlencode

import requests
from failure import ProjectError
from store import Store, digest
from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception,
    stop_after_attempt,
    wait_exception,
    wait_random_exponential,
)
from tqdm import tqdm

PASSING = {429, 500, 502, 503, 504}  # HTTP statuses that another attempt may cure
BROKEN = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,  # fewer bytes came than were announced
)
LONGEST_PAUSE = 60  # seconds


def fetch(store: Store, config: dict[str, Any]) -> str:
    """Complete the frozen copy; gives the key of its manifest."""
    folder = f"raw/dpe/{config['snapshot']}"
    manifest, question = f"{folder}/manifest.json", f"{folder}/question.json"
    there = store.list(folder)
    asked = {name: config[name] for name in ("address", "filter", "page_rows")}
    if question not in there:
        store.freeze(question, json.dumps(asked, indent=1).encode())
    elif json.loads(store.read(question)) != asked:
        raise ProjectError(
            f"{folder} holds the answer to another question, and raw data never change.",
            "Give this copy a name of its own: change snapshot in config.toml.",
        )
    if manifest in there:
        print(f"raw      {folder}: complete already")
        return manifest

    pages: dict[str, str] = {}
    rows, came, total = 0, 0, None
    address = f"{config['address']}?{urlencode({**config['filter'], 'size': config['page_rows']})}"
    with requests.Session() as session, tqdm(unit="row", disable=None) as bar:
        while address:
            key = f"{folder}/page-{len(pages):05}.json"
            content = store.read(key) if key in there else get(session, address, config)
            page = parsed(content)
            if key not in there:
                store.freeze(key, content)
                came += 1
            pages[key] = digest(content)
            rows += len(page["results"])
            total = bar.total = page["total"] if total is None else total
            bar.update(len(page["results"]))
            address = page.get("next")  # a whole address; the last page has none
    if rows != total:
        raise ProjectError(
            f"The source changed while it was copied: it announced {total} rows, and {rows} came.",
            "Fetch a new copy in one go: change snapshot in config.toml.",
        )
    about = {"rows": rows, "columns": config["filter"]["select"].split(","), "pages": pages}
    store.freeze(manifest, json.dumps(about, indent=1).encode())
    print(f"raw      {folder}: {rows} rows; of {len(pages)} pages {came} came in this run")
    return manifest


def parsed(content: bytes) -> dict[str, Any]:
    """The page in an answer."""
    try:
        return dict(json.loads(content))
    except ValueError as error:
        raise ProjectError(
            f"What came is no JSON: {content[:60]!r}",
            "Does something stand between you and the API, such as the page of a Wi-Fi?",
        ) from error


def get(session: requests.Session, address: str, config: dict[str, Any]) -> bytes:
    """The whole body of an answer; asked for again where that can help."""
    patient = Retrying(
        retry=retry_if_exception(may_pass),
        wait=wait_exception(asked_pause)
        + wait_random_exponential(multiplier=0.5, max=LONGEST_PAUSE),
        stop=stop_after_attempt(config["attempts"]),
        before_sleep=say,
        reraise=True,
    )
    try:
        return patient(once, session, address, config["timeout"])
    except requests.RequestException as error:
        raise ProjectError(
            f"The download stopped: {reason(error)}.",
            "What came is kept. Run this again: it goes on with the next page.",
        ) from error


def once(session: requests.Session, address: str, timeout: float) -> bytes:
    """One attempt; an error status is an error."""
    answer = session.get(address, timeout=timeout)
    answer.raise_for_status()
    return answer.content


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed in a moment."""
    if isinstance(error, requests.HTTPError):
        return error.response.status_code in PASSING
    # a certificate does not become right by asking again
    return isinstance(error, BROKEN) and not isinstance(error, requests.exceptions.SSLError)


def asked_pause(error: BaseException) -> float:
    """How many seconds the server asks us to wait; 0 if it does not say."""
    answer = error.response if isinstance(error, requests.RequestException) else None
    seconds = "" if answer is None else answer.headers.get("Retry-After", "")
    return min(float(seconds), LONGEST_PAUSE) if seconds.isdigit() else 0


def reason(error: BaseException | None) -> str:
    """What went wrong, in a few words."""
    if isinstance(error, requests.HTTPError):
        return f"{error.response.status_code} {error.response.reason}"
    return type(error).__name__


def say(state: RetryCallState) -> None:
    """One line for each attempt that failed."""
    error = state.outcome.exception() if state.outcome else None
    tqdm.write(f"         {reason(error)}: attempt {state.attempt_number + 1} follows")
