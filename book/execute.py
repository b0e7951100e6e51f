"""Run the notebooks of the book side by side and keep what they print: ``python -m book.execute``.

Each goes to a datalab on which no other runs at the same time, since two units that open
a prefix of the same bucket undo each other's change. The outputs go into the cache from
which Jupyter Book's build takes them, so a notebook whose code did not change is not run
again, and after a failure only what is missing runs.
"""

import os
import shutil
import sys
import weakref
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import SimpleQueue
from tempfile import mkdtemp
from typing import Any

import nbformat
import yaml
from jupyter_cache import get_cache
from jupyter_cache.base import CacheBundleIn, JupyterCacheAbstract
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError

from datalab.console import say
from datalab.environment import merge
from datalab.errors import DatalabError
from datalab.lab import AVAILABLE, Datalab
from datalab.temporary import temporary

#: More at a time gain nothing on two processors, and each has a datalab of its own.
MOST = 4


def notebooks(source: Path) -> list[Path]:
    """The notebooks that the table of contents names, the longest first.

    So the last ones to run are short, and end at about the same time.
    """
    toc = _settings(source / "_toc.yml")
    named = [entry["file"] for part in toc["parts"] for entry in part["chapters"]]
    paths = [source / f"{name}.ipynb" for name in named]
    found = [path for path in paths if path.is_file()]
    return sorted(found, key=lambda path: path.stat().st_size, reverse=True)


def _settings(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise DatalabError(
            f"{path} cannot be read: {error}", "Name the folder of a book that has this file."
        ) from error


def _read(path: Path) -> nbformat.NotebookNode:
    notebook: nbformat.NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def cache_of(source: Path) -> JupyterCacheAbstract:
    """The cache from which Jupyter Book takes outputs."""
    return get_cache(source / "_build" / ".jupyter_cache")


def missing(source: Path) -> list[Path]:
    """The notebooks whose present code has no outputs in the cache."""
    cache = cache_of(source)

    def is_kept(path: Path) -> bool:
        try:
            cache.match_cache_notebook(_read(path))
        except KeyError:
            return False
        return True

    return [path for path in notebooks(source) if not is_kept(path)]


def keep(source: Path, path: Path, executed: nbformat.NotebookNode) -> None:
    """Put the outputs of the notebook at ``path`` into the cache."""
    bundle = CacheBundleIn(executed, str(path))
    cache_of(source).cache_notebook_bundle(bundle, check_validity=False, overwrite=True)


class Kernel(AsyncKernelManager):
    """A kernel that is spoken to through sockets in a folder that only its user may enter.

    The default is TCP, on ports that are chosen a moment before the kernel takes them:
    beside the thousands of connections of a whole run, somebody else is quicker now and then.
    """

    def __init__(self, **options: Any) -> None:
        folder = mkdtemp(prefix="kernel-")  # a short path: macOS allows 103 characters
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        super().__init__(transport="ipc", connection_file=f"{folder}/k.json", **options)


def client(notebook: nbformat.NotebookNode, folder: Path, timeout: int) -> NotebookClient:
    """What runs a notebook in a folder; a cell may take ``timeout`` seconds."""
    return NotebookClient(
        notebook,
        timeout=timeout,
        kernel_name="python3",
        kernel_manager_class=Kernel,
        resources={"metadata": {"path": str(folder)}},
        record_timing=False,  # the book's cache compares metadata
    )


def execute(path: Path, environment: dict[str, str]) -> nbformat.NotebookNode:
    """The notebook with its outputs.

    Raises
    ------
    CellExecutionError, CellTimeoutError, DeadKernelError
        A cell failed that is not tagged ``raises-exception``, took too long, or killed Python.
    """
    config = _settings(path.parents[1] / "_config.yml")
    timeout = config["execute"]["timeout"]
    return client(_read(path), path.parent, timeout).execute(env=environment)


@contextmanager
def labs(number: int) -> Iterator["SimpleQueue[Datalab]"]:
    """That many datalabs, started side by side; take one, and put it back."""
    with ExitStack() as stack, ThreadPoolExecutor(number) as pool:
        queue: SimpleQueue[Datalab] = SimpleQueue()
        for lab in pool.map(stack.enter_context, [temporary([AVAILABLE]) for _ in range(number)]):
            queue.put(lab)
        yield queue


def run(source: Path, side_by_side: int) -> dict[Path, str]:
    """Run what is missing in the cache.

    Returns
    -------
    dict
        The notebooks that failed, each with the error to show.
    """
    paths = missing(source)
    if not paths:
        return {}
    number = min(side_by_side, len(paths))
    counted = "1 notebook" if len(paths) == 1 else f"{len(paths)} notebooks"
    say(f"Running {counted}, {number} at a time, each on a local datalab…")
    failed: dict[Path, str] = {}
    with labs(number) as free, ThreadPoolExecutor(number) as pool:

        def one(path: Path) -> nbformat.NotebookNode:
            lab = free.get()
            try:
                return execute(path, merge(lab.environment(), os.environ))
            finally:
                free.put(lab)

        running = {pool.submit(one, path): path for path in paths}
        try:
            for done, future in enumerate(as_completed(running), start=1):
                path = running[future]
                try:
                    keep(source, path, future.result())
                    said = "done"
                except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
                    failed[path] = str(error)
                    said = "failed"
                say(f"  {path.stem}: {said} ({done} of {len(paths)})")
        except BaseException:
            pool.shutdown(cancel_futures=True, wait=False)
            raise
    return failed


def main(arguments: Sequence[str] = ()) -> int:
    """Run what is missing; the folder of the book is the first argument, else this checkout."""
    source = Path(arguments[0]) if arguments else Path(__file__).resolve().parents[1]
    os.environ["DATALAB_INTERNET"] = "local"  # what is printed depends on no other site
    os.environ.setdefault("COURSE_ROWS", "1000000")  # nor on the memory of this machine
    try:
        failed = run(source.resolve(), min(os.cpu_count() or 1, MOST))
    except DatalabError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        say("Interrupted. What has run is kept; the next run goes on from there.")
        return 130
    for path, message in failed.items():
        say(f"\n{path.relative_to(source.resolve())} failed:\n{message}")
    return int(bool(failed))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
