"""The made-up data of the bucket `donnees-insee`: what the notebooks rely on."""

import hashlib
import io
import os
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pytest
from pyarrow import csv

import datalab.samples
from datalab.samples import MADE_UP, Sample
from datalab.samples.insee import samples

pytestmark = pytest.mark.xdist_group("samples")  # on one worker: the data are made once

FILOSOFI = "diffusion/FILOSOFI/2014/FILOSOFI_COM.csv"
BPE = "diffusion/BPE/2019/BPE_ENS.csv"
BPE_OLD = "BPE/2019/BPE_ENS.csv"
DECES = "diffusion/ETAT_CIVIL/2020/DECES_COM_1019.csv"
COMMUNES = "diffusion/GEOGRAPHIE/2019/communes2019.csv"
DEPARTEMENTS = "diffusion/GEOGRAPHIE/2019/departement2019.csv"
REGIONS = "diffusion/GEOGRAPHIE/2019/region2019.csv"
READMES = ("README.md", "diffusion/README.md")

# Of every key and content. It changes only when the data are changed on purpose: a new
# NumPy or pyarrow that gives other bytes must be seen.
SHA256 = "9cf6f8d91e41dbd90e621540c660310be59ee9ec2c1dc956856c56a9b7bf26f1"

COLUMNS = {
    FILOSOFI: "CODGEO;LIBGEO;NBMENFISC14;NBPERSMENFISC14;MED14;PIMP14;TP6014;"
    "TP60AGE114;TP60AGE214;TP60AGE314;TP60AGE414;TP60AGE514;TP60AGE614;TP60TOL114;"
    "TP60TOL214;PACT14;PTSA14;PCHO14;PBEN14;PPEN14;PPAT14;PPSOC14;PPFAM14;PPMINI14;"
    "PPLOGT14;PIMPOT14;D114;D914;RD14",
    BPE: "REG;DEP;DEPCOM;DCIRIS;AN;TYPEQU;NB_EQUIP",
    DECES: "CODGEO;LIBGEO;REG;DEP;DECESD10;DECESD11;DECESD12;DECESD13;DECESD14;DECESD15;"
    "DECESD16;DECESD17;DECESD18;DECESD19",
    COMMUNES: "com,reg,dep,libelle",
    DEPARTEMENTS: "dep,reg,cheflieu,libelle",
    REGIONS: "reg,cheflieu,libelle",
}
ROWS = {
    FILOSOFI: 34_970,
    BPE: 1_035_564,
    DECES: 34_970,
    COMMUNES: 34_970,
    DEPARTEMENTS: 101,
    REGIONS: 18,
}
CODES = ("CODGEO", "DEPCOM", "DCIRIS", "REG", "DEP", "com", "reg", "dep", "cheflieu", "AN")


def digest(objects: list[Sample]) -> str:
    total = hashlib.sha256()
    for sample in objects:
        total.update(sample.key.encode() + b"\0" + sample.content + b"\0")
    return total.hexdigest()


@pytest.fixture(scope="module")
def objects():
    return list(samples())


@pytest.fixture(scope="module")
def contents(objects):
    return {sample.key: sample.content for sample in objects}


@pytest.fixture(scope="module")
def tables(contents):
    """Every file, read once; codes as text, the empty value as null."""
    return {
        key: csv.read_csv(
            io.BytesIO(contents[key]),
            parse_options=csv.ParseOptions(delimiter=";" if ";" in columns else ","),
            convert_options=csv.ConvertOptions(
                column_types={name: pa.string() for name in CODES},
                null_values=[""],
                strings_can_be_null=True,
            ),
        )
        for key, columns in COLUMNS.items()
    }


def column(table, name):
    return table[name].combine_chunks()


def missing(table, name, among):
    """The values of a column that another column does not have."""
    found = pc.is_in(table[name], value_set=column(*among))
    return table.filter(pc.invert(found))[name].to_pylist()


