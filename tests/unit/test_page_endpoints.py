"""The JSON endpoints of the page: the same answers and the same refusals as over gRPC, with their HTTP status."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import aiohttp
import grpc
import pytest

from fakes import FakeFinder, MemoryIndex, photo
from lookalike_service import errors
from lookalike_service.errors import IndexUnavailable, LookalikeError, ModelUnavailable
from lookalike_service.metrics import REGISTRY
from lookalike_service.web.answers import STATUS, error_answer
from support_gateway import Shop, eventually, open_shop, product
from support_keys import KeyFile

PHOTO = photo({"look": "red dress", "category": "dress"})
SEARCH = "lookalike.v1.SearchService/SearchProducts"


class Visitor:
    """A browser, as far as the endpoints can tell."""

    def __init__(self, shop: Shop, http: aiohttp.ClientSession, headers: dict[str, str]) -> None:
        assert shop.gateway.site is not None
        self.shop = shop
        self.url = shop.gateway.site.url
        self.http = http
        self.headers = headers

    async def ask(
        self, method: str, message: dict[str, Any] | None = None, image: bytes = b"", **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, content and answer; names of `headers` have _ for -."""
        body: dict[str, Any] = {"json": message or {}}
        if image:
            form = aiohttp.FormData()
            form.add_field("request", json.dumps(message or {}))
            form.add_field("image", image, filename="street.jpg", content_type="image/jpeg")
            body = {"data": form}
        said = {**self.headers, **{name.replace("_", "-"): value for name, value in headers.items()}}
        async with self.http.post(f"{self.url}/api/{method}", headers=said, **body) as answer:
            is_json = answer.content_type == "application/json"
            return answer.status, (await answer.json() if is_json else await answer.text()), answer

    async def refused(self, method: str, message: dict[str, Any] | None = None, image: bytes = b"") -> tuple[int, str]:
        """Status and reason of a call that must fail."""
        status, content, _ = await self.ask(method, message, image)
        assert content["error"]["message"]
        return status, content["error"]["reason"]


