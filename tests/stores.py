"""What each S3 store of the datalab does, measured; ``make stores`` writes the table.

A feature is a function that tries something on a store and says how that ended. Those that
are promised end with "yes" on every store, or with an error; the others may differ, and the
table on the page ``book/testing.md`` shows how.
"""

import json
import os
import re
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cached_property
from pathlib import Path
from ssl import create_default_context
from time import sleep
from typing import Any
from uuid import uuid4

from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

from datalab.errors import DatalabError
from datalab.lab import AVAILABLE, STORE, Datalab
from datalab.machine.variables import without_strays
from datalab.servers import SERVERS, of_role
from datalab.servers.issuer import LIFE, token_file
from datalab.servers.rabbitmq import NOTIFICATION_ARN, RabbitMQ
from datalab.servers.rights import COLLEAGUE, STUDENT
from datalab.servers.store import REGION, Keys
from datalab.temporary import temporary

PAGE = Path(__file__).resolve().parent.parent / "book" / "testing.md"
BEGIN = "<!-- stores: written by `make stores` -->\n"
END = "<!-- end of stores -->\n"
YES = "yes"
PROJECT = "projet-village"
COURSE_DATA = "donnees-insee"
REGIONS = "diffusion/GEOGRAPHIE/2019/region2019.csv"
LISTING = {"Bucket": "student", "MaxKeys": 1}  # what everybody with the student's keys may ask


@dataclass
class People:
    """Who asks a store for something, and a prefix that nobody else writes below."""

    lab: Datalab
    prefix: str = field(default_factory=lambda: f"tests-of-stores/{uuid4().hex[:8]}")

    @cached_property
    def store(self) -> Any:
        return self.lab.store()

    def client(self, keys: Keys | None, service: str = "s3", **config: Any) -> Any:
        """A client that reads nothing of the environment; without keys it does not sign."""
        import boto3

        signature = "s3v4" if service == "s3" else None
        with without_strays():
            return boto3.Session().client(
                service,
                endpoint_url=f"https://{self.store.address}",
                region_name=REGION,
                aws_access_key_id=keys.access_key if keys else None,
                aws_secret_access_key=keys.secret_key if keys else None,
                aws_session_token=(keys.token or None) if keys else None,
                verify=str(self.store.authority),
                config=Config(
                    proxies={},
                    s3={"addressing_style": "path"},
                    retries={"total_max_attempts": 1},
                    signature_version=signature if keys else UNSIGNED,
                    **config,
                ),
            )

    @cached_property
    def keys(self) -> Keys:
        """Of the student, for seven days."""
        assert self.store.settings.token is not None
        return self.store.settings.token

    @cached_property
    def student(self) -> Any:
        return self.client(self.keys)

    @cached_property
    def stranger(self) -> Any:
        return self.client(None)

    @cached_property
    def root(self) -> Any:
        return self.client(self.store.settings.root)

    def proof(self, person: str) -> str:
        """The present identity token of a person."""
        return token_file(self.lab.folder, person).read_text()

    def login(self, proof: str, role: str = "me", **more: str) -> Keys:
        """What the STS gives for an identity token."""
        given = self.client(None, "sts").assume_role_with_web_identity(
            RoleArn=f"arn:aws:iam::minio:role/{role}",
            RoleSessionName="test",
            WebIdentityToken=proof,
            **more,
        )["Credentials"]
        return Keys.given(given)

    @cached_property
    def ended(self) -> tuple[str, Keys]:
        """An identity token and the keys for it, which were good, and ended."""
        proof = self.proof(STUDENT)
        keys = self.login(proof)
        assert keys.expires is not None
        left = (keys.expires - datetime.now(UTC)).total_seconds()
        assert 0 < left <= LIFE
        assert not refusal(self.client(keys).list_objects_v2, **LISTING)
        sleep(LIFE + 1)
        return proof, keys

    @property
    def colleague(self) -> Any:
        """A client with keys of this moment."""
        return self.client(self.login(self.proof(COLLEAGUE), COLLEAGUE))

    @contextmanager
    def objects(self, bucket: str, *names: str, content: bytes = b"text") -> Iterator[list[str]]:
        """Objects below the prefix, gone at the end; gives their keys."""
        keys = [f"{self.prefix}/{name}" for name in names]
        try:
            for key in keys:
                self.root.put_object(Bucket=bucket, Key=key, Body=content)
            yield keys
        finally:
            for key in keys:
                self.root.delete_object(Bucket=bucket, Key=key)

    @contextmanager
    def policy(self, bucket: str, *statements: dict[str, Any]) -> Iterator[None]:
        """A policy of a bucket, gone at the end."""
        text = json.dumps({"Version": "2012-10-17", "Statement": statements})
        self.root.put_bucket_policy(Bucket=bucket, Policy=text)
        try:
            yield
        finally:
            self.root.delete_bucket_policy(Bucket=bucket)

    def fetched(self, url: str, method: str = "GET", body: bytes | None = None) -> tuple[int, str]:
        """Status and text of an answer to a program that knows the address only."""
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}),
            urllib.request.HTTPSHandler(
                context=create_default_context(cafile=str(self.store.authority))
            ),
        )
        request = urllib.request.Request(url, method=method, data=body)
        try:
            with opener.open(request, timeout=30) as answer:
                return int(answer.status), answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()


