"""Every exercise is proven, and the student's edition runs with nothing answered.

Each notebook is run once, as a student who answers nothing: the checks fail, all else
runs. At each check its wrong answers and its solution are tried on a copy of the
notebook's variables, so that what follows still sees a student who answered nothing.
"""

import json
import os
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from tests.service import left_behind, service

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "init-scripts"))
from student_edition import student_edition, write_all  # noqa: E402

NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
#: Runs an answer, then the check, on a copy of the variables; prints what the check said.
TRY = """
def _try(answer, check):
    variables = dict(get_ipython().user_ns)
    transform = get_ipython().transform_cell
    exec(transform(answer), variables)
    exec(transform(check), variables)

_try({answer!r}, {check!r})
"""


class Proof:
    """One run of a notebook in the student's edition, and the problems it found."""

    def __init__(self, source: dict, folder: Path, environment: dict[str, str]) -> None:
        self.source = source
        self.environment = environment
        self.problems: list[str] = []
        self.notebook = nbformat.reads(json.dumps(student_edition(source)), as_version=4)
        self.client = NotebookClient(
            self.notebook,
            timeout=300,
            kernel_name="python3",
            resources={"metadata": {"path": str(folder)}},
        )

    def run(self) -> list[str]:
        with self.client.setup_kernel(env=self.environment):
            for position, cell in enumerate(self.notebook.cells):
                if cell.cell_type != "code":
                    continue
                tags = cell.metadata.get("tags", [])
                failure = self._fails(cell.source)
                if "check" in tags:
                    self._prove(position, failure)
                elif failure and "raises-exception" not in tags:
                    self.problems.append(f"{cell.id} needs an answer: {failure}")
        return self.problems

    def _prove(self, position: int, on_stub: str | None) -> None:
        name = str(self.notebook.cells[position].id)
        self._must_be_refused(name, "the stub", on_stub)
        solution = self.source["cells"][position - 1]
        check = "".join(self.source["cells"][position]["source"])
        wrong_answers = solution["metadata"].get("course", {}).get("wrong_answers", [])
        if not wrong_answers:
            self.problems.append(f"{name}: no wrong answer to try")
        for number, wrong in enumerate(wrong_answers, start=1):
            self._set_up(position)
            failure = self._fails(TRY.format(answer="".join(wrong), check=check))
            self._must_be_refused(name, f"wrong answer {number}", failure)
        self._set_up(position)
        answer = "".join(solution["source"])
        failure = self._fails(TRY.format(answer=answer, check=check))
        if failure:
            self.problems.append(f"{name}: the solution fails: {failure}")
        self._set_up(position)

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
        cell = nbformat.v4.new_code_cell(source)
        self.client.nb.cells.append(cell)
        try:
            self.client.execute_cell(cell, len(self.client.nb.cells) - 1)
        except CellExecutionError as error:
            return f"{error.ename}: {error.evalue}"
        finally:
            self.client.nb.cells.pop()
        errors = [output for output in cell.outputs if output.output_type == "error"]
        return f"{errors[0].ename}: {errors[0].evalue}" if errors else None


def proof(source: dict, folder: Path, environment: dict[str, str] | None = None) -> list[str]:
    return Proof(source, folder, environment or dict(os.environ)).run()


@pytest.mark.parametrize(
    "path",
    # on the worker, and so the datalab, of its other run
    [
        pytest.param(path, marks=pytest.mark.xdist_group(path.name), id=path.stem)
        for path in NOTEBOOKS
    ],
)
def test_every_exercise_is_proven_and_a_student_may_skip_it(path: Path, tmp_path: Path) -> None:
    """In a service of the SSP Cloud that was started for this chapter, its folder included."""
    write_all(ROOT / "notebooks", tmp_path)
    source = json.loads(path.read_text(encoding="utf-8"))
    assert proof(source, tmp_path, service(path)) == []
    assert left_behind() == []


# -- the proof itself is proven -----------------------------------------------------

SOLUTION = "answer = 42"
CHECK = (
    "assert answer is not ..., 'replace the ... by a number'\n"
    "assert answer == 42, 'not the answer to everything'\n"
    "print('right')"
)


