"""What every call needs: the connection, the catalog in force, deadline and retries."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Protocol, Self, TypeVar

import grpc
from google.protobuf.message import Message

from lookalike.calls import Call, Caller, Started, check_size
from lookalike.connection import API_KEY_HEADER, Connection, connect
from lookalike.retry import RetryPolicy
from lookalike.unreachable import check_target
from lookalike.values import catalog_name, product_name

__all__ = ["Session"]

STICKY_KEY_HEADER = "lookalike-sticky-key"

Question = TypeVar("Question", bound=Message, contravariant=True)
Answer = TypeVar("Answer", covariant=True)


class Method(Protocol[Question, Answer]):
    """A unary method of a stub."""

    def __call__(
        self, request: Question, /, *, timeout: float, metadata: Sequence[tuple[str, str]]
    ) -> Started[Answer]: ...


class Session:
    """A connection that opens with its first call (see Client)."""

    def __init__(
        self,
        target: str = "127.0.0.1:50051",
        *,
        catalog: str = "default",
        timeout: float = 30.0,
        retry: RetryPolicy | None = None,
        credentials: grpc.ChannelCredentials | None = None,
        api_key: str | None = None,
        metadata: Sequence[tuple[str, str]] = (),
        on_call: Callable[[Call], None] | None = None,
        channel_options: Sequence[tuple[str, int | str]] = (),
    ) -> None:
        check_target(target)
        self.target = target
        self.catalog = catalog_name(catalog)
        self._credentials = credentials
        self._channel_options = channel_options
        self._connection: Connection | None = None
        self._caller = Caller(
            target=target,
            timeout=timeout,
            retry=retry or RetryPolicy(),
            metadata=(*metadata, *([(API_KEY_HEADER, api_key)] if api_key else [])),
            on_call=on_call,
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """End the connection and what is still under way."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.channel.close()

    async def _run(
        self, method: Method[Question, Answer], request: Question, *, timeout: float | None, sticky_key: str = ""
    ) -> Answer:
        name = type(request).__name__.removesuffix("Request")
        check_size(request, name=f"the {name} request")
        sticky = [(STICKY_KEY_HEADER, sticky_key)] if sticky_key else []
        return await self._caller.run(
            name,
            lambda seconds: method(request, timeout=seconds, metadata=(*self._caller.headers(), *sticky)),
            timeout=timeout,
        )

    def _stubs(self) -> Connection:
        if self._connection is None:
            self._connection = connect(self.target, credentials=self._credentials, options=self._channel_options)
        return self._connection

    def _catalog(self, catalog: str | None) -> str:
        return self.catalog if catalog is None else catalog_name(catalog)

    def _name(self, product: str, *, catalog: str | None = None) -> str:
        return product_name(product, catalog=self._catalog(catalog))
