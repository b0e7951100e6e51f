"""MinIO as the object store of the SSP Cloud: buckets, accounts, rights, tokens."""

import json
import os
import ssl
import subprocess
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import Any

from datalab import issuer
from datalab.errors import DatalabError
from datalab.services import Server, free_port, is_free, persistently
from datalab.strays import is_owned, without_strays

REGION = "us-east-1"
STUDENT = "student"  # user name and, as on the SSP Cloud, name of the bucket
SCRATCH = "student-scratch"
COLLEAGUE = "colleague"
COURSE_DATA = "donnees-insee"
PROJECT = "projet-village"  # shared by student and colleague, named as on the SSP Cloud
EARTH_SCIENCE = "earth-science"
TOKEN_SECONDS = 7 * 24 * 3600

# The buckets of which each person may do everything.
OWN_BUCKETS = {STUDENT: (STUDENT, SCRATCH, PROJECT), COLLEAGUE: (COLLEAGUE, PROJECT)}


def policy(person: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
    """What a person may do: the rights of a user of the SSP Cloud.

    Listing the buckets needs no rule: MinIO shows those that the caller may list as a
    whole, which leaves those of others out.

    Parameters
    ----------
    buckets
        Those of which the person may do everything; by default all of theirs.
    """
    own = {
        "Sid": "OwnBuckets",
        "Effect": "Allow",
        "Action": ["s3:*"],
        "Resource": [
            f"arn:aws:s3:::{bucket}{rest}"
            for bucket in buckets or OWN_BUCKETS[person]
            for rest in ("", "/*")
        ],
    }
    return {"Version": "2012-10-17", "Statement": [own, *OF_EVERYBODY]}


OF_EVERYBODY: list[dict[str, Any]] = [
    {
        "Sid": "ReadTheCourseData",
        "Effect": "Allow",
        "Action": ["s3:GetObject", "s3:ListBucket", "s3:GetBucketLocation"],
        "Resource": [
            f"arn:aws:s3:::{bucket}{rest}"
            for bucket in (COURSE_DATA, EARTH_SCIENCE)
            for rest in ("", "/*")
        ],
    },
    {
        "Sid": "ReadDiffusionOfEveryBucket",
        "Effect": "Allow",
        "Action": ["s3:GetObject"],
        "Resource": ["arn:aws:s3:::*/diffusion/*"],
    },
    {
        "Sid": "ListDiffusionOfEveryBucket",
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": ["arn:aws:s3:::*"],
        "Condition": {"StringLike": {"s3:prefix": ["diffusion", "diffusion/*"]}},
    },
]

# What everybody may read without a key, as on public buckets of scientific data.
EARTH_SCIENCE_POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Sid": "AnonymousReadsPublic",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:GetObject"],
            "Resource": [
                f"arn:aws:s3:::{EARTH_SCIENCE}/{prefix}*" for prefix in ("public/", "public-")
            ],
        },
        {
            "Sid": "AnonymousListsPublic",
            "Effect": "Allow",
            "Principal": {"AWS": ["*"]},
            "Action": ["s3:ListBucket"],
            "Resource": [f"arn:aws:s3:::{EARTH_SCIENCE}"],
            "Condition": {"StringLike": {"s3:prefix": ["public/*", "public-*"]}},
        },
    ],
}

SCRATCH_LIFECYCLE = {
    "Rules": [
        {
            "ID": "delete-after-7-days",
            "Status": "Enabled",
            "Filter": {"Prefix": ""},
            "Expiration": {"Days": 7},
        }
    ]
}

COLLEAGUE_OBJECTS = {
    "diffusion/README.md": "Everybody on the platform may read what stands under diffusion/.\n",
    "diffusion/villagers.csv": "name;occupation\nAsterix;warrior\nObelix;menhir delivery man\n",
    "notes/private.md": "Nobody but the owner of this bucket reads this.\n",
}


@dataclass(frozen=True)
class Keys:
    """A pair of S3 keys, with a session token if they are temporary."""

    access_key: str
    secret_key: str
    token: str = ""
    expires: datetime | None = None


def server(folder: Path) -> Server:
    """The server process of the datalab in ``folder``."""
    data = folder / "minio"
    return Server(
        "MinIO",
        data,
        mark=(f"--certs-dir={folder / 'certs'}", str(data)),
        log=folder / "logs" / "minio.log",
    )


