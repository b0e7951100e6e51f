"""Sphinx extension: open a notebook page on Onyxia, on Colab, on its forge, or download it.

Every page made from an ``.ipynb`` file gets entries in the launch menu of
sphinx-book-theme: one for each service (Jupyter, VSCode, …) of each Onyxia instance,
one for the file on GitHub or GitLab, one for Colab (GitHub only), one for the
download. The directive ``launch`` shows the same as badges::

    ```{launch}
    ```

    ```{launch} /notebooks/03_s3
    :only: jupyter-python, github
    ```

Without a name it means its own page. ``only`` takes ids of services and ``forge``,
``colab``, ``download``. Nothing is fetched while building or reading.

An Onyxia link starts a service, has it run one script of the course's repository at
a fixed version, and hands it the notebook's name. How the link is written follows
the parser of Onyxia 5 (``web/src/ui/pages/launcher/route.ts``); the limits of the
argument come from the charts, which write it into YAML without quotes
(``templates/statefulset.yaml`` of jupyter-python 2.5), and from the runner, which
leaves it to the shell to split. What would arrive changed is refused before a page
is read.

Options (of ``conf.py``, or under ``sphinx: config`` of Jupyter Book's ``_config.yml``)
-------------------------------------------------------------------------------------
``launch_repository`` : str, required
    Address of the repository, such as ``https://github.com/OWNER/NAME``.
``launch_version`` : str, required
    Tag (``v1.0``) or whole commit (40 hexadecimal digits) that all links point to. A
    branch is refused: what it holds changes under the feet of a class, and a script
    that runs with a student's keys has to be one that somebody has read.
``launch_forge`` : {"", "github", "gitlab"}
    What the repository lives on; by default seen from the address, if it can be.
``launch_folder`` : str
    Folder of the Sphinx sources in the repository; "" (default) is its top.
``launch_services`` : dict, id of the chart -> dict
    The kinds of service: ``title`` (required), ``script`` (required: path of the init
    script in the repository), ``icon`` (Font Awesome classes, for the menu).
``launch_instances`` : dict, any id -> dict
    The Onyxia instances: ``title`` and ``address`` (required), ``catalogue`` (id,
    default "ide"), ``services`` (ids, default: all), ``values`` (see next).
``launch_values`` : dict, dotted path -> bool, number or str
    Chart values set by every link, such as ``{"vault.enabled": False}``; an
    instance's own ``values`` go over them.
``launch_service_name`` : str
    Name of the service as a user sees it; ``{name}`` is the notebook's file name
    without suffix. Default "{name}".
``launch_arguments`` : str
    Arguments of the init script, likewise. Default "{name}".
``launch_pages`` : list of str
    Patterns (fnmatch) of the pages to launch; default ["*"], all notebooks.
``launch_colab`` : bool
    Offer Colab for a repository on GitHub. Default True.
``launch_download`` : bool or str
    Offer the notebook file. A string ``FILE.py:FUNCTION`` (relative to the sources)
    names a function from the parsed notebook to the one that is offered, both dicts
    of nbformat 4: an edition without solutions, say. The entry replaces the theme's
    own download of the source. Default True.
``launch_badges`` : dict, id -> str
    Pictures of the badges: files of ``html_static_path``. Without one, a badge is text.
``launch_below_title`` : bool
    Show the badges on every notebook page, under its title. Default False.
``launch_help`` : str
    A page that says how to set the repository, linked where it is not set.

GitHub has rules for the names of owners. An address that breaks them is a stand-in
at which nobody can publish: its links can run no stranger's script. They are made all
the same; the log says so once, and so do the menu and a note on each page.
"""

from __future__ import annotations

import html
import importlib.util
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

import yaml
from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

LOGGER = logging.getLogger(__name__)