@asynccontextmanager
async def visiting(headers: dict[str, str] | None = None, **changes: Any) -> AsyncIterator[Visitor]:  # noqa: ANN401
    async with (
        open_shop(page_address="127.0.0.1:0", **changes) as shop,
        aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(20)) as http,
    ):
        yield Visitor(shop, http, headers or {})


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    """A connection on which a test writes what no browser would."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


@pytest.fixture
async def visitor() -> AsyncIterator[Visitor]:
    async with visiting() as found:
        await found.shop.bring([product("a", "red dress"), product("b", "blue dress"), product("c", "green dress")])
        yield found


async def test_a_photo_finds_what_it_finds_over_grpc(visitor: Visitor) -> None:
    before = REGISTRY.get_sample_value("lookalike_calls_total", {"method": SEARCH, "code": "OK"}) or 0
    message = {"page_size": 2, "mask_format": "MASK_FORMAT_POLYGON"}
    status, content, answer = await visitor.ask("search", message, PHOTO, x_request_id="shop/17")
    assert status == 200
    (result,) = content["results"]
    assert result["garment"]["category"] == "dress"
    assert result["garment"]["mask"]["polygon"]["rings"]
    assert result["hits"][0]["product"]["name"] == "catalogs/default/products/a"
    assert answer.headers["X-Request-Id"] == "shop/17"
    assert "inference;dur=" in answer.headers["Server-Timing"]
    # It is counted as what it is: a search.
    assert REGISTRY.get_sample_value("lookalike_calls_total", {"method": SEARCH, "code": "OK"}) == before + 1


async def test_taps_filters_and_pages_need_no_model(visitor: Visitor) -> None:
    _, content, _ = await visitor.ask("search", {"page_size": 1}, PHOTO)
    (result,) = content["results"]
    calls = visitor.shop.finder.calls
    tokens = {"garments": {"tokens": [result["garment"]["garment_token"]]}, "page_size": 1}
    _, second, _ = await visitor.ask("search", {**tokens, "page_token": result["next_page_token"]})
    assert second["results"][0]["hits"][0]["product"] != result["hits"][0]["product"]
    _, filtered, _ = await visitor.ask("search", {**tokens, "filter": 'brand = "nobody"'})
    assert "hits" not in filtered["results"][0]
    assert visitor.shop.finder.calls == calls


async def test_the_other_methods_answer_too(visitor: Visitor) -> None:
    name = {"name": "catalogs/default/products/a"}
    box = {"x0": 0.1, "y0": 0.1, "x1": 0.5, "y1": 0.5}
    _, analyzed, _ = await visitor.ask("analyze", {"regions": [{"box": box}]}, PHOTO)
    assert analyzed["garments"][0]["source"] == "GARMENT_SOURCE_REGION"
    _, similar, _ = await visitor.ask("similar", name)
    assert len(similar["hits"]) == 2
    _, got, _ = await visitor.ask("product", name)
    assert got["product"]["images"][0]["uri"].startswith("/images/")
    now = {"view_time": "2026-01-01T00:00:00Z", "product": name["name"]}
    assert (await visitor.ask("views", {"views": [{**now, "session": "s"}]}))[1] == {"out_of_window": "1"}
    _, viewed, _ = await visitor.ask("also-viewed", name)
    assert {each["origin"] for each in viewed["products"]} == {"ORIGIN_SIMILAR"}


@pytest.mark.parametrize(
    ("method", "message", "image", "status", "reason"),
    [
        ("search", {"nonsense": 1}, b"", 400, "REQUEST_INVALID"),
        ("search", {"page_size": "many"}, b"", 400, "REQUEST_INVALID"),
        ("search", {}, b"", 400, "REQUEST_INVALID"),
        ("search", {"page_size": -1}, PHOTO, 400, "REQUEST_INVALID"),
        ("search", {"filter": "price >"}, PHOTO, 400, "FILTER_MALFORMED"),
        ("search", {"garments": {"tokens": ["forged"]}}, b"", 400, "GARMENT_TOKEN_INVALID"),
        ("search", {"regions": [{"box": {"x1": 2, "y1": 1}}]}, PHOTO, 400, "REGION_INVALID"),
        ("search", {}, b"no photo", 400, "IMAGE_UNREADABLE"),
        ("search", {"catalog": "catalogs/none"}, PHOTO, 404, "CATALOG_NOT_FOUND"),
        ("similar", {"name": "catalogs/default/products/none"}, b"", 404, "PRODUCT_NOT_FOUND"),
        ("similar", {"name": "catalogs/default/products/a", "page_token": "forged"}, b"", 400, "PAGE_TOKEN_INVALID"),
        ("similar", {"name": "catalogs/default/products/a"}, PHOTO, 400, "REQUEST_INVALID"),
        ("views", {"views": [{"product": "catalogs/default/products/a"}]}, b"", 400, "REQUEST_INVALID"),
    ],
)
async def test_what_does_not_hold_is_refused(
    visitor: Visitor, method: str, message: dict[str, Any], image: bytes, status: int, reason: str
) -> None:
    assert await visitor.refused(method, message, image) == (status, reason)


async def test_there_are_no_other_methods(visitor: Visitor) -> None:
    for method in ("import", "delete", "lookalike.v1.ProductService"):
        assert (await visitor.ask(method))[0] == 404
    async with visitor.http.get(f"{visitor.url}/api/search") as answer:
        assert answer.status == 405


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000, b"\xff"])
async def test_what_is_no_json_is_refused(visitor: Visitor, body: bytes) -> None:
    headers = {"Content-Type": "application/json"}
    async with visitor.http.post(f"{visitor.url}/api/search", data=body, headers=headers) as answer:
        assert (answer.status, (await answer.json())["error"]["reason"]) == (400, "REQUEST_INVALID")


@pytest.mark.parametrize("kind", ["text/plain", "multipart/form-data", "application/x-www-form-urlencoded"])
async def test_other_bodies_are_refused(visitor: Visitor, kind: str) -> None:
    async with visitor.http.post(f"{visitor.url}/api/search", data=b"{}", headers={"Content-Type": kind}) as answer:
        assert (answer.status, (await answer.json())["error"]["reason"]) == (400, "REQUEST_INVALID")


async def test_a_photo_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with visiting(max_image_bytes=50_000) as visitor:
        assert await visitor.refused("search", {}, bytes(60_000)) == (413, "IMAGE_TOO_LARGE")
        head = f"POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {{}}\r\nContent-Length: {10**9}\r\n\r\n"
        for kind, status in (("multipart/form-data; boundary=x", b"413"), ("application/json", b"400")):
            async with connected(visitor.url) as (reader, writer):
                writer.write(head.format(kind).encode())
                assert status in await asyncio.wait_for(reader.readline(), 10)


async def test_whoever_sends_too_slowly_is_told_and_holds_no_room() -> None:
    async with visiting(page_upload_seconds=0.3, bytes_in_flight=32 * 2**20) as visitor:
        size = 20 * 2**20
        head = "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        async with connected(visitor.url) as one, connected(visitor.url) as other:
            for _, writer in (one, other):
                writer.write(f"{head}Content-Length: {size}\r\n\r\n--x\r\n".encode())
            # There is room for one of them.
            answers = sorted([await asyncio.wait_for(reader.readline(), 10) for reader, _ in (one, other)])
        assert [answer.split()[1] for answer in answers] == [b"429", b"504"]
        assert (await visitor.ask("search", {}, PHOTO))[0] == 200


async def test_what_is_away_or_busy_says_when_to_come_again() -> None:
    finder, index = FakeFinder(), MemoryIndex()
    changes: dict[str, Any] = {"recent_mebibytes": 0, "photo_permits": 1, "search_waiters": 0, "deadline_seconds": 0.5}
    async with visiting(finder=finder, index=index, **changes) as visitor:
        finder.failure = ModelUnavailable("Triton does not answer")
        status, content, answer = await visitor.ask("search", {}, PHOTO)
        assert (status, content["error"]["reason"]) == (503, "MODEL_UNAVAILABLE")
        assert (content["error"]["retry_after"], answer.headers["Retry-After"]) == (1.0, "1")
        finder.failure = RuntimeError("a secret of ours")
        status, content, _ = await visitor.ask("search", {}, PHOTO)
        assert (status, content["error"]) == (
            500, {"code": "INTERNAL", "reason": "INTERNAL", "message": "internal error"},
        )  # fmt: skip
        finder.failure, index.failure = None, IndexUnavailable("Milvus does not answer")
        assert await visitor.refused("search", {}, PHOTO) == (503, "INDEX_UNAVAILABLE")
        index.failure, finder.gate = None, asyncio.Event()
        both = await asyncio.gather(*(visitor.refused("search", {}, PHOTO) for _ in range(2)))
        assert sorted(both) == [(429, "OVERLOADED"), (504, "DEADLINE_EXCEEDED")]


async def test_whoever_leaves_gives_his_permit_back() -> None:
    finder = FakeFinder()
    finder.gate = asyncio.Event()
    async with visiting(finder=finder, photo_permits=1, search_waiters=0, recent_mebibytes=0) as visitor:
        leaving = asyncio.create_task(visitor.ask("search", {}, PHOTO))

        async def asked() -> None:
            assert finder.calls == 1

        await eventually(asked)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        finder.gate.set()

        async def served() -> None:
            assert (await visitor.ask("search", {}, PHOTO))[0] == 200

        await eventually(served)


async def test_keys_open_what_they_open_over_grpc(tmp_path: Path) -> None:
    keys = KeyFile(tmp_path)
    searching = {"X-Api-Key": keys.add("web", rights='["search"]', requests_per_second=3)}
    of_managers = keys.add("back-office", catalogs='["other"]', rights='["manage"]')
    managing = {"Authorization": f"Bearer {of_managers}"}
    async with visiting(keys_file=str(keys.path), page_records_views=True) as visitor:
        status, content, answer = await visitor.ask("search", {}, PHOTO)
        assert (status, content["error"]["reason"]) == (401, "CREDENTIALS_INVALID")
        assert answer.headers["WWW-Authenticate"] == "Bearer"
        async with visitor.http.get(f"{visitor.url}/api/page") as anonymous:
            assert anonymous.status == 401

        visitor.headers = searching
        async with visitor.http.get(f"{visitor.url}/api/page", headers=searching) as page:
            known = await page.json()
            assert [each["id"] for each in known["catalogs"]] == ["default"]
            assert known["records_views"] is False  # that is managing
        assert await visitor.refused("views", {"views": []}) == (403, "PERMISSION_DENIED")
        assert await visitor.refused("search", {"catalog": "catalogs/other"}, PHOTO) == (403, "PERMISSION_DENIED")
        statuses = [(await visitor.ask("search", {}, PHOTO))[0] for _ in range(4)]
        assert 429 in statuses, statuses

        visitor.headers = managing
        assert await visitor.refused("search", {}, PHOTO) == (403, "PERMISSION_DENIED")
        async with visitor.http.get(f"{visitor.url}/api/page", headers=managing) as page:
            assert (await page.json())["records_views"] is True


def _all(root: type[LookalikeError]) -> list[type[LookalikeError]]:
    return [root, *(each for child in root.__subclasses__() for each in _all(child))]


@pytest.mark.parametrize("kind", _all(LookalikeError))
def test_every_error_has_a_status(kind: type[LookalikeError]) -> None:
    extra = {"position": 3} if kind is errors.FilterMalformed else {}
    error = kind("a sentence", **extra)  # type: ignore[arg-type]
    assert error.code in STATUS
    answer = error_answer(error)
    assert 400 <= answer.status < 600
    assert (answer.status >= 500) is (error.code in UNEXPECTED)
    assert ("Retry-After" in answer.headers) is (error.retry_after is not None)


UNEXPECTED = {grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED}
