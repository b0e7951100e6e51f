"""Write the launch badges into the tables of README.md and of the start page.

The rows stand there, between two comments. In each row the last cell is filled with the
badges of the first notebook that the row links to: a notebook's own, or those with which
a path through the course begins. The links are those of the book, made by `onyxia_launch`
from the same settings in `_config.yml`. They are references, defined below the table, so
that its rows can be read in the source.
"""

from __future__ import annotations

import html
import json
import os
import re
import sys
import textwrap
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from onyxia_launch import links, settings
from sphinx.errors import ConfigError

BEGIN, END = "<!-- badges: written by `make badges` -->", "<!-- end of badges -->"


class Table(NamedTuple):
    """The file in which a table stands; without ``only`` all entries are offered."""

    file: str
    only: tuple[str, ...] | None


TABLES = (
    Table("README.md", only=None),
    # What else there is, the page of each notebook offers.
    Table("book/index.md", only=("jupyter-python", "vscode-python")),
)
#: A link to a notebook.
NOTEBOOK = re.compile(r"\]\(([^()\s]+)\.ipynb\)")


def settings_of(project: Path) -> dict[str, Any]:
    """The launch settings of the book."""
    config = yaml.safe_load((project / "_config.yml").read_text(encoding="utf-8"))
    options = config["sphinx"]["config"].items()
    prefix = "launch_"
    return settings.read({k.removeprefix(prefix): v for k, v in options if k.startswith(prefix)})


def chapters(project: Path) -> list[str]:
    """The notebooks that the table of contents names, in its order, without suffix."""
    toc = yaml.safe_load((project / "_toc.yml").read_text(encoding="utf-8"))

    def files(node: Any) -> list[str]:
        if isinstance(node, list):
            return [file for child in node for file in files(child)]
        if not isinstance(node, dict):
            return []
        own = [node["file"]] if "file" in node else []
        return own + [file for child in node.values() for file in files(child)]

    names = [name.removesuffix(".ipynb") for name in files(toc)]
    return [name for name in names if (project / f"{name}.ipynb").is_file()]


def title_of(notebook: Path) -> str:
    """The first heading of a notebook."""
    for cell in json.loads(notebook.read_text(encoding="utf-8"))["cells"]:
        heading = re.search(r"^# +(.+)$", "".join(cell["source"]), re.MULTILINE)
        if cell["cell_type"] == "markdown" and heading:
            return heading[1].strip()
    raise ConfigError(f"{notebook} has no title: its first cell starts with `# `.")


def block(project: Path, table: Table, rows: list[str]) -> str:
    """A table in Markdown, with the note above it and the definitions of its links below it."""
    course = settings_of(project)
    several = len(course["instances"]) > 1
    folder = Path(table.file).parent
    head, filled = rows[:2], []
    pictures, targets = {}, {}
    for row in rows[2:]:
        first = NOTEBOOK.search(row)
        page = os.path.normpath(folder / first[1]) if first else ""
        if page not in chapters(project):
            raise ConfigError(f"{table.file}: no notebook of _toc.yml is linked in this row: {row}")
        title = title_of(project / f"{page}.ipynb")
        lines: dict[str, list[str]] = {}  # with several instances, one for each
        for entry in links.entries(course, page):
            if entry.id == "download" or (table.only and entry.id not in table.only):
                continue
            if entry.id not in course["badges"]:
                raise ConfigError(f"launch_badges has no picture for {entry.id!r}.")
            instance = entry.instance if several else ""
            alt = as_label(entry.text if several else entry._replace(where="").text)
            number = Path(page).name.partition("_")[0]
            label = "-".join(filter(None, (number, instance, entry.id)))
            line = lines.setdefault(instance, [f"{entry.where}:"] if instance else [])
            line.append(f"[![{alt}]][{label}]")
            picture = os.path.relpath(f"book/_static/{course['badges'][entry.id]}", folder)
            pictures[alt] = Path(picture).as_posix()
            targets[label] = f'{entry.url} "{as_title(f"{entry.text}: {title}")}"'
        others = row.rstrip().removesuffix("|").rpartition("|")[0]
        filled.append(f"{others}| {'<br>'.join(' '.join(line) for line in lines.values())} |")
    definitions = [f"[{label}]: {target}" for label, target in (pictures | targets).items()]
    parts = ["\n".join(head + filled), "\n".join(definitions)]
    if note := links.note(course):
        # a word is an address now and then, which has to stay whole
        wrapped = textwrap.wrap(f"**Note.** {note}", 98, break_on_hyphens=False)
        parts.insert(0, "\n".join(f"> {line}" for line in wrapped))
    return "\n\n".join(parts)


def as_label(text: str) -> str:
    """The text as Markdown's name of a picture, in a table and out of it."""
    return re.sub(r"[][\\|`*<]", lambda mark: f"&#{ord(mark[0])};", text)


def as_title(text: str) -> str:
    """The text as a link's title, between double quotes."""
    return html.escape(text, quote=False).replace('"', "&quot;").replace("\\", "&#92;")


def written(project: Path, table: Table) -> str:
    """The text of a table's file as it should be."""
    text = (project / table.file).read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    old, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{table.file} has no place for the badges: the lines {BEGIN} and {END}.")
    rows = [line for line in old.splitlines() if line.startswith("|")]
    return f"{before}{BEGIN}\n\n{block(project, table, rows)}\n\n{END}{after}"


def main() -> int:
    """Command line: ``badges.py``, in the course's repository."""
    project = Path(__file__).resolve().parents[2]
    try:
        new = {table.file: written(project, table) for table in TABLES}
    except (ConfigError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1
    for file, text in new.items():
        path = project / file
        changed = text != path.read_text(encoding="utf-8")
        if changed:
            path.write_text(text, encoding="utf-8")
        print(f"{file}: {'written' if changed else 'up to date'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
