"""Waits for the end of its parent, then removes a temporary datalab.

Standard input is a pipe whose other end only the parent holds: it closes when the
parent ends, even by ``kill -9``.
"""

import shutil
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from datalab import internet, issuer, minio, postgres, rabbitmq

SECONDS = 10.0


def main() -> int:
    """Run as ``python -m datalab.caretaker FOLDER``."""
    folder = Path(sys.argv[1])
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    sys.stdin.buffer.read()
    # The data are about to go, there is nothing to save. PostgreSQL is not killed, even
    # so: its shared memory would stay behind, in /dev/shm.
    servers = (
        replace(minio.server(folder), stop_signal=signal.SIGKILL),
        replace(internet.server(folder), stop_signal=signal.SIGKILL),
        replace(postgres.server(folder), stop_signal=signal.SIGQUIT),
        issuer.server(folder),
        replace(rabbitmq.server(folder), stop_signal=signal.SIGKILL),
    )
    deadline = time.monotonic() + SECONDS
    while True:
        for server in servers:
            server.stop()
        shutil.rmtree(folder, ignore_errors=True)
        # again if need be: the parent may have been killed while it started a server
        if not folder.exists() or time.monotonic() > deadline:
            return int(folder.exists())
        time.sleep(0.05)


if __name__ == "__main__":
    sys.exit(main())
