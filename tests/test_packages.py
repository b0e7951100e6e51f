"""Packages: what the notebooks ask for, and that installing it moves nothing.

The platform here is a virtual environment with what every service of the SSP Cloud has
(tests/platform-packages.txt, from the group of that name in pyproject.toml). It comes from the
package index through uv's own cache, and a test is skipped where neither has it.
"""

from __future__ import annotations

import ast
import json
import os
import re
import socket
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.metadata import packages_distributions, requires
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
from IPython.core.inputtransformer2 import TransformerManager
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.laptop import shell

ROOT = Path(__file__).resolve().parent.parent
sys.path += [str(ROOT / "init-scripts"), str(ROOT / "notebooks")]
import prepare_service  # noqa: E402
from course import CourseError, packages  # noqa: E402

NOTEBOOKS = {
    path: json.loads(path.read_text(encoding="utf-8"))
    for path in sorted(ROOT.glob("notebooks/*.ipynb"))
}
#: Programs and modules that lie beside the notebooks, and go where they go.
BESIDE = {path.stem for path in [*ROOT.glob("notebooks/*/"), *ROOT.glob("notebooks/project/*.py")]}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
UV = str(Path(sys.executable).with_name("uv"))
#: One worker, and so one environment.
pytestmark = pytest.mark.xdist_group("platform")


# -- what the notebooks ask for -----------------------------------------------------


def sources(notebook: dict[str, Any]) -> list[str]:
    """The Python of the code cells, programs that they write included; no magics."""
    cells = ["".join(c["source"]) for c in notebook["cells"] if c["cell_type"] == "code"]
    return [re.sub(r"^%%.*", "", cell) for cell in cells]


def trees(notebook: dict[str, Any]) -> Iterator[ast.AST]:
    """The cells that are Python, parsed."""
    for source in sources(notebook):
        try:
            yield ast.parse(TransformerManager().transform_cell(source))
        except SyntaxError:
            continue  # of another language


def imported(notebook: dict[str, Any]) -> set[str]:
    """Top-level names of the modules that its cells import, or programs in their strings."""
    inside = r"^\s*(?:import (\w+)|from (\w+)[\w.]* import )"
    found = {
        name
        for pair in re.findall(inside, "\n".join(sources(notebook)), re.MULTILINE)
        for name in filter(None, pair)
    }
    for tree in trees(notebook):
        for node in ast.walk(tree):
            if isinstance(node, ast.Import):
                found |= {alias.name.partition(".")[0] for alias in node.names}
    return found


def asked(notebook: dict[str, Any]) -> list[str]:
    """What all its calls of `install` name, also one that is made only if need be."""
    return [
        ast.literal_eval(argument)
        for tree in trees(notebook)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)
        if node.func.id == "install"
        for argument in node.args
    ]


ASKED = {path: asked(notebook) for path, notebook in NOTEBOOKS.items()}
stem = attrgetter("stem")


@cache
def with_what_they_need(*lines: str) -> set[str]:
    """Names of these distributions and of all that come with them."""
    found: set[str] = set()
    todo = [(canonicalize_name(r.name), frozenset(r.extras)) for r in map(Requirement, lines)]
    done = set()
    while todo:
        name, extras = todo.pop()
        if (name, extras) in done:
            continue
        done.add((name, extras))
        found.add(name)
        for need in map(Requirement, _requires(name)):
            if need.marker is None or any(
                need.marker.evaluate({"extra": extra}) for extra in ("", *extras)
            ):
                todo.append((canonicalize_name(need.name), frozenset(need.extras)))
    return found


