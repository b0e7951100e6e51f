"""Where the product lies: one prefix of a bucket."""

import hashlib
import json
import os
from typing import Any

import s3fs


class Store:
    """The objects under an address such as ``s3://bucket/prefix``."""

    def __init__(self, address: str) -> None:
        self.root = address.removeprefix("s3://").strip("/")
        self._fs = s3fs.S3FileSystem(use_listings_cache=False)

    @property
    def url(self) -> str:
        """Where a browser finds it."""
        return f"{os.environ['AWS_ENDPOINT_URL'].rstrip('/')}/{self.root}"

    def read(self, path: str) -> bytes:
        """The bytes of an object."""
        return bytes(self._fs.cat_file(f"{self.root}/{path}"))

    def json(self, path: str) -> Any:
        """What a JSON object holds; None if it is not there."""
        try:
            return json.loads(self.read(path))
        except FileNotFoundError:
            return None

    def write(self, path: str, content: bytes) -> None:
        """Put an object, in one piece."""
        self._fs.pipe_file(f"{self.root}/{path}", content)


def digest(content: bytes) -> str:
    """The SHA-256 of some bytes."""
    return hashlib.sha256(content).hexdigest()
