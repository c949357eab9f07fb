"""The runs of a chaos: kills of the embedded stack, kills of a real Milvus, hot swaps, rolling restarts."""

from __future__ import annotations

import asyncio
import random
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import grpc

from chaos.expected import Expected, fill
from chaos.faults import Outcome, Prober, struck
from chaos.load import Load
from chaos.table import BROKEN, MILVUS, ROLLING, SWAP
from chaos.world import Embedded, Production, embedded, ended, production
from chaos.writes import Ledger, lost_products, lost_views
from lookalike import Client
from lookalike.v1.search_service_pb2 import AnalyzeImageRequest, SearchProductsRequest
from lookalike.v1.search_service_pb2_grpc import SearchServiceStub
from lookalike_service.embedded.stack import MODEL_REPOSITORY

__all__ = ["kill_embedded", "kill_milvus", "restart_gateways", "swap_detect"]

# What dies, and how often of a hundred; the supervisor takes everything along, and somebody must start it again.
TARGETS: Final = {"stub": 30, "triton": 20, "gateway": 25, "milvus": 20, "guard": 3, "supervisor": 2}
NAMES: Final = {
    "stub": "kill -9 of a Triton stub",
    "triton": "kill -9 of tritonserver",
    "gateway": "kill -9 of a gateway",
    "milvus": "kill -9 of Milvus Lite",
    "guard": "kill -9 of a guard",
    "supervisor": "kill -9 of the supervisor",
}
# So long a Milvus stays away; the second is longer than the client's patience.
AWAY_SECONDS: Final = (1.0, 5.0)
# Half seconds for what is on its way.
SETTLING: Final = 40
Report = Callable[[Outcome], None]


async def kill_embedded(
    directory: Path, *, kills: int, seed: int, report: Report, targets: Iterable[str] = tuple(TARGETS)
) -> None:
    """Kill processes of the embedded stack at random moments under load, and look each time for what is lost."""
    chance, named = random.Random(seed), list(targets)
    with embedded(directory, workers=1) as world:
        expected = await _filled(world.address, directory)
        prober = Prober(world.address, expected[0].content)
        ledger = Ledger(world.address, tuple(photo.content for photo in expected))
        for number in range(kills):
            what = named[number] if number < len(named) else chance.choices(named, [TARGETS[each] for each in named])[0]
            async with Load(world.address, expected) as load, ledger:
                await asyncio.sleep(chance.uniform(0.5, 2.0))
                victim = chance.choice(world.victims(what))

                async def strike() -> None:
                    ended(victim)  # noqa: B023 - called before the next one is chosen

                async def heal() -> None:
                    await asyncio.to_thread(world.stop)
                    await asyncio.to_thread(world.start)

                outcome = await struck(
                    NAMES[what], strike, load=load, prober=prober, heal=heal if what == "supervisor" else None
                )
            await _examine(ledger, world, outcome)
            report(outcome)


async def kill_milvus(directory: Path, *, kills: int, seed: int, report: Report) -> None:
    """Kill a real Milvus under load; photos must be looked at meanwhile, and searches be refused clearly."""
    chance = random.Random(seed)
    directory.mkdir(parents=True, exist_ok=True)
    with production(directory) as world:
        expected = await _filled(world.address, directory)
        prober = Prober(world.address, expected[0].content)
        ledger = Ledger(world.address, tuple(photo.content for photo in expected))
        for _ in range(kills):
            away: list[str] = []
            async with Load(world.address, expected) as load, ledger:
                await asyncio.sleep(chance.uniform(0.5, 3.0))
                begin, in_flight = time.monotonic(), load.in_flight
                await asyncio.to_thread(world.milvus.kill)
                away = await _while_away(world.address, expected, seconds=chance.uniform(*AWAY_SECONDS))
                restarted = time.monotonic()
                await asyncio.to_thread(world.milvus.start)
                recovery = await prober.recovered(restarted, shows=0.0)
                await asyncio.sleep(0.5)
                failed, wrong = load.since(begin)
            # Who searches cannot be answered for as long as Milvus takes; photos are looked at all the time.
            blind = [each.what for each in failed if each.call == "analyze"]
            examples = sorted({f"{each.call}: {each.what[:200]}" for each in [*wrong, *failed]})[:4]
            outcome = Outcome(
                MILVUS, in_flight, len(failed), len(wrong) + len(away) + len(blind), round(recovery, 2),
                examples=[*away, *blind[:2], *examples],
            )  # fmt: skip
            await _examine(ledger, world, outcome)
            report(outcome)


