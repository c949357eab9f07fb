"""One call: deadline, attempts, errors as classes, and a report of where its time went."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Protocol, TypeVar

import grpc
from google.protobuf.message import Message

from lookalike.errors import DeadlineExceeded, LookalikeError, MessageTooLarge, Unavailable
from lookalike.propagation import with_trace
from lookalike.retry import RetryPolicy
from lookalike.status import REQUEST_ID_KEY, error_from_rpc
from lookalike.unreachable import unreachable

__all__ = ["MAX_MESSAGE_BYTES", "Call", "Caller", "check_size"]

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
# Left for the frame around the message.
FRAME_BYTES = 1024

Answer = TypeVar("Answer", covariant=True)


class Started(Protocol[Answer]):
    """An RPC under way that has one answer."""

    def __await__(self) -> Generator[Any, None, Answer]: ...

    async def trailing_metadata(self) -> grpc.aio.Metadata: ...


@dataclass(frozen=True, slots=True)
class Call:
    """What became of one call, for logs and metrics (`Client(on_call=...)`).

    `seconds` covers all attempts and the waits between them. `timings` is the server's own account of the last
    attempt in seconds: queue, inference, search, own; empty when the server sent none.
    """

    method: str
    attempts: int
    seconds: float
    timings: Mapping[str, float] = field(default_factory=lambda: MappingProxyType({}))
    embedding_version: int | None = None
    error: LookalikeError | None = None
    request_id: str = ""


def check_size(request: Message, *, name: str) -> None:
    """Raises MessageTooLarge when the server would refuse the message unseen."""
    size = request.ByteSize()
    if size > MAX_MESSAGE_BYTES - FRAME_BYTES:
        raise MessageTooLarge(
            f"{name} has {size / 2**20:.1f} MiB and a message may have 32 MiB: send fewer or smaller images at once"
        )


@dataclass(frozen=True, slots=True)
class Caller:
    """Runs calls to one server."""

    target: str
    timeout: float
    retry: RetryPolicy
    metadata: Sequence[tuple[str, str]]
    on_call: Callable[[Call], None] | None

    def headers(self) -> Sequence[tuple[str, str]]:
        """What goes with a call that begins now: `metadata`, and the caller's trace."""
        return with_trace(self.metadata)

    async def run(
        self,
        method: str,
        start: Callable[[float], Started[Answer]],
        *,
        timeout: float | None = None,
    ) -> Answer:
        """Attempt until an answer, an error that no retry heals, or the timeout.

        `start` begins an attempt that may take so many seconds. Raises LookalikeError.
        """
        began = time.monotonic()
        deadline = began + (self.timeout if timeout is None else timeout)
        attempts = 0
        while True:
            attempts += 1
            try:
                call = start(max(deadline - time.monotonic(), 0.001))
                answer = await call
            except grpc.aio.AioRpcError as rpc_error:
                error = self.explain(error_from_rpc(rpc_error), seconds=deadline - began)
                delay = self.retry.delay(error, attempts=attempts)
                if delay is None or time.monotonic() + delay >= deadline:
                    trailing = rpc_error.trailing_metadata()
                    self._report(method, attempts=attempts, began=began, trailing=trailing, error=error)
                    raise error from rpc_error
                await asyncio.sleep(delay)
            else:
                self._report(method, attempts=attempts, began=began, trailing=await call.trailing_metadata())
                return answer

    def explain(self, error: LookalikeError, *, seconds: float) -> LookalikeError:
        """The error with gRPC's terse words replaced by a sentence that says what to do."""
        # Nobody here has cancelled it, which would be a CancelledError: a server that shuts down says so of calls that
        # it has not taken yet (grpc#41785).
        if error.code is grpc.StatusCode.CANCELLED and not error.reason:
            return Unavailable(f"the server at {self.target} shuts down", request_id=error.request_id)
        if isinstance(error, Unavailable) and not error.reason:
            return Unavailable(unreachable(self.target, error.message), request_id=error.request_id)
        if isinstance(error, DeadlineExceeded) and not error.reason:
            return DeadlineExceeded(
                f"no answer from {self.target} within {seconds:g} s; allow more with `timeout`",
                request_id=error.request_id,
            )
        return error

    def _report(
        self,
        method: str,
        *,
        attempts: int,
        began: float,
        trailing: grpc.aio.Metadata | None,
        error: LookalikeError | None = None,
    ) -> None:
        if self.on_call is None:
            return
        values = {key: value for key, value in trailing or () if isinstance(value, str)}
        version = values.get("lookalike-embedding-version", "")
        self.on_call(
            Call(
                method=method,
                attempts=attempts,
                seconds=time.monotonic() - began,
                timings=MappingProxyType(parse_server_timing(values.get("server-timing", ""))),
                embedding_version=int(version) if version.isdecimal() else None,
                error=error,
                request_id=values.get(REQUEST_ID_KEY, ""),
            )
        )


def parse_server_timing(header: str) -> dict[str, float]:
    """`queue;dur=0.4, inference;dur=31` (milliseconds, as in HTTP) as seconds by name."""
    return {
        name: float(milliseconds) / 1000
        for name, milliseconds in re.findall(r"([\w-]+)\s*;[^,]*?\bdur=(\d+(?:\.\d+)?)", header)
    }
