"""Look at a data product on S3 as a stranger does, and say what is missing.

A product is what lies under one prefix of a bucket::

    versions.json                 which versions there are, and which one is the latest
    raw/2026-11-21/page-0.json    the frozen copy of what was fetched
    v1.0.0/datapackage.json       dictionary of columns, licence, source, checksums
    v1.0.0/provenance.json        when and from where it was fetched, with which code
    v1.0.0/dcat.jsonld            the description that catalogues harvest
    v1.0.0/README.md              the description for people
    v1.0.0/…                      the data as Parquet, under any names

As long as ``versions.json`` is not there, ``draft/`` takes the part of ``v1.0.0/``.

From a notebook::

    print(review("s3://my-bucket/my-product"))

From a shell, in the folder of the notebooks::

    python -m course.product s3://my-bucket/my-product

The command ends with 0 if the product is complete, with 1 if something is missing, and
with 2 if it could not look. Nothing is written.
"""

import argparse
import hashlib
import io
import json
import os
import re
import sys
import tarfile
import textwrap
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import cached_property, lru_cache
from typing import Any
from urllib.parse import unquote, urlsplit
from uuid import uuid4

import pandas as pd  # type: ignore[import-untyped]
import pyarrow as pa
import pyarrow.parquet as pq
import requests
import s3fs
from botocore.exceptions import ClientError

from course import CourseError
from course.bucket import CONNECTION, KEYS_ENDED, NEW_KEYS

INDEX, DRAFT = "versions.json", "draft"
PACKAGE, PROVENANCE = "datapackage.json", "provenance.json"
CATALOGUE, README = "dcat.jsonld", "README.md"
LARGEST = 200_000_000  # bytes; a larger object is not read
MARKS = {"done": "[done] ", "to do": "[TO DO]", "later": "[later]"}

# -- what is said ----------------------------------------------------------------------


@dataclass
class Item:
    """One thing that a good product has."""

    name: str
    sitting: int  #: 1 the data, 2 the description, 3 the release
    state: str  #: "done", "to do", or "later" where another item has to be done first
    said: str  #: what was found, in a sentence
    next_step: str = ""

    def __str__(self) -> str:
        lines = _wrapped(f"{MARKS[self.state]} {self.name}: {self.said}", " " * 8)
        if self.next_step:
            lines += _wrapped(f"        -> {self.next_step}", " " * 11)
        return "\n".join(lines)


@dataclass
class Report:
    """What the checker found; ``print`` it."""

    found: str
    items: list[Item]

    @property
    def to_do(self) -> list[str]:
        """Names of the items that are to do now."""
        return [item.name for item in self.items if item.state == "to do"]

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing."""
        return all(item.state == "done" for item in self.items)

    def __str__(self) -> str:
        done = sum(item.state == "done" for item in self.items)
        later = sum(item.state == "later" for item in self.items)
        ends = f"{done} of {len(self.items)} done"
        ends += f", {len(self.to_do)} to do" if self.to_do else ""
        ends += f", {later} after that" if later else ""
        return "\n".join([*_wrapped(self.found, ""), *map(str, self.items), f"{ends}."])


def _wrapped(text: str, indent: str) -> list[str]:
    """Lines that fit a page of the book; addresses and file names stay whole."""
    return textwrap.wrap(
        text, 79, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


class _ToDo(Exception):
    """Something is missing: what, and the next step."""


def _must(so: object, problem: str, next_step: str) -> None:
    if not so:
        raise _ToDo(problem, next_step)


# -- reading what was published --------------------------------------------------------


class _Refused(Exception):
    """The store answered with an error; ``code`` is its word for it."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code

    @property
    def means_missing(self) -> bool:
        return self.code in ("NoSuchKey", "NoSuchBucket", "404")


def _request(fs: s3fs.S3FileSystem, method: str, *arguments: Any, **options: Any) -> Any:
    """A call of s3fs; as _Refused or CourseError if it does not succeed."""
    try:
        return getattr(fs, method)(*arguments, **options)
    except Exception as error:
        cause = error if isinstance(error, ClientError) else error.__cause__
        if isinstance(cause, ClientError):
            code = cause.response["Error"]["Code"]
            if code in KEYS_ENDED and not fs.anon:
                raise CourseError(
                    f"The store does not take your keys ({code}).", NEW_KEYS
                ) from None
            raise _Refused(code) from None
        if isinstance(error, FileNotFoundError):
            raise _Refused("NoSuchKey") from None
        raise CourseError(
            f"The store cannot be reached ({type(error).__name__}): "
            f"{os.environ.get('AWS_ENDPOINT_URL') or 'AWS_ENDPOINT_URL is not set'}.",
            "Look whether that address and the network are right, then try again.",
        ) from None


@lru_cache
def _connection(anon: bool, *_: str | None) -> s3fs.S3FileSystem:
    """A connection with what the environment says now, with or without its keys."""
    return s3fs.S3FileSystem(anon=anon, skip_instance_cache=True, use_listings_cache=False)


