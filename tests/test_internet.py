"""The local answers for official addresses: their form, their faults, the proxy before them."""

import base64
import http.client
import importlib
import io
import json
import os
import shutil
import ssl
import subprocess
import sys
import threading
import tomllib
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import geopandas
import pytest
import requests
import s3fs
import trustme
from shapely import Point

from datalab.local_sites import ademe, outlines
from datalab.machine import trust
from datalab.servers import internet
from datalab.servers.internet import HOSTS, Internet, InternetSettings
from tests.laptop import PROJECT, call, clear, processes, shell, wait_until

pytestmark = pytest.mark.xdist_group("internet")

LINES = "https://data.ademe.fr/data-fair/api/v1/datasets/dpe03existant/lines"
OUTLINES = "https://www.data.gouv.fr/fr/datasets/r/eb36371a-761d-44a8-93ec-3d728bec17ce"
MENDE = {"code_insee_ban_eq": "48095"}


@dataclass
class Site:
    """A server of local answers, and a browser's view of it."""

    server: Internet

    @property
    def port(self) -> int:
        return self.server.settings.port

    @property
    def proxy(self) -> str:
        return self.server.url

    @property
    def bundle(self) -> str:
        return str(self.server.folder / "certs" / "bundle.pem")

    def get(self, url: str = LINES, **options: object) -> requests.Response:
        with requests.Session() as session:
            return self.ask(session, url, **options)

    def ask(
        self, session: requests.Session, url: str = LINES, timeout: float = 20, **options: object
    ) -> requests.Response:
        session.trust_env = False  # there stands the proxy of the run's own datalab
        session.proxies, session.verify = {"https": self.proxy}, self.bundle
        return session.get(url, timeout=timeout, **options)  # type: ignore[arg-type]


Start = Callable[..., Site]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Start]:
    """Starts servers without the rest of a datalab; stops them in the end."""
    certificates = tmp_path_factory.mktemp("certificates") / "certs"
    trust.make_certificates(certificates, HOSTS)
    trust.write_bundle(certificates, {})
    running: list[Internet] = []

    def begin(*options: str, upstream: str = "") -> Site:
        folder = tmp_path_factory.mktemp("internet")
        shutil.copytree(certificates, folder / "certs")
        (folder / "logs").mkdir()
        settings = InternetSettings(password=f"password-{len(running)}", upstream=upstream)
        server = Internet(folder, {Internet.key: settings})
        server.options = options
        running.append(server)
        server.start()
        return Site(server)

    yield begin
    for server in running:
        server.stop()


@pytest.fixture(scope="module")
def calm(start: Start) -> Site:
    """A server on a good day."""
    return start("--faults=")


# -- the certificates of dwellings ---------------------------------------------------------


def test_an_answer_has_the_form_of_the_official_one(calm: Site) -> None:
    answer = calm.get(params={**MENDE, "size": 3, "select": "numero_dpe,etiquette_dpe"})
    assert answer.status_code == 200
    assert answer.headers["Content-Type"].startswith("application/json")
    assert answer.headers["X-Made-Up"].startswith("yes")
    body = answer.json()
    assert list(body) == ["total", "next", "results"]
    assert body["total"] > 800
    assert [list(record) for record in body["results"]] == [["numero_dpe", "etiquette_dpe"]] * 3
    assert body["next"].startswith(f"{LINES}?")


def test_next_leads_through_all_pages_to_the_last(calm: Site) -> None:
    url, records, sizes = f"{LINES}?size=400&code_postal_ban_in=48000,20000", [], []
    with requests.Session() as session:
        while url:
            page = calm.ask(session, url).json()
            records += page["results"]
            sizes.append(len(page["results"]))
            url = page.get("next")
    assert sizes[:-1] == [400] * (len(sizes) - 1) and 0 < sizes[-1] < 400
    assert len(records) == page["total"]
    assert len({record["numero_dpe"] for record in records}) == len(records)
    assert {record["nom_commune_ban"] for record in records} == {"Mende", "Ajaccio"}


