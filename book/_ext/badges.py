"""Write the tables of launch badges into README.md and the start page.

The links are those of the book, made by `onyxia_launch` from the same settings in
`_config.yml`; the chapters and their order come from `_toc.yml`, their titles from the
notebooks. A table stands between two comments and replaces what stood there.
"""

from __future__ import annotations

import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple

import yaml
from onyxia_launch import links, settings
from sphinx.errors import ConfigError

BEGIN, END = "<!-- badges: written by `make badges` -->", "<!-- end of badges -->"


class Table(NamedTuple):
    """The file it stands in, and what it shows.

    ``titles`` writes them out, where the book fills them in by itself; without ``only``
    all entries are offered.
    """

    file: str
    titles: bool
    only: tuple[str, ...] | None


TABLES = (
    Table("README.md", titles=True, only=None),
    # It stands under "SSP Cloud": what else there is, each chapter's own page offers.
    Table("book/index.md", titles=False, only=("jupyter-python", "vscode-python")),
)


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


def written(project: Path, table: Table) -> str:
    """The text of a table's file as it should be."""
    course = settings_of(project)

    def to(target: str) -> str:
        return Path(os.path.relpath(target, Path(table.file).parent)).as_posix()

    rows = ["| Chapter | Launch |", "|---|---|"]
    for page in chapters(project):
        title = title_of(project / f"{page}.ipynb").replace("|", r"\|")
        lines: dict[str, list[str]] = {}  # with several instances, one for each
        for entry in links.entries(course, page):
            if entry.id != "download" and (table.only is None or entry.id in table.only):
                named = [f"{entry.where}:"] if entry.where and len(course["instances"]) > 1 else []
                badge = f"[![{entry.text}: {title}]({to(picture(course, entry.id))})]({entry.url})"
                lines.setdefault("".join(named), named).append(badge)
        badges = "<br>".join(" ".join(line) for line in lines.values())
        link = f"[{title if table.titles else ''}]({to(page)}.ipynb)"
        rows.append(f"| {link} | {badges} |")
    said = links.note(course)
    note = f"\n> **Note.** {said}\n" if said else ""
    path = project / table.file
    text = path.read_text(encoding="utf-8")
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ConfigError(f"{table.file} has no place for the badges: the lines {BEGIN} and {END}.")
    return before + BEGIN + "\n" + note + "\n" + "\n".join(rows) + "\n\n" + END + after


def picture(course: dict[str, Any], entry: str) -> str:
    """The badge of an entry, from the top of the repository."""
    if entry not in course["badges"]:
        raise ConfigError(f"launch_badges has no picture for {entry!r}.")
    return f"book/_static/{course['badges'][entry]}"


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
