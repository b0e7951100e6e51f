"""``python -m catalogue``: the commands."""

import argparse
import logging
import os
import signal
import sys
from types import FrameType

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from catalogue.consumer import Consumer, StoreRefuses
from catalogue.storage import Storage

DESCRIPTION = "Keep a STAC catalogue of the images below a prefix of a bucket, as they come and go."


def main() -> int:
    """Run one command; the exit code is 0, 1 for what the message explains, 2 for wrong use."""
    parser = argparse.ArgumentParser(prog="python -m catalogue", description=DESCRIPTION)
    parser.add_argument("--images", required=True, metavar="BUCKET/PREFIX/")
    parser.add_argument("--catalogue", required=True, metavar="BUCKET/PREFIX/", help="same bucket")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    follow = commands.add_parser("follow", help="follow the queue, until stopped")
    follow.add_argument("--idle", type=float, help="end after so many seconds without a message")
    commands.add_parser("reconcile", help="ask the follower to rebuild the catalogue, in its turn")
    commands.add_parser("rebuild", help="rebuild it here and now; only where nothing follows")
    commands.add_parser("dead-letters", help="list what was refused, and why")
    given = parser.parse_args()

    bucket, _, images = given.images.partition("/")
    other, _, catalogue = given.catalogue.partition("/")
    images, catalogue = images.strip("/") + "/", catalogue.strip("/") + "/"
    if bucket != other or "/" in (images, catalogue):
        parser.error("name two prefixes of one bucket: BUCKET/PREFIX/")
    if images.startswith(catalogue) or catalogue.startswith(images):
        parser.error("neither prefix may lie within the other")
    logging.basicConfig(format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    logging.getLogger("catalogue").setLevel(logging.INFO)
    logging.getLogger("pika").setLevel(logging.CRITICAL)  # we say ourselves what it raises
    signal.signal(signal.SIGTERM, _end)
    settings = Config(connect_timeout=5, read_timeout=30, max_pool_connections=32)
    storage = Storage(boto3.client("s3", config=settings), bucket, images, catalogue)
    try:
        if given.command == "rebuild":
            report = storage.rebuild()
            print(f"{len(report.catalogued)} catalogued, {len(report.refused)} refused")
            for key, reason in report.refused.items():
                print(f"  {key}: {reason}")
            return 0
        if "AMQP_URL" not in os.environ:
            print("There is no broker here: AMQP_URL is not set.", file=sys.stderr)
            print("Without one, the command `rebuild` makes the catalogue.", file=sys.stderr)
            return 1
        exchange = os.environ.get("AMQP_EXCHANGE", "bucket-events")
        queue = f"catalogue.{bucket}/{images}"
        consumer = Consumer(os.environ["AMQP_URL"], exchange, queue, storage)
        if given.command == "follow":
            consumer.run(given.idle)
        elif given.command == "reconcile":
            consumer.ask_to_reconcile()
        else:
            for letter in consumer.dead_letters():
                print(f"{letter.get('key', 'a message')}: {letter['reason']}")
    except StoreRefuses as error:
        print(f"The store refuses: {error}", file=sys.stderr)
        print(
            "Mend it (new keys?) and start again; the messages wait in the queue.", file=sys.stderr
        )
        return 1
    except (BotoCoreError, ClientError, AMQPError, OSError) as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
