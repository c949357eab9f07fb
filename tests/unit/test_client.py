"""The client against a real server on a free port."""

from __future__ import annotations

import asyncio
import inspect
import socket
import threading
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import grpc
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from google.rpc import status_pb2

import lookalike
from lookalike.v1.product_service_pb2 import (
    IMPORT_OUTCOME_CREATED,
    IMPORT_OUTCOME_FAILED,
    CreateProductRequest,
    CreateProductResponse,
    DeleteProductRequest,
    DeleteProductResponse,
    GetProductResponse,
    ListProductsRequest,
    ListProductsResponse,
    RecordViewsRequest,
    UpdateProductRequest,
    UpdateProductResponse,
)
from lookalike.v1.search_service_pb2 import (
    AnalyzeImageRequest,
    ListAlsoViewedProductsRequest,
    ListSimilarProductsRequest,
    SearchProductsRequest,
)
from support_client import MIB, Script, failure, serving

FAST = lookalike.RetryPolicy(initial=0.01, maximum=0.05)
UNAVAILABLE = failure(grpc.StatusCode.UNAVAILABLE, "away", reason="MODEL_UNAVAILABLE")


@pytest.fixture
def script() -> Script:
    script = Script()
    script.gate.set()
    return script


@pytest_asyncio.fixture
async def client(script: Script) -> AsyncIterator[lookalike.Client]:
    async with serving(script) as address, lookalike.Client(address, timeout=10, retry=FAST) as client:
        yield client


def products(count: int) -> list[lookalike.Product]:
    return [lookalike.build_product(f"p{number}", images=[b"image"]) for number in range(count)]


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


# What is sent


@pytest.mark.asyncio
async def test_search_sends_what_it_was_given(script: Script, client: lookalike.Client, tmp_path: Path) -> None:
    script.say("SearchProducts", lookalike.SearchProductsResponse(embedding_version=3))
    photo = tmp_path / "street.jpg"
    photo.write_bytes(b"photo")
    answer = await client.search(
        photo,
        catalog="summer",
        regions=[
            (0, 0, 0.5, 1),
            lookalike.Box(x1=1, y1=1),
            lookalike.Region(id="left", box=lookalike.Box(x1=0.5, y1=1)),
        ],
        filter="price < 10000",
        category_mode=lookalike.CategoryMode.CATEGORY_MODE_PREFER,
        page_size=5,
        mask_format=lookalike.MaskFormat.MASK_FORMAT_POLYGON,
    )
    assert answer.embedding_version == 3
    assert script.requests == [
        SearchProductsRequest(
            catalog="catalogs/summer",
            image=b"photo",
            regions=[
                lookalike.Region(box=lookalike.Box(x1=0.5, y1=1)),
                lookalike.Region(box=lookalike.Box(x1=1, y1=1)),
                lookalike.Region(id="left", box=lookalike.Box(x1=0.5, y1=1)),
            ],
            filter="price < 10000",
            category_mode=lookalike.CategoryMode.CATEGORY_MODE_PREFER,
            page_size=5,
            mask_format=lookalike.MaskFormat.MASK_FORMAT_POLYGON,
        )
    ]


@pytest.mark.asyncio
async def test_garments_are_searched_and_paged_by_token(script: Script, client: lookalike.Client) -> None:
    first = lookalike.GarmentHits(garment=lookalike.Garment(garment_token="coat"), next_page_token="2")
    last = lookalike.GarmentHits(garment=lookalike.Garment(garment_token="coat"))
    script.say("SearchProducts", *(lookalike.SearchProductsResponse(results=[page]) for page in (first, last)))
    options: lookalike.SearchOptions = {"filter": "available", "min_score": 0.5}
    found = await client.search_garments(["coat"], **options)
    page = await client.next_page(found.results[0], **options)
    assert page == last
    assert script.requests[1] == SearchProductsRequest(
        catalog="catalogs/default",
        garments=lookalike.GarmentTokens(tokens=["coat"]),
        page_token="2",
        filter="available",
        min_score=0.5,
    )
    with pytest.raises(ValueError, match="no more hits"):
        await client.next_page(page, **options)


