"""What passed is not run again until something that it reads has changed."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import unchanged

FILES = {
    "conftest.py": 'pytest_plugins = ["tests.unchanged"]\n',
    "pytest.ini": "[pytest]\ntestpaths = tests\npythonpath = .\n",
    ".gitignore": ".pytest_cache\n__pycache__\n",
    "tests/__init__.py": "",
    "tests/test_datalab.py": "def test_of_the_datalab(): pass\n",
    "tests/test_cheatsheet.py": "def test_of_the_cheatsheet(): pass\n",
    "tests/test_book.py": (
        "import os\ndef test_of_the_book(): assert 'BROKEN' not in os.environ\n"
    ),
    "tests/test_units.py": (
        "from pathlib import Path\nimport pytest\n"
        "UNITS = sorted(Path(__file__).parents[1].glob('notebooks/*.ipynb'))\n"
        "@pytest.mark.parametrize('path', UNITS, ids=lambda path: path.stem)\n"
        "def test_of_a_unit(path): pass\n"
    ),
    "notebooks/11_one.ipynb": "1",
    "notebooks/12_two.ipynb": "2",
    "notebooks/course/checks.py": "",
    "datalab/lab.py": "",
    "book/index.md": "Welcome.",
    "book/cheatsheet.md": "aws s3 ls",
}
ALL = {
    "of_the_datalab",
    "of_the_cheatsheet",
    "of_the_book",
    "of_a_unit[11_one]",
    "of_a_unit[12_two]",
}


class Project:
    """A project with five tests."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name, text in FILES.items():
            (folder / name).parent.mkdir(exist_ok=True, parents=True)
            (folder / name).write_text(text)
        shutil.copy(unchanged.__file__, folder / "tests")
        subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)

    def add(self, name: str) -> None:
        with (self.folder / name).open("a") as file:
            file.write("\n# more\n")

    def test(self, *options: str, code: int = 0, **variables: str) -> set[str]:
        """Run the tests by a worker of xdist, as `make test` does; those that ran."""
        kept = {name: value for name, value in os.environ.items() if "PYTEST" not in name}
        done = subprocess.run(
            [sys.executable, "-m", "pytest", "-p", "xdist", "-n", "1", "-v", *options],
            cwd=self.folder,
            env={**kept, **variables, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
            capture_output=True,
            text=True,
        )
        assert done.returncode == code, done.stdout + done.stderr
        self.said = done.stdout
        return set(re.findall(r"(?:PASSED|FAILED) \S+::test_(\S+)", done.stdout))


@pytest.fixture
def project(tmp_path: Path) -> Project:
    return Project(tmp_path)


def test_a_change_runs_what_may_read_it(project: Project) -> None:
    assert project.test() == ALL
    assert project.test() == set()
    assert "5 tests were left out" in project.said and "make test ALL=yes" in project.said
    project.add("notebooks/12_two.ipynb")
    assert project.test() == {"of_a_unit[12_two]", "of_the_book"}
    project.add("book/index.md")
    assert project.test() == {"of_the_book"}
    project.add("book/cheatsheet.md")
    assert project.test() == {"of_the_book", "of_the_cheatsheet"}
    project.add("tests/test_units.py")
    assert project.test() == ALL - {"of_the_datalab", "of_the_cheatsheet"}
    project.add("tests/helper.py")
    assert project.test() == ALL
    project.add("notebooks/course/checks.py")
    assert project.test() == ALL


def test_what_failed_runs_again_and_so_does_what_is_asked_for(project: Project) -> None:
    assert project.test(code=1, BROKEN="yes") == ALL
    assert project.test() == {"of_the_book"}
    assert project.test("--all") == ALL
    assert project.test("tests/test_book.py") == {"of_the_book"}
    assert project.test("-k", "units") == {"of_a_unit[11_one]", "of_a_unit[12_two]"}
    assert project.test(DATALAB_STORE="seaweedfs") == ALL  # another machine, so to speak
    shutil.rmtree(project.folder / ".git")
    assert project.test() == ALL  # nobody knows what changed


def test_modules_and_what_they_read_are_there() -> None:
    for name, read in unchanged.READ.items():
        assert (unchanged.ROOT / "tests" / f"test_{name}.py").is_file(), name
        for start in read:
            assert any(path.startswith(start) for path in unchanged.files()), start
