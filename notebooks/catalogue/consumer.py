"""From the broker's queue to the catalogue: at least once, and it shows only once.

A message is acknowledged after the catalogue is saved, so a message that was not dealt
with comes again, whoever was killed. It may then be dealt with twice, or after a later
one: that does no harm, since a message only says *where* to look; what the catalogue
gets is the object as it is at that moment.
"""

import json
import logging
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pika
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from catalogue.messages import Malformed, objects
from catalogue.storage import Report, Storage

BATCH = 200  # messages saved, and acknowledged, together
QUIET = 0.2  # seconds without a message end a batch
LONGEST_PAUSE = 10.0  # seconds between two attempts to go on
ANSWER = 0.05  # seconds between two looks whether a save is done
RECONCILE = json.dumps({"reconcile": True}).encode()
#: What the store says of keys and buckets that no second attempt will mend.
REFUSALS = {"AccessDenied", "ExpiredToken", "InvalidAccessKeyId", "InvalidTokenId", "NoSuchBucket"}
log = logging.getLogger("catalogue")


class Stopped(Exception):
    """A person has to do something; the two texts say what happened, and what to do."""


Message = tuple[int, bytes]  # its delivery tag, by which it is acknowledged, and its body


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

    @property
    def dead(self) -> str:
        """Name of the dead-letter queue."""
        return f"{self.queue}.dead"

    # -- the commands ------------------------------------------------------------------

    def run(self, idle: float | None = None) -> None:
        """Follow the queue for good, or until no message came for ``idle`` seconds.

        The end of the broker or of the store is waited out.

        Raises
        ------
        Stopped
            The store refuses the keys or the bucket, or the queue was deleted.
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
                if isinstance(error, ClientError) and error.response["Error"]["Code"] in REFUSALS:
                    raise Stopped(
                        f"The store refuses: {error}",
                        "Mend it (new keys?) and start again; the messages wait in the queue.",
                    ) from error
                # what was not acknowledged comes again after the connection is closed
                said = f"{type(error).__name__}: {error}".removesuffix(": ").splitlines()[0]
                log.warning("%s; next attempt in %.1f s", said, pause)
            time.sleep(pause)
            pause = min(2 * pause, LONGEST_PAUSE)

    def rebuild(self) -> Report:
        """Rebuild the catalogue here and now.

        Raises
        ------
        Stopped
            A follower is at work.
        """
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            channel = self.open(connection)
            # The queue has one active consumer. If that is this one, a follower that is started
            # now waits; what it is to get goes back into the queue when this connection closes.
            channel.basic_consume(self.queue, lambda *_: None)
            for _ in range(10):  # a follower that has just ended is counted for a moment
                declared = channel.queue_declare(self.queue, passive=True)
                if declared.method.consumer_count == 1:
                    return _while_connected(connection, self.storage.rebuild)
                connection.sleep(0.1)
        raise Stopped(
            "A follower is at work, and two writers would undo each other.",
            "Ask it to rebuild: the command `reconcile`. Or stop it first.",
        )

    def ask_to_reconcile(self) -> None:
        """Ask whoever follows the queue to rebuild the catalogue, in its turn."""
        with pika.BlockingConnection(pika.URLParameters(self.url)) as connection:
            _publish(self.open(connection), self.queue, RECONCILE, {})

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

    # -- the queue ---------------------------------------------------------------------

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

    def _batches(self, channel: Any, idle: float | None) -> Iterable[list[Message]]:
        batch: list[Message] = []
        heard = time.monotonic()
        for method, _, body in channel.consume(self.queue, inactivity_timeout=QUIET):
            if method is not None:
                heard = time.monotonic()
                batch.append((method.delivery_tag, body))
            if len(batch) == BATCH or (batch and method is None):
                yield batch
                batch = []
            elif idle is not None and time.monotonic() - heard > idle:
                return
        # only the broker ends that loop, and only for this
        raise Stopped(
            f"The queue {self.queue} was deleted, with the messages in it.",
            "Start again, which makes it anew; then catch up with `reconcile`.",
        )

    def _save(self, channel: Any, batch: list[Message]) -> None:
        keys: dict[str, bytes] = {}  # with the last message about it
        for _, body in batch:
            if body == RECONCILE:
                _while_connected(channel.connection, self.storage.rebuild, "rebuilt")
                continue
            try:
                told = objects(body)
            except Malformed as error:
                _publish(channel, self.dead, body, {"reason": str(error)})
                continue
            for bucket, key in told:  # others may use the same exchange
                if bucket == self.storage.bucket and key.startswith(self.storage.images):
                    keys[key] = body
        if keys:
            save = lambda: self.storage.update(keys)  # noqa: E731
            report = _while_connected(channel.connection, save, "updated")
            for key, reason in report.refused.items():
                _publish(channel, self.dead, keys[key], {"key": key, "reason": reason})
        channel.basic_ack(batch[-1][0], multiple=True)


def _publish(channel: Any, queue: str, body: bytes, headers: dict[str, str]) -> None:
    persistent = pika.BasicProperties(delivery_mode=2, headers=headers)
    channel.basic_publish("", queue, body, persistent, mandatory=True)


def _while_connected(connection: Any, work: Callable[[], Report], done: str = "") -> Report:
    """Do ``work``, however long it takes, without losing the connection to the broker.

    The broker asks now and then whether the other side is alive (a *heartbeat*). Where
    nobody answers for a minute, it closes the connection and gives the messages out again:
    work that takes longer would be begun again and again. So the work has a thread of its
    own, and this one, the only one that may use the connection, answers.
    """
    with ThreadPoolExecutor(1) as thread:
        working = thread.submit(work)
        while not working.done():
            connection.process_data_events(time_limit=ANSWER)
    report = working.result()
    if done:
        counts = len(report.catalogued), len(report.removed), len(report.refused)
        log.info("%s: %d catalogued, %d removed, %d refused", done, *counts)
    return report
