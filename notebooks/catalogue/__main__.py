"""``python -m catalogue``: the commands."""

import argparse
import logging
import os
import signal
import sys
from types import FrameType

import boto3
import pika
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from catalogue.consumer import Consumer, StoreRefuses
from catalogue.storage import Storage

DESCRIPTION = "Keep a STAC catalogue of the images below a prefix of a bucket, as they come and go."
ENVIRONMENT = """
The store and its keys are taken from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; the broker from AMQP_URL and AMQP_EXCHANGE
(bucket-events, if it is not set). Only `rebuild` needs no broker.

example: python -m catalogue --images mine/tiles/ --catalogue mine/stac/ rebuild
"""
NEXT_STEP = {  # by the beginning of the error's name or code
    "NoCredentials": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    "PartialCredentials": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
    "EndpointConnection": "Does the store run, and is AWS_ENDPOINT_URL its address?",
    "NoSuchBucket": "Is the bucket's name right, and AWS_ENDPOINT_URL the store that has it?",
    "InvalidAccessKeyId": "Are these the keys of this store? Take new ones.",
    "SignatureDoesNotMatch": "AWS_SECRET_ACCESS_KEY does not fit AWS_ACCESS_KEY_ID.",
    "ExpiredToken": "The keys have come to their end: take new ones.",
    "AccessDenied": "May these keys read the images and write the catalogue?",
    "ProbableAuthentication": "Are the user and the password in AMQP_URL right?",
    "AMQPConnection": "Does the broker run, and is AMQP_URL its address?",
}


def main() -> int:
    """Run one command; the exit code is 0, 1 for what the message explains, 2 for wrong use."""
    parser = argparse.ArgumentParser(
        prog="python -m catalogue",
        description=DESCRIPTION,
        epilog=ENVIRONMENT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    where = {"required": True, "metavar": "BUCKET/PREFIX/"}
    parser.add_argument("--images", **where, help="where the images are")
    parser.add_argument("--catalogue", **where, help="where to keep it, in the same bucket")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)
    follow = commands.add_parser("follow", help="follow the queue, until stopped")
    follow.add_argument(
        "--idle", type=float, metavar="SECONDS", help="end after so long without a message"
    )
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
            if not report.catalogued and not report.refused:
                print(f"Nothing lies below {bucket}/{images}: is it the right prefix?")
            return 0
        if "AMQP_URL" not in os.environ:
            print("There is no broker here: AMQP_URL is not set.", file=sys.stderr)
            print("Without one, the command `rebuild` makes the catalogue.", file=sys.stderr)
            return 1
        exchange = os.environ.get("AMQP_EXCHANGE", "bucket-events")
        queue = f"catalogue.{bucket}/{images}"
        try:
            pika.URLParameters(os.environ["AMQP_URL"])
        except (ValueError, IndexError):  # it may hold a password: not shown
            print(
                "AMQP_URL is no address of a broker: amqp://USER:PASSWORD@HOST:PORT/",
                file=sys.stderr,
            )
            return 1
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
        code = type(error).__name__
        print(f"{code}: {error}".removesuffix(": "), file=sys.stderr)
        if isinstance(error, ClientError):
            code = error.response["Error"]["Code"]
        for beginning, step in NEXT_STEP.items():
            if code.startswith(beginning):
                print(step, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
