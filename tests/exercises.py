"""For authors: the exercises of a notebook as text, and how well their checks are proven.

    python -m tests.exercises                       the share of refused mutants, of all
    python -m tests.exercises NOTEBOOK              its exercises as text
    python -m tests.exercises NOTEBOOK EDITED       takes an edited text back

`make exercises` does the same. The text has a section for each part of an exercise, under a
line of its own (`==== ID · PART`). What is between two such lines is the part, without the
empty lines at its end. Answers may be added and removed; cells may not. What no check can
refuse, since it is right, goes from the surviving mutants to the equivalent ones, with its
reason after ` || `.
"""

import argparse
import ast
import json
import os
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

from IPython.core.inputtransformer2 import TransformerManager
from nbclient.exceptions import CellExecutionError, DeadKernelError

from datalab.environment import merge
from datalab.errors import DatalabError
from datalab.lab import AVAILABLE
from datalab.temporary import temporary
from tests.test_exercises import NOTEBOOKS, ROOT, Exercise, Proof, write_all

SECTION = re.compile(r"==== (\S+) · (.+)")
#: Parts of a solution's metadata that are lists of texts, and what a text calls each of these.
ANSWERS = {"wrong_answers": "wrong answer", "right_answers": "right answer"}
EQUIVALENT, SURVIVING = "equivalent mutants", "surviving mutants"
CELLS = {"setup", "task", "solution", "check"}


class BadEditError(Exception):
    """A sentence with the number of the line that cannot be taken back."""


# -- as text -------------------------------------------------------------------------------


def as_text(notebook: dict, survivors: dict[str, list[str]] | None = None) -> str:
    """The exercises of a notebook.

    Parameters
    ----------
    notebook
        Parsed source notebook.
    survivors
        By id of the check, what to show of its surviving mutants.
    """
    parts = []
    for part, cell, text in _parts(notebook):
        if any(map(SECTION.fullmatch, text.splitlines())):
            raise BadEditError(f"{cell['id']} has a line that looks like the begin of a section")
        parts.append(f"==== {cell['id']} · {part}\n{text.rstrip(chr(10))}\n")
        if part == "check" and (survivors or {}).get(cell["id"]):
            lines = "\n".join(survivors[cell["id"]])
            parts.append(f"==== {cell['id']} · {SURVIVING}\n{lines}\n")
    return "\n".join(parts)


def _parts(notebook: dict) -> Iterator[tuple[str, dict, str]]:
    """Each part of each exercise: what it is, its cell, and its text."""
    cells = notebook["cells"]
    for position, task in enumerate(cells):
        if "exercise" not in _tags(task):
            continue
        if position and "setup" in _tags(cells[position - 1]):
            yield "setup", cells[position - 1], "".join(cells[position - 1]["source"])
        _, solution, check = cells[position : position + 3]
        course = solution["metadata"]["course"]
        yield "task", task, "".join(task["source"])
        yield "stub", solution, "".join(course["stub"])
        yield "solution", solution, "".join(solution["source"])
        for key, called in ANSWERS.items():
            for text in course.get(key, []):
                yield called, solution, "".join(text)
        if course.get("equivalent_mutants"):
            pairs = course["equivalent_mutants"].items()
            yield EQUIVALENT, solution, "\n".join(f"{name} || {reason}" for name, reason in pairs)
        yield "check", check, "".join(check["source"])


def _tags(cell: dict) -> list[str]:
    return cell["metadata"].get("tags", [])


# -- and back ------------------------------------------------------------------------------


def taken_back(notebook: dict, text: str) -> dict:
    """A notebook with its exercises as an edited text has them.

    Raises
    ------
    BadEditError
        Something in the text cannot be taken back; the notebook is as it was.
    """
    result = json.loads(json.dumps(notebook))
    shown = {(cell["id"], part): cell for part, cell, _ in _parts(result)}
    solutions = {cell["id"]: cell for part, cell, _ in _parts(result) if part == "solution"}
    found: dict[tuple[str, str], list[tuple[int, str]]] = {}
    for number, name, part, body in _sections(text):
        known = (name, part) in shown or (
            name in solutions and part in (*ANSWERS.values(), EQUIVALENT)
        )
        if part == SURVIVING:
            continue
        if not known:
            raise BadEditError(f"line {number}: this notebook has no `{name}` with a {part}")
        if not body.strip():
            raise BadEditError(f"line {number}: this {part} of {name} is empty")
        one_only = part in CELLS or part in ("stub", EQUIVALENT)
        if one_only and (name, part) in found:
            raise BadEditError(f"line {number}: {name} has its {part} already")
        if part not in ("task", EQUIVALENT):
            _must_be_python(body, number, f"the {part} of {name}")
        found.setdefault((name, part), []).append((number, body))
    for (name, part), cell in shown.items():
        if (part in CELLS or part == "stub") and (name, part) not in found:
            raise BadEditError(f"line 1: the {part} of {name} is gone; the text must have it")
        if part in CELLS:
            cell["source"] = _lines(found[name, part][0][1], cell["source"])
    for name, cell in solutions.items():
        course = cell["metadata"]["course"]
        course["stub"] = _lines(found[name, "stub"][0][1], course["stub"])
        for key, called in ANSWERS.items():
            now = [body for _, body in found.get((name, called), [])]
            before = course.get(key, [])
            if [body.rstrip("\n") for body in map("".join, before)] != now:
                course[key] = [body.splitlines(keepends=True) for body in now]
            if key in course and not course[key]:
                del course[key]
        reasons = dict(_reasons(found.get((name, EQUIVALENT), [])))
        if reasons != course.get("equivalent_mutants", {}):
            course["equivalent_mutants"] = reasons
        if not course.get("equivalent_mutants", True):
            del course["equivalent_mutants"]
    return result


