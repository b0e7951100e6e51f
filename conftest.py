"""A datalab for the tests, and every notebook executed on it.

Each notebook runs twice in a row: as stored, here, and as a student who answers nothing
gets it, in tests/test_exercises.py. Neither may live on what the other left, nor on its
absence. The book is built from the outputs of the run here.
"""

import os
import shutil
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import boto3
import nbformat
import pytest
from nbmake import nb_run
from nbmake.pytest_items import NotebookFailedException, NotebookItem

from book.execute import Kernel
from datalab.environment import merge
from datalab.errors import DatalabError
from datalab.lab import AVAILABLE, STORE_VARIABLE, Datalab
from datalab.machine.trust import BUNDLE_VARIABLES
from datalab.servers import SERVERS
from datalab.servers.minio import Minio
from datalab.servers.seaweedfs import SeaweedFS
from datalab.temporary import temporary
from tests.lab_secrets import secrets_of, shown_in

# They are imported as plugins, and where they are used: before that pytest would not rewrite them.
pytest_plugins = ["tests.browser", "tests.unchanged"]
LAB = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the datalab, one for each worker of xdist.

    On a common one, two units that open a prefix of the same bucket to everybody undo
    each other's change now and then: a program reads the bucket's policy, then writes it.
    """
    if config.option.collectonly:
        return
    config.stash[LAB] = stack = ExitStack()
    # nbmake has no option for it
    nb_run.NotebookClient = partial(nb_run.NotebookClient, kernel_manager_class=Kernel)
    is_worker = hasattr(config, "workerinput")
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        if not is_worker:
            os.environ["DATALAB_INTERNET"] = "local"  # what tests meet depends on no other site
            os.environ["COURSE_ROWS"] = "1000000"  # of the tables that are large elsewhere
            store = os.environ.setdefault(STORE_VARIABLE, Minio.key)  # of all labs of the tests
            from tests import unchanged

            keeps = unchanged.keeps(config)
            folder = config.cache.mkdir("outputs") if keeps else TemporaryDirectory()
            os.environ["TEST_OUTPUTS"] = str(folder if keeps else stack.enter_context(folder))
            with capture.global_and_fixture_disabled():  # building takes minutes, and says so
                SERVERS[store].find_program()
                # ahead of the tests, which trust the datalab's own authority only
                with suppress(DatalabError):  # without a network: what needs it says so
                    SeaweedFS.find_program()
        if is_worker or not config.option.numprocesses:
            lab = stack.enter_context(temporary([AVAILABLE]))
            _trust_nobody_else(lab)
            machines = {
                f"TEST_MACHINES_{name}": os.environ[name]
                for name in BUNDLE_VARIABLES
                if name in os.environ
            }
            environment = merge(lab.environment(), os.environ) | machines
            os.environ.clear()
            os.environ.update(environment)
            os.environ["TEST_DATALAB"] = str(lab.folder)
    except DatalabError as error:
        raise pytest.UsageError(str(error)) from None


def _trust_nobody_else(lab: Datalab) -> None:
    """Take what the machine trusts out of the list that the clients of this run read.

    They speak to the datalab alone, and many read the whole list at each connection: that
    is a fifth of the time of some units. ``tests.laptop.outside`` is for a test that goes
    out into the world.
    """
    certificates = lab.folder / "certs"
    shutil.copy(certificates / "ca.pem", certificates / "bundle.pem")


@pytest.fixture(autouse=True)
def _keys_of_this_test(monkeypatch: pytest.MonkeyPatch) -> None:
    """`boto3.client` keeps the keys of its first call; no test acts with those of another."""
    monkeypatch.setattr(boto3, "DEFAULT_SESSION", None)


def pytest_unconfigure(config: pytest.Config) -> None:
    if LAB in config.stash:
        config.stash[LAB].close()


class CheckedNotebook(NotebookItem):
    """nbmake's run of a notebook, and what else a reader relies on."""

    def __init__(self, parent: pytest.File, filename: str) -> None:
        pytest.Item.__init__(self, "runs", parent)
        self.filename = filename
        # on the worker, and so the datalab, of its other run
        self.add_marker(pytest.mark.xdist_group(parent.name))

    def runtest(self) -> None:
        run = nb_run.NotebookRun(self.path, self.config.option.nbmake_timeout)
        result = run.execute()
        if result.error is not None:
            raise NotebookFailedException(result)
        secrets = secrets_of(Datalab(Path(os.environ["TEST_DATALAB"])))
        assert shown_in(nbformat.writes(result.nb), secrets) == []
        for cell in result.nb.cells:
            if "raises-exception" in cell.metadata.get("tags", []):
                raised = any(output.output_type == "error" for output in cell.outputs)
                assert raised, f"cell {cell.id} is to show an error, and ran through"
        for cell in result.nb.cells:
            cell.metadata.pop("execution", None)  # nbmake's times; the book's cache compares
        # whole or not at all: another worker may be building the book from it
        from tests import unchanged

        outputs = unchanged.outputs(self.path)
        for older in outputs.parent.glob(f"{self.path.stem}-*"):
            older.unlink()
        nbformat.write(result.nb, outputs.with_suffix(".unfinished"))
        outputs.with_suffix(".unfinished").rename(outputs)

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: None = None):
        if isinstance(excinfo.value, NotebookFailedException):
            return super().repr_failure(excinfo, style)
        return pytest.Item.repr_failure(self, excinfo, style)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    named = config.args_source is config.ArgsSource.ARGS
    if not (named or config.option.everything):
        items[:] = [item for item in items if not item.get_closest_marker("when_asked")]
    for position, item in enumerate(items):
        if isinstance(item, NotebookItem):
            items[position] = CheckedNotebook.from_parent(item.parent, filename=item.filename)
    items.sort(key=_turn)


#: Groups of tests that take minutes, in the order in which they begin; the rest fills up.
LONGEST = (
    "book",
    "datalabs of their own",
    "in a service, one after the other",
    "what is killed",
    "tiny books",
)


def _turn(item: pytest.Item) -> int:
    """The notebooks come first, since the book takes up what they printed."""
    groups = [mark.args[0] for mark in item.iter_markers("xdist_group")]
    if any(group.endswith(".ipynb") for group in groups):
        return 0
    turns = [LONGEST.index(group) for group in groups if group in LONGEST]
    return 1 + min(turns, default=len(LONGEST))