def _requires(name: str) -> list[str]:
    try:
        return requires(name) or []
    except ModuleNotFoundError:
        return []  # on the platform only


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if ASKED[path]], ids=stem)
def test_the_start_script_reads_what_the_first_of_its_cells_asks_for(path: Path) -> None:
    read = prepare_service.requirements(NOTEBOOKS[path])
    assert read and read == ASKED[path][: len(read)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_what_a_notebook_asks_for_is_locked_and_says_no_version(path: Path) -> None:
    groups = PROJECT["dependency-groups"]
    lines = groups["notebooks"] + groups.get("cluster", [])
    locked = {canonicalize_name(r.name): r.extras for r in map(Requirement, lines)}
    for line in ASKED[path]:
        wanted = Requirement(line)
        # which version it is, the service says, and the lock
        assert not wanted.specifier and wanted.marker is None, line
        assert canonicalize_name(wanted.name) in locked, f"{line} is in no group of notebooks"
        assert wanted.extras <= locked[canonicalize_name(wanted.name)], line


@pytest.mark.parametrize("path", NOTEBOOKS, ids=stem)
def test_what_a_notebook_imports_is_asked_for_or_in_every_service(path: Path) -> None:
    """Every service has what the group `platform` of pyproject.toml names."""
    if lacking := packages.missing(*ASKED[path]):
        pytest.skip(f"not installed here: {', '.join(lacking)}")
    there = with_what_they_need(*ASKED[path], *PROJECT["dependency-groups"]["platform"])
    distributions = packages_distributions()
    lacking = {
        name
        for name in imported(NOTEBOOKS[path]) - set(sys.stdlib_module_names) - BESIDE
        if not there & {canonicalize_name(each) for each in distributions.get(name, [])}
    }
    assert not lacking, "name what brings them in the notebook's call of install()"


def test_without_anything_to_install_no_index_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")  # neither uv nor anything else
    packages.install("psycopg[binary]", "pyiceberg[s3fs, sql-sqlite]", "rio-cogeo", "pytest")


def test_a_package_without_its_extra_is_missing() -> None:
    # which the lock does not ask for
    assert packages.missing("trustme", "requests[socks]", "never-made") == [
        "requests[socks]",
        "never-made",
    ]


# -- on the platform ----------------------------------------------------------------


@dataclass
class Platform:
    """A Python with the packages of a service."""

    folder: Path

    def environment(self, **changes: str) -> dict[str, str]:
        path = os.pathsep.join([str(self.folder / "bin"), *os.get_exec_path()])
        own = {"PATH": path, "PYTHONPATH": str(ROOT / "notebooks"), "VIRTUAL_ENV": ""}
        # the cache is no student's, and a test need not fetch everything each time
        return shell(**{**own, "UV_NO_CACHE": "0", "UV_SYSTEM_CERTS": "1", **changes})

    def run(self, code: str, **changes: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [self.folder / "bin" / "python", "-c", code],
            env=self.environment(**changes),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )

    def install(self, *requirements: str, **changes: str) -> str:
        """What a notebook shows whose first cell asks for these packages."""
        words = f"{list(requirements)!r}"
        done = self.run(f"from course.packages import install\ninstall(*{words})", **changes)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def versions(self) -> dict[str, str]:
        done = subprocess.run(
            [UV, "pip", "list", "--format=json", "--python", self.folder],
            env=self.environment(),
            check=True,
            capture_output=True,
            text=True,
        )
        return {each["name"]: each["version"] for each in json.loads(done.stdout)}

    def reset(self) -> None:
        """Have the packages of a service and no others."""
        done = subprocess.run(
            [
                *(UV, "pip", "sync", "--quiet", "--python", self.folder),
                ROOT / "tests" / "platform-packages.txt",
            ],
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        if "Failed to fetch" in done.stderr or "error sending request" in done.stderr:
            pytest.skip(f"no package index: {done.stderr.strip().splitlines()[-1]}")
        assert done.returncode == 0, done.stderr


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Platform:
    made = Platform(tmp_path_factory.mktemp("platform") / "python")
    words = [UV, "venv", "--quiet", "--python", sys.executable, str(made.folder)]
    subprocess.run(words, env=shell(), check=True)
    made.reset()
    return made


@pytest.fixture
def platform(built: Platform) -> Iterator[Platform]:
    """A service before its first notebook: s3fs is there and boto3 is not."""
    built.reset()
    assert {"s3fs", "duckdb", "uv"} <= set(built.versions()) and "boto3" not in built.versions()
    yield built


def asked_by_all() -> list[str]:
    return sorted({line for lines in ASKED.values() for line in lines})


@pytest.mark.parametrize("path", [path for path in NOTEBOOKS if ASKED[path]], ids=stem)
def test_a_notebook_installs_what_it_needs_and_moves_nothing(
    platform: Platform, path: Path
) -> None:
    before = platform.versions()
    said = platform.install(*ASKED[path])
    assert "Left out" not in said
    after = platform.versions()
    assert {name: after.get(name) for name in before} == before


@pytest.mark.skipif(not asked_by_all(), reason="no notebook asks for a package")
def test_all_notebooks_in_one_service_move_nothing(platform: Platform) -> None:
    before = platform.versions()
    assert "Left out" not in platform.install(*asked_by_all())
    after = platform.versions()
    assert {name: after.get(name) for name in before} == before
    check = [UV, "pip", "check", "--python", platform.folder]
    done = subprocess.run(check, env=platform.environment(), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    asking = [NOTEBOOKS[name] for name in NOTEBOOKS if ASKED[name]]
    modules = set().union(*map(imported, asking)) - BESIDE
    done = platform.run("\n".join(f"import {name}" for name in sorted(modules)))
    assert done.returncode == 0, done.stderr
    # a second notebook of the service installs nothing more
    assert platform.install(*asked_by_all(), UV_OFFLINE="1", UV_NO_CACHE="1") == ""


def test_s3fs_and_boto3_go_together(platform: Platform) -> None:
    before = platform.versions()
    assert "Installing boto3" in platform.install("boto3", "s3fs")
    assert platform.versions()["botocore"] == before["botocore"]
    done = platform.run("import s3fs, boto3; boto3.client('s3', region_name='eu-west-3')")
    assert done.returncode == 0, done.stderr


def test_what_cannot_stand_beside_the_others_is_named_and_left_out(platform: Platform) -> None:
    before = platform.versions()
    said = platform.install("pika", "aiobotocore[boto3]", "boto3==1.30.0")
    assert "pika" in platform.versions()
    assert re.search(r"^Left out, .*: boto3==1\.30\.0\.$", said, re.MULTILINE), said
    assert "Go on without them" in said
    after = platform.versions()
    assert {name: after.get(name) for name in before} == before


def test_an_index_that_cannot_be_reached_is_a_sentence_and_changes_nothing(
    platform: Platform,
) -> None:
    before = platform.versions()
    with socket.socket() as closed:  # nobody listens there
        closed.bind(("127.0.0.1", 0))
        index = f"http://127.0.0.1:{closed.getsockname()[1]}/simple"
        code = "from course.packages import install\ninstall('pika', 'boto3')"
        changes = {"UV_DEFAULT_INDEX": index, "PIP_INDEX_URL": index, "UV_NO_CACHE": "1"}
        # IPython shows an error as a notebook does
        cell = f"from IPython import get_ipython, start_ipython\nstart_ipython(['-c', {code!r}])"
        shown = platform.run(cell, **changes)
    text = shown.stdout + shown.stderr
    assert "These packages could not be installed: pika, boto3." in text
    assert "Wait a minute and run this cell again." in text
    assert "Traceback" not in text and "packages.py" not in text
    assert platform.versions() == before


def test_the_error_of_a_notebook_is_two_sentences() -> None:
    error = CourseError("This is wrong.", "Do that.")
    assert error._render_traceback_() == ["This is wrong.", "Do that."]
