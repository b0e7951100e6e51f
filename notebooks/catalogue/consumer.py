"""From the broker's queue to the catalogue: at least once, and it shows only once.

A message is acknowledged after the catalogue is saved, so a message that was not dealt
with comes again, whoever was killed. It may then be dealt with twice, or after a later
one: that does no harm, since a message only says *where* to look; what the catalogue
gets is the object as it is at that moment.
"""

import json
import logging
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pika
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from catalogue.messages import Malformed, changes
from catalogue.storage import Report, Storage

BATCH = 200  # messages saved, and acknowledged, together
QUIET = 0.2  # seconds without a message end a batch
LONGEST_PAUSE = 10.0  # seconds between two attempts to go on
RECONCILE = {"reconcile": True}
log = logging.getLogger("catalogue")


class StoreRefuses(Exception):
    """Keys that are no longer valid, a bucket that is not there: to try again does not help."""


@dataclass
class Batch:
    """Messages that wait for a save."""

    last_tag: int = 0
    keys: dict[str, bytes] = field(default_factory=dict)  # with the last message about it
    malformed: list[tuple[bytes, str]] = field(default_factory=list)
    reconcile: bool = False

    def add(self, tag: int, body: bytes, storage: Storage) -> None:
        """Take one message."""
        self.last_tag = tag
        if body == json.dumps(RECONCILE).encode():
            self.reconcile = True
            return
        try:
            told = changes(body)
        except Malformed as error:
            self.malformed.append((body, str(error)))
            return
        for change in told:  # others may use the same exchange
            if change.bucket == storage.bucket and change.key.startswith(storage.images):
                self.keys[change.key] = body


@dataclass(frozen=True)
class Consumer:
    """Follows one queue.

    Parameters
    ----------
    url
        Of the broker, ``amqp://…``.
    exchange
        To which the store publishes; durable, of type ``topic``.
    queue
        Made if absent. Refused messages go to ``QUEUE.dead``.
    storage
        Where to look and what to keep.
    """

    url: str
    exchange: str
    queue: str
    storage: Storage

    def run(self, idle: float | None = None) -> None:
        """Follow the queue for good, or until no message came for ``idle`` seconds.

        The end of the broker or of the store is waited out.

        Raises
        ------
        StoreRefuses
            To be started again when that is mended; the messages wait in the queue.
        """
        pause = 0.1
        while True:
            try:
                with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
                    channel = self.open(connection)
                    log.info("following %s", self.queue)
                    for batch in self._batches(channel, idle):
                        self._save(channel, batch)
                        pause = 0.1
                    return
            except (AMQPError, BotoCoreError, ClientError, OSError) as error:
                if _is_refusal(error):
                    raise StoreRefuses(str(error)) from error
                # what was not acknowledged comes again after the connection is closed
                log.warning("%s; next attempt in %.1f s", _in_a_word(error), pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def open(self, connection: Any) -> Any:
        """A channel on which exchange, queue and dead-letter queue are there."""
        channel = connection.channel()
        channel.confirm_delivery()  # publishing returns when the broker has it on disk
        channel.basic_qos(prefetch_count=BATCH)
        channel.exchange_declare(self.exchange, "topic", durable=True)
        # Two consumers would both read the collection, and the second to write it would
        # undo what the first wrote. A second one waits here until the first is gone.
        arguments = {"x-single-active-consumer": True}
        channel.queue_declare(self.queue, durable=True, arguments=arguments)
        channel.queue_bind(self.queue, self.exchange, routing_key="#")
        channel.queue_declare(self.dead, durable=True)
        return channel

    @property
    def dead(self) -> str:
        """Name of the dead-letter queue."""
        return f"{self.queue}.dead"

    def ask_to_reconcile(self) -> None:
        """Ask whoever follows the queue to rebuild the catalogue, in its turn."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            self._publish(self.open(connection), self.queue, json.dumps(RECONCILE).encode(), {})

    def dead_letters(self) -> list[dict[str, str]]:
        """Key (absent for a malformed message) and reason of each; they stay in the queue."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = self.open(connection)
            found = []
            while True:
                method, properties, _ = channel.basic_get(self.dead)
                if method is None:  # closing gives back what was not acknowledged
                    return found
                found.append(properties.headers)

    def _batches(self, channel: Any, idle: float | None) -> Iterable[Batch]:
        batch, heard = Batch(), time.monotonic()
        for method, _, body in channel.consume(self.queue, inactivity_timeout=QUIET):
            if method is not None:
                heard = time.monotonic()
                batch.add(method.delivery_tag, body, self.storage)
                if method.delivery_tag % BATCH:
                    continue
            if batch.last_tag:
                yield batch
                batch = Batch()
            elif idle is not None and time.monotonic() - heard > idle:
                return

    def _save(self, channel: Any, batch: Batch) -> None:
        if batch.reconcile:
            _tell("rebuilt", self.storage.rebuild())
        report = self.storage.update(batch.keys) if batch.keys else Report([], [], {})
        if batch.keys:
            _tell("updated", report)
        for body, reason in batch.malformed:
            self._publish(channel, self.dead, body, {"reason": reason})
        for key, reason in report.refused.items():
            headers = {"key": key, "reason": reason}
            self._publish(channel, self.dead, batch.keys[key], headers)
        channel.basic_ack(batch.last_tag, multiple=True)

    @staticmethod
    def _publish(channel: Any, queue: str, body: bytes, headers: dict[str, str]) -> None:
        persistent = pika.BasicProperties(delivery_mode=2, headers=headers)
        channel.basic_publish("", queue, body, persistent, mandatory=True)


def _tell(what: str, report: Report) -> None:
    counts = (len(report.catalogued), len(report.removed), len(report.refused))
    log.info("%s: %d catalogued, %d removed, %d refused", what, *counts)
    for key, reason in report.refused.items():
        log.warning("refused %s: %s", key, reason)


def _is_refusal(error: Exception) -> bool:
    codes = ("AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidTokenId", "NoSuchBucket")
    return isinstance(error, ClientError) and error.response["Error"]["Code"] in codes


def _in_a_word(error: Exception) -> str:
    text = str(error).splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
