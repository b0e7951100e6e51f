"""The datalab in a project that is not the course: installed, used, tested with, removed.

The project has an environment of its own with what `book/datalab.md` installs, and no home
folder worth the name. Its packages come from the package index, through uv's cache.
"""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from datalab.environment import search_path
from datalab.machine import binaries
from datalab.state import FILE as STATE
from datalab.state import State
from tests.laptop import DEADLINE, clear, processes, shell

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
PAGE = (ROOT / "book" / "datalab.md").read_text(encoding="utf-8")
UV = str(Path(sys.executable).with_name("uv"))
pytestmark = pytest.mark.xdist_group("package")

BLOCKS = re.findall(r"^```(bash|python)\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
INSTALL, RUN, UP, PYTEST = [text for language, text in BLOCKS if language == "bash"]
(TEST,) = [text for language, text in BLOCKS if language == "python"]


class Project:
    """A folder beside the clone, with an activated virtual environment."""

    def __init__(self, room: Path) -> None:
        self.room = room
        self.folder = room / "project"
        self.python = room / "venv" / "bin" / "python"
        self.temporary = room / "tmp"
        self.minio = str(binaries.find_minio())
        for folder in (self.folder, self.temporary, room / "home"):
            folder.mkdir()
        (room / "data-in-the-cloud").symlink_to(ROOT)

    def environment(self, **changes: str) -> dict[str, str]:
        own = str(Path(sys.executable).parent)
        path = [part for part in os.get_exec_path() if part != own]
        values: dict[str, str | None] = {
            "PATH": os.pathsep.join([str(self.python.parent), *path]),
            "HOME": str(self.room / "home"),
            "TMPDIR": str(self.temporary),
            # MinIO and the AWS CLI, made once for each user of a machine
            "XDG_CACHE_HOME": str(binaries.cache_folder().parent),
            "DATALAB_MINIO": self.minio,
            "UV_SYSTEM_CERTS": "1",
        }
        ours = ("PYTEST_", "VIRTUAL_ENV", "PYTHONPATH", "DATALAB_INTERNET")
        values |= {name: None for name in os.environ if name.startswith(ours)}
        return shell(**{**values, **changes})

    def bash(
        self, script: str, folder: Path | None = None, **changes: str
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=folder or self.folder,
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE * 5,
            start_new_session=True,
        )
        assert "Traceback" not in done.stdout + done.stderr, done.stdout + done.stderr
        return done

    def succeeds(self, script: str) -> str:
        done = self.bash(script)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def pytest(self, text: str, *words: str, **changes: str) -> subprocess.CompletedProcess[str]:
        """Run one file of tests."""
        (self.folder / "test_other.py").write_text(text)
        script = f"pytest -p no:cacheprovider {' '.join(words)} test_other.py"
        return self.bash(script, **changes)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """With the package installed by the page's own command."""
    made = Project(tmp_path_factory.mktemp("outside"))
    words = [UV, "venv", "--quiet", "--seed", "--python", sys.executable, str(made.room / "venv")]
    subprocess.run(words, env=shell(), check=True)
    # What it needs, in the locked versions, from uv's cache: pip finds it installed.
    locked = re.sub(r" \\\n( +--hash=\S+( \\)?\n)+", "\n", (ROOT / "requirements.txt").read_text())
    (made.room / "locked.txt").write_text(locked)
    words = [UV, "pip", "install", "--quiet", "--python", str(made.python), "pytest"]
    words += ["-c", str(made.room / "locked.txt"), "-r", str(ROOT / "pyproject.toml")]
    done = subprocess.run(words, env=made.environment(), capture_output=True, text=True)
    if done.returncode == 0:
        done = made.bash(INSTALL)
    unreachable = ("Failed to fetch", "error sending request", "No matching distribution")
    if any(words in done.stderr for words in unreachable):
        pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
    assert done.returncode == 0, done.stderr
    yield made
    clear(made.room)


def nothing_left(project: Project) -> bool:
    """Whether no process and no temporary datalab is there."""
    return processes(project.room) == [] and list(project.temporary.glob("datalab-*")) == []


# -- the package ------------------------------------------------------------------------


def test_it_brings_what_it_needs_and_nothing_of_the_notebooks(project: Project) -> None:
    project.succeeds("pip check")
    listed = json.loads(project.succeeds("pip list --format=json"))
    versions = {canonicalize_name(each["name"]): each["version"] for each in listed}
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert config["repository"]["branch"].startswith(f"v{versions['data-in-the-cloud']}")
    absent = ("jupyter", "ipython", "notebook", "sphinx", "numpy", "pandas", "pyarrow", "duckdb")
    assert [name for name in versions if name.startswith(absent)] == []


def test_it_holds_its_data_files_and_not_the_course_s(project: Project) -> None:
    code = "from pathlib import Path; import datalab; print(Path(datalab.__file__).parent)"
    installed = Path(project.succeeds(f'python -c "{code}"').strip())
    assert project.room in installed.parents
    files = {str(path.relative_to(installed)) for path in installed.rglob("*.*")}
    for lock in (ROOT / "datalab" / "machine").glob("*.txt"):
        assert f"machine/{lock.name}" in files
    assert not [name for name in files if name.startswith(("samples", "local_sites"))]


def test_what_its_modules_import_is_among_its_dependencies() -> None:
    needed = {canonicalize_name(Requirement(line).name) for line in PROJECT["dependencies"]}
    needed |= {"pytest", "cryptography"}  # which loads the plugin; which comes with pyjwt[crypto]
    own = {"datalab", *sys.stdlib_module_names}
    optional = {"duckdb", "duckdb_extensions"}
    distributions = packages_distributions()
    for source in (ROOT / "datalab").rglob("*.py"):
        if {"samples", "local_sites"} & set(source.parts):
            continue
        for node in ast.walk(ast.parse(source.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            for name in {name.partition(".")[0] for name in names} - own - optional:
                found = {canonicalize_name(each) for each in distributions[name]}
                assert found & needed, f"{source.name} imports {name}"


def test_a_python_that_is_too_old_is_refused(project: Project) -> None:
    words = f"{UV} pip install --dry-run --no-deps --python-version 3.10"
    done = project.bash(f"{words} ../data-in-the-cloud")
    assert done.returncode == 1
    assert ">=3.11" in done.stderr and "Python" in done.stderr  # uv says it in several ways


# -- the page ----------------------------------------------------------------------------


def test_a_command_runs_on_a_store_of_its_own(project: Project) -> None:
    assert re.fullmatch(r"https://127\.0\.0\.1:\d+/ student\n", project.succeeds(RUN))
    assert nothing_left(project)
    assert list(project.folder.glob(".*")) == []


def test_a_store_that_stays_until_down(project: Project) -> None:
    subprocess.run(["git", "init", "--quiet", project.folder], check=True)
    said = project.succeeds(UP)
    assert re.search(r" 15 first\.txt$", said, re.MULTILINE), said
    assert nothing_left(project)
    assert (project.folder / ".datalab" / "datalab.json").exists()
    assert "?? .datalab" not in project.succeeds("git status --porcelain")
    # it knows no official addresses, and asks no other site
    assert "internet" not in said
    project.succeeds("datalab reset --yes")


def test_the_fixture_gives_a_test_its_store(project: Project) -> None:
    (project.folder / "test_store.py").write_text(TEST)
    assert "1 passed" in project.succeeds(PYTEST)
    assert nothing_left(project)


# -- the fixture --------------------------------------------------------------------------

CAREFUL = """
import os
import boto3
import pytest

os.environ["AWS_PROFILE"] = "work"
BEFORE = dict(os.environ)

def keys(bucket):
    listed = boto3.client("s3").list_objects_v2(Bucket=bucket)
    return [each["Key"] for each in listed.get("Contents", [])]

@pytest.mark.parametrize("turn", [1, 2])
def test_the_bucket_is_empty_each_time(datalab, turn):
    assert keys(datalab.bucket) == []
    s3 = boto3.client("s3")
    s3.put_object(Bucket=datalab.bucket, Key="a", Body=b"1")
    s3.put_bucket_versioning(Bucket=datalab.bucket, VersioningConfiguration={"Status": "Enabled"})
    s3.put_object(Bucket=datalab.bucket, Key="a", Body=b"2")
    s3.delete_object(Bucket=datalab.bucket, Key="a")

def test_its_variables_are_set(datalab):
    wanted = {name: value for name, value in datalab.environment.items() if value is not None}
    assert wanted.items() <= os.environ.items()
    assert "AWS_PROFILE" not in os.environ
    assert os.environ["OF_THE_PROJECT"] == "kept"
    assert "MY_BUCKET" not in os.environ and "KUBERNETES_NAMESPACE" in os.environ

def test_and_are_as_before_without_it():
    now = dict(os.environ)
    for values in (now, BEFORE):
        values.pop("PYTEST_CURRENT_TEST", None)
    assert now == BEFORE

def test_a_store_that_is_away(datalab):
    with datalab.lab.store().stopped():
        assert not datalab.lab.store().runs()
    assert keys(datalab.bucket) == []
"""


def test_each_test_has_its_variables_and_an_empty_bucket(project: Project) -> None:
    done = project.pytest(CAREFUL, "-o", "datalab_as=service", OF_THE_PROJECT="kept")
    assert done.returncode == 0, done.stdout
    assert "5 passed" in done.stdout
    assert nothing_left(project)


def test_a_run_that_does_not_ask_for_it_loads_nothing(project: Project) -> None:
    done = project.pytest(
        "import sys\n"
        "def test_nothing():\n"
        "    assert 'datalab.pytest_plugin' in sys.modules\n"
        "    heavy = {'boto3', 'rich', 'psutil', 'msgspec', 'datalab.lab', 'datalab.errors'}\n"
        "    assert not heavy & sys.modules.keys()\n"
    )
    assert done.returncode == 0, done.stdout


USES = "def test_it(datalab): pass\ndef test_again(datalab): pass\n"


@pytest.mark.parametrize(
    ("words", "changes", "says"),
    [
        (
            [],
            {"DATALAB_STORE": "minio", "DATALAB_MINIO": "/nonexistent"},
            ["DATALAB_MINIO names", "Correct the variable"],
        ),
        (["-o", "datalab_with=fax"], {}, ["datalab_with of pytest is 'fax'", "Set it to rabbitmq"]),
        (["-o", "datalab_as=king"], {}, ["datalab_as of pytest is 'king'", "laptop or service"]),
    ],
)
def test_a_store_that_cannot_be_had_is_a_sentence(
    project: Project, words: list[str], changes: dict[str, str], says: list[str]
) -> None:
    done = project.pytest(USES, *words, **changes)
    assert done.returncode == 1
    assert "2 errors" in done.stdout
    assert "No datalab could be started." in done.stdout
    for part in says:
        assert part in done.stdout
    assert ".py:" not in done.stdout.partition("short test summary")[0], done.stdout
    assert nothing_left(project)


# -- the command ----------------------------------------------------------------------------


def test_its_sentences_name_the_command_as_it_was_called(project: Project) -> None:
    done = project.bash("datalab env")
    assert done.returncode == 1
    assert "Start the datalab with: datalab up" in done.stderr
    done = project.bash("datalab lift")
    assert done.returncode == 2
    assert done.stderr.startswith("usage: datalab ") and "lift" in done.stderr
    done = project.bash("python -m datalab env")
    assert "Start the datalab with: python -m datalab up" in done.stderr


def test_the_programs_of_the_shell_come_before_those_of_its_own_python(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # as with pipx: its Python has none of the project's packages
    monkeypatch.setenv("PATH", "/project/bin")
    ours, own = str(tmp_path / "bin"), str(Path(sys.executable).parent)
    monkeypatch.setattr(sys, "argv", ["/somewhere/bin/datalab", "run"])
    assert search_path(tmp_path).split(os.pathsep) == [ours, "/project/bin", own]
    monkeypatch.setattr(sys, "argv", ["/clone/datalab/__main__.py", "run"])
    assert search_path(tmp_path).split(os.pathsep) == [ours, own, "/project/bin"]


def test_a_folder_that_cannot_be_used_is_a_sentence(project: Project, tmp_path: Path) -> None:
    (tmp_path / ".datalab").write_text("a file")
    done = project.bash("datalab up", tmp_path)
    assert done.returncode == 1
    assert "cannot be used" in done.stderr and "DATALAB_DIR" in done.stderr
    gone = tmp_path / "gone"
    gone.mkdir()
    done = project.bash(f"rmdir {gone}; datalab status", gone)
    assert done.returncode == 1


def test_a_datalab_of_the_course_is_left_to_the_course(project: Project, tmp_path: Path) -> None:
    State.new(["internet"]).save(tmp_path)
    before = (tmp_path / STATE).read_bytes()
    done = project.bash("datalab up", DATALAB_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "has what this one has not: internet." in done.stderr and "DATALAB_DIR" in done.stderr
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(STATE, before)]


def test_windows_is_told_where_it_runs() -> None:
    code = "import runpy, sys; sys.platform = 'win32'; "
    code += "runpy.run_module('datalab', run_name='__main__')"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=shell(), capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "Windows Subsystem for Linux" in done.stderr and "Traceback" not in done.stderr


def test_uvx_runs_it_without_an_installation(project: Project) -> None:
    uvx = shutil.which("uvx", path=Path(UV).parent)
    assert uvx
    locked = str(project.room / "locked.txt")
    script = f"{uvx} --constraints {locked} --from ../data-in-the-cloud datalab status"
    done = project.bash(script)
    assert done.returncode == 3, done.stderr
    assert done.stdout == f"No datalab runs in {project.folder / '.datalab'}.\n"
