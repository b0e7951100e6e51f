"""What is done to the pages: badges, the launch menu, the note, the notebook to download."""

from __future__ import annotations

import html
import importlib.util
import shutil
import zipfile
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.config import Config
from sphinx.environment import BuildEnvironment
from sphinx.errors import ConfigError
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective
from sphinx.util.osutil import relative_uri

from . import links
from .settings import OPTIONS, read

LOGGER = logging.getLogger(__name__)

Edition = Callable[[Path], dict[str, bytes]]
#: The place in a page that the menu's warning leads to.
NOTE = "launch-note"
NOT_SET_UP = {
    "type": "link", "label": NOTE, "url": f"#{NOTE}", "icon": "fas fa-triangle-exclamation",
    "text": "Not set up yet", "tooltip": "These links do not work yet: see the note",
}  # fmt: skip
#: The theme's own: a menu like its, for pages where it makes none; its downloads.
MENU = {
    "type": "group", "label": "launch-buttons", "icon": "fas fa-rocket",
    "tooltip": "Launch this notebook",
}  # fmt: skip
SOURCES = ("download-source-button", "download-notebook-button")


class LaunchNode(nodes.General, nodes.Element):  # type: ignore[misc]
    """Stands for the badges of the page ``target`` until that page's entries are known."""


class Launch(SphinxDirective):
    """The directive ``launch``."""

    optional_arguments = 1
    option_spec = {"only": lambda text: [part.strip() for part in (text or "").split(",")]}  # noqa: RUF012

    def run(self) -> list[nodes.Node]:
        """Leave a node for `Pages.place_badges`."""
        target = self.env.docname
        if self.arguments:
            relative, _ = self.env.relfn2path(self.arguments[0].removesuffix(".ipynb"))
            target = PurePosixPath(relative).as_posix()
        node = LaunchNode(target=target, only=self.options.get("only", []))
        self.set_source_info(node)
        return [node]


