"""The capstone's checker, on a product that is made for real and on broken copies of it.

`tests/product` is what a good student hands in. Each broken copy has one thing wrong, the
way students have it; the checker names that thing, and nothing else.
"""

import io
import json
import os
import re
import shutil
import subprocess
import sys
import uuid
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

import boto3
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
import s3fs

ROOT = Path(__file__).resolve().parent.parent
sys.path.append(str(ROOT / "notebooks"))
from course import CourseError, bucket, product  # noqa: E402

pytestmark = pytest.mark.xdist_group("product")

OWN = "student"
SOURCE = Path(__file__).with_name("product")
TABLE = "v1.0.0/data/certificates.parquet"
PACKAGE, PROVENANCE = "v1.0.0/datapackage.json", "v1.0.0/provenance.json"
CATALOGUE, CODE = "v1.0.0/dcat.jsonld", "v1.0.0/code.zip"


def flat(report: product.Report) -> str:
    """What it prints, without the breaks of its lines."""
    return " ".join(str(report).split())


def files_of(place: str) -> dict[str, bytes]:
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    found = fs.cat(fs.find(place))
    return {path.removeprefix(f"{place}/"): content for path, content in found.items()}


class Project:
    """A clone of the reference solution, as another person has it."""

    def __init__(self, folder: Path) -> None:
        shutil.copytree(SOURCE, folder, ignore=shutil.ignore_patterns("__pycache__"))
        self.folder = folder

    def change(self, old: str, new: str) -> None:
        config = self.folder / "config.toml"
        text = config.read_text()
        assert text.count(old) == 1
        config.write_text(text.replace(old, new))

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(words, cwd=self.folder, capture_output=True, text=True, timeout=120)
        assert "Traceback" not in done.stderr, done.stderr
        return done

    def make(self, place: str, *more: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, "run.py", f"s3://{place}", *more)


@pytest.fixture(scope="module")
def room() -> Iterator[str]:
    """A prefix under which all products of these tests lie."""
    place = f"{OWN}/test-product-{uuid.uuid4().hex[:8]}"
    yield place
    bucket.clean_up(place)


