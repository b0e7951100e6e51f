"""Where the data live: one bucket, three floors, and a note on each object of what made it."""

import hashlib
import os
import sys
from pathlib import Path

import s3fs

NOTE = "made-from"


class Store:
    """The objects of the project under its prefix.

    Every write is a single put: an object is there whole, or it is not there.
    """

    def __init__(self, prefix: str) -> None:
        bucket = os.environ.get("MY_BUCKET")
        if not bucket:
            sys.exit("Which bucket? Name it first: export MY_BUCKET=your-bucket")
        # no memory of listings: what another process wrote is seen at once
        self._fs = s3fs.S3FileSystem(use_listings_cache=False)
        self.root = f"{bucket}/{prefix.strip('/')}"

    def list(self, folder: str) -> list[str]:
        """Keys under ``folder`` in alphabetical order, relative to the project's prefix."""
        found = self._fs.find(f"{self.root}/{folder}")
        return sorted(path.removeprefix(f"{self.root}/") for path in found)

    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        return bytes(self._fs.cat_file(f"{self.root}/{key}"))

    def write(self, key: str, content: bytes, made_from: str = "") -> None:
        """Put an object, with the note of what it was made from."""
        notes = {"Metadata": {NOTE: made_from}} if made_from else {}
        self._fs.pipe_file(f"{self.root}/{key}", content, **notes)

    def is_made_from(self, key: str, made_from: str) -> bool:
        """Whether the object is there, and was made from exactly that."""
        try:
            return bool(self._fs.metadata(f"{self.root}/{key}").get(NOTE) == made_from)
        except FileNotFoundError:
            return False


def digest(*parts: object) -> str:
    """A short name for code, configuration and data together: change one, and it changes."""
    whole = hashlib.sha256()
    for part in parts:
        content = part.read_bytes() if isinstance(part, Path) else str(part).encode()
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
