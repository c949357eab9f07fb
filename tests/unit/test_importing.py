"""Imports of the client: failures that pass are sent again, and a cut at any byte loses nothing."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import grpc
import pytest
from google.rpc import status_pb2

import lookalike
from lookalike.v1.product_service_pb2 import (
    IMPORT_OUTCOME_CREATED,
    IMPORT_OUTCOME_FAILED,
    ImportProductsResponse,
)
from support_client import Script, failure, serving

FAST = lookalike.RetryPolicy(initial=0.01, maximum=0.05)


def away(reason: str = "MODEL_UNAVAILABLE") -> status_pb2.Status:
    return failure(grpc.StatusCode.UNAVAILABLE, "away", reason=reason, retry_after=0.01)


@pytest.fixture
def script() -> Script:
    script = Script()
    script.gate.set()
    return script


def products(count: int, *, size: int = 5) -> list[lookalike.Product]:
    return [lookalike.build_product(f"p{number}", images=[b"x" * size]) for number in range(count)]


def name(number: int) -> str:
    return f"catalogs/default/products/p{number}"


async def imported(
    address: str, source: list[lookalike.Product], *, timeout: float = 30.0, max_in_flight: int = 8
) -> list[ImportProductsResponse]:
    async with lookalike.Client(address, timeout=timeout, retry=FAST) as client:
        return [answer async for answer in client.import_products(source, max_in_flight=max_in_flight)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("UNAVAILABLE", "MODEL_UNAVAILABLE"),
        ("UNAVAILABLE", "INDEX_UNAVAILABLE"),
        ("UNAVAILABLE", "STORE_UNAVAILABLE"),
        ("RESOURCE_EXHAUSTED", "OVERLOADED"),
    ],
)
async def test_what_fails_in_passing_is_sent_again(script: Script, code: str, reason: str) -> None:
    passing = failure(grpc.StatusCode[code], "not now", reason=reason, retry_after=0.01)
    script.passing = {name(3): deque([passing, passing]), name(4): deque([passing])}
    async with serving(script) as address:
        answers = await imported(address, products(20))
    assert [answer.name for answer in answers] == [name(number) for number in range(20)]
    assert [answer.position for answer in answers] == list(range(20))
    assert {answer.outcome for answer in answers} == {IMPORT_OUTCOME_CREATED}
    # One stream, in which only the two went out again.
    (sent,) = script.imported
    assert sorted(sent) == sorted([*map(name, range(20)), name(3), name(3), name(4)])


async def test_a_failure_of_the_product_itself_is_not_sent_again(script: Script) -> None:
    busy = failure(grpc.StatusCode.RESOURCE_EXHAUSTED, "busy", reason="OVERLOADED")
    script.failing = {name(1)}
    script.passing = {name(2): deque([busy])}
    async with serving(script) as address:
        answers = await imported(address, products(4))
    failed = [answer.name for answer in answers if answer.outcome == IMPORT_OUTCOME_FAILED]
    # Overload without a word on when to come back is not tried again, as in every other call.
    assert failed == [name(1), name(2)]
    assert len(script.imported[0]) == 4


async def test_a_product_that_never_goes_through_fails_alone_after_the_timeout(script: Script) -> None:
    script.passing = {name(2): deque([away()])}
    script.lasting = {name(2)}
    began = time.monotonic()
    async with serving(script) as address:
        answers = await imported(address, products(30), timeout=1.5)
    assert 1.0 < time.monotonic() - began < 15
    assert [answer.name for answer in answers if answer.outcome == IMPORT_OUTCOME_FAILED] == [name(2)]
    assert isinstance(lookalike.error_from_status(answers[2].error), lookalike.ModelUnavailable)
    assert len(answers) == 30


async def test_when_nothing_goes_through_the_import_waits_once_and_not_for_every_product(script: Script) -> None:
    script.passing = {name(number): deque([away("STORE_UNAVAILABLE")]) for number in range(40)}
    script.lasting = set(script.passing)
    began = time.monotonic()
    async with serving(script) as address:
        answers = await imported(address, products(40), timeout=1.0, max_in_flight=4)
    assert [answer.outcome for answer in answers] == [IMPORT_OUTCOME_FAILED] * 40
    # Ten windows of four, of which the first one waits.
    assert time.monotonic() - began < 8


async def test_two_products_of_one_name_stay_in_order(script: Script) -> None:
    source = products(4)
    source[2].name = "p1"
    script.passing = {name(1): deque([away(), away()])}
    async with serving(script) as address:
        answers = await imported(address, source)
    assert [answer.name for answer in answers] == [name(0), name(1), name(1), name(3)]
    assert {answer.outcome for answer in answers} == {IMPORT_OUTCOME_CREATED}
    # The later one went out after the earlier one had succeeded: three tries, then it.
    assert script.imported[0].count(name(1)) == 4


@asynccontextmanager
async def cutting(target: str, cuts: list[int]) -> AsyncIterator[str]:
    """A proxy that cuts each connection after so many bytes from the client; gives its address."""
    host, port = target.split(":")
    left = deque(cuts)
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        budget = left.popleft() if left else None
        upstream_reader, upstream_writer = await asyncio.open_connection(host, int(port))

        async def back() -> None:
            while data := await upstream_reader.read(65536):
                writer.write(data)
                await writer.drain()

        returning = asyncio.create_task(back())
        tasks.add(returning)
        try:
            while budget is None or budget > 0:
                data = await reader.read(65536 if budget is None else min(budget, 65536))
                if not data:
                    break
                upstream_writer.write(data)
                await upstream_writer.drain()
                budget = None if budget is None else budget - len(data)
        except ConnectionError:
            pass
        finally:
            returning.cancel()
            await asyncio.gather(returning, return_exceptions=True)
            upstream_writer.transport.abort()
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in tasks:
            task.cancel()


@pytest.mark.parametrize("seed", range(5))
async def test_a_cut_at_any_byte_loses_nothing(script: Script, seed: int) -> None:
    cuts = [1 + seed * 7, 24 + seed, 300 + seed * 101, 3_000 + seed * 997, 20_000 + seed * 1_009]
    async with serving(script) as address, cutting(address, cuts) as proxy:
        answers = await imported(proxy, products(60, size=1_000), timeout=30)
    assert [answer.name for answer in answers] == [name(number) for number in range(60)]
    assert [answer.position for answer in answers] == list(range(60))
    assert {answer.outcome for answer in answers} == {IMPORT_OUTCOME_CREATED}
    assert len(script.imported) >= 2