def refusal(call: Callable[..., Any], **arguments: Any) -> str:
    """Status and code of a refused request; empty if it was granted."""
    try:
        call(**arguments)
    except ClientError as error:
        code = str(error.response["Error"]["Code"])
        status = error.response["ResponseMetadata"]["HTTPStatusCode"]
        # the answer to a HEAD has no text, and boto3 gives its status for a code
        return str(status) if code == str(status) else f"{status} `{code}`"
    return ""


Feature = Callable[[People], str]
FEATURES: dict[str, dict[str, Feature]] = {}
PROMISED: set[str] = set()


def feature(chapter: str, title: str) -> Callable[[Callable[[People], str | None]], Feature]:
    """A row of the table; one that gives nothing is promised, and shown as "yes"."""

    def add(function: Callable[[People], str | None]) -> Feature:
        def measured(people: People) -> str:
            return function(people) or YES

        FEATURES.setdefault(chapter, {})[title] = measured
        if function.__annotations__["return"] is None:
            PROMISED.add(title)
        return measured

    return add


# -- rights ----------------------------------------------------------------------------

RIGHTS = "Rights"
REFUSED = "403 `AccessDenied`"


@feature(RIGHTS, "the student writes, reads, lists and deletes in the own buckets")
def own(people: People) -> None:
    for bucket in ("student", "student-scratch", PROJECT):
        where = {"Bucket": bucket, "Key": f"{people.prefix}/mine.txt"}
        people.student.put_object(**where, Body=b"mine")
        assert people.student.get_object(**where)["Body"].read() == b"mine"
        listed = people.student.list_objects_v2(Bucket=bucket, Prefix=people.prefix)["Contents"]
        assert [each["Key"] for each in listed] == [where["Key"]]
        people.student.delete_object(**where)
        assert refusal(people.student.get_object, **where) == "404 `NoSuchKey`"


@feature(RIGHTS, "the course's data are read, and written by nobody")
def course_data(people: People) -> None:
    for person in (people.student, people.colleague):
        where = {"Bucket": COURSE_DATA, "Key": REGIONS}
        assert person.get_object(**where)["Body"].read().startswith(b"reg,cheflieu")
        assert refusal(person.put_object, **where, Body=b"x") == REFUSED
        assert refusal(person.delete_object, **where) == REFUSED
        assert refusal(person.put_bucket_policy, Bucket=COURSE_DATA, Policy="{}") == REFUSED


