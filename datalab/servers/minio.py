"""MinIO, the S3 server that the SSP Cloud runs."""

import json
import os
from collections.abc import Mapping, Sequence
from typing import ClassVar

from datalab.https import get
from datalab.machine import binaries
from datalab.servers.base import Effort
from datalab.servers.issuer import AUDIENCE, DISCOVERY, Issuer
from datalab.servers.rabbitmq import RabbitMQ
from datalab.servers.rights import OWN_BUCKETS, policy
from datalab.servers.store import Store, StoreSettings


class MinioSettings(StoreSettings, frozen=True, kw_only=True):
    """With the port of MinIO's web console."""

    console_port: int = 0


class Minio(Store):
    """The MinIO server of one datalab."""

    key = "minio"
    name = "MinIO"
    settings_type = MinioSettings
    settings: MinioSettings
    needs = ("issuer", "rabbitmq")
    has: ClassVar[frozenset[str]] = frozenset({"notifications"})

    @classmethod
    def find_program(cls) -> None:
        """MinIO, built first where it is found nowhere."""
        binaries.find_minio()

    @classmethod
    def effort(cls) -> Effort:
        """It is there, or has to be built."""
        return Effort.BUILD if binaries.find() is None else Effort.NONE

    def mark(self) -> tuple[str, str]:
        """Its certificates and its data."""
        return (f"--certs-dir={self.folder / 'certs'}", str(self.data))

    def command(self) -> Sequence[str]:
        """Its S3 port and its console's."""
        return [
            str(binaries.find_minio()),
            "server",
            "--quiet",
            f"--address={self.address}",
            f"--console-address=127.0.0.1:{self.settings.console_port}",
            *self.mark(),
        ]

    def process_environment(self) -> Mapping[str, str]:
        """Its administrator, its login service, its broker."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MINIO_")}
        issuer = Issuer(self.folder, self.all_settings)
        values = {
            "MINIO_ROOT_USER": self.settings.root.access_key,
            "MINIO_ROOT_PASSWORD": self.settings.root.secret_key,
            "MINIO_UPDATE": "off",
            "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.url + DISCOVERY,
            "MINIO_IDENTITY_OPENID_CLIENT_ID": AUDIENCE,
            "HOME": str(self.folder),  # where it would make a folder .minio
            "MINIO_CI_CD": "1",  # a folder of the system disk is fine for a lab
        }
        if RabbitMQ.key in self.all_settings:
            values |= RabbitMQ(self.folder, self.all_settings).minio_environment()
        return kept | values

    def is_ready(self) -> bool:
        """Whether *this* MinIO answers: the certificate says so, not only the port."""
        return get(f"https://{self.address}/minio/health/live", self.authority)[0] == 200

    def make_accounts(self) -> None:
        """Policies of the people, and the student's account."""
        import urllib3
        from minio import MinioAdmin
        from minio.credentials.providers import StaticProvider

        root, student = self.settings.root, self.settings.student
        # a connection of its own: the library's default reads the user's proxy
        http = urllib3.PoolManager(cert_reqs="CERT_REQUIRED", ca_certs=str(self.authority))
        admin = MinioAdmin(
            endpoint=self.address,
            credentials=StaticProvider(root.access_key, root.secret_key),
            http_client=http,
        )
        for person in OWN_BUCKETS:
            admin.policy_add(person, policy=policy(person))
        admin.user_add(student.access_key, student.secret_key)
        if "student" not in json.loads(admin.user_info(student.access_key)).get("policyName", ""):
            admin.attach_policy(["student"], user=student.access_key)

    @classmethod
    def import_client(cls) -> None:
        """Those of S3 and of MinIO's administration."""
        super().import_client()
        import minio  # noqa: F401

    @classmethod
    def client_errors(cls) -> tuple[type[Exception], ...]:
        """Those of boto3 and of MinIO's own client."""
        import urllib3
        from minio.error import MinioException

        return (*super().client_errors(), MinioException, urllib3.exceptions.HTTPError)

    def shown(self) -> Mapping[str, str]:
        """With the console."""
        console = {"console": f"https://127.0.0.1:{self.settings.console_port}"}
        return {**super().shown(), **console}
