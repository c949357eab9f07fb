"""The one interceptor that answers every exception of every handler with a google.rpc.Status."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from typing import Any

import grpc
from google.protobuf import any_pb2
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lookalike_service.errors import LookalikeError

__all__ = ["DOMAIN", "Behavior", "Context", "ErrorInterceptor", "describe", "rewrapped", "status_of"]

DOMAIN = "lookalike"
# gRPC refuses response metadata above 8 KiB; the sentence travels in it three times, once percent-encoded.
LONGEST_SENTENCE = 600

logger = logging.getLogger(__name__)


def describe(error: Exception, *, doing: str) -> LookalikeError:
    """The error as its caller may see it; what nobody foresaw is logged once and keeps its text to itself."""
    if isinstance(error, LookalikeError):
        return error
    logger.error("unexpected failure in %s", doing, exc_info=error)
    return LookalikeError("internal error")


def status_of(error: LookalikeError) -> status_pb2.Status:
    """The error as google.rpc.Status with ErrorInfo, and BadRequest and RetryInfo where they apply."""
    sentence = error.message
    if len(sentence) > LONGEST_SENTENCE:
        sentence = sentence[: LONGEST_SENTENCE - 3] + "..."
    status = status_pb2.Status(code=error.code.value[0], message=sentence)
    info = {key: value[:200] for key, value in error.metadata.items()}
    status.details.append(_packed(error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN, metadata=info)))
    if error.field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=error.field, description=sentence)
        status.details.append(_packed(error_details_pb2.BadRequest(field_violations=[violation])))
    if error.retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(error.retry_after * 1e9))
        status.details.append(_packed(retry))
    return status


def _packed(message: Any) -> any_pb2.Any:  # noqa: ANN401 - any protobuf message
    packed = any_pb2.Any()
    packed.Pack(message)
    return packed


Context = grpc.aio.ServicerContext[Any, Any]
Behavior = Callable[[Any, Context], Any]


class ErrorInterceptor(grpc.aio.ServerInterceptor):
    """Answers every exception of every handler with a google.rpc.Status."""

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - grpc.RpcMethodHandler, whose fields grpc's own types do not know
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method)
        return rewrapped(handler, lambda behavior: _guarded(behavior, method=method))


def rewrapped(handler: Any, wrap: Callable[[Behavior], Behavior]) -> Any:  # noqa: ANN401 - as `intercept_service`
    """The same handler, of whichever of the four kinds, with its behavior wrapped; None stays None."""
    for kind in ("unary_unary", "unary_stream", "stream_unary", "stream_stream"):
        behavior = getattr(handler, kind, None)
        if behavior is not None:
            make = getattr(grpc, f"{kind}_rpc_method_handler")
            return make(
                wrap(behavior),
                request_deserializer=handler.request_deserializer,
                response_serializer=handler.response_serializer,
            )
    return handler


def _guarded(behavior: Behavior, *, method: str) -> Behavior:
    """The handler with its exceptions answered; it stays a generator or a coroutine, whichever it was."""

    async def generate(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
        try:
            async with aclosing(behavior(request, context)) as answers:
                async for answer in answers:
                    yield answer
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, error, method=method)

    async def respond(request: Any, context: Context) -> Any:  # noqa: ANN401
        try:
            return await behavior(request, context)
        except grpc.aio.AbortError:
            raise
        except Exception as error:
            await _abort(context, error, method=method)

    return generate if inspect.isasyncgenfunction(behavior) else respond


async def _abort(context: Context, error: Exception, *, method: str) -> None:
    status = rpc_status.to_status(status_of(describe(error, doing=method)))
    # The status' own metadata would take the place of what was set until now.
    await context.abort(status.code, status.details, (*status.trailing_metadata, *context.trailing_metadata()))