@feature(RIGHTS, "of another user's bucket only `diffusion/` is read and listed")
def diffusion(people: People) -> None:
    student = people.student
    found = student.list_objects_v2(Bucket=COLLEAGUE, Prefix="diffusion/")["Contents"]
    assert {each["Key"] for each in found} == {"diffusion/README.md", "diffusion/villagers.csv"}
    assert student.get_object(Bucket=COLLEAGUE, Key="diffusion/README.md")["Body"].read()
    private = {"Bucket": COLLEAGUE, "Key": "notes/private.md"}
    assert refusal(student.get_object, **private) == REFUSED
    assert refusal(student.list_objects_v2, Bucket=COLLEAGUE, Prefix="notes/") == REFUSED
    assert refusal(student.list_objects_v2, Bucket=COLLEAGUE) == REFUSED
    shared = {"Bucket": COLLEAGUE, "Key": "diffusion/README.md"}
    assert refusal(student.put_object, **shared, Body=b"x") == REFUSED
    assert refusal(student.delete_object, **shared) == REFUSED
    with people.objects("student", "private.txt") as (mine,):
        assert refusal(people.colleague.get_object, Bucket="student", Key=mine) == REFUSED
        assert refusal(people.colleague.delete_object, Bucket="student", Key=mine) == REFUSED
        assert refusal(people.colleague.list_objects_v2, Bucket="student") == REFUSED


@feature(RIGHTS, "the project's bucket is written by both of its people")
def project(people: People) -> None:
    with people.objects(PROJECT, "ours.txt") as (key,):
        people.colleague.put_object(Bucket=PROJECT, Key=key, Body=b"by her")
        assert people.student.get_object(Bucket=PROJECT, Key=key)["Body"].read() == b"by her"
        people.student.delete_object(Bucket=PROJECT, Key=key)


@feature(RIGHTS, "each sees the buckets that they may list, and no others")
def listed_buckets(people: People) -> None:
    def names(client: Any) -> set[str]:
        return {each["Name"] for each in client.list_buckets()["Buckets"]}

    everybodys = {COURSE_DATA, "earth-science"}
    assert names(people.student) == {"student", "student-scratch", PROJECT, *everybodys}
    assert names(people.colleague) == {COLLEAGUE, PROJECT, *everybodys}


@feature(RIGHTS, "nobody but its administrator makes a bucket")
def no_buckets(people: People) -> None:
    for person in (people.student, people.colleague, people.stranger):
        assert refusal(person.create_bucket, Bucket="a-bucket-of-mine") == REFUSED


@feature(RIGHTS, "a stranger without keys reads what is open to everybody, and no more")
def strangers(people: People) -> None:
    public = {"Bucket": "earth-science", "Key": "public/README.md"}
    assert people.stranger.get_object(**public)["Body"].read()
    found = people.stranger.list_objects_v2(Bucket="earth-science", Prefix="public/")["Contents"]
    assert [each["Key"] for each in found] == [public["Key"]]
    assert refusal(people.stranger.put_object, **public, Body=b"x") == REFUSED
    assert refusal(people.stranger.get_object, Bucket="earth-science", Key="README.md") == REFUSED
    for bucket in (COURSE_DATA, "student", COLLEAGUE):
        listing = {"Bucket": bucket, "Prefix": "diffusion/"}
        assert refusal(people.stranger.list_objects_v2, **listing) == REFUSED
        assert refusal(people.stranger.get_object, Bucket=bucket, Key=REGIONS) == REFUSED
    assert refusal(people.stranger.list_buckets) == REFUSED


@feature(RIGHTS, "the keys of a service open the user's own bucket, and no shared one")
def of_a_service(people: People) -> None:
    assert people.store.settings.service_token is not None
    service = people.client(people.store.settings.service_token)
    key = f"{people.prefix}/of-a-service"
    service.put_object(Bucket="student", Key=key, Body=b"")
    service.delete_object(Bucket="student", Key=key)
    for bucket in (PROJECT, "student-scratch"):
        assert refusal(service.put_object, Bucket=bucket, Key=key, Body=b"") == REFUSED


# -- keys ------------------------------------------------------------------------------

