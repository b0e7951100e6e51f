"""Running the book's notebooks before its build: side by side, and only what is missing."""

import os
import subprocess
import sys
import threading
from pathlib import Path

import nbformat
import pytest
import yaml

from book import execute
from datalab.process import Process, one_look

ROOT = Path(__file__).resolve().parent.parent


def book(folder: Path, **cells: str) -> Path:
    """A book of notebooks with one cell each."""
    names = sorted(cells)
    toc = {"parts": [{"chapters": [{"file": f"notebooks/{name}"} for name in names]}]}
    (folder / "notebooks").mkdir(parents=True)
    (folder / "_toc.yml").write_text(yaml.safe_dump(toc))
    (folder / "_config.yml").write_text("execute: {timeout: 60}\n")
    for name in names:
        write(folder, name, cells[name])
    return folder


def write(folder: Path, name: str, source: str) -> None:
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)])
    notebook.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3"}
    nbformat.write(notebook, folder / "notebooks" / f"{name}.ipynb")


def missing(folder: Path) -> list[str]:
    return sorted(path.stem for path in execute.missing(folder))


@pytest.mark.xdist_group("datalabs of their own")
def test_each_notebook_runs_on_the_datalab_and_only_what_changed_runs_again(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lists = "import boto3\nprint(boto3.client('s3').list_buckets()['Buckets'][0]['Name'])"
    source = book(tmp_path, first=lists, second=lists + "\n1 / 0", third="input_ = 3")

    failed = execute.run(source, 2)
    assert [path.stem for path in failed] == ["second"]
    assert "ZeroDivisionError" in failed[source / "notebooks" / "second.ipynb"]
    assert "second: failed" in capsys.readouterr().err
    assert missing(source) == ["second"]  # what has run is kept

    write(source, "second", "2 / 1")
    assert execute.run(source, 2) == {}
    said = capsys.readouterr().err
    assert "Running 1 notebook" in said and "first" not in said
    assert missing(source) == []
    assert execute.run(source, 2) == {}  # at once, without a datalab
    assert capsys.readouterr().err == ""


def test_a_notebook_is_spoken_to_through_no_port_that_somebody_else_could_take(
    tmp_path: Path,
) -> None:
    """Among the connections of a whole run, a port chosen a moment before was taken."""
    asks = "from ipykernel.kernelapp import IPKernelApp\nprint(IPKernelApp.instance().transport)"
    source = book(tmp_path, one=asks)
    (cell,) = execute.execute(source / "notebooks" / "one.ipynb", dict(os.environ)).cells
    assert cell.outputs[0].text == "ipc\n"


def test_every_notebook_of_the_book_is_run_the_longest_first() -> None:
    found = execute.notebooks(ROOT)
    assert {path.name for path in found} == {p.name for p in ROOT.glob("notebooks/*.ipynb")}
    sizes = [path.stat().st_size for path in found]
    assert sizes == sorted(sizes, reverse=True)


def test_a_book_without_a_table_of_contents_is_told_in_a_sentence(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "book.execute", tmp_path], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "_toc.yml" in done.stderr and "Traceback" not in done.stderr


def test_what_one_thread_looked_at_hides_nothing_from_another(tmp_path: Path) -> None:
    """Datalabs that start side by side each look for their own processes."""
    mark = ("--looked-for", str(tmp_path))
    entered, left = threading.Barrier(2), threading.Event()

    def other() -> None:
        with one_look():
            entered.wait(30)
            left.wait(30)

    thread = threading.Thread(target=other)
    thread.start()
    with one_look():
        entered.wait(30)
    left.set()
    thread.join()
    with subprocess.Popen([sys.executable, "-c", "input()", *mark], stdin=subprocess.PIPE) as begun:
        found = Process("a process", mark, tmp_path / "log").find()
        assert found is not None and found.pid == begun.pid
        begun.communicate(b"\n")
