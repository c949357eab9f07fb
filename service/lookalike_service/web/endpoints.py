"""The JSON endpoints: the contract's messages as JSON (docs/page.md), answered by the gateway's own methods."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from aiohttp import web
from google.protobuf import json_format

from lookalike.v1 import product_service_pb2, search_service_pb2
from lookalike_service.access import AccessInterceptor
from lookalike_service.callers import Caller, Right
from lookalike_service.errors import LookalikeError, RequestInvalid
from lookalike_service.interceptor import describe
from lookalike_service.model import Vocabularies
from lookalike_service.settings import Settings
from lookalike_service.web.answers import error_answer, json_answer
from lookalike_service.web.calls import Calls, LocalContext
from lookalike_service.web.origins import check_origin
from lookalike_service.web.thumbnails import WIDTHS, Thumbnails
from lookalike_service.web.uploads import Upload, length_of, read_upload

__all__ = ["METHODS", "Endpoints"]

_SEARCH: Final = "lookalike.v1.SearchService/"
_PRODUCTS: Final = "lookalike.v1.ProductService/"
# What shows that whoever has a key may see products.
_LOOKING: Final = f"{_PRODUCTS}GetProduct"
# Headers that mean over HTTP what they mean as metadata.
_HEADERS: Final = ("authorization", "x-api-key", "x-request-id", "traceparent", "tracestate", "lookalike-sticky-key")


@dataclass(frozen=True, slots=True)
class Method:
    """A method of the contract, and what it takes."""

    name: str
    request: Callable[[], Any]


METHODS: Final[Mapping[str, Method]] = {
    "search": Method(f"{_SEARCH}SearchProducts", search_service_pb2.SearchProductsRequest),
    "analyze": Method(f"{_SEARCH}AnalyzeImage", search_service_pb2.AnalyzeImageRequest),
    "similar": Method(f"{_SEARCH}ListSimilarProducts", search_service_pb2.ListSimilarProductsRequest),
    "also-viewed": Method(f"{_SEARCH}ListAlsoViewedProducts", search_service_pb2.ListAlsoViewedProductsRequest),
    "product": Method(f"{_PRODUCTS}GetProduct", product_service_pb2.GetProductRequest),
    "views": Method(f"{_PRODUCTS}RecordViews", product_service_pb2.RecordViewsRequest),
}


class Endpoints:
    """The handlers of `/api` and `/images`."""

    def __init__(
        self,
        settings: Settings,
        *,
        calls: Calls,
        access: AccessInterceptor,
        thumbnails: Thumbnails,
        vocabularies: Callable[[str], Vocabularies],
    ) -> None:
        """`vocabularies` says, by catalog, what its models know. Raises LookalikeError."""
        self._settings = settings
        self._calls = calls
        self._access = access
        self._thumbnails = thumbnails
        self._vocabularies = vocabularies

    def routes(self) -> list[web.RouteDef]:
        """All of them."""
        return [
            web.get("/api/page", self.page),
            web.post("/api/{method}", self.call),
            web.get("/images/{sha256:[0-9a-f]{64}}", self.image),
        ]

    async def call(self, request: web.Request) -> web.Response:
        """Answer a call of a method."""
        context = LocalContext(_metadata(request), certificate_name=_certificate_name(request))
        try:
            check_origin(request.headers)
            method = METHODS.get(request.match_info["method"])
            if method is None:
                raise web.HTTPNotFound
            # A task of its own, as gRPC gives each call: what it says of itself shall not stay with the connection.
            answer = await asyncio.create_task(self._answer(request, method, context))
        except LookalikeError as error:
            return error_answer(error, metadata=_said(context))
        except Exception as error:
            if isinstance(error, web.HTTPException):
                raise
            return error_answer(describe(error, doing=request.path), metadata=_said(context))
        content = json_format.MessageToDict(answer, preserving_proto_field_name=True)
        return json_answer(content, metadata=_said(context))

    async def _answer(self, request: web.Request, method: Method, context: LocalContext) -> Any:  # noqa: ANN401
        admitted = await self._calls.admit(method.name, context.invocation_metadata())
        if admitted.refused:
            return await admitted.answer(None, context)
        most = self._settings.max_image_bytes
        with self._access.reading(length_of(request, max_image_bytes=most)):
            upload = await read_upload(request, max_image_bytes=most, seconds=self._settings.page_upload_seconds)
        return await admitted.answer(_message(method, upload), context)

    async def page(self, request: web.Request) -> web.Response:
        """What the page has to know before it can ask anything."""
        try:
            who = self._access.admit(_LOOKING, _metadata(request))
            return json_answer(self._known(who))
        except LookalikeError as error:
            return error_answer(error)

    def _known(self, who: Caller) -> dict[str, Any]:
        settings = self._settings
        catalogs = [catalog for catalog in settings.catalogs if who.reaches(catalog)]
        return {
            "catalogs": [{"id": catalog, **self._words(catalog)} for catalog in catalogs],
            "max_image_bytes": settings.max_image_bytes,
            "records_views": settings.page_records_views and Right.MANAGE in who.rights,
        }

    def _words(self, catalog: str) -> dict[str, list[str]]:
        try:
            known = self._vocabularies(catalog)
        except LookalikeError:
            # The page works without them, and says itself when models are away.
            return {"categories": [], "colors": []}
        coarse = dict.fromkeys(category.partition("/")[0] for category in known.category)
        return {"categories": list(coarse), "colors": list(known.colour)}

    async def image(self, request: web.Request) -> web.Response:
        """A thumbnail; costs no quota, since a page shows dozens."""
        try:
            self._access.admit(_LOOKING, _metadata(request))
            width = request.query.get("w", str(WIDTHS[-1]))
            if not (width.isascii() and width.isdecimal() and 0 < int(width[:6]) <= 10_000):
                raise RequestInvalid("w is a width in pixels, 1 to 10000", field="w")
            content = await self._thumbnails.get(request.match_info["sha256"], int(width))
        except LookalikeError as error:
            return error_answer(error)
        if content is None:
            raise web.HTTPNotFound
        # The name is a hash of the content, which never changes; a browser may show it again, a proxy may not.
        kept = {"Cache-Control": "private, max-age=86400, immutable"}
        return web.Response(body=content, content_type="image/jpeg", headers=kept)


def _message(method: Method, upload: Upload) -> Any:  # noqa: ANN401 - a message
    message = method.request()
    try:
        json_format.ParseDict(upload.message, message)
    except (json_format.ParseError, RecursionError, ValueError, TypeError) as error:
        raise RequestInvalid(f"the request does not hold: {str(error)[:300]}") from error
    if upload.image and "image" not in type(message).DESCRIPTOR.fields_by_name:
        raise RequestInvalid("this method takes no photo", field="image")
    if upload.image:
        message.image = upload.image
    return message


def _metadata(request: web.Request) -> tuple[tuple[str, str], ...]:
    return tuple((name, request.headers[name]) for name in _HEADERS if name in request.headers)


def _said(context: LocalContext) -> dict[str, str]:
    return {name: value for name, value in context.trailing_metadata() if isinstance(value, str)}


def _certificate_name(request: web.Request) -> str:
    """The common name in the certificate that a browser showed; empty without one."""
    shown = request.get_extra_info("peercert") or {}
    names = [value for part in shown.get("subject", ()) for key, value in part if key == "commonName"]
    return str(names[0]) if names else ""
