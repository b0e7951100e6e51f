"""The made-up tables of the bucket `earth-science`: what units 41 and 42 rely on."""

import hashlib
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv

import datalab.samples.earth
from datalab.samples.earth import (
    GLODAP_COLUMNS,
    GLODAP_KEY,
    GLODAP_ROWS,
    ISD_COLUMNS,
    ISD_KEY,
    samples_earth,
)

pytestmark = pytest.mark.xdist_group("samples")  # on one worker: the data are made once

# Of every key and content; of the archive, that of the file in it, since another version
# of zlib may compress otherwise. It changes only when the data are changed on purpose.
SHA256 = "d5046c291d40d37073955bc959a482b5cd0f40abb6c478137e548851a7f0858f"
DIGEST = """
import hashlib, io, zipfile
from datalab.samples.earth import samples_earth
total = hashlib.sha256()
for sample in samples_earth():
    content = sample.content
    if sample.key.endswith(".zip"):
        archive = zipfile.ZipFile(io.BytesIO(content))
        content = archive.read(archive.namelist()[0])
    total.update(sample.key.encode() + b"\\0" + content + b"\\0")
print(total.hexdigest())
"""


@pytest.fixture(scope="module")
def objects():
    return {sample.key: sample for sample in samples_earth()}


@pytest.fixture(scope="module")
def reports(objects):
    text = {name: pa.string() for name in ISD_COLUMNS.split()}
    options = csv.ConvertOptions(column_types=text)
    return csv.read_csv(io.BytesIO(objects[ISD_KEY].content), convert_options=options)


@pytest.fixture(scope="module")
def archive(objects):
    return zipfile.ZipFile(io.BytesIO(objects[GLODAP_KEY].content))


@pytest.fixture(scope="module")
def bottles(archive):
    return csv.read_csv(io.BytesIO(archive.read(archive.namelist()[0])))


def parts(column):
    """Value and quality code of a packed field, as two text columns."""
    split = pc.split_pattern(column, ",")
    return pc.list_element(split, 0), pc.list_element(split, 1)


def test_the_bucket_holds_a_readme_for_each_of_its_readers_and_two_tables(objects):
    assert list(objects) == ["README.md", "public/README.md", ISD_KEY, GLODAP_KEY]
    assert [sample.content_type for sample in objects.values()] == [
        "text/markdown",
        "text/markdown",
        "text/csv",
        "application/zip",
    ]


def test_the_readme_says_that_all_is_made_up_and_where_the_real_data_are(objects):
    text = objects["README.md"].content.decode()
    assert "**Every measurement in this bucket is made up.**" in text
    assert ISD_KEY in text and GLODAP_KEY in text
    assert "glodap.info" in text and "Global Hourly" in text
    assert "made up" in objects["public/README.md"].content.decode()


# -- NOAA's station-year ------------------------------------------------------------


def test_a_station_year_has_noaas_columns_every_value_in_quotes(objects, reports):
    lines = objects[ISD_KEY].content.decode().splitlines()
    assert lines[0] == ",".join(f'"{name}"' for name in ISD_COLUMNS.split())
    assert lines[1].startswith('"07149099999","2023-01-01T00:00:00","4","48.725278","2.359444"')
    assert reports.num_rows == 26_280 - 240 * 3
    assert pc.unique(reports["STATION"]).to_pylist() == ["07149099999"]


def test_two_series_share_the_file_in_the_order_of_time(reports):
    dates = reports["DATE"].to_pylist()
    assert dates == sorted(dates)
    kinds = {c["values"]: c["counts"] for c in pc.value_counts(reports["REPORT_TYPE"]).to_pylist()}
    assert kinds == {"FM-12": 8_520, "FM-15": 17_040}
    pilots = reports.filter(pc.equal(reports["REPORT_TYPE"], "FM-15"))
    assert pc.all(pc.match_substring_regex(pilots["TMP"], r"^[+-]\d{3}0,|^\+9999,9$")).as_py()
    assert pc.unique(pilots["SLP"]).to_pylist() == ["99999,9"]


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("TMP", r"^[+-]\d{4},[1235]$|^\+9999,9$"),
        ("DEW", r"^[+-]\d{4},[15]$|^\+9999,9$"),
        ("SLP", r"^\d{4,5},1$|^99999,9$"),
        ("WND", r"^\d{3},1,N,\d{4},1$"),
        ("AA1", r"^$|^01,\d{4},9,1$"),
    ],
)
def test_fields_are_packed_as_noaa_packs_them(name, form, reports):
    assert pc.all(pc.match_substring_regex(reports[name], form)).as_py()


def test_missing_and_bad_values_are_there_to_be_cleaned_and_the_rest_is_weather(reports):
    value, code = parts(reports["TMP"])
    assert set(pc.unique(code).to_pylist()) == {"1", "2", "3", "5", "9"}
    assert pc.all(pc.equal(pc.equal(code, "9"), pc.equal(value, "+9999"))).as_py()
    celsius = pc.divide(pc.cast(pc.utf8_replace_slice(value, 0, 1, ""), pa.float64()), 10.0)
    good = pc.is_in(code, pa.array(["1", "5"]))
    assert 5 < pc.mean(celsius.filter(good)).as_py() < 20
    assert pc.max(celsius.filter(good)).as_py() < 45
    assert pc.mean(celsius.filter(pc.equal(code, "3"))).as_py() > 40
    pressure, code = parts(reports["SLP"])
    tenths = pc.cast(pressure.filter(pc.equal(code, "1")), pa.int64())
    assert 9_600 < pc.min(tenths).as_py() < 10_150 < pc.max(tenths).as_py() < 10_600


