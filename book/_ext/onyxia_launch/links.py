"""The ways to open a notebook: on each Onyxia, on its forge, on Colab, as a file.

An Onyxia link follows the parser of Onyxia 5 (``web/src/ui/pages/launcher/route.ts``).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote

from sphinx.errors import ConfigError

Settings = Mapping[str, Any]  # as `settings.read` makes them
Value = bool | int | float | str
#: Where the offered notebooks are written, below the folder of the HTML.
DOWNLOADS = "_notebooks"
GITHUB, COLAB = "https://github.com/", "https://colab.research.google.com/github/"


class Entry(NamedTuple):
    """One way to open a page: for the menu, and as a badge.

    ``id`` is that of a service, or ``forge``, ``colab``, ``download``. ``instance`` and
    ``where`` are id and title of an Onyxia, or empty. ``url`` is relative to the site for
    a download.
    """

    id: str
    title: str
    icon: str
    url: str
    instance: str = ""
    where: str = ""

    @property
    def text(self) -> str:
        """The whole name of a link to it."""
        if self.id == "download":
            return "Download the notebook"
        where = f" ({self.where})" if self.where else ""
        return f"Open {'in' if self.instance else 'on'} {self.title}{where}"


def entries(settings: Settings, page: str) -> list[Entry]:
    """All ways to open a page, given by the path of its notebook without suffix.

    Raises
    ------
    ConfigError
        The page cannot be launched; the message starts with its name.
    """
    name = PurePosixPath(page).name
    arguments = settings["arguments"].replace("{name}", name)
    split = " " in name and "{name}" in settings["arguments"]
    if settings["instances"] and (split or not arrive_unchanged(arguments)):
        raise ConfigError(
            f"{page}.ipynb: {arguments!r} would not arrive at the init script unchanged. Rename "
            "the notebook, or change launch_arguments: letters, digits, _, - and dots arrive, "
            "unless YAML takes the whole for a number, a date, or a word such as yes, off or null."
        )
    own = settings["notebooks"].get(name, {"charts": {}, "values": {}})
    found = []
    for key, instance in settings["instances"].items():
        for chart in instance["services"] or settings["services"]:
            service = settings["services"][chart]
            init = {
                "init.personalInit": _raw(settings, service["script"]),
                "init.personalInitArgs": arguments,
            }
            launcher = f"{instance['address'].rstrip('/')}/launcher/{instance['catalogue']}"
            url = onyxia_link(
                f"{launcher}/{own['charts'].get(chart, chart)}",
                settings["service_name"].replace("{name}", name),
                init | settings["values"] | instance["values"] | own["values"],
            )
            where = {"instance": key, "where": instance["title"]}
            found.append(Entry(chart, service["title"], service["icon"], url, **where))
    forge = {"github": "GitHub", "gitlab": "GitLab"}[settings["forge"]]
    source = _page(settings, f"{page}.ipynb")
    found.append(Entry("forge", forge, f"fab fa-{settings['forge']}", source))
    if settings["colab"] and source.startswith(GITHUB):
        found.append(Entry("colab", "Colab", "fas fa-infinity", source.replace(GITHUB, COLAB)))
    if settings["download"]:
        kind = "zip" if isinstance(settings["download"], str) else "ipynb"
        url = f"{DOWNLOADS}/{quote(page)}.{kind}"
        found.append(Entry("download", "Download", "fas fa-download", url))
    return found


def onyxia_link(launcher: str, name: str, values: Mapping[str, Value]) -> str:
    """The address that starts a service.

    Parameters
    ----------
    launcher
        The address of the chart in the launcher of an instance.
    name
        Of the service, as its user sees it.
    values
        Of the chart, by their paths.
    """
    # What has no dot is the launcher's own, and not between guillemets.
    query = {"autoLaunch": "true", "name": quote(name, safe="")}
    query |= {path: encoded(value) for path, value in values.items()}
    return launcher + "?" + "&".join(f"{key}={value}" for key, value in query.items())


def encoded(value: Value) -> str:
    """A chart value as the launcher reads it: text between guillemets, the rest bare."""
    if isinstance(value, str):
        return quote(f"«{value}»", safe="")
    return json.dumps(value, allow_nan=False)


_MARK = r"(?:[\w./=-]|://)"
#: What some YAML parser takes for a number or a date. Go's, which Helm uses, drops the
#: underscores first, and knows 1e3, 0o17 and 01 where PyYAML does not.
_NUMBER = r"[\d_.-]+(e[\d_-]*)?|0_*[xob][\da-f_]*"
_TRUTH_OR_NOTHING = "y|n|yes|no|on|off|true|false|null"
_ARGUMENTS = re.compile(
    rf"(?!({_NUMBER}|{_TRUTH_OR_NOTHING})$)\w{_MARK}*( {_MARK}+)*", re.IGNORECASE
)


def arrive_unchanged(arguments: str) -> bool:
    """Whether it is sure that a script gets its arguments, one line, as they are.

    On their way they stand without quotes in the YAML of the chart
    (``templates/statefulset.yaml`` of jupyter-python 2.5), where Kubernetes replaces
    ``$(NAME)``, and without quotes on the command line of a shell.
    """
    return _ARGUMENTS.fullmatch(arguments) is not None


# -- where a forge keeps the files --------------------------------------------------


def _address(settings: Settings) -> str:
    address: str = settings["repository"]
    return address.rstrip("/").removesuffix(".git")


def _raw(settings: Settings, path: str) -> str:
    """Where a file's bytes are, without a redirect: the runner of scripts follows none."""
    address, file = _address(settings), f"{settings['version']}/{quote(path)}"
    if settings["forge"] == "gitlab":
        return f"{address}/-/raw/{file}"
    if address.startswith(GITHUB):
        return f"{address.replace(GITHUB, 'https://raw.githubusercontent.com/')}/{file}"
    return f"{address}/raw/{file}"  # a GitHub of an institution's own


def _page(settings: Settings, path: str) -> str:
    """Where the forge shows a file of the Sphinx sources."""
    blob = "-/blob" if settings["forge"] == "gitlab" else "blob"
    inside = quote(str(PurePosixPath(settings["folder"], path)))
    return f"{_address(settings)}/{blob}/{settings['version']}/{inside}"


def note(settings: Settings) -> str:
    """What to say where the address of the repository is a stand-in; else empty.

    GitHub has rules for the names of owners. At an address that breaks them nobody can
    publish, so links to it run no stranger's script: they are made all the same.
    """
    address = _address(settings)
    owner = address.removeprefix(GITHUB).partition("/")[0]
    # names with "_" are for the managed accounts of enterprises, which have nothing public
    if not address.startswith(GITHUB) or re.fullmatch(r"[A-Za-z0-9-]{1,39}", owner):
        return ""
    return (
        "The launch links of this copy do not work yet: the repository that they name, "
        f"{address}, is a stand-in. GitHub lets nobody publish as {owner}. "
        "Whoever publishes the course sets the real address."
    )