Value = bool | int | float | str
#: Where the offered notebooks are written, below the folder of the HTML.
DOWNLOADS = "_notebooks"
#: The place in a page that the menu's warning leads to.
NOTE = "launch-note"
MENU = "launch-buttons"
COLAB = "https://colab.research.google.com/github"
#: Names that move, on every forge.
BRANCHES = {
    "main", "master", "head", "trunk", "default", "latest", "stable", "dev", "develop",
    "development", "next", "nightly", "edge", "gh-pages", "staging", "production",
}  # fmt: skip
COMMIT = re.compile(r"[0-9a-f]{40}")
TAG = re.compile(r"(?:[A-Za-z][A-Za-z0-9]*[-_])*v?\d+(?:[._-]?[A-Za-z0-9]+)*")
#: The names under which one can publish. GitHub gives names with "_" to the managed
#: accounts of enterprises only, which have nothing public.
GITHUB_OWNER = re.compile(r"[A-Za-z0-9-]{1,39}")


# -- the links ----------------------------------------------------------------------


@dataclass(frozen=True)
class Repository:
    """A repository at a version that does not move.

    Parameters
    ----------
    address
        Of its front page, without suffix.
    forge
        ``github`` or ``gitlab``; decides the form of the other addresses.
    version
        A tag or a whole commit.
    folder
        Of the Sphinx sources, "" for the top.
    """

    address: str
    forge: str
    version: str
    folder: str = ""

    @classmethod
    def read(cls, address: str, version: str, forge: str = "", folder: str = "") -> Repository:
        """Check the settings; a ConfigError names the one that is wrong."""
        checked = _address("launch_repository", address).removesuffix(".git")
        parts = urlsplit(checked)
        if not forge:
            known = {"github.com": "github", "gitlab.com": "gitlab"}
            forge = known.get(parts.netloc) or ("gitlab" if "gitlab" in parts.netloc else "")
        if forge not in ("github", "gitlab"):
            raise ConfigError(
                f"launch_forge is {forge!r}, and {parts.netloc} does not tell: "
                'say "github" or "gitlab".'
            )
        names = parts.path.split("/")[1:]
        if len(names) < 2 or (forge == "github" and len(names) != 2) or "" in names:
            raise ConfigError(
                f"launch_repository is {address!r}: the address of a repository ends in OWNER/NAME."
            )
        if folder.strip("/") and not _is_plain_path(folder.strip("/")):
            raise ConfigError(f"launch_folder is {folder!r}: not a folder of the repository.")
        return cls(checked, forge, _version(version), folder.strip("/"))

    @property
    def is_stand_in(self) -> bool:
        """Whether nobody can publish at this address, by GitHub's rule for the names of owners."""
        on_github = urlsplit(self.address).netloc == "github.com"
        return on_github and not GITHUB_OWNER.fullmatch(self.address.split("/")[3])

    def raw(self, path: str) -> str:
        """Where a file's bytes are, without a redirect: the runner follows none."""
        if self.forge == "gitlab":
            return f"{self.address}/-/raw/{self.version}/{quote(path)}"
        raw = self.address.replace("https://github.com/", "https://raw.githubusercontent.com/")
        middle = "" if raw != self.address else "/raw"  # a GitHub of an institution's own
        return f"{raw}{middle}/{self.version}/{quote(path)}"

    def page(self, path: str) -> str:
        """Where the forge shows a file of the Sphinx sources."""
        middle = "-/blob" if self.forge == "gitlab" else "blob"
        return f"{self.address}/{middle}/{self.version}/{quote(self._inside(path))}"

    def colab(self, path: str) -> str | None:
        """Where Colab opens a notebook of the sources; it reads public GitHub only."""
        owner_and_name = self.address.removeprefix("https://github.com/")
        if owner_and_name == self.address:
            return None
        return f"{COLAB}/{owner_and_name}/blob/{self.version}/{quote(self._inside(path))}"

    def _inside(self, path: str) -> str:
        return f"{self.folder}/{path}" if self.folder else path


@dataclass(frozen=True)
class Service:
    """A kind of service: the id of its chart, its title, its script, its icon."""

    id: str
    title: str
    script: str
    icon: str


@dataclass(frozen=True)
class Instance:
    """An Onyxia somewhere, with what it offers of the services."""

    title: str
    address: str
    catalogue: str
    services: tuple[Service, ...]
    values: Mapping[str, Value]


