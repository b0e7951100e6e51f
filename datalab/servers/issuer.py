"""Who is who, for a few seconds: the login service of the lab's platform.

On the SSP Cloud a login service (Keycloak) gives each user an identity token, a JSON Web
Token, and the store's STS gives S3 keys for it. Here an OpenID Connect issuer does the
same for the people of the lab, with tokens so short that a notebook can watch one end.

Each person's present token stands in a file that is replaced before the token ends, as
Kubernetes does for the programs that it runs. That is what ``web_identity_token_file``
of an AWS profile expects.
"""

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from datalab.https import get
from datalab.servers.base import PROJECT, Server
from datalab.servers.rights import COLLEAGUE, STUDENT

AUDIENCE = "datalab"  # what a store expects in a token's `aud`: its own name at this issuer
PEOPLE = (STUDENT, COLLEAGUE)  # each has the policy of the same name
LIFE = 8  # seconds that a token lasts, and the S3 keys that are given for it
EVERY = 2.0  # seconds between two tokens, so one in a file is good for 6 at least
DISCOVERY = "/.well-known/openid-configuration"
PUBLIC_KEYS = "/keys"


def token_file(folder: Path, person: str) -> Path:
    """Where the present token of a person stands (mode 600), in the datalab ``folder``."""
    return folder / "tokens" / f"{person}.jwt"


class Issuer(Server):
    """The token issuer of one datalab."""

    key = "issuer"
    name = "Token issuer"

    @property
    def data(self) -> Path:
        """The tokens."""
        return self.folder / "tokens"

    def mark(self) -> tuple[str, str]:
        """An option of its own."""
        return ("--datalab-issuer", str(self.folder))

    def command(self) -> Sequence[str]:
        """The module beside this one, run by this Python."""
        module = ("-m", "datalab.servers.issuer_process")
        return [sys.executable, *module, *self.mark(), str(self.settings.port)]

    def process_environment(self) -> Mapping[str, str]:
        """Where the module is found."""
        return os.environ | {"PYTHONPATH": str(PROJECT)}

    @property
    def url(self) -> str:
        """The issuer's name, ``iss`` in its tokens."""
        return f"https://{self.address}"

    def is_ready(self) -> bool:
        """Whether *this* issuer answers: the certificate says so, not only the port."""
        status, document = get(self.url + DISCOVERY, self.authority)
        return status == 200 and json.loads(document)["issuer"] == self.url

    def variables(self) -> Mapping[str, str]:
        """Where the tokens are found."""
        return {
            "MY_TOKEN_FILE": str(token_file(self.folder, STUDENT)),
            "COLLEAGUE_TOKEN_FILE": str(token_file(self.folder, COLLEAGUE)),
        }

    def shown(self) -> Mapping[str, str]:
        """Where it is."""
        return {"token issuer": self.address}
