"""From raw to result: ``python run.py``. Run it again whenever you like."""

import sys
import tomllib
from pathlib import Path
from typing import Any

from clean import clean
from failure import ProjectError
from fetch import fetch
from result import result
from store import Store


def settings() -> dict[str, Any]:
    """What config.toml says."""
    try:
        return tomllib.loads(Path(__file__).with_name("config.toml").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ProjectError(f"config.toml cannot be read: {error}.", "Mend that line.") from error


def main() -> int:
    """Do the three steps; each leaves alone what is done already."""
    try:
        config = settings()
        store = Store(config["prefix"])
        manifest = fetch(store, config["raw"])
        table = clean(store, manifest, config["clean"])
        result(store, table)
    except ProjectError as error:
        print(error, file=sys.stderr)
        return 1
    print(f"done     s3://{store.root}/")
    return 0


if __name__ == "__main__":
    sys.exit(main())