def exercise(
    solution: str = SOLUTION,
    stub: str = "answer = ...",
    wrong: tuple[str, ...] = ("answer = 41",),
    check: str = CHECK,
    after: str = "1 + 1",
) -> dict:
    task = nbformat.v4.new_markdown_cell("### Exercise 1.1: the answer", id="task")
    task.metadata.tags = ["exercise"]
    answer = nbformat.v4.new_code_cell(solution, id="solution")
    answer.metadata.update(
        tags=["solution"], course={"stub": [stub], "wrong_answers": [[text] for text in wrong]}
    )
    test = nbformat.v4.new_code_cell(check, id="exercise-1-check")
    test.metadata.tags = ["check"]
    cells = [task, answer, test, nbformat.v4.new_code_cell(after, id="after")]
    return json.loads(nbformat.writes(nbformat.v4.new_notebook(cells=cells)))


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
    "needed later": (exercise(after="answer + 1"), "after needs an answer"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_proof_finds(fault: str, tmp_path: Path) -> None:
    source, expected = FAULTS[fault]
    problems = proof(source, tmp_path)
    if expected is None:
        assert problems == []
    else:
        assert any(expected in problem for problem in problems), problems
        assert all("exercise-1" in problem or "after" in problem for problem in problems)


# -- where there is less than on the datalab ----------------------------------------


def run_without(variables: set[str], name: str, folder: Path, **changes: str) -> dict[str, str]:
    """Run a chapter without some variables; gives what its cells printed and gave, by id."""
    write_all(ROOT / "notebooks", folder)
    notebook = nbformat.read(ROOT / "notebooks" / name, as_version=4)
    kept = {key: value for key, value in os.environ.items() if key not in variables}
    resources = {"metadata": {"path": str(folder)}}
    client = NotebookClient(notebook, timeout=300, kernel_name="python3", resources=resources)
    client.execute(env=kept | changes)
    return {
        cell.id: "".join(
            output.get("text", "") + output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.mark.xdist_group("05_sharing.ipynb")
def test_chapter_05_goes_on_where_nobody_can_act_as_a_colleague(tmp_path: Path) -> None:
    absent = {"PROJECT_BUCKET", "SCRATCH_BUCKET", "MY_TOKEN_FILE", "COLLEAGUE_TOKEN_FILE"}
    own = os.environ["PROJECT_BUCKET"]  # whose policy and versions no other chapter touches
    said = run_without(absent, "05_sharing.ipynb", tmp_path, MY_BUCKET=own)
    assert "your own bucket" in said["project-mine"]
    for cell in ("colleague-refused", "colleague-reads", "project-writes", "policy-signed"):
        assert "Ask a colleague to run:" in said[cell]
    # there the reader plays the colleague's part
    assert said["versions-accident"].endswith(repr(b"name;occupation\n"))
    assert said["token-work-ends"] == said["token-old"] == ""  # nothing ended
    assert said["token-resumed"].startswith("(0, ")


@pytest.mark.xdist_group("01_files_and_databases.ipynb")
@pytest.mark.skipif(
    os.geteuid() == 0 and "CI" not in os.environ,
    reason="as root, the server that chapter 01 starts adds a user and opens folders to it",
)
def test_chapter_01_starts_a_server_of_its_own_where_there_is_none(tmp_path: Path) -> None:
    write_all(ROOT / "notebooks", tmp_path)
    path = ROOT / "notebooks" / "01_files_and_databases.ipynb"
    notebook = nbformat.read(path, as_version=4)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": str(tmp_path)}},
    )
    client.execute(env=environment)
    shown = {
        cell.id: cell.outputs[0].data["text/plain"]
        for cell in notebook.cells
        if cell.id in ("pg-variables", "rights-write", "rights-other", "rights-row")
    }
    assert shown["pg-variables"] == "[]"
    # its owner may make roles; elsewhere these cells say that no role can be made
    assert shown["rights-write"] == "'permission denied for table deaths'"
    assert shown["rights-other"] == "'permission denied for table villager'"
    assert ", 1), " in shown["rights-row"]  # the reader counts one region
