"""The services of the contract: messages to values, one use case, values to messages."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, Final

import grpc

from lookalike.v1 import product_pb2, product_service_pb2, search_service_pb2
from lookalike.v1.product_service_pb2_grpc import ProductServiceServicer
from lookalike.v1.search_service_pb2_grpc import SearchServiceServicer
from lookalike_service import metrics
from lookalike_service.admission import Deadline, Permits
from lookalike_service.also_viewed import AlsoViewed
from lookalike_service.callers import caller
from lookalike_service.catalog import Catalog
from lookalike_service.drafts import Outcome, Written
from lookalike_service.errors import RequestInvalid
from lookalike_service.interceptor import describe, status_of
from lookalike_service.names import Names, product_name
from lookalike_service.ordered import in_order
from lookalike_service.page_views import Fate
from lookalike_service.queries import Hit, Terms
from lookalike_service.recording import ViewRecorder
from lookalike_service.search import Searcher
from lookalike_service.settings import Settings
from lookalike_service.telemetry import Timings
from lookalike_service.wire import box_message, garment_message, photo_of, terms_of, timings_message
from lookalike_service.wire_products import change_of, draft_of, product_message
from lookalike_service.wire_views import also_viewed_message, counts_message, page_views_of, session_of

__all__ = ["ProductServicer", "SearchServicer"]

STICKY_KEY: Final = "lookalike-sticky-key"
LONGEST_KEY: Final = 256
Context = grpc.aio.ServicerContext[Any, Any]
FULL = product_pb2.PRODUCT_VIEW_FULL
OUTCOMES = {
    Outcome.CREATED: product_service_pb2.IMPORT_OUTCOME_CREATED,
    Outcome.UPDATED: product_service_pb2.IMPORT_OUTCOME_UPDATED,
    Outcome.UNCHANGED: product_service_pb2.IMPORT_OUTCOME_UNCHANGED,
}


class SearchServicer(SearchServiceServicer):
    """lookalike.v1.SearchService."""

    def __init__(self, searcher: Searcher, also_viewed: AlsoViewed, names: Names, settings: Settings) -> None:
        self._searcher = searcher
        self._also_viewed = also_viewed
        self._names = names
        self._settings = settings

    async def SearchProducts(  # noqa: N802 - the contract's name
        self, request: search_service_pb2.SearchProductsRequest, context: Context
    ) -> search_service_pb2.SearchProductsResponse:
        catalog = self._names.catalog(request.catalog, field="catalog")
        view = _view(request.product_view)
        if request.WhichOneof("query") is None:
            raise RequestInvalid("a search needs an image or garment tokens", field="image")
        photo = photo_of(request)
        tokens = request.garments.tokens if request.HasField("garments") else None
        if tokens is not None and request.regions:
            raise RequestInvalid("regions go with an image, not with garment tokens", field="regions")
        answer = await self._searcher.search(
            catalog,
            photo if tokens is None else tokens,
            terms_of(request),
            embedding_version=request.embedding_version,
            sticky_key=_sticky_key(context),
            deadline=_deadline(context, self._settings),
        )
        version = answer.embedding_version
        _say_where_time_went(context, answer.timings, version)
        metrics.search_answered(catalog, version=version, found=any(result.hits for result in answer.results))
        return search_service_pb2.SearchProductsResponse(
            results=[
                search_service_pb2.GarmentHits(
                    garment=garment_message(
                        result.seen,
                        version=version,
                        mask_format=request.mask_format,
                        include_embedding=request.include_embedding,
                    ),
                    hits=[_hit_message(hit, view) for hit in result.hits],
                    next_page_token=result.next_page_token,
                )
                for result in answer.results
            ],
            embedding_version=version,
            timings=timings_message(answer.timings),
        )

    async def AnalyzeImage(  # noqa: N802
        self, request: search_service_pb2.AnalyzeImageRequest, context: Context
    ) -> search_service_pb2.AnalyzeImageResponse:
        catalog = self._names.catalog(request.catalog, field="catalog")
        answer = await self._searcher.analyze(
            catalog,
            photo_of(request),
            embedding_version=request.embedding_version,
            sticky_key=_sticky_key(context),
            deadline=_deadline(context, self._settings),
        )
        version = answer.embedding_version
        _say_where_time_went(context, answer.timings, version)
        return search_service_pb2.AnalyzeImageResponse(
            garments=[
                garment_message(
                    result.seen,
                    version=version,
                    mask_format=request.mask_format,
                    include_embedding=request.include_embedding,
                )
                for result in answer.results
            ],
            embedding_version=version,
            timings=timings_message(answer.timings),
        )

    async def ListSimilarProducts(  # noqa: N802
        self, request: search_service_pb2.ListSimilarProductsRequest, context: Context
    ) -> search_service_pb2.ListSimilarProductsResponse:
        catalog, product_id = self._names.product(request.name, field="name")
        view = _view(request.product_view)
        answer = await self._searcher.similar(
            catalog,
            product_id,
            terms_of(request),
            embedding_version=request.embedding_version,
            sticky_key=_sticky_key(context),
            deadline=_deadline(context, self._settings),
        )
        _say_where_time_went(context, answer.timings, answer.embedding_version)
        metrics.search_answered(catalog, version=answer.embedding_version, found=bool(answer.hits))
        return search_service_pb2.ListSimilarProductsResponse(
            hits=[_hit_message(hit, view) for hit in answer.hits],
            next_page_token=answer.next_page_token,
            embedding_version=answer.embedding_version,
        )

    async def ListAlsoViewedProducts(  # noqa: N802
        self, request: search_service_pb2.ListAlsoViewedProductsRequest, context: Context
    ) -> search_service_pb2.ListAlsoViewedProductsResponse:
        catalog, product_id = self._names.product(request.name, field="name")
        view = _view(request.product_view)
        page = await self._also_viewed.page(
            catalog,
            product_id,
            Terms(request.filter, page_size=request.page_size, page_token=request.page_token),
            similarity_share=request.similarity_share,
            sticky_key=_sticky_key(context),
            deadline=_deadline(context, self._settings),
        )
        _say_where_time_went(context, page.timings, page.embedding_version)
        return search_service_pb2.ListAlsoViewedProductsResponse(
            products=[also_viewed_message(each, view) for each in page.products],
            next_page_token=page.next_page_token,
            embedding_version=page.embedding_version,
        )


class ProductServicer(ProductServiceServicer):
    """lookalike.v1.ProductService."""

    def __init__(self, catalog: Catalog, recorder: ViewRecorder, names: Names, settings: Settings) -> None:
        self._catalog = catalog
        self._recorder = recorder
        self._names = names
        self._settings = settings
        self._imports = Permits(
            settings.import_streams, waiters=0, seconds=settings.permit_wait_seconds, work="imports"
        )

    async def GetProduct(  # noqa: N802
        self, request: product_service_pb2.GetProductRequest, context: Context
    ) -> product_service_pb2.GetProductResponse:
        product = await self._catalog.get(*self._names.product(request.name, field="name"))
        return product_service_pb2.GetProductResponse(product=product_message(product, FULL))

    async def ListProducts(  # noqa: N802
        self, request: product_service_pb2.ListProductsRequest, context: Context
    ) -> product_service_pb2.ListProductsResponse:
        catalog = self._names.catalog(request.parent, field="parent")
        view = _view(request.product_view)
        products, token = await self._catalog.page(
            catalog, filter=request.filter, page_size=request.page_size, page_token=request.page_token
        )
        return product_service_pb2.ListProductsResponse(
            products=[product_message(product, view) for product in products], next_page_token=token
        )

    async def CreateProduct(  # noqa: N802
        self, request: product_service_pb2.CreateProductRequest, context: Context
    ) -> product_service_pb2.CreateProductResponse:
        parent = self._names.catalog(request.parent, field="parent")
        catalog, product_id = self._names.product(product_name(parent, request.product_id), field="product_id")
        draft = draft_of(request.product, catalog=catalog, product_id=product_id)
        written = await self._catalog.create(draft, deadline=_deadline(context, self._settings))
        return product_service_pb2.CreateProductResponse(product=product_message(written.product, FULL))

    async def UpdateProduct(  # noqa: N802
        self, request: product_service_pb2.UpdateProductRequest, context: Context
    ) -> product_service_pb2.UpdateProductResponse:
        message = request.product
        catalog, product_id = self._names.product(message.name, field="product.name")
        written = await self._catalog.update(
            catalog,
            product_id,
            change_of(message, request.update_mask.paths, catalog=catalog, product_id=product_id),
            allow_missing=request.allow_missing,
            deadline=_deadline(context, self._settings),
        )
        return product_service_pb2.UpdateProductResponse(product=product_message(written.product, FULL))

    async def DeleteProduct(  # noqa: N802
        self, request: product_service_pb2.DeleteProductRequest, context: Context
    ) -> product_service_pb2.DeleteProductResponse:
        catalog, product_id = self._names.product(request.name, field="name")
        if request.revision < 0:
            raise RequestInvalid("a revision is 0 or more", field="revision")
        await self._catalog.delete(catalog, product_id, allow_missing=request.allow_missing, revision=request.revision)
        return product_service_pb2.DeleteProductResponse()

    async def ImportProducts(  # noqa: N802
        self, request_iterator: AsyncIterator[product_service_pb2.ImportProductsRequest], context: Context
    ) -> AsyncIterator[product_service_pb2.ImportProductsResponse]:
        who = caller.get()
        # A stream lasts as long as its sender likes, so one sender cannot have all of them.
        most = -(-self._settings.import_streams // 2) if who.name else 0
        async with self._imports.held(timeout=math.inf, caller=who, most=most):
            answers = in_order(request_iterator, self._import, in_flight=self._settings.import_in_flight)
            async with aclosing(answers):
                async for answer in answers:
                    yield answer

    async def _import(
        self, position: int, request: product_service_pb2.ImportProductsRequest
    ) -> product_service_pb2.ImportProductsResponse:
        name, catalog = request.product.name, ""
        try:
            catalog, product_id = self._names.product(name, field="product.name")
            draft = draft_of(request.product, catalog=catalog, product_id=product_id)
            deadline = Deadline(self._settings.import_deadline_seconds)
            async with deadline.bound():
                written = await self._catalog.put(draft, deadline=deadline)
        except Exception as error:
            metrics.product_imported(catalog, "failed")
            return product_service_pb2.ImportProductsResponse(
                position=position,
                name=name[:300],
                outcome=product_service_pb2.IMPORT_OUTCOME_FAILED,
                error=status_of(describe(error, doing="an import")),
            )
        metrics.product_imported(catalog, written.outcome.name.lower(), embedded=written.embedded)
        return _import_message(position, name, written)

    async def RecordViews(  # noqa: N802
        self, request_iterator: AsyncIterator[product_service_pb2.RecordViewsRequest], context: Context
    ) -> product_service_pb2.RecordViewsResponse:
        counts: Counter[Fate] = Counter()
        # A stream lasts as long as its sender likes; each message has the time of a call.
        async for request in request_iterator:
            views = page_views_of(request, self._names)
            counts.update(await self._recorder.record(views, deadline=_deadline(context, self._settings)))
        return counts_message(counts)

    async def DeleteSessionViews(  # noqa: N802
        self, request: product_service_pb2.DeleteSessionViewsRequest, context: Context
    ) -> product_service_pb2.DeleteSessionViewsResponse:
        catalog = self._names.catalog(request.parent, field="parent")
        deleted = await self._recorder.forget(catalog, session_of(request.session, field="session"))
        return product_service_pb2.DeleteSessionViewsResponse(deleted_views=deleted)


def _import_message(position: int, name: str, written: Written) -> product_service_pb2.ImportProductsResponse:
    return product_service_pb2.ImportProductsResponse(
        position=position,
        name=name,
        outcome=OUTCOMES[written.outcome],
        revision=written.product.revision,
        garment_views=len(written.product.views),
        embedded_views=written.embedded,
    )


def _hit_message(hit: Hit, view: product_pb2.ProductView.ValueType) -> search_service_pb2.Hit:
    return search_service_pb2.Hit(
        product=product_message(hit.product, view),
        score=hit.score,
        image_id=hit.view.image_sha256,
        box=box_message(hit.view.box),
    )


def _view(view: product_pb2.ProductView.ValueType) -> product_pb2.ProductView.ValueType:
    if view not in product_pb2.ProductView.values():
        raise RequestInvalid(f"there is no product view {view}", field="product_view")
    return view


def _deadline(context: Context, settings: Settings) -> Deadline:
    left = context.time_remaining()
    return Deadline(settings.deadline_seconds if left is None else min(left, settings.deadline_seconds))


def _sticky_key(context: Context) -> str:
    """What keeps a caller with one embedding version while several share the traffic."""
    for name, value in context.invocation_metadata() or ():
        if name == STICKY_KEY:
            return str(value)[:LONGEST_KEY]
    return ""


def _say_where_time_went(context: Context, timings: Timings, version: int) -> None:
    for phase, seconds in timings.parts():
        metrics.phase_took(phase, seconds, version=version)
    said = [("server-timing", timings.header())]
    if version:
        said.append(("lookalike-embedding-version", str(version)))
    context.set_trailing_metadata((*context.trailing_metadata(), *said))
