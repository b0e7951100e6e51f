"""Sphinx extension: build the book with the solutions of its exercises, or without.

Option
------
``show_solutions`` : bool
    With False, the cells tagged ``solution`` are run as ever, so that the cells after
    them have what they need, and then left out: of the pages, of the search, and of
    the copies of the notebooks that the site holds. Default True.

The repository still has them: a link to a notebook on its forge shows them.
"""

from __future__ import annotations

from pathlib import Path

from docutils import nodes
from sphinx.application import Sphinx


def _remove(app: Sphinx, doctree: nodes.document) -> None:
    """Handler of `doctree-read`: myst-nb gives a cell a class for each of its tags."""
    if not app.config.show_solutions:
        for cell in list(doctree.findall(nodes.container)):
            if "tag_solution" in cell["classes"]:
                cell.parent.remove(cell)


def _remove_copies(app: Sphinx, exception: Exception | None) -> None:
    """Handler of `build-finished`: a source copied beside the pages has them, too."""
    if exception is None and not app.config.show_solutions:
        for copy in Path(app.outdir, "_sources").rglob("*.ipynb"):
            copy.unlink()


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    app.add_config_value("show_solutions", True, "env", bool)
    app.connect("doctree-read", _remove)
    app.connect("build-finished", _remove_copies)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
