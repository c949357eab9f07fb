"""Reported views of products of the contract as values, and what came of them as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from lookalike.v1 import product_pb2, product_service_pb2, search_service_pb2
from lookalike_service.also_viewed import AlsoViewedProduct
from lookalike_service.errors import RequestInvalid
from lookalike_service.names import Names
from lookalike_service.page_views import Fate, PageView
from lookalike_service.wire_products import product_message

__all__ = ["MOST_VIEWS", "also_viewed_message", "counts_message", "page_views_of", "session_of"]

MOST_VIEWS: Final = 1000
LONGEST_SESSION: Final = 256


def page_views_of(request: product_service_pb2.RecordViewsRequest, names: Names) -> list[PageView]:
    """The views of one message. Raises RequestInvalid and CatalogNotFound, which name the first that does not hold."""
    if len(request.views) > MOST_VIEWS:
        raise RequestInvalid(f"{len(request.views):,} views in one message; {MOST_VIEWS:,} at most", field="views")
    views = []
    for number, view in enumerate(request.views):
        field = f"views[{number}]"
        catalog, product_id = names.product(view.product, field=f"{field}.product")
        session = session_of(view.session, field=f"{field}.session")
        if not view.HasField("view_time"):
            raise RequestInvalid("a view needs the time at which it was", field=f"{field}.view_time")
        views.append(PageView(catalog, product_id, session, view.view_time.seconds))
    return views


def session_of(session: str, *, field: str) -> str:
    """The same session. Raises RequestInvalid when there is none, or it is too long."""
    if not session:
        raise RequestInvalid("a session is needed: whatever the shop calls a visit", field=field)
    if len(session) > LONGEST_SESSION:
        raise RequestInvalid(f"a session has {LONGEST_SESSION} characters at most, not {len(session):,}", field=field)
    return session


def counts_message(counts: Mapping[Fate, int]) -> product_service_pb2.RecordViewsResponse:
    """What became of the views of a stream."""
    return product_service_pb2.RecordViewsResponse(
        accepted=counts.get(Fate.ACCEPTED, 0),
        unknown_products=counts.get(Fate.UNKNOWN_PRODUCT, 0),
        out_of_window=counts.get(Fate.OUT_OF_WINDOW, 0),
        over_session_limit=counts.get(Fate.OVER_SESSION_LIMIT, 0),
    )


def also_viewed_message(
    each: AlsoViewedProduct, view: product_pb2.ProductView.ValueType
) -> search_service_pb2.AlsoViewedProduct:
    """An entry of the list."""
    message = search_service_pb2.AlsoViewedProduct
    return message(
        product=product_message(each.product, view),
        score=each.score,
        origin=message.ORIGIN_VIEWED_TOGETHER if each.together else message.ORIGIN_SIMILAR,
    )
