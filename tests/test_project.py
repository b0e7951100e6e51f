"""The project of part 3, as its README promises: run twice, killed, resumed, changed.

Each test works on a copy of the folder, under a prefix of its own.
"""

import ast
import json
import os
import shutil
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import pandas as pd
import pytest
import s3fs

pytestmark = pytest.mark.xdist_group("project")

ROOT = Path(__file__).resolve().parent.parent
SOURCE = ROOT / "notebooks" / "project"
FINAL = "final/labels.csv"


class Copy:
    """A copy of the project, as a student has one."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder
        self.fs = s3fs.S3FileSystem(use_listings_cache=False)
        prefix = f"tests-of-the-project/{uuid.uuid4()}"
        self.root = f"{os.environ['MY_BUCKET']}/{prefix}"
        self.change("config.toml", "32-energy-labels", prefix)
        self.change("config.toml", "timeout = 5", "timeout = 1")

    def change(self, file: str, old: str, new: str) -> None:
        text = (self.folder / file).read_text()
        assert text.count(old) == 1, f"{old} in {file}"
        (self.folder / file).write_text(text.replace(old, new))

    def start(self, **changes: str | None) -> "subprocess.Popen[str]":
        env = {
            name: value for name, value in {**os.environ, **changes}.items() if value is not None
        }
        return subprocess.Popen(
            [sys.executable, str(self.folder / "run.py")],
            env=env,
            cwd="/",  # the command does not depend on where it is given
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, **changes: str | None) -> tuple[int, str, str]:
        process = self.start(**changes)
        said, errors = process.communicate(timeout=300)
        assert "Traceback" not in errors, errors
        return process.returncode, said, errors

    def succeeds(self) -> str:
        code, said, errors = self.run()
        assert code == 0, errors
        return said

    def objects(self) -> dict[str, object]:
        """What is stored, and when each object was written."""
        found = self.fs.find(self.root, detail=True)
        # a first object that comes while s3fs looks makes it answer with the "folder"
        files = {path: about for path, about in found.items() if about["type"] == "file"}
        return {path.removeprefix(f"{self.root}/"): o["LastModified"] for path, o in files.items()}

    def read(self, key: str) -> bytes:
        return bytes(self.fs.cat_file(f"{self.root}/{key}"))

    def pages(self) -> list[str]:
        return [key for key in self.objects() if "/page-" in key]


@pytest.fixture
def project(tmp_path: Path) -> Iterator[Copy]:
    copy = Copy(tmp_path / "project")
    yield copy
    if copy.fs.exists(copy.root):
        copy.fs.rm(copy.root, recursive=True)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Copy]:
    """A project that was run once, from nothing to the result, and is left as it is."""
    copy = Copy(tmp_path_factory.mktemp("whole") / "project")
    copy.succeeds()
    yield copy
    copy.fs.rm(copy.root, recursive=True)


@pytest.fixture
def done(project: Copy, whole: Copy) -> Copy:
    """A project that was run, to be changed."""
    for key in whole.objects():
        project.fs.copy(f"{whole.root}/{key}", f"{project.root}/{key}")
    return project


def test_one_command_makes_the_result(done: Copy) -> None:
    keys = set(done.objects())
    manifest = json.loads(done.read("raw/dpe/2026-11-01/manifest.json"))
    assert set(manifest["pages"]) == set(done.pages())
    assert {"interim/certificates.parquet", FINAL} <= keys
    table = pd.read_parquet(f"s3://{done.root}/interim/certificates.parquet")
    assert 0.99 * manifest["rows"] < len(table) < manifest["rows"]
    assert table["numero_dpe"].is_unique
    assert set(table["code_insee_ban"]) == {"07186", "2A004", "48095"}
    assert str(table["annee_construction"].dtype) == "Int64"
    shares = pd.read_csv(f"s3://{done.root}/{FINAL}", index_col=0)
    assert list(shares.index) == ["Ajaccio", "Mende", "Privas"]
    assert ((shares.sum(axis=1) - 100).abs() < 0.5).all()


def test_a_second_run_writes_nothing(done: Copy) -> None:
    before = done.objects()
    said = done.succeeds()
    assert said.count("up to date") == 2 and "complete already" in said
    assert done.objects() == before


def test_what_is_above_raw_can_be_deleted_and_comes_back_the_same(done: Copy) -> None:
    before = {key: done.read(key) for key in done.objects()}
    stamps = {key: stamp for key, stamp in done.objects().items() if key.startswith("raw/")}
    for floor in ("interim", "final"):
        done.fs.rm(f"{done.root}/{floor}", recursive=True)
    done.succeeds()
    assert {key: done.read(key) for key in done.objects()} == before
    assert stamps.items() <= done.objects().items()


@pytest.mark.parametrize("pages", [1, 4])
def test_killed_in_the_middle_it_goes_on(project: Copy, whole: Copy, pages: int) -> None:
    process = project.start()
    deadline = time.monotonic() + 300
    while len(project.pages()) < pages:
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.kill()
    process.communicate()
    left = project.objects()
    assert not [key for key in left if "manifest" in key or not key.startswith("raw/")]
    for key in project.pages():
        assert json.loads(project.read(key))["results"]
    project.succeeds()
    assert left.items() <= project.objects().items(), "a page was fetched again"
    for key in whole.objects():
        assert whole.read(key) == project.read(key), key


def told() -> dict[str, list[str]]:
    """Which steps run again after which change, as the solution of exercise 32.2 says."""
    notebook = json.loads((SOURCE.parent / "32_reproducible_project.ipynb").read_text("utf-8"))
    cell = next(cell for cell in notebook["cells"] if cell["id"] == "exercise-2-solution")
    return dict(ast.literal_eval("".join(cell["source"]).partition("=")[2].strip()))


@pytest.mark.parametrize("change", told())
def test_after_a_change_the_steps_run_again_that_the_notebook_tells(
    done: Copy, change: str
) -> None:
    before = done.objects()
    match change:
        case "town":
            done.change("config.toml", "07186,2A004,48095", "07186,2A004,48095,09122")
            done.change("config.toml", "2026-11-01", "2026-12-01")
        case "limit":
            done.change("config.toml", "largest_surface = 1000", "largest_surface = 100")
        case "digits":
            done.change("result.py", "round(1)", "round(2)")
        case "comment":
            done.change("clean.py", "# an unknown", "# one more line\n    # an unknown")
        case "lost":
            done.fs.rm(f"{done.root}/interim/certificates.parquet")
        case "patience":
            done.change("config.toml", "timeout = 1", "timeout = 10")
    said = done.succeeds().splitlines()
    rested = {line.split()[0] for line in said if line.endswith(("up to date", "complete already"))}
    ran = {"raw", "interim", "final"} - rested
    assert ran == set(told()[change])
    after = done.objects()
    written = {key.partition("/")[0] for key in after if before.get(key) != after[key]}
    assert written == ran
    frozen = {key: stamp for key, stamp in before.items() if key.startswith("raw/")}
    assert frozen.items() <= after.items()


def test_raw_data_are_never_mixed_or_overwritten(done: Copy) -> None:
    before = done.objects()
    done.change("config.toml", "07186,2A004,48095", "48095")
    code, _, errors = done.run()
    assert code != 0
    assert "another question" in errors and "snapshot" in errors
    assert done.objects() == before
    done.change("config.toml", "2026-11-01", "2026-12-01")
    done.succeeds()
    shares = pd.read_csv(f"s3://{done.root}/{FINAL}", index_col=0)
    assert list(shares.index) == ["Mende"]
    assert {
        k: v for k, v in before.items() if k.startswith("raw/")
    }.items() <= done.objects().items()


def test_raw_data_that_were_changed_are_noticed(done: Copy) -> None:
    page = done.pages()[0]
    done.fs.pipe(f"{done.root}/{page}", done.read(page).replace(b"Privas", b"Lutece"))
    done.fs.rm(f"{done.root}/interim", recursive=True)
    code, _, errors = done.run()
    assert code != 0
    assert page in errors and "changed" in errors


def test_a_source_that_changed_under_way_gives_no_complete_copy(done: Copy) -> None:
    page = done.pages()[0]
    manifest = page.replace(page.rpartition("/")[2], "manifest.json")
    content = json.loads(done.read(page))
    done.fs.pipe(f"{done.root}/{page}", json.dumps({**content, "total": 1}).encode())
    done.fs.rm(f"{done.root}/{manifest}")
    code, _, errors = done.run()
    assert code != 0
    assert "changed while" in errors and "snapshot" in errors
    assert manifest not in done.objects()


def test_without_a_network_or_a_bucket_it_says_what_to_do(project: Copy) -> None:
    code, _, errors = project.run(MY_BUCKET=None)
    assert code != 0 and "MY_BUCKET" in errors
    project.change("config.toml", "attempts = 8", "attempts = 1")
    nowhere = dict.fromkeys(("HTTPS_PROXY", "https_proxy"), "http://127.0.0.1:9")
    code, _, errors = project.run(**nowhere)
    assert code == 1
    assert "The download stopped" in errors and "Run this again" in errors
    code, _, errors = project.run(MY_BUCKET="colleague")
    assert code == 1
    assert "The store refused" in errors and "MY_BUCKET" in errors


def test_its_packages_are_those_that_it_imports() -> None:
    wanted = set((SOURCE / "requirements.txt").read_text().split())
    own = {path.stem for path in SOURCE.glob("*.py")}
    imported = set()
    for path in SOURCE.glob("*.py"):
        for line in path.read_text().splitlines():
            words = line.split()
            if words[:1] in (["import"], ["from"]) and not line.startswith(" "):
                imported.add(words[1].partition(".")[0])
    third = imported - own - set(sys.stdlib_module_names)
    # botocore comes with s3fs; pyarrow is what pandas writes Parquet with
    assert third - {"botocore"} == wanted - {"pyarrow"}