def _sections(text: str) -> Iterator[tuple[int, str, str, str]]:
    """Sections of a text: number of its first line, id, part, body."""
    begin, name, part, body = 0, "", "", []
    for number, line in enumerate(text.splitlines(), start=1):
        if line.startswith("===="):
            if begin:
                yield begin, name, part, "\n".join(body).rstrip("\n")
            header = SECTION.fullmatch(line.rstrip())
            if not header:
                raise BadEditError(f"line {number}: a section begins with `==== ID · PART`")
            begin, name, part, body = number, header[1], header[2], []
        elif begin:
            body.append(line)
        elif line.strip():
            raise BadEditError(f"line {number}: this stands before the first section")
    if begin:
        yield begin, name, part, "\n".join(body).rstrip("\n")


def _must_be_python(body: str, number: int, what: str) -> None:
    try:
        ast.parse(TransformerManager().transform_cell(body))
    except SyntaxError as error:
        line = number + (error.lineno or 1)
        raise BadEditError(f"line {line}: {what} is no Python: {error.msg}") from None


def _lines(text: str, before: list[str]) -> list[str]:
    """A text as notebooks store it; as it was stored where it is the same."""
    same = "".join(before).rstrip("\n") == text
    return before if same else text.splitlines(keepends=True)


def _reasons(sections: list[tuple[int, str]]) -> Iterator[tuple[str, str]]:
    for begin, body in sections:
        for number, line in enumerate(body.splitlines(), start=begin + 1):
            name, separator, reason = line.partition(" || ")
            if line.strip() and not (separator and reason.strip()):
                raise BadEditError(f"line {number}: an equivalent mutant needs ` || ` and a reason")
            if line.strip():
                yield name, reason


def take_back(path: Path, edited: Path) -> bool:
    """Write an edited text into its notebook, whole or not at all; whether it changed."""
    stored = path.read_text(encoding="utf-8")
    notebook = json.loads(stored)
    if _dumped(notebook) != stored:
        raise BadEditError(f"{path.name} is not stored in the form of the house: save it anew")
    new = _dumped(taken_back(notebook, edited.read_text(encoding="utf-8")))
    if new == stored:
        return False
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    unfinished.write_text(new, encoding="utf-8")
    unfinished.replace(path)
    return True


def _dumped(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


# -- how well they are proven ------------------------------------------------------------


def surveyed(path: Path) -> Proof:
    """A run of a notebook with all its mutants, on the datalab of the environment."""
    with TemporaryDirectory() as folder:
        write_all(path.parent, Path(folder))
        source = json.loads(path.read_text(encoding="utf-8"))
        proof = Proof(source, Path(folder), dict(os.environ), survey=True)
        proof.run()
    return proof


def _row(exercise: Exercise) -> str:
    number = len(exercise.killed) + len(exercise.survivors)
    right = f"{exercise.right}/{exercise.tried}" if exercise.tried else "-"
    counts = f"{number:7} {exercise.share:6.0%} {len(exercise.equivalent):5} {right:>5}"
    return f"{exercise.title[:52]:52} {counts} {'proven' if exercise.proven else ''}"


def main() -> int:
    """Command line, as the docstring of the module says."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("notebook", nargs="?", help="its name, such as 13_parquet")
    parser.add_argument("edited", nargs="?", type=Path, help="a text to take back")
    parser.add_argument("--no-mutants", action="store_true", help="print without trying mutants")
    given = parser.parse_args()
    paths = [path for path in NOTEBOOKS if path.stem == Path(given.notebook or path).stem]
    try:
        if not paths:
            raise BadEditError(f"there is no notebook {given.notebook} in {ROOT / 'notebooks'}")
        if given.edited:
            changed = take_back(paths[0], given.edited)
            print(f"{paths[0].name}: {'changed' if changed else 'as it was'}")
            return 0
        if given.notebook and given.no_mutants:
            print(as_text(json.loads(paths[0].read_text(encoding="utf-8"))), end="")
            return 0
        _print_survey(paths, as_a_text=bool(given.notebook))
    except (BadEditError, DatalabError, OSError) as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def _print_survey(paths: list[Path], as_a_text: bool) -> None:
    os.environ["DATALAB_INTERNET"] = "local"
    os.environ.setdefault("COURSE_ROWS", "1000000")  # as in the tests
    with temporary([AVAILABLE]) as lab:
        environment = merge(lab.environment(), os.environ)
        os.environ.clear()
        os.environ.update(environment)
        if not as_a_text:
            print(f"{'exercise':52} mutants refused equal right")
        for path in paths:
            begun = time.monotonic()
            print(f"{path.name}: every mutant of every solution …", file=sys.stderr)
            try:
                proof = surveyed(path)
            except (AssertionError, CellExecutionError, DeadKernelError, RuntimeError) as error:
                # a mutant harmed what all share, and the cells after it do not run any more
                print(f"{path.name}: the survey ended early: {error}", file=sys.stderr)
                continue
            seconds = f"{time.monotonic() - begun:.0f} s"
            print("\n".join([*proof.problems, f"{path.name}: {seconds}"]), file=sys.stderr)
            if as_a_text:
                left = {
                    exercise.name: [
                        f"{mutant.name} || {what}" for mutant, what in exercise.survivors
                    ]
                    for exercise in proof.exercises
                }
                print(as_text(json.loads(path.read_text(encoding="utf-8")), left), end="")
            else:
                print("\n".join(map(_row, proof.exercises)), flush=True)


if __name__ == "__main__":
    sys.exit(main())
