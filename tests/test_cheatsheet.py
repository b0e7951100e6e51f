"""Each line of the cheatsheet is run, in the order of the page, on a datalab of its own."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from datalab.environment import merge
from datalab.lab import Datalab
from datalab.temporary import temporary

ROOT = Path(__file__).resolve().parent.parent
PAGE = (ROOT / "book" / "cheatsheet.md").read_text(encoding="utf-8")
TOOLS = {"boto3", "s3fs", "pandas", "polars", "pyarrow", "DuckDB", "aws"}
#: After these headings a line that gives an answer must give one that holds something.
ANSWERS = {"List", "Read", "Read a part"}

pytestmark = pytest.mark.xdist_group("cheatsheet")

#: Runs the lines in one session, as a reader would; stops at none of them.
SESSION = r"""
import ast, contextlib, io, json, os, subprocess, sys
import pandas as pd
from pathlib import Path

Path("local.csv").write_text("CODGEO;MED14\n01004;19000\n")
Path("results/deep").mkdir(parents=True)
Path("results/a.csv").write_text("a\n1\n")
Path("results/deep/b.csv").write_text("b\n2\n")
frame = pd.DataFrame({"CODGEO": ["01004", "2A004"] * 50, "DEP": ["01", "2A"] * 50, "MED14": 1.5})
names = {"frame": frame, "URL": os.environ["AWS_ENDPOINT_URL"]}
for name, variable in [("KEY", "ACCESS_KEY_ID"), ("SECRET", "SECRET_ACCESS_KEY"),
                       ("TOKEN", "SESSION_TOKEN")]:
    names[name] = os.environ["AWS_" + variable]

