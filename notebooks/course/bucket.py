"""Your bucket: its name, prefixes that everybody may read, and an end that leaves nothing.

It needs s3fs only, which every service has, so that what a notebook opened can be closed
even where no package can be installed.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator
from functools import lru_cache
from typing import Any

import s3fs
from botocore.exceptions import ClientError, NoCredentialsError

from course import CourseError

NAME = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")
#: Codes of a store that does not know these keys, or knows them no longer.
KEYS_ENDED = {
    "ExpiredToken",
    "ExpiredTokenException",
    "InvalidAccessKeyId",
    "InvalidToken",
    "InvalidTokenId",
    "SignatureDoesNotMatch",
}
CONNECTION = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SESSION_TOKEN")
NEW_KEYS = "Start a new service, which gets new keys, and run the notebook there from its top."


# -- which bucket ----------------------------------------------------------------------


def my_bucket() -> str:
    """The name of a bucket in which you may write.

    It is taken from ``MY_BUCKET``, else from ``KUBERNETES_NAMESPACE``, which a service of
    Onyxia has (``user-NAME`` for the bucket ``NAME``); else you are asked. It is noted in
    ``MY_BUCKET`` for the rest of the session, where shell commands find it.

    Raises
    ------
    CourseError
        The store cannot be reached, does not take the keys, or refuses the bucket.
    """
    name = os.environ.get("MY_BUCKET", "").strip()
    if name:
        problem = _refusal(name)
        if problem:
            os.environ.pop("MY_BUCKET")  # so that the next attempt asks
            raise CourseError(problem, "Run this cell again to name another bucket.")
    else:
        name = os.environ.get("KUBERNETES_NAMESPACE", "").removeprefix("user-")
        if not name or _refusal(name):
            name = _asked()
    os.environ["MY_BUCKET"] = name
    return name


def _asked() -> str:
    while True:
        try:
            name = input("Name of your bucket (SSP Cloud: your user name): ").strip()
        except (EOFError, NotImplementedError, RuntimeError):  # nobody to ask: a batch run
            raise CourseError(
                "The name of your bucket is not known.",
                "Set it in the environment, as MY_BUCKET, before the notebook starts.",
            ) from None
        problem = _refusal(name)
        if not problem:
            return name
        print(problem)


def _refusal(name: str) -> str:
    """Why nothing can be written to the bucket, in a sentence; empty if it can."""
    if not NAME.fullmatch(name):
        return (
            f'"{name}" cannot be the name of a bucket. A name has 3 to 63 small letters, '
            "digits, hyphens and dots."
        )
    try:
        # an upload that is begun and given up: it leaves nothing, and shows the right to write
        key = "course-may-write"
        upload = _call("create_multipart_upload", Bucket=name, Key=key)["UploadId"]
        _call("abort_multipart_upload", Bucket=name, Key=key, UploadId=upload)
    except _Refused as refused:
        if refused.code == "NoSuchBucket":
            return f'There is no bucket "{name}" on this store.'
        return (
            f'You may not write into the bucket "{name}" (the store says {refused.code}): '
            "it belongs to somebody else, or there is none of that name."
        )
    return ""


# -- open and close --------------------------------------------------------------------


def publish(*places: str) -> None:
    """Let everybody, without any key, read and list what lies below ``places``.

    Rules that the bucket's policy has for other prefixes stay as they are.

    Parameters
    ----------
    places
        Prefixes such as ``"my-bucket/a/b"``.

    Raises
    ------
    CourseError
        The store takes no policy; nothing was opened.
    """
    for bucket, prefixes in _by_bucket(places).items():
        arn = f"arn:aws:s3:::{bucket}"
        everybody = {"Effect": "Allow", "Principal": {"AWS": ["*"]}}
        statements = _policy(bucket)
        for prefix in prefixes:
            listed = {"StringLike": {"s3:prefix": [f"{prefix}/*"]}}
            statements = [
                *_without(statements, bucket, prefix),
                {**everybody, "Action": ["s3:GetObject"], "Resource": [f"{arn}/{prefix}/*"]},
                {**everybody, "Action": ["s3:ListBucket"], "Resource": [arn], "Condition": listed},
            ]
        try:
            _set_policy(bucket, statements)
        except _Refused as refused:
            private = " and ".join(f"{bucket}/{prefix}" for prefix in prefixes)
            raise CourseError(
                f'The store refuses a policy for the bucket "{bucket}" ({refused.code}), so '
                f"{private} {'stays' if len(prefixes) == 1 else 'stay'} private.",
                "Read on without running the cells that read it as a stranger.",
            ) from None


def close(*places: str) -> int:
    """Take back each rule of a bucket's policy that speaks of ``places`` or of what is below.

    Returns
    -------
    int
        How many rules that were.
    """
    closed = 0
    for bucket, prefixes in _by_bucket(places).items():
        before = after = _policy(bucket)
        for prefix in prefixes:
            after = _without(after, bucket, prefix)
        if after != before:
            _set_policy(bucket, after)
            closed += sum(statement not in after for statement in before)
    return closed


def clean_up(*places: str) -> None:
    """Close and delete ``places``, with all versions and unfinished uploads, and look.

    It can be run twice. What it did is printed.

    Parameters
    ----------
    places
        Prefixes such as ``"my-bucket/a"``.

    Raises
    ------
    CourseError
        Something is still open, or still there.
    """
    for bucket, prefixes in _by_bucket(dict.fromkeys(places)).items():
        closed = _close_if_allowed(*(f"{bucket}/{prefix}" for prefix in prefixes))
        if closed:
            print(f"{bucket}: {closed} rules taken back.")
        for prefix in prefixes:
            deleted = _empty(bucket, prefix)
            print(f"{bucket}/{prefix}: {deleted} objects deleted; nothing is left.")


def _close_if_allowed(*places: str) -> int:
    try:
        return close(*places)
    except _Refused:  # who may not read a policy did not write one; a stranger's look decides
        return 0


def _empty(bucket: str, prefix: str) -> int:
    """Delete all below a prefix, and look whether it is empty and closed; how many objects."""
    place = f"{bucket}/{prefix}"
    try:
        deleted = _delete(bucket, prefix)
        left = next(_versions(bucket, prefix), None)
    except _Refused as refused:
        raise CourseError(
            f"{place} could not be cleaned up: the store says {refused.code}. "
            "Objects may still be there, and prefixes open to everybody.",
            "Run this cell again; if that does not help, delete them in the file explorer "
            "of your platform.",
        ) from None
    if left:
        raise CourseError(
            f"{place} is not clean: the store still has the object {left['Key']}.",
            "Run this cell again. A program that still writes there has to be stopped first.",
        )
    if _is_open(bucket, prefix):
        raise CourseError(
            f"Everybody may still read what is written to {place}.",
            f'Another rule of the bucket "{bucket}" opens it; if it is not meant to, '
            "set the bucket to private in the file explorer of your platform.",
        )
    return deleted


def _policy(bucket: str) -> list[dict[str, Any]]:
    """The statements of a bucket's policy; none where it has no policy."""
    try:
        policy = json.loads(_call("get_bucket_policy", Bucket=bucket)["Policy"])
    except _Refused as refused:
        if refused.code in ("NoSuchBucketPolicy", "NotImplemented"):
            return []
        raise
    statements: list[dict[str, Any]] = policy["Statement"]
    return statements


