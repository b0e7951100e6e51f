"""What a student finds in the work folder, and that their own work is never lost."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PROGRAM = ROOT / "init-scripts" / "student_edition.py"
NOTEBOOKS = sorted(ROOT.glob("notebooks/*.ipynb"))
FOLDED = "# A folded cell: run it. There is no need to read it.\n"


def run(*arguments: object) -> subprocess.CompletedProcess[str]:
    # -I -S: with the standard library only, as on a service before anything is installed
    words = [sys.executable, "-I", "-S", str(PROGRAM), *map(str, arguments)]
    return subprocess.run(words, capture_output=True, text=True)


def make(notebooks: Path, work: Path, *options: str) -> str:
    done = run(*options, notebooks, work)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def course(tmp_path: Path) -> Path:
    """The source of a course of one notebook with one exercise and one picture."""
    folder = tmp_path / "course" / "notebooks"
    (folder / "images").mkdir(parents=True)
    (folder / "images" / "one.svg").write_text("<svg/>")
    write(folder, "answer = 42")
    return folder


def write(folder: Path, solution: str) -> None:
    metadata = {"tags": ["solution"], "course": {"stub": ["answer = ..."], "wrong_answers": []}}
    cell = {"cell_type": "code", "id": "one", "source": [solution], "outputs": []}
    cells = [{**cell, "metadata": metadata, "execution_count": None}]
    notebook = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (folder / "01_one.ipynb").write_text(json.dumps(notebook))


def source_of(notebook: Path) -> str:
    return "".join(json.loads(notebook.read_text())["cells"][0]["source"])


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_solutions_are_stubs_and_all_else_is_as_it_was(path: Path, tmp_path: Path) -> None:
    make(path.parent, tmp_path)
    source = json.loads(path.read_text(encoding="utf-8"))
    student = json.loads((tmp_path / path.name).read_text(encoding="utf-8"))
    assert source["metadata"] == student["metadata"]
    assert [cell["id"] for cell in source["cells"]] == [cell["id"] for cell in student["cells"]]
    stubs = 0
    for before, after in zip(source["cells"], student["cells"], strict=True):
        course = before["metadata"].pop("course", None)
        if course:
            assert after["source"] == course["stub"]
            before["source"] = course["stub"]
            stubs += 1
        if before["metadata"].get("jupyter"):
            before["source"].insert(before["source"][0].startswith("%%"), FOLDED)
        assert before == after
    assert stubs >= 2


def test_a_folded_cell_says_so_where_an_editor_shows_it_open(course: Path, tmp_path: Path) -> None:
    folded = {"cell_type": "code", "metadata": {"jupyter": {"source_hidden": True}}, "outputs": []}
    sources = {"check": "print(1)", "bash": "%%bash\nls"}
    cells = [
        {**folded, "id": name, "source": text.splitlines(keepends=True)}
        for name, text in sources.items()
    ]
    (course / "01_one.ipynb").write_text(json.dumps({"cells": cells}))
    make(course, tmp_path / "work")
    check, bash = json.loads((tmp_path / "work" / "01_one.ipynb").read_text())["cells"]
    assert check["source"] == [FOLDED, "print(1)"]
    assert bash["source"] == ["%%bash\n", FOLDED, "ls"]


def test_pictures_come_along(course: Path, tmp_path: Path) -> None:
    make(course, tmp_path / "work")
    assert (tmp_path / "work" / "images" / "one.svg").read_text() == "<svg/>"


def test_the_project_comes_along_and_what_a_student_changed_in_it_stays(
    course: Path, tmp_path: Path
) -> None:
    script, mine = course / "project" / "run.py", tmp_path / "work" / "project" / "run.py"
    script.parent.mkdir()
    script.write_text("print(1)\n")
    make(course, tmp_path / "work")
    assert mine.read_text() == "print(1)\n"
    script.write_text("print(2)\n")
    assert f"{mine}: updated" in make(course, tmp_path / "work")
    mine.write_text("print('mine')\n")
    script.write_text("print(3)\n")
    assert "kept; new version in project/run.new-version.py" in make(course, tmp_path / "work")
    assert mine.read_text() == "print('mine')\n"
    assert mine.with_name("run.new-version.py").read_text() == "print(3)\n"


def test_the_program_of_a_chapter_comes_along(course: Path, tmp_path: Path) -> None:
    (course / "catalogue" / "__pycache__").mkdir(parents=True)
    (course / "catalogue" / "consumer.py").write_text("")
    make(course, tmp_path / "work")
    copied = [path.name for path in (tmp_path / "work" / "catalogue").iterdir()]
    assert copied == ["consumer.py"]


def test_solutions_stay_where_they_are_asked_for(course: Path, tmp_path: Path) -> None:
    make(course, tmp_path / "work", "--solutions")
    text = (tmp_path / "work" / "01_one.ipynb").read_text()
    assert "answer = 42" in text and "course" not in text


def test_a_second_run_changes_nothing(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work)
    before = {path: path.stat().st_mtime_ns for path in work.rglob("*.ipynb")}
    assert "up to date" in make(course, work)
    assert {path: path.stat().st_mtime_ns for path in work.rglob("*.ipynb")} == before


def test_an_untouched_notebook_is_brought_up_to_date(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work, "--solutions")
    write(course, "answer = 6 * 7")
    assert "updated" in make(course, work, "--solutions")
    assert source_of(work / "01_one.ipynb") == "answer = 6 * 7"


def test_a_notebook_that_was_only_opened_counts_as_untouched(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work, "--solutions")
    notebook = work / "01_one.ipynb"
    opened = json.loads(notebook.read_text())
    opened["metadata"] = {"language_info": {"version": "3.13.0"}}
    notebook.write_text(json.dumps(opened, indent=4))
    write(course, "answer = 6 * 7")
    assert "updated" in make(course, work, "--solutions")


def test_a_notebook_that_was_run_counts_as_edited(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work)
    notebook = work / "01_one.ipynb"
    ran = json.loads(notebook.read_text())
    ran["cells"][0]["outputs"] = [{"output_type": "stream", "name": "stdout", "text": "42"}]
    notebook.write_text(json.dumps(ran))
    write(course, "answer = 6 * 7")
    make(course, work, "--solutions")
    assert json.loads(notebook.read_text()) == ran


def test_an_edited_notebook_stays_byte_for_byte(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work)
    notebook = work / "01_one.ipynb"
    notebook.write_text(notebook.read_text().replace("answer = ...", "answer = 'mine'"))
    mine = notebook.read_bytes()
    assert "kept" in make(course, work)
    assert notebook.read_bytes() == mine
    assert [path.name for path in work.glob("*.ipynb")] == ["01_one.ipynb"]


def test_a_new_version_of_an_edited_notebook_lands_beside_it(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work, "--solutions")
    notebook = work / "01_one.ipynb"
    notebook.write_text("{}")
    write(course, "answer = 6 * 7")
    for _ in range(2):
        assert "new version" in make(course, work, "--solutions")
        assert notebook.read_text() == "{}"
        assert source_of(work / "01_one.new-version.ipynb") == "answer = 6 * 7"


def test_a_notebook_of_the_student_s_own_is_not_taken_for_the_course_s(
    course: Path, tmp_path: Path
) -> None:
    work = tmp_path / "work"
    work.mkdir()
    (work / "01_one.ipynb").write_text("my own notes")
    make(course, work)
    assert (work / "01_one.ipynb").read_text() == "my own notes"
    assert (work / "01_one.new-version.ipynb").exists()


def test_a_lost_record_loses_no_work(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    make(course, work)
    (work / "01_one.ipynb").write_text("mine")
    (work / ".student-edition.json").write_text("{ broken")
    make(course, work)
    assert (work / "01_one.ipynb").read_text() == "mine"


def test_two_at_once_do_no_harm(course: Path, tmp_path: Path) -> None:
    work = tmp_path / "work"
    words = [sys.executable, str(PROGRAM), str(course), str(work)]
    both = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(4)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0] * 4
    assert sum("new" in text.split(": ")[1] for text in said) == 1
    assert sorted(path.name for path in work.iterdir() if not path.name.startswith(".")) == [
        "01_one.ipynb",
        "images",
    ]


def test_a_folder_without_notebooks_is_refused(tmp_path: Path) -> None:
    done = run(tmp_path, tmp_path / "work")
    assert done.returncode == 1
    assert "no notebook" in done.stderr
    assert not (tmp_path / "work").exists()


def test_a_work_folder_that_cannot_be_written_is_named(course: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    done = run(course, tmp_path / "file" / "work")
    assert done.returncode == 1
    assert "cannot be written" in done.stderr and "Traceback" not in done.stderr


def test_a_solution_without_a_stub_is_named(course: Path, tmp_path: Path) -> None:
    path = course / "01_one.ipynb"
    path.write_text(path.read_text().replace('"stub"', '"stab"'))
    done = run(course, tmp_path / "work")
    assert done.returncode == 1
    assert "one" in done.stderr and "Traceback" not in done.stderr
