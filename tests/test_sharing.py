"""Chapter 05 on platforms that allow more, or less, than a service of the SSP Cloud.

Of the notebook only those cells are run that a test is about, and the last one.
"""

import json
import os
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from datalab.lab import Datalab
from datalab.servers.rights import STUDENT, policy
from datalab.servers.store import Keys
from tests.service import administrator, nothing_left_behind, printed, service
from tests.test_exercises import proof, write_all

pytestmark = pytest.mark.xdist_group("05_sharing.ipynb")

CHAPTER = Path(__file__).resolve().parent.parent / "notebooks" / "05_sharing.ipynb"
FIRST = ("setup", "imports", "local", "refusal-shown", "colleague-profile", "colleague-config")
FIRST += ("colleague-function", "colleague-put")
EXERCISE = ("setup", "task", "solution", "check")


def section(name: str, exercise: int) -> dict:
    """The notebook with what comes first, one section, its exercise, and the last cell."""
    notebook = json.loads(CHAPTER.read_text(encoding="utf-8"))
    wanted = {*FIRST, *(f"exercise-{exercise}-{part}" for part in EXERCISE), "clean"}
    notebook["cells"] = [
        cell
        for cell in notebook["cells"]
        if cell["id"] in wanted
        or (cell["cell_type"] == "code" and cell["id"].startswith(f"{name}-"))
    ]
    return notebook


def run(notebook: dict, environment: dict[str, str], folder: Path) -> dict[str, str]:
    """What the cells printed and gave, by id."""
    write_all(CHAPTER.parent, folder)
    read = nbformat.reads(json.dumps(notebook), as_version=4)
    resources = {"metadata": {"path": str(folder)}}
    NotebookClient(read, timeout=300, kernel_name="python3", resources=resources).execute(
        env=environment
    )
    return printed(read)


def versioning() -> str | None:
    return administrator().get_bucket_versioning(Bucket=STUDENT).get("Status")


def with_keys(keys: Keys) -> dict[str, str]:
    environment = service(CHAPTER)
    del environment["AWS_SESSION_TOKEN"]
    environment |= {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
    }
    return environment | ({"AWS_SESSION_TOKEN": keys.token} if keys.token else {})


def test_versions_are_kept_in_a_new_bucket_where_one_may_be_made(tmp_path: Path) -> None:
    root = Datalab(Path(os.environ["TEST_DATALAB"])).store().settings.root
    before = versioning()
    with nothing_left_behind():  # the new bucket is gone
        said = run(section("versions", 4), with_keys(root), tmp_path)
    assert said["versions-none"] == "'Enabled'"
    assert "what was deleted is back" in said["exercise-4-check"]
    assert "student-05-versions/05-sharing" in said["clean"]
    assert versioning() == before


def test_the_exercise_on_versions_is_proven_where_a_bucket_keeps_them(tmp_path: Path) -> None:
    """In a service, where none does, its check says that it cannot check."""
    write_all(CHAPTER.parent, tmp_path)
    with nothing_left_behind():
        assert proof(section("versions", 4), tmp_path) == []


@pytest.mark.parametrize(
    ("answer", "means"),
    [("y", True), (" Yes ", True), ("", False), ("n", False), ("what?", False), (None, False)],
)
def test_only_a_yes_turns_versioning_on_in_the_own_bucket(
    answer: str | None, means: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def reader(question: str) -> str:
        asked.append(question)
        if answer is None:
            raise EOFError
        return answer

    monkeypatch.setattr("builtins.input", reader)
    variables: dict = {}
    cells = json.loads(CHAPTER.read_text(encoding="utf-8"))["cells"]
    exec("".join(next(c["source"] for c in cells if c["id"] == "versions-ask")), variables)
    assert variables["agreed"](STUDENT) is means
    assert STUDENT in asked[0] and "suspended only" in asked[0]


def test_where_nobody_may_write_a_policy_it_says_so_and_opens_nothing(tmp_path: Path) -> None:
    store = Datalab(Path(os.environ["TEST_DATALAB"])).store()
    rights = policy(STUDENT, buckets=[STUDENT])
    refused = {"Effect": "Deny", "Action": ["s3:PutBucketPolicy"], "Resource": ["arn:aws:s3:::*"]}
    rights["Statement"].append(refused)
    keys = store.token(rights=rights)
    with nothing_left_behind():
        said = run(section("policy", 2), with_keys(keys), tmp_path)
    for cell in ("policy-put", "policy-open", "exercise-2-setup"):
        assert said[cell].startswith("Refused: ")
    assert said["policy-after"] == "(403, 403, 403)"
    assert said["policy-open-status"] == "403"
    assert "Not checked" in said["exercise-2-check"]
