"""The interceptor at the door: who calls, whether he may, and whether it is too much, before his photo is read."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractContextManager, aclosing
from dataclasses import replace
from typing import Any, Final

import grpc

from lookalike_service.callers import Caller, Right, caller
from lookalike_service.errors import CredentialsInvalid, LookalikeError, PermissionDenied
from lookalike_service.interceptor import Behavior, Context, rewrapped
from lookalike_service.keys import KeyRing
from lookalike_service.quota import Quotas, Room
from lookalike_service.reading import refusing_garbage

__all__ = ["AccessInterceptor", "rights_for"]

# Whoever balances load or watches over the process has no key, and learns nothing but that it serves.
_OPEN: Final = "grpc.health.v1.Health/"
_OURS: Final = "lookalike."
_SEARCHING: Final = "lookalike.v1.SearchService/"
# What a search shows of products anyway.
_READING: Final = frozenset({"lookalike.v1.ProductService/GetProduct", "lookalike.v1.ProductService/ListProducts"})
_SCHEME: Final = "bearer "


def rights_for(method: str) -> frozenset[Right]:
    """The rights of which a caller needs one for `package.Service/Method`; none means that any caller will do.

    What is not known to be reading changes the catalog, or what others are shown.
    """
    if not method.startswith(_OURS):
        return frozenset()
    if method.startswith(_SEARCHING):
        return frozenset({Right.SEARCH})
    return frozenset(Right) if method in _READING else frozenset({Right.MANAGE})


class AccessInterceptor(grpc.aio.ServerInterceptor):
    """Lets calls in; stands behind the ObservingInterceptor, which counts those that are turned away, too."""

    def __init__(self, keys: KeyRing | None, *, anonymous: Caller, certified: bool, quotas: Quotas, room: Room) -> None:
        """Without `keys`, everybody is `anonymous`, but for the name in his certificate where all are `certified`."""
        self._keys = keys
        self._anonymous = anonymous
        self._certified = certified
        self._quotas = quotas
        self._room = room

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Any]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Any:  # noqa: ANN401 - grpc.RpcMethodHandler, whose fields grpc's own types do not know
        handler = await continuation(handler_call_details)
        method = str(handler_call_details.method).lstrip("/")
        if handler is None or method.startswith(_OPEN):
            return handler
        who = None
        try:
            who = self._known(handler_call_details.invocation_metadata or ())
            _check_right(who, method)
            if who is not None:
                self._quotas.take(who)
            self._room.check()
        except LookalikeError as error:
            return _refusing(handler, error, who)
        return rewrapped(refusing_garbage(handler), lambda behavior: self._on_behalf(behavior, who))

    def admit(self, method: str, metadata: Iterable[tuple[str, str | bytes]]) -> Caller:
        """Who may do what `method` does, where that is no call and costs no quota: a thumbnail, say.

        Raises CredentialsInvalid, PermissionDenied.
        """
        who = self._known(metadata)
        _check_right(who, method)
        return self._anonymous if who is None else who

    def reading(self, size: int) -> AbstractContextManager[None]:
        """Count the bytes of a request while they are being read. Raises Overloaded."""
        return self._room.held(size)

    def _known(self, metadata: Iterable[tuple[str, str | bytes]]) -> Caller | None:
        """Whose key came along; None where nobody has one. Raises CredentialsInvalid."""
        if self._keys is None:
            return None
        presented = _presented(metadata)
        if not presented:
            raise CredentialsInvalid(
                "this server asks for an API key; send it as metadata, `authorization: Bearer KEY` or `x-api-key: KEY`"
            )
        return self._keys.caller(presented)

    def _on_behalf(self, behavior: Behavior, who: Caller | None) -> Behavior:
        """The handler, which knows its caller; it stays a generator or a coroutine, whichever it was."""

        def entered(request: Any, context: Context) -> int:  # noqa: ANN401
            found = who
            if found is None:
                # Only now, since a certificate is known to the call and not to its details.
                found = replace(self._anonymous, name=_certified(context)) if self._certified else self._anonymous
                self._quotas.take(found)
            # Not taken back: gRPC runs every call in a task of its own, whose last line of the log names the caller.
            caller.set(found)
            return request.ByteSize() if hasattr(request, "ByteSize") else 0

        async def generate(request: Any, context: Context) -> AsyncIterator[Any]:  # noqa: ANN401
            with self._room.held(entered(request, context)):
                async with aclosing(behavior(request, context)) as answers:
                    async for answer in answers:
                        yield answer

        async def respond(request: Any, context: Context) -> Any:  # noqa: ANN401
            with self._room.held(entered(request, context)):
                return await behavior(request, context)

        return generate if inspect.isasyncgenfunction(behavior) else respond


def _check_right(who: Caller | None, method: str) -> None:
    needed = rights_for(method)
    if who is not None and needed and not needed & who.rights:
        name, missing = method.rpartition("/")[2], " or ".join(sorted(needed))
        raise PermissionDenied(f"the API key {who.name} lacks the right to {missing}, which {name} needs")


def _presented(metadata: Iterable[tuple[str, str | bytes]]) -> str:
    sent = {key: value for key, value in metadata if isinstance(value, str)}
    authorization = sent.get("authorization", "")
    if authorization.lower().startswith(_SCHEME):
        return authorization[len(_SCHEME) :].strip()
    return sent.get("x-api-key", "")


def _certified(context: Context) -> str:
    """The name in the caller's certificate; empty when he showed none."""
    found = context.auth_context().get("x509_common_name") or context.peer_identities() or [b""]
    name = bytes(next(iter(found))).decode("utf-8", "replace")[:128]
    # It goes into logs, and whoever signed it may not have looked at it.
    return "".join(letter if letter.isprintable() else "?" for letter in name)


def _refusing(handler: Any, error: LookalikeError, who: Caller | None) -> Any:  # noqa: ANN401 - as `intercept_service`
    """A handler that says so at once. It takes a stream, which is the same on the wire: no message is waited for."""

    async def respond(_: Any, __: Context) -> bytes:  # noqa: ANN401
        if who is not None:
            caller.set(who)
        raise error

    if handler.response_streaming:
        return grpc.stream_stream_rpc_method_handler(respond)
    return grpc.stream_unary_rpc_method_handler(respond)