async def restart_gateways(directory: Path, *, times: int, report: Report) -> None:
    """Renew two gateways one after the other, under callers who reconnect."""
    with embedded(directory, workers=2) as world:
        expected = await _filled(world.address, directory)
        prober = Prober(world.address, expected[0].content)
        for _ in range(times):
            async with Load(world.address, expected, callers=4) as load:
                await asyncio.sleep(1)
                before = {each.pid for each in world.victims("gateway")}

                async def strike() -> None:
                    world.supervisor.send_signal(signal.SIGHUP)
                    while before & {each.pid for each in world.victims("gateway")}:  # noqa: B023
                        await asyncio.sleep(0.2)

                report(await struck(ROLLING, strike, load=load, prober=prober))


async def swap_detect(directory: Path, *, times: int, report: Report) -> None:
    """Put a new detect in the place of the old one, and then a broken one, under callers who do not try again."""
    directory.mkdir(parents=True, exist_ok=True)
    repository = directory / "repository"
    if not repository.exists():
        shutil.copytree(MODEL_REPOSITORY, repository)
    broken = directory / "broken.onnx"
    whole = (MODEL_REPOSITORY / "detect" / "1" / "model.onnx").read_bytes()
    broken.write_bytes(whole[: len(whole) // 2])
    with embedded(directory, repository=repository) as world:
        expected = await _filled(world.address, directory)
        prober = Prober(world.address, expected[0].content)
        for number in range(times):
            fault, model, status = (
                (BROKEN, broken, 1) if number % 2 else (SWAP, MODEL_REPOSITORY / "detect" / "1" / "model.onnx", 0)
            )
            ended_as: list[int] = []
            async with Load(world.address, expected, timeout=30.0, retrying=False) as load:
                await asyncio.sleep(1)

                async def strike() -> None:
                    command = ["--directory", str(directory), "swap", "detect", str(model)]  # noqa: B023
                    process = await asyncio.create_subprocess_exec(
                        sys.executable, "-m", "lookalike_service.embedded", *command
                    )
                    ended_as.append(await process.wait())  # noqa: B023

                outcome = await struck(fault, strike, load=load, prober=prober)
                if ended_as != [status]:
                    outcome.fault += " (refused)" if status == 0 else " (not refused)"
                report(outcome)


async def _filled(address: str, directory: Path) -> Expected:
    async with Client(address, timeout=60) as client:
        return await fill(client, directory / "wardrobe")


async def _examine(ledger: Ledger, world: Embedded | Production, outcome: Outcome) -> None:
    """Note how much is lost and what is left over, once nobody writes and the outbox is empty."""
    settings = {
        "LOOKALIKE_DATABASE_URL": f"sqlite+aiosqlite:///{world.directory / 'catalog.db'}",
        **world.environment(),
    }
    lost = await lost_products(ledger, settings["LOOKALIKE_DATABASE_URL"])
    views, surplus = list[str](), dict[str, str]()
    for _ in range(SETTLING):
        views, surplus = await lost_views(settings)
        for known in ledger.surplus:
            surplus.pop(known, None)
        if not (views or surplus):
            break
        # What was committed but not acknowledged is on its way to the index.
        await asyncio.sleep(0.5)
    outcome.lost, outcome.surplus = len(lost) + len(views), len(surplus)
    outcome.examples += [*lost[:3], *views[:3], *list(surplus.values())[:3]]
    ledger.surplus |= surplus.keys()


async def _while_away(address: str, expected: Expected, *, seconds: float) -> list[str]:
    """What is not as it should be while the index is away: photos are looked at, searches refused with RetryInfo."""
    faults, end, photo = [], time.monotonic() + seconds, expected[0].content
    async with grpc.aio.insecure_channel(address) as channel:
        stub = SearchServiceStub(channel)
        while time.monotonic() < end:
            try:
                await stub.AnalyzeImage(AnalyzeImageRequest(image=photo, max_garments=1), timeout=15)
            except grpc.aio.AioRpcError as error:
                faults.append(f"AnalyzeImage without an index: {error.code().name} {error.details()}")
            try:
                await stub.SearchProducts(SearchProductsRequest(image=photo, max_garments=1), timeout=15)
                faults.append("a search was answered without an index")
            except grpc.aio.AioRpcError as error:
                details = str(error.trailing_metadata())
                if "INDEX_UNAVAILABLE" not in details or "RetryInfo" not in details:
                    faults.append(f"a search without an index: {error.code().name} {error.details()}")
    return faults[:3]
