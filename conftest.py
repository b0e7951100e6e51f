"""One datalab for the whole run, and each notebook twice in a row on it."""

import os
from contextlib import ExitStack
from pathlib import Path

import nbformat
import pytest
from nbmake.nb_run import NotebookRun
from nbmake.pytest_items import NotebookFailedException, NotebookItem

from datalab import rabbitmq
from datalab.environment import apply
from datalab.errors import DatalabError
from datalab.lab import Datalab, temporary
from tests.lab_secrets import secrets_of, shown_in

LAB = pytest.StashKey[ExitStack]()


def pytest_configure(config: pytest.Config) -> None:
    """Start the datalab before xdist starts its workers, which inherit its environment."""
    if hasattr(config, "workerinput") or config.option.collectonly:
        return
    config.stash[LAB] = stack = ExitStack()
    capture = config.pluginmanager.getplugin("capturemanager")
    try:
        with capture.global_and_fixture_disabled():  # building MinIO takes minutes, and says so
            lab = stack.enter_context(temporary(broker=rabbitmq.available()))
    except DatalabError as error:
        raise pytest.UsageError(str(error)) from None
    environment = apply(lab.environment(), os.environ)
    os.environ.clear()
    os.environ.update(environment)
    os.environ["TEST_DATALAB"] = str(lab.folder)


def pytest_unconfigure(config: pytest.Config) -> None:
    if LAB in config.stash:
        config.stash[LAB].close()


class NotebookRunTwice(NotebookItem):
    """nbmake's run of a notebook, and what else a reader relies on.

    The second run must not live on what the first one left, nor on its absence.
    """

    def __init__(self, parent: pytest.File, filename: str, name: str) -> None:
        pytest.Item.__init__(self, name, parent)
        self.filename = filename
        # both runs on one worker, so one after the other
        self.add_marker(pytest.mark.xdist_group(parent.name))

    def runtest(self) -> None:
        run = NotebookRun(self.path, self.config.option.nbmake_timeout)
        try:
            result = run.execute()
        except RuntimeError as error:
            # Jupyter chooses TCP ports a moment before its kernel takes them; among the
            # thousands of connections of a run somebody else is quicker now and then.
            if "Kernel died before replying" not in str(error):
                raise
            result = run.execute()
        if result.error is not None:
            raise NotebookFailedException(result)
        secrets = secrets_of(Datalab(Path(os.environ["TEST_DATALAB"])))
        assert shown_in(nbformat.writes(result.nb), secrets) == []
        for cell in result.nb.cells:
            if "raises-exception" in cell.metadata.get("tags", []):
                raised = any(output.output_type == "error" for output in cell.outputs)
                assert raised, f"cell {cell.id} is to show an error, and ran through"

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: None = None):
        if isinstance(excinfo.value, NotebookFailedException):
            return super().repr_failure(excinfo, style)
        return pytest.Item.repr_failure(self, excinfo, style)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for position, item in reversed(list(enumerate(items))):
        if isinstance(item, NotebookItem):
            items[position : position + 1] = [
                NotebookRunTwice.from_parent(item.parent, filename=item.filename, name=name)
                for name in ("first run", "second run")
            ]
