"""Calls of the contract from inside this process: the same servicers, behind the same interceptors as over gRPC."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

import grpc

from lookalike_service.interceptor import Context

__all__ = ["Admitted", "Calls", "LocalContext"]

Metadata = tuple[tuple[str, str], ...]


class _Details(NamedTuple):
    """What gRPC tells interceptors of a call."""

    method: str
    invocation_metadata: Metadata


class LocalContext:
    """What servicers and interceptors ask of a call's context, for a call that did not come over gRPC."""

    def __init__(self, metadata: Metadata, *, certificate_name: str = "") -> None:
        """`certificate_name` is the common name in the certificate that the caller showed."""
        self._metadata = metadata
        self._trailing: tuple[tuple[str, str | bytes], ...] = ()
        self._certificate_name = certificate_name

    def invocation_metadata(self) -> Metadata:
        return self._metadata

    def trailing_metadata(self) -> tuple[tuple[str, str | bytes], ...]:
        return self._trailing

    def set_trailing_metadata(self, metadata: Sequence[tuple[str, str | bytes]]) -> None:
        self._trailing = tuple(metadata)

    def time_remaining(self) -> float | None:
        """None: a browser gives no deadline, so that the server's own holds."""
        return None

    def auth_context(self) -> Mapping[str, Sequence[bytes]]:
        return {"x509_common_name": [self._certificate_name.encode()]} if self._certificate_name else {}

    def peer_identities(self) -> Sequence[bytes]:
        return ()

    def code(self) -> grpc.StatusCode | None:
        return None


class Admitted:
    """A call that may be made, or is refused by its `answer`; its message need not have been read yet."""

    def __init__(self, handler: Any) -> None:  # noqa: ANN401 - grpc.RpcMethodHandler, untyped
        self._handler = handler
        behavior = handler.unary_unary or handler.stream_unary
        if behavior is None or inspect.isasyncgenfunction(behavior):
            raise TypeError("only methods with one answer can be called from here")

    @property
    def refused(self) -> bool:
        """Whether `answer` does nothing but say why not; interceptors refuse with a handler that reads no message."""
        return self._handler.request_deserializer is None

    async def answer(self, message: Any, context: LocalContext) -> Any:  # noqa: ANN401 - protobuf messages
        """The answer to a message. Raises LookalikeError."""
        if self._handler.unary_unary:
            return await self._handler.unary_unary(message, cast(Context, context))
        return await self._handler.stream_unary(_stream(message), cast(Context, context))


async def _stream(message: Any) -> AsyncIterator[Any]:  # noqa: ANN401
    yield message


class Calls:
    """The methods of the servicers that are added to it, as to a gRPC server."""

    def __init__(self, interceptors: Sequence[grpc.aio.ServerInterceptor]) -> None:
        """The first one is the outermost."""
        self._interceptors = interceptors
        self._handlers: dict[str, Any] = {}

    def as_server(self) -> grpc.aio.Server:
        """What `add_..._to_server` of the stubs takes."""
        return cast(grpc.aio.Server, self)

    def add_generic_rpc_handlers(self, handlers: Sequence[grpc.GenericRpcHandler]) -> None:
        """Nothing: `add_registered_method_handlers` brings the same methods by their names."""

    def add_registered_method_handlers(self, service: str, handlers: Mapping[str, Any]) -> None:
        """Take in the methods of a service."""
        self._handlers.update({f"/{service}/{name}": handler for name, handler in handlers.items()})

    async def admit(self, method: str, metadata: Metadata) -> Admitted:
        """Begin a call of `package.Service/Method`: whoever may not make it is refused before his message is read."""

        async def innermost(details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
            return self._handlers[str(details.method)]

        continuation = innermost
        for interceptor in reversed(self._interceptors):
            continuation = _behind(interceptor, continuation)
        details = cast(grpc.HandlerCallDetails, _Details(f"/{method}", metadata))
        return Admitted(await continuation(details))


def _behind(interceptor: grpc.aio.ServerInterceptor, continuation: Any) -> Any:  # noqa: ANN401
    async def intercept(details: grpc.HandlerCallDetails) -> Any:  # noqa: ANN401
        return await interceptor.intercept_service(continuation, details)

    return intercept
