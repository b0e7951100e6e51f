"""``python -m catalogue``: the commands."""

import argparse
import logging
import os
import signal
import sys
from types import FrameType

import pika
from botocore.exceptions import BotoCoreError, ClientError
from pika.exceptions import AMQPError

from catalogue.consumer import Consumer, Stopped
from catalogue.storage import Storage, client

DESCRIPTION = "Keep a STAC catalogue of the images below a prefix of a bucket, as they come and go."
ENVIRONMENT = """
The store and its keys are taken from AWS_ENDPOINT_URL, AWS_ACCESS_KEY_ID,
AWS_SECRET_ACCESS_KEY and AWS_SESSION_TOKEN; the broker from AMQP_URL and AMQP_EXCHANGE
(bucket-events, if it is not set). Only `rebuild` needs no broker; with one, it looks
whether a follower is at work.

example: python -m catalogue --images mine/tiles/ --catalogue mine/stac/ rebuild
"""
NEXT_STEP = {  # by the beginning of the error's name or code
    "NoCredentials": "Set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY.",
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
    commands.add_parser("rebuild", help="rebuild it here and now, where nothing follows")
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
    try:
        storage = Storage(client(), bucket, images, catalogue)
        _do(given.command, storage, getattr(given, "idle", None))
    except Stopped as stopped:
        print(*stopped.args, sep="\n", file=sys.stderr)
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


def _do(command: str, storage: Storage, idle: float | None) -> None:
    url, exchange = os.environ.get("AMQP_URL"), os.environ.get("AMQP_EXCHANGE", "bucket-events")
    if url is None and command != "rebuild":
        raise Stopped(
            "There is no broker here: AMQP_URL is not set.",
            "Without one, the command `rebuild` makes the catalogue.",
        )
    try:
        pika.URLParameters(url or "amqp://")
    except (ValueError, IndexError):  # it may hold a password: not shown
        said = "AMQP_URL is no address of a broker: amqp://USER:PASSWORD@HOST:PORT/"
        raise Stopped(said) from None
    consumer = Consumer(url or "", exchange, f"catalogue.{storage.place}", storage)
    if command == "follow":
        consumer.run(idle)
    elif command == "reconcile":
        consumer.ask_to_reconcile()
    elif command == "rebuild":
        report = consumer.rebuild() if url else storage.rebuild()
        print(f"{len(report.catalogued)} catalogued, {len(report.refused)} refused")
        for key, reason in report.refused.items():
            print(f"  {key}: {reason}")
        if not report.catalogued and not report.refused:
            print(f"Nothing lies below {storage.place}: is it the right prefix?")
    else:
        for letter in consumer.dead_letters():
            print(f"{letter.get('key', 'a message')}: {letter['reason']}")


def _end(_number: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


if __name__ == "__main__":
    sys.exit(main())
