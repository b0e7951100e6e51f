"""A datalab that is gone with its data at the end, however the end comes.

Run as ``python -m datalab.temporary FOLDER``, this module waits for the end of its parent,
then removes a datalab. Standard input is a pipe whose other end only the parent holds: it
closes when the parent ends, even by ``kill -9``.
"""

import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from datalab.console import say
from datalab.lab import Datalab, choose_store
from datalab.servers import SERVERS
from datalab.servers.base import PROJECT
from datalab.state import State

SECONDS = 10.0


@contextmanager
def temporary(also: Sequence[str] = (), store: str = "") -> Iterator[Datalab]:
    """A datalab of one's own, with these optional servers, on this store; see `Datalab.up`."""
    folder = Path(tempfile.mkdtemp(prefix="datalab-")).resolve()
    cleaner = subprocess.Popen(
        [sys.executable, "-m", "datalab.temporary", str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        cwd=PROJECT,
        start_new_session=True,
    )
    lab = Datalab(folder)
    try:
        lab.up(also, store=store or choose_store("--store {}".format, also))
        yield lab
    finally:
        assert cleaner.stdin is not None
        cleaner.stdin.close()
        if cleaner.wait():
            say(f"The temporary datalab in {folder} could not be removed.")


def main() -> int:
    """Wait for the end of the parent, then stop and remove everything."""
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    # processes are found by the folder alone: the state may be half-written
    settings = State.new(SERVERS).servers
    servers = [server(folder, settings) for server in SERVERS.values()]
    processes = [replace(each.process, stop_signal=each.abandon_signal) for each in servers]
    deadline = time.monotonic() + SECONDS
    while True:
        for process in processes:
            process.stop()
        shutil.rmtree(folder, ignore_errors=True)
        # again if need be: the parent may have been killed while it started a server
        if not folder.exists() or time.monotonic() > deadline:
            return int(folder.exists())
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
