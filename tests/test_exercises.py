"""Every exercise is proven, and the student's edition runs with nothing answered.

Each notebook is run once, as a student who answers nothing: the checks fail, all else
runs. At each check its wrong answers and its solution are tried on a copy of the
notebook's variables, so that what follows still sees a student who answered nothing.

An exercise with right answers in other styles is proven in full: its check accepts all of
these, and refuses small mutations of the solution (tests/mutation.py).
"""

import ast
import json
import os
import re
import sys
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pytest
from nbclient.exceptions import CellExecutionError, CellTimeoutError

from book import execute
from tests.mutation import Mutant, mutants, spoilers
from tests.service import nothing_left_behind, printed, service

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "init-scripts"))
from student_edition import student_edition, write_all  # noqa: E402

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
#: Runs an answer, then the check, on a copy of the variables; adds none to the notebook's.
TRY = f"__import__('runpy').run_path({str(ROOT / 'tests' / 'trying.py')!r})['attempt']"
#: What a check says where the platform lacks what it would look at; it then accepts all.
NOT_CHECKED = "Not checked: "
#: Such checks in a service, and where they are proven instead.
NOT_IN_A_SERVICE = {"34_protecting": ("exercise-2-check",)}  # tests/test_sharing.py
#: Of the mutants that are not equivalent to the solution.
TO_BE_KILLED = 0.95
RIGHT_ANSWERS = 3


@dataclass
class Exercise:
    """What became of the answers to one exercise."""

    name: str
    title: str
    proven: bool  #: whether the proof in full is asked for
    right: int = 0  #: right answers that pass, the solution not counted
    tried: int = 0  #: right answers
    killed: list[Mutant] = field(default_factory=list)
    equivalent: list[Mutant] = field(default_factory=list)
    #: mutants that are not refused as they should be, and what happened instead
    survivors: list[tuple[Mutant, str]] = field(default_factory=list)

    @property
    def share(self) -> float:
        """Killed mutants among those that should be."""
        number = len(self.killed) + len(self.survivors)
        return len(self.killed) / number if number else 1.0