@pytest.fixture(scope="module")
def good(room: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The reference solution, made from the API by one command, and published."""
    project = Project(tmp_path_factory.mktemp("good") / "project")
    place = f"{room}/good"
    done = project.run("make", f"PYTHON={sys.executable}", f"PRODUCT=s3://{place}")
    assert done.returncode == 0, done.stderr
    bucket.publish(place)
    return place


class Copy:
    """A copy of the reference product in memory, to be broken and published."""

    def __init__(self, good: str, place: str) -> None:
        self.place = place
        self.files = files_of(good)
        self.closed: tuple[str, ...] = ()  #: folders that are not published

    def json(self, path: str) -> dict:
        return json.loads(self.files[path])

    def set(self, path: str, **values: object) -> None:
        self.files[path] = json.dumps(self.json(path) | values).encode()

    @property
    def frame(self) -> pd.DataFrame:
        return pq.read_table(io.BytesIO(self.files[TABLE])).to_pandas()

    def write(self, frame: pd.DataFrame, **types: pa.DataType) -> None:
        """Another table, with the types of the old one but for some."""
        schema = pq.read_schema(io.BytesIO(self.files[TABLE]))
        kept = {name: types.get(name, schema.field(name).type) for name in schema.names}
        buffer = io.BytesIO()
        kept |= {name: kind for name, kind in types.items() if name not in kept}
        frame.to_parquet(buffer, index=False, schema=pa.schema(kept))
        self.files[TABLE] = buffer.getvalue()

    def seal(self) -> None:
        """All that the student's program computes, after what went wrong before."""
        url = f"{os.environ['AWS_ENDPOINT_URL'].rstrip('/')}/{self.place}/{TABLE}"
        entry = self.json(CATALOGUE)
        entry["dcat:distribution"]["dcat:downloadURL"] = {"@id": url}
        self.set(CATALOGUE, **entry)
        package = self.json(PACKAGE)
        for one in package["resources"]:
            one["hash"] = "sha256:" + sha256(self.files[f"v1.0.0/{one['path']}"]).hexdigest()
        self.set(PACKAGE, **package)
        self.pin()

    def pin(self) -> None:
        """The checksum of the package into the index."""
        index = self.json("versions.json")
        index["versions"][0]["sha256"] = sha256(self.files[PACKAGE]).hexdigest()
        self.set("versions.json", **index)

    def put(self) -> None:
        fs = s3fs.S3FileSystem(use_listings_cache=False)
        fs.pipe({f"{self.place}/{path}": content for path, content in self.files.items()})
        open_ = {path.split("/")[0] for path in self.files} - set(self.closed)
        places = [f"{self.place}/{name}" for name in open_] if self.closed else [self.place]
        bucket.publish(*places)


@pytest.fixture
def copy(good: str, room: str) -> Copy:
    made = Copy(good, f"{room}/copy-{uuid.uuid4().hex[:8]}")
    made.seal()
    return made


def test_the_reference_is_complete(good: str) -> None:
    report = product.review(f"s3://{good}")
    assert report.is_complete, str(report)
    assert len(report.items) == len(product.ITEMS)


def test_a_stranger_without_any_key_finds_the_same(
    good: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN"):
        monkeypatch.delenv(name)
    assert product.review(good).is_complete


def test_a_copy_that_nobody_broke_is_complete(copy: Copy) -> None:
    copy.put()
    report = product.review(copy.place)
    assert report.is_complete, str(report)


# -- made again, by somebody else ------------------------------------------------------


def test_another_person_makes_the_same_and_can_only_add_a_version(
    good: str, room: str, tmp_path: Path
) -> None:
    """From the raw copy that is published, with the code and keys of their own."""
    published = f"{os.environ['AWS_ENDPOINT_URL'].rstrip('/')}/{good}/v1.0.0"
    project, place = Project(tmp_path / "project"), f"{room}/other"
    done = project.make(place, published)
    assert done.returncode == 0, done.stderr
    mine, before = files_of(good), files_of(place)
    for path in (TABLE, CODE, PROVENANCE):
        assert mine[path] == before[path], path
    assert project.make(place).returncode == 0
    assert files_of(place) == before
    project.change("largest_surface = 1000", "largest_surface = 100")
    refused = project.make(place)
    assert refused.returncode == 1 and "another version" in refused.stderr
    assert files_of(place) == before
    project.change('version = "1.0.0"', 'version = "1.1.0"')
    assert project.make(place).returncode == 0
    after = files_of(place)
    changed = [path for path in before if after[path] != before[path]]
    assert changed == ["versions.json"]
    report = product.review(place)
    assert report.to_do == ["public"], str(report)  # nobody has published it
    assert "1.1.0 is the latest of 2" in flat(report)


# -- broken, each in one thing ---------------------------------------------------------


def codes_as_numbers(copy: Copy) -> None:
    frame = copy.frame.assign(code_insee_ban=copy.frame["code_insee_ban"].astype(int))
    copy.write(frame, code_insee_ban=pa.int64())


def a_year_with_decimals(copy: Copy) -> None:
    copy.write(copy.frame, annee_construction=pa.float64())


def days_with_hours(copy: Copy) -> None:
    days = pd.to_datetime(copy.frame["date_etablissement_dpe"])
    kind = pa.timestamp("ms")
    copy.write(copy.frame.assign(date_etablissement_dpe=days), date_etablissement_dpe=kind)


def a_column_nobody_described(copy: Copy) -> None:
    copy.write(copy.frame.assign(remark="none"), remark=pa.string())


def a_table_nobody_described(copy: Copy) -> None:
    copy.files["v1.0.0/data/towns.parquet"] = copy.files[TABLE]


def a_column_without_words(copy: Copy) -> None:
    package = copy.json(PACKAGE)
    fields = next(one["schema"]["fields"] for one in package["resources"] if "schema" in one)
    del fields[3]["description"]
    copy.set(PACKAGE, **package)


def a_page_stored_twice(copy: Copy) -> None:
    copy.write(pd.concat([copy.frame, copy.frame.head(20)]))


def a_surface_in_another_unit(copy: Copy) -> None:
    frame = copy.frame
    frame.loc[5, "surface_habitable_logement"] = 8430.0
    copy.write(frame)


def nothing_promised(copy: Copy) -> None:
    package = copy.json(PACKAGE)
    for one in package["resources"]:
        for field in one.get("schema", {}).get("fields", []):
            field.pop("constraints", None)
    copy.set(PACKAGE, **package)


def no_row_left(copy: Copy) -> None:
    copy.write(copy.frame.head(0))


def an_upload_cut_short(copy: Copy) -> None:
    copy.files[TABLE] = copy.files[TABLE][:-100]


def an_empty_object(copy: Copy) -> None:
    copy.files[TABLE] = b""


def raw_repaired_by_hand(copy: Copy) -> None:
    page = "raw/2026-11-01/page-00001.json"
    copy.files[page] = copy.files[page].replace(b"maison", b"MAISON", 1)


def a_time_without_zone(copy: Copy) -> None:
    copy.set(PROVENANCE, fetched="2026-11-01 14:30")


def no_raw_copy(copy: Copy) -> None:
    copy.set(PROVENANCE, raw=[])


def no_licence(copy: Copy) -> None:
    copy.set(PACKAGE, licenses=[])


def a_title_instead_of_a_readme(copy: Copy) -> None:
    copy.files["v1.0.0/README.md"] = b"# Energy certificates\n"


def a_comma_too_many(copy: Copy) -> None:
    copy.files[PACKAGE] = copy.files[PACKAGE][:-1] + b",}"
    copy.pin()


def an_address_for_s3_only(copy: Copy) -> None:
    entry = copy.json(CATALOGUE)
    entry["dcat:distribution"]["dcat:downloadURL"] = {"@id": f"s3://{copy.place}/{TABLE}"}
    copy.set(CATALOGUE, **entry)


def an_address_of_the_draft(copy: Copy) -> None:
    entry = copy.json(CATALOGUE)
    address = entry["dcat:distribution"]["dcat:downloadURL"]["@id"]
    entry["dcat:distribution"]["dcat:downloadURL"]["@id"] = address.replace("v1.0.0", "draft")
    copy.set(CATALOGUE, **entry)


def an_address_of_a_draft_that_is_the_same(copy: Copy) -> None:
    an_address_of_the_draft(copy)
    copy.files[TABLE.replace("v1.0.0", "draft")] = copy.files[TABLE]


def words_without_prefixes(copy: Copy) -> None:
    entry = copy.json(CATALOGUE)
    plain = {key.removeprefix("dct:"): value for key, value in entry.items()}
    copy.files[CATALOGUE] = json.dumps(plain).encode()


def a_branch_instead_of_a_commit(copy: Copy) -> None:
    code = {"repository": "https://example.org/me/energy", "commit": "main", "command": "make"}
    copy.set(PROVENANCE, code=code)


def no_command(copy: Copy) -> None:
    code = copy.json(PROVENANCE)["code"]
    del code["command"]
    copy.set(PROVENANCE, code=code)


def keys_in_the_archive(copy: Copy) -> None:
    buffer = io.BytesIO(copy.files[CODE])
    with zipfile.ZipFile(buffer, "a") as archive:
        secret = os.environ["AWS_SECRET_ACCESS_KEY"]
        archive.writestr(".env", f"export AWS_SECRET_ACCESS_KEY={secret}\n")
    copy.files[CODE] = buffer.getvalue()
    code = copy.json(PROVENANCE)["code"] | {"sha256": sha256(copy.files[CODE]).hexdigest()}
    copy.set(PROVENANCE, code=code)


def only_the_version_is_public(copy: Copy) -> None:
    copy.closed = ("raw",)


def written_again(copy: Copy) -> None:
    copy.write(copy.frame.iloc[1:])


def described_again(copy: Copy) -> None:
    copy.set(PACKAGE, title="Another title, after the release")


def a_latest_that_is_not_there(copy: Copy) -> None:
    copy.set("versions.json", latest="1.1.0")


def an_index_that_is_no_json(copy: Copy) -> None:
    copy.files["versions.json"] = b"{'latest': '1.0.0'}"


def a_folder_for_two_versions(copy: Copy) -> None:
    index = copy.json("versions.json")
    index["versions"].append(index["versions"][0] | {"version": "1.0.1"})
    copy.set("versions.json", versions=index["versions"])


#: What is wrong, the item that says so, and a word of what it says.
BEFORE_SEALING: list[tuple[Callable[[Copy], None], str, str]] = [
    (codes_as_numbers, "dictionary", "`code_insee_ban` is string; .* int64"),
    (a_year_with_decimals, "dictionary", "`annee_construction` is integer; .* double"),
    (days_with_hours, "dictionary", "`date_etablissement_dpe` is date; .* timestamp"),
    (a_column_nobody_described, "dictionary", "remark"),
    (a_table_nobody_described, "package", "does not list data/towns.parquet"),
    (a_column_without_words, "dictionary", "no description"),
    (a_page_stored_twice, "values", "20 rows repeat the key"),
    (a_surface_in_another_unit, "values", "maximum 1000: 8430.0"),
    (nothing_promised, "values", "promises nothing"),
    (no_row_left, "data", "without any row"),
    (an_upload_cut_short, "data", "no Parquet file"),
    (an_empty_object, "data", "empty"),
    (raw_repaired_by_hand, "raw", "page-00001.json is not the file that was fetched"),
    (a_time_without_zone, "raw", "when the data were fetched"),
    (no_raw_copy, "raw", "names no raw copy"),
    (no_licence, "licence", "names no licence"),
    (a_title_instead_of_a_readme, "readme", "3 words|4 words"),
    (a_branch_instead_of_a_commit, "code", "no commit of the repository: 'main'"),
    (no_command, "code", "how to run"),
    (keys_in_the_archive, "secrets", r"code.zip, \.env"),
    (only_the_version_is_public, "public", "may not read versions.json, raw/"),
]
AFTER_SEALING: list[tuple[Callable[[Copy], None], str, str]] = [
    (a_comma_too_many, "package", "no JSON: .*line 1, column"),
    (written_again, "unchanged", "certificates.parquet changed after the release"),
    (described_again, "unchanged", "datapackage.json changed after the release"),
    (a_latest_that_is_not_there, "version", "has no entry for it"),
    (an_index_that_is_no_json, "version", "versions.json is no JSON"),
    (a_folder_for_two_versions, "version", "same path"),
]
#: Of these only the description itself is computed again.
OF_THE_CATALOGUE: list[tuple[Callable[[Copy], None], str, str]] = [
    (an_address_for_s3_only, "catalogue", "no dcat:downloadURL of the web .s3://"),
    (an_address_of_the_draft, "catalogue", "gets HTTP 404"),
    (an_address_of_a_draft_that_is_the_same, "catalogue", "outside of v1.0.0/"),
    (words_without_prefixes, "catalogue", "no dct:title"),
]


@pytest.mark.parametrize(
    ("spoil", "item", "said"),
    [*BEFORE_SEALING, *AFTER_SEALING, *OF_THE_CATALOGUE],
    ids=lambda one: one.__name__ if callable(one) else "",
)
def test_one_thing_is_broken_and_it_alone_is_named(
    copy: Copy, spoil: Callable[[Copy], None], item: str, said: str
) -> None:
    spoil(copy)
    if any(spoil is one for one, _, _ in BEFORE_SEALING):
        copy.seal()
    if item == "catalogue":
        package = copy.json(PACKAGE)
        for one in package["resources"]:
            one["hash"] = "sha256:" + sha256(copy.files[f"v1.0.0/{one['path']}"]).hexdigest()
        copy.set(PACKAGE, **package)
        copy.pin()
    copy.put()
    report = product.review(copy.place)
    assert report.to_do == [item], str(report)
    found = next(one for one in report.items if one.name == item)
    assert re.search(said, found.said), found.said
    assert len(found.next_step) > 20
    assert not report.is_complete


@contextmanager
def rule(**statement: object) -> Iterator[None]:
    """A rule that somebody added to the policy of the bucket."""
    s3 = boto3.client("s3")
    before = s3.get_bucket_policy(Bucket=OWN)["Policy"]
    policy = json.loads(before)
    policy["Statement"].append({"Effect": "Allow", "Principal": {"AWS": ["*"]}, **statement})
    s3.put_bucket_policy(Bucket=OWN, Policy=json.dumps(policy))
    try:
        yield
    finally:
        s3.put_bucket_policy(Bucket=OWN, Policy=before)


ARN = f"arn:aws:s3:::{OWN}"


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ({"Action": ["s3:GetObject"], "Resource": [f"{ARN}/*"]}, "read what lies beside it"),
        ({"Action": ["s3:ListBucket"], "Resource": [ARN]}, f"list {OWN}"),
        ({"Action": ["s3:PutObject"], "Resource": [f"{ARN}/*"]}, "write to"),
    ],
    ids=["the whole bucket is open", "the bucket can be listed", "anybody may write"],
)
def test_more_is_open_than_the_product(good: str, statement: dict, said: str) -> None:
    before = files_of(good)
    with rule(**statement):
        report = product.review(good)
    assert report.to_do == ["closed"], str(report)
    assert said in flat(report)
    assert files_of(good) == before
    assert not boto3.client("s3").list_multipart_uploads(Bucket=OWN).get("Uploads")


