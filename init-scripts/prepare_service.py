#!/usr/bin/env python3
"""Prepare the service: the course in the work folder, the service's settings, packages.

``init-jupyter.sh`` and ``init-vscode.sh`` run this program of the version of the course
that they fetched. Standard library only. What it writes to stderr is for the student.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import pwd
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonc
from student_edition import only_one, replace, write_all

COURSE = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(COURSE / "notebooks"))
from course import CourseError  # noqa: E402
from course.packages import install, missing  # noqa: E402

BLOCK = "# >>> the notebook to open: written anew at each start >>>\n{}# <<<\n"
TASK = "Open the notebook"


def main() -> int:
    """Command line: ``prepare_service.py [options] SERVICE CHAPTER WORK``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("service", choices=SERVICES)
    parser.add_argument("notebook", help="its name, without .ipynb")
    parser.add_argument("work", type=Path, help="the student's folder")
    parser.add_argument("--user", type=int, default=os.getuid(), help="number of the user")
    parser.add_argument("--solutions", action="store_true", help="keep the solutions")
    given = parser.parse_args()

    notebooks = {
        path.stem: json.loads(path.read_text(encoding="utf-8"))
        for path in sorted((COURSE / "notebooks").glob("*.ipynb"))
    }
    if given.notebook not in notebooks:
        remark(f'There is no notebook "{given.notebook}" in this version of the course. There are:')
        remark("\n".join(f"- {name}" for name in notebooks))
        return 1
    # looked for before this goes on as the user, to whom root's own Python may be closed
    needed = missing(*requirements(notebooks[given.notebook]))
    try:
        become(given.user, given.work)
        pages = {"README.md": readme(given.notebook, notebooks) + REMARKS[given.service]}
        outcome = write_all(COURSE / "notebooks", given.work, given.solutions, pages)
    except OSError as error:
        remark(f"The work folder {given.work} cannot be written: {error.strerror or error}.")
        remark("Delete files that you do not need, or start a service with a larger disk.")
        return 1
    except KeyError as error:
        remark(f"This version of the course is not sound: {error.args[0]}.")
        return 1
    for name, what in outcome.items():
        print(f"{name}: {what}")
    with only_one(given.work):
        settings(given.service, given.notebook, given.work)
    try:
        install(*needed)
    except CourseError as error:
        remark(error.problem)
        remark("The notebook's first cells try again. If they fail too, restart the service.")
    return 0


def requirements(notebook: dict[str, Any]) -> list[str]:
    """What the notebook needs, as its cell says that imports ``install`` and calls it."""
    found: list[str] = []
    for cell in notebook["cells"]:
        source = "".join(cell["source"])
        if cell["cell_type"] == "code" and "from course.packages import install" in source:
            calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
            for call in calls:
                if isinstance(call.func, ast.Name) and call.func.id == "install":
                    found += [ast.literal_eval(argument) for argument in call.args]
    return found


def remark(text: str) -> None:
    """Tell the student a paragraph."""
    print(text + "\n", file=sys.stderr)


def become(user: int, work: Path) -> None:
    """Go on as the service's user, so that all files are theirs."""
    if os.geteuid() != 0 or user == 0:
        return
    group, home = work.stat().st_gid, None
    try:
        entry = pwd.getpwuid(user)
        group, home = entry.pw_gid, entry.pw_dir
        os.initgroups(entry.pw_name, group)
    except KeyError:
        os.setgroups([])
    if work.stat().st_uid == 0:
        os.chown(work, user, group)
    present = Path(os.environ.get("HOME", "/"))
    if home and not (present.exists() and present.stat().st_uid == user):
        os.environ["HOME"] = home
    os.setgid(group)
    os.setuid(user)


def readme(opened: str, notebooks: dict[str, Any]) -> str:
    """A page that leads to all notebooks, that of the launch link first."""
    titles = {}
    for name, notebook in notebooks.items():
        first = "".join(notebook["cells"][0]["source"])
        titles[name] = first.partition("\n")[0].lstrip("# ")
    links = {name: f"[{title}]({name}.ipynb)" for name, title in titles.items()}
    lines = "\n".join(f"- {links[name]}" for name in sorted(links))
    return f"# Start here\n\nOpen your notebook: **{links[opened]}**\n\nAll of them:\n\n{lines}\n"


def settings(service: str, notebook: str, work: Path) -> None:
    """Have the service open the notebook; where that cannot be, say how to open it by hand."""
    try:
        SERVICES[service](f"{notebook}.ipynb", work)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        place = getattr(error, "filename", None) or "the settings of the service"
        remark(f"The service will not open your notebook by itself ({place}: {reason}).")
        remark(f"Open {notebook}.ipynb in the list of files.")


def open_in_jupyter(notebook: str, _: Path) -> None:
    """Lead ``/`` to the notebook.

    ``LabApp.default_url`` keeps the token of the address; ``ServerApp.default_url`` does not.
    """
    home = Path(os.environ.get("JUPYTER_CONFIG_DIR") or Path.home() / ".jupyter")
    line = f"c.LabApp.default_url = {json.dumps('/lab/tree/' + notebook)}\n"
    begin, end = (re.escape(part) for part in BLOCK.split("{}"))
    block = re.compile(rf"{begin}c\.LabApp\.default_url = .*\n{end}")

    def change(text: str) -> str:
        text = block.sub("", text)
        gap = "\n" if text and not text.endswith("\n") else ""
        return text + gap + BLOCK.format(line)

    _edit(home / "jupyter_server_config.py", change)


def open_in_vscode(notebook: str, work: Path) -> None:
    """Have a task open the notebook when the folder is opened.

    Where tasks are not allowed to start by themselves, README.md is shown, which links it.
    """
    task = {
        "label": TASK,
        "type": "process",
        "command": shutil.which("code-server") or "/usr/bin/code-server",
        "args": ["--reuse-window", "${workspaceFolder}/" + notebook],
        "presentation": {"reveal": "silent", "close": True},
        "problemMatcher": [],
        "runOptions": {"runOn": "folderOpen"},
    }

    def with_task(text: str) -> str:
        if "version" not in jsonc.read(text):
            text = jsonc.with_value(text, "version", "2.0.0")
        return jsonc.with_element(text, "tasks", "label", task)

    def with_settings(text: str) -> str:
        wanted = {"task.allowAutomaticTasks": "on", "workbench.startupEditor": "readme"}
        for key, value in wanted.items():
            if key not in jsonc.read(text):
                text = jsonc.with_value(text, key, value)
        return text

    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share")
    _edit(data / "code-server" / "User" / "settings.json", with_settings)
    _edit(work / ".vscode" / "tasks.json", with_task)


SERVICES: dict[str, Callable[[str, Path], None]] = {
    "jupyter": open_in_jupyter,
    "vscode": open_in_vscode,
}


# what a student has to know of the service's editor, below the list of notebooks
REMARKS = {
    "jupyter": "",
    "vscode": """
VSCode shows all cells open. Those that begin with `# A folded cell` need not be read:
click on the bar to the left of such a cell, and it folds.
""",
}


def _edit(path: Path, change: Callable[[str], str]) -> None:
    """Change a file of the user's settings; what cannot be understood is left alone."""
    path = path.resolve()  # a link stays one
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        old = path.read_bytes().decode("utf-8", "surrogateescape")
    except FileNotFoundError:
        old = ""
    try:
        new = change(old)
    except ValueError as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if new != old:
        replace(path, new.encode("utf-8", "surrogateescape"))


if __name__ == "__main__":
    sys.exit(main())
