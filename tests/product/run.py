"""From the API to a released version: ``python run.py s3://bucket/prefix``.

A second argument is the web address of a published version whose raw copy is taken.
"""

import sys
import tomllib
from pathlib import Path

import requests
from botocore.exceptions import BotoCoreError
from fetch import fetch
from make import make
from release import release
from store import Store


def main() -> int:
    """Do the three steps; each leaves alone what is done."""
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        return 2
    config = tomllib.loads(Path(__file__).with_name("config.toml").read_text(encoding="utf-8"))
    store = Store(sys.argv[1])
    try:
        fetched = fetch(store, config, *sys.argv[2:])
        release(store, config["version"], make(store, config, fetched))
    except (requests.RequestException, OSError, BotoCoreError) as error:
        print(f"It stopped: {error}. Run it again: what is done stays done.", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
