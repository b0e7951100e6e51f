"""An S3 store as the SSP Cloud's: what is the same whichever server it is."""

import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import chain
from typing import Any, ClassVar

import msgspec

from datalab.machine.course import is_the_course
from datalab.machine.variables import without_strays
from datalab.servers.base import Server, Settings, secret
from datalab.servers.rights import (
    COLLEAGUE,
    COLLEAGUE_OBJECTS,
    COURSE_DATA,
    EARTH_SCIENCE,
    EARTH_SCIENCE_POLICY,
    OWN_BUCKETS,
    PROJECT_BUCKET,
    SCRATCH,
    SCRATCH_LIFECYCLE,
    STUDENT,
    policy,
)

REGION = "us-east-1"
TOKEN_SECONDS = 7 * 24 * 3600
RENEW_BEFORE = timedelta(days=1)
UPLOADS = 4  # samples on their way at once


@cache  # it reads what it knows of each service once
def _session() -> Any:
    import boto3  # slow to import, and not needed to say `status`

    return boto3.Session()


class Keys(msgspec.Struct, frozen=True):
    """A pair of S3 keys, with a session token if they are temporary."""

    access_key: str
    secret_key: str
    token: str = ""
    expires: datetime | None = None

    @classmethod
    def given(cls, credentials: Mapping[str, Any]) -> "Keys":
        """The keys of an answer of the STS, its ``Credentials``."""
        return cls(
            credentials["AccessKeyId"],
            credentials["SecretAccessKey"],
            credentials["SessionToken"],
            credentials["Expiration"],
        )

    def last(self) -> bool:
        """Whether there is at least a day until they end."""
        return self.expires is not None and self.expires - datetime.now(UTC) > RENEW_BEFORE


class StoreSettings(Settings, frozen=True, kw_only=True):
    """Keys of the administrator, of the student, and the temporary ones for notebooks."""

    root: Keys = msgspec.field(default_factory=lambda: Keys("root-" + secret()[:16], secret()))
    student: Keys = msgspec.field(default_factory=lambda: Keys(STUDENT, secret()))
    token: Keys | None = None
    service_token: Keys | None = None  # with the rights of a service


