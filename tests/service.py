"""A service of the SSP Cloud on the datalab of this worker, and what a notebook left on it."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import boto3
import nbformat
from botocore.exceptions import ClientError

from datalab.environment import merge
from datalab.lab import Datalab
from datalab.servers.postgres import Postgres
from datalab.servers.rights import COLLEAGUE, OWN_BUCKETS, STUDENT
from datalab.servers.spark import Spark
from datalab.state import SERVICE

#: Units that use the database of a service, if it has one.
OF_DATABASES = ("21", "22")
#: Units that use Spark.
OF_SPARK = ("52",)


def service(notebook: Path) -> dict[str, str]:
    """The environment in which a student of the platform opens a notebook.

    With the variables of a PostgreSQL service where the notebook is about databases, and of
    Spark where it is about that, if the datalab has it.
    """
    wanted = {Postgres.key: OF_DATABASES, Spark.key: OF_SPARK}
    services = [key for key, units in wanted.items() if notebook.stem.startswith(units)]
    lab = Datalab(Path(os.environ["TEST_DATALAB"]))
    values = merge(lab.environment(SERVICE, services), os.environ)
    return values | {"COURSE_ROWS": os.environ["COURSE_ROWS"]}  # or the machine would choose


def printed(notebook: nbformat.NotebookNode) -> dict[str, str]:
    """What the code cells of a notebook that was run printed and gave, by id."""
    return {
        cell.id: "".join(
            output.get("text", "") + output.get("data", {}).get("text/plain", "")
            for output in cell.outputs
        )
        for cell in notebook.cells
        if cell.cell_type == "code"
    }


def administrator() -> boto3.client:
    """A client that may look at everything."""
    store = Datalab(Path(os.environ["TEST_DATALAB"])).store()
    return store.client("s3", store.settings.root)


@contextmanager
def nothing_left_behind(folder: Path | None = None) -> Iterator[None]:
    """The store is searched before and after: what is new there was left behind.

    So is the folder in which a notebook runs, if it is given. What leaves nothing disturbs
    nothing that comes after it, in whichever order a student opens the units.

    Where a notebook has made the project's bucket keep versions, other tests of this worker
    leave delete markers there.
    """
    before = found_on_the_store() + found_in(folder)
    yield
    left = [each for each in found_on_the_store() + found_in(folder) if each not in before]
    assert not left, left


def found_in(folder: Path | None) -> list[str]:
    """The files of a folder but for those that Python compiles."""
    paths = sorted(folder.rglob("*")) if folder else []
    return [str(path) for path in paths if "__pycache__" not in path.parts]


def found_on_the_store() -> list[str]:
    """What is in the student's buckets, or open, or set, that a new datalab does not have.

    Objects with all their versions and markers, unfinished uploads, rules that open
    something to everybody, notifications, and buckets.
    """
    s3 = administrator()
    found = []
    known = {*OWN_BUCKETS[STUDENT], COLLEAGUE, "donnees-insee", "earth-science"}
    buckets = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    found += [f"the bucket {name}" for name in sorted(buckets - known)]
    for bucket in sorted(OWN_BUCKETS[STUDENT]):
        listed = s3.get_paginator("list_object_versions").paginate(Bucket=bucket)
        for page in listed:
            found += [f"{bucket}/{each['Key']}" for each in page.get("Versions", [])]
            found += [
                f"{bucket}/{each['Key']} (delete marker)" for each in page.get("DeleteMarkers", [])
            ]
        for upload in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", []):
            found.append(f"{bucket}/{upload['Key']} (unfinished upload)")
        try:
            rules = json.loads(s3.get_bucket_policy(Bucket=bucket)["Policy"])["Statement"]
            found += [f"a rule of {bucket}: {json.dumps(rule)}" for rule in rules]
        except ClientError as error:
            assert error.response["Error"]["Code"] == "NoSuchBucketPolicy"
        notifications = s3.get_bucket_notification_configuration(Bucket=bucket)
        notifications.pop("ResponseMetadata")
        found += [f"a notification of {bucket}: {each}" for each in notifications]
    return found
