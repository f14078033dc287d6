"""Certificates for tests of TLS, made while they run."""

from dataclasses import dataclass
from datetime import UTC, datetime
from ipaddress import ip_address
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
)
from cryptography.x509.oid import NameOID

FAR = datetime(2100, 1, 1, tzinfo=UTC)
_BEGAN = datetime(2020, 1, 1, tzinfo=UTC)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


@dataclass(frozen=True)
class Pem:
    """A certificate and its key."""

    certificate: bytes
    key: bytes

    def write(self, directory: Path, name: str = "server") -> tuple[Path, Path]:
        """Write both into files, in place of what is there; return these."""
        files = directory / f"{name}.pem", directory / f"{name}.key"
        for file, content in zip(files, (self.certificate, self.key), strict=True):
            file.write_bytes(content)
        return files


class Authority:
    """Vouches for certificates of 127.0.0.1 and localhost."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _named(name)
        certificate = (
            self._builder(self._name, self._key.public_key(), FAR)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .add_extension(
                x509.SubjectKeyIdentifier.from_public_key(self._key.public_key()), critical=False
            )
            .sign(self._key, hashes.SHA256())
        )
        self.pem = certificate.public_bytes(Encoding.PEM)

    def issue(self, name: str = "worker", until: datetime = FAR, password: bytes = b"") -> Pem:
        """Make a certificate and its key, which is encrypted if there is a password."""
        key = ec.generate_private_key(ec.SECP256R1())
        addresses = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        certificate = (
            self._builder(_named(name), key.public_key(), until)
            .add_extension(x509.SubjectAlternativeName(addresses), critical=False)
            .add_extension(
                x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
                critical=False,
            )
            .sign(self._key, hashes.SHA256())
        )
        encryption = BestAvailableEncryption(password) if password else NoEncryption()
        return Pem(
            certificate.public_bytes(Encoding.PEM),
            key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption),
        )

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, until: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(_BEGAN)
            .not_valid_after(until)
        )
