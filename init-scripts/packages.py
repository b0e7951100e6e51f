"""Install the packages that a chapter needs and this Python lacks.

Which ones is nowhere written down a second time: a notebook imports them, or looks for
them with ``find_spec``, and ``pyproject.toml`` says what to install for each name.
"""

from __future__ import annotations

import ast
import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path
from typing import Any

TIMEOUT = 240  # seconds; Onyxia gives up a service that does not start within ten minutes


def missing(notebook: dict[str, Any], pyproject: Path) -> list[str]:
    """Requirements of ``pyproject``, such as ``s3fs>=2026.9``, that are to be installed."""
    project = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]
    wanted = names(notebook)
    return [
        line
        for line in project["dependencies"]
        if import_name(line) in wanted and find_spec(import_name(line)) is None
    ]


def import_name(requirement: str) -> str:
    """What is imported of a requirement: ``rio_cogeo`` of ``rio-cogeo>=5``."""
    return re.split(r"[^\w.-]", requirement, maxsplit=1)[0].lower().replace("-", "_")


def names(notebook: dict[str, Any]) -> set[str]:
    """What the cells import, and the strings of cells that call ``find_spec``."""
    found: set[str] = set()
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = "".join(cell["source"])
            nodes = list(_nodes(source))
            found |= {name.partition(".")[0] for node in nodes for name in _imported(node)}
            if "find_spec" in source:
                found |= {node.value for node in nodes if _is_string(node)}  # type: ignore[attr-defined]
    return found


def _nodes(source: str) -> Iterator[ast.AST]:
    # a magic is no Python; what follows %%writefile may be
    source = re.sub(r"^%%.*", "", source)
    source = re.sub(r"^(\s*)[%!].*", r"\1pass", source, flags=re.MULTILINE)
    try:
        yield from ast.walk(ast.parse(source))
    except SyntaxError:
        return  # the cell is of another language


def _is_string(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and isinstance(node.value, str)


def _imported(node: ast.AST) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return []


def install(requirements: list[str]) -> str:
    """Install them, and change nothing that is installed already.

    Returns
    -------
    str
        Why that failed, in the installer's words; empty if it did not.
    """
    present: dict[str, str] = {}
    for found in distributions():
        present.setdefault(found.name.lower(), f"{found.name}=={found.version}")
    uv = shutil.which("uv")
    installer = [uv, "pip", "install", "--python", sys.executable]
    pip = [sys.executable, "-m", "pip", "install", "--disable-pip-version-check", "--no-input"]
    # an unreachable index is a matter of seconds, not of minutes
    environment = {"PIP_RETRIES": "1", "UV_HTTP_RETRIES": "1", "UV_HTTP_TIMEOUT": "15"}
    if index := os.environ.get("PIP_REPOSITORY"):  # of the platform; Onyxia tells pip only
        environment |= {"UV_DEFAULT_INDEX": index, "UV_SYSTEM_CERTS": "true"}
    with tempfile.NamedTemporaryFile("w", suffix=".txt") as constraints:
        constraints.write("\n".join(present.values()))
        constraints.flush()
        words = [*(installer if uv else pip), "--quiet", "--constraint", constraints.name]
        try:
            done = subprocess.run(
                [*words, *requirements],
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=TIMEOUT,
                env={**environment, **os.environ},
            )
        except subprocess.TimeoutExpired:
            return f"no answer within {TIMEOUT} seconds"
        except OSError as error:
            return str(error)
    said = (done.stderr.strip() or "no reason given").splitlines()
    return "" if done.returncode == 0 else "\n".join(said[-5:])