class _Place:
    """The objects under a prefix, read as a stranger, else with one's own keys.

    Attributes
    ----------
    private
        Paths of the objects that a stranger could not read.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket, self.prefix = bucket, prefix
        self.private: list[str] = []
        said = [os.environ.get(name) for name in CONNECTION]
        self._stranger = _connection(True, *said)
        has_keys = os.environ.get("AWS_ACCESS_KEY_ID") or os.environ.get("AWS_PROFILE")
        self._owner = _connection(False, *said) if has_keys else None
        self._read: dict[str, bytes | _Refused] = {}

    @property
    def contents(self) -> dict[str, bytes]:
        """All that was read, by path."""
        return {path: one for path, one in self._read.items() if isinstance(one, bytes)}

    def read(self, path: str) -> bytes:
        """The bytes of an object; ``path`` is relative to the product."""
        if path not in self._read:
            self._read[path] = self._look(path)
        found = self._read[path]
        if isinstance(found, _Refused):
            raise found
        return found

    def _look(self, path: str) -> bytes | _Refused:
        try:
            return self._get(self._stranger, path)
        except _Refused as refused:
            if refused.means_missing or not self._owner:
                return refused
        try:
            content = self._get(self._owner, path)
        except _Refused as refused:
            return refused
        self.private.append(path)
        return content

    def _get(self, fs: s3fs.S3FileSystem, path: str) -> bytes:
        key = f"{self.prefix}/{path}"
        if path.endswith(".parquet"):
            size = _request(fs, "call_s3", "head_object", Bucket=self.bucket, Key=key)
            _must(
                size["ContentLength"] <= LARGEST,
                f"{path} is larger than {LARGEST // 10**6} MB, so it is not read.",
                "Write the table as several files, or leave out columns that nobody needs.",
            )
        return bytes(_request(fs, "cat_file", f"{self.bucket}/{key}"))

    def names(self, folder: str) -> list[str]:
        """Paths of the objects below a folder."""
        refused = _Refused("AccessDenied")
        for fs in filter(None, (self._owner, self._stranger)):
            try:
                found = _request(fs, "find", f"{self.bucket}/{self.prefix}/{folder}".rstrip("/"))
            except _Refused as error:
                refused = error
                continue
            return [path.removeprefix(f"{self.bucket}/{self.prefix}/") for path in found]
        if refused.means_missing:
            return []
        raise refused

    def open_beside(self) -> Iterator[str]:
        """What a stranger may do besides reading the product, in words."""
        name = f"nothing-has-this-name-{uuid4().hex[:8]}"
        parents = self.prefix.split("/")[:-1]
        above = ["/".join(parents[:depth]) for depth in range(len(parents) + 1)]
        beside = [f"{folder}/{name}".lstrip("/") for folder in above]
        for key in [f"{self.prefix}-{name}", *beside]:
            try:
                self._as_stranger("get_object", Key=key)
            except _Refused as refused:
                # a stranger is told that an object is missing only where all may be read
                if refused.code not in ("NoSuchKey", "404"):
                    continue
            yield f"read what lies beside it, such as {self.bucket}/{key.rpartition(name)[0]}…"
            break
        for folder in above:
            try:
                self._as_stranger("list_objects_v2", Prefix=f"{folder}/".lstrip("/"), MaxKeys=1)
            except _Refused:
                continue
            yield f"list {self.bucket}/{folder}".rstrip("/")
            break
        try:
            # begun and given up at once: it leaves nothing, and shows the right to write
            key = f"{self.prefix}/{name}"
            upload = self._as_stranger("create_multipart_upload", Key=key)["UploadId"]
        except _Refused:
            return
        fs = self._owner or self._stranger
        options = {"Bucket": self.bucket, "Key": key, "UploadId": upload}
        _request(fs, "call_s3", "abort_multipart_upload", **options)
        yield f"write to {self.bucket}/{self.prefix}"

    def _as_stranger(self, method: str, **options: Any) -> Any:
        return _request(self._stranger, "call_s3", method, Bucket=self.bucket, **options)


class _Product:
    """The parts of a product, each read when it is first needed."""

    def __init__(self, place: _Place) -> None:
        self.place = place

    @cached_property
    def is_released(self) -> bool:
        try:
            self.place.read(INDEX)
        except _Refused as refused:
            if refused.means_missing or self.place.names(""):
                return False
            raise
        return True

    @cached_property
    def index(self) -> dict[str, Any]:
        return self.json(INDEX, f"Write {INDEX} at the top of the product, as its last object.")

    @cached_property
    def folder(self) -> str:
        """Of the latest version, or of the draft."""
        if not self.is_released:
            return DRAFT
        for one in _dicts(_dig(self.index, "versions")):
            if one.get("version") == self.index.get("latest"):
                return str(one.get("path", "")).strip("/")
        raise _ToDo(
            f"{INDEX} says that the latest version is {self.index.get('latest')!r}, "
            "and has no entry for it.",
            "Make `latest` the `version` of one of the entries in `versions`.",
        )

    @cached_property
    def package(self) -> dict[str, Any]:
        return self.json(
            f"{self.folder}/{PACKAGE}", "Write it there, with the dictionary of the columns."
        )

    @cached_property
    def provenance(self) -> dict[str, Any]:
        return self.json(
            f"{self.folder}/{PROVENANCE}",
            'Write it there when you fetch, with "fetched", "address" and "raw" (exercise 61.1).',
        )

    @property
    def resources(self) -> list[dict[str, Any]]:
        """Of the package; each has a path."""
        return [one for one in _dicts(self.package.get("resources")) if _is_text(one.get("path"))]

    @cached_property
    def published(self) -> set[str]:
        """Paths of the Parquet files that lie below this version, described or not."""
        paths = (name.removeprefix(f"{self.folder}/") for name in self.place.names(self.folder))
        return {path for path in paths if path.endswith(".parquet")}

    @cached_property
    def tables(self) -> dict[str, pa.Table]:
        """The Parquet files of this version, by their path below it."""
        try:
            paths = [one["path"] for one in self.resources]
        except _ToDo:  # the description comes later than the data
            paths = []
        paths = [path for path in paths or sorted(self.published) if path.endswith(".parquet")]
        return {path: self._table(path) for path in paths}

    def _table(self, path: str) -> pa.Table:
        name = f"{self.folder}/{path}"
        content = self.read(name, f"Write it, or correct its path in {PACKAGE}.")
        try:
            return pq.read_table(io.BytesIO(content))
        except (pa.ArrowException, OSError, ValueError):
            size = f"{len(content)} bytes" if content else "empty"
            raise _ToDo(
                f"{name} is no Parquet file that can be read ({size}).",
                "Write it again with `to_parquet`, and upload all of it.",
            ) from None

    def read(self, path: str, next_step: str) -> bytes:
        try:
            return self.place.read(path)
        except _Refused as refused:
            problem = f"There is no {path}."
            if not refused.means_missing:
                problem = f"{path} can be read neither by a stranger nor with your keys."
            raise _ToDo(problem, next_step) from None

    def json(self, path: str, next_step: str) -> dict[str, Any]:
        content = self.read(path, next_step)
        try:
            found = json.loads(content)
        except json.JSONDecodeError as error:
            where = f"line {error.lineno}, column {error.colno}"
            raise _ToDo(
                f"{path} is no JSON: {error.msg}, {where}.",
                "Write it with `json.dumps`, never by hand.",
            ) from None
        except (UnicodeDecodeError, RecursionError):
            raise _ToDo(f"{path} is no JSON.", "Write it with `json.dumps`, as UTF-8.") from None
        if not isinstance(found, dict):
            raise _ToDo(
                f"{path} is JSON, but no object in braces.",
                "Write a dictionary of Python with `json.dumps`, with the entries of the unit.",
            )
        return found


def _dig(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None


def _dicts(value: Any) -> list[dict[str, Any]]:
    return [one for one in value if isinstance(one, dict)] if isinstance(value, list) else []


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip())


def _is_web(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"https?://[^\s/]+\S*", value))


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def _is_version(value: Any) -> bool:
    return isinstance(value, str) and bool(re.fullmatch(r"\d+\.\d+\.\d+", value))


def _moment(value: Any) -> datetime | None:
    """A time that names its zone, in ISO 8601."""
    try:
        found = datetime.fromisoformat(value)
    except (TypeError, ValueError):
        return None
    return found if found.tzinfo else None


# -- the data --------------------------------------------------------------------------


def _raw(product: _Product) -> str:
    about = product.provenance
    name = f"{product.folder}/{PROVENANCE}"
    fetched = _moment(about.get("fetched"))
    _must(
        fetched,
        f"{name} does not say when the data were fetched, in ISO 8601 with a zone.",
        'Add "fetched", with date, time and zone: datetime.now(UTC).isoformat().',
    )
    assert fetched
    _must(
        fetched <= datetime.now(UTC),
        f"According to {name} the data were fetched in the future.",
        "Write the time of the download itself, with the right zone.",
    )
    _must(
        _is_web(about.get("address")),
        f"{name} does not say from which address the data came.",
        'Add "address": the whole URL of the first request, with its parameters.',
    )
    copies = _dicts(about.get("raw"))
    _must(
        copies,
        f"{name} names no raw copy.",
        'Add "raw": for each file that was fetched {"path": "raw/…", "sha256": "…"}.',
    )
    for copy in copies:
        path, digest = copy.get("path"), copy.get("sha256")
        _must(
            _is_text(path) and _is_text(digest),
            f"An entry of `raw` in {name} lacks its path or its sha256.",
            "Give both; the path counts from the top of the product.",
        )
        content = product.read(
            str(path),
            "Store the answer of the API there, unchanged; the path counts from the top of the "
            "product.",
        )
        _must(content, f"{path} is empty.", "Store the body of the answer, as bytes.")
        _must(
            _digest(content) == str(digest).lower(),
            f"{path} is not the file that was fetched: its checksum differs from {name}.",
            "Restore it, or compute the checksum from the bytes as they came; a new download gets "
            "a new folder.",
        )
    number = "1 file" if len(copies) == 1 else f"{len(copies)} files"
    return f"{number}, fetched on {fetched.date()}, as it came."


def _data(product: _Product) -> str:
    _must(
        product.tables,
        f"There is no Parquet file in {product.folder}/.",
        "Write your table there with `to_parquet`, and name it in `resources` of "
        f"{PACKAGE} as soon as you have one.",
    )
    for path, table in product.tables.items():
        _must(
            table.num_rows and table.num_columns,
            f"{path} is a Parquet file without any {'row' if table.num_columns else 'column'}.",
            "Look for the mistake in the filter that makes it, and in the raw copy.",
        )
    shapes = [f"{path} ({t.num_rows} rows, {t.num_columns} columns)" for path, t in _all(product)]
    return f"{', '.join(shapes)}."


def _all(product: _Product) -> list[tuple[str, pa.Table]]:
    return list(product.tables.items())


# -- the description -------------------------------------------------------------------


def _package(product: _Product) -> str:
    name = f"{product.folder}/{PACKAGE}"
    examples = {"name": "energy-of-three-towns", "title": "Energy labels of three towns"}
    for key, example in examples.items():
        _must(
            _is_text(product.package.get(key)),
            f"{name} has no {key}.",
            f'Add "{key}" to say what it is, such as "{example}".',
        )
    _must(
        _is_version(product.package.get("version")),
        f"{name} has no version of three numbers.",
        'Add "version", such as "1.0.0".',
    )
    _must(
        product.resources,
        f"{name} lists no file.",
        'Add "resources": for each file {"name": "…", "path": "…", "hash": "sha256:…"}.',
    )
    for one in product.resources:
        parts = one["path"].split("/")
        _must(
            parts[0] and ".." not in parts and not _is_web(one["path"]),
            f"The path {one['path']} in {name} leads out of the version.",
            f"Write the path that counts from the folder of {PACKAGE}, such as data/x.parquet.",
        )
        _must(
            re.fullmatch(r"sha256:[0-9a-fA-F]{64}", str(one.get("hash"))),
            f"{one['path']} has no checksum in {name}.",
            'Add "hash": "sha256:" and the 64 digits of hashlib.sha256(…).hexdigest().',
        )
    try:
        published = product.published
    except _Refused:  # a stranger need not be allowed to list
        published = set()
    missing = sorted(published - {one["path"] for one in product.resources})
    _must(
        not missing,
        f"{name} does not list {_listed(missing)}, which lies beside it.",
        "Describe it in `resources`, or do not publish it.",
    )
    number = "1 file" if len(product.resources) == 1 else f"{len(product.resources)} files"
    return f"version {product.package['version']}, {number}."


def _unchanged(product: _Product) -> str:
    changed = []
    versions = _dicts(product.index.get("versions")) if product.is_released else []
    packages = [(product.folder, product.package)]
    for one in versions:
        path, digest = str(one.get("path", "")).strip("/"), one.get("sha256")
        name = f"{path}/{PACKAGE}"
        content = product.read(name, "Restore it, because a released version stays as it was.")
        if digest and _digest(content) != str(digest).lower():
            changed.append(name)
        elif path != product.folder:
            packages.append((path, product.json(name, "Restore it.")))
    for folder, package in packages:
        for one in _dicts(package.get("resources")):
            name = f"{folder}/{one.get('path')}"
            content = product.read(name, "Write it, or correct its path in the package.")
            if f"sha256:{_digest(content)}" != str(one.get("hash")).lower():
                changed.append(name)
    if product.is_released:
        _must(
            not changed,
            f"{_listed(changed)} changed after the release: the checksum differs.",
            "Restore what was released, and release what is new as a version of its own, in a "
            "folder of its own.",
        )
    _must(
        not changed,
        f"The checksum of {_listed(changed)} in {PACKAGE} is that of another file.",
        "Compute it from the bytes that you upload, each time that you write them.",
    )
    return "every file has the checksum that was written down for it."


def _listed(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} others" if len(names) > 3 else "")


def _is_string(kind: pa.DataType) -> bool:
    tests = (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)
    return any(test(kind) for test in tests)


def _is_number(kind: pa.DataType) -> bool:
    return any(
        test(kind) for test in (pa.types.is_floating, pa.types.is_decimal, pa.types.is_integer)
    )


def _is_list(kind: pa.DataType) -> bool:
    return any(test(kind) for test in (pa.types.is_list, pa.types.is_large_list))


#: The types of a dictionary (Table Schema), and which types of Parquet fit them.
KINDS: dict[str, Callable[[pa.DataType], bool]] = {
    "string": _is_string,
    "integer": pa.types.is_integer,
    "number": _is_number,
    "boolean": pa.types.is_boolean,
    "date": pa.types.is_date,
    "datetime": pa.types.is_timestamp,
    "time": pa.types.is_time,
    "year": pa.types.is_integer,
    "array": _is_list,
    "list": _is_list,
    "object": lambda kind: bool(pa.types.is_struct(kind) or pa.types.is_map(kind)),
}
CONSTRAINTS = {"required", "unique", "minimum", "maximum", "pattern", "enum"}
CONSTRAINTS |= {"minLength", "maxLength"}
#: Those that say more than that a value is there.
RANGES = CONSTRAINTS - {"required", "unique"}


def _fields(product: _Product, path: str) -> list[dict[str, Any]]:
    schema = next((_dig(one, "schema") for one in product.resources if one["path"] == path), None)
    return [one for one in _dicts(_dig(schema, "fields")) if _is_text(one.get("name"))]


def _plain(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _dictionary(product: _Product) -> str:
    number = 0
    for path, table in product.tables.items():
        fields = {field["name"]: field for field in _fields(product, path)}
        _must(
            fields,
            f"{PACKAGE} has no dictionary of the columns of {path}.",
            'Add to this resource "schema": {"fields": [{"name": …, "type": …, …}, …]}.',
        )
        unknown = [name for name in table.column_names if name not in fields]
        _must(
            not unknown,
            f"{path} has columns that the dictionary does not: {_listed(unknown)}.",
            "Describe them, or leave them out of the file.",
        )
        gone = [name for name in fields if name not in table.column_names]
        _must(
            not gone,
            f"The dictionary describes columns that {path} does not have: {_listed(gone)}.",
            "Write the names as they stand in the file, with its capitals, or drop these fields.",
        )
        for name, field in fields.items():
            said, kind = field.get("type"), _plain(table.schema.field(name).type)
            _must(
                said in KINDS,
                f"The type of `{name}` in the dictionary is {said!r}.",
                f"Say one of {', '.join(KINDS)}.",
            )
            step = "Convert the column before you write it, or correct the dictionary."
            if said == "integer" and pa.types.is_floating(kind):
                step = 'Convert it with `astype("Int64")`, which allows missing values.'
            if said == "date" and pa.types.is_timestamp(kind):
                step = "Convert it with `.dt.date`, which makes days of times."
            _must(
                KINDS[str(said)](kind),
                f"The dictionary says that `{name}` is {said}; in {path} it is {kind}.",
                step,
            )
            _must(
                len(str(field.get("description") or "").split()) > 1,
                f"`{name}` has no description.",
                "Say in a few words what the column means, with its unit.",
            )
        number += len(fields)
    return f"{number} columns are described, and their types are those of the files."


def _values(product: _Product) -> str:
    promises = 0
    for path, table in product.tables.items():
        schema = next(one["schema"] for one in product.resources if one["path"] == path)
        key = schema.get("primaryKey")
        names = [key] if isinstance(key, str) else key
        _must(
            isinstance(names, list) and names,
            f"The dictionary does not say which columns make a row of {path} unique.",
            'Add "primaryKey" beside "fields" in its schema, such as ["code", "year"].',
        )
        unknown = [str(name) for name in names if name not in table.column_names]
        _must(
            not unknown,
            f"The primary key of {path} names {_listed(unknown)}, which is no column.",
            "Name the columns as they stand in the file.",
        )
        keys = table.select(names).to_pandas()
        missing = int(keys.isna().any(axis=1).sum())
        _must(not missing, f"In {path} {missing} rows lack their key.", "Drop or repair them.")
        twice = int(keys.duplicated().sum())
        _must(
            not twice,
            f"In {path} {twice} rows repeat the key ({_listed(names)}) of another row.",
            "Drop rows that were stored twice, or choose a key of more columns.",
        )
        fields = _fields(product, path)
        for field in fields:
            for problem in _broken(table.column(field["name"]), field):
                raise _ToDo(
                    f"In {path} {problem}.",
                    "Repair or drop these rows, or correct a promise that was wrong.",
                )
        ranges = sum(len(RANGES & set(field.get("constraints") or {})) for field in fields)
        _must(
            ranges,
            f"The dictionary promises nothing about the values of {path}.",
            'Add "constraints" to the fields, such as {"minimum": 0} or {"pattern": "…"}.',
        )
        promises += ranges
    return f"keys are unique, and {promises} promises about values are kept."


def _broken(column: pa.ChunkedArray, field: dict[str, Any]) -> Iterator[str]:
    """Sentences on the values that break a promise of the dictionary."""
    name, promised = field["name"], field.get("constraints") or {}
    strange = set(promised) - CONSTRAINTS
    _must(
        not strange,
        f"`{name}` has a constraint that Table Schema does not have: {_listed(sorted(strange))}.",
        f"Use only {', '.join(sorted(CONSTRAINTS))}.",
    )
    values = column.cast(_plain(column.type)).to_pandas()
    there = values.dropna()
    if promised.get("required") and len(there) < len(values):
        yield f"`{name}` is missing in {len(values) - len(there)} rows, and is required"
    if promised.get("unique") and there.duplicated().any():
        yield f"`{name}` repeats a value, and is unique"
    trials: dict[str, Callable[[Any], Any]] = {
        "minimum": lambda limit: there < _limit(limit, field),
        "maximum": lambda limit: there > _limit(limit, field),
        "pattern": lambda pattern: ~there.astype(str).map(_full(pattern)).astype(bool),
        "enum": lambda known: ~there.isin([_limit(one, field) for one in known]),
        "minLength": lambda number: there.map(len) < number,
        "maxLength": lambda number: there.map(len) > number,
    }
    for kind, trial in trials.items():
        if kind not in promised:
            continue
        try:
            bad = there[trial(promised[kind])]
        except (TypeError, ValueError, re.error):
            raise _ToDo(
                f"The {kind} of `{name}` does not fit its type: {promised[kind]!r}.",
                "Write a date as 2026-11-21, a time with a zone if the column has one, and a "
                "length for texts only.",
            ) from None
        if len(bad):
            shown = _listed([repr(one) for one in bad.head(3).tolist()])
            yield f"{len(bad)} values of `{name}` break its {kind} {promised[kind]!r}: {shown}"


def _limit(value: Any, field: dict[str, Any]) -> Any:
    """A value of the dictionary as one that can be compared with those of the column."""
    if field["type"] == "date":
        return date.fromisoformat(value)
    return pd.Timestamp(value) if field["type"] == "datetime" else value


def _full(pattern: str) -> Callable[[str], bool]:
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _licence(product: _Product) -> str:
    name = f"{product.folder}/{PACKAGE}"
    found = []
    for entry, called, word, example in (
        ("licenses", "licence", "name", "etalab-2.0"),
        ("sources", "source", "title", "…"),
    ):
        listed = _dicts(product.package.get(entry))
        _must(
            listed,
            f"{name} names no {called}.",
            f'Add "{entry}": [{{"{word}": "{example}", "path": "https://…"}}], to say whose data '
            "they are, and what their owner allows.",
        )
        for one in listed:
            _must(
                _is_text(one.get(word)) and _is_web(one.get("path")),
                f"A {called} in {name} lacks its {word} or its address.",
                f'Give the {word} as "{word}" and the address as "path".',
            )
        found.append(listed[0][word])
    return ", from ".join(found) + "."


def _readme(product: _Product) -> str:
    name = f"{product.folder}/{README}"
    content = product.read(
        name, "Write there what the table is, what a row is, what to look out for, and whom to ask."
    )
    try:
        words = len(content.decode().split())
    except UnicodeDecodeError:
        raise _ToDo(f"{name} is no text in UTF-8.", "Write it again, as UTF-8.") from None
    _must(
        words >= 50,
        f"{name} has {words} words.",
        "Say in 50 words or more what it is, what a row is, what to look out for, whom to ask.",
    )
    return f"{words} words for people."


# -- the description that catalogues harvest -------------------------------------------

DCAT, TERMS = "http://www.w3.org/ns/dcat#", "http://purl.org/dc/terms/"
#: What the name of a person or an office is called.
NAMES = ("http://xmlns.com/foaf/0.1/name", "http://www.w3.org/2000/01/rdf-schema#label")
VERSION_INFO = "http://www.w3.org/2002/07/owl#versionInfo"  # before DCAT had a version


class _Graph:
    """The nodes of a JSON-LD document, as far as its context stands in the document."""

    def __init__(self, document: dict[str, Any]) -> None:
        given = document.get("@context")
        self.context: dict[str, Any] = {}
        for one in given if isinstance(given, list) else [given]:
            self.context |= one if isinstance(one, dict) else {}
        self.nodes = list(self._below(document))

    def _below(self, value: Any) -> Iterator[dict[str, Any]]:
        if isinstance(value, list):
            for one in value:
                yield from self._below(one)
        elif isinstance(value, dict):
            yield value
            for key, one in value.items():
                if key != "@context":
                    yield from self._below(one)

    def name(self, term: str) -> str:
        """A term with its prefix written out."""
        for _ in range(5):  # a term may stand for a term with a prefix
            meant = self.context.get(term)
            meant = meant.get("@id") if isinstance(meant, dict) else meant
            prefix, colon, rest = term.partition(":")
            if isinstance(meant, str) and meant != term:
                term = meant
            elif colon and isinstance(self.context.get(prefix), str):
                return f"{self.context[prefix]}{rest}"
            else:
                break
        return term if ":" in term else f"{self.context.get('@vocab', '')}{term}"

    def all_of(self, node: dict[str, Any], *names: str) -> list[Any]:
        """The values of a node under any of these names."""
        found = []
        for key, value in node.items():
            if self.name(key) in names:
                found += value if isinstance(value, list) else [value]
        return found

    def text(self, node: dict[str, Any], *names: str) -> str:
        """The first value, as text: what it says, the name that it has, or its address."""
        for value in self.all_of(node, *names):
            if isinstance(value, dict):
                same = [one for one in self.nodes if one.get("@id") == value.get("@id", ...)]
                called = [self.text(one, *NAMES) for one in [value, *same] if names != NAMES]
                value = value.get("@value") or next(filter(None, called), value.get("@id"))
            if _is_text(value):
                return str(value)
        return ""

    def of_type(self, name: str) -> list[dict[str, Any]]:
        return [node for node in self.nodes if name in map(self.name, self.types(node))]

    def types(self, node: dict[str, Any]) -> list[str]:
        """What the types of a node are called in the document."""
        given = [value for key in ("@type", "type") for value in _as_list(node.get(key))]
        return [kind for kind in given if isinstance(kind, str)]


def _as_list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def harvest(document: dict[str, Any]) -> dict[str, Any]:
    """What a catalogue takes from the description of a data set.

    Parameters
    ----------
    document
        JSON-LD with a ``dcat:Dataset``; its context stands in the document.

    Returns
    -------
    dict
        ``title``, ``description``, ``publisher``, ``licence`` and ``version``, texts that are
        empty where the description has none, and ``files``, a list of pairs: the address of a
        file, and its media type. Empty if it describes no data set.
    """
    graph = _Graph(document)
    datasets = graph.of_type(f"{DCAT}Dataset")
    if not datasets:
        return {}
    dataset = datasets[0]
    listed = graph.all_of(dataset, f"{DCAT}distribution")
    files = graph.of_type(f"{DCAT}Distribution") if listed else []
    licences = [graph.text(node, f"{TERMS}license") for node in (dataset, *files)]
    types = (f"{DCAT}mediaType", f"{TERMS}format")
    return {
        "title": graph.text(dataset, f"{TERMS}title"),
        "description": graph.text(dataset, f"{TERMS}description"),
        "publisher": graph.text(dataset, f"{TERMS}publisher"),
        "licence": next(filter(None, licences), ""),
        "version": graph.text(dataset, f"{DCAT}version", VERSION_INFO),
        "files": [
            (graph.text(one, f"{DCAT}downloadURL"), graph.text(one, *types)) for one in files
        ],
    }


def kinds(document: dict[str, Any]) -> set[str]:
    """The types of all nodes of a JSON-LD document, with their prefixes written out."""
    graph = _Graph(document)
    return {graph.name(kind) for node in graph.nodes for kind in graph.types(node)}


def _described(document: dict[str, Any], version: str) -> list[str]:
    """Look at a description; gives the addresses under which the data can be had."""
    _must(
        _Graph(document).context,
        "It has no @context that says what its words mean.",
        f'Add "@context": {{"dcat": "{DCAT}", "dct": "{TERMS}"}}.',
    )
    found = harvest(document)
    _must(
        found,
        "It describes no dcat:Dataset.",
        'Give the outermost object "@type": "dcat:Dataset", and look at the prefixes in @context.',
    )
    for word in ("title", "description"):
        _must(found[word], f"Its dataset has no dct:{word}.", f'Add "dct:{word}": a text.')
    _must(
        found["publisher"],
        "Its dataset has no dct:publisher.",
        'Add "dct:publisher": {"@type": "foaf:Agent", "foaf:name": "…"}.',
    )
    _must(
        _is_web(found["licence"]),
        "It has no dct:license that is an address.",
        'Add "dct:license": {"@id": "https://…"}: machines compare addresses, not names.',
    )
    _must(
        found["version"] == version,
        f"It describes version {found['version'] or '(none)'}, and the product is {version}.",
        'Make "dcat:version" from the same value as the version of the package.',
    )
    _must(
        found["files"],
        "Its dataset has no dcat:distribution, so nobody knows where the file is.",
        'Add "dcat:distribution": {"@type": "dcat:Distribution", "dcat:downloadURL": …, …}.',
    )
    for address, kind in found["files"]:
        _must(
            _is_web(address),
            f"A distribution has no dcat:downloadURL of the web ({address or 'none'}).",
            'Give {"@id": "https://…"}: a browser opens no address that begins with s3://.',
        )
        _must(
            kind,
            "A distribution does not say its dcat:mediaType.",
            'Add "dcat:mediaType": "application/vnd.apache.parquet".',
        )
    return [address for address, _ in found["files"]]


def _catalogue(product: _Product) -> str:
    name = f"{product.folder}/{CATALOGUE}"
    document = product.json(
        name, 'Write it as JSON-LD that describes a "dcat:Dataset" (exercise 61.2).'
    )
    try:
        addresses = _described(document, str(product.package.get("version")))
    except _ToDo as problem:
        said, step = problem.args
        raise _ToDo(f"{name}: {said}", step) from None
    said = "a catalogue can harvest it"
    files = product.resources
    if not product.is_released or product.place.private:
        return f"{said}; its addresses are tried when all is released and public."
    step = "Make the address from that of the store, the bucket, and the key of the file."
    gone = f"Write it, or correct its path in {PACKAGE}."
    known = {_digest(product.read(f"{product.folder}/{one['path']}", gone)) for one in files}
    for address in addresses:
        try:
            answer = requests.get(address, timeout=30)
        except requests.RequestException as error:
            raise _ToDo(
                f"{name}: nobody answers at {address} ({type(error).__name__}).",
                step,
            ) from None
        _must(
            answer.ok,
            f"{name}: a stranger who opens {address} gets HTTP {answer.status_code}.",
            step,
        )
        _must(
            _digest(answer.content) in known,
            f"{name}: {address} leads to a file that is none of this version.",
            "Make the address from the version, so that each version leads to its own files.",
        )
        # the same file elsewhere in the product, such as the draft, does not stay as it is
        _, _, key = unquote(urlsplit(address).path).partition(f"/{product.place.prefix}/")
        _must(
            not key or key.startswith(f"{product.folder}/"),
            f"{name}: {address} leads to {key}, which lies outside of {product.folder}/.",
            "Make the address from the version, so that each version leads to its own files.",
        )
    return f"{said}, and its address gives the data."


# -- the release -----------------------------------------------------------------------


def _code(product: _Product) -> str:
    name = f"{product.folder}/{PROVENANCE}"
    about = product.provenance.get("code")
    step = 'Add "code": {"repository": "https://…", "commit": "…", "command": "…"}.'
    _must(isinstance(about, dict) and about, f"{name} does not say which code made it.", step)
    assert isinstance(about, dict)
    _must(
        _is_text(about.get("command")),
        f"{name} does not say how to run the code.",
        'Add "command" to "code": the one command that makes everything, such as "make".',
    )
    if "archive" in about:
        path = str(about["archive"])
        if "/" in path and not product.is_released:  # the version still lies in the draft
            path = f"{DRAFT}/{path.partition('/')[2]}"
        content = product.read(
            path, 'Put it into the folder of the version, and write "archive": "v1.0.0/code.zip".'
        )
        _must(
            _is_text(about.get("sha256")) and _digest(content) == str(about["sha256"]).lower(),
            f"The sha256 of the code in {name} is not that of {path}.",
            "Compute it from the archive that you upload.",
        )
        files = _unpacked(path, content)
        _must(
            any(
                one.endswith((".py", ".R", ".ipynb", ".qmd", ".sql", "Makefile", "Snakefile"))
                for one in files
            ),
            f"{path} holds no program.",
            "Pack the folder of your project, without its data and its keys.",
        )
        return f"{len(files)} files of code, run by `{about['command']}`."
    _must(_is_web(about.get("repository")), f"{name} names no repository, and no archive.", step)
    _must(
        re.fullmatch(r"[0-9a-f]{40}([0-9a-f]{24})?", str(about.get("commit"))),
        f"{name} names no commit of the repository: {about.get('commit')!r}.",
        "A branch moves on, a commit stays: write the 40 digits of `git rev-parse HEAD`.",
    )
    return f"commit {about['commit'][:10]} of {about['repository']}, run by `{about['command']}`."


def _unpacked(path: str, content: bytes) -> dict[str, bytes]:
    """The files of an archive."""
    try:
        if zipfile.is_zipfile(io.BytesIO(content)):
            with zipfile.ZipFile(io.BytesIO(content)) as archive:
                names = [one for one in archive.infolist() if not one.is_dir()]
                _small(sum(one.file_size for one in names), path)
                return {one.filename: archive.read(one) for one in names}
        with tarfile.open(fileobj=io.BytesIO(content)) as tar:
            members = [one for one in tar.getmembers() if one.isfile()]
            _small(sum(one.size for one in members), path)
            opened = [(one.name, tar.extractfile(one)) for one in members]
            return {name: file.read() for name, file in opened if file}
    except (tarfile.TarError, zipfile.BadZipFile, EOFError, OSError, RuntimeError, ValueError):
        raise _ToDo(
            f"{path} is no archive that can be opened.",
            "Make it with `git archive --format=zip --output=code.zip HEAD`.",
        ) from None


def _small(size: int, path: str) -> None:
    _must(
        size <= LARGEST,
        f"{path} holds more than {LARGEST // 10**6} MB when it is unpacked.",
        "Pack the code alone, without data and environment.",
    )


def _version(product: _Product) -> str:
    _must(
        product.is_released,
        "Nothing is released: there is no versions.json.",
        f"Copy {DRAFT}/ to a folder of its own, such as v1.0.0/, and then write {INDEX}.",
    )
    versions = _dicts(product.index.get("versions"))
    _must(
        versions,
        f"{INDEX} lists no version.",
        'Add "versions": [{"version": "1.0.0", "path": "v1.0.0", "released": …, "sha256": …}].',
    )
    for one in versions:
        name = one.get("version")
        _must(
            _is_version(name),
            f"The version {name!r} in {INDEX} is not of three numbers.",
            'Call it "1.0.0"; then "1.0.1" for a repair, "1.1.0" for more, "2.0.0" for a break.',
        )
        _must(
            _is_text(one.get("path")) and one["path"].strip("/"),
            f"{INDEX} does not say in which folder version {name} lies.",
            'Add "path": its folder, such as "v1.0.0".',
        )
        _must(
            _moment(one.get("released")),
            f"{INDEX} does not say when version {name} was released.",
            'Add "released", with date, time and zone: datetime.now(UTC).isoformat().',
        )
        _must(
            re.fullmatch(r"[0-9a-fA-F]{64}", str(one.get("sha256"))),
            f"{INDEX} has no checksum of version {name}.",
            f'Add "sha256": that of {one["path"].strip("/")}/{PACKAGE}, which holds all others.',
        )
    for key in ("version", "path"):
        values = [str(one[key]).strip("/") for one in versions]
        _must(
            len(set(values)) == len(values),
            f"Two entries of {INDEX} have the same {key}.",
            "Give each version a number of its own and a folder of its own.",
        )
    product.read(
        f"{product.folder}/{PACKAGE}",
        f"Write all files of a version first, and {INDEX} last.",
    )
    return f"{product.index['latest']} is the latest of {len(versions)}."


def _agrees(product: _Product) -> str:
    said = _version(product)
    try:
        found = product.package.get("version")
    except _ToDo:  # that is another item
        return said
    _must(
        found == product.index["latest"],
        f"{INDEX} says version {product.index['latest']}, and its {PACKAGE} {found}.",
        "Set the version in one place, and make both files from it.",
    )
    return said


def _public(product: _Product) -> str:
    names = [f"{product.folder}/{name}" for name in (README, CATALOGUE, PROVENANCE)]
    for name in names:
        try:
            product.place.read(name)
        except _Refused:
            continue  # that is another item
    private = product.place.private
    _must(
        not private,
        f"A stranger may not read {_listed(private)}.",
        "Open the prefix of the product, and no other, with `publish` of course.bucket.",
    )
    return f"a stranger can read all {len(product.place.contents)} files."


def _closed(product: _Product) -> str:
    too_much = list(product.place.open_beside())
    _must(
        not too_much,
        f"A stranger may also {' and '.join(too_much)}.",
        "Take that rule out of the policy of the bucket, so that a stranger can only read this "
        "prefix.",
    )
    return "a stranger can read nothing beside it, and write nowhere."


def _secrets(product: _Product) -> str:
    own = [os.environ.get(name) for name in ("AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")]
    secrets = [value.encode() for value in own if value and len(value) >= 8]
    held = dict(product.place.contents)
    archives = [name for name in held if name.endswith((".zip", ".tar", ".tgz", ".tar.gz"))]
    for archive in archives:
        inside = _unpacked(archive, held[archive])
        held |= {f"{archive}, {name}": content for name, content in inside.items()}
    leaks = [name for name, content in held.items() if any(one in content for one in secrets)]
    _must(
        not leaks,
        f"Your own secret key or token stands in {_listed(leaks)}.",
        "End these keys, which others may know by now (a new service has new ones), and publish "
        "a version without them.",
    )
    return "none of your own keys stands in what was read."


# -- all of it -------------------------------------------------------------------------

#: Name, sitting, what has to be done before, and how it is looked at.
ITEMS: tuple[tuple[str, int, tuple[str, ...], Callable[[_Product], str]], ...] = (
    ("raw", 1, (), _raw),
    ("data", 1, (), _data),
    ("package", 2, ("data",), _package),
    ("dictionary", 2, ("data", "package"), _dictionary),
    ("values", 2, ("dictionary",), _values),
    ("licence", 2, ("package",), _licence),
    ("readme", 2, (), _readme),
    ("catalogue", 2, ("package",), _catalogue),
    ("code", 3, ("raw",), _code),
    ("version", 3, ("package",), _agrees),
    ("unchanged", 3, ("version",), _unchanged),
    ("public", 3, ("version",), _public),
    ("closed", 3, ("public",), _closed),
    ("secrets", 3, ("package",), _secrets),
)


def review(address: str, sitting: int = 3) -> Report:
    """Look at a product.

    Parameters
    ----------
    address
        Such as ``"s3://my-bucket/my-product"``.
    sitting
        1 for the data alone, 2 with the description, 3 for all.

    Returns
    -------
    Report
        To be printed.

    Raises
    ------
    CourseError
        It could not look: the address is none, the store does not answer, or your keys
        have ended.
    """
    bucket, prefix = _parsed(address)
    place = _Place(bucket, prefix)
    product = _Product(place)
    shown = f"s3://{bucket}/{prefix}"
    try:
        found = f"{shown}: " + ("a released product" if product.is_released else "a draft")
        if not product.is_released:
            names = place.names("")
            if not names:
                found = f"{shown}: nothing is there yet"
            elif not any(name.startswith((f"{DRAFT}/", "raw/")) for name in names):
                found = (
                    f"{shown}: neither {DRAFT}/ nor {INDEX} is there, but other objects are; "
                    f"give the prefix that holds {DRAFT}/, or put your files into {DRAFT}/"
                )
    except _Refused as refused:
        return _locked(shown, refused.code, sitting)
    items: dict[str, Item] = {}
    try:
        blocked = None
        product.folder  # noqa: B018 - read, to see whether it can be
    except _ToDo as problem:  # which version to look at, nobody knows
        blocked = Item("version", 3, "to do", *problem.args)
    for name, number, needed, look in ITEMS:
        if number > sitting and not (blocked and name == "version"):
            continue
        waits = [one for one in needed if items[one].state != "done"]
        if blocked:
            later = Item(name, number, "later", "after version.")
            items[name] = blocked if name == "version" else later
        elif waits:
            items[name] = Item(name, number, "later", f"after {' and '.join(waits)}.")
        else:
            items[name] = _looked(name, number, look, product)
    return Report(f"{found}.", list(items.values()))


def _looked(name: str, number: int, look: Callable[[_Product], str], product: _Product) -> Item:
    try:
        return Item(name, number, "done", look(product))
    except _ToDo as problem:
        return Item(name, number, "to do", *problem.args)
    except _Refused as refused:
        said = f"the store does not let anybody look at it ({refused.code})."
        return Item(name, number, "to do", said, "Open the prefix, or run this with its keys.")
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # a file of a form that nobody thought of; what is said of it must be a sentence
        said = f"a file has a form that cannot be read ({type(error).__name__}: {error})."
        return Item(
            name,
            number,
            "to do",
            said,
            "Compare each file that this item needs with its form in the unit.",
        )


def _locked(shown: str, code: str, sitting: int) -> Report:
    items = [
        Item(name, number, "later", "after public.")
        for name, number, _, _ in ITEMS
        if number <= sitting and name != "public"
    ]
    said = f"neither a stranger nor your keys may look at it ({code})."
    step = (
        "Look whether the name of the bucket is right; if it is, ask its owner to open the prefix."
    )
    return Report(
        f"{shown}: nothing can be read.", [Item("public", 3, "to do", said, step), *items]
    )


def _parsed(address: str) -> tuple[str, str]:
    parts = re.fullmatch(r"(?:s3://)?([a-z0-9][a-z0-9.-]+)/([^\s/:][^\s:]*)", address.strip())
    if not parts:
        raise CourseError(
            f'"{address}" is not the address of a product.',
            "Give the bucket and the prefix, such as s3://my-bucket/my-product.",
        )
    return parts[1], parts[2].strip("/")


def main(arguments: list[str] | None = None) -> int:
    """Command line; see the head of this file."""
    parser = argparse.ArgumentParser(
        prog="python -m course.product", description="Say what a data product on S3 lacks."
    )
    parser.add_argument("address", help="such as s3://my-bucket/my-product")
    parser.add_argument("--sitting", type=int, choices=(1, 2, 3), default=3, help="look no further")
    given = parser.parse_args(arguments)
    try:
        report = review(given.address, given.sitting)
    except CourseError as error:
        print(error.problem, error.next_step, sep="\n", file=sys.stderr)
        return 2
    print(report)
    return 0 if report.is_complete else 1


if __name__ == "__main__":
    sys.exit(main())
