"""ADEME's energy-performance certificates, made up, behind the address of the real ones.

Source of the form: the public API of data.ademe.fr (software Data Fair, dataset
``dpe03existant``): parameters ``size`` (12 if not given, at most 10,000), ``select``,
``after``, and ``COLUMN_OPERATOR`` filters; the answer ``{"total", "next", "results"}``;
``next``, the full address of the following page, is given where a page is full; a
field without a value is absent from its record; 600 requests a minute; the site's
firewall refuses ``qs=`` with a colon. Codes and names of the places are real, all else
is drawn from a fixed seed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import cache, lru_cache
from itertools import islice
from math import isqrt
from typing import Any, Final
from urllib.parse import urlencode

from aiohttp import web

from datalab.local_sites import faults
from datalab.samples.departments import list_departments
from datalab.servers.internet import ADEME

SEED: Final = 2019

DATASET: Final = "/data-fair/api/v1/datasets/dpe03existant"
DEFAULT_SIZE: Final = 12
MAX_SIZE: Final = 10_000
REQUESTS_A_MINUTE: Final = 600

TYPES: Final = {
    "numero_dpe": "string",
    "date_etablissement_dpe": "string",
    "etiquette_dpe": "string",
    "etiquette_ges": "string",
    "conso_5_usages_par_m2_ep": "number",
    "surface_habitable_logement": "number",
    "annee_construction": "integer",
    "type_batiment": "string",
    "code_postal_ban": "string",
    "code_insee_ban": "string",
    "nom_commune_ban": "string",
    "code_departement_ban": "string",
}
"""Columns of a certificate and their JSON types; energy in kWh of primary energy per m²
and year, surface in m²."""

LABELS: Final = "ABCDEFG"
#: Upper ends of the labels A to F, kWh/m²/year (decree of 31 March 2021).
LIMITS: Final = (70, 110, 180, 250, 330, 420)

# The three large cities have a code for each district; one of them stands for the city.
DISTRICTS: Final = {
    "75": ("75111", "75011", "Paris 11e Arrondissement"),
    "69": ("69383", "69003", "Lyon 3e Arrondissement"),
    "13": ("13208", "13008", "Marseille 8e Arrondissement"),
}
POSTAL_CODES: Final = {"2A": "20000", "2B": "20200"}

Record = dict[str, Any]
Place = tuple[str, str, str, str]  # department, commune, postal code, name


@cache
def places() -> dict[Place, int]:
    """The communes with certificates, the seats of the 96 departments, and how many each has."""
    counts = {}
    for department in list_departments():
        code = department.code
        if len(code) > 2:  # overseas
            continue
        postal = POSTAL_CODES.get(code, f"{code}000")
        seat = (department.prefecture, postal, department.prefecture_name)
        counts[(code, *DISTRICTS.get(code, seat))] = isqrt(10 * department.inhabitants)
    return counts


@lru_cache(maxsize=16)
def certificates(place: Place) -> list[Record]:
    """The certificates of a commune, in the order in which they were filed."""
    import numpy as np  # slow to import, and not needed before somebody asks

    department, commune, postal, name = place
    count = places()[place]
    draws = np.random.Generator(np.random.PCG64([SEED, 4, list(places()).index(place)]))
    days = np.sort(draws.integers(0, 1600, count)) + np.datetime64("2021-07-01")
    # a sum of uniform draws: most homes in the middle, a long end of the cold ones
    energy = 40 + 130 * draws.random(count) + 160 * draws.random(count)
    energy += 300 * draws.random(count) ** 6
    gas = energy * (0.1 + 0.4 * draws.random(count))
    flat = draws.random(count) < 0.6
    surface = np.where(flat, 20 + 70 * draws.random(count), 60 + 110 * draws.random(count))
    surface = np.where(draws.random(count) < 0.003, surface * 100, surface)  # in a wrong unit
    year = 1850 + np.round(172 * draws.random(count) ** 0.7)
    unknown = draws.random((3, count)) < [[0.35], [0.01], [0.004]]
    labels = [LABELS[i] for i in np.searchsorted(LIMITS, energy)]
    climate = [LABELS[i] for i in np.searchsorted((6, 11, 30, 50, 70, 100), gas)]
    records = []
    for i in range(count):
        day = str(days[i])
        record: Record = {
            "numero_dpe": f"{day[2:4]}{department}E{i:07}{'ABCDEFGHJK'[i % 10]}",
            "date_etablissement_dpe": day,
            "etiquette_dpe": labels[i],
            "etiquette_ges": climate[i],
            "conso_5_usages_par_m2_ep": round(float(energy[i]), 1),
            "surface_habitable_logement": round(float(surface[i]), 1),
            "annee_construction": int(year[i]),
            "type_batiment": "appartement" if flat[i] else "maison",
            "code_postal_ban": postal,
            "code_insee_ban": commune,
            "nom_commune_ban": name,
            "code_departement_ban": department,
        }
        absent = ("annee_construction", "surface_habitable_logement", "conso_5_usages_par_m2_ep")
        for missing, column in zip(unknown[:, i], absent, strict=True):
            if missing:
                del record[column]
        records.append(record)
    return records


# -- filters ---------------------------------------------------------------------------

Test = Callable[[Any], bool]


def _operators(text: str, number: bool) -> dict[str, Test]:
    def value(part: str) -> Any:
        return float(part) if number else part

    return {
        "eq": lambda held: held == value(text),
        "neq": lambda held: held != value(text),
        "in": lambda held: held in [value(part) for part in text.split(",")],
        "nin": lambda held: held not in [value(part) for part in text.split(",")],
        "gt": lambda held: held is not None and held > value(text),
        "gte": lambda held: held is not None and held >= value(text),
        "lt": lambda held: held is not None and held < value(text),
        "lte": lambda held: held is not None and held <= value(text),
        "starts": lambda held: held is not None and str(held).startswith(text),
        "exists": lambda held: held is not None,
        "nexists": lambda held: held is None,
    }


def filters(query: dict[str, str]) -> dict[str, list[Test]]:
    """The tests that a query asks for, by column.

    Raises
    ------
    ValueError
        A parameter is none of this API; the text names it.
    """
    tests: dict[str, list[Test]] = {}
    for name, text in query.items():
        if name in ("size", "select", "after", "qs"):
            continue
        column, _, operator = name.rpartition("_")
        if column not in TYPES:
            raise ValueError(f"there is no column for the parameter {name}")
        known = _operators(text, TYPES[column] != "string")
        if operator not in known:
            raise ValueError(f"{name}: the operators are {', '.join(known)}")
        tests.setdefault(column, []).append(known[operator])
        known[operator](0 if TYPES[column] != "string" else "")  # the value is a number, then
    return tests


OF_PLACE: Final = (
    "code_departement_ban",
    "code_insee_ban",
    "code_postal_ban",
    "nom_commune_ban",
)


def _found_places(tests: dict[str, list[Test]]) -> Iterator[Place]:
    for place in places():
        held = zip(OF_PLACE, place, strict=True)
        if all(test(value) for column, value in held for test in tests.get(column, ())):
            yield place


def found(tests: dict[str, list[Test]]) -> Iterator[Record]:
    """The certificates that pass all tests, always in the same order."""
    others = {column: wanted for column, wanted in tests.items() if column not in OF_PLACE}
    for place in _found_places(tests):
        for record in certificates(place):
            if all(
                test(record.get(column)) for column, wanted in others.items() for test in wanted
            ):
                yield record


def number_of(tests: dict[str, list[Test]]) -> int:
    """How many certificates pass all tests."""
    if set(tests) <= set(OF_PLACE):
        return sum(places()[place] for place in _found_places(tests))
    return sum(1 for _ in found(tests))


# -- the API ---------------------------------------------------------------------------


class Api:
    """The handlers of one server.

    Parameters
    ----------
    plan
        When they fail.
    """

    def __init__(self, plan: faults.Faults) -> None:
        self._plan = plan
        self._recent: deque[float] = deque()

    def app(self) -> web.Application:
        """The site."""
        app = web.Application()
        app.add_routes([web.get(DATASET, self.dataset), web.get(f"{DATASET}/lines", self.lines)])
        return app

    async def dataset(self, _: web.Request) -> web.Response:
        """The description: title, number of rows, columns."""
        return web.json_response(
            {
                "id": "dpe03existant",
                "title": "DPE Logements existants (depuis juillet 2021)",
                "description": "Made up for a course: the numbers are drawn from a fixed seed.",
                "count": sum(places().values()),
                "schema": [{"key": key, "type": kind} for key, kind in TYPES.items()],
            }
        )

    async def lines(self, request: web.Request) -> web.StreamResponse:
        """A page of certificates."""
        seconds = self._must_wait()
        if seconds:
            return faults.too_many(seconds)
        query = dict(request.query)
        if set(query.get("qs", "")) & set(':"'):
            refusal = "<html><head><title>403 Forbidden</title></head><body>Forbidden</body></html>"
            return web.Response(status=403, text=refusal, content_type="text/html")
        try:
            size = int(query.get("size", DEFAULT_SIZE))
            after = int(query.get("after", 0))
            columns = query["select"].split(",") if query.get("select") else list(TYPES)
            unknown = [name for name in columns if name not in TYPES]
            if unknown:
                raise ValueError(f"there is no column {unknown[0]} to select")
            if not 0 <= size <= MAX_SIZE or after < 0:
                raise ValueError(f"size is {size}; the most is {MAX_SIZE}")
            if "qs" in query:
                raise ValueError("the local answers have no full-text search (qs)")
            tests = filters(query)
        except ValueError as error:
            return web.Response(status=400, text=f"{error}\n")
        # away from the event loop: a look at all certificates takes a moment
        wanted, total = await asyncio.to_thread(self._look, tests, columns, after, size)
        body: Record = {"total": total}
        if size and len(wanted) == size:
            follow = urlencode({**query, "after": after + size}, safe=",")
            body["next"] = f"https://{ADEME}{DATASET}/lines?{follow}"
        body["results"] = wanted
        fault = self._plan.of_page(str(request.rel_url), after // size if size else 0)
        content = web.json_response(body).body
        assert isinstance(content, bytes)
        return await faults.answer(request, content, "application/json", fault)

    def _look(
        self, tests: dict[str, list[Test]], columns: list[str], after: int, size: int
    ) -> tuple[list[Record], int]:
        page = islice(found(tests), after, after + size)
        return [{c: record[c] for c in columns if c in record} for record in page], number_of(tests)

    def _must_wait(self) -> int:
        """Seconds until this request would be one of the 600 of its minute; 0: now."""
        now = time.monotonic()
        while self._recent and self._recent[0] <= now - 60:
            self._recent.popleft()
        if len(self._recent) >= REQUESTS_A_MINUTE:
            return int(self._recent[0] + 60 - now) + 1
        self._recent.append(now)
        return 0