def test_what_is_written_beside_a_product_stays_private(good: str) -> None:
    url = f"{os.environ['AWS_ENDPOINT_URL'].rstrip('/')}/{good}-beside/x"
    assert requests.get(url, timeout=30).status_code == 403


# -- whatever is there, it answers in sentences ----------------------------------------

STRANGE = (None, 7, "x", [], {}, [7], [{}], True)


@pytest.mark.parametrize("path", ["versions.json", PACKAGE, PROVENANCE, CATALOGUE])
def test_files_of_any_form_are_answered_with_sentences(copy: Copy, path: str) -> None:
    copy.put()
    fs = s3fs.S3FileSystem(use_listings_cache=False)
    document = copy.json(path)
    for number, key in enumerate(document):
        value = STRANGE[number % len(STRANGE)]
        spoilt = json.dumps(document | {key: value}).encode()
        fs.pipe_file(f"{copy.place}/{path}", spoilt)
        report = product.review(copy.place)
        assert report.to_do, f"{key}: {value!r} is taken for good"
    for content in (b"", b"null", b"\xff\xfe", b"[" * 100_000):
        fs.pipe_file(f"{copy.place}/{path}", content)
        assert product.review(copy.place).to_do


def test_an_empty_prefix_is_told_where_to_begin(room: str) -> None:
    report = product.review(f"s3://{room}/nothing")
    assert "nothing is there yet" in flat(report)
    assert report.to_do == ["raw", "data", "readme"]
    assert len(product.review(f"{room}/nothing", sitting=1).items) == 2


