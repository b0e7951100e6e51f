"""The program of unit 47: a catalogue that follows a bucket, and loses and doubles nothing."""

import json
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path
from typing import Any
from urllib.parse import quote

import boto3
import numpy as np
import pika
import pystac
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, SSLError
from rasterio.io import MemoryFile
from rasterio.transform import from_origin
from tenacity import retry, retry_if_exception_type, stop_after_attempt

from datalab.environment import merge
from datalab.lab import Datalab
from datalab.process import is_free
from datalab.servers import rabbitmq
from datalab.servers.base import Server
from datalab.temporary import temporary

PROGRAM = Path(__file__).resolve().parent.parent / "notebooks"
sys.path.append(str(PROGRAM))
from catalogue.consumer import Consumer  # noqa: E402
from catalogue.images import MEDIATYPE, item_id  # noqa: E402
from catalogue.messages import Malformed, objects  # noqa: E402
from catalogue.storage import IN_FLIGHT, Storage, client  # noqa: E402

COG = {MEDIATYPE: "COG"}
IMAGES = 200
WRITERS = 6
#: Of a history: key, body (None: deleted), metadata.
Step = tuple[str, bytes | None, dict]
needs_broker = pytest.mark.skipif(
    not rabbitmq.RabbitMQ.is_available(),
    reason="RabbitMQ is not on this machine (Debian: the package rabbitmq-server)",
)


def geotiff(
    west: float = 6, north: float = 46, driver: str = "COG", size: int = 16, **tags: str
) -> bytes:
    """A raster of one degree."""
    shape = {"width": size, "height": size, "count": 1, "dtype": "int16", "compress": "deflate"}
    place = {"crs": "EPSG:4326", "transform": from_origin(west, north, 1 / size, 1 / size)}
    with MemoryFile() as memory:
        with memory.open(driver=driver, **shape, **place) as raster:
            raster.update_tags(**tags)
            raster.write(np.ones((1, size, size), "int16"))
        return bytes(memory.getbuffer())


# -- messages -------------------------------------------------------------------------

# as sent by the MinIO that the datalab builds, shortened
MINIO = {
    "EventName": "s3:ObjectCreated:Put",
    "Key": "student/tiles/a b+é%.tif",
    "Records": [
        {
            "eventSource": "minio:s3",
            "eventName": "s3:ObjectCreated:Put",
            "s3": {
                "bucket": {"name": "student"},
                "object": {
                    "key": "tiles%2Fa+b%2B%C3%A9%25.tif",
                    "userMetadata": {
                        "X-Amz-Meta-Fairease.catalog.mediatype": "COG",
                        "content-type": "image/tiff",
                    },
                },
            },
        }
    ],
}
# after Ceph's documentation
CEPH = {
    "Records": [
        {
            "eventVersion": "2.1",
            "eventSource": "ceph:s3",
            "eventName": "ObjectCreated:Put",
            "s3": {
                "configurationId": "catalogue",
                "bucket": {"name": "student", "id": "b5.1"},
                "object": {
                    "key": "tiles/a b+é%.tif",
                    "metadata": [{"key": "x-amz-meta-fairease.catalog.mediatype", "val": "COG"}],
                    "tags": [],
                },
            },
            "eventId": "1732181876.5",
            "opaqueData": "",
        }
    ]
}


@pytest.mark.parametrize("message", [MINIO, CEPH], ids=["MinIO", "Ceph"])
def test_both_stores_messages_say_the_same(message: dict) -> None:
    assert objects(json.dumps(message).encode()) == [("student", "tiles/a b+é%.tif")]


@pytest.mark.parametrize(
    "body",
    [b"", b"\xff", b"[]", b"{}", b'{"Records": 1}', b'{"Records": [{}]}', b'{"Records": [null]}'],
)
def test_anything_else_is_malformed(body: bytes) -> None:
    with pytest.raises(Malformed, match="the message is not"):
        objects(body)


def test_no_two_objects_share_an_item() -> None:
    names = ["a.tif", "a/b.tif", "a~2Fb.tif", "a%2Fb.tif", "a_b.tif", "A.tif", "a.tif.tif", "é.tif"]
    assert len({item_id(name) for name in names}) == len(names)
    assert all(set(item_id(name)) <= {*"ab~ACFE2579._3tif"} for name in names)


# -- objects and catalogue, on the datalab of the run -----------------------------------


