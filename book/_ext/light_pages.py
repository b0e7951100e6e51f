"""Sphinx extension: a page loads what it shows of the theme, not all that the theme can show.

The theme (pydata-sphinx-theme) sends 2.3 MB with the first page that a reader opens: two
thousand icons as a script and again as a font, a style sheet for everything that Bootstrap
offers, and the index of the search, which only the search page asks. When the HTML is done,
what no page uses is taken out of the built copies.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import tinycss2
from fontTools.subset import Options, Subsetter
from fontTools.ttLib import TTFont
from sphinx.application import Sphinx
from sphinx.builders.html import StandaloneHTMLBuilder
from sphinx.util import logging
from tinycss2.ast import AtRule, Node, QualifiedRule

ICONS = "scripts/fontawesome.js"
STYLES = "styles/pydata-sphinx-theme.css"
#: The font of icons that style sheets put before a text, such as those of notes. Of its two
#: formats the smaller one cannot be written without another library, and is not needed then.
GLYPHS = "vendor/fontawesome/webfonts/fa-solid-900.ttf"
COMPRESSED = re.compile(r'url\([^)]*fa-solid-900\.woff2\) format\("woff2"\),\s*')
#: An icon of that script: ``bars:[448,512,["navicon"],"f0c9","M0 96C0 …"]``, which is width,
#: height, other names, code, outline.
ICON = re.compile(
    r'(?:"(?P<quoted>[\w-]+)"|(?P<bare>\w+)):'
    r'\[\d+,\d+,\[(?P<others>[^\]]*)\],"[0-9a-f]+",(?:"[^"]*"|\[[^\]]*\])\],?'
)
FEWEST_ICONS = 1000  # in a script that has the form above
#: The theme's search on every page is off (``search_as_you_type``), its scripts are not.
SEARCH = re.compile(
    r'\s*<script src="[^"]*(?:searchtools|language_data|searchindex)\.js[^"]*"></script>'
)
#: A picture that is not said to wait until the reader comes near it.
PICTURE = re.compile(r"<img (?!loading)")
NOT = re.compile(r":not\((?:[^()]|\([^()]*\))*\)")

logger = logging.getLogger(__name__)


def with_icons(script: str, words: set[str]) -> str:
    """The script of icons with those that are named ``fa-`` and one of these words.

    Raises
    ------
    ValueError
        It does not look like the script that this was written for.
    """
    found = 0

    def kept(match: re.Match[str]) -> str:
        nonlocal found
        found += 1
        names = {match["quoted"] or match["bare"], *re.findall(r'"([\w-]+)"', match["others"])}
        return match[0] if any(f"fa-{name}" in words for name in names) else ""

    shorter = ICON.sub(kept, script)
    if found < FEWEST_ICONS:
        raise ValueError(f"{found} icons found, more than {FEWEST_ICONS} expected")
    return shorter


def with_classes(styles: str, words: set[str]) -> str:
    """The style sheet without rules for classes that are none of these words."""
    rules = tinycss2.parse_stylesheet(styles, skip_comments=True, skip_whitespace=True)
    return "".join(_kept(rule, words) for rule in rules)


def _kept(rule: Node, words: set[str]) -> str:
    if isinstance(rule, AtRule) and rule.lower_at_keyword in ("media", "supports") and rule.content:
        inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
        kept = "".join(_kept(one, words) for one in inner)
        condition = tinycss2.serialize(rule.prelude).strip()
        return f"@{rule.at_keyword} {condition}{{{kept}}}" if kept else ""
    if not isinstance(rule, QualifiedRule):
        return str(rule.serialize())
    selectors = re.split(r",(?![^(]*\))", tinycss2.serialize(rule.prelude))
    used = [one for one in selectors if _may_match(one, words)]
    return f"{','.join(used)}{{{tinycss2.serialize(rule.content)}}}" if used else ""


def _may_match(selector: str, words: set[str]) -> bool:
    # the script draws icons; their glyphs would have the browser fetch the font, too
    if re.search(r"\.fa-[\w-]+:+before", selector):
        return False
    return words.issuperset(re.findall(r"\.(-?[_a-zA-Z][\w-]*)", NOT.sub("", selector)))


def with_glyphs(font: Path, styles: str, shorter: Path) -> None:
    """Write a font with those icons only that a style sheet shows as text.

    Parameters
    ----------
    font
        The TrueType font of the theme.
    styles
        All style sheets, in which icons are characters of Unicode's private use or escapes.
    shorter
        The font that is written.

    Raises
    ------
    ValueError
        The style sheets show none of the font's icons.
    """
    escaped = {int(code, 16) for code in re.findall(r"\\([ef][0-9a-f]{3})\b", styles)}
    shown = escaped | {ord(letter) for letter in re.findall("[\ue000-\uf8ff]", styles)}
    # nor a time of its own: the same pages give the same font
    with TTFont(font, recalcTimestamp=False) as whole:
        found = shown & set(whole.getBestCmap())
        if not found:
            raise ValueError("no style sheet shows an icon of it")
        subsetter = Subsetter(Options(layout_features=[]))
        subsetter.populate(unicodes=found)
        subsetter.subset(whole)
        whole.save(shorter)


def words_of(folder: Path) -> set[str]:
    """All words of the pages and scripts below a folder, so all classes they may give."""
    paths = [*folder.rglob("*.html"), *(p for p in folder.rglob("*.js") if not p.match(ICONS))]
    return {
        word for path in paths for word in re.findall(r"[\w-]+", path.read_text(encoding="utf-8"))
    }


def _lighten(app: Sphinx, exception: Exception | None) -> None:
    """Handler of `build-finished`."""
    if exception is not None or not isinstance(app.builder, StandaloneHTMLBuilder):
        return
    folder, themes = Path(app.outdir), app.builder.theme.get_theme_dirs()
    for page in folder.rglob("*.html"):
        if page.name != "search.html":
            text = SEARCH.sub("", page.read_text(encoding="utf-8"))
            page.write_text(PICTURE.sub('<img loading="lazy" ', text), encoding="utf-8")
    words = words_of(folder)
    static = folder / "_static"

    def write(name: str, shorten: Callable[[Path, Path], None]) -> None:
        # from the theme, since the copy in the build may be one for fewer pages
        theme = [Path(one, "static", name) for one in themes]
        whole = next(filter(Path.is_file, theme), None)
        try:
            if whole is None:
                raise ValueError("the theme has no such file")
            shorten(whole, static / name)
        except ValueError as error:
            logger.warning("%s stays as large as it is: %s", name, error)

    def icons(whole: Path, shorter: Path) -> None:
        shorter.write_text(with_icons(whole.read_text(encoding="utf-8"), words), encoding="utf-8")

    def glyphs(whole: Path, shorter: Path) -> None:
        styles = "".join(path.read_text(encoding="utf-8") for path in static.rglob("*.css"))
        with_glyphs(whole, styles, shorter)

    def styles(whole: Path, shorter: Path) -> None:
        kept = with_classes(whole.read_text(encoding="utf-8"), words)
        shorter.write_text(COMPRESSED.sub("", kept), encoding="utf-8")

    write(ICONS, icons)
    write(STYLES, styles)
    write(GLYPHS, glyphs)


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    app.connect("build-finished", _lighten)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