def _set_policy(bucket: str, statements: list[dict[str, Any]]) -> None:
    if statements:
        policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
        _call("put_bucket_policy", Bucket=bucket, Policy=policy)
    else:
        _call("delete_bucket_policy", Bucket=bucket)


def _without(statements: list[dict[str, Any]], bucket: str, prefix: str) -> list[dict[str, Any]]:
    """The statements, less what they say of ``prefix`` and of what lies below it."""
    arn = f"arn:aws:s3:::{bucket}"
    kept = []
    for statement in statements:
        resources = _as_list(statement.get("Resource", []))
        others = [each for each in resources if not _is_below(each, f"{arn}/{prefix}")]
        if len(others) < len(resources):
            if others != [arn]:  # the bucket alone, to be listed for that prefix
                kept += [{**statement, "Resource": others}] if others else []
            continue
        listed = [
            value
            for test in statement.get("Condition", {}).values()
            for value in _as_list(test.get("s3:prefix", []))
        ]
        if listed and all(_is_below(value, prefix) for value in listed):
            continue
        kept.append(statement)
    return kept


def _as_list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _is_below(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith((f"{prefix}/", f"{prefix}*"))


def _is_open(bucket: str, prefix: str) -> bool:
    """Whether a stranger may read there: to them, what is missing is 404 only if it is open."""
    stranger = s3fs.S3FileSystem(anon=True, skip_instance_cache=True)
    try:
        _call("get_object", stranger, Bucket=bucket, Key=f"{prefix}/nothing-has-this-name")
    except _Refused as refused:
        return refused.code in ("NoSuchKey", "404")
    return True


# -- delete ----------------------------------------------------------------------------


def _delete(bucket: str, prefix: str) -> int:
    """Delete all versions below a prefix, give up unfinished uploads; how many objects."""
    versions = list(_versions(bucket, prefix))
    for start in range(0, len(versions), 1000):  # no more in one request
        batch = [
            {"Key": version["Key"], "VersionId": version["VersionId"]}
            for version in versions[start : start + 1000]
        ]
        said = _call("delete_objects", Bucket=bucket, Delete={"Objects": batch, "Quiet": True})
        if said.get("Errors"):
            raise _Refused(said["Errors"][0].get("Code", "an error without a code"))
    for upload in list(_uploads(bucket, prefix)):
        _call(
            "abort_multipart_upload", Bucket=bucket, Key=upload["Key"], UploadId=upload["UploadId"]
        )
    return len({version["Key"] for version in versions})


def _versions(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """All versions and delete markers below a prefix."""
    at: dict[str, str] = {}
    while True:
        page = _call("list_object_versions", Bucket=bucket, Prefix=f"{prefix}/", **at)
        yield from page.get("Versions", [])
        yield from page.get("DeleteMarkers", [])
        if not page.get("IsTruncated"):
            return
        at = {"KeyMarker": page["NextKeyMarker"]}
        if page.get("NextVersionIdMarker"):
            at["VersionIdMarker"] = page["NextVersionIdMarker"]


def _uploads(bucket: str, prefix: str) -> Iterator[dict[str, Any]]:
    """All unfinished uploads below a prefix."""
    at: dict[str, str] = {}
    while True:
        # of the whole bucket: asked for a prefix, some stores list only the key of that name
        page = _call("list_multipart_uploads", Bucket=bucket, **at)
        for upload in page.get("Uploads", []):
            if upload["Key"].startswith(f"{prefix}/"):
                yield upload
        if not page.get("IsTruncated"):
            return
        at = {"KeyMarker": page["NextKeyMarker"], "UploadIdMarker": page["NextUploadIdMarker"]}


# -- requests --------------------------------------------------------------------------


class _Refused(CourseError):
    """The store answered with an error; ``code`` is its word for it."""

    def __init__(self, code: str) -> None:
        super().__init__(
            f"The store refuses this request ({code}).",
            "Look whether the bucket is yours, and whether your platform allows it.",
        )
        self.code = code


@lru_cache
def _store(*_: str | None) -> s3fs.S3FileSystem:
    """A connection of one's own with what the environment says now."""
    return s3fs.S3FileSystem(skip_instance_cache=True)


def _call(method: str, fs: s3fs.S3FileSystem | None = None, **arguments: Any) -> dict[str, Any]:
    """One request, by boto3's name; as _Refused or CourseError if it does not succeed."""
    store = fs or _store(*(os.environ.get(name) for name in CONNECTION))
    try:
        answer: dict[str, Any] = store.call_s3(method, **arguments)
        return answer
    except Exception as error:
        cause = error if isinstance(error, ClientError) else error.__cause__
        if isinstance(cause, ClientError):
            code = cause.response["Error"]["Code"]
            if code in KEYS_ENDED and not fs:
                raise CourseError(
                    f"The store does not take your keys any more ({code}); keys last seven days.",
                    NEW_KEYS,
                ) from None
            raise _Refused(code) from None
        if isinstance(error, NoCredentialsError):
            raise CourseError(
                "There are no S3 keys in the environment of this notebook.",
                "Open it in a service of your platform, or on a laptop with `make lab`.",
            ) from None
        raise CourseError(
            f"The store cannot be reached ({type(error).__name__}): "
            f"{os.environ.get('AWS_ENDPOINT_URL') or 'AWS_ENDPOINT_URL is not set'}.",
            "Look whether that address and the network are right, then run this cell again.",
        ) from None


def _by_bucket(places: Iterable[str]) -> dict[str, list[str]]:
    """The prefixes of each bucket: its policy is one document, read once and written once."""
    prefixes: dict[str, list[str]] = {}
    for place in places:
        bucket, prefix = _split(place)
        prefixes.setdefault(bucket, []).append(prefix)
    return prefixes


def _split(place: str) -> tuple[str, str]:
    bucket, _, prefix = place.removeprefix("s3://").strip("/").partition("/")
    if not bucket or not prefix:
        raise CourseError(
            f'"{place}" names no prefix of a bucket.', 'Give both, such as "my-bucket/a/b".'
        )
    return bucket, prefix
