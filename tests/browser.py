"""The book as it is built and opened in a browser, for the tests of its pages.

The fixtures last for a module and no longer: an open Playwright keeps an event loop running,
which the notebooks' own runner would trip over.
"""

from __future__ import annotations

import functools
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

#: The flags of `make book`.
FLAGS = ["-W", "-n", "--keep-going"]
CHROMIUM = ["/usr/bin/chromium", "chromium", "chromium-browser", "google-chrome"]
PHONE = {"width": 390, "height": 844}
LAPTOP = {"width": 1280, "height": 720}
#: Tests are checked against a site that cannot exist (RFC 6761).
ELSEWHERE = "https://elsewhere.invalid"


def build(
    source: Path, environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Build the book in `source` as `make book` does; its messages are in `stdout`."""
    program = Path(sys.executable).with_name("jupyter-book")
    return subprocess.run(
        [program, "build", ".", *FLAGS],
        cwd=source,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )


class Visit(NamedTuple):
    """A page that is open, and the addresses it asked of other sites."""

    page: Page
    elsewhere: list[str]
    errors: list[str]


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = next(filter(None, map(shutil.which, CHROMIUM)), None)
    if program is None:
        pytest.skip(f"no Chromium here (looked for {', '.join(CHROMIUM)})")
    from playwright.sync_api import sync_playwright

    quiet = ["background-networking", "component-update", "sync", "gpu"]
    arguments = ["--no-sandbox", *(f"--disable-{name}" for name in quiet)]
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=program, args=arguments)
        yield chromium
        chromium.close()


class _Handler(SimpleHTTPRequestHandler):
    def log_message(self, *args: object) -> None:
        """Say nothing: the tests' own output is enough."""


Serve = Callable[[Path], str]


@pytest.fixture(scope="module")
def serve() -> Iterator[Serve]:
    """Gives a folder an address on this machine."""
    servers: list[ThreadingHTTPServer] = []

    def start(folder: Path) -> str:
        handler = functools.partial(_Handler, directory=str(folder))
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


Open = Callable[..., Visit]


@contextmanager
def opener(browser: Browser) -> Iterator[Open]:
    """Opens an address in a fresh profile that can reach that address's host only."""
    contexts = []

    def start(url: str, dark: bool = False, phone: bool = False) -> Visit:
        context = browser.new_context(color_scheme="dark" if dark else "light")
        contexts.append(context)
        page = context.new_page()
        if phone:
            page.set_viewport_size(PHONE)
        visit = Visit(page, [], [])
        origin = "/".join(url.split("/")[:3]) + "/"

        def on_request(route: Route) -> None:
            if route.request.url.startswith(origin):
                route.continue_()
            else:
                visit.elsewhere.append(route.request.url)
                route.abort()

        context.route("**", on_request)
        page.on("websocket", lambda socket: visit.elsewhere.append(socket.url))
        page.on("pageerror", lambda error: visit.errors.append(str(error)))
        page.on(
            "console",
            lambda line: line.type == "error" and visit.errors.append(line.text),
        )
        page.goto(url, wait_until="load")
        return visit

    yield start
    for context in contexts:
        context.close()


@pytest.fixture
def visit(browser: Browser) -> Iterator[Open]:
    with opener(browser) as start:
        yield start


def settle(visit: Visit) -> Visit:
    """Wait until the page has fetched all it wants."""
    visit.page.wait_for_load_state("networkidle")
    return visit


WCAG = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"], "resultTypes": ["violations"]}
#: The rules among them whose answer depends on light or dark.
COLOURS = WCAG | {"runOnly": {"type": "rule", "values": ["color-contrast", "link-in-text-block"]}}


#: Of thousands of coloured words in a page's code, one of each colour and kind of cell stays.
ONE_WORD_OF_EACH_COLOUR = """() => {
    const seen = new Set();
    for (const word of document.querySelectorAll('.highlight pre span')) {
        const kind = word.className + word.closest('[class*=cell_]')?.className;
        if (seen.has(kind)) word.replaceWith(...word.childNodes);
        seen.add(kind);
    }
}"""


def barriers(page: Page, options: dict[str, object] = WCAG) -> list[str]:
    """What keeps people out of a page: the violations of WCAG 2 that axe-core finds."""
    from axe_playwright_python.sync_playwright import Axe

    page.evaluate(ONE_WORD_OF_EACH_COLOUR)  # axe takes seconds for each thousand
    found = Axe().run(page, options=options).response["violations"]
    return [f"{rule['id']}: {node['html'][:200]}" for rule in found for node in rule["nodes"]]
