"""The secrets of a datalab, and where they may not be found."""

import html
import re
from pathlib import Path
from urllib.parse import quote

from datalab.lab import Datalab


def secrets_of(lab: Datalab) -> dict[str, str]:
    """What nobody but the lab's user may read, by name."""
    state = lab.state()
    assert state is not None and state.token is not None
    broker = {}
    if state.broker:
        broker = {
            "RabbitMQ's student password": state.broker.student_password,
            "RabbitMQ's publisher password": state.broker.publisher_password,
            "RabbitMQ's cookie": state.broker.cookie,
        }
    return broker | {
        "the administrator's secret key": state.root.secret_key,
        "the administrator's access key": state.root.access_key,
        "the student's permanent secret key": state.student.secret_key,
        "the student's access key": state.token.access_key,
        "the student's secret key": state.token.secret_key,
        "the student's token": state.token.token,
        "PostgreSQL's administrator password": state.passwords.administrator,
        "PostgreSQL's student password": state.passwords.student,
        "the proxy's password": state.proxy_password,
    }


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