class Pages:
    """The pages of one build; the public methods are handlers of Sphinx's events."""

    def read_settings(self, app: Sphinx, config: Config) -> None:
        """Check the options (`config-inited`)."""
        given = {name: config[f"launch_{name}"] for name in OPTIONS}
        self.settings = read({name: value for name, value in given.items() if value is not None})
        self.several = len(self.settings["instances"]) > 1
        self.note = links.note(self.settings)
        self.edition = _edition(self.settings["download"], Path(app.srcdir))

    def find_entries(self, _app: Sphinx, env: BuildEnvironment, _changed: list[str]) -> None:
        """Make all links, so that a fault shows before a cell is run (`env-before-read-docs`)."""
        self.entries: dict[str, list[links.Entry]] = {}
        for page in sorted(env.found_docs):
            wanted = any(fnmatchcase(page, pattern) for pattern in self.settings["pages"])
            if wanted and env.doc2path(page).endswith(".ipynb"):
                self.entries[page] = links.entries(self.settings, page)
        if self.note:
            LOGGER.info("onyxia_launch: %s (launch_repository)", self.note, color="brown")

    def place_badges(self, app: Sphinx, doctree: nodes.document, page: str) -> None:
        """Put badges in place of the directive, and below titles (`doctree-resolved`)."""
        for link in doctree.findall(nodes.reference):
            # Older myst-parsers write & of a Markdown link as &amp; (their issue 760), and
            # Sphinx escapes that once more. In a launch link & only separates.
            if "/launcher/" in (url := link.get("refuri", "")):
                link["refuri"] = url.replace("&amp;", "&")
        if page in self.entries:
            # The unit starts with its title; a page without one starts with the badges.
            section = next(iter(doctree.findall(nodes.section)), doctree)
            title = section.first_child_matching_class(nodes.title)
            at = 0 if title is None else title + 1
            badges = [LaunchNode(target=page, only=[])] if self.settings["below_title"] else []
            section[at:at] = badges + self._note(app, page)
        for node in list(doctree.findall(LaunchNode)):
            target, only = node["target"], node["only"]
            chosen = [e for e in self.entries.get(target, []) if not only or e.id in only]
            if not chosen:
                LOGGER.warning("launch: %s has nothing to launch %s", target, only, location=node)
            # one line; where there are several instances, one for each
            lines: dict[str, nodes.paragraph] = {}
            for entry in chosen:
                where = entry.where if self.several else ""
                if where not in lines:
                    lines[where] = nodes.paragraph(classes=["launch-badges"])
                    lines[where] += [nodes.strong(text=where), nodes.Text(" ")] if where else []
                lines[where] += [self._badge(app, page, entry), nodes.Text(" ")]
            foreign = bool(chosen) and target != page  # else the page has its note already
            node.replace_self([*lines.values(), *(self._note(app, page) if foreign else [])])

    def fill_menu(
        self, app: Sphinx, page: str, _template: str, context: dict[str, Any], doctree: object
    ) -> None:
        """Fill the launch menu, after the theme's own handler (`html-page-context`)."""
        if doctree is None or page not in self.entries:
            return
        groups = {group.get("label"): group for group in context["header_buttons"]}
        if self.settings["download"]:
            self._write_notebook(app, page)
            if theirs := groups.get("download-buttons"):
                theirs["buttons"] = [b for b in theirs["buttons"] if b.get("label") not in SOURCES]
        menu = groups.get(MENU["label"])
        if menu is None:
            menu = {**MENU, "buttons": []}
            context["header_buttons"].insert(0, menu)
        ours = [NOT_SET_UP] if self.note else []
        for entry in self.entries[page]:
            where = f" ({entry.where})" if self.several and entry.where else ""
            ours.append(
                {
                    "type": "link",
                    "label": f"launch-{entry.id}",
                    "icon": entry.icon,
                    "url": _from_page(app, page, entry),
                    "text": entry.title + where,
                    "tooltip": entry.text,
                }
            )
        # Ours go first and take the place of the theme's (its Colab knows no version).
        names = {button["text"] for button in ours}
        menu["buttons"] = ours + [b for b in menu["buttons"] if b.get("text") not in names]

    def _badge(self, app: Sphinx, page: str, entry: links.Entry) -> nodes.Node:
        if app.builder.format != "html":
            url = "" if entry.id == "download" else entry.url
            return nodes.reference(text=entry.title, refuri=url) if url else nodes.Text("")
        url, text = html.escape(_from_page(app, page, entry)), html.escape(entry.text)
        shown = html.escape(entry.title)
        if picture := self.settings["badges"].get(entry.id):
            file = html.escape(_relative(app, page, f"_static/{picture}"))
            shown = f'<img src="{file}" alt="{text}">'
        download = " download" if entry.id == "download" else ""
        link = f'<a class="launch-badge" href="{url}" title="{text}"{download}>{shown}</a>'
        return nodes.raw(text=link, format="html")

    def _note(self, app: Sphinx, page: str) -> list[nodes.Node]:
        if not self.note:
            return []
        paragraph = nodes.paragraph(text=self.note)
        if self.settings["help"] in app.env.found_docs:
            uri = app.builder.get_relative_uri(page, self.settings["help"])
            link = nodes.reference(text="How to set it", refuri=uri)
            paragraph += [nodes.Text(" "), link, nodes.Text(".")]
        return [nodes.note("", paragraph, ids=[NOTE])]

    def _write_notebook(self, app: Sphinx, page: str) -> None:
        source = Path(app.env.doc2path(page))
        target = Path(app.outdir, links.DOWNLOADS, f"{page}.ipynb")
        target.parent.mkdir(parents=True, exist_ok=True)
        if self.edition is None:
            shutil.copyfile(source, target)
            return
        with zipfile.ZipFile(target.with_suffix(".zip"), "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in self.edition(source).items():
                # the oldest date that a zip can hold: the same files make the same archive
                entry = zipfile.ZipInfo(f"{target.stem}/{name}")
                entry.external_attr = 0o644 << 16
                archive.writestr(entry, content, zipfile.ZIP_DEFLATED)


def _relative(app: Sphinx, page: str, path: str) -> str:
    """The address of a file of the site, from a page."""
    return relative_uri(app.builder.get_target_uri(page), path)


def _from_page(app: Sphinx, page: str, entry: links.Entry) -> str:
    return _relative(app, page, entry.url) if entry.id == "download" else entry.url


def _edition(named: bool | str, folder: Path) -> Edition | None:
    """The function that `launch_download` names, if it names one."""
    if not isinstance(named, str):
        return None
    file, _, function = named.rpartition(":")
    path = folder / file
    if not path.is_file():
        raise ConfigError(f"launch_download is {named!r}: there is no file {path}.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, function, None)):
        raise ConfigError(f"launch_download is {named!r}: {path.name} has no such function.")
    edition: Edition = getattr(module, function)
    return edition
