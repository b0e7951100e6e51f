"""Units of the second edition: what fits one sitting, as far as it can be counted."""

import ast
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager

ROOT = Path(__file__).resolve().parent.parent
UNITS = sorted(ROOT.glob("notebooks/[1-9]*.ipynb"))
#: The matrix of tools is a page to look things up in, not one to work through.
REFERENCE = "91_s3_tools"
#: The first look at S3 is meant to be short.
SHORT = "11_first_steps"
#: A project of one's own: its minutes are given; reading and exercises leave time for the work.
OPEN_ENDED = "61_data_product"
MINUTES_OPEN_ENDED = 90

WORDS_A_MINUTE = 150
SECONDS_A_LINE = 6
MINUTES_AN_EXERCISE = 6

pytestmark = pytest.mark.parametrize("path", UNITS, ids=lambda path: path.stem)


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def tags(cell: nbformat.NotebookNode) -> set[str]:
    return set(cell.metadata.get("tags", []))


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def words(notebook: nbformat.NotebookNode) -> int:
    """Words of prose; of a folded hint half, since half of the readers open it."""
    number = 0.0
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"```.*?```", "", cell.source, flags=re.DOTALL)
            text = re.sub(r"\]\([^)]*\)|</?\w+>|[|#*>-]", " ", text)
            hints = "".join(re.findall(r"<details>.*?</details>", cell.source, flags=re.DOTALL))
            number += len(text.split()) - len(hints.split()) / 2
    return round(number)


def lines_shown(notebook: nbformat.NotebookNode) -> int:
    """Lines of code that the reader reads: not those of folded cells, nor the answers."""
    return sum(
        bool(line.strip())
        for cell in code_cells(notebook)
        if not tags(cell) & {"solution", "check", "hide-input"}
        for line in cell.source.splitlines()
    )


def minutes(notebook: nbformat.NotebookNode) -> float:
    """How long a reader needs for a unit, its exercises included."""
    exercises = sum("exercise" in tags(cell) for cell in notebook.cells)
    return (
        words(notebook) / WORDS_A_MINUTE
        + lines_shown(notebook) * SECONDS_A_LINE / 60
        + exercises * MINUTES_AN_EXERCISE
    )


def test_the_minutes_that_it_states_are_those_that_it_takes(path: Path) -> None:
    notebook = read(path)
    stated = re.search(r"[Aa]bout (\d+) minutes", notebook.cells[0].source)
    assert stated, "the first cell states no minutes"
    needed = minutes(notebook)
    if path.stem == OPEN_ENDED:
        assert int(stated[1]) == MINUTES_OPEN_ENDED and 25 <= needed <= MINUTES_OPEN_ENDED * 0.6
        return
    assert abs(int(stated[1]) - needed) <= 0.15 * needed, f"it takes {needed:.0f} minutes"


def test_it_is_of_a_size_for_one_sitting(path: Path) -> None:
    if path.stem == REFERENCE:
        pytest.skip("to look things up in")
    notebook = read(path)
    if path.stem == OPEN_ENDED:
        assert words(notebook) <= 2700 and len(code_cells(notebook)) <= 45
        return
    assert (600 if path.stem == SHORT else 1200) <= words(notebook) <= 2200
    assert (12 if path.stem == SHORT else 20) <= len(code_cells(notebook)) <= 45
    assert (15 if path.stem == SHORT else 25) <= minutes(notebook) <= 45


def test_the_first_exercise_comes_in_the_first_half(path: Path) -> None:
    if path.stem == REFERENCE:
        pytest.skip("to look things up in")
    cells = read(path).cells
    first = next(position for position, cell in enumerate(cells) if "exercise" in tags(cell))
    assert first <= len(cells) / 2


def test_it_opens_with_what_is_needed_and_what_is_live_where(path: Path) -> None:
    first = read(path).cells[0].source
    needed = first.split("**Before you start**")[1]
    assert re.search(r"^\| .* \| (needed|helpful) \|$", needed, re.MULTILINE)
    assert re.search(r"SSP Cloud.*local datalab", needed, re.DOTALL)


def test_there_is_something_to_look_at(path: Path) -> None:
    notebook = read(path)
    pictures = [c for c in notebook.cells if c.cell_type == "markdown" and "](images/" in c.source]
    plots = [c for c in code_cells(notebook) if re.search(r"\.plot\b|\bplt\.|draw", c.source)]
    assert pictures or plots


def test_imports_stand_in_one_cell_and_none_alone(path: Path) -> None:
    """Apart from those of the course itself, which are shown where they are first used."""
    for cell in code_cells(read(path)):
        if cell.id == "imports" or tags(cell) & {"solution", "check", "setup"}:
            continue
        try:
            tree = ast.parse(TransformerManager().transform_cell(cell.source))
        except SyntaxError:
            continue  # of another language
        imports = [one for one in tree.body if isinstance(one, ast.Import | ast.ImportFrom)]
        others = [
            one
            for one in imports
            if not (isinstance(one, ast.ImportFrom) and (one.module or "").startswith("course"))
        ]
        assert not others, f"{cell.id}: move these into the cell imports"
        assert len(imports) < len(tree.body), f"{cell.id} holds nothing but an import"


def test_no_line_of_code_is_wider_than_the_page(path: Path) -> None:
    for cell in code_cells(read(path)):
        if not tags(cell) & {"check"}:
            wide = [line for line in cell.source.splitlines() if len(line) > 79]
            assert not wide, f"{cell.id}: {wide[0]}"
