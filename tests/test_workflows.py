"""The workflows of GitHub: well-formed, pinned, with no more rights than they need."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from filelock import FileLock

from datalab.errors import DatalabError
from datalab.machine.binaries import cache_folder, find_go
from tests.laptop import outside

ROOT = Path(__file__).resolve().parent.parent
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
ACTIONLINT = "v1.7.12"


def read(name: str) -> dict[Any, Any]:
    return yaml.safe_load((ROOT / ".github" / "workflows" / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="session")
def actionlint() -> Path:
    """The program, built once for each user of a machine; Go is fetched where it is missing."""
    program = cache_folder() / f"actionlint-{ACTIONLINT}" / "actionlint"
    program.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(program.parent / "build.lock"):
        if not program.is_file():
            with tempfile.TemporaryDirectory(dir=program.parent) as folder, outside():
                _build(Path(folder)).replace(program)
    return program


def _build(folder: Path) -> Path:
    try:
        go = find_go(folder)
    except DatalabError as error:
        pytest.skip(f"no actionlint and no Go to build it with: {error}")
    done = subprocess.run(
        [go, "install", f"github.com/rhysd/actionlint/cmd/actionlint@{ACTIONLINT}"],
        cwd=folder,
        env=os.environ
        | {
            "GOPATH": str(folder / "gopath"),
            "GOCACHE": str(folder / "gocache"),
            "GOBIN": str(folder),
            "GOFLAGS": "-trimpath -modcacherw",
            "GOTOOLCHAIN": "local",
            "CGO_ENABLED": "0",
        },
        capture_output=True,
        text=True,
    )
    if done.returncode:
        pytest.skip(f"actionlint cannot be built here: {done.stderr.strip()[-300:]}")
    return folder / "actionlint"


def test_actionlint_has_nothing_to_say(actionlint: Path) -> None:
    assert len(WORKFLOWS) == 3
    done = subprocess.run([actionlint, "-no-color", *WORKFLOWS], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_actionlint_would_notice_a_fault(actionlint: Path, tmp_path: Path) -> None:
    text = (ROOT / ".github/workflows/test.yml").read_text(encoding="utf-8")
    broken = tmp_path / "broken.yml"
    broken.write_text(text.replace("github.event_name", "github.event_nam"))
    done = subprocess.run([actionlint, "-no-color", broken], capture_output=True, text=True)
    assert done.returncode == 1
    assert "event_nam" in done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_every_action_is_pinned_to_a_commit_with_its_version_beside_it(path: Path) -> None:
    uses = re.findall(r"uses: (.+)", path.read_text(encoding="utf-8"))
    assert uses
    for line in uses:
        own = line == "./.github/workflows/test.yml"
        assert own or re.fullmatch(r"actions/[a-z-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", line), line


def test_an_action_has_one_version_in_all_workflows() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in WORKFLOWS)
    pinned = set(re.findall(r"uses: (actions/.+)", text))
    assert len(pinned) == len({line.split("@")[0] for line in pinned}) == 5


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_jobs_may_read_and_end_in_time_and_only_deploy_may_publish(path: Path) -> None:
    workflow = read(path.name)
    assert workflow["permissions"] == {"contents": "read"}
    assert "concurrency" in workflow
    for name, job in workflow["jobs"].items():
        assert "uses" in job or job["timeout-minutes"] <= 90
        more = {"pages": "write", "id-token": "write"} if name == "deploy" else None
        assert job.get("permissions") == more


def test_the_book_is_published_after_its_tests_only() -> None:
    jobs = read("publish.yml")["jobs"]
    assert read("publish.yml")[True] == {"push": {"tags": ["*"]}}  # `on` is a truth value in YAML
    order = ["version", "test", "build", "deploy"]
    assert list(jobs) == order
    assert [jobs[name]["needs"] for name in order[1:]] == order[:-1]


def test_the_cache_of_minio_is_where_it_is_built_and_follows_its_versions() -> None:
    kept = [
        step["with"]
        for name in ("test.yml", "publish.yml")
        for job in read(name)["jobs"].values()
        for step in job.get("steps", [])
        if step.get("uses", "").startswith("actions/cache@")
    ]
    assert len(kept) == 2
    for cache in kept:
        assert cache["path"] == "~/.cache/data-in-the-cloud"
        assert "hashFiles('datalab/machine/binaries.py')" in cache["key"]


def test_every_notebook_runs_on_the_second_store_in_each_way() -> None:
    """As stored; and in a service, in the student's edition."""
    (step,) = [
        step["run"]
        for step in read("test.yml")["jobs"]["second-store"]["steps"]
        if "STORE=seaweedfs" in step.get("run", "")
    ]
    for tests in ("notebooks", "tests/test_service.py", "tests/test_exercises.py"):
        assert tests in step
        assert (ROOT / tests).exists()


REAL = "https://github.com/example/course"


@pytest.mark.parametrize(
    ("tag", "repository", "says"),
    [
        ("v1.0", "example/course", None),
        ("v1.0", "Example/Course", None),
        ("v1.1", "example/course", "The tag is v1.1, and the launch links name v1.0."),
        ("v1.0", "example/other", "The launch links name another repository than"),
        ("v1.0", "example/cours", "The launch links name another repository than"),
    ],
)
def test_a_tag_that_is_not_the_version_is_not_published(
    tmp_path: Path, tag: str, repository: str, says: str | None
) -> None:
    config = (ROOT / "_config.yml").read_text(encoding="utf-8")
    config = re.sub(r"&repository \S+", f"&repository {REAL}", config)
    config = re.sub(r"&version \S+", "&version v1.0", config)
    (tmp_path / "_config.yml").write_text(config, encoding="utf-8")
    shutil.copy(ROOT / "Makefile", tmp_path)
    step = read("publish.yml")["jobs"]["version"]["steps"][-1]
    assert step["env"] == {"ADDRESS": "${{ github.server_url }}/${{ github.repository }}"}
    address = f"https://github.com/{repository}"
    done = subprocess.run(
        ["bash", "-e", "-c", step["run"]],
        cwd=tmp_path,
        env=os.environ | {"GITHUB_REF_NAME": tag, "ADDRESS": address},
        capture_output=True,
        text=True,
    )
    assert done.returncode == (says is not None), done.stderr
    assert (says or "") in done.stdout


def test_make_version_prints_the_version() -> None:
    done = subprocess.run(["make", "version"], cwd=ROOT, capture_output=True, text=True, check=True)
    config = yaml.safe_load((ROOT / "_config.yml").read_text(encoding="utf-8"))
    assert done.stdout == config["repository"]["branch"] + "\n"
    assert config["sphinx"]["config"]["launch_version"] == config["repository"]["branch"]