def test_the_station_is_silent_for_ten_days(reports):
    days = set(pc.unique(pc.utf8_slice_codeunits(reports["DATE"], 0, 10)).to_pylist())
    assert len(days) == 365 - 9  # the first and the last of them in part
    assert "2023-10-10" not in days


# -- GLODAP -------------------------------------------------------------------------


def test_the_archive_holds_one_compressed_file_of_the_real_name(archive):
    (entry,) = archive.infolist()
    assert entry.filename == "GLODAPv2.2023_Merged_Master_File.csv"
    assert entry.compress_type == zipfile.ZIP_DEFLATED
    assert 80e6 < entry.file_size < 120e6
    assert entry.compress_size < 25e6


def test_the_master_file_has_109_columns_and_hundreds_of_thousands_of_rows(bottles):
    assert len(GLODAP_COLUMNS) == 109
    assert tuple(bottles.column_names) == GLODAP_COLUMNS
    assert bottles.num_rows == GLODAP_ROWS >= 200_000
    assert bottles.schema.field("G2expocode").type == pa.string()
    others = [f for f in bottles.schema if f.name not in ("G2expocode", "G2doi")]
    assert all(f.type in (pa.int64(), pa.float64()) for f in others)


def test_missing_is_minus_9999_with_flag_9_and_nothing_else(bottles):
    for name in ("salinity", "oxygen", "nitrate", "silicate", "phosphate", "tco2", "talk"):
        missing = pc.equal(bottles[f"G2{name}"], -9999)
        assert 0 < pc.sum(missing).as_py() < GLODAP_ROWS
        assert pc.min(bottles[f"G2{name}"].filter(pc.invert(missing))).as_py() > -5
        assert pc.all(pc.equal(pc.equal(bottles[f"G2{name}f"], 9), missing)).as_py()
    carbon = pc.equal(bottles["G2tco2"], -9999)
    assert 0.4 < pc.sum(carbon).as_py() / GLODAP_ROWS < 0.7
    for name, rare in (("G2cfc11", -9999), ("G2cfc11f", 9), ("G2cfc11qc", 0), ("G2chlaf", 9)):
        assert pc.unique(bottles[name]).to_pylist() == [rare]
    assert pc.sum(bottles["G2temperature"]).is_valid
    assert pc.min(bottles["G2temperature"]).as_py() >= -2


def test_places_and_times_are_possible(bottles):
    limits = {
        "G2latitude": (-90, 90),
        "G2longitude": (-180, 180),
        "G2year": (1972, 2022),
        "G2month": (1, 12),
        "G2day": (1, 31),
        "G2hour": (0, 23),
        "G2minute": (0, 59),
        "G2depth": (0, 6_000),
        "G2temperature": (-2, 32),
    }
    for name, (least, most) in limits.items():
        found = pc.min_max(bottles[name]).as_py()
        assert least <= found["min"] < found["max"] <= most, name
    assert set(pc.unique(bottles["G2region"]).to_pylist()) == {1, 4, 8, 16}
    assert pc.all(pc.less_equal(bottles["G2depth"], bottles["G2bottomdepth"])).as_py()


def test_rows_are_in_the_order_of_cruise_station_and_depth(bottles):
    keys = ["G2cruise", "G2station", "G2depth"]
    rows = list(zip(*(bottles[name].to_pylist() for name in keys), strict=True))
    assert rows == sorted(rows)
    stations = bottles.group_by(["G2cruise", "G2station"]).aggregate(
        [("G2latitude", "count_distinct"), ("G2longitude", "count_distinct")]
    )
    assert pc.max(stations["G2latitude_count_distinct"]).as_py() == 1
    assert 5_000 < stations.num_rows < GLODAP_ROWS / 10
    cruises = bottles.group_by("G2cruise").aggregate([("G2expocode", "count_distinct")])
    assert pc.max(cruises["G2expocode_count_distinct"]).as_py() == 1
    assert cruises.num_rows > 50


def test_in_this_order_row_groups_span_oceans_which_is_what_the_lesson_cures(bottles):
    wide = 0
    for start in range(0, GLODAP_ROWS, 5_000):
        group = bottles.slice(start, 5_000)
        found = pc.min_max(group["G2longitude"]).as_py()
        wide += found["max"] - found["min"] > 60
    assert wide > 30  # of 40


def test_the_bytes_are_the_same_in_another_process_and_as_recorded():
    run = subprocess.run(
        [sys.executable, "-c", DIGEST],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(datalab.samples.earth.__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "7"},  # the order of a set must not show
    )
    assert run.stdout.strip() == SHA256


def test_the_same_twice_in_one_process(objects):
    again = {sample.key: sample.content for sample in samples_earth()}
    digests = [
        {key: hashlib.sha256(content).hexdigest() for key, content in made.items()}
        for made in (again, {key: sample.content for key, sample in objects.items()})
    ]
    assert digests[0] == digests[1]
