"""TLS on the gateway's port: certificates that can be replaced while it serves."""

from __future__ import annotations

import ssl
from pathlib import Path

import grpc
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key

from lookalike_service import metrics
from lookalike_service.errors import StartupError
from lookalike_service.settings import Settings
from lookalike_service.watched import Watched

__all__ = ["server_credentials", "web_context"]


def server_credentials(settings: Settings) -> grpc.ServerCredentials | None:
    """What encrypts the gateway's port; None when it shall be plain. Raises StartupError.

    Each new connection gets what the files say then. Connections that are there keep what they began with.
    """
    certificate, key, authorities = settings.tls_certificate, settings.tls_key, settings.tls_client_ca
    if not (certificate or key or authorities):
        return None
    if not (certificate and key):
        raise StartupError(
            "TLS needs a certificate and its key: set LOOKALIKE_TLS_CERTIFICATE and LOOKALIKE_TLS_KEY to PEM files"
        )
    paths = [Path(name) for name in (certificate, key, authorities) if name]
    watched = Watched(paths, lambda: _configuration(*paths))
    # Called for every new connection, in a thread of gRPC's.
    return grpc.dynamic_ssl_server_credentials(
        watched.value(), watched.value, require_client_authentication=bool(authorities)
    )


def web_context(settings: Settings) -> ssl.SSLContext | None:
    """What encrypts the page, with the same files as the gateway's port; None when it shall be plain.

    The files are read once. Raises StartupError.
    """
    if server_credentials(settings) is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(settings.tls_certificate, settings.tls_key)
        if settings.tls_client_ca:
            context.load_verify_locations(settings.tls_client_ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (OSError, ssl.SSLError) as error:
        raise StartupError(f"the page cannot be encrypted with {settings.tls_certificate}: {error}") from error
    return context


def _configuration(
    certificate: Path, key: Path, authorities: Path | None = None
) -> grpc.ServerCertificateConfiguration:
    chain, private = _read(certificate), _read(key)
    try:
        [leaf, *_] = x509.load_pem_x509_certificates(chain)
    except ValueError as error:
        raise StartupError(f"{certificate} holds no certificate in PEM") from error
    try:
        public = load_pem_private_key(private, password=None).public_key()
    except (ValueError, TypeError) as error:
        raise StartupError(
            f"{key} holds no private key in PEM, or one with a password, which nobody could type"
        ) from error
    spelled = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if public.public_bytes(*spelled) != leaf.public_key().public_bytes(*spelled):
        raise StartupError(f"the key in {key} is not that of the certificate in {certificate}")
    configuration = grpc.ssl_server_certificate_configuration(
        [(private, chain)], root_certificates=_authorities(authorities) if authorities else None
    )
    metrics.certificate_ends(leaf.not_valid_after_utc.timestamp())
    return configuration


def _authorities(path: Path) -> bytes:
    content = _read(path)
    try:
        x509.load_pem_x509_certificates(content)
    except ValueError as error:
        raise StartupError(f"{path} holds no certificate in PEM") from error
    return content


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise StartupError(f"{path} cannot be read ({error.strerror or error})") from error
