"""The paths through the course, its sidebar and its timetables: true to the notebooks."""

import re
from itertools import pairwise
from pathlib import Path

import nbformat
import pytest
import yaml

ROOT = Path(__file__).resolve().parent.parent
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text(encoding="utf-8"))
ENTRIES = [entry for part in TOC["parts"] for entry in part["chapters"]]
#: The units in the order of the book, with their titles in the sidebar.
SIDEBAR = {
    Path(entry["file"]).name: entry["title"]
    for entry in ENTRIES
    if entry["file"].startswith("notebooks/")
}
START = (ROOT / "book" / "index.md").read_text(encoding="utf-8")
TIMETABLES = (ROOT / "book" / "instructors.md").read_text(encoding="utf-8")
LINK = r"\[[^]]*\]\(\.\./notebooks/(\w+)\.ipynb\)"


def number(name: str) -> str:
    """The number by which a text calls a notebook: such as 14."""
    return str(int(name.partition("_")[0]))


def stated(name: str) -> int:
    """The minutes that the first cell of a notebook states."""
    first = nbformat.read(ROOT / "notebooks" / f"{name}.ipynb", as_version=4).cells[0].source
    found = re.search(r"[Aa]bout (\d+) minutes", first)
    assert found, f"{name} states no minutes"
    return int(found[1])


def linked(text: str) -> list[str]:
    """The notebooks that a text links to; `[11](…) to [17](…)` means all between."""
    found: list[str] = []
    for first, last in re.findall(rf"{LINK}(?: to {LINK})?", text):
        names = list(SIDEBAR)
        end = names.index(last or first) + 1
        found += names[names.index(first) : end]
    return found


def rows(text: str, title: str) -> list[list[str]]:
    """The cells of the tables below a heading, without those above their lines of dashes."""
    section = re.split(r"^#{1,3} ", text.partition(f"# {title}\n")[2], flags=re.MULTILINE)[0]
    lines = [line for line in section.splitlines() if line.startswith("|")]
    heads = {
        i + shift for i, line in enumerate(lines) if set(line) <= set("|-") for shift in (-1, 0)
    }
    found = [line for i, line in enumerate(lines) if i not in heads]
    assert found, f"no table below {title}"
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in found]


@pytest.mark.parametrize("name", SIDEBAR)
def test_the_sidebar_begins_with_the_number_that_texts_use(name: str) -> None:
    assert SIDEBAR[name].partition(" ")[0] == number(name)


def test_the_start_page_lists_every_notebook_with_its_minutes() -> None:
    listed = rows(START, "All units")
    assert [linked(row[1]) for row in listed] == [[name] for name in SIDEBAR]
    assert [row[0] for row in listed] == [number(name) for name in SIDEBAR]
    assert [int(row[2]) for row in listed] == [stated(name) for name in SIDEBAR]


def test_a_path_takes_the_minutes_of_its_units() -> None:
    for _, units, takes, _ in rows(START, "Choose a path"):
        hours, rest = divmod(sum(map(stated, linked(units))), 60)
        assert takes == (f"{hours} h {rest}" if rest else f"{hours} h"), units


@pytest.mark.parametrize("title", ["Half a day", "A day", "A week with a project", "A semester"])
def test_a_timetable_gives_each_unit_its_minutes(title: str) -> None:
    found = [linked(row[1]) for row in rows(TIMETABLES, title)]
    assert any(found)
    for _, what, planned in rows(TIMETABLES, title):
        if planned and linked(what):
            assert int(planned) == sum(map(stated, linked(what))), what


@pytest.mark.parametrize("title", ["Half a day", "A day"])
def test_the_hours_of_a_timetable_add_up(title: str) -> None:
    table = rows(TIMETABLES, title)
    starts = [int(hour) * 60 + int(minute) for hour, minute in (row[0].split(":") for row in table)]
    lasting = [int(row[2]) for row in table[:-1]]
    assert [end - start for start, end in pairwise(starts)] == lasting


def test_the_paths_of_half_a_day_and_of_a_day_have_the_same_units_on_both_pages() -> None:
    paths = [linked(row[1]) for row in rows(START, "Choose a path")]
    for path, title in zip(paths, ["Half a day", "A day"], strict=False):
        assert path == [name for row in rows(TIMETABLES, title) for name in linked(row[1])]


def test_a_semester_has_everything() -> None:
    everything = [name for name in SIDEBAR if number(name) != "91"]  # to look things up in
    assert linked(rows(START, "Choose a path")[-1][1]) == everything
    taught = [name for row in rows(TIMETABLES, "A semester") for name in linked(row[1])]
    assert sorted(taught) == sorted(everything)