class Proof:
    """One run of a notebook in the student's edition, and the problems it found.

    With `survey`, mutants of exercises that are not proven in full are tried as well. Of
    the checks in `elsewhere` it is proven only that they say that they cannot check here.
    """

    def __init__(
        self,
        source: dict,
        folder: Path,
        environment: dict[str, str],
        survey: bool = False,
        elsewhere: tuple[str, ...] = (),
    ) -> None:
        self.source = source
        self.environment = environment
        self.survey = survey
        self.elsewhere = elsewhere
        self.problems: list[str] = []
        self.exercises: list[Exercise] = []
        self.notebook = nbformat.reads(json.dumps(student_edition(source)), as_version=4)
        self.client = execute.client(self.notebook, folder, 300)
        self.client.interrupt_on_timeout = True  # a mutant that never ends: the next one is tried

    def run(self) -> list[str]:
        with self.client.setup_kernel(env=self.environment):
            for position, cell in enumerate(self.notebook.cells):
                if cell.cell_type != "code":
                    continue
                tags = cell.metadata.get("tags", [])
                if "skip-execution" in tags:  # it needs the Internet
                    continue
                ran, failure = self._run(cell.source)
                if "check" in tags and cell.id in self.elsewhere:
                    said = "".join(output.get("text", "") for output in ran.outputs)
                    if failure or not said.startswith(NOT_CHECKED):
                        self.problems.append(f"{cell.id} does not say `{NOT_CHECKED}…`")
                elif "check" in tags:
                    self._prove(position, failure)
                elif failure and "raises-exception" not in tags:
                    self.problems.append(f"{cell.id} needs an answer: {failure}")
                elif "raises-exception" in tags and not failure:
                    self.problems.append(f"{cell.id} is to show an error, and ran through")
        return self.problems

    def _prove(self, position: int, on_stub: str | None) -> None:
        name = str(self.notebook.cells[position].id)
        self._must_be_refused(name, "the stub", on_stub)
        solution = self.source["cells"][position - 1]
        course = solution["metadata"].get("course", {})
        task = "".join(self.source["cells"][position - 2]["source"])
        exercise = Exercise(name, task.splitlines()[0].lstrip("# "), "right_answers" in course)
        self.exercises.append(exercise)
        if not course.get("wrong_answers"):
            self.problems.append(f"{name}: no wrong answer to try")
        failure, said = self._try(position, "".join(solution["source"]))
        if failure:
            self.problems.append(f"{name}: the solution fails: {failure}")
        expected = tuple(text for text in said.get("expected", []) if text not in task)
        for number, wrong in enumerate(course.get("wrong_answers", []), start=1):
            forbidden = expected if exercise.proven else ()
            failure, _ = self._try(position, "".join(wrong), expected=forbidden)
            if failure and failure.startswith("Told: "):
                self.problems.append(f"{name}: told on wrong answer {number}: {failure}")
            else:
                self._must_be_refused(name, f"wrong answer {number}", failure)
        for number, right in enumerate(course.get("right_answers", []), start=1):
            exercise.tried += 1
            failure, _ = self._try(position, "".join(right))
            if failure:
                self.problems.append(f"{name}: too strict on right answer {number}: {failure}")
            else:
                exercise.right += 1
        if exercise.proven and exercise.tried < RIGHT_ANSWERS:
            self.problems.append(f"{name}: {exercise.tried} right answers, not {RIGHT_ANSWERS}")
        if (exercise.proven or self.survey) and said:
            self._mutate(position, exercise, said, expected)
        self._set_up(position)

    def _mutate(
        self, position: int, exercise: Exercise, said: dict, expected: tuple[str, ...]
    ) -> None:
        solution = self.source["cells"][position - 1]
        text = "".join(solution["source"])
        reasons = dict(solution["metadata"]["course"].get("equivalent_mutants", {}))
        values = said["values"]
        made = tuple(f"`{name}`: " for name in values)  # the names of what spoils them
        for mutant in mutants(text) + spoilers(text, said["made"], said["used"]):
            if mutant.name in reasons:
                del reasons[mutant.name]
                exercise.equivalent.append(mutant)
                continue
            time = 10 + 5 * said["seconds"]
            failure, became = self._try(position, mutant.source, time, expected)
            if failure is None and mutant.name.startswith(made) and became["values"] == values:
                pass  # nothing was there to be spoilt: no value is missing, say
            elif failure is None:
                exercise.survivors.append((mutant, "passes"))
            elif failure.startswith("AnswerFailed: "):
                pass  # the student's own cell ends in an error: nothing is left to a check
            elif failure.startswith("Told: "):
                exercise.survivors.append((mutant, f"is told the answer: {failure}"))
            elif not failure.startswith("AssertionError: "):
                exercise.survivors.append((mutant, f"not refused by an assert: {failure}"))
            else:
                exercise.killed.append(mutant)
        if not exercise.proven:
            return
        if exercise.share < TO_BE_KILLED:
            left = "; ".join(f"{mutant.name} {what}" for mutant, what in exercise.survivors)
            share = f"{exercise.share:.0%} of the mutants are refused"
            self.problems.append(f"{exercise.name}: too kind, {share}: {left}")
        for gone in reasons:
            self.problems.append(f"{exercise.name}: no mutant is called {gone}")

    def _try(
        self, position: int, answer: str, seconds: float = 0, expected: tuple[str, ...] = ()
    ) -> tuple[str | None, dict]:
        """An answer and the check at a position: why it is refused, and what it was."""
        self._set_up(position)
        check = "".join(self.source["cells"][position]["source"])
        cell, failure = self._run(f"{TRY}({answer!r}, {check!r}, {seconds}, {expected!r})")
        given = [one for one in cell.outputs if one.output_type == "execute_result"]
        if failure or not given:
            return failure, {}
        said = json.loads(ast.literal_eval(given[-1].data["text/plain"]))
        return (said["failure"], {}) if "failure" in said else (None, said)

    def _set_up(self, position: int) -> None:
        """Run again the cell that prepares this exercise, if it has one (tag `setup`)."""
        before = self.notebook.cells[position - 3]
        if "setup" in before.metadata.get("tags", []):
            assert self._fails(before.source) is None

    def _must_be_refused(self, name: str, what: str, failure: str | None) -> None:
        if failure is None:
            self.problems.append(f"{name}: passes on {what}")
        elif not failure.startswith("AssertionError: "):
            self.problems.append(f"{name}: {what} does not fail by an assert: {failure}")
        elif len(failure) < len("AssertionError: ") + 20:
            self.problems.append(f"{name}: the message on {what} does not help: {failure}")

    def _fails(self, source: str) -> str | None:
        """Run a cell; the error as `Name: message`, or None."""
        return self._run(source)[1]

    def _run(self, source: str) -> tuple[nbformat.NotebookNode, str | None]:
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        try:
            self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        except CellTimeoutError:
            return cell, "AnswerFailed: the cell did not end"
        except CellExecutionError as error:
            return cell, f"{error.ename}: {error.evalue}"
        finally:
            self.client.nb.cells.pop()
        errors = [output for output in cell.outputs if output.output_type == "error"]
        return cell, f"{errors[0].ename}: {errors[0].evalue}" if errors else None


