"""The servers of a datalab. Adding one is a file here and a line below."""

from collections.abc import Iterable, Iterator
from graphlib import TopologicalSorter

from datalab.machine.course import is_the_course
from datalab.servers.base import Server, Settings
from datalab.servers.internet import Internet
from datalab.servers.issuer import Issuer
from datalab.servers.minio import Minio
from datalab.servers.postgres import Postgres
from datalab.servers.rabbitmq import RabbitMQ
from datalab.servers.seaweedfs import SeaweedFS
from datalab.servers.spark import Spark

__all__ = ["SERVERS", "Server", "Settings", "in_order", "in_turns", "needed_by", "of_role"]

SERVERS: dict[str, type[Server]] = {
    server.key: server for server in (Issuer, RabbitMQ, Minio, SeaweedFS, Postgres, Internet, Spark)
}
if not is_the_course():
    del SERVERS[Internet.key]


def of_role(role: str) -> list[str]:
    """Keys of the servers of which a datalab has one, in the order of preference."""
    return [key for key, server in SERVERS.items() if server.role == role]


def needed_by(key: str, keys: Iterable[str]) -> set[str]:
    """Which of ``keys`` a server needs, named by key or by role."""
    return {other for other in keys if {other, SERVERS[other].role} & {*SERVERS[key].needs}}


def in_order(keys: list[str]) -> list[str]:
    """``keys`` so that each server comes after those that it needs."""
    return [key for turn in in_turns(keys) for key in turn]


def in_turns(keys: list[str]) -> Iterator[tuple[str, ...]]:
    """The same in groups: those of a group need none of each other."""
    graph = TopologicalSorter({key: needed_by(key, keys) for key in keys})
    graph.prepare()
    while graph.is_active():
        turn = graph.get_ready()
        yield turn
        graph.done(*turn)
