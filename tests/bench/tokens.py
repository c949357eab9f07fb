"""Taps on other garments, filters and pages: searches with a garment token, in a catalog of 100,000 rows."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import Any, Final

from bench.calls import search_call
from bench.figures import Figure
from bench.plan import Plan
from bench.ratios import Reading, in_turns
from bench.servers import say
from lookalike.bench.load import Call, closed_loop
from lookalike.v1.garment_pb2 import GarmentTokens
from lookalike.v1.search_service_pb2 import SearchProductsRequest

__all__ = ["token_calls", "token_search"]

CATALOG: Final = "large"
FILTERS: Final = ("price < 10000 AND available", 'brand = "Acorn" OR brand = "Birch"', 'category = "dress"')
PHOTOS: Final = 12
SHARE_OF_SECONDS: Final = 0.5


async def token_search(plan: Plan) -> list[Figure]:
    """One caller; taps, filters and pages for themselves, and as a mixture, whose median counts."""
    async with AsyncExitStack() as stack:
        stub = await plan.stub(stack, filled=("default", CATALOG))
        calls = await token_calls(stub, plan.photos.shown[:PHOTOS], catalog=CATALOG)
        say("token_search_p50_ms: one caller taps, filters and pages")

        async def run(name: str) -> Any:  # noqa: ANN401 - a Run
            return await closed_loop(
                calls[name], callers=1, seconds=plan.seconds * SHARE_OF_SECONDS, warmup=plan.warmup / 2
            )

        runs = await in_turns({name: lambda name=name: run(name) for name in calls}, rounds=plan.rounds)  # type: ignore[misc]
    details = {
        name: {
            "p50_ms": [each.percentile(50) for each in of_name],
            "p99_ms": [each.percentile(99) for each in of_name],
            "phases_ms": of_name[-1].mean_phases(),
            "codes": dict(of_name[-1].codes),
        }
        for name, of_name in runs.items()
    }
    reading = Reading(tuple(each.percentile(50) for each in runs["all"]))
    return [Figure("token_search_p50_ms", reading, {"rows": plan.servers.catalogs[CATALOG], **details})]


async def token_calls(stub: Any, photos: tuple[bytes, ...], *, catalog: str) -> dict[str, Call]:  # noqa: ANN401
    """Calls with the tokens of all garments on the photos: `tap`, `filter`, `page`, and `all` of these in turns."""
    name = f"catalogs/{catalog}"
    taps: list[SearchProductsRequest] = []
    filters: list[SearchProductsRequest] = []
    pages: list[SearchProductsRequest] = []
    for photo in photos:
        answer = await stub.SearchProducts(SearchProductsRequest(catalog=name, image=photo))
        for result in answer.results:
            garments = GarmentTokens(tokens=[result.garment.garment_token])
            taps.append(SearchProductsRequest(catalog=name, garments=garments))
            text = FILTERS[len(filters) % len(FILTERS)]
            filters.append(SearchProductsRequest(catalog=name, garments=garments, filter=text))
            pages.append(SearchProductsRequest(catalog=name, garments=garments, page_token=result.next_page_token))
    kinds = {"tap": taps, "filter": filters, "page": pages}
    mixed = [request for together in zip(*kinds.values(), strict=True) for request in together]
    return {kind: search_call(stub, requests) for kind, requests in {"all": mixed, **kinds}.items()}
