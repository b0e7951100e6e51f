"""The book as a reader and an author meet it: built, opened in a browser, broken.

Everything here runs on one worker (`xdist_group`), so the book is built once. The
fixtures last for this module and no longer: an open Playwright keeps an event loop
running, which the notebooks' own runner would trip over.
"""

from __future__ import annotations

import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
import pytest
import yaml

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page, Route

pytestmark = pytest.mark.xdist_group("book")

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))
from light_pages import with_classes, with_icons  # noqa: E402
from site_check import problems  # noqa: E402

from book import execute  # noqa: E402
from datalab.lab import Datalab  # noqa: E402
from tests.lab_secrets import leaks, secrets_of  # noqa: E402

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


# -- the book of the course -------------------------------------------------------


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the built HTML, from a copy of the sources.

    Notebooks that ran in these tests already lend their outputs; the others are run first,
    as `make book` does.
    """
    source = tmp_path_factory.mktemp("book")
    for name in ("_config.yml", "_toc.yml"):
        shutil.copy(ROOT / name, source)
    for name in ("book", "notebooks", "init-scripts"):
        ignore = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for path in Path(os.environ["TEST_OUTPUTS"]).glob("*.ipynb"):
        execute.keep(source, source / "notebooks" / path.name, nbformat.read(path, as_version=4))
    assert execute.run(source, 2) == {}
    result = build(source)
    assert result.returncode == 0, result.stdout
    return source / "_build" / "html"


@pytest.fixture(scope="module")
def pages(site: Path) -> list[str]:
    """All pages of the built book, such as `book/index.html`, but for the redirect to it."""
    paths = (path.relative_to(site) for path in site.glob("**/*.html"))
    return sorted(str(path) for path in paths if path.parts[0] not in ("_static", "index.html"))


def chapters() -> list[str]:
    """The documents that `_toc.yml` names, without suffix."""
    toc = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
    files = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    return [toc["root"], *files]


def test_the_makefile_builds_the_book_as_strictly_as_these_tests() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert " ".join(["jupyter-book build .", *FLAGS]) in makefile


@pytest.mark.parametrize("document", chapters())
def test_every_page_of_the_toc_has_its_html(site: Path, document: str) -> None:
    title = (site / f"{document}.html").read_text(encoding="utf-8")
    assert "<h1>" in title


def test_every_notebook_is_in_the_toc() -> None:
    stored = {f"notebooks/{path.stem}" for path in ROOT.glob("notebooks/*.ipynb")}
    assert stored == {name for name in chapters() if name.startswith("notebooks/")}


def test_every_unit_is_on_the_start_page(site: Path) -> None:
    start = (site / "book" / "index.html").read_text(encoding="utf-8")
    table = start[start.index('id="all-units"') :]
    for document in chapters():
        if document.startswith("notebooks/"):
            assert f'href="../{document}.html"' in table, document


def test_every_internal_link_picture_and_anchor_resolves(site: Path, pages: list[str]) -> None:
    assert problems(site, [page.removesuffix(".html") for page in pages]) == []


# -- in a browser -----------------------------------------------------------------


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


def test_the_address_of_the_book_leads_to_the_start_page(
    site: Path, serve: Serve, visit: Open
) -> None:
    here = visit(base := serve(site))
    here.page.wait_for_url(base + "book/index.html")


def test_a_page_that_talks_to_another_site_would_be_noticed(
    tmp_path: Path, serve: Serve, visit: Open
) -> None:
    (tmp_path / "index.html").write_text(f"<img src='{ELSEWHERE}/badge.svg'>")
    assert settle(visit(serve(tmp_path))).elsewhere == [f"{ELSEWHERE}/badge.svg"]


def heaviest(site: Path) -> str:
    """The page of the most bytes, pictures included."""

    def size(page: Path) -> int:
        pictures = set(re.findall(r'src="\.\./(_images/[^"]+)"', page.read_text(encoding="utf-8")))
        return page.stat().st_size + sum((site / name).stat().st_size for name in pictures)

    page = max(site.glob("notebooks/*.html"), key=size)
    return str(page.relative_to(site))


def test_a_first_visit_is_light_and_shows_every_icon(site: Path, serve: Serve, visit: Open) -> None:
    here = visit("about:blank")
    sizes: dict[str, int] = {}
    here.page.on("response", lambda response: sizes.update({response.url: len(response.body())}))
    base = serve(site)
    here.page.context.unroute("**")
    here.page.goto(base + heaviest(site))
    settle(here)
    assert sum(sizes.values()) <= 800_000, sizes
    of_a_note = "document.fonts.load('900 16px \"Font Awesome 6 Free\"', '\\uf05a')"
    assert here.page.evaluate(f"{of_a_note}.then(fonts => fonts[0]?.status)") == "loaded"
    icons = here.page.locator("svg.svg-inline--fa")
    assert icons.count() >= 6
    assert here.page.locator("svg.svg-inline--fa .missing, i[class*='fa-']").count() == 0


def test_a_script_of_icons_of_another_form_is_refused() -> None:
    """A new version of the theme: the build then keeps the script whole, and warns."""
    with pytest.raises(ValueError, match="2 icons found"):
        with_icons('var a={sun:[1,2,[],"f1","M0"],"moon-o":[1,2,[],"f2","M0"]}', {"sun"})


def test_styles_of_classes_that_no_page_has_are_left_out() -> None:
    styles = (
        ".used, .other:not(.never):hover { color: red } .a:not(.never) { top: 0 }"
        "@media (min-width: 1px) { .never > p, p { left: 0 } } .fa-sun:before { content: 'x' }"
        "@media print { .never { top: 0 } } :root { --x: url(a.b) }"
    )
    kept = with_classes(styles, {"used", "a", "fa-sun"}).replace(" ", "")
    assert kept == (
        ".used{color:red}.a:not(.never){top:0}@media(min-width:1px){p{left:0}}:root{--x:url(a.b)}"
    )


def test_search_finds_a_unit_and_a_term(site: Path, serve: Serve, visit: Open) -> None:
    here = visit(serve(site) + "search.html?q=bucket")
    for page in ("book/glossary.html", "notebooks/15_s3_objects.html"):  # one after the other
        here.page.locator(f"#search-results li a[href*='{page}']").first.wait_for()


def test_search_field_of_a_page_leads_to_results(site: Path, serve: Serve, visit: Open) -> None:
    here = visit(serve(site) + "book/index.html")
    here.page.keyboard.press("Control+k")
    here.page.keyboard.type("glossary")
    here.page.keyboard.press("Enter")
    here.page.locator("#search-results li a").first.wait_for()


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


#: Those that wait until a reader comes near them are looked at, too.
WITH_ALL_PICTURES = "document.querySelectorAll('img').forEach(one => { one.loading = 'eager'; })"


class Looked(NamedTuple):
    """What a browser found on a page."""

    address: str
    elsewhere: list[str]
    errors: list[str]
    theme: str
    barriers: list[str]
    on_a_laptop: dict[str, Any]
    on_a_phone: dict[str, Any]


class Walk(NamedTuple):
    """A visit of all pages, by a reader who likes it dark or light."""

    dark: bool
    pages: dict[str, Looked]


@pytest.fixture(scope="module", params=[False, True], ids=["light", "dark"])
def walk(
    request: pytest.FixtureRequest, site: Path, pages: list[str], serve: Serve, browser: Browser
) -> Walk:
    """Each page is opened once for all that is asked of every page."""
    base = serve(site)
    rules = COLOURS if request.param else WCAG
    looked = {}
    with opener(browser) as start:
        here = start(base, dark=request.param)
        for name in pages:
            here.elsewhere.clear()
            here.errors.clear()
            here.page.goto(base + name)
            page = settle(here).page
            page.evaluate(WITH_ALL_PICTURES)
            page.wait_for_function("[...document.images].every(one => one.complete)")
            address = page.url.removeprefix(base)
            theme = page.evaluate("document.documentElement.dataset.theme")
            page.set_viewport_size(PHONE)
            phone = page.evaluate(LOOKS)
            page.set_viewport_size(LAPTOP)
            laptop = page.evaluate(CODE)
            errors = [*here.errors]  # before axe, which fetches things itself
            found = barriers(page, rules)
            elsewhere = [*here.elsewhere]
            looked[name] = Looked(address, elsewhere, errors, theme, found, laptop, phone)
    return Walk(request.param, looked)


def test_a_reader_s_browser_talks_to_nobody_else(walk: Walk) -> None:
    for name, looked in walk.pages.items():
        assert looked.address == name
        assert looked.elsewhere == [], name
        assert looked.errors == [], name


def test_every_page_passes_the_rules_of_wcag_2_a_and_aa(walk: Walk) -> None:
    for name, looked in walk.pages.items():
        assert looked.theme == ("dark" if walk.dark else "light"), name
        assert looked.barriers == [], name


def test_on_a_phone_no_page_scrolls_sideways_and_all_can_be_read(walk: Walk) -> None:
    for name, looked in walk.pages.items():
        seen = looked.on_a_phone
        assert seen["scroll"] <= PHONE["width"], name
        text, background = map(luminance, (seen["text"], seen["background"]))
        assert (text > background) == walk.dark, name
        light, deep = max(text, background), min(text, background)
        # WCAG 2, success criterion 1.4.6: enhanced contrast of text.
        assert (light + 0.05) / (deep + 0.05) >= 7, name


LOOKS = """async () => (await window.MathJax?.startup.promise, {
  scroll: document.documentElement.scrollWidth,
  text: getComputedStyle(document.querySelector('article h1, h1')).color,
  background: getComputedStyle(document.body).backgroundColor,
})"""


def test_on_a_laptop_no_code_of_a_unit_scrolls_sideways(walk: Walk) -> None:
    units = {name: walk.pages[name] for name in walk.pages if name.startswith("notebooks/")}
    assert units
    for name, looked in units.items():
        assert looked.on_a_laptop["cells"] >= 10, name
        assert looked.on_a_laptop["wide"] == [], name


#: All code cells, and the longest line of those that are wider than their place. What is
#: folded, or behind a tab, is shown for that: who opens a solution wants to read it, too.
CODE = """() => {
  const folded = [...document.querySelectorAll('details:not([open])')];
  const hidden = [...document.querySelectorAll('.tool-panel[hidden]')];
  folded.forEach(one => { one.open = true; });
  hidden.forEach(one => { one.hidden = false; });
  const cells = [...document.querySelectorAll('.cell_input pre')].filter(one => one.clientWidth);
  const wide = cells.filter(one => one.scrollWidth > one.clientWidth).map(
    one => one.innerText.split('\\n').reduce((a, b) => a.length < b.length ? b : a));
  folded.forEach(one => { one.open = false; });
  hidden.forEach(one => { one.hidden = true; });
  return {cells: cells.length, wide};
}"""


def test_a_page_that_keeps_people_out_would_be_noticed(
    tmp_path: Path, serve: Serve, visit: Open
) -> None:
    (tmp_path / "index.html").write_text(
        "<html lang=en><title>x</title><img src='x.png'><p style='color:#999'>pale"
    )
    page = visit(serve(tmp_path)).page
    found = [[problem.split(":")[0] for problem in barriers(page, o)] for o in (WCAG, COLOURS)]
    assert found == [["color-contrast", "image-alt"], ["color-contrast"]]


def test_solutions_and_checks_are_folded_and_open_by_keyboard(
    site: Path, serve: Serve, visit: Open
) -> None:
    base = serve(site)
    here = visit(base + "notebooks/13_parquet.html")
    for prompt in ("Show the solution", "Show the check"):
        summary = here.page.locator("summary", has_text=prompt).first
        code = summary.locator("xpath=..").locator("pre").first
        assert not code.is_visible()
        summary.focus()
        here.page.keyboard.press("Enter")
        assert code.is_visible()


@pytest.mark.parametrize("phone", [False, True], ids=["screen", "phone"])
def test_the_launch_menu_opens_by_keyboard_and_keeps_nobody_out(
    site: Path, serve: Serve, visit: Open, phone: bool
) -> None:
    here = visit(serve(site) + "notebooks/13_parquet.html", phone=phone)
    here.page.locator(".dropdown-launch-buttons button").focus()
    here.page.keyboard.press("Enter")
    items = here.page.locator(".dropdown-launch-buttons .dropdown-item")
    names = [text.strip() for text in items.all_inner_texts()]
    assert names[-4:] == ["Jupyter", "VSCode", "GitHub", "Download"]
    here.page.keyboard.press("ArrowDown")
    assert here.page.evaluate("document.activeElement.innerText.trim()") == names[0]
    width = here.page.viewport_size["width"]
    for item in items.all():
        box = item.bounding_box()
        assert box and box["x"] >= 0 and box["x"] + box["width"] <= width
    assert barriers(here.page) == []


def test_the_badges_of_a_page_are_pictures_that_load(site: Path, serve: Serve, visit: Open) -> None:
    base = serve(site)
    for page, number in (("notebooks/13_parquet.html", 4), ("book/index.html", 6)):
        here = settle(visit(base + page))
        sizes = here.page.locator("a img[src*='badge-']").evaluate_all(
            "pictures => pictures.map(picture => [picture.naturalWidth, picture.alt])"
        )
        assert len(sizes) >= number
        assert all(width > 50 and alt for width, alt in sizes)


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_the_cheatsheet_prints_on_two_sides_that_can_be_read(
    site: Path, serve: Serve, visit: Open, dark: bool
) -> None:
    page = visit(serve(site) + "book/cheatsheet.html", dark=dark).page
    printed = page.pdf(prefer_css_page_size=True)
    (count,) = {int(number) for number in re.findall(rb"/Count (\d+)", printed)}
    assert 1 <= count <= 2
    boxes = re.findall(rb"/MediaBox \[0 0 ([\d.]+) ([\d.]+)\]", printed)
    a4 = (595, 842)  # points
    assert {tuple(round(float(side)) for side in box) for box in boxes} <= {a4, (596, 842)}
    page.emulate_media(media="print")
    pixels = page.eval_on_selector_all(
        ".bd-article td, .bd-article td code",
        "found => found.map(one => parseFloat(getComputedStyle(one).fontSize))",
    )
    assert len(pixels) > 150
    colours = page.eval_on_selector_all(
        ".bd-article :is(td, code, h2, p)", "found => found.map(one => getComputedStyle(one).color)"
    )
    assert set(colours) == {"rgb(0, 0, 0)"}  # paper is white, whatever the reader's screen is
    assert min(pixels) * 72 / 96 > 6.9  # points: that of a small footnote
    assert page.locator("h1").first.is_visible()
    assert not page.locator(".bd-sidebar-primary").is_visible()


def luminance(colour: str) -> float:
    """Relative luminance (WCAG 2) of a CSS colour such as `rgb(18, 18, 18)`."""
    channels = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


# -- no secret --------------------------------------------------------------------


def test_no_file_of_the_build_shows_a_secret_of_the_lab(site: Path) -> None:
    """Of this worker's; conftest.py asks it of each notebook and the datalab where that ran."""
    assert leaks(site.parent, secrets_of(Datalab(Path(os.environ["TEST_DATALAB"])))) == []


