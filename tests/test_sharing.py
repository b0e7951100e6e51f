"""Units 33 and 34 on platforms that allow more, or less, than a service of the SSP Cloud.

Of a notebook only those cells are run that a test is about, and the last one.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import pytest

from datalab.lab import Datalab
from datalab.servers.rights import STUDENT, policy
from tests.service import administrator, nothing_left_behind, service
from tests.test_exercises import proof, run, write_all

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
sys.path.append(str(NOTEBOOKS))
from course import others, versions  # noqa: E402

SHARING, PROTECTING = (NOTEBOOKS / f"{name}.ipynb" for name in ("33_sharing", "34_protecting"))
FIRST = ("imports", "setup", "who-may", "raw")

of_sharing = pytest.mark.xdist_group(SHARING.name)
of_protecting = pytest.mark.xdist_group(PROTECTING.name)


def section(path: Path, name: str, exercise: int) -> dict:
    """The notebook with what comes first, one section, its exercise, and the last cell."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    notebook["cells"] = [
        cell
        for cell in notebook["cells"]
        if cell["id"] in {*FIRST, "clean"}
        or cell["id"].startswith(f"exercise-{exercise}")
        or (cell["cell_type"] == "code" and cell["id"].split("-")[0] == name)
    ]
    return notebook


def versioning(bucket: str = STUDENT) -> str | None:
    return administrator().get_bucket_versioning(Bucket=bucket).get("Status")


def shown(path: Path) -> dict:
    """A notebook without its exercises."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    notebook["cells"] = [cell for cell in cells if not cell["id"].startswith("exercise-")]
    return notebook


@contextmanager
def a_bucket_that_was(status: str) -> Iterator[str]:
    """A bucket whose versioning has a status already; gone at the end."""
    s3, bucket = administrator(), f"test-{status.lower()}-versions"
    s3.create_bucket(Bucket=bucket)
    try:
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": status})
        yield bucket
    finally:
        found = s3.list_object_versions(Bucket=bucket)
        for each in [*found.get("Versions", []), *found.get("DeleteMarkers", [])]:
            s3.delete_object(Bucket=bucket, Key=each["Key"], VersionId=each["VersionId"])
        s3.delete_bucket(Bucket=bucket)


# -- who tries -------------------------------------------------------------------------


@pytest.mark.parametrize("action", ["GetObject", "PutObject", "DeleteObject", "ListBucket"])
def test_what_a_rule_allows_to_a_colleague_or_a_stranger_is_found_and_no_more(action: str) -> None:
    """Stores differ in which of the two a policy speaks to, and in what a stranger may do."""
    s3, key, arn = boto3.client("s3"), "test-sharing/a.txt", f"arn:aws:s3:::{STUDENT}"
    rule = {"Effect": "Allow", "Principal": "*", "Action": [f"s3:{action}"]}
    rule["Resource"] = [arn if action == "ListBucket" else f"{arn}/test-sharing/*"]
    with nothing_left_behind():
        s3.put_object(Bucket=STUDENT, Key=key, Body=b"as it was")
        try:
            assert set(others.rights(s3, STUDENT, key).values()) == {"yes"}
            nobody = {"read": "no", "list": "no", "write": "no", "delete": "no"}
            assert others.rights(others.stranger(), STUDENT, key) == nobody
            assert others.rights(others.colleague(), STUDENT, key) == nobody
            statement = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
            s3.put_bucket_policy(Bucket=STUDENT, Policy=statement)
            names = {"GetObject": "read", "PutObject": "write", "DeleteObject": "delete"}
            allowed = nobody | {names.get(action, "list"): "yes"}
            found = [
                others.rights(who, STUDENT, key) for who in (others.stranger(), others.colleague())
            ]
            assert allowed in found
            assert all(each in (allowed, nobody) for each in found)
            assert s3.get_object(Bucket=STUDENT, Key=key)["Body"].read() == b"as it was"
        finally:
            s3.delete_bucket_policy(Bucket=STUDENT)
            s3.delete_object(Bucket=STUDENT, Key=key)


def test_limited_keys_may_do_what_is_named_and_no_more() -> None:
    reading = {"Effect": "Allow", "Action": ["s3:GetObject"]}
    reading["Resource"] = ["arn:aws:s3:::donnees-insee/diffusion/README.md"]
    s3, place = boto3.client("s3"), {"Bucket": STUDENT, "Key": "test-sharing/b.txt"}
    with nothing_left_behind():
        s3.put_object(**place, Body=b"")
        found = others.rights(others.limited([reading]), STUDENT, place["Key"])
        assert set(found.values()) == {"no"}
        reading["Resource"] = [f"arn:aws:s3:::{STUDENT}/{place['Key']}"]
        found = others.rights(others.limited([reading]), STUDENT, place["Key"])
        assert found == {"read": "yes", "list": "no", "write": "no", "delete": "no"}
        s3.delete_object(**place)


def test_where_nobody_can_be_a_colleague_nobody_tries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLLEAGUE_TOKEN_FILE")
    monkeypatch.delenv("MY_TOKEN_FILE")
    assert others.colleague() is None
    assert others.limited([]) is None
    assert set(others.rights(None, STUDENT, "a").values()) == {"nobody to try"}


# -- a bucket that keeps versions ------------------------------------------------------


@pytest.fixture
def as_root(monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody who may make buckets, and has no bucket of the datalab for trials."""
    keys = Datalab(Path(os.environ["TEST_DATALAB"])).store().settings.root
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    for name in ("AWS_SESSION_TOKEN", "COLLEAGUE_TOKEN_FILE", "PROJECT_BUCKET"):
        monkeypatch.delenv(name)
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)  # it has read the keys before


