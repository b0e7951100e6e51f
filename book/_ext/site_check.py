"""Sphinx extension: warn when a page is broken or talks to another site.

Sphinx checks the references it resolves itself. It does not see raw HTML, the
output of a notebook's cells, or what its theme loads. So this reads the finished
HTML, as a browser would, and asks of every page: does it exist, does every link
inside the book lead to a file, does every `#fragment` lead to an id, and does
everything that is fetched without a click (pictures, scripts, styles, frames)
come from the book itself? Each "no" is a warning, which the book's build (`-W`)
takes for an error.

It also makes failure stick: Sphinx remembers a page it has read, warns about it
once, and would call the next build of the same broken page a success.
"""

from __future__ import annotations

from collections.abc import Iterable
from html.parser import HTMLParser
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote, urlsplit

from sphinx.application import ENV_PICKLE_FILENAME, Sphinx
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)

#: What a browser fetches by itself: (tag, attribute). `<link>` depends on its rel.
LOADED = {
    ("audio", "src"), ("embed", "src"), ("iframe", "src"), ("image", "href"),
    ("img", "src"), ("input", "src"), ("object", "data"), ("script", "src"),
    ("source", "src"), ("track", "src"), ("video", "poster"), ("video", "src"),
}  # fmt: skip
#: The values of `<link rel>` after which a browser fetches or connects.
LOADED_RELS = {
    "stylesheet", "icon", "apple-touch-icon", "manifest", "modulepreload",
    "preload", "prefetch", "preconnect", "dns-prefetch",
}  # fmt: skip
#: Pages of the theme that no source file stands behind.
GENERATED = ("genindex", "search")


class Reference(NamedTuple):
    """One address in a page, and whether a browser fetches it without a click."""

    url: str
    loaded: bool


class _Page(HTMLParser):
    """The ids a page defines and the addresses it refers to."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.ids: set[str] = set()
        self.references: list[Reference] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.ids.update(values[name] for name in ("id", "name") if values.get(name))
        rels = set(values.get("rel", "").lower().split())
        for name, value in values.items():
            name = name.removeprefix("xlink:")
            if name == "srcset":
                for candidate in value.split(","):
                    self.references.append(Reference(candidate.split()[0], True))
            elif (tag, name) in LOADED:
                self.references.append(Reference(value, True))
            elif tag == "link" and name == "href":
                self.references.append(Reference(value, bool(rels & LOADED_RELS)))
            elif name == "href" and tag != "base":
                self.references.append(Reference(value, False))


def problems(site: Path, pages: Iterable[str]) -> list[str]:
    """What is wrong in the built book, one line each; empty when nothing is.

    `site` is the folder of the HTML; `pages` are document names without suffix,
    such as `book/index`.
    """
    parsed: dict[Path, _Page] = {}

    def page_of(path: Path) -> _Page:
        if path not in parsed:
            parsed[path] = _Page(path.read_text(encoding="utf-8"))
        return parsed[path]

    found: list[str] = []
    for name in pages:
        path = site / f"{name}.html"
        if not path.is_file():
            found.append(f"{name}: in the table of contents, but has no HTML")
            continue
        for url, loaded in dict.fromkeys(page_of(path).references):
            parts = urlsplit(url)
            if parts.scheme == "data":
                continue
            if parts.scheme or parts.netloc:
                if loaded:
                    found.append(f"{name}: fetches {url} from another site")
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if parts.path.startswith("/") or not target.is_relative_to(site.resolve()):
                found.append(f"{name}: {url} leads out of the book")
            elif not target.is_file():
                found.append(f"{name}: {url} leads to no file")
            elif (
                parts.fragment
                and target.suffix == ".html"
                and unquote(parts.fragment) not in page_of(target).ids
            ):
                found.append(f"{name}: {url} leads to no such place in the page")
    return found


def _check(app: Sphinx, exception: Exception | None) -> None:
    """Handler of `build-finished`."""
    if exception is not None or app.builder.name != "html":
        return  # after an exception Sphinx itself forgets what it read
    site = Path(app.outdir)
    generated = [page for page in GENERATED if (site / f"{page}.html").is_file()]
    for problem in problems(site, [*sorted(app.env.found_docs), *generated]):
        LOGGER.warning(problem)
    if app._warncount:
        # The next build reads every page again. Executed cells stay cached.
        (Path(app.doctreedir) / ENV_PICKLE_FILENAME).unlink(missing_ok=True)


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    # After the extensions that copy their files at the same event (MathJax does).
    app.connect("build-finished", _check, priority=900)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