class Store(Server):
    """An S3 store; a datalab has one."""

    settings_type = StoreSettings
    settings: StoreSettings
    needs: ClassVar[tuple[str, ...]] = ("issuer",)  # asks it for its public key
    role: ClassVar[str] = "store"

    def make_accounts(self) -> None:
        """Make the student's account, and what each person may do, where it runs by now."""

    def rights(self, person: str, buckets: Sequence[str] = ()) -> dict[str, Any]:
        """What a person may do, in the words of this store; see :func:`rights.policy`."""
        return policy(person, buckets)

    def client(self, service: str, keys: Keys) -> Any:
        """A boto3 client of this server, with nothing taken from the environment."""
        from botocore.config import Config

        with without_strays():
            return _session().client(
                service,
                endpoint_url=f"https://{self.address}",
                region_name=REGION,
                aws_access_key_id=keys.access_key,
                aws_secret_access_key=keys.secret_key,
                aws_session_token=keys.token or None,
                verify=str(self.authority),
                # a checksum in a trailer would cost a connection per object (boto3 3755)
                config=Config(
                    proxies={},
                    s3={"addressing_style": "path"},
                    request_checksum_calculation="when_required",
                ),
            )

    def provision(self) -> None:
        """Make the buckets, the accounts and their rights, and put the course's samples."""
        s3 = self.client("s3", self.settings.root)
        existing = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
        buckets = {*chain(*OWN_BUCKETS.values()), COURSE_DATA, EARTH_SCIENCE}
        for bucket in buckets - existing:
            s3.create_bucket(Bucket=bucket)
        s3.put_bucket_lifecycle_configuration(
            Bucket=SCRATCH, LifecycleConfiguration=SCRATCH_LIFECYCLE
        )
        s3.put_bucket_policy(Bucket=EARTH_SCIENCE, Policy=json.dumps(EARTH_SCIENCE_POLICY))
        self.make_accounts()
        if not is_the_course():
            return
        from datalab.samples import MADE_UP, Sample, all_samples  # not needed to say `status`

        def put(bucket: str, sample: Sample) -> None:
            s3.put_object(
                Bucket=bucket,
                Key=sample.key,
                Body=sample.content,
                ContentType=sample.content_type,
                Metadata=MADE_UP,
            )

        with ThreadPoolExecutor(UPLOADS) as uploads:
            for upload in [uploads.submit(put, *each) for each in all_samples()]:
                upload.result()
        for key, text in COLLEAGUE_OBJECTS.items():
            s3.put_object(Bucket=COLLEAGUE, Key=key, Body=text.encode(), Metadata=MADE_UP)

    @classmethod
    def import_client(cls) -> None:
        """That of S3."""
        import boto3  # noqa: F401

    @classmethod
    def client_errors(cls) -> tuple[type[Exception], ...]:
        """Those of boto3."""
        from botocore.exceptions import BotoCoreError, ClientError

        return (BotoCoreError, ClientError)

    def refreshed(self) -> StoreSettings:
        """The settings with tokens that last for a day at least."""
        tokens = (self.settings.token, self.settings.service_token)
        if all(token and token.last() for token in tokens):
            return self.settings
        return msgspec.structs.replace(
            self.settings,
            token=self.token(),
            service_token=self.token(rights=self.rights(STUDENT, buckets=[STUDENT])),
        )

    def token(self, seconds: int = TOKEN_SECONDS, rights: Mapping[str, Any] | None = None) -> Keys:
        """Temporary keys of the student from the STS, as Onyxia asks for at a launch.

        Parameters
        ----------
        seconds
            Life of the token, 900 to 604800.
        rights
            A policy: the keys may do what both it and that of the student allow.
        """
        given = self.client("sts", self.settings.student).assume_role(
            RoleArn="arn:aws:iam::minio:role/student",  # asked for by the API
            RoleSessionName="datalab",
            DurationSeconds=seconds,
            **({"Policy": json.dumps(rights)} if rights else {}),
        )["Credentials"]
        return Keys.given(given)

    def variables(self) -> Mapping[str, str | None]:
        """As Onyxia sets them, and three names of buckets that are this course's."""
        assert self.settings.token is not None
        return {
            **self._connection(self.settings.token),
            "AWS_VIRTUAL_HOSTING": "FALSE",  # path style for GDAL
            "MY_BUCKET": STUDENT,
            "SCRATCH_BUCKET": SCRATCH,
            "PROJECT_BUCKET": PROJECT_BUCKET,
        }

    def service_variables(self) -> Mapping[str, str]:
        """The same for a service, whose keys open the own bucket only."""
        assert self.settings.service_token is not None
        return self._connection(self.settings.service_token)

    def _connection(self, keys: Keys) -> dict[str, str]:
        """The endpoint bare in ``AWS_S3_ENDPOINT``, as a URL with a slash in the others."""
        url = f"https://{self.address}/"
        return {
            "AWS_ACCESS_KEY_ID": keys.access_key,
            "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            "AWS_SESSION_TOKEN": keys.token,
            "AWS_DEFAULT_REGION": REGION,
            "AWS_S3_ENDPOINT": self.address,
            "AWS_ENDPOINT_URL": url,
            "S3_ENDPOINT": url,
            "AWS_PATH_STYLE_ACCESS": "true",
            "AWS_WORKING_DIRECTORY_PATH": "",
        }

    def shown(self) -> Mapping[str, str]:
        """Where it is, what it is, whose bucket, until when."""
        rows = {"S3 endpoint": f"https://{self.address}", "store": self.name, "bucket": STUDENT}
        token = self.settings.token
        if token and token.expires:
            rows["token until"] = f"{token.expires.astimezone():%Y-%m-%d %H:%M}"
        return rows
