"""The bundle of certificates that clients of the datalab read: everything once."""

import ssl
from pathlib import Path

import certifi
import pytest
import trustme

from datalab.machine.trust import make_certificates, write_bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("lab") / "certs"
    make_certificates(folder, ["example.org"])
    return folder


def certificates(bundle: Path) -> set[bytes]:
    """What Python trusts that reads ``bundle``."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(bundle)
    return {*context.get_ca_certs(binary_form=True)}


def blocks(bundle: Path) -> int:
    return bundle.read_text().count("BEGIN CERTIFICATE")


def test_a_bare_machines_certificates_are_all_there_and_each_once(made: Path) -> None:
    bundle = write_bundle(made, {})
    trusted = certificates(bundle)
    assert certificates(Path(certifi.where())) | certificates(made / "ca.pem") <= trusted
    assert blocks(bundle) == len(trusted)


def test_lists_that_overlap_are_joined_whatever_is_written_between(
    made: Path, tmp_path: Path
) -> None:
    first, second, third = (trustme.CA().cert_pem.bytes().decode() for _ in range(3))
    one, other = tmp_path / "one.pem", tmp_path / "other.pem"
    one.write_bytes("# autorité générale\n".encode("latin-1") + f"{first}{second}".encode())
    # without a line's end at the end, and with those of Windows
    other.write_bytes((second.replace("\n", "\r\n") + third.strip()).encode())
    bundle = write_bundle(made, {"SSL_CERT_FILE": str(one), "AWS_CA_BUNDLE": str(other)})
    assert blocks(bundle) == 4
    for name, text in {"first": first, "second": second, "third": third}.items():
        (tmp_path / f"{name}.pem").write_text(text)
        assert certificates(tmp_path / f"{name}.pem") <= certificates(bundle), name
    assert certificates(made / "ca.pem") <= certificates(bundle)


def test_where_nothing_else_is_trusted_it_is_the_datalabs_authority_alone(
    made: Path, tmp_path: Path
) -> None:
    (tmp_path / "none.pem").touch()
    bundle = write_bundle(made, {"SSL_CERT_FILE": str(tmp_path / "none.pem")})
    assert certificates(bundle) == certificates(made / "ca.pem")