@pytest.mark.parametrize(
    "text",
    ["a+b/c=d", "https://h/k?token=a%2Bb%2Fc%3Dd", "<i>a+</i>b/<b>c=d</b>"],
    ids=["plain", "in a URL", "coloured"],
)
def test_a_secret_in_a_page_would_be_noticed(tmp_path: Path, text: str) -> None:
    (tmp_path / "page.html").write_text(f"<pre>{text}</pre>")
    assert leaks(tmp_path, {"KEY": "a+b/c=d"}) == ["page.html shows KEY"]


# -- a broken book is not built ---------------------------------------------------


def tiny_book(source: Path, *cells: nbformat.NotebookNode) -> Path:
    """A book of one page and one notebook, under the course's own configuration."""
    for name in ("book/_ext", "book/_static", "init-scripts"):
        ignore = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    shutil.copy(ROOT / "_config.yml", source)
    (source / "_toc.yml").write_text(
        "format: jb-book\nroot: book/index\nchapters:\n  - file: notebooks/tiny\n"
    )
    (source / "book" / "index.md").write_text("# Start\n\n[](../notebooks/tiny.ipynb)\n")
    notebook = nbformat.v4.new_notebook()
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    notebook.cells = [markdown("# Tiny\n\nThere are $n^2$ of them."), *cells]
    (source / "notebooks").mkdir()
    nbformat.write(notebook, source / "notebooks" / "tiny.ipynb")
    return source


