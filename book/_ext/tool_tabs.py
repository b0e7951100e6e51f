"""Sphinx extension: code cells that do the same with several tools become tabs.

A cell with the tag ``tool:boto3`` belongs to boto3. Such cells in a row, with nothing
between them, form one group, in which each tool has one panel; cells of the same tool
share it. Without JavaScript, on paper, and in every other viewer of notebooks all panels
stand one after the other, each under the name of its tool. With JavaScript
(``book/_static/tool_tabs.js``) the reader sees one tool at a time, on all pages the one
that was chosen last.
"""

from __future__ import annotations

from itertools import groupby

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util import logging

#: Tags, and what a reader calls the tools. A tag that is not here is a mistyped one.
TOOLS = {
    "aws": "AWS CLI",
    "boto3": "boto3",
    "duckdb": "DuckDB",
    "mc": "mc",
    "obstore": "obstore",
    "pandas": "pandas",
    "polars": "polars",
    "pyarrow": "PyArrow",
    "rclone": "rclone",
    "s3fs": "s3fs",
    "snakemake": "Snakemake",
}
#: myst-nb gives a cell a class for each of its tags.
CLASS = "tag_tool:"

logger = logging.getLogger(__name__)


def tool_of(node: nodes.Node) -> str | None:
    """The tool to which a cell belongs, None for other cells and for text."""
    if isinstance(node, nodes.container):
        for name in node["classes"]:
            if name.startswith(CLASS):
                return str(name.removeprefix(CLASS))
    return None


def _group(app: Sphinx, doctree: nodes.document) -> None:
    """Handler of `doctree-read`: put cells of tools that stand in a row into one group."""
    parents = {
        id(cell.parent): cell.parent for cell in doctree.findall(nodes.container) if tool_of(cell)
    }
    for parent in parents.values():
        children: list[nodes.Node] = []
        for is_tool, row in groupby(parent.children, lambda node: tool_of(node) is not None):
            cells = list(row)
            children += [_tabs(app.env.docname, cells)] if is_tool else cells
        parent.children = []
        parent.extend(children)


def _tabs(document: str, cells: list[nodes.Node]) -> nodes.container:
    panels: dict[str, nodes.container] = {}
    for cell in cells:
        tool = tool_of(cell)
        assert tool
        if tool not in panels:
            if tool not in TOOLS:
                known = ", ".join(TOOLS)
                logger.warning(
                    "no tool is called %r; known are: %s", tool, known, location=document
                )
            name = nodes.paragraph("", TOOLS.get(tool, tool), classes=["tool-name"])
            panels[tool] = nodes.container("", name, classes=["tool-panel", f"tool-{tool}"])
        panels[tool] += cell
    return nodes.container("", *panels.values(), classes=["tool-tabs"])


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    app.connect("doctree-read", _group)
    app.add_js_file("tool_tabs.js", defer="defer")
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
