"""The tables of the bucket ``earth-science``, made up in memory.

Two files with the columns, sizes and quirks of real ones: a station-year of NOAA's
Integrated Surface Database, and a Merged Master File as GLODAP publishes it, with fewer
rows. What is real: column names, codes, units, the place of the station, and roughly
where research ships go. Every measurement is drawn from a fixed seed.

As in :mod:`datalab.samples.insee`, the same values come out on every machine: nothing is used
but integers, uniform draws, ``+ - * /`` and the square root, and numbers are rounded
before they are written. Numbers are written as positions in a list of texts, which is
four times as fast as formatting each of them.
"""

import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import pyarrow as pa
from pyarrow import csv

from datalab.samples import Sample
from datalab.samples.columns import Floats, Ints, coded_column, text_column

Bools = npt.NDArray[np.bool_]

ISD_KEY: Final = "noaa-isd/2023/07149099999.csv"
GLODAP_KEY: Final = "glodap/GLODAPv2.2023_Merged_Master_File.csv.zip"
GLODAP_ROWS: Final = 200_000
"""The real file has 1,402,829."""

SEED: Final = 2023


def samples_earth() -> Iterator[Sample]:
    """Make the objects of ``earth-science`` one by one, in the order of upload."""
    yield Sample("README.md", README.encode(), "text/markdown")
    yield Sample("public/README.md", README_PUBLIC.encode(), "text/markdown")
    yield Sample(ISD_KEY, _isd(), "text/csv")
    yield Sample(GLODAP_KEY, _zipped(_glodap()), "application/zip")


def _draws(stream: int) -> np.random.Generator:
    """Draw for one data set only: a change in one leaves the other as it is."""
    return np.random.Generator(np.random.PCG64([SEED, stream]))


def _bell(draws: np.random.Generator, count: int) -> Floats:
    """Draw from a distribution that looks normal: mean 0, standard deviation 1."""
    four = draws.random((4, count))  # of variance 1/12 each
    bell: Floats = (four[0] + four[1] + four[2] + four[3] - 2.0) * np.sqrt(3.0)
    return bell


def _written(
    table: pa.Table, quoting_style: str, quoting_header: str, include_header: bool = True
) -> bytes:
    buffer = io.BytesIO()
    options = csv.WriteOptions(
        quoting_style=quoting_style,
        quoting_header=quoting_header,
        eol="\n",
        include_header=include_header,
    )
    csv.write_csv(table, buffer, options)
    return buffer.getvalue()


# --- One station and year of the Integrated Surface Database --------------------------

GAP: Final = (6_630, 6_870)
"""Hours of the year in which the station is silent: ten days in October."""