def onyxia_link(
    instance: Instance, service: Service, repository: Repository, *, name: str, arguments: str
) -> str:
    """The address that starts a service and has it run its script.

    Parameters
    ----------
    name
        Of the service, as its user sees it.
    arguments
        Of the script, as one line.

    Raises
    ------
    ValueError
        A value cannot be carried by such a link; says which and why.
    """
    script = repository.raw(service.script)
    check_arguments(arguments)
    # `autoLaunch` and `name` are the launcher's own and not quoted; whatever has a dot
    # is a value of the chart.
    query = {"autoLaunch": "true", "name": quote(name, safe="")}
    values = {"init.personalInit": script, "init.personalInitArgs": arguments, **instance.values}
    query |= {key: encoded(key, value) for key, value in values.items()}
    parameters = "&".join(f"{key}={value}" for key, value in query.items())
    return f"{instance.address}/launcher/{instance.catalogue}/{service.id}?{parameters}"


def encoded(key: str, value: Value) -> str:
    """A chart value as the launcher reads it: text between guillemets, the rest bare."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        # The launcher reads a double; JavaScript and Python write it alike.
        if not math.isfinite(value) or (isinstance(value, int) and abs(value) > 2**53):
            raise ValueError(f"{key}: {value} does not fit into a number of JavaScript")
        return repr(value)
    if "»" in value:
        raise ValueError(f"{key}: the text {value!r} contains », which ends a text there")
    return quote(f"«{value}»", safe="")


#: What some YAML parser takes for a number once it has dropped the underscores: Go's, which
#: Helm uses, knows 1e3, 0o17 and 01 where PyYAML does not.
_NUMBER = re.compile(
    r"[-+]?(0x[0-9a-f]+|0o?[0-7]+|0b[01]+|(\d+(\.\d*)?|\.\d+)(e[-+]?\d+)?|\.inf|\.nan)",
    re.IGNORECASE,
)
_DATE = re.compile(r"\d{4}-\d{1,2}-\d{1,2}([Tt\s].*)?|\d+(:[0-5]?\d)+(\.\d*)?")
_OTHER = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "~", "<<", "="}


def check_arguments(arguments: str) -> None:
    """Refuse arguments of a script that would not arrive as they are.

    On their way they stand unquoted in YAML, where Kubernetes replaces ``$(NAME)``,
    and then unquoted on a shell's command line.

    Raises
    ------
    ValueError
        Says what would become of them.
    """

    def refuse(why: str) -> None:
        raise ValueError(f"the argument {arguments!r} of its init script {why}")

    if not arguments or arguments != " ".join(arguments.split()):
        refuse("is empty, or has white space that a shell would drop")
    if not arguments.isprintable():
        refuse("has a character that does not print")
    bare = arguments.replace("_", "")
    if _NUMBER.fullmatch(bare):
        refuse("is a number in YAML")
    if _DATE.fullmatch(arguments) or _DATE.fullmatch(bare):
        refuse("is a date or a time in YAML")
    if arguments.lower() in _OTHER:
        refuse("is a truth value or nothing in YAML")
    try:
        read = yaml.safe_load(f"value: {arguments}\nnext: true\n")
    except (yaml.YAMLError, ValueError):
        read = None
    if read != {"value": arguments, "next": True}:
        refuse("is not the same text in YAML without quotes")
    special = re.search(r"[*?\[\]\\$]", arguments)
    if special:
        refuse(f"has {special[0]!r}, which a shell or Kubernetes may replace")


# -- the settings -------------------------------------------------------------------


class Entry(NamedTuple):
    """One way to open a page: for the menu and as a badge.

    ``id`` is that of a service, or ``forge``, ``colab``, ``download``; ``where`` is the
    instance's title, or empty; ``url`` is relative to the site for a download.
    """

    id: str
    title: str
    where: str
    icon: str
    url: str

    @property
    def text(self) -> str:
        """The whole name of a link to it."""
        if self.id == "download":
            return "Download the notebook"
        return f"Open in {self.title} ({self.where})" if self.where else f"Open on {self.title}"


@dataclass(frozen=True)
class Settings:
    """The checked options."""

    repository: Repository
    instances: tuple[Instance, ...]
    pages: tuple[str, ...]
    service_name: str
    arguments: str
    colab: bool
    download: bool
    badges: Mapping[str, str]

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Settings:
        """Check the options, given by their names without ``launch_``.

        Options that are left out have their defaults. A ConfigError says which one is
        wrong, and how.
        """
        unknown = set(options) - set(DEFAULTS)
        if unknown:
            raise ConfigError(f"There is no option launch_{sorted(unknown)[0]}.")
        given = {**DEFAULTS, **options}
        for name, default in DEFAULTS.items():
            kinds = (bool, str) if name == "download" else (type(default),)
            if not isinstance(given[name], kinds):
                raise ConfigError(f"launch_{name} is {given[name]!r}: not a {kinds[-1].__name__}.")
        services = {key: _service(key, value) for key, value in given["services"].items()}
        everywhere = _values("launch_values", given["values"])
        return cls(
            repository=Repository.read(
                given["repository"], given["version"], given["forge"], given["folder"]
            ),
            instances=tuple(
                _instance(key, value, services, everywhere)
                for key, value in given["instances"].items()
            ),
            pages=tuple(given["pages"]),
            service_name=given["service_name"],
            arguments=given["arguments"],
            colab=given["colab"],
            download=bool(given["download"]),
            badges=given["badges"],
        )

    def launches(self, page: str) -> bool:
        """Whether a page made from a notebook is to have entries."""
        return any(fnmatchcase(page, pattern) for pattern in self.pages)

    def entries(self, page: str) -> list[Entry]:
        """All ways to open a page, given by the path of its notebook without suffix.

        Raises
        ------
        ValueError
            The page cannot be launched; the message starts with its name.
        """
        path = f"{page}.ipynb"
        name = PurePosixPath(page).name
        found = []
        if self.instances and "{name}" in self.arguments and " " in name:
            raise ValueError(f"{path}: a shell would split the name {name!r}; use - or _")
        for instance in self.instances:
            for service in instance.services:
                try:
                    url = onyxia_link(
                        instance,
                        service,
                        self.repository,
                        name=self.service_name.replace("{name}", name),
                        arguments=self.arguments.replace("{name}", name),
                    )
                except ValueError as error:
                    raise ValueError(f"{path}: {error}; rename the notebook") from None
                found.append(Entry(service.id, service.title, instance.title, service.icon, url))
        forge = {"github": "GitHub", "gitlab": "GitLab"}[self.repository.forge]
        icon = f"fab fa-{self.repository.forge}"
        found.append(Entry("forge", forge, "", icon, self.repository.page(path)))
        colab = self.repository.colab(path) if self.colab else None
        if colab:
            found.append(Entry("colab", "Colab", "", "fas fa-infinity", colab))
        if self.download:
            url = f"{DOWNLOADS}/{quote(path)}"
            found.append(Entry("download", "Download", "", "fas fa-download", url))
        return found

    @property
    def note(self) -> str:
        """What to say where the address of the repository is a stand-in; else empty."""
        if not self.repository.is_stand_in:
            return ""
        owner = self.repository.address.split("/")[3]
        return (
            "The launch links of this copy do not work yet: the repository that they name, "
            f"{self.repository.address}, is a stand-in. GitHub lets nobody publish as {owner}. "
            "Whoever publishes the course sets the real address."
        )


def _address(option: str, address: str) -> str:
    parts = urlsplit(address)
    wrong = (
        parts.scheme != "https"
        or not re.fullmatch(r"[a-z0-9.-]+(:\d+)?", parts.netloc)
        or not re.fullmatch(r"[A-Za-z0-9._~/-]*", parts.path)
        or parts.query
        or parts.fragment
    )
    if wrong:
        raise ConfigError(f"{option} is {address!r}: not an address such as https://HOST/PATH.")
    return address.rstrip("/")


def _version(version: str) -> str:
    if COMMIT.fullmatch(version):
        return version
    why = ""
    if version.lower() in BRANCHES:
        why = "a branch, which changes"
    elif re.fullmatch(r"(?=.*[a-f])(?=.*\d)[0-9a-f]{7,39}", version):
        why = "part of a commit: write all 40 digits"
    elif not TAG.fullmatch(version) or re.search(r"(^|[._-])x$", version):
        why = "neither a tag with a number in it nor a whole commit"
    if why:
        raise ConfigError(
            f"launch_version is {version!r}: {why}. Use a tag such as v1.0, or a commit."
        )
    return version


def _is_plain_path(path: str) -> bool:
    return bool(re.fullmatch(r"[A-Za-z0-9._/-]+", path)) and not (
        {"", ".", ".."} & set(path.split("/"))
    )


def _fields(option: str, given: Any, required: set[str], optional: set[str]) -> dict[str, Any]:
    if not isinstance(given, dict):
        raise ConfigError(f"{option} is {given!r}: not a set of names and values.")
    for name in sorted(required - set(given)):
        raise ConfigError(f"{option} has no {name!r}.")
    for name in sorted(set(given) - required - optional):
        raise ConfigError(f"{option} has {name!r}, which means nothing here.")
    return given


def _id(option: str, value: Any) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", value):
        raise ConfigError(f"{option} is {value!r}: not an id of a catalogue or chart.")
    return value


def _service(key: str, given: Any) -> Service:
    option = f"launch_services[{key!r}]"
    fields = _fields(option, given, {"title", "script"}, {"icon"})
    if not isinstance(fields["script"], str) or not _is_plain_path(fields["script"]):
        raise ConfigError(
            f"{option} has a script {fields['script']!r}: not a path in a repository."
        )
    icon = fields.get("icon", "fas fa-cloud")
    return Service(_id(option, key), str(fields["title"]), fields["script"], icon)


def _instance(
    key: str, given: Any, services: Mapping[str, Service], everywhere: Mapping[str, Value]
) -> Instance:
    option = f"launch_instances[{key!r}]"
    optional = {"catalogue", "services", "values"}
    fields = _fields(option, given, {"title", "address"}, optional)
    offered = fields.get("services", list(services))
    for chart in offered:
        if chart not in services:
            raise ConfigError(f"{option} offers {chart!r}, which launch_services lacks.")
    return Instance(
        title=str(fields["title"]),
        address=_address(f"The address of {option}", fields["address"]),
        catalogue=_id(f"The catalogue of {option}", fields.get("catalogue", "ide")),
        services=tuple(services[chart] for chart in offered),
        values={**everywhere, **_values(f"{option}['values']", fields.get("values", {}))},
    )


def _values(option: str, given: Any) -> dict[str, Value]:
    values = _fields(option, given, set(), set(given) if isinstance(given, dict) else set())
    for key, value in values.items():
        # A list's index, [0], is left out: Markdown would escape its brackets, and the
        # launcher does not read them then. Without a dot it would be the launcher's own.
        if not re.fullmatch(r"(?!oidc-spa\.)[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)+", str(key)):
            raise ConfigError(f"{option} has {key!r}: not a path such as vault.enabled.")
        if key in ("init.personalInit", "init.personalInitArgs"):
            raise ConfigError(f"{option} has {key!r}, which the script and its arguments set.")
        if not isinstance(value, bool | int | float | str):
            raise ConfigError(f"{option}[{key!r}] is {value!r}: not a truth value, number or text.")
        try:
            encoded(key, value)
        except ValueError as error:
            raise ConfigError(f"{option}: {error}.") from None
    return values


# -- the pages ----------------------------------------------------------------------


def _notebooks(app: Sphinx, env: BuildEnvironment) -> list[str]:
    """The pages that have entries."""
    settings = _settings(app.config)
    return sorted(
        page
        for page in env.found_docs
        if env.doc2path(page).endswith(".ipynb") and settings.launches(page)
    )


def _settings(config: Config) -> Settings:
    return Settings.read({name: config[f"launch_{name}"] for name in DEFAULTS})


def _check(app: Sphinx, env: BuildEnvironment, _changed: list[str]) -> None:
    """Handler of `env-before-read-docs`: find all faults before a cell is run."""
    settings = _settings(app.config)
    faults = []
    for page in _notebooks(app, env):
        try:
            settings.entries(page)
        except ValueError as error:
            faults.append(str(error))
    if faults:
        raise ConfigError("No launch link can be made for\n  " + "\n  ".join(faults))
    if settings.note:
        LOGGER.info("onyxia_launch: %s (launch_repository)", settings.note, color="brown")


class LaunchNode(nodes.General, nodes.Element):  # type: ignore[misc]
    """Stands for the badges of the page ``target`` until that page's address is known."""