KEYS = "Temporary keys"


@feature(KEYS, "keys for seven days, from the STS")
def seven_days(people: People) -> None:
    keys = people.store.token()
    assert keys.expires is not None
    left = keys.expires - datetime.now(UTC)
    assert timedelta(days=6, hours=23) < left <= timedelta(days=7)
    assert people.client(keys).list_objects_v2(Bucket="student", MaxKeys=1)["ResponseMetadata"]


@feature(KEYS, "keys for an identity token, with the rights of its person")
def for_an_identity(people: People) -> None:
    with people.objects("student", "mine.txt") as (key,):
        mine = people.client(people.login(people.proof(STUDENT)))
        assert mine.get_object(Bucket="student", Key=key)["Body"].read() == b"text"
        assert refusal(people.colleague.get_object, Bucket="student", Key=key) == REFUSED


@feature(KEYS, "they end with the token, within eight seconds, and new ones go on")
def eight_seconds(people: People) -> None:
    _, keys = people.ended
    assert refusal(people.client(keys).list_objects_v2, **LISTING)
    again = people.client(people.login(people.proof(STUDENT)))
    assert not refusal(again.list_objects_v2, **LISTING)


@feature(KEYS, "a token of another issuer, or a changed one, gets none")
def forged(people: People) -> None:
    from datalab.servers import issuer_process

    genuine = people.proof(COLLEAGUE)
    head, body, signature = genuine.split(".")
    another = issuer_process.Signer(people.lab.server("issuer").url)
    for proof in (another.token(STUDENT), f"{head}.{body}.", f"{head}.{body[::-1]}.{signature}"):
        assert refusal(people.login, proof=proof)