def test_the_bucket_holds_the_keys_of_the_ssp_cloud_readmes_first(objects):
    assert [sample.key for sample in objects] == [
        *READMES,
        REGIONS,
        DEPARTEMENTS,
        COMMUNES,
        FILOSOFI,
        DECES,
        BPE,
        BPE_OLD,
    ]
    assert {s.content_type for s in objects if s.key.endswith(".csv")} == {"text/csv"}


def test_the_facilities_are_one_object_at_two_keys(contents):
    assert contents[BPE] is contents[BPE_OLD]
    assert 34e6 < len(contents[BPE]) < 40e6


@pytest.mark.parametrize("key", COLUMNS)
def test_a_file_has_insees_columns_unquoted_and_all_its_rows(key, contents, tables):
    assert contents[key].split(b"\n", 1)[0].decode() == COLUMNS[key]
    assert contents[key].endswith(b"\n")
    assert b'"' not in contents[key]
    assert b"\r" not in contents[key]
    assert contents[key].count(b"\n") == ROWS[key] + 1
    assert tables[key].num_rows == ROWS[key]


@pytest.mark.parametrize(
    ("key", "name"), [(FILOSOFI, "CODGEO"), (DECES, "CODGEO"), (COMMUNES, "com")]
)
def test_one_row_a_commune_by_a_code_of_five_characters_in_order(key, name, tables):
    codes = column(tables[key], name)
    assert pc.count_distinct(codes).as_py() == len(codes)
    assert pc.unique(pc.utf8_length(codes)).to_pylist() == [5]
    assert codes.to_pylist() == sorted(codes.to_pylist())


@pytest.mark.parametrize(("code", "name"), [("01004", "Ambérieu-en-Bugey"), ("2A004", "Ajaccio")])
def test_the_communes_of_the_course_are_in_every_file(code, name, tables):
    for key, of_code, of_name in (
        (COMMUNES, "com", "libelle"),
        (FILOSOFI, "CODGEO", "LIBGEO"),
        (DECES, "CODGEO", "LIBGEO"),
    ):
        rows = tables[key].filter(pc.equal(tables[key][of_code], code))
        assert rows[of_name].to_pylist() == [name]
    assert pc.any(pc.equal(tables[BPE]["DEPCOM"], code)).as_py()
    incomes = tables[FILOSOFI].filter(pc.equal(tables[FILOSOFI]["CODGEO"], code))
    assert [n for n in incomes.column_names if incomes[n].null_count] == []


def test_a_reader_that_guesses_types_loses_the_zeros_until_it_meets_corsica(contents):
    first, last = contents[BPE][:1_000_000], contents[BPE][-1_000_000:]
    header = contents[BPE].split(b"\n", 1)[0]
    for lines, kind in ((first, pa.int64()), (header + last[last.index(b"\n") :], pa.string())):
        whole = lines[: lines.rindex(b"\n") + 1]
        table = csv.read_csv(io.BytesIO(whole), parse_options=csv.ParseOptions(delimiter=";"))
        assert table.schema.field("DEP").type == kind
        assert table.schema.field("DEPCOM").type == kind


@pytest.mark.parametrize(
    ("facts", "fact_key", "dimension", "key"),
    [
        (BPE, "DEPCOM", COMMUNES, "com"),
        (BPE, "DEP", DEPARTEMENTS, "dep"),
        (BPE, "REG", REGIONS, "reg"),
        (FILOSOFI, "CODGEO", COMMUNES, "com"),
        (DECES, "CODGEO", COMMUNES, "com"),
        (COMMUNES, "com", FILOSOFI, "CODGEO"),
        (COMMUNES, "com", DECES, "CODGEO"),
        (COMMUNES, "dep", DEPARTEMENTS, "dep"),
        (COMMUNES, "reg", REGIONS, "reg"),
        (DEPARTEMENTS, "reg", REGIONS, "reg"),
        (DEPARTEMENTS, "dep", COMMUNES, "dep"),
        (DEPARTEMENTS, "cheflieu", COMMUNES, "com"),
        (REGIONS, "cheflieu", COMMUNES, "com"),
    ],
)
def test_a_code_of_one_table_is_found_in_the_other(facts, fact_key, dimension, key, tables):
    assert missing(tables[facts], fact_key, (tables[dimension], key)) == []


