"""The exercises of a notebook as text, and back: exact, and never half."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.exercises import BadEditError, as_text, take_back, taken_back
from tests.test_exercises import NOTEBOOKS, ROOT, full


def stored(notebook: dict) -> str:
    return json.dumps(notebook, indent=1, ensure_ascii=False) + "\n"


@pytest.fixture
def notebook(tmp_path: Path) -> Path:
    path = tmp_path / "01_one.ipynb"
    path.write_text(stored(full(equivalent={"line 2: `x` becomes `y`": "It means the same."})))
    return path


def edit(notebook: Path, old: str, new: str) -> dict:
    """Take an edited text back; gives the metadata of the solution."""
    text = as_text(json.loads(notebook.read_text()))
    assert text.count(old) == 1, text
    edited = notebook.with_suffix(".txt")
    edited.write_text(text.replace(old, new))
    assert take_back(notebook, edited)
    return json.loads(notebook.read_text())["cells"][1]["metadata"]["course"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_text_that_nobody_edited_leaves_the_notebook_byte_for_byte(
    path: Path, tmp_path: Path
) -> None:
    copy, text = tmp_path / path.name, tmp_path / "exercises.txt"
    copy.write_bytes(path.read_bytes())
    before = json.loads(copy.read_text())
    text.write_text(as_text(before))
    assert not take_back(copy, text)
    assert copy.read_bytes() == path.read_bytes()
    assert stored(taken_back(before, text.read_text())) == path.read_text()


def test_every_part_can_be_edited(notebook: Path) -> None:
    course = edit(notebook, "return max(words)\n", "return min(words)\n")
    assert course["wrong_answers"] == [["def longest(words):\n", "    return min(words)"]]
    assert edit(notebook, "    ...\n", "    ...  # one word\n")["stub"][-1] == "    ...  # one word"
    course = edit(notebook, "the same.", "the same, always.")
    assert course["equivalent_mutants"] == {"line 2: `x` becomes `y`": "It means the same, always."}
    edit(notebook, "### Exercise 1.1: the answer", "### Exercise 1.1: the word")
    edit(notebook, 'print("Right.")', 'print("Right!")')
    cells = json.loads(notebook.read_text())["cells"]
    assert cells[0]["source"] == ["### Exercise 1.1: the word"]
    assert cells[2]["source"][-1].endswith('print("Right!")')


def test_answers_are_added_and_removed(notebook: Path) -> None:
    more = "==== solution · wrong answer\nlongest = len\n\n==== exercise-1-check · check\n"
    course = edit(notebook, "==== exercise-1-check · check\n", more)
    assert course["wrong_answers"][-1] == ["longest = len"]
    course = edit(notebook, "==== solution · wrong answer\nlongest = len\n", "")
    assert len(course["wrong_answers"]) == 1


def test_surviving_mutants_are_shown_and_not_taken_back(notebook: Path) -> None:
    before = json.loads(notebook.read_text())
    text = as_text(before, {"exercise-1-check": ["line 2: `max` becomes `min` || passes"]})
    assert "==== exercise-1-check · surviving mutants\nline 2: `max`" in text
    assert taken_back(before, text) == before


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("return max(words, key=len)", "return max(words, key=len", "is no Python"),
        (
            "==== exercise-1-check · check",
            "==== exercise-1-chck · check",
            "has no `exercise-1-chck`",
        ),
        ("==== exercise-1-check · check", "==== exercise-1-check", "begins with `==== ID · PART`"),
        (
            "==== solution · stub\n",
            "==== solution · wrong answer\n",
            "the stub of solution is gone",
        ),
        (
            "return max(words)",
            "return max(words)\n\n==== solution · stub\npass",
            "its stub already",
        ),
        ("==== task · task", "Hello\n==== task · task", "before the first section"),
        (" || It means the same.", "", "needs ` || ` and a reason"),
        (
            "def longest(words):\n    return max(words)\n",
            "",
            "this wrong answer of solution is empty",
        ),
    ],
)
def test_a_bad_edit_gets_a_sentence_with_its_line_and_changes_nothing(
    notebook: Path, old: str, new: str, expected: str
) -> None:
    before = notebook.read_bytes()
    text = as_text(json.loads(before))
    edited = notebook.with_suffix(".txt")
    edited.write_text(text.replace(old, new, 1))
    with pytest.raises(BadEditError, match=re.escape(expected)) as said:
        take_back(notebook, edited)
    assert re.match(r"line \d+: ", str(said.value))
    assert notebook.read_bytes() == before


def test_the_line_of_a_bad_edit_is_that_of_the_text(notebook: Path) -> None:
    text = as_text(json.loads(notebook.read_text())).replace("return max(words)\n", "return max(\n")
    with pytest.raises(BadEditError) as said:
        taken_back(json.loads(notebook.read_text()), text)
    number = int(str(said.value).split()[1].rstrip(":"))
    assert text.splitlines()[number - 1] == "    return max("


def test_the_command_line_prints_and_refuses_in_a_sentence() -> None:
    words = [sys.executable, "-m", "tests.exercises", "--no-mutants"]
    printed = subprocess.run(
        [*words, "13_parquet"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert printed.stdout.startswith("==== exercise-1 · task\n### Exercise 13.1")
    refused = subprocess.run([*words, "10_none"], cwd=ROOT, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "there is no notebook 10_none" in refused.stderr and "Traceback" not in refused.stderr