def test_a_full_last_page_is_followed_by_an_empty_one(calm: Site) -> None:
    total = calm.get(params={**MENDE, "size": 0}).json()["total"]
    page = calm.get(params={**MENDE, "size": total}).json()
    assert len(page["results"]) == total
    last = calm.get(page["next"]).json()
    assert last["results"] == [] and "next" not in last


def test_a_field_without_a_value_is_absent(calm: Site) -> None:
    records = calm.get(params={**MENDE, "size": 10_000}).json()["results"]
    assert all(value is not None for record in records for value in record.values())
    present = {column: sum(column in record for record in records) for column in ademe.TYPES}
    assert 0.4 * len(records) < present["annee_construction"] < 0.9 * len(records)
    assert present["surface_habitable_logement"] < len(records)
    assert present["numero_dpe"] == present["etiquette_dpe"] == len(records)


@pytest.mark.parametrize(
    ("query", "holds"),
    [
        ({"etiquette_dpe_eq": "G"}, lambda r: r["etiquette_dpe"] == "G"),
        ({"etiquette_dpe_in": "A,B"}, lambda r: r["etiquette_dpe"] in "AB"),
        ({"annee_construction_gte": "2000"}, lambda r: r["annee_construction"] >= 2000),
        ({"annee_construction_nexists": "true"}, lambda r: "annee_construction" not in r),
        (
            {"surface_habitable_logement_lt": "30.5"},
            lambda r: r["surface_habitable_logement"] < 30.5,
        ),
        ({"numero_dpe_starts": "22"}, lambda r: r["numero_dpe"].startswith("22")),
    ],
    ids=lambda value: "" if callable(value) else str(value),
)
def test_filters_by_column(calm: Site, query: dict[str, str], holds: Callable[..., bool]) -> None:
    everything = calm.get(params={**MENDE, "size": 10_000}).json()["results"]
    answer = calm.get(params={**MENDE, **query, "size": 10_000}).json()
    assert 0 < answer["total"] < len(everything)

    def passes(record: dict[str, object]) -> bool:
        try:
            return holds(record)
        except KeyError:
            return False

    assert answer["results"] == [record for record in everything if passes(record)]


@pytest.mark.parametrize(
    ("query", "status", "said"),
    [
        ({"size": 10_001}, 400, "10000"),
        ({"size": "many"}, 400, "many"),
        ({"select": "numero_dpe,prix"}, 400, "prix"),
        ({"prix_eq": "1"}, 400, "prix_eq"),
        ({"etiquette_dpe_like": "A"}, 400, "etiquette_dpe_like"),
        ({"annee_construction_gt": "old"}, 400, "old"),
        ({"qs": "code_insee_ban:48095"}, 403, "<html>"),
    ],
    ids=str,
)
def test_what_the_api_refuses(calm: Site, query: dict[str, str], status: int, said: str) -> None:
    answer = calm.get(params=query)
    assert answer.status_code == status
    assert said in answer.text


def test_an_unknown_address_of_a_known_host_is_not_found(calm: Site) -> None:
    for url in (
        f"{LINES}/more",
        "https://www.data.gouv.fr/fr/datasets/r/0",
        "https://data.ademe.fr/",
    ):
        assert calm.get(url).status_code == 404


def test_every_server_gives_the_same_answers(calm: Site, start: Start) -> None:
    query = {"size": 2000, "code_departement_ban_in": "01,2A"}
    assert start("--faults=").get(params=query).content == calm.get(params=query).content


def test_all_96_departments_are_there(calm: Site) -> None:
    places = ademe.places()
    assert len({place[0] for place in places}) == len(places) == 96
    described = calm.get(LINES.removesuffix("/lines")).json()
    assert (
        described["count"] == sum(places.values()) == calm.get(params={"size": 0}).json()["total"]
    )
    assert {column["key"] for column in described["schema"]} == set(ademe.TYPES)


