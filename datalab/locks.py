"""One process at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from filelock import FileLock, Timeout

from datalab.console import say

SECONDS_OF_SILENCE = 1.0


@contextmanager
def held(lock: FileLock, holder: str) -> Iterator[None]:
    """Hold ``lock``; while another process does, say that ``holder`` is waited for."""
    try:
        lock.acquire(timeout=SECONDS_OF_SILENCE)
    except Timeout:
        say(f"{holder}: waiting for it…")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()
