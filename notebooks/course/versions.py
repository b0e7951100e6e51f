"""A bucket that keeps versions, for trials.

A bucket in which versioning was ever turned on can only suspend it, never forget it. So
your own bucket is used only if it has kept versions before, and it is put back as it was.
"""

import os
from typing import Any

import boto3
from botocore.exceptions import ClientError

from course.bucket import clean_up

#: Left in a bucket whose versions are to be suspended at the end.
NOTE = "versions-turned-on-here.txt"


def bucket_with_versions(own: str, folder: str) -> str | None:
    """A bucket that keeps versions from now on; None where there is none for a trial.

    That is your own bucket if it keeps versions anyway, else the bucket that the local
    datalab shares with you, else a new bucket. What was found is printed.

    Parameters
    ----------
    own
        The name of your bucket.
    folder
        A prefix to which you will write there, such as ``"34-protecting"``.
    """
    s3 = boto3.client("s3")
    bucket = _for_trials(s3, own)
    if not bucket:
        print(
            "No bucket keeps versions here, and nobody may make one for a trial. The cells of "
            "this section do nothing; the text says what they would show."
        )
        return None
    if _setting(s3, bucket) != "Enabled":
        s3.put_object(Bucket=bucket, Key=f"{folder}/{NOTE}", Body=b"")
        on = {"Status": "Enabled"}
        s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=on)
    print(f'The bucket "{bucket}" keeps versions now.')
    return bucket


def end_versions(own: str, folder: str) -> None:
    """Delete what was written, and put back the setting; a bucket made for it is deleted.

    It can be run twice, and also where `bucket_with_versions` was never run.

    Parameters
    ----------
    own, folder
        As for `bucket_with_versions`.
    """
    s3 = boto3.client("s3")
    for bucket in dict.fromkeys([own, os.environ.get("PROJECT_BUCKET") or own]):
        noted = s3.list_objects_v2(Bucket=bucket, Prefix=f"{folder}/{NOTE}").get("Contents")
        clean_up(f"{bucket}/{folder}")
        if noted:
            off = {"Status": "Suspended"}
            s3.put_bucket_versioning(Bucket=bucket, VersioningConfiguration=off)
    try:
        s3.head_bucket(Bucket=_new(own))
    except ClientError:
        return  # none was made
    clean_up(f"{_new(own)}/{folder}")
    s3.delete_bucket(Bucket=_new(own))


def _new(own: str) -> str:
    return f"{own}-trial-of-versions"


def _setting(s3: Any, bucket: str) -> str:
    try:
        return str(s3.get_bucket_versioning(Bucket=bucket).get("Status", "never on"))
    except ClientError:  # who may not ask may not change it either
        return "never on"


def _for_trials(s3: Any, own: str) -> str | None:
    if _setting(s3, own) != "never on":
        return own
    shared = os.environ.get("PROJECT_BUCKET")
    if shared and os.environ.get("COLLEAGUE_TOKEN_FILE"):  # that of the datalab, for trials
        return shared
    try:
        s3.create_bucket(Bucket=_new(own))
    except s3.exceptions.BucketAlreadyOwnedByYou:
        pass  # of an earlier run
    except ClientError:
        return None
    return _new(own)