@pytest.mark.asyncio
async def test_the_other_searches(script: Script, client: lookalike.Client) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(garments=[lookalike.Garment(category="dress")]))
    script.say("ListSimilarProducts", lookalike.ListSimilarProductsResponse(next_page_token="more"))
    script.say("ListAlsoViewedProducts", lookalike.ListAlsoViewedProductsResponse(next_page_token="views"))
    assert (await client.analyze(b"photo", max_garments=2)).garments[0].category == "dress"
    assert (await client.similar("sku-1", page_token="t", page_size=3)).next_page_token == "more"
    assert (await client.also_viewed("catalogs/x/products/y", similarity_share=0.5)).next_page_token == "views"
    assert script.requests == [
        AnalyzeImageRequest(catalog="catalogs/default", image=b"photo", max_garments=2),
        ListSimilarProductsRequest(name="catalogs/default/products/sku-1", page_token="t", page_size=3),
        ListAlsoViewedProductsRequest(name="catalogs/x/products/y", similarity_share=0.5),
    ]


@pytest.mark.asyncio
async def test_products_are_kept(script: Script, client: lookalike.Client) -> None:
    stored = lookalike.Product(name="catalogs/default/products/sku-1", revision=7)
    script.say("GetProduct", GetProductResponse(product=stored))
    script.say("CreateProduct", CreateProductResponse(product=stored))
    script.say("UpdateProduct", UpdateProductResponse(product=stored))
    script.say("DeleteProduct", DeleteProductResponse())
    product = lookalike.build_product(
        "sku-1", price=(1999, "EUR"), attributes={"organic": True, "size": 38, "fit": "slim"}
    )
    assert await client.get_product("sku-1") == stored
    assert await client.create_product(product, catalog="summer") == stored
    assert await client.update_product(product, update_mask=["price"], allow_missing=True) == stored
    await client.delete_product("sku-1", allow_missing=True, revision=8)
    _, created, updated, deleted = script.requests
    assert isinstance(created, CreateProductRequest)
    assert (created.parent, created.product_id) == ("catalogs/summer", "sku-1")
    assert created.product.price == lookalike.Money(amount_minor=1999, currency_code="EUR")
    assert created.product.attributes["organic"].bool_value is True
    assert created.product.attributes["size"].number_value == 38
    assert created.product.attributes["fit"].string_value == "slim"
    assert not created.product.HasField("available")
    assert isinstance(updated, UpdateProductRequest)
    assert (updated.product.name, list(updated.update_mask.paths)) == (stored.name, ["price"])
    assert deleted == DeleteProductRequest(name=stored.name, allow_missing=True, revision=8)


@pytest.mark.asyncio
async def test_lists_follow_the_pages(script: Script, client: lookalike.Client) -> None:
    names = [lookalike.Product(name=f"catalogs/default/products/{letter}") for letter in "abc"]
    script.say(
        "ListProducts",
        ListProductsResponse(products=names[:2], next_page_token="more"),
        ListProductsResponse(next_page_token="still more"),
        ListProductsResponse(products=names[2:]),
    )
    assert [product async for product in client.list_products(filter="available", page_size=2)] == names
    tokens = [request.page_token for request in script.requests if isinstance(request, ListProductsRequest)]
    assert tokens == ["", "more", "still more"]


@pytest.mark.asyncio
async def test_credentials_and_metadata_travel(script: Script) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse())
    async with (
        serving(script) as address,
        lookalike.Client(address, api_key="secret", metadata=[("x-shop", "berlin")]) as client,
    ):
        await client.analyze(b"photo")
    assert script.metadata[0]["x-api-key"] == "secret"
    assert script.metadata[0]["x-shop"] == "berlin"


