"""Sphinx extension: of the theme's two thousand icons, a page loads those that the book shows.

The theme (pydata-sphinx-theme) puts all of Font Awesome on each page as one script of
1.5 MB, of which a book uses a dozen icons. When the HTML is done, the other ones are taken
out of the built copy of that script. It is a list of entries of one form,
``bars:[448,512,["navicon"],"f0c9","M0 96C0 …"]``: width, height, other names, code, outline.
"""

from __future__ import annotations

import re
from pathlib import Path

from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.util import logging

SCRIPT = "scripts/fontawesome.js"
ENTRY = re.compile(
    r'(?:"(?P<quoted>[\w-]+)"|(?P<bare>\w+)):'
    r'\[\d+,\d+,\[(?P<others>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
USED = re.compile(r"\bfa-([a-z0-9-]+)")
FEWEST = 1000  # of the entries of a script that has the form above

logger = logging.getLogger(__name__)


def used(folder: Path) -> set[str]:
    """The names of icons that pages and scripts below a folder mention, and some other words."""
    script = folder / "_static" / SCRIPT
    paths = [*folder.rglob("*.html"), *(p for p in folder.rglob("*.js") if p != script)]
    return {name for path in paths for name in USED.findall(path.read_text(encoding="utf-8"))}


def without_others(script: str, names: set[str]) -> str:
    """The script with the icons of these names only.

    Raises
    ------
    ValueError
        It does not look like the script that this was written for.
    """
    entries = 0

    def kept(match: re.Match[str]) -> str:
        nonlocal entries
        entries += 1
        other_names = set(re.findall(r'"([\w-]+)"', match["others"]))
        return match[0] if {match["quoted"] or match["bare"], *other_names} & names else ""

    shorter = ENTRY.sub(kept, script)
    if entries < FEWEST:
        raise ValueError(f"{entries} icons found, more than {FEWEST} expected")
    return shorter


def _shorten(app: Sphinx, exception: Exception | None) -> None:
    """Handler of `build-finished`."""
    path = Path(app.outdir, "_static", SCRIPT)
    if exception is not None or not isinstance(app.builder, StandaloneHTMLBuilder):
        return
    # from the theme, since the copy in the build may be shortened for fewer pages
    theme = [Path(folder, "static", SCRIPT) for folder in app.builder.theme.get_theme_dirs()]
    whole = next(filter(Path.is_file, theme), None)
    if whole is None:
        logger.warning("the theme has no %s: its icons are not shortened", SCRIPT)
        return
    try:
        script = whole.read_text(encoding="utf-8")
        path.write_text(without_others(script, used(Path(app.outdir))), encoding="utf-8")
    except ValueError as error:
        logger.warning("the icons of the theme are not shortened: %s", error)


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    app.connect("build-finished", _shorten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
