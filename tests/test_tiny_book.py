"""Small books under the course's own configuration: with each mistake an author may make, and tabs.

They are built on one worker (`xdist_group`), each of them once for all that is asked of it.
"""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

import nbformat
import pytest

from tests.browser import (
    ELSEWHERE,
    Open,
    Serve,
    barriers,
    build,
    settle,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.xdist_group("tiny books")

ROOT = Path(__file__).resolve().parents[1]


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
