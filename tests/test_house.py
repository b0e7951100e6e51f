"""The house style, where a machine can check it."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize(
    "words",
    [("ruff", "check", "."), ("ruff", "format", "--check", "."), ("mypy",)],
    ids=" ".join,
)
def test_checkers_have_nothing_to_say(words: tuple[str, ...]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *words], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_datalab_imports_nothing_from_the_rest() -> None:
    modules = {path.stem for path in (PROJECT / "datalab").glob("*.py")}
    folders = {path.name for path in PROJECT.iterdir() if path.is_dir()}
    rest = (folders | {path.stem for path in PROJECT.glob("*/*.py")}) - modules - {"datalab"}
    assert {"tests", "book", "laptop"} <= rest
    sources = list((PROJECT / "datalab").rglob("*.py"))
    assert len(sources) > 10
    for source in sources:
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{source.name} imports relatively"
                names = [node.module or ""]
            for name in names:
                assert name.partition(".")[0] not in rest, f"{source.name}: {name}"