def markdown(text: str) -> nbformat.NotebookNode:
    return nbformat.v4.new_markdown_cell(text)


def code(text: str, **metadata: object) -> nbformat.NotebookNode:
    return nbformat.v4.new_code_cell(text, metadata=metadata)


SHOW = "from IPython.display import HTML\nHTML('{}')"
#: What is wrong in a notebook, and what the build must say of it in a warning.
FAULTS = {
    "a link to a missing file": (markdown("[x](no-file.ipynb)"), "no-file.ipynb"),
    "a link to a missing section": (markdown("[x](#no-section)"), "no-section"),
    "a missing picture": (markdown("![x](images/no-picture.svg)"), "no-picture.svg"),
    "an HTML picture that is missing": (markdown("<img src='no-image.png'>"), "no-image.png"),
    "an HTML link to no page": (markdown("<a href='no-page.html'>x</a>"), "no-page.html"),
    "an HTML link to no place": (markdown("<a href='#no-place'>x</a>"), "#no-place"),
    "an HTML link to no place of another page": (
        markdown("<a href='../book/index.html#no-other-place'>x</a>"),
        "index.html#no-other-place",
    ),
    "a link out of the book": (markdown("<a href='/no-root'>x</a>"), "/no-root"),
    "a badge of another site": (
        markdown(f"![x]({ELSEWHERE}/badge.svg)"),
        f"fetches {ELSEWHERE}/badge.svg",
    ),
    "a script in the output of a cell": (
        code(SHOW.format(f"<script src={ELSEWHERE}/script.js></script>")),
        f"fetches {ELSEWHERE}/script.js",
    ),
    "an unknown term": (None, "no-term"),
}


