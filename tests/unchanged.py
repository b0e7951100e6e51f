"""What passed and read nothing that has changed since is not run again.

Somebody who changed one cell waits for the runs of that unit, for the book and for the quick
tests, not for the twenty other units. A fresh clone runs everything, and so CI does. So does
``make test ALL=yes``, and whoever names the tests runs those.

What a test reads is known roughly, and never too little: every file that Git tracks or would
track, but for the notebooks of other units and, for some tests, the pages of the book.
"""

import hashlib
import os
import platform
import re
import subprocess
import sys
import time
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
KEY = "unchanged/passed"
LEFT_OUT = pytest.StashKey[dict[str, int]]()
#: In seconds. Packages that a notebook asks an index for, say, are others after a week.
LASTS = 7 * 24 * 3600
#: What no test of a unit or of the datalab reads: the book, and what tells of the project.
PAGES = ("book/", "README.md", "LICENSE", "_toc.yml", ".github/", ".ci/")
UNITS = tuple(f"notebooks/{path.name}" for path in ROOT.glob("notebooks/*.ipynb"))
PICTURES = "notebooks/images/"
TESTS = tuple(f"tests/{path.name}" for path in ROOT.glob("tests/test_*.py"))
#: Modules of the datalab and of what lies beside the notebooks: they read no unit, no page.
OF_NO_UNIT = """archives arrays binaries bucket catalogue checks cli database datalab earth_modules
    internet measure mutation new_server product project rabbitmq samples samples_earth spark
    store_choice trust unchanged""".split()  # noqa: SIM905 - short, so that it is read
#: Modules that read these units and pages, and no others.
OF_FEW = {
    "authoring": ("notebooks/13_",),
    "cheatsheet": ("book/cheatsheet.md",),
    "cluster": ("notebooks/52_",),
    "package": ("book/datalab.md",),
    "sharing": ("notebooks/33_", "notebooks/34_"),
    "stores": ("book/testing.md",),
    "tiny_book": ("book/_ext/", "book/_static/"),
    "variables": (PICTURES,),
}
READ = dict.fromkeys(OF_NO_UNIT, ()) | OF_FEW


def pytest_addoption(parser: pytest.Parser) -> None:
    text = "run also what passed before and read nothing that has changed since"
    parser.addoption("--all", action="store_true", dest="everything", help=text)


def pytest_configure(config: pytest.Config) -> None:
    if keeps(config) and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Passed(config))


@cache
def files() -> dict[str, str]:
    """Each file of the project, by its path, with a digest; none outside of Git."""
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    ).stdout
    paths = sorted({name for name in listed.split("\0") if name and (ROOT / name).is_file()})
    return {name: hashlib.sha256((ROOT / name).read_bytes()).hexdigest() for name in paths}


def machine() -> str:
    """What else a result depends on."""
    store = os.environ.get("DATALAB_STORE", "")
    return f"{sys.version} {platform.platform()} {store} {os.geteuid()}"


@cache
def digest(left_out: tuple[str, ...], but: tuple[str, ...] = ()) -> str:
    """Of all files but those whose path begins with one of ``left_out``, and not one of ``but``."""
    read = [
        f"{name} {content}"
        for name, content in files().items()
        if name.startswith(but) or not name.startswith(left_out)
    ]
    return hashlib.sha256("\n".join([machine(), *read]).encode()).hexdigest()


@cache
def of_unit(path: Path, module: Path | None = None) -> str:
    """The digest of all that a run of a unit may read, by a module of tests or as it is stored."""
    return digest((*PAGES, *UNITS, *TESTS), (f"notebooks/{path.name}", *modules(module)))


def modules(module: Path | None) -> tuple[str, ...]:
    """A module of tests and those that it imports."""
    if module is None:
        return ()
    others = re.findall(r"tests(?:\.| import )(test_\w+)", module.read_text(encoding="utf-8"))
    return (f"tests/{module.name}", *(f"tests/{other}.py" for other in others))


def outputs(path: Path) -> Path:
    """Where the outputs of a unit are kept that ran with the present files."""
    return Path(os.environ["TEST_OUTPUTS"], f"{path.stem}-{of_unit(path)[:16]}.ipynb")


def read_by(item: pytest.Item) -> str:
    """The digest of all that a test may read."""
    if item.path.suffix == ".ipynb":
        return of_unit(item.path)
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    path = parameters.get("path")
    if isinstance(path, Path) and path.suffix == ".ipynb":
        return of_unit(path, item.path)
    name = item.path.stem.removeprefix("test_")
    if name in READ:
        left_out = (*PAGES, *UNITS, PICTURES, *TESTS)
        return digest(left_out, (*modules(item.path), *READ[name]))
    return digest(())


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out what passed before, and note of each other test what it reads."""
    if not keeps(config):
        return
    passed = config.cache.get(KEY, {})
    chosen = config.args_source is config.ArgsSource.ARGS or config.option.keyword
    kept, left = [], []
    for item in items:
        reads = read_by(item)
        item.user_properties.append(("reads", [item.nodeid, reads]))
        before, when = passed.get(item.nodeid, ("", 0.0))
        known = before == reads and 0 <= time.time() - when < LASTS
        again = chosen or config.option.everything
        (left if known and not again else kept).append(item)
    items[:] = kept
    here = getattr(config, "workeroutput", config.stash.setdefault(LEFT_OUT, {}))
    here["left out"] = len(left)


def keeps(config: pytest.Config) -> bool:
    """Whether there is a place to note what passed, and Git to say which files there are."""
    return hasattr(config, "cache") and bool(files())


class Passed:
    """Notes what passed, in pytest's own cache; on the controller of xdist."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.passed: dict[str, tuple[str, float]] = config.cache.get(KEY, {})
        self.failed: set[str] = set()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        reads = dict(report.user_properties).get("reads")
        if reads is None:
            return
        name, digest = reads
        if not report.passed:  # or was skipped
            self.failed.add(name)
            self.passed.pop(name, None)
        elif report.when == "teardown" and name not in self.failed:
            self.passed[name] = (digest, time.time())

    def pytest_testnodedown(self, node: Any) -> None:
        here = self.config.stash.setdefault(LEFT_OUT, {})
        here.update(getattr(node, "workeroutput", {}))

    @pytest.hookimpl(tryfirst=True)
    def pytest_sessionfinish(self, session: pytest.Session) -> None:
        self.config.cache.set(KEY, self.passed)
        if session.exitstatus == pytest.ExitCode.NO_TESTS_COLLECTED and self.left_out:
            session.exitstatus = pytest.ExitCode.OK

    @property
    def left_out(self) -> int:
        return self.config.stash.get(LEFT_OUT, {}).get("left out", 0)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if self.left_out:
            terminalreporter.write_line(
                f"{self.left_out} tests were left out: they passed before, and no file that they "
                "read has changed since. `make test ALL=yes` runs them, too."
            )
