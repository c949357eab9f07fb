"""Clients of Milvus: how to reach one, get in, and know in time that it cannot be reached."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import grpc
from pymilvus import AsyncMilvusClient, MilvusClient, MilvusException

from lookalike_service.errors import IndexUnavailable, StartupError

__all__ = ["FAILURES", "MilvusOptions", "connected", "failing_clearly", "not_loaded", "reason", "said", "searcher"]

logger = logging.getLogger(__name__)

# What a server says when a disk, memory or a quota is full; Lite says what the operating system does.
_NO_ROOM: Final = re.compile(r"quota exceeded|limit exceeded|quota exhausted|no space left|disk is full", re.IGNORECASE)
FAILURES: Final = (MilvusException, grpc.RpcError, OSError, ValueError)
REFUSALS: Final = (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)
# CollectionNotLoaded of Milvus and of Lite.
NOT_LOADED: Final = (101,)
# Milvus that was away is found again within seconds of its return, not within gRPC's two minutes.
CHANNEL: Final = {
    "grpc.initial_reconnect_backoff_ms": 100,
    "grpc.min_reconnect_backoff_ms": 2_000,
    "grpc.max_reconnect_backoff_ms": 2_000,
}
DEEPEST: Final = 8
LONGEST: Final = 500


@dataclass(frozen=True, slots=True)
class MilvusOptions:
    """How to reach Milvus and what collections look like; Settings documents each."""

    uri: str = field(repr=False)
    token: str = field(default="", repr=False)
    ca_certificate: str = ""
    client_certificate: str = ""
    client_key: str = ""
    server_name: str = ""
    clients: int = 1
    calls: int = 2
    index_kind: str = "HNSW"
    links: int = 16
    build_width: int = 200
    search_width: int = 64
    lists: int = 1024
    probes: int = 32
    batch: int = 2000
    call_seconds: float = 10.0

    @property
    def address(self) -> str:
        """The URI without a password, for messages."""
        parts = urlsplit(self.uri)
        return parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()


async def connected(options: MilvusOptions, *, timeout: float) -> Any:  # noqa: ANN401 - pymilvus is untyped
    """A synchronous client, once Milvus answers; `timeout` seconds at most.

    Raises StartupError that names what it waited for, and at once when waiting heals nothing.
    """
    _check(options)
    deadline = time.monotonic() + timeout
    while True:
        try:
            return await asyncio.to_thread(_attempt, options, max(1.0, min(5.0, deadline - time.monotonic())))
        except FAILURES as error:
            if _refused(error):
                raise StartupError(
                    f"Milvus at {options.address} refuses us; check the user and password in LOOKALIKE_MILVUS_TOKEN"
                ) from error
            if time.monotonic() >= deadline:
                raise StartupError(
                    f"Milvus at {options.address} did not answer within {timeout:.0f} s; check LOOKALIKE_MILVUS_URI, "
                    "that it runs, and whether it speaks TLS (https://) with a certificate that we know "
                    "(LOOKALIKE_MILVUS_CA_CERTIFICATE)"
                ) from error
            await asyncio.sleep(0.3)


def searcher(options: MilvusOptions) -> Any:  # noqa: ANN401
    """An asynchronous client; it connects with its first call."""
    return AsyncMilvusClient(options.uri, timeout=options.call_seconds, **_arguments(options))


def said(error: BaseException) -> str:
    """What Milvus said, for a log: without the filter that it may quote, and without gRPC's pages."""
    return re.sub(r"expression.*", "expression ...", " ".join(str(error).split()), flags=re.IGNORECASE)[:LONGEST]


def reason(error: BaseException) -> str:
    """Why the index fails, as far as a caller should know."""
    if _NO_ROOM.search(str(error)):
        return "the index takes no more: it has no space left, or its quota is used up"
    return "the index does not answer"


@contextmanager
def failing_clearly(name: str, what: str) -> Iterator[None]:
    """Say what could not be done with a collection when a block fails. Raises IndexUnavailable."""
    try:
        yield
    except FAILURES as error:
        logger.warning("Milvus failed: %s", said(error))
        raise IndexUnavailable(f"the collection {name} {what}") from error


def not_loaded(error: BaseException) -> bool:
    """Whether the collection is there, but not in memory: Lite forgets that over a restart."""
    return isinstance(error, MilvusException) and error.code in NOT_LOADED


def _attempt(options: MilvusOptions, seconds: float) -> Any:  # noqa: ANN401
    client = MilvusClient(options.uri, timeout=seconds, **_arguments(options))
    try:
        client.list_collections(timeout=seconds)
    except FAILURES:
        client.close()
        raise
    return client


def _refused(error: BaseException) -> bool:
    """Whether Milvus wants another user or password; pymilvus says only that it could not connect."""
    link: Any = error
    # pymilvus raises errors from themselves, so the chain may be a circle.
    for _ in range(DEEPEST):
        if isinstance(link, grpc.Call) and link.code() in REFUSALS:
            return True
        link = getattr(link, "__cause__", None)
    return False


def _arguments(options: MilvusOptions) -> dict[str, Any]:
    # Shared channels are told apart by address and token only: a plain client could be given one with TLS.
    arguments: dict[str, Any] = {"token": options.token, "dedicated": True, "grpc_options": CHANNEL}
    if options.client_certificate:
        arguments |= {
            "ca_pem_path": options.ca_certificate,
            "client_pem_path": options.client_certificate,
            "client_key_path": options.client_key,
        }
    elif options.ca_certificate:
        arguments["server_pem_path"] = options.ca_certificate
    if options.server_name:
        arguments["server_name"] = options.server_name
    return arguments


def _check(options: MilvusOptions) -> None:
    files = {
        "LOOKALIKE_MILVUS_CA_CERTIFICATE": options.ca_certificate,
        "LOOKALIKE_MILVUS_CLIENT_CERTIFICATE": options.client_certificate,
        "LOOKALIKE_MILVUS_CLIENT_KEY": options.client_key,
    }
    for name, path in files.items():
        if path and not Path(path).is_file():
            raise StartupError(f"{name} names {path}, which is no file")
    if options.ca_certificate and not options.uri.startswith("https://"):
        raise StartupError(
            f"LOOKALIKE_MILVUS_CA_CERTIFICATE is set, but {options.address} is without TLS; begin LOOKALIKE_MILVUS_URI "
            "with https://"
        )
    if options.client_certificate and not (options.client_key and options.ca_certificate):
        raise StartupError(
            "LOOKALIKE_MILVUS_CLIENT_CERTIFICATE needs LOOKALIKE_MILVUS_CLIENT_KEY and LOOKALIKE_MILVUS_CA_CERTIFICATE "
            "beside it"
        )