@pytest.mark.usefixtures("as_root")
def test_versions_are_kept_in_a_new_bucket_where_one_may_be_made() -> None:
    before = versioning()
    with nothing_left_behind():  # the new bucket is gone
        for _ in range(2):  # of an earlier run
            found = versions.bucket_with_versions(STUDENT, "test-sharing")
            assert found not in (STUDENT, None)
            assert versioning(str(found)) == "Enabled"
            boto3.client("s3").put_object(Bucket=found, Key="test-sharing/a", Body=b"")
        for _ in range(2):
            versions.end_versions(STUDENT, "test-sharing")
    assert versioning() == before


@pytest.mark.usefixtures("as_root")
@pytest.mark.parametrize("status", ["Enabled", "Suspended"])
def test_the_own_bucket_is_used_only_where_it_kept_versions_and_is_put_back(status: str) -> None:
    with nothing_left_behind(), a_bucket_that_was(status) as bucket:
        assert versions.bucket_with_versions(bucket, "test-sharing") == bucket
        assert versioning(bucket) == "Enabled"
        boto3.client("s3").put_object(Bucket=bucket, Key="test-sharing/a", Body=b"")
        versions.end_versions(bucket, "test-sharing")
        assert versioning(bucket) == status
        assert "Versions" not in administrator().list_object_versions(Bucket=bucket)


@of_protecting
def test_the_exercise_on_versions_is_proven_where_a_bucket_keeps_them(tmp_path: Path) -> None:
    """In a service, where none does, its check says that it cannot check."""
    write_all(NOTEBOOKS, tmp_path)
    with nothing_left_behind():
        assert proof(section(PROTECTING, "versions", 2), tmp_path) == []


# -- the notebooks where there is less -------------------------------------------------


@of_protecting
def test_protecting_goes_on_where_no_keys_end_and_no_bucket_keeps_versions(
    tmp_path: Path,
) -> None:
    before = versioning()
    with nothing_left_behind():
        said = run(shown(PROTECTING), service(PROTECTING), tmp_path)
    assert said["versions"].startswith("No bucket keeps versions here")
    assert said["versions-accident"] == said["versions-restore"] == ""
    assert said["keys-end"] == ""  # nothing ended
    assert said["keys-resume"].startswith("20 parts are stored")
    assert "nobody to try" in said["keys-rights"]
    assert versioning() == before  # the student's own bucket is as it was


@of_sharing
def test_where_nobody_may_write_a_policy_it_says_so_and_opens_nothing(tmp_path: Path) -> None:
    store = Datalab(Path(os.environ["TEST_DATALAB"])).store()
    rights = policy(STUDENT, buckets=[STUDENT])
    refused = {"Effect": "Deny", "Action": ["s3:PutBucketPolicy"], "Resource": ["arn:aws:s3:::*"]}
    rights["Statement"].append(refused)
    keys = store.token(rights=rights)
    environment = service(SHARING) | {
        "AWS_ACCESS_KEY_ID": keys.access_key,
        "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        "AWS_SESSION_TOKEN": str(keys.token),
    }
    with nothing_left_behind():
        said = run(section(SHARING, "policy", 2), environment, tmp_path)
    assert said["policy-open"].startswith("Refused: ")
    assert "yes" not in stranger_in(said["policy-who"])
    assert said["policy-address"].startswith("(403, ")
    assert "Not checked" in said["exercise-2-check"]


@of_sharing
def test_the_last_cell_closes_a_notebook_that_stopped_in_the_middle_of_a_service(
    tmp_path: Path,
) -> None:
    """Where nobody is a colleague, a prefix open to everybody, and a description shared."""
    notebook = shown(SHARING)
    names = [cell["id"] for cell in notebook["cells"]]
    done = [*names[: names.index("policy-who") + 1], "clean"]
    notebook["cells"] = [cell for cell in notebook["cells"] if cell["id"] in done]
    with nothing_left_behind():
        said = run(notebook, service(SHARING), tmp_path)
    for cell in ("who-may", "diffusion", "policy-who"):
        assert "nobody to try" in said[cell]
    assert "PROJECT_BUCKET is not set" in said["project"]
    assert stranger_in(said["policy-who"]) == ["yes", "no", "no", "no"]
    assert "1 rules taken back" in said["clean"]


def stranger_in(table: str) -> list[str]:
    """The last column of a table of rights as it is printed: read, list, write, delete."""
    return [line.split()[-1] for line in table.splitlines()[1:]]