class Launch(SphinxDirective):
    """The directive ``launch``, see above."""

    optional_arguments = 1
    option_spec = {"only": lambda text: [part.strip() for part in (text or "").split(",")]}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Leave a node that `_resolve` turns into links."""
        target = self.env.docname
        if self.arguments:
            relative, _ = self.env.relfn2path(self.arguments[0].removesuffix(".ipynb"))
            target = PurePosixPath(relative).as_posix()
        node = LaunchNode(target=target, only=self.options.get("only", []))
        self.set_source_info(node)
        return [node]


def _resolve(app: Sphinx, doctree: nodes.document, page: str) -> None:
    """Handler of `doctree-resolved`: put badges in place of the directive, and below titles."""
    settings = _settings(app.config)
    notebooks = _notebooks(app, app.env)
    if page in notebooks and (app.config.launch_below_title or settings.note):
        # The chapter starts with its title; a page without one starts with the badges.
        section = next(iter(doctree.findall(nodes.section)), doctree)
        at = section.first_child_matching_class(nodes.title)
        at = 0 if at is None else at + 1
        new: list[nodes.Node] = []
        if app.config.launch_below_title:
            new.append(LaunchNode(target=page, only=[]))
        if settings.note:
            new.append(_note(app, page, settings.note))
        section[at:at] = new
    for node in list(doctree.findall(LaunchNode)):
        target, only = node["target"], node["only"]
        entries = settings.entries(target) if target in notebooks else []
        chosen = [entry for entry in entries if not only or entry.id in only]
        if not chosen:
            LOGGER.warning("launch: %s has nothing to launch %s", target, only, location=node)
        note = settings.note if target != page and chosen else ""
        node.replace_self(_badges(app, page, settings, chosen, note))


def _badges(
    app: Sphinx, page: str, settings: Settings, entries: Iterable[Entry], note: str
) -> list[nodes.Node]:
    """The entries as a line of links, one line for each instance where there are several."""
    lines: dict[str, list[Entry]] = {}
    several = len(settings.instances) > 1
    for entry in entries:
        lines.setdefault(entry.where if several else "", []).append(entry)
    paragraphs: list[nodes.Node] = []
    for where, line in lines.items():
        paragraph = nodes.paragraph(classes=["launch-badges"])
        if where:
            paragraph += nodes.strong(text=where)
        for entry in line:
            if paragraph.children:
                paragraph += nodes.Text(" ")
            if app.builder.format == "html":
                paragraph += nodes.raw(text=_badge_html(app, page, settings, entry), format="html")
            elif entry.id != "download":
                paragraph += nodes.reference(text=entry.title, refuri=entry.url)
        paragraphs.append(paragraph)
    return [*paragraphs, *([_note(app, page, note)] if note else [])]


def _badge_html(app: Sphinx, page: str, settings: Settings, entry: Entry) -> str:
    href = html.escape(_from_page(app, page, entry))
    picture = settings.badges.get(entry.id)
    shown = html.escape(entry.title)
    if picture:
        source = html.escape(_to_file(app, page, f"_static/{picture}"))
        shown = f'<img src="{source}" alt="{html.escape(entry.text)}" height="28">'
    download = " download" if entry.id == "download" else ""
    label = html.escape(entry.text)
    return f'<a class="launch-badge" href="{href}" title="{label}"{download}>{shown}</a>'


def _note(app: Sphinx, page: str, text: str) -> nodes.Node:
    paragraph = nodes.paragraph(text=text)
    help_page = app.config.launch_help
    if help_page in app.env.found_docs and app.builder.format == "html":
        uri = app.builder.get_relative_uri(page, help_page)
        paragraph += [nodes.Text(" "), nodes.reference(text="How to set it", refuri=uri)]
        paragraph += nodes.Text(".")
    return nodes.note("", paragraph, ids=[NOTE])


def _to_file(app: Sphinx, page: str, path: str) -> str:
    """The address of a file of the site, from a page."""
    return relative_uri(app.builder.get_target_uri(page), path)


def _from_page(app: Sphinx, page: str, entry: Entry) -> str:
    return _to_file(app, page, entry.url) if entry.id == "download" else entry.url


def _menu(
    app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: nodes.document | None
) -> None:
    """Handler of `html-page-context`, after the theme's own: fill the launch menu."""
    if doctree is None or page not in _notebooks(app, app.env):
        return
    settings = _settings(app.config)
    entries = settings.entries(page)
    buttons: list[dict[str, Any]] = context.get("header_buttons", [])
    if settings.download:
        _write_notebook(app, page)
        for group in buttons:
            if group.get("label") == "download-buttons":
                sources = ("download-source-button", "download-notebook-button")
                group["buttons"] = [b for b in group["buttons"] if b.get("label") not in sources]
    menu = next((group for group in buttons if group.get("label") == MENU), None)
    if menu is None:
        menu = {
            "type": "group",
            "label": MENU,
            "icon": "fas fa-rocket",
            "tooltip": "Launch this notebook",
            "buttons": [],
        }
        buttons.insert(0, menu)
    several = len(settings.instances) > 1
    links = [
        {
            "type": "link",
            "url": _from_page(app, page, entry),
            "text": f"{entry.title} ({entry.where})" if several and entry.where else entry.title,
            "tooltip": entry.text,
            "icon": entry.icon,
            "label": f"launch-{entry.id}",
        }
        for entry in entries
    ]
    if settings.note:
        links.insert(
            0,
            {
                "type": "link",
                "url": f"#{NOTE}",
                "text": "Not set up yet",
                "tooltip": "These links do not work yet: see the note",
                "icon": "fas fa-triangle-exclamation",
                "label": NOTE,
            },
        )
    ours = {link["text"] for link in links}
    # Ours go first and take the place of the theme's (its Colab knows no version).
    menu["buttons"] = links + [b for b in menu["buttons"] if b.get("text") not in ours]