def test_a_bucket_that_is_not_yours_is_one_sentence() -> None:
    report = product.review("s3://somebody-elses-bucket/product")
    assert report.to_do == ["public"]
    assert "nothing can be read" in flat(report)


def test_the_command_ends_with_what_it_found(
    good: str, room: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert product.main([f"s3://{good}"]) == 0
    assert product.main([f"s3://{room}/nothing"]) == 1
    capsys.readouterr()
    for address in ("", "product", "s3://bucket", "https://example.org/product", "S3://A/b"):
        assert product.main([address]) == 2
        assert "is not the address of a product" in capsys.readouterr().err
    for words in ([], ["a/b", "c/d"], ["a/b", "--sitting", "4"]):
        with pytest.raises(SystemExit) as ended:
            product.main(words)
        assert ended.value.code == 2
    with monkeypatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", "https://s3.invalid")
        assert product.main([good]) == 2
        assert "cannot be reached" in capsys.readouterr().err
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "SOMEBODY")
    assert product.main([f"{room}/nothing"]) == 2
    assert "does not take your keys" in capsys.readouterr().err


def test_the_command_runs_as_the_unit_says(good: str) -> None:
    words = [sys.executable, "-m", "course.product", f"s3://{good}"]
    done = subprocess.run(words, cwd=ROOT / "notebooks", capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.rstrip().endswith("14 of 14 done.")


def test_an_address_is_none_is_an_error_of_the_course() -> None:
    with pytest.raises(CourseError):
        product.review("my product")


# -- what a catalogue takes ------------------------------------------------------------


def test_a_description_is_read_in_every_form_of_json_ld() -> None:
    dcat, dct = "http://www.w3.org/ns/dcat#", "http://purl.org/dc/terms/"
    compact = {
        "@context": {"dcat": dcat, "dct": dct, "foaf": "http://xmlns.com/foaf/0.1/"},
        "@type": "dcat:Dataset",
        "dct:title": "Bridges",
        "dct:description": {"@value": "All of them", "@language": "en"},
        "dct:license": {"@id": "https://example.org/licence"},
        "dct:publisher": {"@type": "foaf:Agent", "foaf:name": "Office"},
        "dcat:version": "1.0.0",
        "dcat:distribution": {
            "@type": "dcat:Distribution",
            "dcat:downloadURL": {"@id": "https://example.org/a.parquet"},
            "dcat:mediaType": "application/vnd.apache.parquet",
        },
    }
    terms = {
        "title": "dct:title",
        "text": f"{dct}description",
        "by": {"@id": "dct:publisher"},
        "name": "foaf:name",
    }
    aliased = {
        **{key: compact[key] for key in compact if key.startswith("dcat")},
        "@context": ["https://example.org/context", {**compact["@context"], **terms}],
        "@type": [f"{dcat}Dataset"],
        "title": ["Bridges"],
        "text": "All of them",
        "dct:license": "https://example.org/licence",
        "by": {"name": "Office"},
    }
    entry = {key: value for key, value in compact.items() if key != "@context"}
    file = {**entry["dcat:distribution"], "@id": "#file"}
    office = {**entry["dct:publisher"], "@id": "#office"}
    linked = {"dcat:distribution": {"@id": "#file"}, "dct:publisher": {"@id": "#office"}}
    graph = {"@context": compact["@context"], "@graph": [{**entry, **linked}, file, office]}
    expected = {
        "title": "Bridges",
        "description": "All of them",
        "publisher": "Office",
        "licence": "https://example.org/licence",
        "version": "1.0.0",
        "files": [("https://example.org/a.parquet", "application/vnd.apache.parquet")],
    }
    for form in (compact, aliased, graph):
        assert product.harvest(form) == expected
    assert product.harvest({"@context": {}, "@type": "Dataset"}) == {}
