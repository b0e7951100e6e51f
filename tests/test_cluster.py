"""Unit 52: where a cluster is, its cells have run on it; where none is, nothing fails.

That the notebook runs is tested by the notebook itself (see conftest.py). But a marked cell
that was skipped although Spark was there would pass unseen: that is tested here.
"""

import os
import sys
from importlib.util import find_spec
from pathlib import Path

import nbformat
import pytest

from book import execute
from tests.test_exercises import write_all

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "notebooks"))
from course import cluster  # noqa: E402

NAME = "52_a_cluster.ipynb"
has_spark = find_spec("pyspark") is not None
pytestmark = pytest.mark.xdist_group(NAME)


def run(folder: Path) -> dict[str, str]:
    """What each cell of the unit, with its solutions, prints."""
    write_all(ROOT / "notebooks", folder, solutions=True)
    notebook = nbformat.read(folder / NAME, as_version=4)
    execute.client(notebook, folder, 300).execute()
    return {
        cell.id: "".join(out.text for out in cell.outputs if out.output_type == "stream")
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


@pytest.mark.skipif(
    not has_spark or cluster.REMOTE not in os.environ, reason="no Spark server here"
)
def test_where_a_cluster_is_every_cell_runs_on_it(tmp_path: Path) -> None:
    said = run(tmp_path)
    assert cluster.SKIPPED not in "".join(said.values())
    assert "Exchange" in said["explain"] or "RepartitionExec" in said["explain"]
    assert "the sum is right: True" in said["kill"]
    assert said["killed"].strip() == "new workers: 1"


@pytest.mark.skipif(find_spec("py4j") is not None, reason="Spark itself is installed here")
def test_where_none_is_the_marked_cells_say_so_and_nothing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(cluster.REMOTE, raising=False)
    said = run(tmp_path)
    assert "There is no cluster here" in said["packages"]
    assert "--with spark" in said["packages"]
    source = nbformat.read(ROOT / "notebooks" / NAME, as_version=4)
    marked = [cell.id for cell in source.cells if cell.source.startswith(f"{cluster.MARK}\n")]
    assert len(marked) > 10
    assert {said[name].strip() for name in marked} == {cluster.SKIPPED}


@pytest.mark.skipif(not has_spark, reason="no PySpark here")
@pytest.mark.parametrize("address", ["sc://127.0.0.1:9", "sc://", "nonsense", "sc://a:b"])
def test_a_server_that_does_not_answer_is_no_cluster(
    address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(cluster.REMOTE, address)
    assert not cluster.spark_is_here()
    assert f"{cluster.REMOTE} is {address}, where nothing answers." in capsys.readouterr().out
