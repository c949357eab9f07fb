"""Where the gateway listens, and that it does so beyond this machine only when callers show who they are."""

from __future__ import annotations

import ipaddress
import logging
from pathlib import Path

import grpc
from grpc_health.v1 import health, health_pb2_grpc

from lookalike_service.access import AccessInterceptor
from lookalike_service.callers import Caller
from lookalike_service.errors import StartupError
from lookalike_service.keys import KeyRing
from lookalike_service.quota import Quotas, Room
from lookalike_service.settings import Settings
from lookalike_service.tls import server_credentials

__all__ = ["access", "check_callers", "health_server", "is_local", "listen"]

logger = logging.getLogger(__name__)


def access(settings: Settings) -> AccessInterceptor:
    """What lets calls in, as the settings say. Raises StartupError."""
    rate, photos = settings.requests_per_second, settings.photos_at_once
    keys = None
    if settings.keys_file:
        keys = KeyRing(Path(settings.keys_file), requests_per_second=rate, photos_at_once=photos)
    return AccessInterceptor(
        keys,
        anonymous=Caller(requests_per_second=rate, photos_at_once=photos),
        certified=bool(settings.tls_client_ca),
        quotas=Quotas(),
        room=Room(settings.bytes_in_flight),
    )


def check_callers(settings: Settings) -> None:
    """See that no stranger could call. Raises StartupError."""
    for address in filter(None, (settings.address, settings.page_address)):
        if not (is_local(address) or _asks(settings) or settings.allow_anonymous):
            raise StartupError(
                f"{address} can be reached from other machines, and nobody would be asked who he is: make a key with "
                "`python -m lookalike_service key` and set LOOKALIKE_KEYS_FILE, or have callers show certificates "
                "(LOOKALIKE_TLS_CLIENT_CA), or listen on 127.0.0.1; on a network that strangers do not reach "
                "LOOKALIKE_ALLOW_ANONYMOUS=true goes without"
            )


def _asks(settings: Settings) -> bool:
    return bool(settings.keys_file or settings.tls_client_ca)


def listen(server: grpc.aio.Server, settings: Settings) -> int:
    """Bind the gateway's port and return it. Raises StartupError, also when any stranger could call."""
    check_callers(settings)
    address = settings.address
    local = is_local(address)
    credentials = server_credentials(settings)
    if not _asks(settings):
        who = "this machine" if local else "every machine that reaches it, as LOOKALIKE_ALLOW_ANONYMOUS allows"
        logger.warning("no API keys are set, so %s listens to everybody on %s", address, who)
    elif settings.keys_file and credentials is None and not local:
        logger.warning("%s is not encrypted: API keys can be read on the way (LOOKALIKE_TLS_CERTIFICATE)", address)
    return _bound(server, address, credentials)


def health_server(
    servicer: health.aio.HealthServicer, settings: Settings, *, shared_port: bool
) -> grpc.aio.Server | None:
    """A server of health alone; None when none is wanted. Workers share its port. Raises StartupError."""
    if not settings.health_address:
        return None
    server = grpc.aio.server(options=[("grpc.so_reuseport", int(shared_port))])
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    _bound(server, settings.health_address, None)
    return server


def is_local(address: str) -> bool:
    """Whether only this machine reaches an address, as gRPC writes it."""
    if address.startswith(("unix:", "unix-abstract:")):
        return True
    host = address.removeprefix("dns:").removeprefix("ipv4:").removeprefix("ipv6:").rpartition(":")[0].strip("[]")
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _bound(server: grpc.aio.Server, address: str, credentials: grpc.ServerCredentials | None) -> int:
    try:
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
    except RuntimeError as error:
        raise StartupError(
            f"cannot listen on {address}: the port is taken, or the address is not this machine's; set "
            "LOOKALIKE_ADDRESS to another one (port 0 takes any that is free)"
        ) from error
    return int(port)
