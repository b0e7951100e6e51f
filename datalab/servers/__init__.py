"""The servers of a datalab. Adding one is a file here and a line below."""

from graphlib import TopologicalSorter

from datalab.machine.course import is_the_course
from datalab.servers.base import Server, Settings
from datalab.servers.internet import Internet
from datalab.servers.issuer import Issuer
from datalab.servers.minio import Minio
from datalab.servers.postgres import Postgres
from datalab.servers.rabbitmq import RabbitMQ

__all__ = ["SERVERS", "Server", "Settings", "in_order"]

SERVERS: dict[str, type[Server]] = {
    server.key: server for server in (Issuer, RabbitMQ, Minio, Postgres, Internet)
}
if not is_the_course():
    del SERVERS[Internet.key]


def in_order(keys: list[str]) -> list[str]:
    """``keys`` so that each server comes after those that it needs."""
    graph = {key: [need for need in SERVERS[key].needs if need in keys] for key in keys}
    return list(TopologicalSorter(graph).static_order())
