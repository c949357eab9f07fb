"""The channel to a server and the stubs on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc

from lookalike.calls import MAX_MESSAGE_BYTES
from lookalike.v1.product_service_pb2_grpc import ProductServiceStub
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub

if TYPE_CHECKING:
    from lookalike.v1.product_service_pb2_grpc import ProductServiceAsyncStub
    from lookalike.v1.search_service_pb2_grpc import SearchServiceAsyncStub

__all__ = ["API_KEY_HEADER", "Connection", "connect"]

API_KEY_HEADER = "x-api-key"

CHANNEL_OPTIONS: tuple[tuple[str, int | str], ...] = (
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    # Calls that wait for an answer notice within 90 s that the way to the server is gone.
    ("grpc.keepalive_time_ms", 60_000),
    ("grpc.keepalive_timeout_ms", 30_000),
    # After an outage the channel is back before most timeouts are over (gRPC's own bound is two minutes).
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 2_000),
)


@dataclass(frozen=True, slots=True)
class Connection:
    """A channel with its stubs; belongs to the event loop in which it was made."""

    channel: grpc.aio.Channel
    search: SearchServiceAsyncStub
    products: ProductServiceAsyncStub


def connect(
    target: str,
    *,
    credentials: grpc.ChannelCredentials | None,
    options: Sequence[tuple[str, int | str]],
) -> Connection:
    """A connection that is made with its first call; `options` win over our own."""
    merged = tuple({**dict(CHANNEL_OPTIONS), **dict(options)}.items())
    if credentials is None:
        channel = grpc.aio.insecure_channel(target, options=merged)
    else:
        channel = grpc.aio.secure_channel(target, credentials, options=merged)
    return Connection(channel, SearchServiceStub(channel), ProductServiceStub(channel))
