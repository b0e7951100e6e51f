"""The internet of a datalab: local answers, or the real addresses.

Notebooks carry official addresses. Where these cannot be reached (CI, a classroom, a
train), or must not be, requests for them go through a proxy of the datalab to answers
of the same form, made up. The variable ``DATALAB_INTERNET`` says which: ``local``,
``real``, or ``auto``, the default: local if the official site does not answer.
"""

import base64
import os
import socket
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Mapping
from functools import partial
from pathlib import Path

from datalab.errors import DatalabError
from datalab.services import Server, free_port, is_free, persistently

VARIABLE = "DATALAB_INTERNET"
PROXY_VARIABLES = ("HTTPS_PROXY", "https_proxy")
USER = "datalab"
ADEME = "data.ademe.fr"
DATA_GOUV = "www.data.gouv.fr"
DATA_GOUV_FILES = "static.data.gouv.fr"
HOSTS = (ADEME, DATA_GOUV, DATA_GOUV_FILES)
"""What is answered locally; everything else is passed on."""
OFFICIAL = f"https://{ADEME}/data-fair/api/v1/datasets/dpe03existant/lines?size=0"
LOOK_SECONDS = 3.0
PROJECT = Path(__file__).resolve().parent.parent


def server(folder: Path) -> Server:
    """The server process of the datalab in ``folder``."""
    return Server(
        "Internet",
        folder,
        mark=("--datalab", str(folder)),
        log=folder / "logs" / "internet.log",
    )


class Internet:
    """The proxy of one datalab.

    Parameters
    ----------
    folder
        The datalab's folder, with the certificates in it.
    password
        Of the proxy's user ``datalab``.
    upstream
        URL of the proxy that this machine goes through, or "".
    """

    def __init__(self, folder: Path, password: str, upstream: str = "") -> None:
        self.server = server(folder)
        self.password = password
        self.upstream = upstream

    def start(self, port: int, *options: str) -> int:
        """Start the server on ``port``, or on another if it is taken; gives the port."""
        return persistently(partial(self._start_once, port, options))

    def _start_once(self, port: int, options: tuple[str, ...]) -> int:
        port = port if port and is_free(port) else free_port()
        module = ("-m", "datalab.internet_server")
        command = [sys.executable, *module, f"--port={port}", *self.server.mark, *options]
        environment = {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "DATALAB_PROXY_PASSWORD": self.password,
            "DATALAB_PROXY_UPSTREAM": self.upstream,
        }
        self.server.start(command, partial(self.answers, port), environment)
        return port

    def url(self, port: int) -> str:
        """What stands in ``HTTPS_PROXY``."""
        return f"http://{USER}:{self.password}@127.0.0.1:{port}"

    def answers(self, port: int) -> bool:
        """Whether *this* proxy answers: it knows the password."""
        known = base64.b64encode(f"{USER}:{self.password}".encode()).decode()
        asked = f"OPTIONS * HTTP/1.1\r\nProxy-Authorization: Basic {known}\r\n\r\n"
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
                connection.sendall(asked.encode())
                return connection.recv(12) == b"HTTP/1.1 501"
        except OSError:
            return False


def wanted() -> str:
    """The value of ``DATALAB_INTERNET``.

    Raises
    ------
    DatalabError
        It is none of the three.
    """
    value = os.environ.get(VARIABLE) or "auto"
    if value not in ("local", "real", "auto"):
        raise DatalabError(
            f"{VARIABLE} is {value!r}.",
            f"Set it to local, real or auto, or unset it: unset {VARIABLE}",
        )
    return value


def choose(upstream: str, bundle: Path) -> str:
    """``local`` or ``real``; with ``auto``, after a look at the official site."""
    value = wanted()
    if value == "auto":
        value = "real" if reachable(OFFICIAL, upstream, bundle) else "local"
    return value


def reachable(url: str, upstream: str, bundle: Path) -> bool:
    """Whether ``url`` answers by way of the machine's proxy, with a trusted certificate."""
    context = ssl.create_default_context(cafile=str(bundle))
    opener = urllib.request.build_opener(
        urllib.request.ProxyHandler({"https": upstream} if upstream else {}),
        urllib.request.HTTPSHandler(context=context),
    )
    try:
        with opener.open(url, timeout=LOOK_SECONDS) as answer:
            return bool(answer.status == 200)
    except urllib.error.HTTPError as error:
        return error.code == 429  # it is there, and busy
    except (urllib.error.URLError, OSError):
        return False


def upstream_of(environment: Mapping[str, str]) -> str:
    """URL of the proxy that the shell names for ``https://``, or ""."""
    found = next((environment[name] for name in PROXY_VARIABLES if environment.get(name)), "")
    return found if "://" in found or not found else f"http://{found}"
