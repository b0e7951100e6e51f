"""Sphinx extension: open a notebook page on Onyxia, on Colab, on its forge, or download it.

Every page made from an ``.ipynb`` file gets entries in the launch menu of
sphinx-book-theme: one for each service (Jupyter, VSCode, …) of each Onyxia instance,
one for the file on GitHub or GitLab, one for Colab (GitHub only), one for the
download. The directive ``launch`` shows the same as badges::

    ```{launch}
    ```

    ```{launch} /notebooks/13_parquet
    :only: jupyter-python, forge
    ```

Without a name it means its own page. ``only`` takes ids of services and ``forge``,
``colab``, ``download``. Nothing is fetched while building or reading.

An Onyxia link starts a service, has it run one script of the course's repository at
a fixed version, and hands it the notebook's name. What would arrive there changed is
refused before a page is read.

The options are told in ``options.yml``. They stand in ``conf.py``, or under
``sphinx: config`` of Jupyter Book's ``_config.yml``, and begin with ``launch_``. Another
book that has sphinx-book-theme and myst-nb needs this folder and nothing else.
"""

from __future__ import annotations

from sphinx.application import Sphinx

from .pages import Launch, LaunchNode, Pages
from .settings import OPTIONS, types


def setup(app: Sphinx) -> dict[str, object]:
    """Entry point for Sphinx."""
    for name, option in OPTIONS.items():
        default, about = option.get("default"), option["description"]
        app.add_config_value(f"launch_{name}", default, "env", types(option), about)
    app.add_node(LaunchNode)
    app.add_directive("launch", Launch)
    pages = Pages()
    app.connect("config-inited", pages.read_settings)
    app.connect("env-before-read-docs", pages.find_entries)
    app.connect("doctree-resolved", pages.place_badges)
    app.connect("html-page-context", pages.fill_menu, priority=502)  # the theme's own: 501
    return {"version": "2", "parallel_read_safe": True, "parallel_write_safe": True}