def run(line):
    if line.startswith("aws "):
        shell = ["bash", "-o", "pipefail", "-c", line]
        done = subprocess.run(shell, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(done.stderr + done.stdout)
        return done.stdout
    try:
        tree = compile(line, "line", "eval")
    except SyntaxError:
        return exec(line, names)
    return eval(tree, names)

said = []
for line in json.load(sys.stdin):
    try:
        answer = run(line)
        empty = answer is not None and not len(answer) if hasattr(answer, "__len__") else False
        said.append("empty" if empty else "")
    except Exception as error:
        said.append(f"{type(error).__name__}: {error}")
print(json.dumps(said))
"""

#: What provokes each refusal of the page, in a session with a client `s3`.
REFUSALS = {
    "AccessDenied": 's3.put_object(Bucket="donnees-insee", Key="x", Body=b"")',
    "InvalidAccessKeyId": 'client("UNKNOWN", SECRET, None).list_buckets()',
    "SignatureDoesNotMatch": "client(KEY, SECRET[:-1], TOKEN).list_buckets()",
    "InvalidTokenId": "client(KEY, SECRET, TOKEN[:-4]).list_buckets()",
    "NoSuchKey": 's3.get_object(Bucket="student", Key="data/nothing-here")',
    "NoSuchBucketPolicy": 's3.get_bucket_policy(Bucket="projet-village")',
    "MalformedPolicy": 's3.put_bucket_policy(Bucket="projet-village", Policy=OF_ANOTHER)',
    "XAmzContentChecksumMismatch": (
        's3.put_object(Bucket="student", Key="data/x", Body=b"x", ChecksumSHA256=WRONG)'
    ),
    "EndpointConnectionError": 'boto3.client("s3", endpoint_url="https://s3.invalid", '
    'config=Config(retries={"total_max_attempts": 1})).list_buckets()',
    "PermissionError": 's3fs.S3FileSystem().pipe("donnees-insee/x", b"")',
    "FileNotFoundError": 's3fs.S3FileSystem().cat("student/data/nothing-here")',
}
REFUSED = r"""
import base64, hashlib, json, os, sys
import boto3, s3fs
from botocore.config import Config

s3 = boto3.client("s3")
KEY, SECRET, TOKEN = (os.environ["AWS_" + name] for name in
                      ["ACCESS_KEY_ID", "SECRET_ACCESS_KEY", "SESSION_TOKEN"])
WRONG = base64.b64encode(hashlib.sha256(b"y").digest()).decode()
statement = {"Effect": "Allow", "Principal": "*", "Action": ["s3:GetObject"],
             "Resource": ["arn:aws:s3:::donnees-insee/*"]}
OF_ANOTHER = json.dumps({"Version": "2012-10-17", "Statement": [statement]})

def client(key, secret, token):
    return boto3.client("s3", aws_access_key_id=key, aws_secret_access_key=secret,
                        aws_session_token=token)

said = {}
for name, action in json.load(sys.stdin).items():
    try:
        eval(action)
        said[name] = "nothing"
    except Exception as error:
        response = getattr(error, "response", {})
        code = response.get("Error", {}).get("Code", type(error).__name__)
        status = response.get("ResponseMetadata", {}).get("HTTPStatusCode", "")
        said[name] = f"{code} {status}".strip()
print(json.dumps(said))
"""


class Row(NamedTuple):
    """One row of a table of the page."""

    section: str
    cells: list[str]


def rows() -> list[Row]:
    found = []
    for section in re.split(r"^## ", PAGE, flags=re.MULTILINE)[1:]:
        title, _, text = section.partition("\n")
        lines = [line for line in text.splitlines() if line.startswith("| ")]
        cells = [re.split(r"(?<!\\)\|", line)[1:-1] for line in lines[1:]]
        found += [Row(title, [cell.strip() for cell in row]) for row in cells]
    return found


def code_lines() -> list[tuple[Row, str]]:
    """The rows that hold a line to run, and the line for the student's bucket."""
    found = []
    for row in rows():
        if len(row.cells) == 2 and row.section != "Variables":
            (line,) = re.findall(r"^`(.*)`$", row.cells[1])
            found.append((row, line.replace("BUCKET", "student").replace(r"\|", "|")))
    return found


@pytest.fixture(scope="module")
def lab() -> Iterator[Datalab]:
    """A datalab of the page's own: its lines switch versions on, and publish."""
    with temporary(store="minio") as lab:  # whose codes the page gives
        yield lab


def session(lab: Datalab, folder: Path, program: str, given: object) -> Any:
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(given),
        cwd=folder,
        env=merge(lab.environment(), os.environ),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_there_is_a_line_for_each_tool_and_main_task() -> None:
    sections = {row.section for row, _ in code_lines()}
    assert sections >= {"Connect", "Write", *ANSWERS}
    for section in ("Connect", "List", "Read", "Read a part"):
        named = " ".join(row.cells[0] for row, _ in code_lines() if row.section == section)
        assert {tool for tool in TOOLS if tool in named} >= {"boto3", "s3fs", "DuckDB", "aws"}
    assert all(any(tool in row.cells[0] for row, _ in code_lines()) for tool in TOOLS)


def test_every_line_runs_and_every_answer_holds_something(lab: Datalab, tmp_path: Path) -> None:
    lines = code_lines()
    said = session(lab, tmp_path, SESSION, [line for _, line in lines])
    assert len(said) == len(lines) > 50
    wrong = [
        f"{row.section}, {row.cells[0]}: {what}"
        for (row, _), what in zip(lines, said, strict=True)
        if what and not (what == "empty" and row.section not in ANSWERS)
    ]
    assert wrong == []


def test_each_refusal_is_what_the_store_says(lab: Datalab, tmp_path: Path) -> None:
    listed = {}
    for row in rows():
        if row.section == "When the store says no":
            status = re.search(r" (\d{3})$", row.cells[0])
            names = re.findall(r"`(\w+)`", row.cells[0])
            listed |= {name: f"{name} {status[1]}" if status else name for name in names}
    assert listed.keys() == REFUSALS.keys()
    assert session(lab, tmp_path, REFUSED, REFUSALS) == listed


def test_the_variables_are_those_of_a_service(lab: Datalab) -> None:
    named = [
        name
        for row in rows()
        if row.section == "Variables"
        for name in re.findall(r"`(\w+)`", row.cells[0])
    ]
    assert len(named) > 5
    assert set(named) <= lab.environment().keys()
