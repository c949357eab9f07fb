"""A real gRPC server that answers as a test tells it to, and remembers what it was asked."""

from __future__ import annotations

import asyncio
from collections import defaultdict, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2, status_pb2
from grpc_status import rpc_status

from lookalike.v1 import product_service_pb2_grpc, search_service_pb2_grpc
from lookalike.v1.product_service_pb2 import (
    IMPORT_OUTCOME_CREATED,
    IMPORT_OUTCOME_FAILED,
    ImportProductsRequest,
    ImportProductsResponse,
    RecordViewsRequest,
    RecordViewsResponse,
)

MIB = 2**20
UNARY = {
    "SearchService": ("SearchProducts", "AnalyzeImage", "ListSimilarProducts", "ListAlsoViewedProducts"),
    "ProductService": (
        "GetProduct",
        "ListProducts",
        "CreateProduct",
        "UpdateProduct",
        "DeleteProduct",
        "DeleteSessionViews",
    ),
}
Context = grpc.aio.ServicerContext[Any, Any]


def failure(
    code: grpc.StatusCode,
    message: str = "it does not hold",
    *,
    reason: str = "",
    retry_after: float | None = None,
    field: str = "",
    metadata: dict[str, str] | None = None,
) -> status_pb2.Status:
    """A google.rpc.Status as the server writes it."""
    status = status_pb2.Status(code=code.value[0], message=message)
    if reason:
        info = error_details_pb2.ErrorInfo(reason=reason, domain="lookalike", metadata=metadata or {})
        status.details.add().Pack(info)
    if field:
        violation = error_details_pb2.BadRequest.FieldViolation(field=field, description=message)
        status.details.add().Pack(error_details_pb2.BadRequest(field_violations=[violation]))
    if retry_after is not None:
        retry = error_details_pb2.RetryInfo()
        retry.retry_delay.FromNanoseconds(round(retry_after * 1e9))
        status.details.add().Pack(retry)
    return status


@dataclass
class Script:
    """What the server shall answer (the last answer of a method stays), and what it was asked."""

    answers: dict[str, deque[Message]] = field(default_factory=lambda: defaultdict(deque))
    requests: list[Message] = field(default_factory=list)
    metadata: list[dict[str, Any]] = field(default_factory=list)
    time_remaining: list[float] = field(default_factory=list)
    trailing: tuple[tuple[str, str], ...] = ()
    delay: float = 0.0
    # Imports: after how many answers each stream is cut, products that fail, what products are answered at first (the
    # last answer of a product stays when `lasting` names it), and a gate that holds answers back.
    cuts: deque[int] = field(default_factory=deque)
    failing: set[str] = field(default_factory=set)
    passing: dict[str, deque[status_pb2.Status]] = field(default_factory=dict)
    lasting: set[str] = field(default_factory=set)
    gate: asyncio.Event = field(default_factory=asyncio.Event)
    imported: list[list[str]] = field(default_factory=list)

    def say(self, method: str, *answers: Message) -> None:
        self.answers[method].extend(answers)

    async def unary(self, method: str, request: Message, context: Context) -> Message:
        self.requests.append(request)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        self.time_remaining.append(context.time_remaining())
        answers = self.answers[method]
        answer = answers.popleft() if len(answers) > 1 else answers[0]
        if self.delay:
            await asyncio.sleep(self.delay)
        context.set_trailing_metadata(self.trailing)
        if isinstance(answer, status_pb2.Status):
            await context.abort_with_status(rpc_status.to_status(answer))
        return answer

    async def import_products(
        self, requests: AsyncIterator[ImportProductsRequest], context: Context
    ) -> AsyncIterator[ImportProductsResponse]:
        names: list[str] = []
        self.imported.append(names)
        self.metadata.append(dict(context.invocation_metadata() or ()))
        cut = self.cuts.popleft() if self.cuts else None
        waiting: asyncio.Queue[str | None] = asyncio.Queue()

        async def take_in() -> None:
            async for request in requests:
                names.append(request.product.name)
                waiting.put_nowait(request.product.name)
            waiting.put_nowait(None)

        taking = asyncio.create_task(take_in())
        try:
            position = 0
            while cut is None or position < cut:
                await self.gate.wait()
                name = await waiting.get()
                if name is None:
                    return
                yield self._outcome(name, position=position)
                position += 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "cut")
        finally:
            taking.cancel()

    def _outcome(self, name: str, *, position: int) -> ImportProductsResponse:
        error = failure(grpc.StatusCode.INVALID_ARGUMENT, "the image is truncated", reason="IMAGE_UNREADABLE")
        passing = self.passing.get(name)
        if passing:
            error = passing[0] if name in self.lasting else passing.popleft()
        elif name and name not in self.failing:
            return ImportProductsResponse(position=position, name=name, outcome=IMPORT_OUTCOME_CREATED)
        return ImportProductsResponse(position=position, name=name, outcome=IMPORT_OUTCOME_FAILED, error=error)

    async def record_views(self, requests: AsyncIterator[RecordViewsRequest], context: Context) -> Message:
        taken = [request async for request in requests]
        answer = await self.unary("RecordViews", RecordViewsRequest(), context)
        self.requests[-1:] = taken
        views = sum(len(request.views) for request in taken)
        return RecordViewsResponse(accepted=views) if isinstance(answer, RecordViewsResponse) else answer


def _servicer(base: type, script: Script, service: str) -> Any:  # noqa: ANN401 - one of two generated classes
    servicer = base()
    for method in UNARY[service]:

        async def answer(request: Message, context: Context, method: str = method) -> Message:
            return await script.unary(method, request, context)

        setattr(servicer, method, answer)
    if service == "ProductService":
        servicer.ImportProducts = script.import_products
        servicer.RecordViews = script.record_views
    return servicer


@asynccontextmanager
async def serving(
    script: Script, *, address: str = "127.0.0.1:0", credentials: grpc.ServerCredentials | None = None
) -> AsyncIterator[str]:
    """A server that follows the script; gives its address."""
    server = grpc.aio.server(options=[("grpc.max_receive_message_length", 32 * MIB), ("grpc.so_reuseport", 0)])
    search = _servicer(search_service_pb2_grpc.SearchServiceServicer, script, "SearchService")
    products = _servicer(product_service_pb2_grpc.ProductServiceServicer, script, "ProductService")
    search_service_pb2_grpc.add_SearchServiceServicer_to_server(search, server)
    product_service_pb2_grpc.add_ProductServiceServicer_to_server(products, server)
    port = server.add_insecure_port(address) if credentials is None else server.add_secure_port(address, credentials)
    await server.start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0.2)
