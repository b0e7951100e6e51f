"""A fixture ``datalab`` for the tests of any project: an S3 store with what a service knows of it.

pytest loads this by itself where the package is installed. Nothing is started, and nothing
else imported, before the first test that asks for the fixture.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from datalab.lab import Datalab


@dataclass(frozen=True)
class Service:
    """What a test finds on its datalab.

    Parameters
    ----------
    bucket
        Name of the bucket in which everything is allowed. It is empty.
    environment
        The variables that are set for the test: address and keys of the store, where its
        certificate is found, address and password of PostgreSQL. None stands for a variable
        that is unset.
    lab
        The datalab itself, for instance to try what happens without a store:
        ``with datalab.lab.store().stopped(): …``.
    """

    bucket: str
    environment: dict[str, str | None]
    lab: Datalab


def pytest_addoption(parser: pytest.Parser) -> None:
    """Settings of a project, in its pytest.ini or pyproject.toml."""
    parser.addini(
        "datalab_as",
        "whose variables the fixture `datalab` sets: all that the datalab has (laptop, the "
        "default), or exactly what a service of the SSP Cloud has (service)",
        default="laptop",
    )
    parser.addini(
        "datalab_with",
        "optional servers of the fixture `datalab`, such as rabbitmq",
        type="args",
        default=[],
    )


@pytest.fixture(scope="session")
def datalab_of_this_run(pytestconfig: pytest.Config) -> Iterator[Service]:
    """A datalab of its own for each process of tests, removed at the end of the run."""
    from datalab.errors import DatalabError
    from datalab.machine import system

    capture = pytestconfig.pluginmanager.getplugin("capturemanager")
    with ExitStack() as stack:
        try:
            system.check()
            from datalab.servers.rights import STUDENT  # Windows could not import it
            from datalab.state import LAPTOP
            from datalab.temporary import temporary

            role, servers = _settings(pytestconfig)
            with ExitStack() as shown:  # building MinIO takes minutes, and says so
                if capture is not None:
                    shown.enter_context(capture.global_and_fixture_disabled())
                lab = stack.enter_context(temporary(servers))
            # the variables of the project stay, although no service has them
            ours = lab.environment(LAPTOP).keys()
            values = {
                name: value
                for name, value in lab.environment(role).items()
                if value is not None or name in ours
            }
        except (DatalabError, OSError) as error:  # OSError: a full disk, no right to write
            pytest.fail(f"No datalab could be started. {error}", pytrace=False)
        yield Service(STUDENT, values, lab)


def _settings(config: pytest.Config) -> tuple[str, list[str]]:
    """Those of the project: a role, and keys of optional servers."""
    from datalab.errors import DatalabError
    from datalab.servers import SERVERS
    from datalab.state import LAPTOP, SERVICE

    optional = [key for key, server in SERVERS.items() if server.optional]
    role, servers = config.getini("datalab_as"), config.getini("datalab_with")
    for name, allowed, values in (
        ("datalab_as", [LAPTOP, SERVICE], [role]),
        ("datalab_with", optional, servers),
    ):
        for value in values:
            if value not in allowed:
                raise DatalabError(
                    f"The setting {name} of pytest is {value!r}.",
                    f"Set it to {' or '.join(allowed)}, or leave it out.",
                )
    return role, servers


@pytest.fixture
def datalab(datalab_of_this_run: Service) -> Iterator[Service]:
    """An S3 store for one test: its variables are set, its buckets are empty.

    After the test the variables are as before, and what it stored is deleted. What it wrote
    to PostgreSQL stays until the end of the run.
    """
    from datalab.machine.variables import is_owned

    service = datalab_of_this_run
    with pytest.MonkeyPatch.context() as patch:
        for name in filter(is_owned, list(os.environ)):
            patch.delenv(name)
        for name, value in service.environment.items():
            if value is None:
                patch.delenv(name, raising=False)
            else:
                patch.setenv(name, value)
        yield service
    _empty(service.lab)


def _empty(lab: Datalab) -> None:
    """Delete what is in the buckets of the student, and the rules that open them."""
    from datalab.servers.rights import OWN_BUCKETS, STUDENT

    store = lab.store()
    s3 = store.client("s3", store.settings.root)
    for bucket in OWN_BUCKETS[STUDENT]:
        with suppress(s3.exceptions.ClientError):  # there are none
            s3.delete_bucket_policy(Bucket=bucket)
        for page in s3.get_paginator("list_object_versions").paginate(Bucket=bucket):
            found = [*page.get("Versions", []), *page.get("DeleteMarkers", [])]
            if found:
                objects = [{name: each[name] for name in ("Key", "VersionId")} for each in found]
                s3.delete_objects(Bucket=bucket, Delete={"Objects": objects, "Quiet": True})