def test_more_than_600_requests_a_minute_are_too_many(start: Start) -> None:
    site = start("--faults=")
    with requests.Session() as session:
        statuses = [site.ask(session, params={"size": 0}).status_code for _ in range(600)]
        refused = site.ask(session, params={"size": 0})
    assert set(statuses) == {200}
    assert refused.status_code == 429
    assert 0 < int(refused.headers["Retry-After"]) <= 60


# -- the outlines --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archive(calm: Site) -> bytes:
    answer = calm.get(OUTLINES)
    assert [step.status_code for step in answer.history] == [302]
    assert answer.url.startswith("https://static.data.gouv.fr/")
    return answer.content


@pytest.fixture(scope="module")
def shapes(archive: bytes, tmp_path_factory: pytest.TempPathFactory) -> geopandas.GeoDataFrame:
    folder = tmp_path_factory.mktemp("shapes")
    with zipfile.ZipFile(io.BytesIO(archive)) as packed:
        assert packed.testzip() is None
        packed.extractall(folder)
    return geopandas.read_file(folder / f"{outlines.LAYER}.shp")


def test_the_outlines_are_a_zipped_shapefile_with_the_official_columns(
    archive: bytes, shapes: geopandas.GeoDataFrame
) -> None:
    names = zipfile.ZipFile(io.BytesIO(archive)).namelist()
    assert {Path(name).suffix for name in names} >= {".shp", ".shx", ".dbf", ".prj"}
    columns = ["code_insee", "nom", "nuts3", "wikipedia", "surf_km2", "geometry"]
    assert list(shapes.columns) == columns
    assert shapes.crs.to_epsg() == 4326
    assert len(shapes) == shapes["code_insee"].nunique() == shapes["nuts3"].nunique() == 96
    assert shapes.set_index("code_insee").loc["2A", "nom"] == "Corse-du-Sud"


def test_the_outlines_look_like_france(shapes: geopandas.GeoDataFrame) -> None:
    assert shapes.is_valid.all() and not shapes.is_empty.any()
    west, south, east, north = shapes.total_bounds
    assert -5.5 < west < -4.5 and 41 < south < 42 and 8 < east < 10 and 50.5 < north < 51.5
    # in metres, on the projection of the French mapping agency
    flat = shapes.to_crs(2154)
    whole = flat.union_all()
    assert 520e9 < whole.area < 570e9
    assert abs(flat.area.sum() / whole.area - 1) < 1e-6, "departments overlap"
    assert (abs(shapes["surf_km2"] * 1e6 / flat.area - 1) < 0.02).all()
    by_code = shapes.set_index("code_insee").geometry
    seats = {code: Point(lon, lat) for code, lon, lat, _ in outlines._prefectures()}
    # a seat at the sea may be a little off a coast that is drawn by hand
    assert [c for c in seats if by_code[c].distance(seats[c]) > 0.02] == []
    touching = by_code[by_code.touches(by_code["48"])].index
    assert set(touching) >= {"12", "30", "43"}


def test_a_part_of_the_file_can_be_asked_for(calm: Site, archive: bytes) -> None:
    part = calm.get(OUTLINES, headers={"Range": "bytes=1000-"})
    assert part.status_code == 206
    assert part.content == archive[1000:]
    assert part.headers["Content-Range"] == f"bytes 1000-{len(archive) - 1}/{len(archive)}"
    assert calm.get(OUTLINES, headers={"Range": f"bytes={len(archive)}-"}).status_code == 416


# -- faults --------------------------------------------------------------------------------


def test_faults_come_at_the_same_places_each_time(start: Start) -> None:
    site = start("--faults=,503,429,break", "--times=1")

    def outcome(page: int) -> object:
        try:
            answer = site.get(params={**MENDE, "size": 100, "after": 100 * page})
            return answer.status_code
        except requests.exceptions.ChunkedEncodingError as error:
            assert "IncompleteRead" in str(error)
            return "break"

    once = [[outcome(page) for page in range(5)] for _ in range(4)]
    assert once[0] == once[2] == [200, 503, 429, "break", 200]
    assert once[1] == once[3] == [200] * 5