def test_the_star_schema_joins_lose_and_double_nothing(tables):
    departments = tables[DEPARTEMENTS].rename_columns(["dep", "dep_reg", "seat", "department"])
    regions = tables[REGIONS].rename_columns(["reg", "capital", "region"])
    places = tables[COMMUNES].join(departments, "dep", join_type="inner")
    places = places.join(regions, "reg", join_type="inner")
    assert places.num_rows == ROWS[COMMUNES]
    assert places["reg"].to_pylist() == places["dep_reg"].to_pylist()

    facilities = tables[BPE].select(["DEPCOM", "DEP", "REG", "NB_EQUIP"])
    places = places.select(["com", "dep", "reg"])
    joined = facilities.join(places, "DEPCOM", "com", join_type="inner")
    assert joined.num_rows == ROWS[BPE]
    assert pc.all(pc.equal(joined["DEP"], joined["dep"])).as_py()
    assert pc.all(pc.equal(joined["REG"], joined["reg"])).as_py()
    assert pc.sum(joined["NB_EQUIP"]) == pc.sum(tables[BPE]["NB_EQUIP"])


def test_the_facilities_have_real_looking_codes_and_positive_counts(tables):
    bpe = tables[BPE]
    assert pc.min(bpe["NB_EQUIP"]).as_py() == 1
    assert pc.unique(bpe["AN"]).to_pylist() == ["2019"]
    types = set(pc.unique(bpe["TYPEQU"]).to_pylist())
    assert {"A101", "A203", "B101", "D201", "F121"} <= types
    assert 170 <= len(types) <= 200
    assert pc.all(pc.match_substring_regex(bpe["TYPEQU"], "^[A-G][1-7][0-9]{2}$")).as_py()
    iris = pc.binary_replace_slice(bpe["DCIRIS"].cast(pa.binary()), 0, 5, b"").cast(pa.string())
    assert pc.all(pc.match_substring_regex(iris, "^(_0000|[0-9]{4})$")).as_py()
    assert pc.all(pc.equal(pc.utf8_slice_codeunits(bpe["DCIRIS"], 0, 5), bpe["DEPCOM"])).as_py()
    assert pc.any(pc.equal(bpe["DCIRIS"], "010040101")).as_py()


def test_the_facilities_are_in_order_each_place_and_type_once(contents):
    # The fields of a region have one width each, so lines sort as their fields do.
    keys = [line.rsplit(b";", 1)[0] for line in contents[BPE].splitlines()[1:]]
    assert all(a < b for a, b in pairwise(keys))


def test_small_communes_are_hidden_by_empty_values(contents, tables):
    incomes = tables[FILOSOFI]
    households = incomes["NBMENFISC14"]
    assert households.null_count == 0
    assert pc.max(incomes.filter(pc.is_null(incomes["MED14"]))["NBMENFISC14"]).as_py() == 49
    assert pc.min(incomes.filter(pc.is_valid(incomes["MED14"]))["NBMENFISC14"]).as_py() == 50
    for name, least in (("D114", 1000), ("PACT14", 1000), ("TP60AGE114", 2000)):
        shown = incomes.filter(pc.is_valid(incomes[name]))
        assert pc.min(shown["NBMENFISC14"]).as_py() >= least
    hidden = {name: incomes[name].null_count for name in ("MED14", "D114", "TP60TOL114")}
    assert 0 < hidden["MED14"] < hidden["D114"] < hidden["TP60TOL114"] < ROWS[FILOSOFI]
    # Nothing between the separators: no NA, no nan, no quotes.
    assert b";" * 25 + b"\n" in contents[FILOSOFI]
    assert b";nan" not in contents[FILOSOFI]