def self_signed() -> tuple[bytes, bytes]:
    """A private key and its certificate for localhost, PEM."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return private, certificate.public_bytes(serialization.Encoding.PEM)


@pytest.mark.asyncio
async def test_connections_can_be_encrypted(script: Script) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(embedding_version=1))
    key, certificate = self_signed()
    async with serving(script, credentials=grpc.ssl_server_credentials([(key, certificate)])) as address:
        address = address.replace("127.0.0.1", "localhost")
        trusting = grpc.ssl_channel_credentials(certificate)
        async with lookalike.Client(address, credentials=trusting) as client:
            assert (await client.analyze(b"photo")).embedding_version == 1
        async with lookalike.Client(address, timeout=0.5, credentials=grpc.ssl_channel_credentials()) as client:
            with pytest.raises(lookalike.Unavailable):
                await client.analyze(b"photo")


@pytest.mark.asyncio
async def test_views_go_out_in_bounded_messages(script: Script, client: lookalike.Client) -> None:
    script.say("RecordViews", lookalike.RecordViewsResponse())
    views = [lookalike.ProductPageView(product="p", session=str(number)) for number in range(20_500)]
    assert (await client.record_views(views)).accepted == 20_500
    sent = [request for request in script.requests if isinstance(request, RecordViewsRequest)]
    assert [len(request.views) for request in sent] == [1000] * 20 + [500]
    assert sent[0].views[0].product == "catalogs/default/products/p"


# What is refused before sending


@pytest.mark.asyncio
async def test_images_and_messages_have_bounds(script: Script, client: lookalike.Client, tmp_path: Path) -> None:
    large = tmp_path / "large.png"
    with large.open("wb") as file:
        file.truncate(20 * MIB + 1)
    with pytest.raises(lookalike.ImageTooLarge, match=r"large\.png has 20\.0 MiB"):
        await client.search(large)
    with pytest.raises(lookalike.ImageTooLarge, match="an image may have 20 MiB"):
        await client.analyze(bytes(25 * MIB))
    with pytest.raises(FileNotFoundError):
        await client.search(tmp_path / "missing.jpg")
    product = lookalike.build_product("p", images=[bytes(17 * MIB), bytes(17 * MIB)])
    with pytest.raises(lookalike.MessageTooLarge, match="a message may have 32 MiB"):
        await client.create_product(product)
    assert script.requests == []


@pytest.mark.asyncio
async def test_the_largest_image_goes_through(script: Script, client: lookalike.Client) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(embedding_version=1))
    assert (await client.analyze(bytes(20 * MIB))).embedding_version == 1


# Errors


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("code", "reason", "kind"),
    [
        ("INVALID_ARGUMENT", "IMAGE_UNREADABLE", lookalike.ImageUnreadable),
        ("INVALID_ARGUMENT", "IMAGE_TOO_LARGE", lookalike.ImageTooLarge),
        ("INVALID_ARGUMENT", "FILTER_MALFORMED", lookalike.FilterMalformed),
        ("INVALID_ARGUMENT", "PAGE_TOKEN_INVALID", lookalike.PageTokenInvalid),
        ("INVALID_ARGUMENT", "GARMENT_TOKEN_INVALID", lookalike.GarmentTokenInvalid),
        ("INVALID_ARGUMENT", "REGION_INVALID", lookalike.RegionInvalid),
        ("INVALID_ARGUMENT", "REQUEST_INVALID", lookalike.RequestInvalid),
        ("INVALID_ARGUMENT", "SOMETHING_NEW", lookalike.RequestInvalid),
        ("NOT_FOUND", "PRODUCT_NOT_FOUND", lookalike.ProductNotFound),
        ("NOT_FOUND", "CATALOG_NOT_FOUND", lookalike.CatalogNotFound),
        ("NOT_FOUND", "", lookalike.NotFound),
        ("ALREADY_EXISTS", "PRODUCT_EXISTS", lookalike.ProductExists),
        ("ABORTED", "REVISION_OUTDATED", lookalike.RevisionOutdated),
        ("RESOURCE_EXHAUSTED", "OVERLOADED", lookalike.Overloaded),
        ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", lookalike.QuotaExceeded),
        ("UNAUTHENTICATED", "CREDENTIALS_INVALID", lookalike.CredentialsInvalid),
        ("PERMISSION_DENIED", "PERMISSION_DENIED", lookalike.PermissionDenied),
        ("DEADLINE_EXCEEDED", "DEADLINE_EXCEEDED", lookalike.DeadlineExceeded),
        ("UNIMPLEMENTED", "NOT_IMPLEMENTED", lookalike.NotImplementedYet),
        ("INTERNAL", "INTERNAL", lookalike.ServerFault),
        ("DATA_LOSS", "", lookalike.LookalikeError),
    ],
)
async def test_errors_become_classes(
    script: Script, client: lookalike.Client, code: str, reason: str, kind: type[lookalike.LookalikeError]
) -> None:
    script.say("AnalyzeImage", failure(grpc.StatusCode[code], "a sentence", reason=reason))
    with pytest.raises(lookalike.LookalikeError) as caught:
        await client.analyze(b"photo")
    error = caught.value
    assert type(error) is kind
    assert (error.code, error.reason, str(error)) == (grpc.StatusCode[code], reason, "a sentence")
    assert len(script.requests) == 1


@pytest.mark.asyncio
@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("MODEL_UNAVAILABLE", lookalike.ModelUnavailable),
        ("INDEX_UNAVAILABLE", lookalike.IndexUnavailable),
        ("STORE_UNAVAILABLE", lookalike.StoreUnavailable),
    ],
)
async def test_a_part_that_stays_away_is_named(script: Script, reason: str, kind: type[lookalike.Unavailable]) -> None:
    script.say("AnalyzeImage", failure(grpc.StatusCode.UNAVAILABLE, "away", reason=reason, retry_after=0.01))
    retry = lookalike.RetryPolicy(initial=0.01, max_attempts=3)
    async with serving(script) as address, lookalike.Client(address, retry=retry) as client:
        with pytest.raises(kind, match="away"):
            await client.analyze(b"photo")
    assert len(script.requests) == 3


@pytest.mark.asyncio
async def test_errors_carry_what_a_program_can_act_on(script: Script, client: lookalike.Client) -> None:
    script.say(
        "SearchProducts",
        failure(
            grpc.StatusCode.INVALID_ARGUMENT,
            "`)` is missing",
            reason="FILTER_MALFORMED",
            field="filter",
            metadata={"position": "17"},
        ),
    )
    with pytest.raises(lookalike.FilterMalformed) as caught:
        await client.search(b"photo", filter="(price < 1")
    assert caught.value.position == 17
    assert caught.value.field_violations == (lookalike.FieldViolation("filter", "`)` is missing"),)
    assert caught.value.retry_after is None


def test_an_error_without_details_has_the_class_of_its_code() -> None:
    status = status_pb2.Status(
        code=grpc.StatusCode.RESOURCE_EXHAUSTED.value[0], message="Received message larger than max"
    )
    assert type(lookalike.error_from_status(status)) is lookalike.MessageTooLarge


# Deadlines and retries


@pytest.mark.asyncio
async def test_every_call_has_a_deadline(script: Script) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse())
    async with serving(script) as address, lookalike.Client(address, timeout=20) as client:
        await client.analyze(b"photo")
        await client.analyze(b"photo", timeout=5)
    assert script.time_remaining[0] == pytest.approx(20, abs=2)
    assert script.time_remaining[1] == pytest.approx(5, abs=2)


@pytest.mark.asyncio
async def test_a_slow_answer_ends_in_a_sentence(script: Script, client: lookalike.Client) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse())
    script.delay = 5
    with pytest.raises(lookalike.DeadlineExceeded, match=r"within 0\.2 s; allow more with `timeout`"):
        await client.analyze(b"photo", timeout=0.2)


@pytest.mark.asyncio
async def test_unavailable_is_tried_again_within_one_deadline(script: Script) -> None:
    script.say("AnalyzeImage", UNAVAILABLE, UNAVAILABLE, lookalike.AnalyzeImageResponse(embedding_version=1))
    async with (
        serving(script) as address,
        lookalike.Client(address, retry=lookalike.RetryPolicy(initial=0.4)) as client,
    ):
        assert (await client.analyze(b"photo", timeout=10)).embedding_version == 1
    assert len(script.requests) == 3
    assert script.time_remaining[2] < script.time_remaining[0] - 0.3


@pytest.mark.asyncio
async def test_what_a_server_refuses_as_it_shuts_down_is_tried_again(script: Script) -> None:
    cancelled = failure(grpc.StatusCode.CANCELLED, "CANCELLED", reason="")
    script.say("AnalyzeImage", cancelled, lookalike.AnalyzeImageResponse(embedding_version=1))
    script.say("SearchProducts", cancelled)
    retry = lookalike.RetryPolicy(initial=0.01, max_attempts=2)
    async with serving(script) as address, lookalike.Client(address, retry=retry) as client:
        assert (await client.analyze(b"photo")).embedding_version == 1
        with pytest.raises(lookalike.Unavailable, match=f"the server at {address} shuts down"):
            await client.search(b"photo")
    assert len(script.requests) == 4


@pytest.mark.asyncio
async def test_overload_is_tried_again_only_when_the_server_says_when(script: Script, client: lookalike.Client) -> None:
    overloaded = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED", retry_after=0.2)
    script.say("AnalyzeImage", overloaded, lookalike.AnalyzeImageResponse())
    began = time.monotonic()
    await client.analyze(b"photo")
    assert time.monotonic() - began >= 0.2
    script.say("SearchProducts", failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED"))
    with pytest.raises(lookalike.Overloaded) as caught:
        await client.search(b"photo")
    assert caught.value.retry_after is None
    assert len(script.requests) == 3


@pytest.mark.asyncio
async def test_a_wait_that_does_not_fit_is_not_begun(script: Script, client: lookalike.Client) -> None:
    script.say("AnalyzeImage", failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED", retry_after=60))
    began = time.monotonic()
    with pytest.raises(lookalike.Overloaded) as caught:
        await client.analyze(b"photo", timeout=5)
    assert time.monotonic() - began < 2
    assert caught.value.retry_after == 60


@pytest.mark.asyncio
async def test_a_server_that_comes_back_is_found(script: Script) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(embedding_version=1))
    address = f"127.0.0.1:{free_port()}"
    async with lookalike.Client(address, timeout=15) as client:
        waiting = asyncio.create_task(client.analyze(b"photo"))
        await asyncio.sleep(1.0)
        async with serving(script, address=address):
            assert (await waiting).embedding_version == 1


@pytest.mark.asyncio
async def test_no_server_at_all_ends_in_a_sentence() -> None:
    address = f"127.0.0.1:{free_port()}"
    async with lookalike.Client(address, timeout=0.5) as client:
        with pytest.raises(lookalike.Unavailable, match=f"cannot reach a server at {address}; is it running there"):
            await client.get_product("p")


def test_backoff_grows_and_never_runs_ahead_of_the_server() -> None:
    policy = lookalike.RetryPolicy(initial=0.1, multiplier=2, maximum=1)
    away = lookalike.Unavailable("away")
    for attempts, longest in [(1, 0.1), (2, 0.2), (3, 0.4), (9, 1.0), (10_000, 1.0)]:
        delays = [policy.delay(away, attempts=attempts) for _ in range(50)]
        assert all(delay is not None and longest / 2 <= delay <= longest for delay in delays)
    asked = policy.delay(lookalike.Overloaded("busy", retry_after=3), attempts=1)
    assert asked is not None and asked >= 3
    assert policy.delay(lookalike.ProductNotFound("gone"), attempts=1) is None
    assert lookalike.RetryPolicy(max_attempts=1).delay(away, attempts=1) is None


# What is reported


@pytest.mark.asyncio
async def test_calls_are_reported_with_the_servers_timings(script: Script) -> None:
    calls: list[lookalike.Call] = []
    script.trailing = (
        ("server-timing", "queue;dur=0.5, inference;dur=31, search;desc=index;dur=4.25,own;dur=2"),
        ("lookalike-embedding-version", "2"),
    )
    script.say("AnalyzeImage", UNAVAILABLE, lookalike.AnalyzeImageResponse())
    script.say("GetProduct", failure(grpc.StatusCode.NOT_FOUND, "gone", reason="PRODUCT_NOT_FOUND"))
    async with serving(script) as address, lookalike.Client(address, retry=FAST, on_call=calls.append) as client:
        await client.analyze(b"photo")
        with pytest.raises(lookalike.ProductNotFound):
            await client.get_product("gone")
    analyzed, got = calls
    assert (analyzed.method, analyzed.attempts, analyzed.embedding_version) == ("AnalyzeImage", 2, 2)
    assert analyzed.timings == {"queue": 0.0005, "inference": 0.031, "search": 0.00425, "own": 0.002}
    assert analyzed.error is None and analyzed.seconds > 0
    assert got.method == "GetProduct" and isinstance(got.error, lookalike.ProductNotFound)


# Imports


@pytest.mark.asyncio
async def test_imports_answer_every_product_in_order(script: Script, client: lookalike.Client) -> None:
    script.failing = {"catalogs/default/products/p3"}
    outcomes = [outcome async for outcome in client.import_products(products(200))]
    assert [outcome.position for outcome in outcomes] == list(range(200))
    assert [outcome.name for outcome in outcomes] == [f"catalogs/default/products/p{number}" for number in range(200)]
    failed = [outcome for outcome in outcomes if outcome.outcome == IMPORT_OUTCOME_FAILED]
    assert [outcome.position for outcome in failed] == [3]
    assert isinstance(lookalike.error_from_status(failed[0].error), lookalike.ImageUnreadable)


@pytest.mark.asyncio
async def test_the_progress_of_an_import_is_told(script: Script, client: lookalike.Client) -> None:
    script.failing = {"catalogs/default/products/p1"}
    told: list[lookalike.ImportProgress] = []
    async with aclosing(client.import_products(products(3), on_progress=told.append)) as answers:
        assert [len(told) async for _ in answers] == [1, 2, 3]
    assert [(each.answered, each.created, each.failed) for each in told] == [(1, 1, 0), (2, 1, 1), (3, 2, 1)]
    assert told[-1].updated == told[-1].unchanged == 0
    assert 0 < told[0].seconds <= told[-1].seconds
    assert told[-1].per_second == pytest.approx(3 / told[-1].seconds)


@pytest.mark.asyncio
async def test_what_the_listener_of_an_import_raises_ends_it(script: Script, client: lookalike.Client) -> None:
    def stop(progress: lookalike.ImportProgress) -> None:
        if progress.answered == 2:
            raise RuntimeError("enough")

    answers = client.import_products(products(5), on_progress=stop)
    assert (await anext(answers)).position == 0
    with pytest.raises(RuntimeError, match="enough"):
        await anext(answers)


@pytest.mark.asyncio
async def test_a_cut_import_sends_again_what_was_not_answered(script: Script, client: lookalike.Client) -> None:
    script.cuts.extend([5, 0, 12])
    outcomes = [outcome async for outcome in client.import_products(products(40), max_in_flight=8)]
    assert [outcome.position for outcome in outcomes] == list(range(40))
    assert all(outcome.outcome == IMPORT_OUTCOME_CREATED for outcome in outcomes)
    assert len(script.imported) == 4
    starts = [int(names[0].rsplit("/p")[-1]) for names in script.imported if names]
    assert starts == sorted(starts) and starts[0] == 0 and starts[-1] > 0
    # Of each stream that was cut, at most what was in flight went out again.
    assert sum(map(len, script.imported)) <= 40 + 3 * 8


@pytest.mark.asyncio
async def test_an_import_outlives_its_server(script: Script) -> None:
    address = f"127.0.0.1:{free_port()}"
    script.gate.clear()
    async with lookalike.Client(address, timeout=15) as client:

        async def collect() -> list[int]:
            return [outcome.position async for outcome in client.import_products(products(30))]

        collecting = asyncio.create_task(collect())
        async with serving(script, address=address):
            await asyncio.sleep(0.5)
        script.gate.set()
        async with serving(script, address=address):
            assert await collecting == list(range(30))
    assert len(script.imported) == 2


@pytest.mark.asyncio
async def test_an_import_holds_its_source_back(script: Script, client: lookalike.Client) -> None:
    script.gate.clear()
    taken: list[int] = []

    def source() -> Iterator[lookalike.Product]:
        for number, product in enumerate(products(50)):
            taken.append(number)
            yield product

    async with aclosing(client.import_products(source(), max_in_flight=4)) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0.5)
        assert len(script.imported[0]) == 4
        # One more waits at the door of the window.
        assert len(taken) == 5
        script.gate.set()
        assert (await first).position == 0
        assert [outcome.position async for outcome in outcomes] == list(range(1, 50))


@pytest.mark.asyncio
async def test_bytes_in_flight_are_bounded_too(script: Script, client: lookalike.Client) -> None:
    script.gate.clear()
    large = [lookalike.build_product(f"p{number}", images=[bytes(MIB)]) for number in range(6)]
    async with aclosing(client.import_products(large, max_bytes_in_flight=2 * MIB + 10_000)) as outcomes:
        first = asyncio.ensure_future(anext(outcomes))
        await asyncio.sleep(0.5)
        assert len(script.imported[0]) == 2
        script.gate.set()
        await first
        assert [outcome.position async for outcome in outcomes] == [1, 2, 3, 4, 5]


@pytest.mark.asyncio
async def test_a_product_too_large_for_a_message_fails_alone(script: Script, client: lookalike.Client) -> None:
    source = products(3)
    source[1] = lookalike.build_product("p1", images=[bytes(17 * MIB), bytes(17 * MIB)])
    outcomes = [outcome async for outcome in client.import_products(source)]
    assert [outcome.outcome for outcome in outcomes] == [
        IMPORT_OUTCOME_CREATED,
        IMPORT_OUTCOME_FAILED,
        IMPORT_OUTCOME_CREATED,
    ]
    assert outcomes[1].name == "catalogs/default/products/p1"
    assert "a message may have 32 MiB" in outcomes[1].error.message


@pytest.mark.asyncio
async def test_an_import_without_answers_ends(script: Script, client: lookalike.Client) -> None:
    script.gate.clear()
    with pytest.raises(lookalike.DeadlineExceeded, match=r"no product was answered for 0\.3 s"):
        _ = [outcome async for outcome in client.import_products(products(3), timeout=0.3)]


@pytest.mark.asyncio
async def test_what_the_source_raises_comes_after_its_answers(client: lookalike.Client) -> None:
    async def source() -> AsyncIterator[lookalike.Product]:
        for product in products(3):
            yield product
        raise OSError("the disk is gone")

    positions = []
    with pytest.raises(OSError, match="the disk is gone"):
        async for outcome in client.import_products(source()):
            positions.append(outcome.position)
    assert positions == [0, 1, 2]


@pytest.mark.asyncio
async def test_a_slow_source_is_no_standstill(script: Script, client: lookalike.Client) -> None:
    async def source() -> AsyncIterator[lookalike.Product]:
        for product in products(2):
            await asyncio.sleep(0.5)
            yield product

    outcomes = [outcome.position async for outcome in client.import_products(source(), timeout=0.3)]
    assert outcomes == [0, 1]
    assert len(script.imported) == 1


# The client without an event loop


def test_the_blocking_client_does_the_same(script: Script) -> None:
    script.say("AnalyzeImage", lookalike.AnalyzeImageResponse(embedding_version=4))
    script.say("GetProduct", failure(grpc.StatusCode.NOT_FOUND, "gone", reason="PRODUCT_NOT_FOUND"))
    script.say("ListProducts", ListProductsResponse(products=products(2)))
    ready, done = threading.Event(), threading.Event()
    addresses: list[str] = []

    async def serve() -> None:
        async with serving(script) as address:
            addresses.append(address)
            ready.set()
            await asyncio.to_thread(done.wait)

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    try:
        assert ready.wait(10)
        with lookalike.SyncClient(addresses[0], timeout=10) as client:
            assert client.analyze(b"photo").embedding_version == 4
            assert [product.name for product in client.list_products()] == ["p0", "p1"]
            told: list[int] = []
            outcomes = client.import_products(products(5), on_progress=lambda progress: told.append(progress.answered))
            assert [outcome.position for outcome in outcomes] == [0, 1, 2, 3, 4]
            assert told == [1, 2, 3, 4, 5]
            assert next(client.import_products(iter(products(5)))).position == 0
            with pytest.raises(lookalike.ProductNotFound):
                client.get_product("gone")
        client.close()
    finally:
        done.set()
        thread.join()


def test_the_blocking_client_has_every_method() -> None:
    def public(kind: type) -> set[str]:
        return {name for name, member in inspect.getmembers(kind, callable) if not name.startswith("_")}

    assert public(lookalike.SyncClient) == public(lookalike.Client) | {"wait_for"}
    assert inspect.signature(lookalike.SyncClient) == inspect.signature(lookalike.Client)


def test_everything_public_is_exported() -> None:
    from lookalike import client, errors

    public = {
        name for name, value in vars(lookalike).items() if not name.startswith("_") and not inspect.ismodule(value)
    }
    assert public == set(lookalike.__all__)
    assert list(lookalike.__all__) == sorted(
        lookalike.__all__, key=lambda name: (not name.isupper(), not name[0].isupper(), name)
    )
    assert set(errors.__all__) | set(client.__all__) <= public
