"""The helpers of the notebooks that name the reader's bucket, open prefixes, and clean up."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
import s3fs

from datalab.lab import Datalab
from datalab.servers.rights import policy

sys.path.append(str(Path(__file__).resolve().parent.parent / "notebooks"))
from course import CourseError, bucket

OWN = "student"


@pytest.fixture
def fs() -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(skip_instance_cache=True)


@pytest.fixture
def stranger() -> s3fs.S3FileSystem:
    return s3fs.S3FileSystem(anon=True, skip_instance_cache=True)


@pytest.fixture
def place() -> Iterator[str]:
    """A prefix that no other test uses, gone at the end with the rules that speak of it."""
    place = f"{OWN}/test-bucket-{uuid4().hex[:8]}"
    yield place
    bucket.clean_up(place)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Answers for `input`, the first first; nobody answers when they are used up."""
    answers: list[str] = []

    def answer(_: str) -> str:
        if not answers:
            raise EOFError
        return answers.pop(0)

    monkeypatch.setattr("builtins.input", answer)
    return answers


def is_empty(place: str) -> bool:
    """Whether there is no object below a prefix; SeaweedFS lists the folder for a while."""
    name, _, prefix = place.partition("/")
    return boto3.client("s3").list_objects_v2(Bucket=name, Prefix=f"{prefix}/")["KeyCount"] == 0


# -- which bucket -------------------------------------------------------------------


def test_the_bucket_that_is_named_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_BUCKET", f" {OWN} ")
    assert bucket.my_bucket() == OWN == os.environ["MY_BUCKET"]


