"""How the notebooks are stored and built, for each of them: the house style a machine can check.

That they run is tested by the notebooks themselves, collected by nbmake (see conftest.py).
"""

import ast
import copy
import re
from pathlib import Path

import nbformat
import pytest
from IPython.core.inputtransformer2 import TransformerManager
from nbstripout import strip_output

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
NUMBERED = re.compile(r"^## \d+\. ", re.MULTILINE)
#: CommonMark with tables; of HTML these only, which every viewer of notebooks shows.
ALLOWED_HTML = {"details", "summary", "br", "sub", "sup"}


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def path(request: pytest.FixtureRequest) -> Path:
    return request.param


@pytest.fixture
def notebook(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def code_cells(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def prose(notebook: nbformat.NotebookNode) -> str:
    """The Markdown of a notebook without its code spans and blocks."""
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    return re.sub(r"```.*?```|`[^`\n]*`", "", text, flags=re.DOTALL)


def tagged(notebook: nbformat.NotebookNode, tag: str) -> list[int]:
    return [i for i, cell in enumerate(notebook.cells) if tag in cell.metadata.get("tags", [])]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


def test_stored_without_outputs_counts_or_kernel_noise(
    path: Path, notebook: nbformat.NotebookNode
) -> None:
    stored = copy.deepcopy(notebook)
    stripped = strip_output(notebook, keep_output=False, keep_count=False, keep_id=True)
    assert stored == stripped, f"run: nbstripout --keep-id {path.name}"
    assert stored.metadata == {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
    }
    noise = {"execution", "collapsed", "scrolled", "ExecuteTime", "vscode"}
    for cell in stored.cells:
        assert not noise & set(cell.metadata), cell.id


def test_is_valid_and_its_cells_have_ids_that_say_something(
    notebook: nbformat.NotebookNode,
) -> None:
    nbformat.validate(notebook)
    identifiers = [cell.id for cell in notebook.cells]
    assert len(set(identifiers)) == len(identifiers)
    random = [name for name in identifiers if re.fullmatch(r"[0-9a-f]{8}(-[0-9a-f-]+)?", name)]
    assert not random, "give these cells an id that names them"


def test_begins_and_ends_as_the_house_style_says(notebook: nbformat.NotebookNode) -> None:
    first = notebook.cells[0].source
    assert first.startswith("# ")
    title, opening, *_ = first.split("\n\n")
    assert "\n" not in title and len(opening) > 80
    for part in ("**You will learn**", "**Before you start**", "minutes"):
        assert part in first
    bullets = first.split("**You will learn**")[1].split("**Before you start**")[0]
    assert 3 <= len(re.findall(r"^- ", bullets, re.MULTILINE)) <= 5
    text = "\n\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    headings = [line for line in text.splitlines() if line.startswith("## ")]
    numbers = [line.split(". ")[0] for line in headings if NUMBERED.match(line)]
    assert numbers == [f"## {number}" for number in range(1, len(numbers) + 1)]
    assert headings[len(numbers) :] == ["## Key points", "## Go further", "## Next"]


def test_prose_renders_in_every_viewer(notebook: nbformat.NotebookNode) -> None:
    text = prose(notebook)
    assert set(re.findall(r"</?([a-zA-Z]+)[^>]*>", text)) <= ALLOWED_HTML
    assert not re.search(r"^\s*(:::|\{[a-z-]+\})", text, re.MULTILINE), "MyST directive"
    assert not re.search(r"\{[a-z:-]+\}`", "\n".join(c.source for c in notebook.cells)), "MyST role"


def test_pictures_are_of_this_project_and_have_alt_text(
    notebook: nbformat.NotebookNode,
) -> None:
    for alt, target in re.findall(r"!\[(.*?)\]\((.*?)\)", prose(notebook)):
        assert len(alt) > 40, target
        assert target.startswith("images/") and (ROOT / "notebooks" / target).is_file(), target


def test_prose_names_no_host_path_or_measured_time(notebook: nbformat.NotebookNode) -> None:
    text = re.sub(r"\]\(https?://[^)]*\)", "]", prose(notebook))
    assert not re.findall(r"\b[\w.-]+\.(?:sspcloud\.fr|amazonaws\.com)\b", text)
    assert not re.findall(r"(?:/home|/root|/tmp|/Users)/", text)
    sources = "\n".join(cell.source for cell in code_cells(notebook))
    assert not re.findall(r"sspcloud|amazonaws|127\.0\.0\.1|localhost", sources)


def test_imports_nothing_from_the_project(notebook: nbformat.NotebookNode) -> None:
    for cell in code_cells(notebook):
        assert not re.search(r"^\s*(import|from) (datalab|tests|book)\b", cell.source, re.MULTILINE)


def test_shell_cells_fail_when_their_command_fails(notebook: nbformat.NotebookNode) -> None:
    """`!command` goes on after a failure, and nobody notices; `%%bash` does not."""
    for cell in code_cells(notebook):
        assert not re.search(r"^\s*!", cell.source, re.MULTILINE), cell.id


def test_exercises_have_the_three_cell_form(path: Path, notebook: nbformat.NotebookNode) -> None:
    exercises = tagged(notebook, "exercise")
    assert 2 <= len(exercises) <= 3
    assert tagged(notebook, "solution") == [position + 1 for position in exercises]
    assert tagged(notebook, "check") == [position + 2 for position in exercises]
    unit = int(path.stem[:2])
    for number, position in enumerate(exercises, start=1):
        task, solution, check = notebook.cells[position : position + 3]
        assert task.source.startswith(f"### Exercise {unit}.{number}: ")
        assert 1 <= task.source.count("<details><summary>Hint") <= 2
        assert solution.metadata.course.stub and solution.metadata.course.wrong_answers
        for cell, name in ((solution, "solution"), (check, "check")):
            assert cell.metadata.mystnb.code_prompt_show == f"Show the {name}"
        assert check.source.splitlines()[-1].strip().startswith("print(")


def test_checks_are_folded_in_jupyterlab_as_in_the_book(notebook: nbformat.NotebookNode) -> None:
    for cell in code_cells(notebook):
        folded = cell.metadata.get("jupyter", {}).get("source_hidden", False)
        assert folded or "check" not in cell.metadata.get("tags", []), cell.id
        assert not folded or "hide-input" in cell.metadata.tags, cell.id


def test_checks_and_setups_keep_their_names_to_themselves(
    path: Path, notebook: nbformat.NotebookNode
) -> None:
    """So that no cell breaks when one of them runs late, twice, or after a wrong answer."""
    unit = int(path.stem[:2])
    for number, position in enumerate(tagged(notebook, "check"), start=1):
        importing, check = ast.parse(notebook.cells[position].source).body
        assert isinstance(importing, ast.ImportFrom) and importing.module == "course.checks"
        assert isinstance(check, ast.FunctionDef) and check.name == f"exercise_{unit}_{number}"
        assert [ast.unparse(one) for one in check.decorator_list] == ["check"]
    for position in tagged(notebook, "setup"):
        _, task, _, check = notebook.cells[position : position + 4]
        stored: set[str] = set()
        inside: set[str] = set()  # of a comprehension, whose names end with it
        for node in ast.walk(ast.parse(notebook.cells[position].source)):
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
                stored.add(node.id)
            if isinstance(node, ast.comprehension):
                inside |= {name.id for name in ast.walk(node.target) if isinstance(name, ast.Name)}
        known = {name for name in stored if re.search(rf"\b{name}\b", task.source + check.source)}
        others = {name for name in stored - inside - known if not name.startswith("_")}
        assert not others, f"{notebook.cells[position].id}: let these begin with _: {others}"


def test_the_last_cell_cleans_up(notebook: nbformat.NotebookNode) -> None:
    assert notebook.cells[-1].id == "clean"


#: What a relation, the value of `db.sql(...)`, has no longer in DuckDB 2.0. Of a connection,
#: `db.execute(...)`, all three are there in 1.5 and in 2.0.
GONE_IN_DUCKDB_2 = {"fetchone", "fetchmany", "execute"}
MAKES_A_RELATION = {"sql", "query", "table", "view", "from_df", "from_arrow", "read_csv"}


def duckdb_1_only(source: str) -> list[str]:
    """The calls of a cell that DuckDB 2.0 does not know."""
    try:
        tree = ast.parse(TransformerManager().transform_cell(source))
    except SyntaxError:
        return []  # of another language
    relations = {
        target.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Assign) and _makes_a_relation(node.value)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    return [
        ast.unparse(node)
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and node.attr in GONE_IN_DUCKDB_2
        and (
            _makes_a_relation(node.value)
            or (isinstance(node.value, ast.Name) and node.value.id in relations)
        )
    ]


def _makes_a_relation(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in MAKES_A_RELATION
        and ast.unparse(node.func.value) in {"db", "duck", "duckdb", "con", "connection"}
    )


def test_asks_nothing_of_duckdb_that_its_version_2_has_no_more(
    notebook: nbformat.NotebookNode,
) -> None:
    found = []
    for cell in code_cells(notebook):
        course = cell.metadata.get("course", {})
        answers = [*course.get("wrong_answers", []), *course.get("right_answers", [])]
        for source in [cell.source, *map("".join, answers)]:
            found += [f"{cell.id}: {call}" for call in duckdb_1_only(source)]
    assert found == [], "write db.execute(query).fetchone(), or .fetchall()[0]"


def test_what_duckdb_2_has_no_more_is_found() -> None:
    assert duckdb_1_only("duckdb.sql('SELECT 1').fetchone()[0]")
    assert duckdb_1_only("answer = db.sql(query)\nanswer.fetchmany(2)")
    assert duckdb_1_only("for number in range(3):\n    print(duck.sql(query).execute())")
    assert not duckdb_1_only("db.execute(query).fetchone()")
    assert not duckdb_1_only("db.sql(query).fetchall()[0]; psycopg_cursor.fetchone()")