def test_incomes_are_plausible_and_add_up(tables):
    incomes = tables[FILOSOFI]
    range_ = pc.min_max(incomes["MED14"]).as_py()
    assert 15_000 <= range_["min"] < range_["max"] <= 45_000
    shown = incomes.filter(pc.is_valid(incomes["D114"])).to_pandas()
    assert (shown.D114 < shown.MED14).all()
    assert (shown.MED14 < shown.D914).all()
    assert ((shown.D914 / shown.D114 - shown.RD14).abs() < 0.0501).all()
    total = shown.PACT14 + shown.PPEN14 + shown.PPAT14 + shown.PPSOC14 + shown.PIMPOT14
    assert (total.round(6) == 100).all()
    assert ((shown.PTSA14 + shown.PCHO14 + shown.PBEN14).round(1) == shown.PACT14).all()
    assert ((shown.PPFAM14 + shown.PPMINI14 + shown.PPLOGT14).round(1) == shown.PPSOC14).all()


def test_deaths_are_about_nine_a_year_and_thousand_inhabitants(tables):
    persons = pc.sum(tables[FILOSOFI]["NBPERSMENFISC14"]).as_py()
    for year in range(10, 20):
        deaths = tables[DECES][f"DECESD{year}"]
        assert deaths.null_count == 0
        assert pc.min(deaths).as_py() == 0
        assert 0.008 < pc.sum(deaths).as_py() / persons < 0.011


def test_a_prefecture_is_the_largest_commune_of_its_department(tables):
    communes = tables[COMMUNES].append_column(
        "persons", column(tables[FILOSOFI], "NBPERSMENFISC14")
    )
    largest = communes.sort_by([("persons", "descending")]).group_by("dep", use_threads=False)
    first = largest.aggregate([("com", "first")]).sort_by("dep")
    seats = tables[DEPARTEMENTS].sort_by("dep")
    assert first["com_first"].to_pylist() == seats["cheflieu"].to_pylist()


def test_names_repeat_between_departments_and_never_within_one(tables):
    communes = tables[COMMUNES]
    assert pc.count_distinct(communes["libelle"]).as_py() < ROWS[COMMUNES]
    pairs = communes.group_by(["dep", "libelle"]).aggregate([([], "count_all")])
    assert pairs.num_rows == ROWS[COMMUNES]


def test_everything_says_that_it_is_made_up_and_where_the_real_data_are(contents):
    assert MADE_UP["made-up"] == "yes"
    assert all((key + value).isascii() for key, value in MADE_UP.items())
    for key in READMES:
        text = contents[key].decode()
        assert "**Every number" in text
        assert "made up" in text
        assert "statistics pages of Insee" in " ".join(text.split())
    for key, columns in COLUMNS.items():
        folder, name = key.rsplit("/", 1)
        assert key in contents["README.md"].decode() or folder in contents["README.md"].decode()
        described = contents["diffusion/README.md"].decode()
        assert name in described
        first = columns.split(";" if ";" in columns else ",")[0]
        assert f"`{first}`" in described


def test_the_bytes_are_the_same_in_another_process_and_as_recorded(objects):
    assert digest(objects) == SHA256
    code = """if True:
        import hashlib
        from datalab.samples.insee import samples
        total = hashlib.sha256()
        for sample in samples():
            total.update(sample.key.encode() + b"\\0" + sample.content + b"\\0")
        print(total.hexdigest())
    """
    run = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        cwd=Path(datalab.samples.__file__).parents[2],
        env=os.environ | {"PYTHONHASHSEED": "7"},  # the order of a set must not show
    )
    assert run.stdout.strip() == SHA256
