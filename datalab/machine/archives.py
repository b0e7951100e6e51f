"""What takes seconds to make and comes out the same each time: made once, kept in the cache.

Its name says what it was made by, and what it holds. Another version of a program or of a
package makes another file; one that was cut or changed is not taken for whole.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path
from zipfile import ZipFile

from filelock import FileLock

from datalab.locks import held
from datalab.machine.binaries import cache_folder

KEPT = 2  # archives of one kind, for two checkouts that are used in turn


def digest(sources: Iterable[Path], packages: Iterable[str], *others: str) -> str:
    """What stands for the makers: source files, versions of packages, and what else counts."""
    from importlib.metadata import version  # slow to import, and not needed to say `status`

    total = hashlib.sha256()
    for source in sources:
        total.update(source.read_bytes())
    for name in (*(f"{package} {version(package)}" for package in packages), *others):
        total.update(f"\0{name}".encode())
    return total.hexdigest()[:16]


def opened(name: str, makers: str, make: Callable[[ZipFile], None]) -> ZipFile:
    """An archive, checked; from the cache, or made where that has none or a damaged one.

    Parameters
    ----------
    name
        Of its kind.
    makers
        From :func:`digest`.
    make
        Fills an empty archive.

    Returns
    -------
    ZipFile
        To be closed by the caller. Where the cache cannot be written, it is in a temporary
        file, gone when it is closed.
    """
    folder = cache_folder() / "archives"
    kind = f"{name}-{makers}"
    if (found := _whole(folder, kind)) is not None:
        return found
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = FileLock(folder / f"{name}.lock")
        with held(lock, "Another datalab makes what this one needs"):
            if (found := _whole(folder, kind)) is not None:
                return found  # the other made it while this one waited
            return _made(folder, kind, make)
    except OSError:  # of another user, or full; else the next line says what is wrong
        return _temporary(make)


def _whole(folder: Path, kind: str) -> ZipFile | None:
    """The archive, or None if it is not there or not as it was written."""
    for file in folder.glob(f"{kind}-*.zip"):
        with suppress(OSError):
            if file.stem == f"{kind}-{_digest_of(file)}":
                return ZipFile(file)
    return None


def _made(folder: Path, kind: str, make: Callable[[ZipFile], None]) -> ZipFile:
    """Write the archive, whole or not at all, and remove those that it replaces."""
    name = kind.partition("-")[0]
    for remains in [*folder.glob(f"{name}-*.unfinished"), *folder.glob(f"{kind}-*.zip")]:
        remains.unlink()  # of a process that was killed; damaged
    unfinished = folder / f"{kind}.unfinished"
    try:
        with ZipFile(unfinished, "x") as archive:
            make(archive)
        file = unfinished.rename(folder / f"{kind}-{_digest_of(unfinished)}.zip")
    finally:
        unfinished.unlink(missing_ok=True)
    every_version = folder.glob(f"{name}-*.zip")
    for old in sorted(every_version, key=lambda each: each.stat().st_mtime)[:-KEPT]:
        old.unlink()
    return ZipFile(file)


def _digest_of(file: Path) -> str:
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def _temporary(make: Callable[[ZipFile], None]) -> ZipFile:
    file = tempfile.TemporaryFile()  # noqa: SIM115  # the archive is read from it
    with ZipFile(file, "w") as archive:
        make(archive)
    return ZipFile(file)
