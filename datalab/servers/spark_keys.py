"""Tell a server of the datalab the student's present keys of the store.

A program of its own, without the datalab's packages: the libraries of AWS call it
(``credential_process``), and again when the keys that it gave have ended.
"""

import json
import sys
from pathlib import Path


def main() -> None:
    """Print the temporary keys that the state of a datalab holds of a store."""
    _, state, store = sys.argv
    keys = json.loads(Path(state).read_text())["servers"][store]["token"]
    if keys is None:
        sys.exit("the datalab is still being made ready")
    answer = {
        "Version": 1,
        "AccessKeyId": keys["access_key"],
        "SecretAccessKey": keys["secret_key"],
        "SessionToken": keys["token"],
        "Expiration": keys["expires"],
    }
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
