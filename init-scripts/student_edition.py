#!/usr/bin/env python3
"""Make the student's edition of the notebooks: exercises with stubs in place of solutions.

Standard library only: it runs on a service before anything is installed. A file that
the student changed is never overwritten; one that was not is brought up to date.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

RECORD = ".student-edition.json"  # file name -> digest of what was put there
FOLDERS = ("course", "images", "project", "catalogue")  # that go with the notebooks
BESIDE = ".new-version"  # in the name of what is put beside an edited file
# comment on top of each folded cell, because VS Code shows such cells open
FOLDED = "# A folded cell: run it. There is no need to read it.\n"


def student_edition(notebook: dict[str, Any], solutions: bool = False) -> dict[str, Any]:
    """The notebook as a student gets it.

    Parameters
    ----------
    notebook
        Parsed source notebook (nbformat 4). A cell tagged ``solution`` carries in
        ``metadata.course`` its ``stub``, the lines a student finds in its place.
    solutions
        Keep the solutions.

    Returns
    -------
    dict
        A new notebook: ``course`` metadata gone, FOLDED on top of folded cells,
        all else, cell ids included, as it was.

    Raises
    ------
    KeyError
        A solution has no stub; the message names its cell.
    """
    return {**notebook, "cells": [_for_student(cell, solutions) for cell in notebook["cells"]]}


def _for_student(cell: dict[str, Any], solutions: bool) -> dict[str, Any]:
    metadata = dict(cell["metadata"])
    course = metadata.pop("course", {})
    source = cell["source"]
    if "solution" in metadata.get("tags", []) and not solutions:
        if "stub" not in course:
            raise KeyError(f"the solution {cell['id']} has no stub (metadata.course.stub)")
        source = course["stub"]
    if metadata.get("jupyter", {}).get("source_hidden"):
        first = source[0].startswith("%%")  # `%%bash` has to stay the first line
        source = [*source[:first], FOLDED, *source[first:]]
    return {**cell, "metadata": metadata, "source": source}


def download(notebook: Path) -> dict[str, bytes]:
    """What a reader downloads of a notebook: its student's edition and what lies beside it.

    Returns
    -------
    dict
        Contents of the files by their path.
    """
    return {notebook.name: _written(notebook)} | _beside(notebook.parent)


def _written(notebook: Path, solutions: bool = False) -> bytes:
    edition = student_edition(json.loads(notebook.read_text(encoding="utf-8")), solutions)
    return (json.dumps(edition, indent=1, ensure_ascii=False) + "\n").encode()


def _beside(notebooks: Path) -> dict[str, bytes]:
    return {
        f"{folder}/{path.name}": path.read_bytes()
        for folder in FOLDERS
        for path in filter(Path.is_file, sorted(notebooks.glob(f"{folder}/*")))
    }


def write_all(
    notebooks: Path, work: Path, solutions: bool = False, pages: dict[str, str] | None = None
) -> dict[str, str]:
    """Write the student's edition of all notebooks of a folder, with what they show and run.

    Parameters
    ----------
    notebooks
        Folder of the source notebooks and of FOLDERS.
    work
        The student's folder; made if absent.
    solutions
        Keep the solutions.
    pages
        Further files of text, by name.

    Returns
    -------
    dict
        What became of each file, by path: ``new``, ``updated``, ``up to date``,
        ``kept`` (the student changed it) or ``kept; new version in`` a file beside it.

    Raises
    ------
    OSError
        The folder cannot be written; what is there is whole.
    KeyError
        See :func:`student_edition`. Nothing was written.
    """
    files = {name: text.encode() for name, text in (pages or {}).items()}
    for source in sorted(notebooks.glob("*.ipynb")):
        files[source.name] = _written(source, solutions)
    files |= _beside(notebooks)
    outcome = {}
    work.mkdir(parents=True, exist_ok=True)
    with only_one(work):
        record = _read_record(work / RECORD)
        for name, content in files.items():
            (work / name).parent.mkdir(exist_ok=True)
            outcome[name] = _put(work, name, content, record)
            replace(work / RECORD, json.dumps(record, indent=1).encode())
    return outcome


def _put(work: Path, name: str, content: bytes, record: dict[str, str]) -> str:
    target = work / name
    new = digest(content)
    old = record.get(name)
    if not target.exists():
        replace(target, content)
        record[name] = new
        return "new"
    present = digest(target.read_bytes())
    if present == new:
        record[name] = new
        return "up to date"
    if present == old:
        replace(target, content)
        record[name] = new
        return "updated"
    if new == old:
        return "kept"
    # edited here, and the course has another version than the one that was edited
    beside = str(Path(name).with_name(target.stem + BESIDE + target.suffix))
    outcome = _put(work, beside, content, record)
    return "kept" if outcome == "kept" else f"kept; new version in {beside}"


def digest(content: bytes) -> str:
    """Digest of what a person would miss: text, code and outputs.

    JupyterLab rewrites the metadata of a notebook that was merely opened.
    """
    try:
        cells = json.loads(content)["cells"]
        parts = [[c["cell_type"], "".join(c["source"]), c.get("outputs", [])] for c in cells]
        content = json.dumps(parts).encode()
    except (ValueError, KeyError, TypeError):
        pass  # not a notebook: all of it counts
    return hashlib.sha256(content).hexdigest()


def _read_record(path: Path) -> dict[str, str]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (FileNotFoundError, ValueError):
        return {}  # without a record every file counts as the student's own


def replace(target: Path, content: bytes) -> None:
    """Write a file whole or not at all, even if the disk is full or the pod is stopped."""
    unfinished = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        unfinished.write_bytes(content)
        if target.exists():
            shutil.copymode(target, unfinished)  # a file of settings may be private
        unfinished.replace(target)
    finally:
        unfinished.unlink(missing_ok=True)


@contextmanager
def only_one(folder: Path) -> Iterator[None]:
    """Wait until no other start of the service writes what belongs to ``folder``."""
    with (folder / ".student-edition.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def main() -> int:
    """Command line: ``student_edition.py [--solutions] NOTEBOOKS WORK``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebooks", type=Path, help="folder of the source notebooks")
    parser.add_argument("work", type=Path, help="the student's folder")
    parser.add_argument("--solutions", action="store_true", help="keep the solutions")
    given = parser.parse_args()
    if not any(given.notebooks.glob("*.ipynb")):
        print(f"There is no notebook in {given.notebooks}.", file=sys.stderr)
        return 1
    try:
        outcome = write_all(given.notebooks, given.work, given.solutions)
    except OSError as error:
        print(f"{given.work} cannot be written: {error.strerror}.", file=sys.stderr)
        return 1
    except KeyError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    for name, what in outcome.items():
        print(f"{given.work / name}: {what}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
