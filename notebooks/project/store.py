"""Where the data live: one bucket, three floors, and a note on each result of what made it."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import s3fs
from botocore.exceptions import BotoCoreError
from failure import ProjectError

NOTE = "made-from"


@contextmanager
def refusals_told() -> Iterator[None]:
    """Make each refusal of the store the failure that this program tells."""
    try:
        yield
    except (OSError, BotoCoreError) as error:
        raise ProjectError(
            f"The store refused: {error}.",
            "Is the name taken by raw data? Have your keys ended? Is MY_BUCKET yours?",
        ) from error


class Store:
    """The objects of the project below its prefix, such as ``raw/dpe/2026-11-01/...``.

    Every write is a single put: an object is there whole, or it is not there.

    Raises
    ------
    ProjectError
        By each method, where the store refuses.
    """

    def __init__(self, prefix: str) -> None:
        bucket = os.environ.get("MY_BUCKET")
        if not bucket:
            raise ProjectError(
                "It is not known which bucket is yours.",
                "Name it first: export MY_BUCKET=your-bucket",
            )
        # no memory of listings: what another process wrote is seen at once
        self._fs = s3fs.S3FileSystem(use_listings_cache=False)
        self.root = f"{bucket}/{prefix}"

    @refusals_told()
    def list(self, folder: str) -> list[str]:
        """Keys below a folder, in alphabetical order."""
        found = self._fs.find(f"{self.root}/{folder}")
        return sorted(path.removeprefix(f"{self.root}/") for path in found)

    @refusals_told()
    def read(self, key: str) -> bytes:
        """The bytes of an object."""
        return bytes(self._fs.cat_file(f"{self.root}/{key}"))

    @refusals_told()
    def freeze(self, key: str, content: bytes) -> None:
        """Put an object that nobody replaces: the store refuses a name that is taken."""
        self._fs.pipe_file(f"{self.root}/{key}", content, mode="create")

    @refusals_told()
    def write(self, key: str, content: bytes, made_from: str) -> None:
        """Put a result, with a note of what it was made from."""
        self._fs.pipe_file(f"{self.root}/{key}", content, Metadata={NOTE: made_from})

    @refusals_told()
    def is_made_from(self, key: str, made_from: str) -> bool:
        """Whether the result is there, and was made from exactly that."""
        try:
            notes = self._fs.metadata(f"{self.root}/{key}")
        except FileNotFoundError:
            return False
        return bool(notes.get(NOTE) == made_from)


def digest(*parts: Path | bytes | dict[str, Any]) -> str:
    """A short name for code, settings and data together: change one, and it changes.

    Parameters
    ----------
    parts
        A path stands for the bytes of its file.
    """
    whole = hashlib.sha256()
    for part in parts:
        if isinstance(part, Path):
            content = part.read_bytes()
        else:
            content = part if isinstance(part, bytes) else json.dumps(part, sort_keys=True).encode()
        whole.update(hashlib.sha256(content).digest())
    return whole.hexdigest()[:16]
