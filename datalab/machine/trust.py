"""The certificates of a datalab: its own authority, and the bundle that clients trust."""

import os
import re
import ssl
from collections.abc import Mapping, Sequence
from pathlib import Path

import certifi

# Who reads which: Python's ssl, polars, obstore (SSL_CERT_FILE); boto3, s3fs
# (AWS_CA_BUNDLE); requests (REQUESTS_CA_BUNDLE); curl, and pyarrow through it
# (CURL_CA_BUNDLE); GDAL (GDAL_CURL_CA_BUNDLE). DuckDB reads none of them.
BUNDLE_VARIABLES = (
    "SSL_CERT_FILE",
    "AWS_CA_BUNDLE",
    "REQUESTS_CA_BUNDLE",
    "CURL_CA_BUNDLE",
    "GDAL_CURL_CA_BUNDLE",
)

PEM_BLOCK = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.+?)-----END \1-----", re.DOTALL)


def make_certificates(folder: Path, hosts: Sequence[str]) -> None:
    """Make an authority and its certificates, for 127.0.0.1 and for ``hosts``, once.

    ``folder`` then holds ``private.key`` and ``public.crt``, the names that MinIO looks
    for, ``internet.pem`` (key and certificate of ``hosts``, if there are any), and ``ca.pem``. The
    authority's own key is forgotten: it signs nothing else.
    """
    complete = folder / "hosts"  # written last; for other hosts all is made anew
    names = "\n".join(hosts)
    if complete.exists() and complete.read_text() == names:
        return
    import trustme  # slow to import, and not needed to say `status`

    authority = trustme.CA(organization_name="Data in the Cloud, local datalab")
    certificate = authority.issue_cert("127.0.0.1", "localhost")
    folder.mkdir(mode=0o700, exist_ok=True)
    complete.unlink(missing_ok=True)
    key = folder / "private.key"
    key.touch(mode=0o600)
    certificate.private_key_pem.write_to_path(str(key))
    for number, part in enumerate(certificate.cert_chain_pems):
        part.write_to_path(str(folder / "public.crt"), append=number > 0)
    if hosts:
        pair = folder / "internet.pem"
        pair.touch(mode=0o600)
        of_hosts = authority.issue_cert(*hosts)
        of_hosts.private_key_and_cert_chain_pem.write_to_path(str(pair))
    authority.cert_pem.write_to_path(str(folder / "ca.pem"))
    complete.write_text(names)


def write_bundle(folder: Path, environment: Mapping[str, str]) -> Path:
    """Write ``folder/bundle.pem``: what this machine trusts already, and our authority.

    A company network or a CI machine names its authorities in one of the variables;
    those are extended, so that all else in the environment keeps working. Where none
    is named, it is what Python's clients use by themselves: certifi's list, the system's.

    Each certificate stands in it once: two lists have most of theirs in common, and a client
    reads the whole file for each connection that it opens.
    """
    named = {Path(environment[name]) for name in BUNDLE_VARIABLES if environment.get(name)}
    bundle = folder / "bundle.pem"
    if bundle in named and bundle.exists():
        return bundle  # this is a shell of the datalab, where the first list is not known
    trusted = [path for path in sorted(named) if path.is_file()]
    if not trusted:
        system = ssl.get_default_verify_paths().cafile
        trusted = [Path(certifi.where()), *([Path(system)] if system else [])]
    lists = [path.read_text(errors="replace") for path in (*trusted, folder / "ca.pem")]
    unfinished = folder / f"bundle.pem.{os.getpid()}"
    unfinished.write_text(_without_duplicates("\n".join(lists)))
    unfinished.replace(bundle)  # a running notebook may be reading the old one
    return bundle


def _without_duplicates(certificates: str) -> str:
    """The PEM blocks of a text, each once, without the remarks between them."""
    # two files may break the lines of the same certificate in other places
    blocks = {"".join(block[2].split()): block[0] for block in PEM_BLOCK.finditer(certificates)}
    return "\n".join([*blocks.values(), ""])
