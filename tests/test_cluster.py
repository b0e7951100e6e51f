"""Unit 52: where a cluster is, its cells have run on it; where none is, nothing fails.

That the notebook runs as stored is tested by the notebook itself (see conftest.py). Here it
says what it must not say: a marked cell that was skipped though Spark was there would pass
unseen.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.test_exercises import write_all

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "notebooks"))
from course import cluster  # noqa: E402

NAME = "52_a_cluster.ipynb"
needs_spark = pytest.mark.skipif(
    cluster.REMOTE not in os.environ or find_spec("pyspark") is None,
    reason="no Spark server in this environment",
)


def printed(cell: nbformat.NotebookNode) -> str:
    return "".join(out.get("text", "") for out in cell.outputs if out.output_type == "stream")


def run(folder: Path, monkeypatch: pytest.MonkeyPatch, **changes: str | None) -> dict[str, str]:
    """What each cell of the unit, with its solutions, prints in an environment."""
    for name, value in changes.items():
        if value is None:
            monkeypatch.delenv(name, raising=False)
        else:
            monkeypatch.setenv(name, value)
    write_all(ROOT / "notebooks", folder, solutions=True)
    notebook = nbformat.read(folder / NAME, as_version=4)
    NotebookClient(
        notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    ).execute()
    return {cell.id: printed(cell) for cell in notebook.cells if cell.cell_type == "code"}


def marked() -> set[str]:
    """The cells that need a cluster."""
    notebook = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
    return {cell.id for cell in notebook.cells if cell.source.startswith(cluster.MARK + "\n")}


@needs_spark
@pytest.mark.xdist_group(NAME)
def test_where_a_cluster_is_every_cell_runs_on_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = run(tmp_path, monkeypatch)
    assert cluster.SKIPPED not in "".join(said.values())
    assert "Exchange" in said["explain"] or "RepartitionExec" in said["explain"]
    assert "the sum is right: True" in said["kill"]
    assert said["killed"].strip() == "new workers: 1"


@pytest.mark.xdist_group(NAME)
@pytest.mark.parametrize("address", [None, "sc://127.0.0.1:9"], ids=["no server", "no answer"])
def test_where_none_is_the_marked_cells_say_so_and_nothing_fails(
    address: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if find_spec("py4j"):
        pytest.skip("Spark itself is installed here")
    if address and find_spec("pyspark") is None:
        pytest.skip("without pyspark, the unit would install it")
    said = run(tmp_path, monkeypatch, SPARK_REMOTE=address)
    assert "There is no cluster here" in said["packages"]
    assert "--with spark" in said["packages"]
    for name in marked():
        assert said[name].strip() == cluster.SKIPPED, name
    assert said["exercise-1-check"].startswith("Right")
