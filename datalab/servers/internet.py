"""The internet of a datalab: local answers, or the real addresses.

Notebooks carry official addresses. Where these cannot be reached (CI, a classroom, a
train), or must not be, requests for them go through a proxy of the datalab to answers
of the same form, made up. The variable ``DATALAB_INTERNET`` says which: ``local``,
``real``, or ``auto``, the default: local if the official site does not answer.
"""

import base64
import os
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import msgspec

from datalab.errors import DatalabError
from datalab.https import get
from datalab.servers.base import PROJECT, Server, Settings, secret

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


class InternetSettings(Settings, frozen=True, kw_only=True):
    """Of the proxy.

    Parameters
    ----------
    password
        Of the proxy's user ``datalab``.
    upstream
        URL of the proxy that this machine goes through, or "".
    chosen
        ``local`` or ``real``, as it was chosen at the last start.
    """

    password: str = msgspec.field(default_factory=secret)
    upstream: str = ""
    chosen: str = ""


class Internet(Server):
    """The proxy of one datalab, and the sites behind it."""

    key = "internet"
    name = "Internet"
    options: Sequence[str] = ()
    """Further arguments, for tests: which requests fail."""
    hosts: ClassVar[tuple[str, ...]] = HOSTS
    settings_type = InternetSettings
    settings: InternetSettings

    @classmethod
    def check_wishes(cls) -> None:
        """The variable is one of the three."""
        wanted()

    def mark(self) -> tuple[str, str]:
        """An option of its own."""
        return ("--datalab", str(self.folder))

    def command(self) -> Sequence[str]:
        """The package of the sites, run by this Python."""
        module = ("-m", "datalab.local_sites")
        port = f"--port={self.settings.port}"
        return [sys.executable, *module, port, *self.mark(), *self.options]

    def process_environment(self) -> Mapping[str, str]:
        """The secrets, since arguments are visible to every user."""
        return {
            **os.environ,
            "PYTHONPATH": str(PROJECT),
            "DATALAB_PROXY_PASSWORD": self.settings.password,
            "DATALAB_PROXY_UPSTREAM": self.settings.upstream,
        }

    @property
    def url(self) -> str:
        """What stands in ``HTTPS_PROXY``."""
        return f"http://{USER}:{self.settings.password}@{self.address}"

    def is_ready(self) -> bool:
        """Whether *this* proxy answers: it knows the password."""
        known = base64.b64encode(f"{USER}:{self.settings.password}".encode()).decode()
        asked = f"OPTIONS * HTTP/1.1\r\nProxy-Authorization: Basic {known}\r\n\r\n"
        try:
            address = ("127.0.0.1", self.settings.port)
            with socket.create_connection(address, timeout=5) as connection:
                connection.sendall(asked.encode())
                return connection.recv(12) == b"HTTP/1.1 501"
        except OSError:
            return False

    def adapted(self, environ: Mapping[str, str]) -> InternetSettings:
        """With the machine's proxy, unless ``environ`` is that of a shell of this datalab."""
        upstream = upstream_of(environ)
        if upstream == self.url:
            return self.settings
        return msgspec.structs.replace(self.settings, upstream=upstream)

    def surveyed(self) -> InternetSettings:
        """After a look at the official site, where the choice is ours."""
        bundle = self.folder / "certs" / "bundle.pem"
        chosen = choose(self.settings.upstream, bundle)
        return msgspec.structs.replace(self.settings, chosen=chosen)

    def variables(self) -> Mapping[str, str | None]:
        """The proxy, where answers are local; in its own shells also the machine's again."""
        if self._chosen_now() == "local":
            return dict.fromkeys(PROXY_VARIABLES, self.url)
        if upstream_of(os.environ) == self.url:
            return dict.fromkeys(PROXY_VARIABLES, self.settings.upstream or None)
        return {}

    def _chosen_now(self) -> str:
        chosen = wanted()
        return self.settings.chosen if chosen == "auto" else chosen

    def shown(self) -> Mapping[str, str]:
        """Who answers for the official addresses."""
        if self._chosen_now() == "real":
            return {"internet": "the real one"}
        return {"internet": f"made-up answers for {', '.join(HOSTS)}; other hosts as ever"}


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
    status, _ = get(url, bundle, upstream, LOOK_SECONDS)
    return status in (200, 429)  # 429: it is there, and busy


def upstream_of(environment: Mapping[str, str]) -> str:
    """URL of the proxy that the shell names for ``https://``, or ""."""
    found = next((environment[name] for name in PROXY_VARIABLES if environment.get(name)), "")
    return found if "://" in found or not found else f"http://{found}"
