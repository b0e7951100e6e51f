"""The data sets of the bucket ``donnees-insee``, made up in memory.

Keys, columns, separators, sizes and quirks are those of the files that Insee publishes
and the SSP Cloud offers; the numbers are not. What is real: the codes, names, regions
and prefectures of the departments (Insee, Code officiel géographique 2019), and the
commune 01004 Ambérieu-en-Bugey. Every other commune has an invented name and code (some
names happen to exist), and every number is drawn from a fixed seed.

The same bytes come out on every machine. So nothing is used but integers, uniform draws,
``+ - * /`` and the square root, element by element: IEEE 754 rounds these in one way
only, while a library may change its logarithm or its normal distribution. Sums are sums
of integers, and numbers are rounded before they are written.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from datalab.samples import Sample
from datalab.samples.columns import (
    Ints,
    coded_column,
    tenths_column,
    text_column,
    whole_column,
)
from datalab.samples.departments import REGIONS, Department, list_departments

BPE_ROWS: Final = 1_035_564
"""Rows of the facilities file, as in the one that Insee published for 2019."""

SEED: Final = 2019


def samples() -> Iterator[Sample]:
    """Make the objects of ``donnees-insee`` one by one, in the order of upload."""
    yield Sample("README.md", README.encode(), "text/markdown")
    yield Sample("diffusion/README.md", README_DIFFUSION.encode(), "text/markdown")
    communes = _communes()
    geography = "diffusion/GEOGRAPHIE/2019/"
    yield _csv(geography + "region2019.csv", _region2019(), ",")
    yield _csv(geography + "departement2019.csv", _departement2019(), ",")
    yield _csv(geography + "communes2019.csv", _communes2019(communes), ",")
    yield _csv("diffusion/FILOSOFI/2014/FILOSOFI_COM.csv", _filosofi(communes))
    yield _csv("diffusion/ETAT_CIVIL/2020/DECES_COM_1019.csv", _deces(communes))
    bpe = _csv("diffusion/BPE/2019/BPE_ENS.csv", _bpe(communes))
    yield bpe
    # The same object outside diffusion/, where older notebooks look for it.
    yield Sample("BPE/2019/BPE_ENS.csv", bpe.content, bpe.content_type)


def _csv(key: str, table: pa.Table, separator: str = ";") -> Sample:
    """Write a table as Insee does: a header, no quotes, LF, nothing where hidden.

    Raises ArrowInvalid if a value holds the separator or a quote.
    """
    options = csv.WriteOptions(
        delimiter=separator, quoting_style="none", quoting_header="none", eol="\n"
    )
    buffer = io.BytesIO()
    csv.write_csv(table, buffer, options)
    return Sample(key, buffer.getvalue(), "text/csv")


def _draws(stream: int) -> np.random.Generator:
    """Draw for one data set only: a change in one leaves the others as they are."""
    return np.random.Generator(np.random.PCG64([SEED, stream]))


# --- Places ---------------------------------------------------------------------------

FAMILIAR: Final = {"01004": "Ambérieu-en-Bugey"}
"""Communes that courses show by their code. They are made middle-sized."""


@dataclass(frozen=True)
class Communes:
    """Every commune, ordered by code; one element each in all four."""

    codes: list[str]
    names: list[str]
    departments: Ints
    """Position in `list_departments()`."""
    population: Ints


def _communes() -> Communes:
    """Make up the communes of every department, as many as it had in 2019."""
    draws = _draws(1)
    pool = _names()
    deck = np.argsort(draws.random(len(pool)), kind="stable")
    dealt = 0
    codes: list[str] = []
    names: list[str] = []
    departments: list[Ints] = []
    population: list[Ints] = []
    for position, department in enumerate(list_departments()):
        count = department.communes
        # Insee numbered the communes of a department in the order of the alphabet; the
        # numbers of those that merged since are gaps. Overseas, two digits are left.
        digits = 5 - len(department.code)
        known = {department.prefecture: department.prefecture_name}
        known |= {c: n for c, n in FAMILIAR.items() if c.startswith(department.code)}
        known_numbers = np.array([int(code[-digits:]) for code in known])
        highest = max(count + count // 14 + 1, int(known_numbers.max()) + 3)
        order = draws.random(highest)
        order[known_numbers - 1] = -1.0  # drawn first
        numbers = np.sort(np.argsort(order, kind="stable")[:count]) + 1
        # Dealing on and on gives no name twice in a department, and, once the deck is
        # through, some names to two departments, as in reality.
        hand = np.sort(deck[np.arange(dealt, dealt + count) % len(deck)])
        dealt += count
        these = [f"{department.code}{number:0{digits}d}" for number in numbers]
        codes += these
        names += [known.get(c, pool[n]) for c, n in zip(these, hand, strict=True)]
        departments.append(np.full(count, position, dtype=np.int64))
        is_prefecture = np.array([code == department.prefecture for code in these])
        is_familiar = np.array([code in FAMILIAR for code in these])
        population.append(_inhabitants(department, is_prefecture, is_familiar, draws))
    return Communes(codes, names, np.concatenate(departments), np.concatenate(population))


def _inhabitants(
    department: Department,
    is_prefecture: npt.NDArray[np.bool_],
    is_familiar: npt.NDArray[np.bool_],
    draws: np.random.Generator,
) -> Ints:
    """Share out a department's inhabitants: nearly by Zipf's law, 1/r to the r-th.

    The prefecture comes first, a familiar commune about fifth. The law is bent so that,
    as in France, about half of the communes have fewer than 500 inhabitants and one in
    ten has fewer than 100.
    """
    count = department.communes
    chance = draws.random(count)
    if is_familiar.any():
        chance[is_familiar] = np.sort(chance)[4]
    chance[is_prefecture] = -1.0
    rank = np.empty(count, dtype=np.int64)
    rank[np.argsort(chance, kind="stable")] = np.arange(count)
    # (1 / (r + 1) + 4 / n) * (1 - r / n), in whole numbers.
    weight = (10**8 // (rank + 1) + 4 * 10**8 // count) * (count - rank) // count
    weight = weight * np.where(is_prefecture, 10, draws.integers(6, 14, count))
    # The product stays below 2**63: 3e6 inhabitants times 5e9.
    inhabitants: Ints = department.inhabitants * weight // weight.sum()
    return np.maximum(inhabitants, 7)


SAINTS: Final = (
    "Aignan Amand Ambroise André Aubin Benoît Bonnet Brice Calais Célerin Christophe "
    "Clair Clément Cyr Denis Didier Éloi Étienne Eusèbe Félix Firmin Flour Gengoux "
    "Georges Germain Gervais Hilaire Hippolyte Honoré Jacques Jean Julien Just Lambert "
    "Laurent Léger Léonard Loup Maixent Marcel Martin Maurice Médard Michel Nazaire "
    "Nicolas Ouen Paul Pierre Quentin Rémy Romain Saturnin Sauveur Sernin Sulpice "
    "Symphorien Thibault Trivier Vaast Valérien Victor Vincent Vivien Yrieix"
)
SAINTES: Final = (
    "Agathe Anne Barbe Cécile Colombe Croix Eulalie Foy Geneviève Honorine Marie Maure "
    "Radegonde Sabine Soline Suzanne"
)
STEMS: Final = (
    "Ambr Arg Aub Avr Balz Barb Bel Bern Bouv Brév Cabr Camp Cazal Champ Chass Chav "
    "Clam Cond Corb Courc Daign Dann Dom Échall Écouv Esp Estr Fav Ferr Flav Fontan "
    "Fran Garg Gourd Grand Hautev Hérouv Isl Jarz Juv Landr Lav Lign Lub Lux Magn Marc "
    "Mars Mérign Montr Moul Nant Nég Orv Pal Périgny Pomm Pouill Prad Quér Rav Roch "
    "Rouv Sal Sauv Sér Sorn Tarc Thor Tréb Vald Varenn Vaux Vern Vill Viv Yv"
)
ENDINGS: Final = (
    "ac ailles aincourt anges ans argues as aux avel ay azac éac écourt elles émont "
    "enans enheim erac eray ères erolles euil eux ezac iac iers ières ieu igny illac "
    "illé ins oire oisy olles on onne onville ory ossey ouze oy uc ueil uis ussan uy"
)
WHERE: Final = (
    "-aux-Bois -d'Arvel -d'Aubrenne -d'Entraigues -d'Olonde -de-Bresque -de-la-Lande "
    "-de-Livarde -des-Bois -des-Champs -des-Prés -devant-Brasse -du-Bois -du-Marais "
    "-du-Mont -du-Val -en-Auvrais -en-Bessac -en-Chaussée -en-Gâtelle -en-Othois "
    "-en-Plaine -en-Royan -en-Vallonge -l'Abbaye -l'Église -la-Chapelle -la-Forêt "
    "-la-Grande -la-Petite -la-Rivière -la-Ville -le-Château -le-Grand -le-Haut "
    "-le-Petit -le-Vieux -les-Bains -les-Étangs -les-Mines -les-Vignes -lès-Corbeil "
    "-lès-Fontaines -près-Maulne -sous-Bois -sous-Roche -sur-Arnelle -sur-Aubrette "
    "-sur-Bièze -sur-Brenelle -sur-Cèdre -sur-Dournette -sur-Drée -sur-Ellette "
    "-sur-Gardonne -sur-l'Hers -sur-l'Isole -sur-Layette -sur-Loizon -sur-Marlenne "
    "-sur-Mauve -sur-Mer -sur-Orvelle -sur-Ouchette -sur-Rance -sur-Sarve -sur-Semelle "
    "-sur-Thouette -sur-Valoise -sur-Vézonne"
)
BEFORE: Final = (
    "La Chapelle-|Le Mesnil-|Le Plessis-|Les Essarts-|L'Hôpital-|L'Isle-|La Ferté-|"
    "Beaumont-|Bois-|Château-|Fontaine-|Mont-|Neuville-|Pont-|Roche-|Villers-"
)


def _names() -> list[str]:
    """Make about 33,000 names that sound French, in the order of Insee's alphabet."""
    saints = [f"Saint-{name}" for name in SAINTS.split()]
    saints += [f"Sainte-{name}" for name in SAINTES.split()]
    plain = [stem + ending for stem in STEMS.split() for ending in ENDINGS.split()]
    where = WHERE.split()
    before = BEFORE.split("|")
    names = {*saints, *plain}
    names |= {saint + place for saint in saints for place in where}
    # Of all the combinations of a plain name, a few: each with places of its own.
    names |= {
        name + where[(7 * i + 11 * k) % len(where)]
        for i, name in enumerate(plain)
        for k in range(6)
    }
    names |= {
        before[(i + 5 * k) % len(before)] + name
        for i, name in enumerate(plain)
        for k in range(2)
        if i % 3 == 0
    }
    names -= {department.prefecture_name for department in list_departments()}
    names -= set(FAMILIAR.values())
    return sorted(names, key=_alphabetical)


