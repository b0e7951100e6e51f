"""The process of the token issuer: a web server with two documents, and files of tokens.

Format of the tokens: RFC 7519; of the two documents that a store reads: OpenID Connect
Discovery 1.0, RFC 7517. The private key exists in the memory of this process only.
"""

import json
import ssl
import sys
import threading
import time
import uuid
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from datalab.files import write
from datalab.servers.issuer import AUDIENCE, DISCOVERY, EVERY, LIFE, PEOPLE, PUBLIC_KEYS, token_file


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


def main() -> int:
    """Run as ``… --datalab-issuer FOLDER PORT``; ends when the folder is gone."""
    folder, port = Path(sys.argv[2]), int(sys.argv[3])
    signer = Signer(f"https://127.0.0.1:{port}")
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
            write(token_file(folder, person), signer.token(person))
        except FileNotFoundError:  # the lab is being removed
            return


if __name__ == "__main__":
    sys.exit(main())