def test_on_the_platform_it_follows_from_the_name_space(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MY_BUCKET", raising=False)
    monkeypatch.setenv("KUBERNETES_NAMESPACE", f"user-{OWN}")
    assert bucket.my_bucket() == OWN
    assert os.environ["MY_BUCKET"] == OWN  # for the shell commands of the session


def test_else_it_is_asked_for_until_the_answer_will_do(
    monkeypatch: pytest.MonkeyPatch, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("MY_BUCKET", raising=False)
    monkeypatch.setenv("KUBERNETES_NAMESPACE", "user-somebody")  # where the keys are not theirs
    asked += ["  ", "My Bucket", "colleague", "donnees-insee", f"  {OWN} "]
    assert bucket.my_bucket() == OWN
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4
    assert "cannot be the name" in said[0] and "cannot be the name" in said[1]
    assert '"colleague"' in said[2] and "somebody else" in said[2]
    assert '"donnees-insee"' in said[3]  # may be read and listed, and not written
    assert bucket.my_bucket() == OWN  # remembered: nobody is asked again


def test_where_nobody_can_be_asked_it_says_what_to_set(
    monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.delenv("MY_BUCKET", raising=False)
    monkeypatch.delenv("KUBERNETES_NAMESPACE", raising=False)
    with pytest.raises(CourseError, match="MY_BUCKET"):
        bucket.my_bucket()


def test_a_wrong_name_in_the_environment_is_refused_and_then_asked_for(
    monkeypatch: pytest.MonkeyPatch, asked: list[str]
) -> None:
    monkeypatch.setenv("MY_BUCKET", "colleague")
    with pytest.raises(CourseError, match="belongs to somebody else"):
        bucket.my_bucket()
    asked.append(OWN)
    assert bucket.my_bucket() == OWN


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("AWS_ACCESS_KEY_ID", "AKIAEXPIRED", "does not take your keys any more"),
        ("AWS_SESSION_TOKEN", "cut", "does not take your keys any more"),
        ("AWS_ENDPOINT_URL", "https://127.0.0.1:9/", "cannot be reached"),
    ],
)
def test_keys_or_an_address_that_are_no_good_are_a_sentence(
    monkeypatch: pytest.MonkeyPatch, variable: str, value: str, says: str
) -> None:
    monkeypatch.setenv(variable, value)
    with pytest.raises(CourseError, match=says) as raised:
        bucket.my_bucket()
    assert raised.value._render_traceback_() == [raised.value.problem, raised.value.next_step]


def test_without_any_keys_it_says_where_to_open_the_notebook(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        if name not in ("AWS_CA_BUNDLE", "AWS_ENDPOINT_URL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    with pytest.raises(CourseError, match="no S3 keys"):
        bucket.my_bucket()


# -- open and close -----------------------------------------------------------------


def test_what_is_published_everybody_reads_and_lists_and_the_rest_nobody(
    place: str, fs: s3fs.S3FileSystem, stranger: s3fs.S3FileSystem
) -> None:
    fs.pipe({f"{place}/public/a.txt": b"open", f"{place}/private/b.txt": b"closed"})
    bucket.publish(f"{place}/public")
    assert stranger.ls(f"{place}/public") == [f"{place}/public/a.txt"]
    assert stranger.cat(f"{place}/public/a.txt") == b"open"
    for other in [f"{place}/private/b.txt", f"{place}/public2/c.txt"]:
        with pytest.raises(PermissionError):
            stranger.cat(other)
    with pytest.raises(PermissionError):
        stranger.pipe(f"{place}/public/a.txt", b"mine")


def test_closing_one_prefix_leaves_the_rules_of_others(
    place: str, fs: s3fs.S3FileSystem, stranger: s3fs.S3FileSystem
) -> None:
    fs.pipe({f"{place}/a/x": b"1", f"{place}/b/x": b"2"})
    bucket.publish(f"{place}/a", f"{place}/b")
    bucket.publish(f"{place}/a")  # once more: no second rule
    assert bucket.close(f"{place}/a") == 2
    assert bucket.close(f"{place}/a") == 0
    assert stranger.cat(f"{place}/b/x") == b"2"
    stranger.invalidate_cache()
    with pytest.raises(PermissionError):
        stranger.cat(f"{place}/a/x")


def test_a_policy_is_read_once_and_written_once_however_many_prefixes_it_is_about(
    place: str,
    fs: s3fs.S3FileSystem,
    stranger: s3fs.S3FileSystem,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """One step for all: no other program comes between, and a half of it is never seen."""
    fs.pipe({f"{place}/a/x": b"1", f"{place}/b/x": b"2"})
    requests: list[str] = []
    call = bucket._call

    def counted(method: str, *args: object, **options: object) -> dict:
        requests.append(method)
        return call(method, *args, **options)

    monkeypatch.setattr(bucket, "_call", counted)
    bucket.publish(f"{place}/a", f"{place}/b")
    assert requests == ["get_bucket_policy", "put_bucket_policy"]
    assert stranger.cat([f"{place}/a/x", f"{place}/b/x"]) == {
        f"{place}/a/x": b"1",
        f"{place}/b/x": b"2",
    }
    requests.clear()
    assert bucket.close(f"{place}/a", f"{place}/b") == 4
    assert (requests[0], len(requests)) == ("get_bucket_policy", 2)
    bucket.publish(f"{place}/a", f"{place}/b")
    requests.clear()
    bucket.clean_up(f"{place}/a", f"{place}/b")
    assert requests.count("get_bucket_policy") == 1


def test_rules_that_other_tools_wrote_are_closed_as_well(
    place: str, fs: s3fs.S3FileSystem, stranger: s3fs.S3FileSystem
) -> None:
    """One statement for two prefixes, as a person may write it; one of them is not ours."""
    fs.pipe(f"{place}/mine/x", b"1")
    prefix = place.partition("/")[2]
    arn = f"arn:aws:s3:::{OWN}/{prefix}"
    rule = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    rule["Resource"] = [f"{arn}/mine/*", f"{arn}/other/*"]
    open_rule = {"Version": "2012-10-17", "Statement": [rule]}
    boto3.client("s3").put_bucket_policy(Bucket=OWN, Policy=json.dumps(open_rule))
    bucket.close(f"{place}/mine")
    with pytest.raises(PermissionError):
        stranger.cat(f"{place}/mine/x")
    left = json.loads(boto3.client("s3").get_bucket_policy(Bucket=OWN)["Policy"])
    (resource,) = [each["Resource"] for each in left["Statement"]]
    # a list of one, or the one: stores keep either
    assert resource in ([f"{arn}/other/*"], f"{arn}/other/*")


def test_a_bucket_of_somebody_else_is_not_opened_and_that_is_a_sentence() -> None:
    with pytest.raises(CourseError, match="refuses this request") as raised:
        bucket.publish("donnees-insee/diffusion")
    assert len(raised.value._render_traceback_()) == 2


def test_a_rule_that_lists_the_bucket_for_the_prefix_goes_with_it(
    place: str, stranger: s3fs.S3FileSystem
) -> None:
    """One statement for reading and listing, without a condition, as tutorials write it."""
    arn = f"arn:aws:s3:::{OWN}"
    rule = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject", "s3:ListBucket"]}
    rule["Resource"] = [arn, f"{arn}/{place.partition('/')[2]}/*"]
    open_rule = {"Version": "2012-10-17", "Statement": [rule]}
    boto3.client("s3").put_bucket_policy(Bucket=OWN, Policy=json.dumps(open_rule))
    bucket.close(place)
    with pytest.raises(PermissionError):
        stranger.ls(OWN)


# -- the end ------------------------------------------------------------------------


def test_cleaning_up_leaves_no_object_no_version_no_upload_and_no_rule(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    s3 = boto3.client("s3")
    own = os.environ.get("PROJECT_BUCKET", "projet-village")  # not the student's own
    prefix = f"test-clean-{uuid4().hex[:8]}"
    s3.put_bucket_versioning(Bucket=own, VersioningConfiguration={"Status": "Enabled"})
    try:
        for content in (b"1", b"2"):
            s3.put_object(Bucket=own, Key=f"{prefix}/a", Body=content)
        s3.delete_object(Bucket=own, Key=f"{prefix}/a")
        s3.put_object(Bucket=own, Key=f"{prefix}-neighbour/b", Body=b"stays")
        s3.create_multipart_upload(Bucket=own, Key=f"{prefix}/unfinished")
        bucket.publish(f"{own}/{prefix}/open")
        bucket.clean_up(f"{own}/{prefix}")
        said = capsys.readouterr().out
        assert "1 objects deleted" in said and "2 rules taken back" in said
        listed = s3.list_object_versions(Bucket=own, Prefix=f"{prefix}/")
        assert not listed.get("Versions") and not listed.get("DeleteMarkers")
        # asked for a prefix, MinIO lists no upload below it
        uploads = s3.list_multipart_uploads(Bucket=own).get("Uploads", [])
        assert not [each for each in uploads if each["Key"].startswith(prefix)]
        assert s3.get_object(Bucket=own, Key=f"{prefix}-neighbour/b")["Body"].read() == b"stays"
        bucket.clean_up(f"{own}/{prefix}")  # twice does no harm
    finally:
        bucket.clean_up(f"{own}/{prefix}-neighbour")
        s3.put_bucket_versioning(Bucket=own, VersioningConfiguration={"Status": "Suspended"})


def test_more_objects_than_one_request_deletes(place: str, fs: s3fs.S3FileSystem) -> None:
    fs.pipe({f"{place}/{number}": b"" for number in range(1005)})
    bucket.clean_up(place)
    assert is_empty(place)


def test_what_stays_open_by_another_rule_is_said_aloud(place: str, fs: s3fs.S3FileSystem) -> None:
    """A bucket that its owner opened as a whole: the rule is not below the prefix."""
    s3 = boto3.client("s3")
    rule = {"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject"}
    rule["Resource"] = f"arn:aws:s3:::{OWN}/*"
    before = {"Version": "2012-10-17", "Statement": [rule]}
    s3.put_bucket_policy(Bucket=OWN, Policy=json.dumps(before))
    try:
        with pytest.raises(CourseError, match="Everybody may still read"):
            bucket.clean_up(place)
        assert json.loads(s3.get_bucket_policy(Bucket=OWN)["Policy"])["Statement"]
    finally:
        s3.delete_bucket_policy(Bucket=OWN)


def test_without_the_right_to_a_policy_the_objects_go_all_the_same(
    place: str, fs: s3fs.S3FileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    fs.pipe(f"{place}/x", b"1")
    rights = policy(OWN, buckets=[OWN])
    own, *others = rights["Statement"]
    denied = {"Effect": "Deny", "Action": ["s3:*BucketPolicy"], "Resource": own["Resource"]}
    store = Datalab(Path(os.environ["TEST_DATALAB"])).store()
    keys = store.token(rights={**rights, "Statement": [own, denied, *others]})
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", keys.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", keys.secret_key)
    monkeypatch.setenv("AWS_SESSION_TOKEN", keys.token)
    bucket.clean_up(place)
    assert is_empty(place)


def test_with_keys_that_ended_the_last_cell_says_so(
    place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setenv("AWS_SESSION_TOKEN", "ended")
        with pytest.raises(CourseError, match="does not take your keys"):
            bucket.clean_up(place)


@pytest.mark.parametrize("place_", ["student", "student/", "", "/prefix"])
def test_a_whole_bucket_is_never_cleaned_up(place_: str) -> None:
    with pytest.raises(CourseError, match="names no prefix"):
        bucket.clean_up(place_)
