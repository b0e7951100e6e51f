"""The objects that a store has from the start: made up once, then taken from the cache."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from zipfile import ZipFile, ZipInfo

from datalab.machine import archives

__all__ = ["MADE_UP", "Sample", "all_samples"]

MADE_UP: Final = {
    "made-up": "yes",
    "made-up-note": "Numbers invented for a course. Not statistics.",
}
"""S3 user metadata that every object carries. ASCII, as HTTP headers are."""


@dataclass(frozen=True)
class Sample:
    """One object of the bucket: its key, its bytes and its media type."""

    key: str
    content: bytes
    content_type: str


def all_samples() -> Iterator[tuple[str, Sample]]:
    """Each object with the name of its bucket, in the order of upload."""
    makers = archives.digest(sorted(Path(__file__).parent.glob("*.py")), ["numpy", "pyarrow"])
    with archives.opened("samples", makers, _make) as archive:
        for entry in archive.infolist():
            bucket, _, key = entry.filename.partition("/")
            content_type, content = json.loads(entry.comment)
            yield bucket, Sample(key, archive.read(content), content_type)


def _make(archive: ZipFile) -> None:
    names: dict[bytes, str] = {}  # the same content at two keys is kept once
    for bucket, sample in _made():
        entry = ZipInfo(f"{bucket}/{sample.key}")
        first = names.setdefault(sample.content, entry.filename)
        entry.comment = json.dumps([sample.content_type, first]).encode()
        archive.writestr(entry, sample.content if first == entry.filename else b"")


def _made() -> Iterator[tuple[str, Sample]]:
    # slow to import, and not needed where the cache has them
    from datalab.samples.earth import samples_earth
    from datalab.samples.insee import samples

    for sample in samples():
        yield "donnees-insee", sample
    for sample in samples_earth():
        yield "earth-science", sample
