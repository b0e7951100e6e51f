"""The secrets of a datalab, and where they may not be found."""

import html
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import msgspec

from datalab.lab import Datalab
from datalab.state import State


def secrets_of(lab: Datalab) -> dict[str, str]:
    """What nobody but the lab's user may read, by name."""
    return {
        f"{key} {path}": value
        for key, settings in (lab.state() or State.new([])).servers.items()
        for path, value in _texts(msgspec.to_builtins(settings))
        if len(value) > 15
    }


def _texts(settings: dict[str, object], above: str = "") -> Iterator[tuple[str, str]]:
    for name, value in settings.items():
        if isinstance(value, dict):
            yield from _texts(value, f"{above}{name}.")
        elif isinstance(value, str) and name not in ("upstream", "expires"):
            yield f"{above}{name}", value


def shown_in(text: str, secrets: dict[str, str]) -> list[str]:
    """The names of the secrets that a text shows, plain, in a URL or between tags."""
    text += html.unescape(re.sub("<[^>]*>", "", text))  # colouring may cut a value in two
    return [
        name for name, value in secrets.items() if value in text or quote(value, safe="") in text
    ]


def leaks(folder: Path, secrets: dict[str, str]) -> list[str]:
    """The files below `folder` that show a secret, one line each."""
    found = []
    for path in filter(Path.is_file, folder.glob("**/*")):
        content = path.read_text(encoding="utf-8", errors="replace")
        names = shown_in(content, secrets)
        found += [f"{path.relative_to(folder)} shows {name}" for name in names]
    return found
