"""Messages that are no protobuf: refused like any other bad request, where gRPC would call it a fault of the server."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from typing import Any

from google.protobuf.message import DecodeError

from lookalike_service.errors import RequestInvalid
from lookalike_service.interceptor import Behavior, Context, rewrapped

__all__ = ["refusing_garbage"]


class _Garbage:
    """In the place of a message that could not be read."""


def refusing_garbage(handler: Any) -> Any:  # noqa: ANN401 - grpc.RpcMethodHandler
    """The same handler; a message that cannot be read becomes a RequestInvalid inside of it."""
    wrapped = rewrapped(handler, lambda behavior: _checked(behavior, streaming=handler.request_streaming))
    read: Callable[[bytes], Any] | None = handler.request_deserializer
    return wrapped if read is None else _reading(wrapped, read)


def _reading(handler: Any, read: Callable[[bytes], Any]) -> Any:  # noqa: ANN401
    def leniently(data: bytes) -> Any:  # noqa: ANN401 - a message
        try:
            return read(data)
        except DecodeError:
            return _Garbage()

    return handler._replace(request_deserializer=leniently)


def _checked(behavior: Behavior, *, streaming: bool) -> Behavior:
    async def messages(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
        async for request in requests:
            yield _read(request)

    def checked(request: Any) -> Any:  # noqa: ANN401 - a message or a stream of them
        return messages(request) if streaming else _read(request)

    async def generate(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
        async with aclosing(behavior(checked(request), context)) as answers:
            async for answer in answers:
                yield answer

    async def respond(request: Any, context: Context) -> Any:  # noqa: ANN401
        return await behavior(checked(request), context)

    return generate if inspect.isasyncgenfunction(behavior) else respond


def _read(request: Any) -> Any:  # noqa: ANN401 - a message
    if isinstance(request, _Garbage):
        raise RequestInvalid("the message cannot be read: it is no protobuf of what this method takes")
    return request