def proof(
    source: dict,
    folder: Path,
    environment: dict[str, str] | None = None,
    elsewhere: tuple[str, ...] = (),
) -> list[str]:
    return Proof(source, folder, environment or dict(os.environ), elsewhere=elsewhere).run()


def run(notebook: dict, environment: dict[str, str], folder: Path) -> dict[str, str]:
    """Run a notebook from its source; what its code cells printed and gave, by id."""
    write_all(ROOT / "notebooks", folder)
    read = nbformat.reads(json.dumps(notebook), as_version=4)
    execute.client(read, folder, 300).execute(env=environment)
    return printed(read)


@pytest.mark.parametrize(
    "path",
    # on the worker, and so the datalab, of its other run
    [
        pytest.param(path, marks=pytest.mark.xdist_group(path.name), id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_every_exercise_is_proven_and_a_student_may_skip_it(path: Path, tmp_path: Path) -> None:
    """In a service of the SSP Cloud that was started for this unit, its folder included."""
    write_all(ROOT / "notebooks", tmp_path)
    source = json.loads(path.read_text(encoding="utf-8"))
    elsewhere = NOT_IN_A_SERVICE.get(path.stem, ())
    with nothing_left_behind(tmp_path):
        assert proof(source, tmp_path, service(path), elsewhere) == []


# -- the proof itself is proven -----------------------------------------------------

SOLUTION = "answer = 42"
CHECK = (
    "assert answer is not ..., 'replace the ... by a number'\n"
    "assert answer == 42, 'not the answer to everything'\n"
    "print('right')"
)


#: An exercise that is proven in full, with a check in the form of the house.
FUNCTION = "def longest(words):\n    return max(words, key=len)"
FULL_CHECK = """
from course.checks import check, same

@check
def exercise_1_1(attempt):
    for words in (["a", "menhir", "druid"], ["wild", "boars"], ["one", "x"]):
        found = attempt.call("longest", words)
        expected = sorted(words, key=len)[-1]
        assert same(found, expected), f"longest({words[:1]} and others) gave {found!r}: count again"
    print("Right.")
"""
RIGHT = (
    "def longest(words):\n    return sorted(words, key=len)[-1]",
    "def longest(words):\n    return {len(word): word for word in words}[max(map(len, words))]",
    "import numpy as np\ndef longest(words):\n    return np.str_(max(words, key=len))",
)


def exercise(
    solution: str = SOLUTION,
    stub: str = "answer = ...",
    wrong: tuple[str, ...] = ("answer = 41",),
    check: str = CHECK,
    after: str = "1 + 1",
    right: tuple[str, ...] = (),
    equivalent: dict[str, str] | None = None,
) -> dict:
    """A notebook with one exercise."""
    task = nbformat.v4.new_markdown_cell("### Exercise 1.1: the answer", id="task")
    task.metadata.tags = ["exercise"]
    answer = nbformat.v4.new_code_cell(solution, id="solution")
    course = {"stub": [stub], "wrong_answers": [[text] for text in wrong]}
    if right:
        course["right_answers"] = [[text] for text in right]
        course["equivalent_mutants"] = equivalent or {}
    answer.metadata.update(tags=["solution"], course=course)
    test = nbformat.v4.new_code_cell(check, id="exercise-1-check")
    test.metadata.tags = ["check"]
    cells = [task, answer, test, nbformat.v4.new_code_cell(after, id="after")]
    return json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


def full(check: str = FULL_CHECK, right: tuple[str, ...] = RIGHT, **equivalent: str) -> dict:
    stub = "def longest(words):\n    ..."
    wrong = ("def longest(words):\n    return max(words)",)
    return exercise(FUNCTION, stub, wrong, check, right=right, **equivalent)


FAULTS = {
    "a good exercise": (exercise(), None),
    "no wrong answer": (exercise(wrong=()), "no wrong answer"),
    "passes on the stub": (exercise(check="print('right')"), "passes on the stub"),
    "passes on a wrong answer": (
        exercise(check="assert answer is not ..., 'replace the ... by a number'\nprint(1)"),
        "passes on wrong answer 1",
    ),
    "stub fails otherwise": (exercise(stub="anser = ..."), "not fail by an assert: NameError"),
    "no message": (exercise(check="assert answer == 42"), "the message on the stub"),
    "the solution fails": (exercise(solution="answer = 43"), "the solution fails"),
    "needed later": (exercise(after="answer + 1"), "after-of.* needs an answer"),
    "a good exercise, in full": (full(), None),
    "too kind: knows one case only": (
        full(re.sub("for words in .*", 'for words in [["a", "menhir", "druid"]]:', FULL_CHECK)),
        "too kind, .*`longest`: as at its first call passes",
    ),
    "too kind: looks at the type only": (
        full(FULL_CHECK.replace("same(found, expected)", "isinstance(found, str)")),
        "too kind, .*`max` becomes `min` passes",
    ),
    "too strict: wants one type": (
        full(FULL_CHECK.replace("same(found, expected)", "type(found) is str")),
        "too strict on right answer 3",
    ),
    "tells the answer": (
        exercise(
            check=CHECK.replace("not the answer to everything", "that is wrong, it is 42"),
            right=("answer = 6 * 7", "answer = int('42')", "answer = 40 + 2"),
        ),
        "told on wrong answer 1",
    ),
    "too few right answers": (full(right=RIGHT[:1]), "1 right answers, not 3"),
    "a mutant that is none": (
        full(equivalent={"line 9: `x` becomes `y`": "it means the same"}),
        "no mutant is called line 9",
    ),
}


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """The problems of each fault, of one run of a notebook that has them all."""
    folder = tmp_path_factory.mktemp("faults")
    write_all(ROOT / "notebooks", folder)
    cells = []
    for number, (source, _) in enumerate(FAULTS.values()):
        forget = nbformat.v4.new_code_cell("globals().pop('answer', None)", id=f"forget-{number}")
        for cell in [forget, *source["cells"]]:
            cells.append(json.loads(json.dumps(cell)) | {"id": f"{cell['id']}-of-{number}"})
    problems = proof(exercise() | {"cells": cells}, folder)
    assert all(re.search(r"-of-\d+\b", problem) for problem in problems), problems
    return {
        fault: [problem for problem in problems if re.search(rf"-of-{number}\b", problem)]
        for number, fault in enumerate(FAULTS)
    }


@pytest.mark.xdist_group("faults of exercises")
@pytest.mark.parametrize("fault", FAULTS)
def test_the_proof_finds(fault: str, found: dict[str, list[str]]) -> None:
    _, expected = FAULTS[fault]
    if expected is None:
        assert found[fault] == []
    else:
        assert any(re.search(expected, problem) for problem in found[fault]), found[fault]
        assert all("exercise-1" in problem or "after" in problem for problem in found[fault])


def test_a_check_that_checks_nothing_has_to_say_so(tmp_path: Path) -> None:
    problems = proof(exercise(), tmp_path, elsewhere=("exercise-1-check",))
    assert problems == ["exercise-1-check does not say `Not checked: …`"]
    honest = exercise(check="print('Not checked: there is nothing to look at.')")
    assert proof(honest, tmp_path, elsewhere=("exercise-1-check",)) == []


def test_a_cell_that_needs_the_internet_is_left_out(tmp_path: Path) -> None:
    source = exercise(after="1 / 0")
    assert proof(source, tmp_path) == ["after needs an answer: ZeroDivisionError: division by zero"]
    source["cells"][-1]["metadata"]["tags"] = ["skip-execution"]
    assert proof(source, tmp_path) == []


# -- where there is less than on the datalab ----------------------------------------


@pytest.mark.xdist_group("21_database_server.ipynb")
@pytest.mark.skipif(
    os.geteuid() == 0 and "CI" not in os.environ,
    reason="as root, the server that unit 21 starts adds a user and opens folders to it",
)
def test_unit_21_starts_a_server_of_its_own_where_there_is_none(tmp_path: Path) -> None:
    path = ROOT / "notebooks" / "21_database_server.ipynb"
    without = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    said = run(json.loads(path.read_text(encoding="utf-8")), without, tmp_path)
    assert said["variables"] == "[]"
    # its role may make roles; where it may not, the server's refusal stands here
    assert said["rights"] == ""
    total, *refused = said["rights-try"].splitlines()
    assert re.fullmatch(r"\(\d+,\)", total)
    assert refused == ["permission denied for table practice"] * 2
    assert said["clean"].splitlines()[-1] == "The server is stopped, and its data are deleted."
    assert not (tmp_path / "21-database-server-files").exists()