# Accents do not count in the alphabet. A translation table, as it is quick.
PLAIN_LETTERS: Final = str.maketrans("ÉÎâèéëîïôö", "EIaeeeiioo")


def _alphabetical(name: str) -> tuple[str, str]:
    """Drop accents and leading article, as Insee does to sort communes."""
    if name.startswith("L"):
        for article in ("La ", "Le ", "Les ", "L'"):
            name = name.removeprefix(article)
    return name.translate(PLAIN_LETTERS), name


def _region2019() -> pa.Table:
    """List the regions: reg, cheflieu (commune of the prefecture), libelle. 18 rows."""
    lines = [line.split(" ", 2) for line in REGIONS.strip().splitlines()]
    columns = zip(("reg", "cheflieu", "libelle"), zip(*lines, strict=True), strict=True)
    return pa.table({name: text_column(values) for name, values in columns})


def _departement2019() -> pa.Table:
    """List the departments: dep, reg, cheflieu (as above), libelle. 101 rows."""
    departments = list_departments()
    return pa.table(
        {
            "dep": text_column(d.code for d in departments),
            "reg": text_column(d.region for d in departments),
            "cheflieu": text_column(d.prefecture for d in departments),
            "libelle": text_column(d.name for d in departments),
        }
    )


def _communes2019(communes: Communes) -> pa.Table:
    """List the communes: com, reg, dep, libelle."""
    return pa.table(
        {
            "com": text_column(communes.codes),
            "reg": coded_column(communes.departments, [d.region for d in list_departments()]),
            "dep": coded_column(communes.departments, [d.code for d in list_departments()]),
            "libelle": text_column(communes.names),
        }
    )