def with_all_faults(source: Path) -> None:
    tiny_book(source, *(cell for cell, _ in FAULTS.values() if cell))
    with (source / "book" / "index.md").open("a") as page:
        page.write("\nA {term}`no-term`.\n")


def with_a_failing_cell(source: Path) -> None:
    tiny_book(source, code("1 / 0"))


def without_a_source(source: Path) -> None:
    """The table of contents still names the notebook."""
    (tiny_book(source) / "notebooks" / "tiny.ipynb").unlink()


def with_an_excluded_source(source: Path) -> None:
    """The notebook exists and is named, and a pattern keeps Sphinx from it."""
    config = tiny_book(source) / "_config.yml"
    text = config.read_text(encoding="utf-8")
    edited = text.replace("exclude_patterns: [", "exclude_patterns: [notebooks, ")
    assert edited != text
    config.write_text(edited)


#: The broken books, and how often in a row each is built.
BROKEN = {
    with_all_faults: 2,
    with_a_failing_cell: 2,
    without_a_source: 1,
    with_an_excluded_source: 1,
}
Results = list[subprocess.CompletedProcess[str]]


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> dict[Callable[[Path], None], Results]:
    """What the builds of each broken book said; two books are built at a time."""

    def builds(make: Callable[[Path], None]) -> Results:
        source = tmp_path_factory.mktemp("broken")
        make(source)
        # Built twice: Sphinx would not warn again of what it has read before.
        return [build(source) for _ in range(BROKEN[make])]

    with ThreadPoolExecutor(2) as pool:
        return dict(zip(BROKEN, pool.map(builds, BROKEN), strict=True))


