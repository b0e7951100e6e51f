"""Each fact has one place; where a copy is needed, it does not drift."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from datalab.cli import _parser

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
README = (ROOT / "README.md").read_text(encoding="utf-8")
GROUPS = PROJECT["dependency-groups"]
LOCKS = {
    "requirements.txt": [
        *PROJECT["project"]["dependencies"],
        *(line for name in ("notebooks", "samples", "book", "test") for line in GROUPS[name]),
    ],
    "datalab/machine/go-toolchain.txt": GROUPS["go"],
    "datalab/machine/aws-cli.txt": GROUPS["aws"],
    "datalab/machine/seaweedfs.txt": GROUPS["seaweedfs"],
    "datalab/machine/sail.txt": GROUPS["sail"],
    "requirements-cluster.txt": GROUPS["cluster"],
    "tests/platform-packages.txt": GROUPS["platform"],
}


def stored_files() -> list[Path]:
    """The text files that Git tracks or would add."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    paths = [ROOT / line for line in done.stdout.splitlines()]
    return [path for path in paths if path.is_file() and path.suffix != ".png"]


@pytest.mark.parametrize("lock", LOCKS)
def test_locked_versions_are_those_that_pyproject_asks_for(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    locked: dict[str, list[str]] = {}
    for name, version in re.findall(r"^([\w.\[\]-]+)==(\S+)", text, re.MULTILINE):
        locked.setdefault(canonicalize_name(name.split("[")[0]), []).append(version)
    assert LOCKS[lock]
    for line in LOCKS[lock]:
        wanted = Requirement(line)
        versions = locked.get(canonicalize_name(wanted.name))
        assert versions, f"{wanted.name} is not in {lock}: make lock"
        assert all(wanted.specifier.contains(version) for version in versions), f"{line}: make lock"


# that of the platform is installed by tests alone
@pytest.mark.parametrize("lock", [name for name in LOCKS if not name.startswith("tests/")])
def test_every_locked_package_has_hashes_and_no_address(lock: str) -> None:
    text = (ROOT / lock).read_text(encoding="utf-8")
    blocks = re.split(r"\n(?=\S)", text)
    packages = [block for block in blocks if re.match(r"[\w.\[\]-]+==", block)]
    assert packages
    assert [block.split()[0] for block in packages if "--hash=sha256:" not in block] == []
    assert "://" not in text and "--index-url" not in text


def test_the_versions_of_python_are_everywhere_the_same() -> None:
    oldest, beyond = re.fullmatch(
        r">=3\.(\d+),<3\.(\d+)", PROJECT["project"]["requires-python"]
    ).groups()  # type: ignore[union-attr]
    newest = str(int(beyond) - 1)
    for name in ("README.md", "book/index.md", "Makefile"):
        assert f"Python 3.{oldest} to 3.{newest}" in (ROOT / name).read_text(), name
    makefile = (ROOT / "Makefile").read_text()
    assert f"(3, {oldest}) <= sys.version_info[:2] <= (3, {newest})" in makefile
    tried = {int(minor) for minor in re.findall(r"python3\.(\d+) ", makefile)}
    assert tried >= set(range(int(oldest), int(beyond)))
    assert all(f"< '3.{beyond}'" in line for line in PROJECT["tool"]["uv"]["environments"])
    weekly = (ROOT / ".github" / "workflows" / "weekly.yml").read_text()
    assert {f'"3.{oldest}"', f'"3.{newest}"'} <= set(re.findall(r'"3\.\d+"', weekly))


def test_a_pin_that_is_not_the_newest_has_its_reason_beside_it() -> None:
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if re.match(r'\s+"[\w.\[\]-]+[<=>!~]', line)]
    assert pins
    reasoned = [line for line in pins if "#" in line]
    # the extensions of DuckDB follow the pin of DuckDB itself
    others = [line for line in pins if line not in reasoned and "duckdb-ext" not in line]
    assert others == []


def without_badges(text: str) -> str:
    """A file's text but for the tables of `make badges`, which tests/test_launch.py compares."""
    return re.sub(r"<!-- badges: .*<!-- end of badges -->", "", text, flags=re.DOTALL)


def test_the_course_s_address_stands_in_one_place() -> None:
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    address = re.search(r"url: &repository https://github\.com/(\S+)", config)
    assert address
    others = [
        str(path.relative_to(ROOT))
        for path in stored_files()
        if address[1] in without_badges(path.read_text(encoding="utf-8", errors="replace"))
    ]
    assert others == ["_config.yml"]


def test_the_readme_names_every_command_of_make_and_of_the_datalab() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z]+):.*##", makefile, re.MULTILINE)
    assert {"book", "test", "lab", "serve", "help"} <= set(targets)
    for target in set(targets) - {"clean"}:
        assert f"make {target}" in README
    commands = next(a.choices for a in _parser()._actions if a.dest == "==SUPPRESS==" or a.choices)
    assert {"up", "down", "status", "env", "run", "reset"} == set(commands or ())
    for command in commands or ():
        assert re.search(rf"^\| `{command}\b", README, re.MULTILINE), command


def test_the_readme_names_every_entry_of_the_top_level() -> None:
    tracked = {path.relative_to(ROOT).parts[0] for path in stored_files()}
    for name in tracked - {".gitignore", "README.md", "LICENSE", "Makefile"}:
        assert f"`{name}" in README, name


def test_no_registry_host_and_no_path_of_a_machine_is_stored() -> None:
    hosts = r"pypi\.org|pythonhosted\.org|proxy\.golang\.org|registry\.npmjs\.org"
    paths = r"(?<![\w.])/(?:home|Users|root|work)/\w"
    for path in stored_files():
        if path == Path(__file__):
            continue
        text = path.read_text(encoding="utf-8", errors="replace")
        assert not re.findall(f"{hosts}|{paths}", text), path.name