@pytest.fixture
def storage(request: pytest.FixtureRequest) -> Iterator[Storage]:
    prefix = f"test-{request.node.name[:30].strip('[')}-{os.getpid()}/"
    bucket = os.environ["MY_BUCKET"]
    yield Storage(boto3.client("s3"), bucket, f"{prefix}tiles/", f"{prefix}catalogue/")
    boto3.resource("s3").Bucket(bucket).objects.filter(Prefix=prefix).delete()


def put(storage: Storage, name: str, body: bytes, metadata: dict = COG) -> str:
    key = storage.images + name
    storage.s3.put_object(Bucket=storage.bucket, Key=key, Body=body, Metadata=metadata)
    return key


def stored(storage: Storage) -> dict[str, bytes]:
    """The catalogue's files, by path within it."""

    # a TLS handshake has failed here, among thousands, for a reason that is not known
    @retry(retry=retry_if_exception_type(SSLError), stop=stop_after_attempt(3), reraise=True)
    def read(key: str) -> tuple[str, bytes]:
        body = storage.s3.get_object(Bucket=storage.bucket, Key=key)["Body"]
        return key.removeprefix(storage.catalogue), body.read()

    return dict(storage._each(read, storage._list(storage.catalogue)))


class S3(pystac.stac_io.DefaultStacIO):
    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        assert str(source).startswith("s3://"), f"{source} is read over the network"
        bucket, _, key = str(source).removeprefix("s3://").partition("/")
        return boto3.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read().decode()


def opened(storage: Storage) -> pystac.Catalog:
    url = f"s3://{storage.bucket}/{storage.catalogue}catalog.json"
    return pystac.Catalog.from_file(url, stac_io=S3())


def test_an_item_says_what_the_header_says(storage: Storage) -> None:
    key = put(storage, "a b.tif", geotiff(6, 46, TIFFTAG_DATETIME="2021:04:22 10:00:00"))
    assert storage.update([key]).catalogued == [key]
    catalogue = opened(storage)
    assert catalogue.validate_all() == 1  # it counts the items
    (item,) = catalogue.get_items(recursive=True)
    assert item.bbox == [6, 45, 7, 46]
    assert item.datetime.isoformat() == "2021-04-22T10:00:00+00:00"
    collection = item.get_collection()
    assert collection.extent.spatial.bboxes == [[6, 45, 7, 46]]
    assert item.assets["image"].get_absolute_href() == f"s3://{storage.bucket}/{key}".replace(
        " ", "%20"
    )


