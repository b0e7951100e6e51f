"""Bucket notifications, as MinIO and as Ceph send them.

Both send the JSON of Amazon's S3 events, which says much: what happened, when, to which
version. The program asks the object itself, so it needs the bucket and the key only.
MinIO encodes the key as in a URL (``a%2Fb+c.tif``), Ceph does not.
"""

import json
from urllib.parse import unquote_plus


class Malformed(Exception):
    """A message that is no bucket notification; the text says why."""


def objects(body: bytes) -> list[tuple[str, str]]:
    """Bucket and key of each object that a message is about.

    Raises
    ------
    Malformed
        It is not JSON, or not a notification.
    """
    try:
        records = json.loads(body)["Records"]
        return [(record["s3"]["bucket"]["name"], _key(record)) for record in records]
    except ValueError:
        raise Malformed("the message is not JSON") from None
    except (KeyError, TypeError, AttributeError) as error:
        raise Malformed(f"the message is not a bucket notification: {error!r}") from None


def _key(record: dict) -> str:
    key: str = record["s3"]["object"]["key"]
    return key if record["eventSource"].startswith("ceph") else unquote_plus(key)
