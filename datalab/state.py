"""What a datalab remembers between two starts: ``datalab.json``, of mode 600."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec

from datalab.errors import DatalabError
from datalab.files import write
from datalab.process import Process
from datalab.servers import SERVERS

FILE = "datalab.json"
FORMAT = 2  # to be raised, with a migration, when an older datalab could not read it
LAPTOP = "laptop"  # all that the datalab has
SERVICE = "service"  # what a service of the SSP Cloud has, see datalab/service.py


class State(msgspec.Struct, frozen=True, kw_only=True):
    """What a datalab remembers.

    Parameters
    ----------
    servers
        The settings of each of its servers, by key.
    provisioned
        Accounts, buckets and samples are all there.
    role, services
        Whose variables a command gets that asks for nothing else; of a service, with those of
        these servers.
    """

    servers: dict[str, Any]
    provisioned: bool = False
    role: str = LAPTOP
    services: tuple[str, ...] = ()
    format: int = FORMAT

    @classmethod
    def new(cls, keys: Iterable[str]) -> "State":
        """Fresh random credentials for these servers."""
        return cls(servers={key: SERVERS[key].settings_type() for key in keys})

    def with_server(self, key: str, settings: Any) -> "State":
        """The same with other settings of one server, or with one more."""
        return self.changed(servers={**self.servers, key: settings})

    def changed(self, **values: Any) -> "State":
        """The same with other values."""
        return msgspec.structs.replace(self, **values)

    def save(self, folder: Path) -> None:
        """Write the file, whole or not at all."""
        write(folder / FILE, msgspec.json.format(msgspec.json.encode(self), indent=2).decode())


def read(folder: Path) -> State:
    """What the datalab in ``folder`` remembers.

    Raises
    ------
    FileNotFoundError
        It has no file.
    DatalabError
        The file is of another version, or of no datalab, or names servers that are not here.
    """
    try:
        values = msgspec.json.decode((folder / FILE).read_bytes())
        found = values["format"]
        if found == 1:
            values = _from_format_1(values, folder)
        if values.pop("with_postgresql", False):  # as it was called when there was one such server
            values["services"] = ["postgres"]
        if found in (1, FORMAT):
            state = msgspec.convert(values, State)
            if missing := sorted(state.servers.keys() - SERVERS.keys()):
                raise DatalabError(
                    f"The datalab in {folder} has what this one has not: {', '.join(missing)}.",
                    "Use the one that made it, or another folder (--dir or DATALAB_DIR).",
                )
            servers = {
                key: msgspec.convert(settings, SERVERS[key].settings_type)
                for key, settings in state.servers.items()
            }
            return state.changed(servers=servers)
    except (msgspec.MsgspecError, KeyError, TypeError, UnicodeDecodeError):
        found = "unknown"
    raise DatalabError(
        f"{folder} was made by another version of the datalab: of format {found}; "
        f"this version reads {FORMAT}.",
        f"Use another folder (--dir), or move it away: mv {folder} {folder}.old",
    )


def _from_format_1(old: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The same in the present format; nothing that was stored is lost."""
    # its issuer had another mark: unseen, it would go on writing tokens
    Process("Token issuer", ("datalab.issuer", str(folder)), folder / "logs" / "issuer.log").stop()
    servers = {
        "issuer": {"port": old["issuer_port"]},
        "minio": {
            "port": old["port"],
            "console_port": old["console_port"],
            "root": old["root"],
            "student": old["student"],
        },
        "postgres": {"port": old["postgres_port"], **old["passwords"]},
        "internet": {"port": old["internet_port"], "password": old["proxy_password"]},
    }
    if old["broker"]:
        servers["rabbitmq"] = old["broker"]
    # not provisioned: the next start completes what a newer version adds
    return {"format": FORMAT, "servers": servers}
