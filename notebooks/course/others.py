"""Other people, to try what they may do: a stranger, and a colleague where there is one.

A right is proven by somebody who tries to use it. `rights` tries four things in the name of
such a person: to read an object, to list its folder, to write there and to delete there.
"""

import json
import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

#: The store wants the name of a role; some stores do not look at it.
ROLE = "arn:aws:iam::minio:role/{}"


def stranger() -> Any:
    """A client without any key: somebody on the Internet."""
    return boto3.client("s3", config=Config(signature_version=UNSIGNED))


def colleague() -> Any:
    """A client with the keys of a second user of the platform; None where nobody can be one.

    The local datalab has a colleague, whose keys live for a few seconds only: ask for a new
    client each time. On a real platform nobody can act as somebody else.
    """
    proof = os.environ.get("COLLEAGUE_TOKEN_FILE")
    return _client_for(Path(proof), ROLE.format("colleague")) if proof else None


def limited(statements: list[dict[str, Any]]) -> Any:
    """A client whose keys are yours, may do less, and end soon; None where there are none.

    The store gives such keys to somebody who shows an identity token. A service of the SSP
    Cloud has none; that of the local datalab ends after a few seconds, and its keys with it.

    Parameters
    ----------
    statements
        What the keys may do, in the form of the rules of a bucket's policy, without a
        principal. They never may do more than you.
    """
    proof = os.environ.get("MY_TOKEN_FILE")
    if not proof:
        return None
    policy = json.dumps({"Version": "2012-10-17", "Statement": statements})
    return _client_for(Path(proof), ROLE.format("me"), Policy=policy)


def _client_for(proof: Path, role: str, **more: str) -> Any:
    """A client with keys that the store gives for an identity token."""
    login = boto3.client("sts", config=Config(signature_version=UNSIGNED))
    keys = login.assume_role_with_web_identity(
        RoleArn=role, RoleSessionName="course", WebIdentityToken=proof.read_text(), **more
    )["Credentials"]
    return boto3.client(
        "s3",
        aws_access_key_id=keys["AccessKeyId"],
        aws_secret_access_key=keys["SecretAccessKey"],
        aws_session_token=keys["SessionToken"],
    )


def rights(who: Any, bucket: str, key: str) -> dict[str, str]:
    """What somebody may do with an object and beside it, found out by trying.

    Nothing of yours is changed: what is written and deleted is a small object with a new
    name in the same folder, and it is gone at the end.

    Parameters
    ----------
    who
        A boto3 client, such as that of `stranger()`; None for somebody who is not there.
    bucket, key
        The object. Its folder is everything up to the last slash of its key.

    Returns
    -------
    dict
        For each of "read", "list", "write" and "delete": "yes", "no", or "nobody to try".
    """
    folder = key.rpartition("/")[0] + "/"
    trial = f"{folder}trial-{uuid.uuid4().hex[:8]}.txt"
    tries: dict[str, tuple[str, dict[str, Any]]] = {
        "read": ("get_object", {"Key": key}),
        "list": ("list_objects_v2", {"Prefix": folder, "MaxKeys": 1}),
        "write": ("put_object", {"Key": trial, "Body": b"a trial"}),
        "delete": ("delete_object", {"Key": trial}),
    }
    if who is None:
        return dict.fromkeys(tries, "nobody to try")
    found = {}
    for name, (action, arguments) in tries.items():
        try:
            getattr(who, action)(Bucket=bucket, **arguments)
            found[name] = "yes"
        except ClientError as error:
            if error.response["ResponseMetadata"]["HTTPStatusCode"] != 403:
                raise
            found[name] = "no"
    if found["write"] == "yes" and found["delete"] == "no":
        boto3.client("s3").delete_object(Bucket=bucket, Key=trial)
    return found


@contextmanager
def refusal_shown() -> Iterator[None]:
    """Run the block; where the store refuses, print what it says and go on below."""
    try:
        yield
    except ClientError as error:
        print("Refused:", error)