# --- Incomes: FILOSOFI_COM.csv --------------------------------------------------------

SHOWN_FROM: Final = {"median": 50, "distribution": 1000, "details": 2000}
"""Households from which a commune's values are published; below, they are empty.

The rule of Insee's statistical secrecy, with rounded thresholds."""

AGES: Final = (1.6, 1.3, 1.2, 1.0, 0.75, 0.65)
"""Poverty rate by age of the reference person (under 30 to 75 and over) to the overall."""


def _filosofi(communes: Communes) -> pa.Table:
    """Describe the disposable income of the communes in 2014.

    ========================  =======================================================
    CODGEO, LIBGEO            code and name of the commune
    NBMENFISC14               fiscal households
    NBPERSMENFISC14           persons in them; halves: children who live in two homes
    MED14                     median income, euros a year and consumption unit
    PIMP14                    households that pay income tax, %
    TP6014                    poverty rate at 60 % of the national median, %
    TP60AGE114 ... 614        the same by age of the reference person
    TP60TOL114, TP60TOL214    the same for owners, for tenants
    PACT14                    income from activity, % of disposable income; the sum of
                              PTSA14 (wages), PCHO14 (unemployment benefits) and
                              PBEN14 (the self-employed)
    PPEN14, PPAT14            pensions, wealth, %
    PPSOC14                   social benefits, %; the sum of PPFAM14 (family), PPMINI14
                              (minimum income) and PPLOGT14 (housing)
    PIMPOT14                  taxes, %, negative; PACT + PPEN + PPAT + PPSOC + PIMPOT
                              is 100
    D114, D914, RD14          first and ninth decile, euros, and D914 / D114
    ========================  =======================================================

    Source of the columns: Insee, Revenus et pauvreté des ménages en 2014 (Filosofi).
    """
    draws = _draws(2)
    count = len(communes.codes)
    persons_in_100 = draws.integers(215, 250, count)
    households = np.maximum(communes.population * 100 // persons_in_100, 1)
    half_persons = communes.population * 2 * 97 // 100 - draws.integers(0, 3, count)

    of_department = draws.integers(-1300, 1300, len(list_departments()))
    bell = draws.random((4, count))
    tail = draws.random(count)
    tail = tail * tail * tail * tail
    tail = tail * tail * tail
    median = 20_700.0 + (bell[0] + bell[1] + bell[2] + bell[3] - 2.0) * 3_800.0
    median += of_department[communes.departments] + tail * 18_000.0
    median = np.clip(median, 15_000.0 + bell[0] * 400.0, 45_000.0)

    taxed = 57.0 + (median - 20_700.0) / 260.0 + (bell[1] - 0.5) * 6.0
    poor = 14.0 - (median - 20_700.0) / 420.0 + (bell[2] - 0.5) * 7.0
    poor = np.clip(poor, 4.0 + bell[3] * 2.0, 42.0)
    # In tenths of a euro as they are written, so that their ratio is the one written.
    first_decile = np.rint(median * (0.48 + 0.14 * draws.random(count)) * 10.0)
    ninth_decile = np.rint(median * (1.55 + 0.5 * draws.random(count)) * 10.0)

    # In tenths of a per cent, whole numbers: the parts add up to 100.0 exactly.
    unemployment = draws.integers(18, 42, count)
    self_employed = draws.integers(25, 85, count)
    pensions = draws.integers(190, 340, count)
    wealth = draws.integers(55, 145, count)
    family = draws.integers(12, 38, count)
    minimum = draws.integers(4, 30, count)
    housing = draws.integers(3, 28, count)
    taxes = -draws.integers(110, 215, count)
    social = family + minimum + housing
    activity = 1000 - pensions - wealth - social - taxes

    everywhere = np.full(count, True)
    median_shown = households >= SHOWN_FROM["median"]
    shown = households >= SHOWN_FROM["distribution"]
    details = households >= SHOWN_FROM["details"]
    columns = {
        "CODGEO": text_column(communes.codes),
        "LIBGEO": text_column(communes.names),
        "NBMENFISC14": whole_column(households),
        "NBPERSMENFISC14": tenths_column(half_persons * 5, everywhere),
        "MED14": tenths_column(median * 10.0, median_shown),
        "PIMP14": tenths_column(np.clip(taxed, 22.0, 88.0) * 10.0, shown),
        "TP6014": tenths_column(poor * 10.0, shown),
    }
    for age, ratio in enumerate(AGES, start=1):
        rate = poor * ratio * (0.88 + 0.24 * draws.random(count))
        columns[f"TP60AGE{age}14"] = tenths_column(rate * 10.0, details)
    columns |= {
        "TP60TOL114": tenths_column(poor * (3.5 + 1.5 * bell[0]), details),
        "TP60TOL214": tenths_column(poor * (15.0 + 4.0 * bell[1]), details),
        "PACT14": tenths_column(activity, shown),
        "PTSA14": tenths_column(activity - unemployment - self_employed, shown),
        "PCHO14": tenths_column(unemployment, shown),
        "PBEN14": tenths_column(self_employed, shown),
        "PPEN14": tenths_column(pensions, shown),
        "PPAT14": tenths_column(wealth, shown),
        "PPSOC14": tenths_column(social, shown),
        "PPFAM14": tenths_column(family, shown),
        "PPMINI14": tenths_column(minimum, shown),
        "PPLOGT14": tenths_column(housing, shown),
        "PIMPOT14": tenths_column(taxes, shown),
        "D114": tenths_column(first_decile, shown),
        "D914": tenths_column(ninth_decile, shown),
        "RD14": tenths_column(ninth_decile / first_decile * 10.0, shown),
    }
    return pa.table(columns)


# --- Deaths: DECES_COM_1019.csv -------------------------------------------------------


def _deces(communes: Communes) -> pa.Table:
    """Count deaths: CODGEO, LIBGEO, REG, DEP, then DECESD10 ... DECESD19, one a year.

    By commune of residence. About 9 a year and 1,000 inhabitants, slightly more each
    year.
    Source of the columns: Insee, État civil, décès domiciliés par commune.
    """
    draws = _draws(3)
    count = len(communes.codes)
    yearly = communes.population * (0.007 + 0.004 * draws.random(count))
    columns = {
        "CODGEO": text_column(communes.codes),
        "LIBGEO": text_column(communes.names),
        "REG": coded_column(communes.departments, [d.region for d in list_departments()]),
        "DEP": coded_column(communes.departments, [d.code for d in list_departments()]),
    }
    for year in range(10, 20):
        # Three uniforms of variance 1/12 each, doubled: the variance of a count.
        bell = (draws.random((3, count)) - 0.5) * 2.0
        mean = yearly * (1.0 + 0.01 * (year - 14))
        deaths = mean + np.sqrt(mean) * (bell[0] + bell[1] + bell[2])
        deaths += draws.random(count)  # rounds up or down by chance
        columns[f"DECESD{year}"] = whole_column(np.maximum(np.floor(deaths), 0.0).astype(np.int32))
    return pa.table(columns)


# --- Facilities: BPE_ENS.csv ----------------------------------------------------------

FACILITIES: Final = {
    2.5: "A401 A402 A403 A404 A405 A501 A504 D232 E101 F111",
    1.2: "A301 A406 A505 A507 B302 C104 D201 D233 F103 F113 D243",
    0.7: "A203 B203 C101 D221 D301 F102 F121 A207 B312 D235 G102",
    0.4: (
        "A304 A503 A506 B102 B201 B202 B204 B301 B303 B313 B316 D237 F112 F114 F116 F120 F307 G103"
    ),
    0.2: (
        "A205 A206 A208 A302 A303 A502 B103 B306 B307 B308 B309 B310 B311 B315 C201 "
        "C609 D231 D302 D303 D401 D403 D405 D502 F101 F106 F107 F109 F117 F203 G101"
    ),
    0.08: (
        "A104 A122 A128 B101 B205 B206 B304 B305 B314 C102 C105 C301 C302 C401 C501 "
        "C602 D106 D108 D109 D113 D202 D203 D204 D205 D207 D208 D210 D212 D236 D238 "
        "D240 D242 D402 D404 D601 D602 D603 D604 D605 D606 D702 D709 E109 F110 F118 "
        "F201 F303 F305 G104"
    ),
    0.02: (
        "A101 A106 A107 A108 A109 A115 A119 A120 A121 A123 A124 A125 A126 A127 C303 "
        "C304 C305 C402 C403 C409 C502 C503 C504 C505 C509 C601 C603 C604 C605 C701 "
        "C702 D101 D102 D103 D104 D107 D110 D111 D112 D206 D209 D211 D213 D239 D241 "
        "D701 D703 D704 E108 F104 F105 F108 F119 F202 F302 F304 F306"
    ),
    0.004: "A105 D105 D304 D305 E102 E107",
}
"""Facilities per 1,000 inhabitants (made up): codes of the nomenclature of the BPE.

The rate is that of the first code of a line, the last has two thirds of it.

The letter is the domain: A services, B shops, C education, D health and social action,
E transport, F sports, leisure and culture, G tourism."""

IRIS_FROM: Final = 10_000
"""Inhabitants from which a commune is cut into IRIS, the neighbourhoods of statistics."""

IRIS_INHABITANTS: Final = 2_000


def _bpe(communes: Communes) -> pa.Table:
    """Count facilities by place and type. BPE_ROWS rows, only counts above zero.

    ========  =========================================================================
    REG, DEP  codes of the region and department, text with leading zeros
    DEPCOM    code of the commune
    DCIRIS    DEPCOM and its IRIS (010530101), or DEPCOM and _0000 if it has none
    AN        2019
    TYPEQU    type of facility, see FACILITIES
    NB_EQUIP  number of facilities, 1 or more
    ========  =========================================================================

    Ordered by REG, DEP, DEPCOM, DCIRIS, TYPEQU: a reader that guesses types from the
    first rows takes DEP for a number, and meets 2A in the last ones.
    Source of the columns: Insee, Base permanente des équipements 2019.
    """
    draws = _draws(4)
    departments = list_departments()
    regions = [line.split(" ", 1)[0] for line in REGIONS.strip().splitlines()]
    region_of = np.array([regions.index(d.region) for d in departments])
    by_region = np.argsort(region_of[communes.departments], kind="stable")

    population = communes.population[by_region]
    pieces = np.where(population >= IRIS_FROM, population // IRIS_INHABITANTS, 1)
    commune = np.repeat(by_region, pieces)  # of each zone, a commune or an IRIS
    # Neighbourhoods alike but for a factor of up to two either way.
    factor = np.where(pieces > 1, 1.0, 0.0)
    spread = 1.0 + np.repeat(factor, pieces) * (draws.random(len(commune)) * 1.5 - 0.75)
    inhabitants = np.repeat(population / pieces, pieces) * spread
    zones = []
    for position, count in zip(by_region, pieces, strict=True):
        code = communes.codes[position]
        if count == 1:
            zones.append(code + "_0000")
        else:
            # A dozen IRIS make a quarter, the first two of the four digits.
            zones += [f"{code}{i // 12 + 1:02d}{i % 12 + 1:02d}" for i in range(count)]

    rates = {
        kind: rate * 2.0 / (2.0 + place / len(kinds.split()))
        for rate, kinds in FACILITIES.items()
        for place, kind in enumerate(kinds.split())
    }
    types = sorted(rates)
    rate = np.array([rates[t] for t in types]) / 1000.0
    # Single precision halves the time and memory of these ten million cells.
    expected = np.multiply.outer(inhabitants.astype(np.float32), rate.astype(np.float32))
    # A place with m expected facilities of a type has one with probability m / (m + c)
    # just when m * u / (1 - u) > c, u uniform: the BPE_ROWS greatest make the file.
    chance = draws.random(expected.shape, dtype=np.float32)
    chance /= np.float32(1.0) - chance
    chance *= expected
    cut = np.partition(chance.ravel(), -BPE_ROWS)[-BPE_ROWS]
    kept = chance > cut
    equal = np.flatnonzero(chance == cut)
    kept.ravel()[equal[: BPE_ROWS - np.count_nonzero(kept)]] = True

    zone, kind = np.nonzero(kept)
    more = expected[kept] * draws.random(BPE_ROWS, dtype=np.float32) * np.float32(1.5)
    row_commune = commune[zone]
    department = communes.departments[row_commune]
    return pa.table(
        {
            "REG": coded_column(region_of[department], regions),
            "DEP": coded_column(department, [d.code for d in departments]),
            "DEPCOM": coded_column(row_commune, communes.codes),
            "DCIRIS": coded_column(zone, zones),
            "AN": coded_column(np.zeros(BPE_ROWS, np.int32), ["2019"]),
            "TYPEQU": coded_column(kind, types),
            "NB_EQUIP": whole_column(1 + np.floor(more).astype(np.int32)),
        }
    )


# --- What the bucket says of itself ---------------------------------------------------

README: Final = """\
# donnees-insee: made-up data for a course

**Every number in this bucket is made up.** A program of the course "Data in the Cloud"
(`datalab/samples.py`) draws them from a fixed seed, so that the course runs on one
machine without the real files. They are not statistics: say nothing about France, a
place or its people from them.

What is real: the keys, the columns, the separators and the codes and names of the
regions, departments and their prefectures (2019). What is invented: every number, and
the name and code of nearly every other commune, even where such a name exists.

Each object says so itself in its metadata: `made-up: yes`.

| key | what | separator |
|---|---|---|
| `diffusion/FILOSOFI/2014/FILOSOFI_COM.csv` | incomes, one row a commune | `;` |
| `diffusion/BPE/2019/BPE_ENS.csv` | facilities by place and type | `;` |
| `BPE/2019/BPE_ENS.csv` | the same object at its older key | `;` |
| `diffusion/ETAT_CIVIL/2020/DECES_COM_1019.csv` | deaths a year, 2010-2019 | `;` |
| `diffusion/GEOGRAPHIE/2019/` | communes, departments, regions | `,` |

On the SSP Cloud, the bucket of this name holds the real files. They come from the
statistics pages of Insee, the French national institute of statistics;
`diffusion/README.md` describes the columns and says what to look for there.
"""

README_DIFFUSION: Final = """\
# diffusion: made-up data for a course

**Every number here is made up** by a program of the course "Data in the Cloud". The
columns are those of the real files. UTF-8, decimal point; codes are text: `01004` keeps
its zero, and Corsica has `2A004`. The commune code joins them all: `CODGEO`, `DEPCOM`
and `com` are the same code.

## FILOSOFI/2014/FILOSOFI_COM.csv
`CODGEO`, `LIBGEO`: the commune. `NBMENFISC14`, `NBPERSMENFISC14`: households, and persons
in them (halves are children who live in two homes). `MED14`: median disposable income,
euros a year and consumption unit. `PIMP14`: households that pay income tax, %. `TP6014`:
poverty rate, %, then by age (`TP60AGE114` to `TP60AGE614`), for owners (`TP60TOL114`) and
tenants (`TP60TOL214`). Parts of disposable income, %: `PACT14` activity = `PTSA14` wages
+ `PCHO14` unemployment benefits + `PBEN14` self-employed; `PPEN14` pensions; `PPAT14`
wealth; `PPSOC14` social benefits = `PPFAM14` family + `PPMINI14` minimum income +
`PPLOGT14` housing; `PIMPOT14` taxes, negative. `D114`, `D914`: first and ninth decile,
euros; `RD14` = `D914` / `D114`.

Empty values are hidden, not zero: statistical secrecy forbids publishing them for small
communes.

## BPE/2019/BPE_ENS.csv
`REG`, `DEP`, `DEPCOM`: region, department, commune. `DCIRIS`: the commune and its IRIS
(neighbourhood), or the commune and `_0000` where it has none. `AN`: year. `TYPEQU`: type
of facility (`A203` bank, `B203` bakery, `D201` general practitioner, `F121` sports hall).
`NB_EQUIP`: how many; a type that is absent has no row.

## ETAT_CIVIL/2020/DECES_COM_1019.csv
`CODGEO`, `LIBGEO`, `REG`, `DEP`, and `DECESD10` to `DECESD19`: deaths in a year of people
who lived in the commune.

## GEOGRAPHIE/2019/
`communes2019.csv` (`com`, `reg`, `dep`, `libelle`), `departement2019.csv` (`dep`, `reg`,
`cheflieu`, `libelle`) and `region2019.csv` (`reg`, `cheflieu`, `libelle`); `cheflieu` is
the commune code of the prefecture.

## Where the real data are
In the statistics pages of Insee, the French national institute of statistics: look there
for Filosofi (revenus et pauvreté des ménages), Base permanente des équipements (BPE),
État civil (décès) and Code officiel géographique (COG).
"""