@feature(KEYS, "nobody takes the role of somebody else")
def roles(people: People) -> None:
    """MinIO gives keys of the person whatever the role; other stores refuse."""
    with people.objects("student", "private.txt") as (key,):
        try:
            keys = people.login(people.proof(COLLEAGUE), STUDENT)
        except ClientError:
            pass
        else:
            assert refusal(people.client(keys).get_object, Bucket="student", Key=key) == REFUSED
        hers = people.login(people.proof(COLLEAGUE), COLLEAGUE)
        role = {"RoleArn": "arn:aws:iam::minio:role/student", "RoleSessionName": "test"}
        try:
            given = people.client(hers, "sts").assume_role(**role)["Credentials"]
        except ClientError:
            return
        keys = Keys(given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"])
        assert refusal(people.client(keys).get_object, Bucket="student", Key=key) == REFUSED


@feature(KEYS, "keys with fewer rights than their person has")
def fewer_rights(people: People) -> None:
    statement = {"Effect": "Allow", "Action": ["s3:ListBucket"]}
    statement["Resource"] = ["arn:aws:s3:::student"]
    narrow = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    client = people.client(people.login(people.proof(STUDENT), Policy=narrow))
    assert not refusal(client.list_objects_v2, Bucket="student", MaxKeys=1)
    assert refusal(client.put_object, Bucket="student", Key="x", Body=b"x") == REFUSED
    assert refusal(client.list_objects_v2, Bucket=PROJECT) == REFUSED


# -- refusals --------------------------------------------------------------------------

REFUSALS = "Refusals"


@feature(REFUSALS, "an access key that the store does not know")
def unknown_key(people: People) -> str:
    return refusal(people.client(Keys("AKIAUNKNOWN", "secret")).list_objects_v2, **LISTING)


@feature(REFUSALS, "a wrong secret")
def wrong_secret(people: People) -> str:
    keys = Keys(people.keys.access_key, "wrong", people.keys.token)
    return refusal(people.client(keys).list_objects_v2, **LISTING)


@feature(REFUSALS, "the session token is missing")
def no_token(people: People) -> str:
    keys = Keys(people.keys.access_key, people.keys.secret_key)
    return refusal(people.client(keys).list_objects_v2, **LISTING)


@feature(REFUSALS, "the session token is cut")
def cut_token(people: People) -> str:
    keys = Keys(people.keys.access_key, people.keys.secret_key, people.keys.token[:-20])
    return refusal(people.client(keys).list_objects_v2, **LISTING)


@feature(REFUSALS, "keys that have ended")
def ended_keys(people: People) -> str:
    return refusal(people.client(people.ended[1]).list_objects_v2, **LISTING)


@feature(REFUSALS, "an identity token that has ended")
def ended_proof(people: People) -> str:
    return refusal(people.login, proof=people.ended[0])


@feature(REFUSALS, "an object that does not exist")
def no_object(people: People) -> str:
    return refusal(people.student.get_object, Bucket="student", Key=f"{people.prefix}/nothing")


@feature(REFUSALS, "a bucket that does not exist")
def no_bucket(people: People) -> str:
    return refusal(people.student.list_objects_v2, Bucket="no-such-bucket")


@feature(REFUSALS, "an upload whose checksum is wrong")
def wrong_checksum(people: People) -> str:
    where = {"Bucket": "student", "Key": f"{people.prefix}/damaged"}
    said = refusal(people.student.put_object, **where, Body=b"text", ChecksumCRC32="AAAAAA==")
    assert refusal(people.student.get_object, **where) == "404 `NoSuchKey`"
    return said


@feature(REFUSALS, "a bucket's policy that speaks of another bucket")
def foreign_policy(people: People) -> str:
    rule = _open_rule(f"{COLLEAGUE}/*")
    text = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
    return refusal(people.student.put_bucket_policy, Bucket="student", Policy=text)


# -- policies of buckets ---------------------------------------------------------------

POLICIES = "Policies of buckets"


def _open_rule(resource: str, effect: str = "Allow") -> dict[str, Any]:
    return {
        "Effect": effect,
        "Principal": {"AWS": ["*"]},
        "Action": ["s3:GetObject"],
        "Resource": [f"arn:aws:s3:::{resource}"],
    }


@feature(POLICIES, "the student opens a prefix to everybody, and closes it")
def opened(people: People) -> None:
    with people.objects(PROJECT, "open/a", "closed/b") as (inside, outside):
        rule = _open_rule(f"{PROJECT}/{people.prefix}/open/*")
        text = json.dumps({"Version": "2012-10-17", "Statement": [rule]})
        people.student.put_bucket_policy(Bucket=PROJECT, Policy=text)
        try:
            stored = people.student.get_bucket_policy(Bucket=PROJECT)["Policy"]
            assert len(json.loads(stored)["Statement"]) == 1
            found = people.stranger.get_object(Bucket=PROJECT, Key=inside)["Body"].read()
            assert found == b"text"
            assert refusal(people.stranger.get_object, Bucket=PROJECT, Key=outside) == REFUSED
            assert refusal(people.stranger.list_objects_v2, Bucket=PROJECT) == REFUSED
        finally:
            people.student.delete_bucket_policy(Bucket=PROJECT)
        assert refusal(people.stranger.get_object, Bucket=PROJECT, Key=inside) == REFUSED
        asked = refusal(people.student.get_bucket_policy, Bucket=PROJECT)
        assert asked == "404 `NoSuchBucketPolicy`"


@feature(POLICIES, "a prefix open to everybody is open to a signed user without a right to it")
def signed(people: People) -> str:
    with (
        people.objects("student", "open/a") as (key,),
        people.policy("student", _open_rule(f"student/{people.prefix}/open/*")),
    ):
        assert people.stranger.get_object(Bucket="student", Key=key)["Body"].read() == b"text"
        return "no" if refusal(people.colleague.get_object, Bucket="student", Key=key) else YES


@feature(POLICIES, "strangers may write where a rule lets them")
def written_by_strangers(people: People) -> str:
    key = f"{people.prefix}/open/by-a-stranger"
    rule = _open_rule(f"student/{people.prefix}/open/*") | {"Action": ["s3:PutObject"]}
    with people.policy("student", rule):
        refused = refusal(people.stranger.put_object, Bucket="student", Key=key, Body=b"text")
    people.root.delete_object(Bucket="student", Key=key)
    return "no" if refused else YES


@feature(POLICIES, "a `Deny` binds the owner of the bucket, too")
def denied(people: People) -> str:
    with (
        people.objects("student", "closed/a") as (key,),
        people.policy("student", _open_rule(f"student/{people.prefix}/closed/*", "Deny")),
    ):
        return YES if refusal(people.student.get_object, Bucket="student", Key=key) else "no"


# -- objects ---------------------------------------------------------------------------

OBJECTS = "Objects"


@feature(OBJECTS, "versions and delete markers: what was overwritten or deleted comes back")
def versions(people: People) -> None:
    where = {"Bucket": PROJECT, "Key": f"{people.prefix}/versions.txt"}
    student = people.student
    before = student.get_bucket_versioning(Bucket=PROJECT).get("Status", "Suspended")
    student.put_bucket_versioning(Bucket=PROJECT, VersioningConfiguration={"Status": "Enabled"})
    try:
        first = student.put_object(**where, Body=b"1")["VersionId"]
        student.put_object(**where, Body=b"2")
        assert student.get_object(**where)["Body"].read() == b"2"
        assert student.get_object(**where, VersionId=first)["Body"].read() == b"1"
        marker = student.delete_object(**where)
        assert marker["DeleteMarker"] is True
        assert refusal(student.get_object, **where) == "404 `NoSuchKey`"
        listed = student.list_object_versions(Bucket=PROJECT, Prefix=where["Key"])
        assert len(listed["Versions"]) == 2
        assert len(listed["DeleteMarkers"]) == 1
        student.delete_object(**where, VersionId=marker["VersionId"])
        assert student.get_object(**where)["Body"].read() == b"2"
    finally:
        listed = student.list_object_versions(Bucket=PROJECT, Prefix=where["Key"])
        for each in [*listed.get("Versions", []), *listed.get("DeleteMarkers", [])]:
            student.delete_object(Bucket=PROJECT, Key=each["Key"], VersionId=each["VersionId"])
        student.put_bucket_versioning(Bucket=PROJECT, VersioningConfiguration={"Status": before})


@feature(OBJECTS, "`If-None-Match: *`: of eight writers at once one wins")
def one_writer(people: People) -> None:
    where = {"Bucket": "student", "Key": f"{people.prefix}/once"}

    def write(number: int) -> str:
        return refusal(people.student.put_object, **where, Body=str(number), IfNoneMatch="*")

    with ThreadPoolExecutor(8) as pool:
        said = list(pool.map(write, range(8)))
    assert sorted(said)[0] == ""
    # a store may also answer that it is busy with another of them
    assert all(re.match("412 |409 ", each) for each in sorted(said)[1:]), said
    winner = people.student.get_object(**where)["Body"].read().decode()
    assert winner == str(said.index(""))
    people.student.delete_object(**where)


@feature(OBJECTS, "`If-Match`: only who knows the present version overwrites it")
def known_version(people: People) -> None:
    where = {"Bucket": "student", "Key": f"{people.prefix}/matched"}
    put = people.student.put_object
    tag = put(**where, Body=b"1")["ETag"]
    assert not refusal(put, **where, Body=b"2", IfMatch=tag)
    assert refusal(put, **where, Body=b"3", IfMatch=tag) == "412 `PreconditionFailed`"
    assert people.student.get_object(**where)["Body"].read() == b"2"
    people.student.delete_object(**where)


@feature(OBJECTS, "`If-Match` on a key that does not exist")
def matched_nothing(people: People) -> str:
    where = {"Bucket": "student", "Key": f"{people.prefix}/nothing"}
    tag = '"d41d8cd98f00b204e9800998ecf8427e"'
    return refusal(people.student.put_object, **where, Body=b"1", IfMatch=tag)


@feature(OBJECTS, "uploads in parts, completed and given up")
def parts(people: People) -> None:
    student, bucket = people.student, "student"
    where = {"Bucket": bucket, "Key": f"{people.prefix}/parts"}
    content = [b"a" * 5 * 2**20, b"b" * 1000]
    upload = student.create_multipart_upload(**where)["UploadId"]
    tags = [
        {
            "PartNumber": number,
            "ETag": student.upload_part(**where, UploadId=upload, PartNumber=number, Body=part)[
                "ETag"
            ],
        }
        for number, part in enumerate(content, 1)
    ]
    assert len(student.list_parts(**where, UploadId=upload)["Parts"]) == 2
    student.complete_multipart_upload(**where, UploadId=upload, MultipartUpload={"Parts": tags})
    head = student.head_object(**where)
    assert head["ContentLength"] == sum(map(len, content))
    assert head["ETag"].endswith('-2"')
    tail = student.get_object(**where, Range="bytes=-1500")["Body"].read()
    assert tail == b"a" * 500 + b"b" * 1000
    student.delete_object(**where)
    upload = student.create_multipart_upload(**where)["UploadId"]
    student.upload_part(**where, UploadId=upload, PartNumber=1, Body=b"half")
    assert refusal(student.get_object, **where) == "404 `NoSuchKey`"
    student.abort_multipart_upload(**where, UploadId=upload)
    left = student.list_multipart_uploads(Bucket=bucket).get("Uploads", [])
    assert where["Key"] not in [each["Key"] for each in left]


@feature(OBJECTS, "unfinished uploads are listed for a prefix above their key")
def uploads_of_a_prefix(people: People) -> str:
    where = {"Bucket": "student", "Key": f"{people.prefix}/unfinished"}
    upload = people.student.create_multipart_upload(**where)["UploadId"]
    try:
        every = people.student.list_multipart_uploads(Bucket="student")["Uploads"]
        assert where["Key"] in [each["Key"] for each in every]
        asked = {"Bucket": "student", "Prefix": people.prefix}
        return YES if people.student.list_multipart_uploads(**asked).get("Uploads") else "no"
    finally:
        people.student.abort_multipart_upload(**where, UploadId=upload)


@feature(OBJECTS, "links signed for a while: reading, writing, and refused when they end")
def links(people: People) -> None:
    where = {"Bucket": "student", "Key": f"{people.prefix}/link.txt"}

    def link(action: str, seconds: int = 60) -> str:
        return str(people.student.generate_presigned_url(action, where, ExpiresIn=seconds))

    short = link("get_object", 1)
    assert people.fetched(link("put_object"), "PUT", b"by link")[0] == 200
    assert people.fetched(link("get_object")) == (200, "by link")
    status, text = people.fetched(link("get_object").replace("link.txt", "other.txt"))
    assert status == 403
    assert "SignatureDoesNotMatch" in text
    sleep(2)
    status, text = people.fetched(short)
    assert status == 403
    assert "AccessDenied" in text
    people.student.delete_object(**where)


@feature(OBJECTS, "rules that delete after days: written and read back")
def lifecycle(people: People) -> None:
    (rule,) = people.student.get_bucket_lifecycle_configuration(Bucket="student-scratch")["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["Expiration"] == {"Days": 7}
    asked = refusal(people.student.get_bucket_lifecycle_configuration, Bucket="student")
    assert asked == "404 `NoSuchLifecycleConfiguration`"
    mine = {
        "ID": "test",
        "Status": "Enabled",
        "Filter": {"Prefix": f"{people.prefix}/"},
        "Expiration": {"Days": 1},
    }
    people.student.put_bucket_lifecycle_configuration(
        Bucket="student", LifecycleConfiguration={"Rules": [mine]}
    )
    try:
        found = people.student.get_bucket_lifecycle_configuration(Bucket="student")["Rules"]
        assert [(each["ID"], each["Expiration"]["Days"]) for each in found] == [("test", 1)]
    finally:
        people.student.delete_bucket_lifecycle(Bucket="student")


@feature(OBJECTS, "a key `a` beside a key `a/b`")
def beside_a_folder(people: People) -> str:
    with people.objects("student", "a", "a/b") as (key, below):
        for each in (key, below):
            assert people.student.get_object(Bucket="student", Key=each)["Body"].read() == b"text"
        found = people.student.list_objects_v2(Bucket="student", Prefix=people.prefix)["Contents"]
        both = {each["Key"] for each in found} == {key, below}
        return "both are read and listed" if both else "both are read, one is listed"


@feature(OBJECTS, "a folder whose last object was deleted")
def emptied_folder(people: People) -> str:
    with people.objects("student", "folder/below/a"):
        pass
    asked = {"Bucket": "student", "Prefix": f"{people.prefix}/folder/"}
    assert people.student.list_objects_v2(**asked)["KeyCount"] == 0  # no object is left of it
    found = people.student.list_objects_v2(**asked, Delimiter="/").get("CommonPrefixes")
    return "is still listed for two minutes" if found else "is gone at once"


@feature(OBJECTS, "messages of what was written or deleted, to a broker")
def notifications(people: People) -> str:
    queue = {"QueueArn": NOTIFICATION_ARN, "Events": ["s3:ObjectCreated:*"]}
    asked = {"Bucket": PROJECT, "NotificationConfiguration": {"QueueConfigurations": [queue]}}
    if refusal(people.student.put_bucket_notification_configuration, **asked):
        return "no"
    found = people.student.get_bucket_notification_configuration(Bucket=PROJECT)
    assert found["QueueConfigurations"][0]["QueueArn"] == NOTIFICATION_ARN
    people.student.put_bucket_notification_configuration(
        Bucket=PROJECT, NotificationConfiguration={}
    )
    return YES


# -- the table -------------------------------------------------------------------------


def needs_a_broker(title: str, lab: Datalab) -> bool:
    """Whether a row cannot be measured here, since RabbitMQ is not on this machine."""
    has = lab.store().has
    return "broker" in title and "notifications" in has and RabbitMQ.key not in _keys(lab)


def _keys(lab: Datalab) -> list[str]:
    return [server.key for server in lab.servers()]


def table(measured: dict[str, dict[str, str]]) -> str:
    """The table in Markdown, from what each row gave on each store, by its key."""
    names = [SERVERS[key].name for key in of_role(STORE)]
    lines = [f"| Feature | {' | '.join(names)} |", "|---" * (len(names) + 1) + "|"]
    for chapter, rows in FEATURES.items():
        lines.append(f"| **{chapter}** |{' |' * len(names)}")
        for title in rows:
            cells = " | ".join(measured[title][key] for key in of_role(STORE))
            lines.append(f"| {title} | {cells} |")
    return "\n".join(lines) + "\n"


def on_the_page() -> dict[str, dict[str, str]]:
    """What the page says, by row and store."""
    text = PAGE.read_text(encoding="utf-8").partition(BEGIN)[2].partition(END)[0]
    found = {}
    for line in filter(None, text.splitlines()):
        title, *cells = [cell.strip() for cell in line.strip("|").split("|")]
        found[title] = dict(zip(of_role(STORE), cells, strict=False))
    return found


def main() -> int:
    """Measure every feature on every store, and write the table into the page."""
    os.environ["DATALAB_INTERNET"] = "local"
    measured: dict[str, dict[str, str]] = {}
    for key in of_role(STORE):
        with temporary([AVAILABLE], key) as lab:
            people = People(lab)
            for rows in FEATURES.values():
                for title, function in rows.items():
                    if needs_a_broker(title, lab):
                        print("RabbitMQ is not on this machine; the table needs it.")
                        return 1
                    measured.setdefault(title, {})[key] = function(people)
    text = PAGE.read_text(encoding="utf-8")
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    PAGE.write_text(f"{before}{BEGIN}\n{table(measured)}\n{END}{after}", encoding="utf-8")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except DatalabError as error:
        print(error, file=sys.stderr)
        sys.exit(1)
