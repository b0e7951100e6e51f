"""Who is who, for a few seconds: the login service of the lab's platform.

On the SSP Cloud a login service (Keycloak) gives each user an identity token, a JSON Web
Token, and the store's STS gives S3 keys for it. Here an OpenID Connect issuer does the
same for the people of the lab, with tokens so short that a notebook can watch one end.

Each person's present token stands in a file that is replaced before the token ends, as
Kubernetes does for the programs that it runs. That is what ``web_identity_token_file``
of an AWS profile expects. The private key exists in the memory of this process only.

Format of the tokens: RFC 7519; of the two documents that MinIO reads: OpenID Connect
Discovery 1.0, RFC 7517.
"""

import json
import os
import ssl
import sys
import threading
import time
import urllib.error
import urllib.request
import uuid
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from datalab.services import Server, free_port, is_free, persistently

AUDIENCE = "datalab"  # what MinIO expects in a token's `aud`: its own name at this issuer
PEOPLE = ("student", "colleague")  # each has the policy of the same name
LIFE = 8  # seconds that a token lasts, and the S3 keys that are given for it
EVERY = 2.0  # seconds between two tokens, so one in a file is good for 6 at least
DISCOVERY = "/.well-known/openid-configuration"
PUBLIC_KEYS = "/keys"
PROJECT = Path(__file__).resolve().parent.parent


def token_file(folder: Path, person: str) -> Path:
    """Where the present token of a person stands (mode 600), in the datalab ``folder``."""
    return folder / "tokens" / f"{person}.jwt"


def address(port: int) -> str:
    """The issuer's name, ``iss`` in its tokens."""
    return f"https://127.0.0.1:{port}"


def server(folder: Path) -> Server:
    """The server process of the datalab in ``folder``."""
    return Server(
        "Token issuer",
        folder / "tokens",
        mark=("datalab.issuer", str(folder)),
        log=folder / "logs" / "issuer.log",
    )


class Issuer:
    """The token issuer of one datalab; the tokens go into ``tokens/`` of its folder."""

    def __init__(self, folder: Path) -> None:
        self.server = server(folder)
        self.folder = folder

    def start(self, port: int) -> int:
        """Start it on ``port``, or on another if that is taken; gives the port."""
        self.server.folder.mkdir(mode=0o700, exist_ok=True)
        return persistently(partial(self._start_once, port))

    def _start_once(self, port: int) -> int:
        port = port if port and is_free(port) else free_port()
        command = [sys.executable, "-m", *self.server.mark, str(port)]
        environment = os.environ | {"PYTHONPATH": str(PROJECT)}
        self.server.start(command, partial(self.answers, port), environment)
        return port

    def answers(self, port: int) -> bool:
        """Whether *this* issuer answers: the certificate says so, not only the port."""
        certificate = self.folder / "certs" / "ca.pem"
        context = ssl.create_default_context(cafile=str(certificate))
        opener = urllib.request.build_opener(
            urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=context)
        )
        try:
            with opener.open(address(port) + DISCOVERY, timeout=5) as answer:
                return bool(json.load(answer)["issuer"] == address(port))
        except (urllib.error.URLError, OSError):
            return False


# -- the process itself ------------------------------------------------------------------


class Signer:
    """Makes tokens, and shows the public key that they are checked with."""

    def __init__(self, issuer: str) -> None:
        from cryptography.hazmat.primitives.asymmetric import ec  # not needed to say `status`

        self.issuer = issuer
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.key_id = uuid.uuid4().hex  # MinIO fetches the keys again when it sees a new one

    def token(self, person: str) -> str:
        """A token of ``LIFE`` seconds that says who the person is, and which policy applies."""
        import jwt

        now = int(time.time())
        claims = {
            "iss": self.issuer,
            "sub": person,
            "aud": AUDIENCE,
            "iat": now,
            "exp": now + LIFE,
            "policy": person,  # the claim that MinIO looks for
        }
        return jwt.encode(claims, self.key, algorithm="ES256", headers={"kid": self.key_id})

    def public_keys(self) -> dict[str, Any]:
        """The JSON Web Key Set."""
        from jwt.algorithms import ECAlgorithm

        key = ECAlgorithm.to_jwk(self.key.public_key(), as_dict=True)
        return {"keys": [key | {"kid": self.key_id, "use": "sig", "alg": "ES256"}]}


def _documents(signer: Signer) -> dict[str, bytes]:
    discovery = {
        "issuer": signer.issuer,
        "jwks_uri": signer.issuer + PUBLIC_KEYS,
        "response_types_supported": ["id_token"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["ES256"],
    }
    documents = {DISCOVERY: discovery, PUBLIC_KEYS: signer.public_keys()}
    return {path: json.dumps(document).encode() for path, document in documents.items()}


def _serve(documents: dict[str, bytes], certificates: Path, port: int) -> None:
    class Handler(BaseHTTPRequestHandler):
        timeout = 5  # seconds; whoever connects and says nothing is left

        def do_GET(self) -> None:
            document = documents.get(self.path)
            self.send_response(404 if document is None else 200)
            self.send_header("Content-Type", "application/json")
            self.end_headers()
            self.wfile.write(document or b"{}")

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "public.crt", certificates / "private.key")
    web = ThreadingHTTPServer(("127.0.0.1", port), Handler)
    web.daemon_threads = True
    # each handshake in the thread of its connection, so that a slow one keeps nobody waiting
    web.socket = context.wrap_socket(web.socket, server_side=True, do_handshake_on_connect=False)
    threading.Thread(target=web.serve_forever, daemon=True).start()


def _write(file: Path, text: str) -> None:
    unfinished = file.with_suffix(".new")
    with os.fdopen(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write(text)
    unfinished.replace(file)


def main() -> int:
    """Run as ``python -m datalab.issuer FOLDER PORT``; ends when the folder is gone."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    signer = Signer(address(port))
    renew = partial(_renew, folder, signer)
    renew()  # before it answers: who finds it ready finds the tokens, too
    _serve(_documents(signer), folder / "certs", port)
    while folder.exists():
        time.sleep(EVERY)
        renew()
    return 0


def _renew(folder: Path, signer: Signer) -> None:
    for person in PEOPLE:
        try:
            _write(token_file(folder, person), signer.token(person))
        except FileNotFoundError:  # the lab is being removed
            return


if __name__ == "__main__":
    sys.exit(main())