# -- tabs of tools ----------------------------------------------------------------


@pytest.fixture(scope="module")
def tabbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A built page of two tasks, each with cells of several tools."""

    def by(tool: str, text: str) -> nbformat.NotebookNode:
        return code(f"print({text!r})", tags=[f"tool:{tool}"])

    first = [by("s3fs", "list by s3fs"), by("aws", "list by aws"), by("aws", "more by aws")]
    second = [by("s3fs", "read by s3fs"), by("duckdb", "read by DuckDB"), by("aws", "read by aws")]
    source = tiny_book(
        tmp_path_factory.mktemp("tabbed"),
        *(markdown("## List"), *first, markdown("## Read"), *second),
        *(markdown("## Query"), by("duckdb", "query by DuckDB"), markdown("[x](#tiny)")),
    )
    result = build(source)
    assert result.returncode == 0, result.stdout
    return source / "_build" / "html"


def seen(page: Page) -> list[str]:
    """What the reader sees of the outputs."""
    return [text.strip() for text in page.locator(".cell_output pre:visible").all_inner_texts()]


def test_a_tool_is_chosen_once_and_remembered(tabbed: Path, serve: Serve, visit: Open) -> None:
    here = visit(serve(tabbed) + "notebooks/tiny.html")
    assert seen(here.page) == ["list by s3fs", "read by s3fs", "query by DuckDB"]
    here.page.get_by_role("tab", name="AWS CLI").first.click()
    by_aws = ["list by aws", "more by aws", "read by aws", "query by DuckDB"]
    assert seen(here.page) == by_aws
    here.page.reload()
    assert seen(here.page) == by_aws
    here.page.get_by_role("tab", name="DuckDB").first.click()
    assert seen(here.page) == ["list by aws", "more by aws", "read by DuckDB", "query by DuckDB"]
    assert here.errors == []
    assert barriers(here.page) == []


def test_tools_are_chosen_by_keyboard(tabbed: Path, serve: Serve, visit: Open) -> None:
    here = visit(serve(tabbed) + "notebooks/tiny.html", phone=True)
    tabs = here.page.get_by_role("tablist").nth(1).get_by_role("tab")
    tabs.first.focus()
    for key, name in (("ArrowRight", "DuckDB"), ("End", "AWS CLI"), ("ArrowRight", "s3fs")):
        here.page.keyboard.press(key)
        assert here.page.evaluate("document.activeElement.textContent") == name
    assert "read by s3fs" in seen(here.page)
    here.page.keyboard.press("Tab")  # out of the tabs, into what they show
    assert here.page.evaluate("document.activeElement.role") != "tab"


def test_without_javascript_and_on_paper_all_tools_are_shown(
    tabbed: Path, serve: Serve, visit: Open, browser: Browser
) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(serve(tabbed) + "notebooks/tiny.html")
    assert len(seen(page)) == 7
    assert page.get_by_text("AWS CLI", exact=True).first.is_visible()
    context.close()
    printed = visit(serve(tabbed) + "notebooks/tiny.html").page
    printed.emulate_media(media="print")
    assert len(seen(printed)) == 7


def test_a_mistyped_tool_fails_the_build(tmp_path: Path) -> None:
    source = tiny_book(tmp_path, code("1", tags=["tool:boto"]), markdown("[x](#tiny)"))
    result = build(source)
    assert result.returncode != 0
    assert "no tool is called 'boto'" in result.stdout


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The tiny book with nothing wrong in it, built."""
    fails = code("1 / 0", tags=["raises-exception"])
    says = code("import sys\nprint('a warning', file=sys.stderr)")
    good = markdown("[x](#tiny) [y](../book/index.md) <a href='#tiny'>z</a>")
    source = tiny_book(tmp_path_factory.mktemp("sound"), good, fails, says)
    # Pages that are none of the book's: of a tool, of a student, of the repository.
    for stray in (".pytest_cache/README.md", "work/mine.md", "tests/notes.md", "README.md"):
        (source / stray).parent.mkdir(exist_ok=True)
        (source / stray).write_text("# Stray\n\n[broken](nowhere.md)\n")
    result = build(source)
    assert result.returncode == 0, result.stdout
    return source / "_build" / "html"