REFUSED = {
    "text.tif": (b"no raster" * 30, COG, "no GeoTIFF header in its first 131072 bytes"),
    "empty.tif": (b"", COG, "the object is empty"),
    "cut.tif": (geotiff()[:200], COG, "no GeoTIFF header in its first 131072 bytes"),
    "plain.tif": (geotiff(driver="GTiff", size=600), COG, "not a cloud-optimised GeoTIFF: "),
    "unmarked.tif": (geotiff(), {}, f"its metadata {MEDIATYPE} is absent, not 'COG'"),
    "zarr.tif": (geotiff(), {MEDIATYPE: "Zarr"}, f"its metadata {MEDIATYPE} is 'Zarr', not 'COG'"),
    "notes.txt": (b"hello", COG, "its key does not end in .tif"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_image_is_refused_with_its_reason(storage: Storage, name: str) -> None:
    body, metadata, reason = REFUSED[name]
    put(storage, name, geotiff())
    key = put(storage, name, body, metadata)
    report = storage.update([key])
    assert report.refused[key].startswith(reason)
    assert list(opened(storage).get_items(recursive=True)) == []


def test_changes_in_any_order_and_a_rebuild_end_in_the_same_bytes(storage: Storage) -> None:
    keys = [put(storage, f"{n}/x.tif", geotiff(n, n)) for n in range(5)]
    storage.update(keys)
    put(storage, "1/x.tif", geotiff(20, 20))
    put(storage, "2/x.tif", b"broken")
    storage.s3.delete_object(Bucket=storage.bucket, Key=keys[0])
    for key in (keys[2], keys[1], keys[2], keys[0], keys[1]):
        storage.update([key])
    followed = stored(storage)
    assert len(followed) == 2 + 3
    storage.s3.put_object(
        Bucket=storage.bucket, Key=storage.item_key("stray"), Body=b"{}"
    )  # of a follower killed half-way
    storage.rebuild()
    assert stored(storage) == followed
    assert opened(storage).validate_all() == 3
    for key in keys:
        storage.s3.delete_object(Bucket=storage.bucket, Key=key)
    storage.update(keys)
    assert sorted(stored(storage)) == ["catalog.json", "images/collection.json"]
    assert opened(storage).validate_all() == 0


def test_uploads_share_their_connections(
    storage: Storage, caplog: pytest.LogCaptureFixture
) -> None:
    """A handshake takes ten times as long as the upload of an item."""
    for number in range(3 * IN_FLIGHT):
        put(storage, f"{number}.tif", geotiff())
    with caplog.at_level("DEBUG", "urllib3.connectionpool"):
        own = Storage(client(), storage.bucket, storage.images, storage.catalogue)
        assert len(own.rebuild().catalogued) == 3 * IN_FLIGHT
    opened = [
        record.message
        for record in caplog.records
        if record.message.startswith(("Starting new HTTPS", "Resetting dropped"))
    ]
    assert 0 < len(opened) <= IN_FLIGHT


# -- with a broker ---------------------------------------------------------------------


class Follower:
    """The program, following the queue in a process of its own."""

    def __init__(self, environment: dict[str, str], storage: Storage) -> None:
        self.environment, self.storage = environment, storage
        self.process: subprocess.Popen[bytes] | None = None

    def command(self, *words: str) -> list[str]:
        where = {"images": self.storage.images, "catalogue": self.storage.catalogue}
        options = [f"--{name}={self.storage.bucket}/{prefix}" for name, prefix in where.items()]
        return [sys.executable, "-m", "catalogue", *options, *words]

    def start(self, log: Path = Path(os.devnull)) -> None:
        with log.open("w") as stderr:
            self.process = subprocess.Popen(
                self.command("follow"), cwd=PROGRAM, env=self.environment, stderr=stderr
            )

    def end(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)
        self.process.wait(60)

    def call(self, *words: str, code: int = 0) -> str:
        """What a command prints, on its standard error where it is to fail."""
        done = subprocess.run(
            self.command(*words),
            cwd=PROGRAM,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == code, done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr if code else done.stdout


def size_of(path: Path) -> int:
    """0 also for a file that is gone by now."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def wait_until(happened: Any, what: str, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, f"still not so: {what}"
        time.sleep(0.3)  # some of what is asked costs a connection


@contextmanager
def a_lab_to_break() -> Iterator[tuple[Datalab, Follower]]:
    """A datalab of its own, told of what happens below ``tiles/``, and a follower."""
    with temporary(["rabbitmq"], store="minio") as lab:
        environment = merge(lab.environment(), os.environ)
        s3 = boto3.client(
            "s3",
            endpoint_url=environment["AWS_ENDPOINT_URL"],
            aws_access_key_id=environment["AWS_ACCESS_KEY_ID"],
            aws_secret_access_key=environment["AWS_SECRET_ACCESS_KEY"],
            aws_session_token=environment["AWS_SESSION_TOKEN"],
            verify=environment["AWS_CA_BUNDLE"],
            config=Config(
                connect_timeout=2,
                read_timeout=20,
                max_pool_connections=2 * IN_FLIGHT,
                retries={"total_max_attempts": 1},
                request_checksum_calculation="when_required",  # else a handshake an upload
            ),
        )
        follower = Follower(environment, Storage(s3, "student", "tiles/", "catalogue/"))
        follower.start()
        consumer = consumer_of(follower)
        wait_until(lambda: exists(consumer), "the follower has made its queue")
        rule = {"Name": "prefix", "Value": "tiles/"}
        target = {
            "QueueArn": environment["NOTIFICATION_ARN"],
            "Events": ["s3:ObjectCreated:*", "s3:ObjectRemoved:*"],
            "Filter": {"Key": {"FilterRules": [rule]}},
        }
        s3.put_bucket_notification_configuration(
            Bucket="student", NotificationConfiguration={"QueueConfigurations": [target]}
        )
        try:
            yield lab, follower
        finally:
            with suppress(ProcessLookupError):
                follower.process.kill()
            follower.process.wait()


def consumer_of(follower: Follower) -> Consumer:
    url, storage = follower.environment["AMQP_URL"], follower.storage
    exchange = follower.environment["AMQP_EXCHANGE"]
    return Consumer(url, exchange, f"catalogue.{storage.bucket}/{storage.images}", storage)


def exists(consumer: Consumer) -> bool:
    with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
        try:
            connection.channel().queue_declare(consumer.queue, passive=True)
            return True
        except pika.exceptions.ChannelClosedByBroker:
            return False


class Writers:
    """Careful writers: each repeats what failed until the store says that it is done.

    While the store is down they wait for ``open``.
    """

    def __init__(self, storage: Storage) -> None:
        self.s3, self.bucket = storage.s3, storage.bucket
        self.open = threading.Event()
        self.open.set()
        self.under_way = 0
        self.changed = threading.Condition()

    def pause(self) -> None:
        """Nobody writes any more, and nobody waits for an answer."""
        self.open.clear()
        with self.changed:
            assert self.changed.wait_for(lambda: not self.under_way, 60)

    @contextmanager
    def _under_way(self) -> Iterator[None]:
        with self.changed:
            self.under_way += 1
        try:
            yield
        finally:
            with self.changed:
                self.under_way -= 1
                self.changed.notify_all()

    def write(self, steps: list[Step]) -> None:
        """Each image's steps in their order, several images at once."""
        keys = sorted({key for key, *_ in steps})
        owned = [set(keys[first::WRITERS]) for first in range(WRITERS)]
        with ThreadPoolExecutor(WRITERS) as pool:
            list(pool.map(self._all, [[step for step in steps if step[0] in own] for own in owned]))

    def _all(self, steps: list[Step]) -> None:
        for key, body, metadata in steps:
            self.put(key, body, metadata)

    def put(self, key: str, body: bytes | None, metadata: dict, *, wait: bool = True) -> None:
        deadline = time.monotonic() + 120
        while True:
            assert not wait or self.open.wait(120)
            try:
                with self._under_way():
                    if wait and not self.open.is_set():
                        continue
                    if body is None:
                        self.s3.delete_object(Bucket=self.bucket, Key=key)
                    else:
                        self.s3.put_object(
                            Bucket=self.bucket, Key=key, Body=body, Metadata=metadata
                        )
                return
            except (BotoCoreError, ClientError):
                assert time.monotonic() < deadline, f"{key} could not be written"
                time.sleep(0.05)


def a_history(seed: int) -> tuple[list[Step], dict[str, str]]:
    """Writes and deletes (body None) of some images, with others; what is there at the end.

    The second is, by key, the kind: ``image``, or the reason of its refusal.
    """
    chance = random.Random(seed)  # noqa: S311
    # the place in the world tells the versions of an image apart
    bodies = [geotiff(west, 40) for west in range(12)]
    steps, final = [], {}
    for number in range(IMAGES):
        key = f"tiles/{number % 7}/tile {number:03}.tif"
        own = [(key, chance.choice(bodies), COG)]
        final[key] = "image"
        if chance.random() < 0.4:
            own.append((key, chance.choice(bodies), COG))
        if chance.random() < 0.3:
            own.append((key, None, COG))
            del final[key]
            if chance.random() < 0.3:
                own.append((key, chance.choice(bodies), COG))
                final[key] = "image"
        steps.append(own)
    for number, (name, (body, metadata, reason)) in enumerate(REFUSED.items()):
        key = f"tiles/{number}-{name}"
        steps.append([(key, body, metadata)])
        final[key] = reason
    merged = []
    while steps:  # each image's own steps in their order, those of different images mixed
        own = chance.choice(steps)
        merged.append(own.pop(0))
        if not own:
            steps.remove(own)
    return merged, final


@needs_broker
@pytest.mark.xdist_group("what is killed")
def test_nothing_is_lost_or_doubled_whatever_is_killed() -> None:
    """Follower, broker and store are killed while images come and go; the bytes are compared.

    Two holes are MinIO's, and not the follower's. After each start, killed or not, MinIO answers
    writers a moment before it has read the rules of its buckets, and of what it takes in that
    moment it sends no event. And it answers before an event is on its disk. So writers pause here
    before MinIO is killed and until it is heard again, and nothing may be missing: events that
    wait on its disk are sent after the start. The last kill comes in the middle of their work, as
    in life: then `reconcile` finds what was missed.
    """
    history, final = a_history(seed=8)
    with a_lab_to_break() as (lab, follower):
        broker, minio = lab.server("rabbitmq"), lab.server("minio")
        storage, consumer = follower.storage, consumer_of(follower)
        writers, unheard = Writers(storage), set()

        def start(server: Server) -> None:
            # a client may have the port for a moment, while no server holds it
            wanted = server.settings
            wait_until(lambda: is_free(wanted.port), f"the port of {server.name} is free")
            assert server.start() == wanted

        def restart_follower() -> None:
            for _ in range(2):
                wait_until(lambda: consumers(consumer) == 1, "it follows")
                follower.end(signal.SIGKILL)
                follower.start()

        def rebuild_beside_the_follower() -> None:
            wait_until(lambda: consumers(consumer) == 1, "the follower is back")
            assert "A follower is at work" in follower.call("rebuild", code=1)
            follower.end(signal.SIGKILL)
            rebuild = subprocess.Popen(
                follower.command("rebuild"), cwd=PROGRAM, env=follower.environment
            )
            follower.start()  # whichever of the two is quicker has the other wait, or give up
            assert rebuild.wait(120) in (0, 1)

        def stop_broker() -> None:
            broker.stop()
            start(broker)

        def kill_broker() -> None:
            broker.process.find().kill()
            start(broker)

        def kill_minio_and_listen() -> None:
            writers.pause()
            time.sleep(1)  # what was answered is on its disk
            minio.process.find().kill()
            start(minio)
            for number in count():
                key = f"tiles/probe-{number}.txt"
                writers.put(key, b"hello?", {}, wait=False)
                final[key] = "its key does not end in .tif"
                with suppress(AssertionError):
                    wait_until(lambda key=key: key in letters(consumer), "MinIO is heard", 15)
                    break
                unheard.add(key)
            writers.open.set()

        def kill_minio() -> None:
            minio.process.find().kill()
            start(minio)

        def all_is_followed() -> None:
            waiting = lab.folder / "rabbitmq" / "undelivered"

            def files() -> list[Path]:
                # one that is empty was about to be written when MinIO was killed; it neither
                # sends nor deletes it
                paths = [path for path in waiting.rglob("*") if path.is_file()]
                return [path for path in paths if size_of(path)]

            wait_until(lambda: not files(), "all is delivered", 240)
            for _ in range(2):  # the second comes in a batch after all that is in the queue now
                number = letters(consumer).count(None)
                with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
                    connection.channel().basic_publish(consumer.exchange, "s3", b"no notification")
                heard = lambda: letters(consumer).count(None) > number  # noqa: B023, E731
                wait_until(heard, "the queue is empty", 240)

        *disasters, last = [
            restart_follower,
            stop_broker,
            kill_minio_and_listen,
            kill_broker,
            rebuild_beside_the_follower,
            kill_minio,
        ]
        size = -(-len(history) // (len(disasters) + 1))
        parts = [history[first : first + size] for first in range(0, len(history), size)]
        for part, disaster in zip(parts, disasters, strict=False):
            with ThreadPoolExecutor(1) as beside:
                writing = beside.submit(writers.write, part)
                time.sleep(0.3)
                disaster()
            writing.result()
        all_is_followed()
        followed, told = stored(storage), set(letters(consumer))
        anew = Storage(storage.s3, storage.bucket, "tiles/", "rebuilt0/")  # as long, for the links
        report = anew.rebuild()
        assert sorted(stored(anew)) == sorted(followed)
        assert stored(anew) == followed
        assert told | unheard == {*report.refused, None}

        with ThreadPoolExecutor(1) as beside:
            writing = beside.submit(writers.write, parts[-1])
            time.sleep(0.3)
            last()
        writing.result()
        consumer.ask_to_reconcile()
        all_is_followed()
        report = anew.rebuild()
        followed = stored(storage)
        assert stored(anew) == followed
        images = [key for key, kind in final.items() if kind == "image"]
        assert IMAGES / 2 < len(images) < IMAGES  # there was something to lose, and to leave
        linked = json.loads(followed["images/collection.json"])["links"]
        names = [Path(link["href"]).stem for link in linked if link["rel"] == "item"]
        assert sorted(names) == sorted(item_id(key.removeprefix("tiles/")) for key in images)
        refused = {key: kind for key, kind in final.items() if kind != "image"}
        assert report.refused.keys() == refused.keys()
        assert all(report.refused[key].startswith(refused[key]) for key in refused)


def letters(consumer: Consumer) -> list[str | None]:
    """Keys of the dead letters, None for what is no notification."""
    try:
        return [letter.get("key") for letter in consumer.dead_letters()]
    except pika.exceptions.AMQPError:
        return []


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """What a follower says."""
    return tmp_path / "follower.log"


@pytest.fixture
def follower(storage: Storage) -> Iterator[Follower]:
    """On the datalab of the run, told by hand; gone at the end, with its queues."""
    follower = Follower({**os.environ}, storage)
    yield follower
    if follower.process is not None:
        with suppress(ProcessLookupError):
            follower.process.kill()
        follower.process.wait()
    consumer = consumer_of(follower)
    with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
        for queue in (consumer.queue, consumer.dead):
            connection.channel().queue_delete(queue)


def tell(follower: Follower, key: str) -> None:
    """Send what the store sends of an object that was written."""
    message = json.loads(json.dumps(MINIO))
    (record,) = message["Records"]
    record["s3"] = {"bucket": {"name": follower.storage.bucket}, "object": {"key": quote(key)}}
    consumer = consumer_of(follower)
    with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
        body = json.dumps(message).encode()
        connection.channel().basic_publish(consumer.exchange, "s3", body)


@contextmanager
def silent_store() -> Iterator[None]:
    """The store takes connections and answers nothing for a while."""
    process = Datalab(Path(os.environ["TEST_DATALAB"])).store().process.find()
    process.suspend()
    try:
        yield
    finally:
        process.resume()


@needs_broker
def test_a_save_that_takes_longer_than_the_brokers_patience_is_done_once(
    follower: Follower, log: Path
) -> None:
    key = put(follower.storage, "a.tif", geotiff())
    follower.environment["AMQP_URL"] += "?heartbeat=1"  # second; two without an answer are the end
    follower.start(log)
    wait_until(lambda: "following" in log.read_text(), "it follows")
    with silent_store():
        tell(follower, key)
        time.sleep(5)
    wait_until(lambda: "updated: 1 catalogued" in log.read_text(), "the image is catalogued")
    tell(follower, key)  # and it goes on, on the same connection
    wait_until(lambda: log.read_text().count("updated: 1 catalogued") == 2, "once more")
    assert log.read_text().count("following") == 1, log.read_text()
    assert "next attempt" not in log.read_text()


@needs_broker
def test_a_queue_that_is_deleted_is_the_end_with_a_sentence_and_the_way_on(
    follower: Follower, log: Path
) -> None:
    put(follower.storage, "a.tif", geotiff())
    follower.start(log)
    wait_until(lambda: "following" in log.read_text(), "it follows")
    consumer = consumer_of(follower)
    with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
        connection.channel().queue_delete(consumer.queue)
    assert follower.process.wait(60) == 1
    said = log.read_text()
    assert f"The queue {consumer.queue} was deleted" in said
    assert "`reconcile`" in said and "Traceback" not in said

    follower.start()
    wait_until(lambda: exists(consumer), "it has made its queue again")
    follower.call("reconcile")
    wait_until(lambda: follower.storage._links(), "what happened meanwhile is catalogued")


@needs_broker
def test_a_rebuild_leaves_the_catalogue_to_a_follower_and_a_follower_to_a_rebuild(
    follower: Follower, log: Path
) -> None:
    key = put(follower.storage, "a.tif", geotiff())
    consumer = consumer_of(follower)
    follower.start()
    wait_until(lambda: consumers(consumer) == 1, "it follows")
    said = follower.call("rebuild", code=1)
    assert "A follower is at work" in said and "`reconcile`" in said
    assert stored(follower.storage) == {}
    follower.end(signal.SIGTERM)

    with silent_store():
        rebuild = subprocess.Popen(
            follower.command("rebuild"), cwd=PROGRAM, env=follower.environment
        )
        wait_until(lambda: consumers(consumer) == 1, "the rebuild is under way")
        follower.start(log)
        wait_until(lambda: consumers(consumer) == 2, "the follower waits")
        tell(follower, key)
    assert rebuild.wait(60) == 0
    assert len(follower.storage._links()) == 1
    wait_until(lambda: "updated: 1 catalogued" in log.read_text(), "then it is its turn")


def consumers(consumer: Consumer) -> int:
    """How many are there for its queue, at work or waiting."""
    with pika.BlockingConnection(pika.URLParameters(consumer.url)) as connection:
        try:
            declared = connection.channel().queue_declare(consumer.queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker:
            return 0
        return int(declared.method.consumer_count)


@needs_broker
def test_one_follower_works_and_another_waits_and_a_lost_event_is_reconciled() -> None:
    with a_lab_to_break() as (_, first):
        second = Follower(first.environment, first.storage)
        second.start()
        try:
            storage = first.storage
            for number in range(20):
                put(storage, f"{number}.tif", geotiff(number, 40))
            count = lambda: len(storage._links())  # noqa: E731
            wait_until(lambda: count() == 20, "the first follower catalogues all")
            first.end(signal.SIGKILL)
            put(storage, "20.tif", geotiff(20, 40))
            wait_until(lambda: count() == 21, "the second takes over")
            # an event that never came: the object arrives while nothing is told of it
            nothing: dict = {}
            storage.s3.put_bucket_notification_configuration(
                Bucket=storage.bucket, NotificationConfiguration=nothing
            )
            put(storage, "21.tif", geotiff(21, 40))
            time.sleep(4)  # longer than MinIO waits before it sends
            assert count() == 21
            second.call("reconcile")
            wait_until(lambda: count() == 22, "the follower has rebuilt the catalogue")
        finally:
            second.process.kill()
            second.process.wait()


@pytest.mark.skipif(not os.environ.get("AMQP_URL"), reason="the tests' datalab has no broker")
def test_the_unit_takes_back_its_own_rule_and_leaves_those_of_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    notebook = json.loads((PROGRAM / "47_following_a_bucket.ipynb").read_text(encoding="utf-8"))
    cells = {cell["id"]: "".join(cell["source"]) for cell in notebook["cells"]}
    s3, bucket = boto3.client("s3"), os.environ["MY_BUCKET"]

    def names() -> list[str]:
        rules = s3.get_bucket_notification_configuration(Bucket=bucket)
        return [rule["Id"] for rule in rules.get("QueueConfigurations", [])]

    theirs = {
        "Id": "of somebody else",
        "QueueArn": os.environ["NOTIFICATION_ARN"],
        "Events": ["s3:ObjectCreated:*"],
    }
    s3.put_bucket_notification_configuration(
        Bucket=bucket, NotificationConfiguration={"QueueConfigurations": [theirs]}
    )
    try:
        unit: dict[str, Any] = {}
        needed = ["imports", "setup", "broker", "rule", "notify-add"]
        for name in [*needed, "notify", "notify"]:  # set again, it is still one rule
            exec(cells[name], unit)
        assert names() == ["of somebody else", "course-47-following"]
        for _ in range(2):
            anew: dict[str, Any] = {}  # in a new kernel, in which little else was run
            for name in ("imports", "setup", "clean"):
                exec(cells[name], anew)
            assert names() == ["of somebody else"]
    finally:
        s3.put_bucket_notification_configuration(Bucket=bucket, NotificationConfiguration={})


def test_commands_say_what_is_wrong(storage: Storage) -> None:
    without = {name: value for name, value in os.environ.items() if name != "AMQP_URL"}
    follower = Follower(without, storage)
    cases = {
        ("follow",): (1, "There is no broker here: AMQP_URL is not set."),
        ("nonsense",): (2, "invalid choice"),
    }
    for words, (code, text) in cases.items():
        done = subprocess.run(
            follower.command(*words), cwd=PROGRAM, env=without, capture_output=True, text=True
        )
        assert (done.returncode, text in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
    put(storage, "a.tif", geotiff())
    assert "1 catalogued, 0 refused" in follower.call("rebuild")
    broken = without | {"AWS_SECRET_ACCESS_KEY": "wrong"}
    done = subprocess.run(
        follower.command("rebuild"), cwd=PROGRAM, env=broken, capture_output=True, text=True
    )
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert "SignatureDoesNotMatch" in done.stderr
    assert "AWS_SECRET_ACCESS_KEY does not fit" in done.stderr  # the next step
    for url, text in {
        "nonsense": "AMQP_URL is no address of a broker",
        "amqp://127.0.0.1:9/": "Does the broker run",
    }.items():
        done = subprocess.run(
            follower.command("dead-letters"),
            cwd=PROGRAM,
            env=without | {"AMQP_URL": url},
            capture_output=True,
            text=True,
        )
        assert (done.returncode, text in done.stderr) == (1, True), done.stderr
        assert "Traceback" not in done.stderr
