"""What each store does, tried on a real one; the page on testing says the same.

A feature is in tests/stores.py; what is promised on every store fails there.
"""

import os
import stat
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from datalab.lab import AVAILABLE, STORE, STORE_VARIABLE, Datalab
from datalab.machine import seaweedfs
from datalab.servers import SERVERS, of_role
from datalab.servers.base import Effort
from datalab.temporary import temporary
from tests.lab_secrets import secrets_of
from tests.laptop import processes, program
from tests.stores import FEATURES, PROMISED, YES, People, needs_a_broker, on_the_page, table

pytestmark = pytest.mark.xdist_group("stores")

WEED = "seaweedfs"
MEASURED = {title: function for rows in FEATURES.values() for title, function in rows.items()}


@pytest.fixture(scope="module", params=of_role(STORE))
def people(request: pytest.FixtureRequest) -> Iterator[People]:
    """The people of a datalab on one store: of this worker's, or of one for these tests."""
    key = request.param
    if SERVERS[key].effort() is Effort.UNKNOWN:
        pytest.skip(f"{SERVERS[key].name} cannot be fetched for this machine")
    if key == os.environ[STORE_VARIABLE]:
        yield People(Datalab(Path(os.environ["TEST_DATALAB"])))
    else:
        with temporary([AVAILABLE], key) as lab:
            yield People(lab)


@pytest.mark.parametrize("title", MEASURED)
def test_a_store_does_what_the_page_says(people: People, title: str) -> None:
    if needs_a_broker(title, people.lab):
        pytest.skip("RabbitMQ is not on this machine")
    assert MEASURED[title](people) == on_the_page()[title][people.store.key]


def test_the_page_shows_every_feature_and_no_other() -> None:
    page = on_the_page()
    shown = {title: cells for title, cells in page.items() if title in MEASURED}
    assert shown.keys() == MEASURED.keys(), "`make stores` writes the table"
    lines = table(shown).splitlines()
    assert len(page) == len(lines)
    for title in PROMISED:
        assert set(shown[title].values()) == {YES}


# -- what SeaweedFS has beside its S3 port --------------------------------------------

only_weed = pytest.mark.parametrize("people", [WEED], indirect=True)


def status(url: str, method: str = "GET", body: bytes | None = None) -> int:
    """What a program without any key gets at an address of this machine."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(url, method=method, data=body)
    try:
        with opener.open(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@only_weed
def test_nobody_reads_or_writes_round_the_s3_port(people: People) -> None:
    """The filer holds every object, and as it comes gives each to everybody on the machine."""
    filer = f"http://127.0.0.1:{people.store.settings.filer_port}"
    private = f"{filer}/buckets/colleague/notes/private.md"
    assert people.root.get_object(Bucket="colleague", Key="notes/private.md")["Body"].read()
    assert status(private) == 401
    assert status(f"{filer}/buckets/colleague/notes/") == 401
    assert status(f"{filer}/buckets/") == 401
    assert status(private, "PUT", b"changed") == 401
    assert status(f"{filer}/buckets/student/new.txt", "POST", b"new") == 401
    assert status(private, "DELETE") == 401
    assert status(f"{filer}/etc/iam/identity.json") == 401
    kept = people.root.get_object(Bucket="colleague", Key="notes/private.md")["Body"].read()
    assert kept.startswith(b"Nobody but the owner")


@only_weed
def test_its_other_ports_show_no_object(people: People) -> None:
    settings = people.store.settings
    assert status(f"http://127.0.0.1:{settings.admin_port}/") == 404
    assert status(f"http://127.0.0.1:{settings.admin_port}/object-store/buckets") == 404
    # every file of a volume has a random number; who knows it still needs a token
    volume = f"http://127.0.0.1:{settings.volume_port}"
    assert status(f"{volume}/1,01637037d6") in (401, 404)
    assert status(f"{volume}/1,01637037d6", "POST", b"new") == 401
    with urllib.request.urlopen(f"http://127.0.0.1:{settings.master_port}/dir/status") as answer:
        assert b"private" not in answer.read()  # a page on disks, not on objects


@only_weed
def test_it_listens_on_this_machine_only_on_the_ports_that_are_noted(people: People) -> None:
    (process,) = [each for each in processes(people.lab.folder) if program(each) == "weed"]
    listening = [c.laddr for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
    assert {address.ip for address in listening} == {"127.0.0.1"}
    assert {address.port for address in listening} == {*people.store.settings.ports().values()}


@only_weed
def test_other_users_read_none_of_its_files_and_no_argument_is_secret(people: People) -> None:
    folder = people.lab.folder / WEED
    for name in ("s3.json", "iam.json", "security.toml"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o600
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    arguments = "".join(
        "\0".join(each.cmdline())
        for each in processes(people.lab.folder)
        if program(each) == "weed"
    )
    log = (people.lab.folder / "logs" / f"{WEED}.log").read_text(errors="replace")
    secrets = secrets_of(people.lab).values()
    assert "weed" in arguments
    assert log
    assert not [secret for secret in secrets if secret in arguments + log]


@only_weed
def test_status_says_which_store_and_version_it_is(people: People) -> None:
    found = seaweedfs.find()
    assert found is not None
    assert people.store.shown()["store"] == f"SeaweedFS {found[1]}"