def _write_notebook(app: Sphinx, page: str) -> None:
    """Write the notebook that is offered for download."""
    notebook = json.loads(Path(app.env.doc2path(page)).read_text(encoding="utf-8"))
    edition = _edition(app)
    target = Path(app.outdir, DOWNLOADS, f"{page}.ipynb")
    target.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(edition(notebook), indent=1, ensure_ascii=False)
    target.write_text(text + "\n", encoding="utf-8")


def _edition(app: Sphinx) -> Callable[[dict[str, Any]], dict[str, Any]]:
    """The function that `launch_download` names, or one that changes nothing."""
    named = app.config.launch_download
    if not isinstance(named, str):
        return lambda notebook: notebook
    file, _, function = named.rpartition(":")
    path = Path(app.srcdir, file)
    if not path.is_file():
        raise ConfigError(f"launch_download is {named!r}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    found = getattr(module, function, None)
    if not callable(found):
        raise ConfigError(f"launch_download is {named!r}: {path.name} has no such function.")
    return found  # type: ignore[no-any-return]


#: Options without their prefix, with their defaults. Documented at the top.
DEFAULTS: dict[str, Any] = {
    "repository": "",
    "version": "",
    "forge": "",
    "folder": "",
    "services": {},
    "instances": {},
    "values": {},
    "service_name": "{name}",
    "arguments": "{name}",
    "pages": ["*"],
    "colab": True,
    "download": True,
    "badges": {},
    "below_title": False,
    "help": "",
}


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    for name, default in DEFAULTS.items():
        types = (bool, str) if name == "download" else ()
        app.add_config_value(f"launch_{name}", default, "env", types)
    app.add_node(LaunchNode)
    app.add_directive("launch", Launch)
    app.connect("env-before-read-docs", _check)
    app.connect("doctree-resolved", _resolve)
    app.connect("html-page-context", _menu, priority=502)  # the theme's own: 501
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