def _isd() -> bytes:
    """Report the weather of one station in 2023, about 26,000 rows and 27 columns.

    Two series in one file, as in reality: hourly SYNOP reports (``FM-12``; tenths of a
    degree, pressure at sea level) and METAR reports of the airport every half hour
    (``FM-15``; whole degrees, no pressure at sea level). So each full hour has two rows.

    ==========  =======================================================================
    TMP, DEW    air and dew point temperature, degrees C x 10 and a sign, quality code;
                missing ``+9999,9``
    SLP         pressure at sea level, hPa x 10, quality code; missing ``99999,9``
    WND         direction (degrees), code, type, speed (m/s x 10), code
    CIG, VIS    ceiling (m), code, two more; visibility (m), code, two more
    AA1         hours, rain (mm x 10), condition, code; empty where nothing was measured
    others      further sections; those that the course does not use are mostly empty
    ==========  =======================================================================

    Quality codes: 1 passed all checks, 5 passed (another source), 2 suspect, 3 erroneous,
    9 missing.

    Source of the format: NOAA, Federal Climate Complex Data Documentation for Integrated
    Surface Data.
    """
    draws = _draws(1)
    half_hours = np.arange(2 * 365 * 24)
    metar = np.concatenate([half_hours, half_hours[::2]])
    kind = (np.arange(len(metar)) < len(half_hours)).astype(np.int64)
    order = np.argsort(metar * 2 + kind, kind="stable")  # SYNOP first in each full hour
    moment, kind = metar[order], kind[order]
    heard = (moment < 2 * GAP[0]) | (moment >= 2 * GAP[1])
    moment, kind = moment[heard], kind[heard]
    is_metar = kind == 1
    count = len(moment)

    truth = _temperature(draws)[moment]  # tenths of a degree
    air = np.where(is_metar, np.rint(truth / 10.0) * 10.0, truth).astype(np.int64)
    dew = air - 20 - np.rint(60.0 * draws.random(count)).astype(np.int64)
    pressure = np.rint(10_150.0 + _slow(draws, 24 * 8, 90.0)[moment]).astype(np.int64)
    speed = np.rint(40.0 * draws.random(count) + 25.0 * draws.random(count)).astype(np.int64)

    chance = draws.random(count)
    good = np.where(is_metar, "5", "1")
    code = good.copy()
    code[chance < 0.004] = "2"
    wrong = chance < 0.0015  # a stuck or broken sensor
    code[wrong] = "3"
    air[wrong] += 450
    silent = chance > 0.985
    code[silent] = "9"
    no_pressure = is_metar | (draws.random(count) < 0.01)
    wet = draws.random(count) < 0.08
    direction = draws.integers(1, 37, count) * 10

    days = np.arange("2023-01-01", "2024-01-01", dtype="datetime64[D]").astype(str)
    dates = [f"{d}T{h:02}:{m}:00" for d in days for h in range(24) for m in ("00", "30")]
    constants = {
        "STATION": "07149099999",
        "SOURCE": "4",
        "LATITUDE": "48.725278",
        "LONGITUDE": "2.359444",
        "ELEVATION": "88.7",
        "NAME": "ORLY, FR",
        "CALL_SIGN": "99999",
        "QUALITY_CONTROL": "V020",
    }
    columns: dict[str, Any] = {
        name: coded_column(np.zeros(count, np.int64), [value]) for name, value in constants.items()
    }
    columns |= {
        "DATE": coded_column(moment, dates),
        "REPORT_TYPE": coded_column(kind, ["FM-12", "FM-15"]),
        "WND": _packed(
            [f"{d:03},1,N,{s:04},1" for d in range(0, 361, 10) for s in range(66)],
            direction // 10 * 66 + speed,
        ),
        "CIG": coded_column(kind, ["99999,9,9,N", "22000,1,9,N"]),
        "VIS": coded_column(
            draws.integers(0, 3, count), ["010000,1,9,9", "008000,1,9,9", "999999,9,9,9"]
        ),
        "TMP": _signed(air, code, silent),
        "DEW": _signed(dew, good, silent),
        "SLP": _packed(
            [*(f"{p},1" for p in range(9_000, 11_000)), "99999,9"],
            np.where(no_pressure, 2_000, pressure - 9_000),
        ),
        "AA1": _packed(
            ["", "01,0000,9,1", *(f"01,{mm:04},9,1" for mm in range(2, 60, 2))],
            np.where(is_metar, 0, np.where(wet, 2 + draws.integers(0, 29, count), 1)),
        ),
        "MA1": _packed(
            ["", *(f"{p},1,99999,9" for p in range(9_000, 11_000))],
            np.where(is_metar, pressure // 10 * 10 - 8_999, 0),
        ),
        "REM": coded_column(
            is_metar, ["SYN07149 made up, for a course", "MET LFPO made up, for a course"]
        ),
    }
    for name in ("AY1", "GA1", "GF1", "KA1", "MD1", "MW1", "OC1", "EQD"):
        columns[name] = coded_column(np.zeros(count, np.int64), [""])
    table = pa.table({name: columns[name] for name in ISD_COLUMNS.split()})
    return _written(table, "all_valid", "all_valid")


ISD_COLUMNS: Final = (
    "STATION DATE SOURCE LATITUDE LONGITUDE ELEVATION NAME REPORT_TYPE CALL_SIGN "
    "QUALITY_CONTROL WND CIG VIS TMP DEW SLP AA1 AY1 GA1 GF1 KA1 MA1 MD1 MW1 OC1 REM EQD"
)


def _temperature(draws: np.random.Generator) -> Ints:
    """Make up the air temperature of each half hour of a year, in tenths of a degree."""
    half_hours = np.arange(2 * 365 * 24)
    day, hour = half_hours / 48.0, half_hours % 48 / 2.0
    summer = _wave((day - 105.0) / 365.0)  # highest at the end of July
    afternoon = _wave((hour - 9.0) / 24.0)  # highest at 15 h
    weather = _slow(draws, 48 * 4, 35.0)
    tenths = 120.0 + 85.0 * summer + (25.0 + 15.0 * summer) * afternoon + weather
    tenths += 4.0 * _bell(draws, len(half_hours))
    return np.rint(tenths).astype(np.int64)


def _wave(turns: Floats) -> Floats:
    """Go from 0 up to 1, down to -1 and back in each turn: a sine made of parabolas."""
    part = (turns - np.floor(turns)) * 2.0
    return np.where(part < 1.0, 4.0 * part * (1.0 - part), -4.0 * (part - 1.0) * (2.0 - part))


def _slow(draws: np.random.Generator, steps: int, size: float) -> Floats:
    """Wander through the half hours of a year, with a new direction every `steps`."""
    count = 2 * 365 * 24
    knots = size * _bell(draws, count // steps + 2)
    place = np.arange(count) / steps
    left = np.floor(place).astype(np.int64)
    part = place - left
    part = part * part * (3.0 - 2.0 * part)
    return knots[left] * (1.0 - part) + knots[left + 1] * part


def _packed(texts: list[str], positions: npt.NDArray[np.integer[Any]]) -> pa.Array:
    return coded_column(positions, texts)


def _signed(tenths: Ints, code: npt.NDArray[np.str_], silent: Bools) -> pa.Array:
    """Pack a temperature as NOAA does: sign, four digits, comma, quality code."""
    codes = ["1", "2", "3", "5"]
    texts = [f"{t:+05},{c}" for t in range(-500, 1_000) for c in codes]
    of_code = np.searchsorted(codes, np.where(silent, "1", code))
    position = (np.clip(tenths, -500, 999) + 500) * len(codes) + of_code
    return coded_column(np.where(silent, len(texts), position), [*texts, "+9999,9"])


# --- GLODAP ---------------------------------------------------------------------------

GLODAP_HEADER: Final = """
G2expocode G2cruise G2station G2region G2cast G2year G2month G2day G2hour G2minute
G2latitude G2longitude G2bottomdepth G2maxsampdepth G2bottle G2pressure G2depth
G2temperature G2theta G2salinity G2salinityf G2salinityqc G2sigma0 G2sigma1 G2sigma2
G2sigma3 G2sigma4 G2gamma G2oxygen G2oxygenf G2oxygenqc G2aou G2aouf G2nitrate
G2nitratef G2nitrateqc G2nitrite G2nitritef G2silicate G2silicatef G2silicateqc
G2phosphate G2phosphatef G2phosphateqc G2tco2 G2tco2f G2tco2qc G2talk G2talkf G2talkqc
G2fco2 G2fco2f G2fco2temp G2phts25p0 G2phts25p0f G2phtsinsitutp G2phtsinsitutpf G2phtsqc
G2cfc11 G2pcfc11 G2cfc11f G2cfc11qc G2cfc12 G2pcfc12 G2cfc12f G2cfc12qc G2cfc113
G2pcfc113 G2cfc113f G2cfc113qc G2ccl4 G2pccl4 G2ccl4f G2ccl4qc G2sf6 G2psf6 G2sf6f
G2sf6qc G2c13 G2c13f G2c13qc G2c14 G2c14f G2c14err G2h3 G2h3f G2h3err G2he3 G2he3f
G2he3err G2he G2hef G2heerr G2neon G2neonf G2neonerr G2o18 G2o18f G2toc G2tocf G2doc
G2docf G2don G2donf G2tdn G2tdnf G2chla G2chlaf G2doi
"""
"""The columns of the real file, in its order."""

GLODAP_COLUMNS: Final = tuple(GLODAP_HEADER.split())

LINES: Final = """
1 -20 63 -25 40 -29 10 -25 -10 -33 -55
1 -52 43 -52 7
1 -66 40 -66 12
1 -78 25 -60 25 -40 25 -15 27
1 -48 -30 -20 -30 13 -30
1 0 -70 2 -50 8 -35
1 -1 -52 0 -20 -1 4
1 -50 47 -30 46 -8 49
1 -43 60 -30 59 -8 57
1 -10 40 -22 52 -38 60
1 -56 53 -48 60
1 -36 7 -10 7
4 -16 75 0 75 16 75
4 0 61 2 70 0 79
8 -152 -69 -151 -20 -152 20 -152 56
8 -103 -67 -103 -20 -110 10 -112 22
8 165 50 165 20 165 -8
8 179 -60 179 -20 179 20 179 52
8 -170 -65 -170 -10 -168 20 -168 52
8 154 -32 180 -32 210 -32 250 -32 288 -33
8 134 30 180 30 210 30 242 32
8 146 47 180 47 210 47 235 48
8 128 10 180 10 220 10 270 9
8 -88 -52 -88 -20 -86 4
8 137 33 137 4
16 32 -33 60 -33 90 -33 114 -33
16 50 -20 80 -20 112 -21
16 30 -35 30 -50 30 -67
16 57 -63 55 -30 54 0 62 18
16 95 -64 95 -30 92 -5 89 18
16 142 -45 141 -65
8 170 -67 210 -67 250 -68 286 -67
"""
"""Where ships go, roughly the lines of the repeat hydrography programmes: GLODAP's code
of the ocean (1 Atlantic, 4 Arctic, 8 Pacific, 16 Indian), then longitude and latitude of
the turning points, degrees; longitudes beyond 180 cross the date line."""

SPACING: Final = 0.7
"""Degrees between two stations."""

SHIPS: Final = "06AQ 09AR 18HU 29HE 31DS 316N 33RO 33RR 35MF 49NZ 58GS 64PE 74JC 77DN"


@dataclass(frozen=True)
class Stations:
    """Where and when water was sampled; one element each per station."""

    cruise: Ints  # counted from 0
    number: Ints  # in its cruise, counted from 1
    region: Ints
    hours: Ints  # since the start of the cruise
    latitude: Ints  # thousandths of a degree
    longitude: Ints  # the same, -180 to 180
    bottom: Ints  # m
    bottles: Ints


def _stations(draws: np.random.Generator) -> Stations:
    """Sail the lines again and again, until GLODAP_ROWS bottles are filled."""
    lines = [np.array(line.split(), dtype=float) for line in LINES.strip().splitlines()]
    parts: list[npt.NDArray[np.float64]] = []
    filled = cruise = 0
    while filled < GLODAP_ROWS:
        # 7 and 32 have no common divisor: each line once, far from the one before
        line = lines[cruise * 7 % len(lines)]
        corners = line[1:].reshape(-1, 2)
        step = np.diff(corners, axis=0)
        length = np.sqrt((step * step).sum(axis=1))
        along = np.concatenate([[0.0], np.cumsum(length)])
        count = int(along[-1] / SPACING)
        distance = (np.arange(count) + 0.5) / count * along[-1]
        middle = 2.0 * distance / along[-1] - 1.0
        basin = 1.0 - middle * middle * middle * middle * middle * middle
        bottom = np.rint(500.0 + basin * (2_600.0 + 2_400.0 * draws.random(count)))
        bottles = np.clip(np.rint(bottom / 190.0), 6.0, 30.0)
        wobble = 0.15 * (draws.random((2, count)) - 0.5)
        parts.append(
            np.stack(
                [
                    np.full(count, cruise),
                    np.arange(count) + 1,
                    np.full(count, line[0]),
                    np.cumsum(4.0 + np.floor(5.0 * draws.random(count))),
                    np.rint((np.interp(distance, along, corners[:, 1]) + wobble[0]) * 1000.0),
                    np.rint((np.interp(distance, along, corners[:, 0]) + wobble[1]) * 1000.0),
                    bottom,
                    bottles,
                ]
            )
        )
        filled += int(bottles.sum())
        cruise += 1
    columns = np.concatenate(parts, axis=1).astype(np.int64)
    columns[5] = (columns[5] + 180_000) % 360_000 - 180_000
    # The last cruise ends where the file is full.
    before = np.cumsum(columns[7]) - columns[7]
    columns = columns[:, before < GLODAP_ROWS]
    columns[7, -1] = GLODAP_ROWS - before[before < GLODAP_ROWS][-1]
    return Stations(*columns)


def _numbers(
    values: npt.NDArray[np.floating[Any]], decimals: int, missing: Bools | None = None
) -> pa.Array:
    """Make a column of rounded decimal numbers, -9999 where missing, as positions in a list."""
    scale = 10**decimals
    whole = np.rint(values * scale).astype(np.int64)
    low = int(whole.min())
    texts = pa.Array.from_buffers(
        pa.float64(),
        int(whole.max()) - low + 2,
        [None, pa.py_buffer(np.arange(low, int(whole.max()) + 2) / scale)],
    ).cast(pa.string())
    positions = whole - low
    if missing is not None:
        texts = pa.concat_arrays([texts.slice(0, len(texts) - 1), text_column(["-9999"])])
        positions[missing] = len(texts) - 1
    positions = np.ascontiguousarray(positions, dtype=np.int32)
    whole_positions = pa.Array.from_buffers(
        pa.int32(), len(positions), [None, pa.py_buffer(positions)]
    )
    return pa.DictionaryArray.from_arrays(whole_positions, texts)


def _glodap() -> bytes:
    """Fill GLODAP_ROWS bottles, in the order of cruise, station and depth.

    109 columns, see GLODAP_COLUMNS; -9999 where nothing was measured. A value has a flag
    (suffix ``f``: 2 measured, 9 missing) and some a mark of the second quality control
    (``qc``: 1 done, 0 not). Units: depth in m, pressure in dbar, temperature in degrees C,
    salinity without unit, sigma in kg/m3 - 1000, all others in micromol/kg. Carbon is
    measured on two cruises of three, the rarer tracers (from G2cfc11 on) on none here.

    Source of the columns: Lauvset et al., GLODAPv2.2023, Earth System Science Data 16, 2024.
    """
    draws = _draws(2)
    stations = _stations(draws)
    row = np.repeat(np.arange(len(stations.cruise)), stations.bottles)
    bottle = np.arange(GLODAP_ROWS) - np.repeat(
        np.cumsum(stations.bottles) - stations.bottles, stations.bottles
    )
    part = bottle / np.maximum(stations.bottles[row] - 1, 1)
    # Close to each other near the surface, far apart at the bottom.
    depth = 4.0 + part * (0.35 + 0.65 * part) * (stations.bottom[row] - 14.0)

    latitude = stations.latitude[row] / 1000.0
    atlantic = np.isin(stations.region[row], (1, 4))
    polar = (latitude / 70.0) * (latitude / 70.0)
    weather = _bell(draws, len(stations.cruise))[row]
    noise = [_bell(draws, GLODAP_ROWS) for _ in range(3)]
    mixed = 1.0 / (1.0 + (depth / 350.0) * (depth / 350.0))
    deep = np.where(atlantic, 2.6, 1.4) - 1.3 * polar
    surface = np.clip(28.5 - 29.0 * polar + weather, -1.8, 31.0)
    temperature = np.maximum(deep + (surface - deep) * mixed + 0.05 * noise[0], -1.9)
    subtropics = 1.0 - np.abs(np.abs(latitude) - 26.0) / 26.0
    surface_salt = np.where(atlantic, 35.3, 34.2) + 1.3 * np.maximum(subtropics, -1.0)
    salinity = 34.75 + (surface_salt - 34.75) * mixed + 0.02 * noise[1]
    theta = temperature - depth * 0.00008 - depth * depth * 1e-8
    sigma0 = 28.15 - 0.0735 * theta - 0.00469 * theta * theta + 0.802 * (salinity - 35.0)
    saturated = 360.0 - 8.4 * theta + 0.1 * theta * theta
    thermocline = (depth - 850.0) / 650.0
    used = np.where(atlantic, 75.0, 190.0) * (1.0 - mixed)
    used = used * (0.55 + 0.45 / (1.0 + thermocline * thermocline))
    used = used + 4.0 * noise[2]
    oxygen = np.maximum(saturated - used, 1.0)
    nitrate = np.maximum((saturated - oxygen) * 0.11 + 8.0 * polar, 0.0)
    carbon = 2010.0 + (saturated - oxygen) * 0.85 + 90.0 * (1.0 - mixed)
    alkalinity = 2305.0 + 62.0 * (salinity - 35.0) + 40.0 * (1.0 - mixed)
    acidity = 7.95 - (saturated - oxygen) * 0.0014 - 0.00002 * depth

    cruise = stations.cruise[row]
    has_carbon = cruise % 3 != 0
    lost = draws.random((4, GLODAP_ROWS), dtype=np.float32)
    no_salt, no_oxygen, no_nitrate = lost[0] < 0.01, lost[1] < 0.06, lost[2] < 0.09
    no_carbon = ~has_carbon | (lost[3] < 0.3)
    nothing = np.zeros(GLODAP_ROWS, np.int64)

    when = _calendar(stations)
    columns: dict[str, Any] = {
        "G2expocode": coded_column(cruise, _expocodes(int(cruise[-1]) + 1)),
        "G2cruise": _numbers(cruise + 1.0, 0),
        "G2station": _numbers(stations.number[row] * 1.0, 0),
        "G2region": _numbers(stations.region[row] * 1.0, 0),
        "G2cast": coded_column(nothing, ["1"]),
        **{name: _numbers(values[row] * 1.0, 0) for name, values in when.items()},
        "G2latitude": _numbers(latitude, 3),
        "G2longitude": _numbers(stations.longitude[row] / 1000.0, 3),
        "G2bottomdepth": _numbers(stations.bottom[row] * 1.0, 0),
        "G2maxsampdepth": _numbers(stations.bottom[row] - 10.0, 0),
        "G2bottle": _numbers(stations.bottles[row] - bottle * 1.0, 0),
        "G2pressure": _numbers(depth * (1.0085 + depth * 2.5e-6), 1),
        "G2depth": _numbers(depth, 0),
        "G2temperature": _numbers(temperature, 3),
        "G2theta": _numbers(theta, 3, no_salt),
        "G2sigma0": _numbers(sigma0, 3, no_salt),
        "G2aouf": _flag(no_oxygen | no_salt, "0"),
        "G2aou": _numbers(saturated - oxygen, 1, no_oxygen | no_salt),
        "G2gamma": _numbers(sigma0 + 0.12 + depth * 1e-5, 3, no_salt),
        "G2phts25p0": _numbers(acidity - 0.1, 3, no_carbon),
        "G2phts25p0f": _flag(no_carbon, "0"),
        "G2phtsinsitutp": _numbers(acidity, 3, no_carbon),
        "G2phtsinsitutpf": _flag(no_carbon, "0"),
        "G2phtsqc": _flag(no_carbon, "1", "0"),
    }
    for thousands in range(1, 5):
        heavier = sigma0 + thousands * (4.55 - 0.02 * theta)
        columns[f"G2sigma{thousands}"] = _numbers(heavier, 3, no_salt)
    measured = {
        "salinity": (salinity, 3, no_salt),
        "oxygen": (oxygen, 1, no_oxygen),
        "nitrate": (nitrate, 2, no_nitrate),
        "silicate": (nitrate * 2.6 + 0.004 * depth, 1, no_nitrate),
        "phosphate": (nitrate / 15.5 + 0.05, 2, no_nitrate),
        "tco2": (carbon, 1, no_carbon),
        "talk": (alkalinity, 1, no_carbon),
    }
    for name, (values, decimals, missing) in measured.items():
        columns[f"G2{name}"] = _numbers(values, decimals, missing)
        columns[f"G2{name}f"] = _flag(missing, "2")
        columns[f"G2{name}qc"] = _flag(missing, "1", "0")

    # From the first tracer on nothing was measured: one text for all, put in at the end.
    first, last = GLODAP_COLUMNS.index("G2cfc11"), GLODAP_COLUMNS.index("G2doi")
    names = GLODAP_COLUMNS[:first]
    absent = {
        name: coded_column(nothing, [_missing(name)]) for name in names if name not in columns
    }
    tracers = ",".join(map(_missing, GLODAP_COLUMNS[first:last]))
    body = pa.table({name: {**columns, **absent}[name] for name in names})
    dois = [f"~https://doi.org/10.5555/made-up-{number}" for number in range(1, cruise[-1] + 2)]
    body = body.append_column("G2doi", coded_column(cruise, dois))
    lines = _written(body, "none", "none", include_header=False)
    return ",".join(GLODAP_COLUMNS).encode() + b"\n" + lines.replace(b"~", tracers.encode() + b",")


def _missing(name: str) -> str:
    """What stands in a column where nothing was measured: of a flag, of a mark, of a value."""
    if name.removesuffix("qc") != name:
        return "0"
    return "9" if name.endswith("f") and name[:-1] in GLODAP_COLUMNS else "-9999"


def _flag(missing: Bools, present: str, absent: str = "9") -> pa.Array:
    return coded_column(missing.astype(np.int32), [present, absent])


def _years(cruises: int) -> list[int]:
    """Spread the cruises over the years of GLODAP, 1972 to 2021, most of them late."""
    return [2021 - (number * 37 % 50) * (number * 37 % 50) // 51 for number in range(cruises)]


def _expocodes(cruises: int) -> list[str]:
    """Name each cruise by its ship and its first day, as oceanographers do."""
    ships = SHIPS.split()
    return [
        f"{ships[number % len(ships)]}{year}{number * 5 % 9 + 1:02}{number * 11 % 28 + 1:02}"
        for number, year in enumerate(_years(cruises))
    ]


def _calendar(stations: Stations) -> dict[str, Ints]:
    """Give the date of each station, in columns as GLODAP has them."""
    first = [
        np.datetime64(f"{code[4:8]}-{code[8:10]}-{code[10:]}", "h")
        for code in _expocodes(int(stations.cruise[-1]) + 1)
    ]
    moment = np.array(first)[stations.cruise] + stations.hours
    day, month, year = (moment.astype(f"datetime64[{unit}]") for unit in "DMY")
    return {
        "G2year": year.astype(np.int64) + 1970,
        "G2month": month.astype(np.int64) % 12 + 1,
        "G2day": (day - month).astype(np.int64) + 1,
        "G2hour": (moment - day).astype(np.int64),
        "G2minute": stations.number * 17 % 60,
    }


def _zipped(content: bytes) -> bytes:
    """Put a file into a ZIP archive; the date is fixed, so that nothing depends on the day."""
    entry = zipfile.ZipInfo(GLODAP_KEY.split("/")[-1].removesuffix(".zip"), (2023, 11, 1, 0, 0, 0))
    entry.compress_type = zipfile.ZIP_DEFLATED
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(entry, content, compresslevel=1)  # the others take up to ten times as long
    return buffer.getvalue()


# --- What the bucket says of itself ---------------------------------------------------

README: Final = f"""\
# earth-science: made-up data for a course

**Every measurement in this bucket is made up.** A program of the course "Data in the
Cloud" (`datalab/samples_earth.py`) draws them from a fixed seed, so that the course runs
on one machine without the real files. They say nothing about the weather or the ocean.

What is real: the columns, the units, the codes for quality and for missing values, the
packing of fields, and roughly the place of the station and of the ships' routes.

Each object says so itself in its metadata: `made-up: yes`.

| key | what |
|---|---|
| `{ISD_KEY}` | weather reports of one station in 2023, one a row |
| `{GLODAP_KEY}` | water samples of research cruises, one a row |
| `public/` | what everybody may read, without a key |

## noaa-isd/
A field holds several parts with commas between them. `TMP` is `+0285,1`: 28.5 degrees C,
quality code 1; `+9999,9` is missing. `SLP` is `10105,1`: 1010.5 hPa; `99999,9` is missing.
Quality codes: `1` and `5` passed, `2` suspect, `3` erroneous, `9` missing. `REPORT_TYPE` is
`FM-12` (hourly) or `FM-15` (an airport's, every half hour, in whole degrees).

## glodap/
109 columns, `-9999` where nothing was measured. `G2latitude` and `G2longitude` in degrees,
`G2depth` in m, `G2temperature` in degrees C, `G2oxygen` and most others in micromol/kg; a
name with `f` at its end is a flag (`2` measured, `0` computed, `9` missing). The rows are
in the order of cruise, station and depth, as a CSV file in a ZIP archive. There are
{GLODAP_ROWS:,} of them where the real file has 1,402,829, and the rarer tracers, from `G2cfc11`
on, are missing in every row.

## Where the real data are
Integrated Surface Database: NOAA, National Centers for Environmental Information, data set
"Global Hourly". GLODAPv2.2023: glodap.info, and NOAA's Ocean Carbon and Acidification Data
System; cite Lauvset et al. (2024), Earth System Science Data 16.
"""

README_PUBLIC: Final = """\
# earth-science/public: made-up data for a course

**Every number under this prefix is made up.** Everybody may read it, without a key.
"""