@pytest.mark.parametrize("attempt", [0, 1], ids=["first build", "second build"])
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_the_build_each_time(
    broken: dict[Callable[[Path], None], Results],
    sound: Path,  # nothing else is wrong with the tiny book
    fault: str,
    attempt: int,
) -> None:
    result = broken[with_all_faults][attempt]
    assert result.returncode != 0, result.stdout
    # All faults are in one book to save time: with -W each of these lines is enough.
    assert re.search(f"WARNING: .*{re.escape(FAULTS[fault][1])}", result.stdout), result.stdout


@pytest.mark.parametrize(
    ("make", "word"),
    [
        (with_a_failing_cell, "ZeroDivisionError"),
        (without_a_source, "notebooks/tiny"),
        (with_an_excluded_source, "notebooks/tiny"),
    ],
)
def test_a_book_that_lacks_a_page_is_not_built(
    broken: dict[Callable[[Path], None], Results],
    sound: Path,
    make: Callable[[Path], None],
    word: str,
) -> None:
    for result in broken[make]:
        assert result.returncode != 0, result.stdout
        assert word in result.stdout


def test_only_pages_of_the_toc_are_built(sound: Path) -> None:
    built = {str(path.relative_to(sound)) for path in sound.glob("**/*.html")}
    ours = {name for name in built if not name.startswith("_static/")}
    theme = {"genindex.html", "index.html", "search.html"}
    assert ours - theme == {"book/index.html", "notebooks/tiny.html"}


def test_a_lesson_s_error_and_a_line_on_stderr_are_shown(sound: Path) -> None:
    page = (sound / "notebooks" / "tiny.html").read_text(encoding="utf-8")
    assert "ZeroDivisionError" in page
    assert "a warning" in page


def test_a_formula_is_typeset_without_another_site(sound: Path, serve: Serve, visit: Open) -> None:
    here = visit(serve(sound) + "notebooks/tiny.html")
    formula = here.page.locator("mjx-container")
    formula.first.wait_for()
    assert "$" not in formula.inner_text() and "\\(" not in formula.inner_text()
    assert settle(here).elsewhere == []
