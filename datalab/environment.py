"""The environment of a notebook: what its servers say, and how this machine reaches them."""

import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from datalab.console import is_installed_command
from datalab.machine.trust import BUNDLE_VARIABLES
from datalab.machine.variables import is_owned
from datalab.servers import SERVERS, Server


def environment(folder: Path, servers: Iterable[Server]) -> dict[str, str | None]:
    """What differs from the present environment; None stands for a variable to unset.

    Names and forms are those that Onyxia injects (chart ``jupyter-python``), where there
    are any; the rest are this course's additions.

    Parameters
    ----------
    folder
        Of the datalab.
    servers
        Its servers, which run.
    """
    values: dict[str, str | None] = {name: None for name in os.environ if is_owned(name)}
    # of servers that this datalab does not have, as another shell may have them
    values |= {name: None for server in SERVERS.values() for name in server.optional_variables}
    for server in servers:
        values |= server.variables()
    values["PATH"] = search_path(folder)
    values |= dict.fromkeys(BUNDLE_VARIABLES, str(folder / "certs" / "bundle.pem"))
    for name in ("NO_PROXY", "no_proxy"):
        # behind a proxy the lab is still reached directly, and what never exists (RFC 2606)
        # fails as it does without one
        others = [part for part in os.environ.get(name, "").split(",") if part]
        values[name] = ",".join(dict.fromkeys([*others, "127.0.0.1", "localhost", ".invalid"]))
    return values


def search_path(folder: Path) -> str:
    """PATH of that environment: the datalab's programs, those of this Python, the user's.

    With the installed command, whose Python may hold nothing else, the user's come before
    those of this Python.
    """
    ours, others = [str(Path(sys.executable).parent)], os.get_exec_path()
    folders = [*others, *ours] if is_installed_command() else [*ours, *others]
    return os.pathsep.join(dict.fromkeys([str(folder / "bin"), *folders]))


def merge(values: Mapping[str, str | None], into: Mapping[str, str]) -> dict[str, str]:
    """``into`` with ``values`` set, or unset where they are None."""
    merged: dict[str, str | None] = {**into, **values}
    return {name: value for name, value in merged.items() if value is not None}
