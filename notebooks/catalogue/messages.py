"""Bucket notifications, as MinIO and as Ceph send them.

Both send the JSON of Amazon's S3 events, with differences:

=============  ===================================  ===================================
field          MinIO                                Ceph
=============  ===================================  ===================================
eventSource    ``minio:s3``                         ``ceph:s3``
eventName      ``s3:ObjectCreated:Put``             ``ObjectCreated:Put``
s3.object.key  URL-encoded: ``a%2Fb+c.tif``         as it is: ``a/b c.tif``
user metadata  ``userMetadata``, a dictionary with  ``metadata``, a list of ``key`` and
               keys ``X-Amz-Meta-…``                ``val``, keys ``x-amz-meta-…``
top level      also ``EventName`` and ``Key``       ``Records`` only
=============  ===================================  ===================================

Sources: messages of MinIO 2026-02; Ceph's documentation of bucket notifications.
"""

import json
from dataclasses import dataclass, field
from urllib.parse import unquote_plus

PREFIX = "x-amz-meta-"  # of user metadata, among the headers of an object


class Malformed(Exception):
    """A message that is no bucket notification; the text says why."""


@dataclass(frozen=True)
class Change:
    """Something happened to an object: what, the message says; the object may have changed since.

    Parameters
    ----------
    bucket, key
        The object; the key is decoded.
    event
        ``ObjectCreated:Put`` and the like, without ``s3:``.
    metadata
        User metadata at that time, names in lower case and without ``x-amz-meta-``.
        Absent from what a store says of a deleted object.
    """

    bucket: str
    key: str
    event: str
    metadata: dict[str, str] = field(default_factory=dict)


def changes(body: bytes) -> list[Change]:
    """The changes that a message tells of.

    Raises
    ------
    Malformed
        It is not JSON, or not a notification.
    """
    try:
        message = json.loads(body)
    except ValueError:
        raise Malformed("the message is not JSON") from None
    try:
        return [_change(record) for record in message["Records"]]
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"the message is not a bucket notification: {error!r}") from None


def _change(record: dict) -> Change:
    ceph = record["eventSource"].startswith("ceph")
    described = record["s3"]["object"]
    if ceph:
        given = {entry["key"]: entry["val"] for entry in described.get("metadata", [])}
    else:
        given = described.get("userMetadata") or {}
    metadata = {name.lower(): value for name, value in given.items()}
    return Change(
        bucket=record["s3"]["bucket"]["name"],
        key=described["key"] if ceph else unquote_plus(described["key"]),
        event=record["eventName"].removeprefix("s3:"),
        metadata={
            name.removeprefix(PREFIX): value
            for name, value in metadata.items()
            if name.startswith(PREFIX)
        },
    )
