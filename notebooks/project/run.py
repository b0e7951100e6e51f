"""From raw to result: ``python run.py``. Run it again whenever you like."""

import sys
import tomllib
from pathlib import Path

import requests
from botocore.exceptions import BotoCoreError
from clean import clean
from fetch import fetch
from result import result
from store import Store


def main() -> int:
    """Do the three steps; each leaves alone what is done already."""
    config = tomllib.loads(Path(__file__).with_name("config.toml").read_text(encoding="utf-8"))
    store = Store(config["store"]["prefix"])
    try:
        manifest = fetch(store, config["raw"])
        table = clean(store, manifest, config["clean"])
        result(store, table)
    except (requests.RequestException, ValueError) as error:
        print(f"The download stopped: {error}", file=sys.stderr)
        print("What came is kept. Run this again: it goes on with the next page.", file=sys.stderr)
        return 1
    except (OSError, BotoCoreError) as error:
        print(f"The store refused: {error}", file=sys.stderr)
        print("Are the keys of your service still valid, and is MY_BUCKET yours?", file=sys.stderr)
        return 1
    print(f"done     s3://{store.root}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
