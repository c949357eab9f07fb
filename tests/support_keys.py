"""What tests of access share: a file of API keys, certificates of an authority of their own, and clocks to turn."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from lookalike_service.keys import hashed, new_key

__all__ = ["Authority", "Certified", "KeyFile"]


class KeyFile:
    """A file of API keys that tests add to."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "keys.toml"
        self.path.write_text("")

    def add(
        self,
        id: str,
        *,
        catalogs: str = '["default"]',
        rights: str = '["search", "manage"]',
        **fields: Any,  # noqa: ANN401 - whatever TOML knows
    ) -> str:
        """A new key with its entry; `fields` are written as they are."""
        key = new_key(id)
        lines = [f'id = "{id}"', f'sha256 = "{hashed(key)}"', f"catalogs = {catalogs}", f"rights = {rights}"]
        lines += [f"{name} = {value}" for name, value in fields.items()]
        with self.path.open("a") as file:
            file.write("\n".join(["[[keys]]", *lines, "\n"]))
        return key


@dataclass(frozen=True)
class Certified:
    """A certificate and its key, as PEM and in files."""

    certificate: bytes
    key: bytes

    def write(self, folder: Path, name: str) -> tuple[str, str]:
        """The paths of both."""
        paths = folder / f"{name}.pem", folder / f"{name}.key"
        for path, content in zip(paths, (self.certificate, self.key), strict=True):
            path.write_bytes(content)
        return str(paths[0]), str(paths[1])


class Authority:
    """Signs certificates for localhost."""

    def __init__(self, name: str) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        self.certificate = self._signed(name, self._key.public_key(), authority=True)

    def certify(self, name: str) -> Certified:
        """A certificate for `name`, good for localhost."""
        key = ec.generate_private_key(ec.SECP256R1())
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return Certified(self._signed(name, key.public_key(), authority=False), private)

    def _signed(self, name: str, public: ec.EllipticCurvePublicKey, *, authority: bool) -> bytes:
        now = datetime.now(UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ip_address("127.0.0.1"))]
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(days=1))
            .not_valid_after(now + timedelta(days=1))
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)