class Minio:
    """The MinIO server of one datalab.

    Parameters
    ----------
    folder
        The datalab's folder; data go into ``minio/``.
    root
        Keys of the administrator, never given to students.
    settings
        Further variables of the server, ``MINIO_…``.
    """

    def __init__(
        self, folder: Path, root: Keys, settings: Mapping[str, str] = MappingProxyType({})
    ) -> None:
        self.server = server(folder)
        self.certificates = folder / "certs"
        self.root = root
        self.settings = settings

    def start(
        self, program: Path, port: int, console_port: int, issuer_port: int
    ) -> tuple[int, int]:
        """Start the server on these ports, or on others if they are taken by now.

        The issuer must run: MinIO asks it for its public key before it serves anybody.

        Returns
        -------
        tuple of int
            The ports that it listens on: S3 and the console.
        """
        self.server.folder.mkdir(mode=0o700, exist_ok=True)
        return persistently(partial(self._start_once, program, port, console_port, issuer_port))

    def _start_once(
        self, program: Path, port: int, console_port: int, issuer_port: int
    ) -> tuple[int, int]:
        port = port if port and is_free(port) else free_port()
        console_port = console_port if console_port and is_free(console_port) else free_port()
        command = [
            str(program),
            "server",
            "--quiet",
            f"--address=127.0.0.1:{port}",
            f"--console-address=127.0.0.1:{console_port}",
            *self.server.mark,
        ]
        environment = self._environment(issuer_port)
        self.server.start(command, partial(self.answers, port), environment)
        return port, console_port

    def _environment(self, issuer_port: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MINIO_")}
        return kept | {
            **self.settings,
            "MINIO_ROOT_USER": self.root.access_key,
            "MINIO_ROOT_PASSWORD": self.root.secret_key,
            "MINIO_UPDATE": "off",
            "MINIO_IDENTITY_OPENID_CONFIG_URL": issuer.address(issuer_port) + issuer.DISCOVERY,
            "MINIO_IDENTITY_OPENID_CLIENT_ID": issuer.AUDIENCE,
            "HOME": str(self.server.folder.parent),  # where it would make a folder .minio
            "MINIO_CI_CD": "1",  # a folder of the system disk is fine for a lab
        }

    def answers(self, port: int) -> bool:
        """Whether *this* MinIO answers: the certificate says so, not only the port."""
        context = ssl.create_default_context(cafile=str(self.certificates / "ca.pem"))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            url = f"https://127.0.0.1:{port}/minio/health/live"
            with opener.open(url, timeout=5) as answer:
                return bool(answer.status == 200)
        except (urllib.error.URLError, OSError):
            return False

    def client(self, service: str, port: int, keys: Keys) -> Any:
        """A boto3 client of this server, with nothing taken from the environment."""
        import boto3  # slow to import, and not needed to say `status`
        from botocore.config import Config

        with without_strays():
            return boto3.Session().client(
                service,
                endpoint_url=f"https://127.0.0.1:{port}",
                region_name=REGION,
                aws_access_key_id=keys.access_key,
                aws_secret_access_key=keys.secret_key,
                aws_session_token=keys.token or None,
                verify=str(self.certificates / "ca.pem"),
                config=Config(proxies={}, s3={"addressing_style": "path"}),
            )

    def _mc(self, mc: Path, port: int, *arguments: str, stdin: str = "") -> None:
        """Run MinIO's client as administrator; the keys pass through its environment."""
        host = f"https://{self.root.access_key}:{self.root.secret_key}@127.0.0.1:{port}"
        environment = {
            **{name: value for name, value in os.environ.items() if not is_owned(name)},
            "MC_HOST_datalab": host,
            "MC_CONFIG_DIR": str(self.certificates.parent / "mc"),
            "SSL_CERT_FILE": str(self.certificates / "ca.pem"),
            "NO_PROXY": "127.0.0.1",
            "no_proxy": "127.0.0.1",
        }
        done = subprocess.run(
            [str(mc), "--quiet", "--no-color", *arguments],
            env=environment,
            input=stdin,
            capture_output=True,
            text=True,
        )
        if done.returncode:
            said = (done.stdout + done.stderr).strip()
            raise DatalabError(
                f"`mc {' '.join(arguments[:3])}` failed: {said}",
                f"{mc} may be too old: the datalab was tested with the version that it builds.",
            )

    def furnish(self, mc: Path, port: int, student: Keys) -> None:
        """Make the buckets, the student's account and its rights, and put the samples."""
        from datalab.samples import MADE_UP, samples  # pandas is not needed to say `status`
        from datalab.samples_earth import samples_earth

        s3 = self.client("s3", port, self.root)
        existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        buckets = {*chain(*OWN_BUCKETS.values()), COURSE_DATA, EARTH_SCIENCE}
        for bucket in buckets - existing:
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_lifecycle_configuration(
            Bucket=SCRATCH, LifecycleConfiguration=SCRATCH_LIFECYCLE
        )

        s3.put_bucket_policy(Bucket=EARTH_SCIENCE, Policy=json.dumps(EARTH_SCIENCE_POLICY))

        for person in OWN_BUCKETS:
            file = self.certificates.parent / f"{person}-policy.json"
            file.write_text(json.dumps(policy(person), indent=2))
            self._mc(mc, port, "admin", "policy", "create", "datalab", person, str(file))
        # the secret goes through standard input: arguments are visible to every user
        account = f"{student.access_key}\n{student.secret_key}\n"
        self._mc(mc, port, "admin", "user", "add", "datalab", stdin=account)
        attached = ("attach", "datalab", "student", "--user", student.access_key)
        try:
            self._mc(mc, port, "admin", "policy", *attached)
        except DatalabError as error:
            if "already" not in str(error):  # a start that was interrupted got this far
                raise

        for bucket, made in ((COURSE_DATA, samples()), (EARTH_SCIENCE, samples_earth())):
            for sample in made:
                s3.put_object(
                    Bucket=bucket,
                    Key=sample.key,
                    Body=sample.content,
                    ContentType=sample.content_type,
                    Metadata=MADE_UP,
                )
        for key, text in COLLEAGUE_OBJECTS.items():
            s3.put_object(Bucket=COLLEAGUE, Key=key, Body=text.encode(), Metadata=MADE_UP)

    def token(
        self,
        port: int,
        student: Keys,
        seconds: int = TOKEN_SECONDS,
        rights: Mapping[str, Any] | None = None,
    ) -> Keys:
        """Temporary keys of the student from MinIO's STS, as Onyxia asks for at a launch.

        Parameters
        ----------
        seconds
            Life of the token; MinIO accepts 900 to 604800.
        rights
            A policy: the keys may do what both it and that of the student allow.
        """
        sts = self.client("sts", port, student)
        given = sts.assume_role(
            RoleArn="arn:aws:iam::minio:role/student",  # asked for by the API, unused by MinIO
            RoleSessionName="datalab",
            DurationSeconds=seconds,
            **({"Policy": json.dumps(rights)} if rights else {}),
        )["Credentials"]
        return Keys(
            given["AccessKeyId"],
            given["SecretAccessKey"],
            given["SessionToken"],
            given["Expiration"],
        )
