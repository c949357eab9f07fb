"""The interceptor that watches every call: its id, its span, its line in the log, and what is counted of it."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, contextmanager
from typing import Any, Final

import grpc

from lookalike_service import metrics, tracing
from lookalike_service.callers import caller
from lookalike_service.errors import LookalikeError
from lookalike_service.interceptor import Behavior, Context, rewrapped
from lookalike_service.logs import REQUEST_ID, request_id, request_id_of

__all__ = ["ObservingInterceptor"]

logger = logging.getLogger(__name__)

Metadata = Sequence[tuple[str, str | bytes]]
# A line for every question of a health check would bury the others.
_LOGGED: Final = "lookalike."


class ObservingInterceptor(grpc.aio.ServerInterceptor):
    """Watches every call of every handler; stands behind the ErrorInterceptor, where errors are still exceptions."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - grpc.RpcMethodHandler, whose fields grpc's own types do not know
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method).lstrip("/")
        metadata: Metadata = tuple(handler_call_details.invocation_metadata or ())
        return rewrapped(handler, lambda behavior: _watched(behavior, method=method, metadata=metadata))


def _watched(behavior: Behavior, *, method: str, metadata: Metadata) -> Behavior:
    """The handler with its calls observed; it stays a generator or a coroutine, whichever it was."""

    async def generate(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
        with _observed(context, method=method, metadata=metadata):
            async with aclosing(behavior(request, context)) as answers:
                async for answer in answers:
                    yield answer

    async def respond(request: Any, context: Context) -> Any:  # noqa: ANN401
        with _observed(context, method=method, metadata=metadata):
            return await behavior(request, context)

    return generate if inspect.isasyncgenfunction(behavior) else respond


@contextmanager
def _observed(context: Context, *, method: str, metadata: Metadata) -> Iterator[None]:
    id = request_id_of(metadata)
    # Not taken back: gRPC runs every call in a task of its own, and the ErrorInterceptor may still have to log.
    request_id.set(id)
    context.set_trailing_metadata(((REQUEST_ID, id),))
    begin, code, reason = time.perf_counter(), grpc.StatusCode.OK, ""
    metrics.call_began(method)
    span = tracing.begin_call(method, metadata, request_id=id)
    try:
        yield
    except BaseException as error:
        code, reason = _ending(error, context)
        raise
    finally:
        seconds = time.perf_counter() - begin
        # A stream that its caller has left may be closed in another task.
        request_id.set(id)
        metrics.call_ended(method, code=code.name, reason=reason, seconds=seconds)
        _log(method, code=code, reason=reason, seconds=seconds)
        tracing.end_call(span, code=code.value[0], reason=reason)


def _ending(error: BaseException, context: Context) -> tuple[grpc.StatusCode, str]:
    """Code and reason of a call that did not end well."""
    if isinstance(error, LookalikeError):
        return error.code, error.reason
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        # gRPC cancels the handler in both cases; to the caller they are not the same.
        left = context.time_remaining()
        late = left is not None and left <= 0
        code = grpc.StatusCode.DEADLINE_EXCEEDED if late else grpc.StatusCode.CANCELLED
        return code, code.name
    if isinstance(error, grpc.aio.AbortError):
        code = _status(context)
        return code, code.name
    return grpc.StatusCode.INTERNAL, "INTERNAL"


def _status(context: Context) -> grpc.StatusCode:
    said: Any = context.code()
    return said if isinstance(said, grpc.StatusCode) else grpc.StatusCode.UNKNOWN


def _log(method: str, *, code: grpc.StatusCode, reason: str, seconds: float) -> None:
    level = logging.INFO if method.startswith(_LOGGED) else logging.DEBUG
    if logger.isEnabledFor(level):
        said = f"{code.name} {reason}" if reason not in ("", code.name) else code.name
        name = caller.get().name
        extra = {"method": method, "code": code.name, "reason": reason, "seconds": round(seconds, 6), "caller": name}
        by = f" for {name}" if name else ""
        logger.log(level, "%s %s in %.1f ms%s", method, said, seconds * 1000, by, extra=extra)
