"""The book as a reader and an author meet it: built, and opened in a browser.

Everything here runs on one worker (`xdist_group`), so the book is built once. Broken books
are in tests/test_tiny_book.py.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import nbformat
import pydata_sphinx_theme
import pytest
import yaml
from fontTools.ttLib import TTFont

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("book")

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "book" / "_ext"))
from light_pages import with_classes, with_glyphs, with_icons  # noqa: E402
from site_check import problems  # noqa: E402

from book import execute  # noqa: E402
from datalab.lab import Datalab  # noqa: E402
from tests import unchanged  # noqa: E402
from tests.browser import (  # noqa: E402
    COLOURS,
    ELSEWHERE,
    FLAGS,
    LAPTOP,
    PHONE,
    WCAG,
    Open,
    Serve,
    Visit,
    barriers,
    build,
    opener,
    settle,
)
from tests.lab_secrets import leaks, secrets_of  # noqa: E402

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
    for path in ROOT.glob("notebooks/*.ipynb"):
        if unchanged.outputs(path).exists():
            executed = nbformat.read(unchanged.outputs(path), as_version=4)
            execute.keep(source, source / "notebooks" / path.name, executed)
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


def test_the_same_pages_give_the_same_font(tmp_path: Path) -> None:
    """Else every build would look new to browsers, and to what is kept of each page here."""
    theme = Path(pydata_sphinx_theme.__file__).parent
    (whole,) = theme.rglob("fa-solid-900.ttf")
    with_glyphs(whole, r"content: '\f05a'", shorter := tmp_path / "shorter.ttf")
    assert shorter.stat().st_size < whole.stat().st_size / 10
    with TTFont(whole) as before, TTFont(shorter) as after:
        assert after["head"].modified == before["head"].modified


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


#: Those that wait until a reader comes near them are looked at, too.
WITH_ALL_PICTURES = "document.querySelectorAll('img').forEach(one => { one.loading = 'eager'; })"


class Looked(NamedTuple):
    """What a browser found on a page."""

    address: str
    elsewhere: list[str]
    errors: list[str]
    barriers: list[str]
    on_a_laptop: dict[str, Any]
    on_a_phone: dict[str, Any]


class Walk(NamedTuple):
    """A visit of all pages, by a reader who likes it dark or light."""

    dark: bool
    pages: dict[str, Looked]


@pytest.fixture(scope="module")
def walks(
    site: Path, pages: list[str], serve: Serve, browser: Browser, request: pytest.FixtureRequest
) -> dict[bool, Walk]:
    """Each page is opened once for all that is asked of every page.

    What was seen of a page is kept, and taken again while no file of the page has changed.
    """
    base = serve(site)
    kept = Path(os.environ["TEST_OUTPUTS"], "pages")
    before = [] if request.config.option.everything else [path.name for path in kept.glob("*")]
    kept.mkdir(exist_ok=True)
    walks = {dark: Walk(dark, {}) for dark in (False, True)}
    with opener(browser) as start:
        here = start(base)
        here.page.set_viewport_size(LAPTOP)
        files = {name: digest(site, name, browser) for name in pages}
        for name in pages:
            seen = kept / files[name]
            if seen.name not in before:
                both = look_at(here, base, name)
                seen.write_text(json.dumps(both))
            for dark, looked in zip(walks, json.loads(seen.read_text()), strict=True):
                walks[dark].pages[name] = Looked(*looked)
    for path in kept.glob("*"):
        if path.name not in files.values():
            path.unlink()
    return walks


def digest(site: Path, name: str, browser: Browser) -> str:
    """Of all that may change what a browser finds on a page."""
    html = (site / name).read_text(encoding="utf-8")
    pictures = sorted(set(re.findall(r"_images/[^\"']+", html)))
    read = [site / name, *(site / each for each in pictures)]
    read += [path for path in sorted(site.glob("_static/**/*")) if path.is_file()]
    read += [Path(__file__), ROOT / "tests" / "browser.py"]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for path in read]
    return hashlib.sha256(" ".join([browser.version, name, *contents]).encode()).hexdigest()


def look_at(here: Visit, base: str, name: str) -> list[Looked]:
    """A page in the light; then the reader's system turns dark, and the page follows."""
    here.elsewhere.clear()
    here.errors.clear()
    here.page.goto(base + name)
    page = settle(here).page
    page.evaluate(WITH_ALL_PICTURES)
    page.wait_for_function("[...document.images].every(one => one.complete)")
    seen = {dark: look(here, dark) for dark in (False, True)}
    # axe comes last, since it fetches things itself
    for dark, rules in ((True, COLOURS), (False, WCAG)):
        turn(page, dark)
        address = page.url.removeprefix(base)
        seen[dark] = seen[dark]._replace(barriers=barriers(page, rules), address=address)
    return list(seen.values())


def turn(page: Page, dark: bool) -> None:
    """Let the reader's system become dark, or light."""
    theme = "dark" if dark else "light"
    page.emulate_media(color_scheme=theme, reduced_motion="reduce")
    page.wait_for_function("theme => document.documentElement.dataset.theme == theme", arg=theme)
    # a colour on its way from one theme to the other is none of the two
    page.evaluate("document.getAnimations().forEach(one => one.cancel())")


def look(here: Visit, dark: bool) -> Looked:
    """What is asked of a page that is open, but for barriers."""
    page = here.page
    turn(page, dark)
    laptop = page.evaluate(CODE)
    page.set_viewport_size(PHONE)
    phone = page.evaluate(LOOKS)
    page.set_viewport_size(LAPTOP)
    return Looked(page.url, [*here.elsewhere], [*here.errors], [], laptop, phone)


@pytest.fixture(params=[False, True], ids=["light", "dark"])
def walk(request: pytest.FixtureRequest, walks: dict[bool, Walk]) -> Walk:
    return walks[request.param]


def test_a_reader_s_browser_talks_to_nobody_else(walk: Walk) -> None:
    for name, looked in walk.pages.items():
        assert looked.address == name
        assert looked.elsewhere == [], name
        assert looked.errors == [], name


def test_every_page_passes_the_rules_of_wcag_2_a_and_aa(walk: Walk) -> None:
    for name, looked in walk.pages.items():
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
    assert page.evaluate("document.documentElement.dataset.theme") == ("dark" if dark else "light")
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