def test_a_stalled_page_ends_in_a_timeout(start: Start) -> None:
    site = start("--faults=stall")
    with pytest.raises((requests.ConnectionError, requests.Timeout), match="timed out"):
        site.get(params={**MENDE, "size": 100}, timeout=0.5)
    assert site.get(params={**MENDE, "size": 100}).status_code == 200


def test_a_429_says_when_to_come_again(start: Start) -> None:
    answer = start("--faults=429").get(params={"size": 1})
    assert (answer.status_code, answer.headers["Retry-After"]) == (429, "1")


def test_the_program_of_the_notebooks_gets_through_much_worse(
    start: Start,
    archive: bytes,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    site = start("--faults=503,429,break,stall")  # no page comes at once
    for name in internet.PROXY_VARIABLES:
        monkeypatch.setenv(name, site.proxy)
    for name in trust.BUNDLE_VARIABLES:  # two datalabs: the store's authority and the site's
        if os.environ.get(name):
            both = Path(os.environ[name]).read_text() + Path(site.bundle).read_text()
            (tmp_path / "both.pem").write_text(both)
            monkeypatch.setenv(name, str(tmp_path / "both.pem"))
    program = PROJECT / "notebooks" / "project"
    monkeypatch.syspath_prepend(program)
    fetch, stores = importlib.import_module("fetch"), importlib.import_module("store")
    failure = importlib.import_module("failure")
    # as it stands, but shorter: one town, small pages, and less patience with silence
    config = tomllib.loads((program / "config.toml").read_text(encoding="utf-8"))["raw"]
    config |= {"page_rows": 250, "timeout": 2}
    config["filter"]["code_insee_ban_in"] = "48095"
    store = stores.Store("tests-of-the-internet")
    fs = s3fs.S3FileSystem(use_listings_cache=False)

    def written(snapshot: str) -> dict[str, object]:
        paths = fs.find(f"{store.root}/raw/dpe/{snapshot}")
        return {path: fs.modified(path) for path in paths if "/page-" in path}

    try:
        impatient = {**config, "snapshot": "1", "attempts": 1}
        interrupted = 0
        while interrupted < 20:  # each run meets the fault of the next page, if not a slow machine
            before = written("1")
            try:
                fetch.fetch(store, impatient)
                break
            except failure.ProjectError as error:
                assert "Run this again" in str(error)
                interrupted += 1
            assert before.items() <= written("1").items(), "a page came twice"
        assert 4 <= interrupted < 20
        assert len(written("1")) == 4

        capsys.readouterr()
        manifest = fetch.fetch(store, {**config, "snapshot": "2"})
        assert capsys.readouterr().out.count("attempt 2 follows") >= 4
        about = json.loads(store.read(manifest))
        pages = [json.loads(store.read(key)) for key in about["pages"]]
        assert sum(len(page["results"]) for page in pages) == pages[0]["total"] == about["rows"]

        with requests.Session() as session:
            assert fetch.get(session, OUTLINES, {**config, "timeout": 20}) == archive
        assert "ChunkedEncodingError: attempt 2 follows" in capsys.readouterr().out
    finally:
        fs.rm(store.root, recursive=True)


# -- the proxy -----------------------------------------------------------------------------


def tunnel(
    site: Site, host: str, port: int = 443, password: str = ""
) -> http.client.HTTPSConnection:
    """Ask for a tunnel; OSError with the proxy's status line if there is none."""
    context = ssl.create_default_context(cafile=site.bundle)
    connection = http.client.HTTPSConnection("127.0.0.1", site.port, timeout=20, context=context)
    password = password or site.server.settings.password
    known = base64.b64encode(f"datalab:{password}".encode()).decode()
    connection.set_tunnel(host, port, {"Proxy-Authorization": f"Basic {known}"})
    connection.connect()
    return connection


def test_a_host_that_cannot_be_reached_is_named(calm: Site) -> None:
    with pytest.raises(OSError, match=r"502 cannot reach nowhere\.invalid"):
        tunnel(calm, "nowhere.invalid")


def test_nobody_without_the_password_gets_through(calm: Site) -> None:
    for host in ("data.ademe.fr", "nowhere.invalid"):
        with pytest.raises(OSError, match="407"):
            tunnel(calm, host, password="guessed")


def test_it_is_for_https_only_and_says_so(calm: Site) -> None:
    proxies = {"http": calm.proxy}
    with requests.Session() as session:
        session.trust_env = False
        answer = session.get("http://data.ademe.fr/", proxies=proxies, timeout=20)
    assert answer.status_code == 501
    assert "https:// only" in answer.text


def test_what_is_no_http_ends_the_connection_and_not_the_server(calm: Site) -> None:
    import socket

    for words in (b"", b"hello", b"CONNECT\r\n\r\n", b"\x16\x03\x01" + b"x" * 100_000):
        with socket.create_connection(("127.0.0.1", calm.port), timeout=5) as client:
            client.sendall(words)
    assert calm.get(params={"size": 0}).status_code == 200


@contextmanager
def elsewhere() -> Iterator[tuple[int, str]]:
    """A site that the datalab knows nothing of; its port, and its authority's certificate."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(b"elsewhere")

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server.server_port, authority.cert_pem.bytes().decode()
        server.shutdown()


def test_other_hosts_are_passed_on_directly_or_through_the_machines_own_proxy(
    calm: Site, start: Start
) -> None:
    with elsewhere() as (port, certificate):
        for site in (calm, start(upstream=calm.proxy)):
            trusted = Path(site.bundle)
            trusted.write_text(trusted.read_text() + certificate)
            connection = tunnel(site, "localhost", port)
            connection.request("GET", "/")
            assert connection.getresponse().read() == b"elsewhere"
            connection.close()
        refused = start(upstream=f"http://datalab:wrong@127.0.0.1:{calm.port}")
        with pytest.raises(OSError, match=r"502 .*localhost.* said 407"):
            tunnel(refused, "localhost", port)


def test_whether_the_real_site_is_there_is_found_out(calm: Site, tmp_path: Path) -> None:
    url = f"{LINES}?size=0"
    assert internet.reachable(url, calm.proxy, Path(calm.bundle))
    assert not internet.reachable(url, "http://127.0.0.1:9", Path(calm.bundle))
    unknown = tmp_path / "other.pem"
    trustme.CA().cert_pem.write_to_path(str(unknown))
    assert not internet.reachable(url, calm.proxy, unknown), "a portal's page is not the site"


# -- in the environment of a notebook --------------------------------------------------------

CLIENTS = {
    "requests": f"import requests; print(requests.get({LINES!r} + '?size=0').json()['total'])",
    "urllib": f"""
import json, urllib.request
print(json.load(urllib.request.urlopen({LINES!r} + '?size=0'))['total'])""",
    "pandas": f"""
import pandas as pd
print(pd.read_json({LINES!r} + '?size=0', typ='series')['total'])""",
    "aiohttp, under fsspec": f"""
import fsspec, json
options = {{"client_kwargs": {{"trust_env": True}}}}
print(json.loads(fsspec.open({LINES!r} + '?size=0', 'rb', **options).open().read())['total'])""",
    "curl": f"""
import subprocess
print(subprocess.check_output(['curl', '--fail', '--silent', {LINES!r} + '?size=0'], text=True))""",
    "GDAL of pyogrio": f"""
import pyogrio
path = '/vsizip/{{/vsicurl/' + {OUTLINES!r} + '}}/{outlines.LAYER}.shp'
print(len(pyogrio.read_dataframe(path)))""",
    "GDAL of rasterio": f"""
import rasterio
from rasterio.errors import RasterioIOError
try:
    rasterio.open('/vsicurl/' + {OUTLINES!r})
except RasterioIOError as error:  # reached, and no image
    assert 'not recognized' in str(error), error
    print('reached')""",
}


@pytest.mark.parametrize("client", CLIENTS)
def test_clients_reach_the_local_answers_with_the_environment_alone(client: str) -> None:
    if client == "curl" and shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    done = subprocess.run(
        [sys.executable, "-c", CLIENTS[client]], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    total = str(sum(ademe.places().values()))
    expected = {"GDAL of pyogrio": "96", "GDAL of rasterio": "reached"}.get(client, total)
    assert expected in done.stdout


# -- as one of the datalab's servers ---------------------------------------------------------


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("own") / "lab"
    done = call(folder, "up")
    assert done.returncode == 0, done.stderr
    assert "made-up answers for data.ademe.fr" in done.stdout
    yield folder
    assert call(folder, "down").returncode == 0
    assert processes(folder) == []
    clear(folder)


def variables(folder: Path, **changes: str | None) -> dict[str, str | None]:
    done = call(folder, "env", "--json", env=shell(**changes))
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


def total_through(folder: Path) -> str:
    code = f"import requests; print(requests.get({LINES!r} + '?size=0').json()['total'])"
    done = call(folder, "run", "--", "python", "-c", code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_the_datalab_without_it_is_seen_and_repaired(lab: Path) -> None:
    before = variables(lab)
    (process,) = [p for p in processes(lab) if "datalab.local_sites" in p.cmdline()]
    process.kill()
    wait_until(lambda: not process.is_running() or process.status() == "zombie", "it is dead")
    done = call(lab, "status")
    assert done.returncode == 1
    assert "internet     does not run" in done.stdout
    assert "python -m datalab up" in done.stderr
    assert "Internet" in call(lab, "env").stderr
    assert call(lab, "up").returncode == 0
    assert variables(lab) == before, "a notebook that is open goes on"
    assert total_through(lab) == str(sum(ademe.places().values()))


def test_the_setting_says_which_internet_a_notebook_sees(lab: Path) -> None:
    local = variables(lab)["HTTPS_PROXY"]
    assert local and local.startswith("http://datalab:")
    assert not set(internet.PROXY_VARIABLES) & set(variables(lab, DATALAB_INTERNET="real"))
    done = call(lab, "status", env=shell(DATALAB_INTERNET="real"))
    assert "internet     the real one" in done.stdout
    done = call(lab, "up", env=shell(DATALAB_INTERNET="some"))
    assert done.returncode == 1
    assert "'some'" in done.stderr and "local, real or auto" in done.stderr


def test_auto_is_local_where_the_site_cannot_be_reached(lab: Path) -> None:
    nowhere = {"DATALAB_INTERNET": "auto", "HTTPS_PROXY": "http://127.0.0.1:9"}
    done = call(lab, "up", env=shell(**nowhere))
    assert done.returncode == 0, done.stderr
    assert "made-up answers" in done.stdout
    assert variables(lab, **nowhere)["HTTPS_PROXY"] != "http://127.0.0.1:9"


def test_in_a_shell_of_the_datalab_the_machines_proxy_is_not_forgotten(lab: Path) -> None:
    with_proxy = {"DATALAB_INTERNET": "local", "HTTPS_PROXY": "http://proxy.invalid:3128"}
    assert call(lab, "up", env=shell(**with_proxy)).returncode == 0
    own = variables(lab)["HTTPS_PROXY"]
    assert (
        own
        and call(lab, "up", env=shell(DATALAB_INTERNET="local", HTTPS_PROXY=own)).returncode == 0
    )
    inside = {"DATALAB_INTERNET": "real", "HTTPS_PROXY": own}
    assert variables(lab, **inside)["HTTPS_PROXY"] == "http://proxy.invalid:3128"
    assert call(lab, "up").returncode == 0
