"""The servers of a run, each started when it is first needed: Triton, Milvus 2.3.5, the gateway over both."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import MappingProxyType
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from bench.filling import Seen, fill, made_products, seen_garments, settled
from bench.processes import Family, watching
from lookalike_service.embedded.errors import ServerFailed
from lookalike_service.embedded.ports import free_ports
from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.embedded.triton import EmbeddedTriton
from lookalike_service.model import Product
from lookalike_service.triton import TritonFinder
from support_engines import MilvusAccess, milvus
from support_glue import REPOSITORY

__all__ = ["Servers", "calm", "say"]

HOST: Final = "127.0.0.1"
# The catalogs and their rows; 2.5 rows a product.
CATALOGS: Final = {"default": 25_000, "large": 100_000}
START_SECONDS: Final = 60.0
# Milvus compacts for a while after it was written to; idle it uses about 0.04 cores.
CALM_CORES, CALM_SECONDS = 0.08, 60.0


def say(text: str) -> None:
    """Progress, on standard error."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


class Servers:
    """What is up stays up until `stop`; a catalog is filled once."""

    def __init__(
        self, directory: Path, *, others: Sequence[bytes], catalogs: Mapping[str, int] = MappingProxyType(CATALOGS)
    ) -> None:
        """`others` are photos of garments that the `catalogs` (name and rows) are made to look like."""
        self.directory = directory
        self.catalogs = catalogs
        self.families: dict[str, Family] = {}
        self.products: dict[str, list[Product]] = {}
        self._others = others
        self._stack = ExitStack()
        self._triton: EmbeddedTriton | None = None
        self._milvus: MilvusAccess | None = None
        self._gateway = ""
        self._seen: list[Seen] = []

    def stop(self) -> None:
        """End all of them."""
        self._stack.close()
        self._triton, self._milvus, self._gateway = None, None, ""
        self.families.clear()
        self.products.clear()

    async def triton(self) -> EmbeddedTriton:
        """The embedded Triton with the project's models."""
        if self._triton is None:
            say("starting Triton")
            server = EmbeddedTriton(REPOSITORY, run_directory=self.directory / "triton")
            watched = watching(server)
            server, self.families["triton"] = await asyncio.to_thread(self._stack.enter_context, watched)
            self._triton = server
        return self._triton

    async def milvus(self) -> MilvusAccess:
        """The real Milvus."""
        if self._milvus is None:
            say("starting Milvus")
            watched = watching(milvus(self.directory / "milvus"))
            access, self.families["milvus"] = await asyncio.to_thread(self._stack.enter_context, watched)
            self._milvus = access
        return self._milvus

    async def gateway(self, *, filled: Sequence[str] = ("default",)) -> str:
        """The gateway's host:port; all of its catalogs exist, and these are filled."""
        triton, access = await self.triton(), await self.milvus()
        for catalog in filled:
            await self._fill(catalog, access)
        if not self._gateway:
            say("starting the gateway")
            watched = watching(
                _gateway(self.directory, triton=triton.grpc_address, access=access, catalogs=self.catalogs)
            )
            self._gateway, self.families["gateway"] = await asyncio.to_thread(self._stack.enter_context, watched)
        return self._gateway

    async def garments(self) -> list[Seen]:
        """What the models see on the other photos."""
        if not self._seen:
            finder = await TritonFinder.connect((await self.triton()).grpc_address)
            async with finder:
                self._seen = await seen_garments(finder, self._others)
        return self._seen

    async def _fill(self, catalog: str, access: MilvusAccess) -> None:
        if catalog in self.products:
            return
        rows = self.catalogs[catalog]
        products = list(made_products(await self.garments(), rows=rows, catalog=catalog))
        seconds = await fill(products, access=access, database_url=_database(self.directory))
        waited = await asyncio.to_thread(settled, access, catalog, rows=rows)
        waited += await calm(self.families["milvus"])
        self.products[catalog] = products
        say(f"wrote {len(products)} products, {rows} rows in {seconds:.0f} s, calm {waited:.0f} s later")


async def calm(family: Family, *, most: float = CALM_SECONDS) -> float:
    """Wait until what was written no longer occupies the processes, `most` seconds; returns how many it were."""
    begin, busy = time.monotonic(), 1.0
    while busy > CALM_CORES and time.monotonic() - begin < most:
        before = family.cpu_seconds()
        await asyncio.sleep(2)
        busy = (family.cpu_seconds() - before) / 2
    return time.monotonic() - begin


def _database(directory: Path) -> str:
    return f"sqlite+aiosqlite:///{directory / 'catalog.db'}"


@contextmanager
def _gateway(directory: Path, *, triton: str, access: MilvusAccess, catalogs: Iterable[str]) -> Iterator[str]:
    """The gateway as a process of its own, with nothing set but where the others are; yields host:port."""
    address = f"{HOST}:{free_ports(1, host=HOST)[0]}"
    environment = {
        **os.environ,
        "LOOKALIKE_ADDRESS": address,
        "LOOKALIKE_TRITON_ADDRESS": triton,
        "LOOKALIKE_MILVUS_URI": access.uri,
        "LOOKALIKE_MILVUS_TOKEN": access.token,
        "LOOKALIKE_DATABASE_URL": _database(directory),
        "LOOKALIKE_IMAGES_URL": f"file://{directory / 'images'}",
        "LOOKALIKE_CATALOGS": ",".join(catalogs),
        "LOOKALIKE_TOKEN_KEYS": secrets.token_hex(32),
        "LOOKALIKE_METRICS_ADDRESS": f"{HOST}:0",
        # Every photo is new to the models.
        "LOOKALIKE_RECENT_MEBIBYTES": "0",
    }
    log = directory / "gateway.log"
    command = [sys.executable, "-m", "lookalike_service", "serve"]
    process = GuardedProcess(command, environment=environment, directory=directory, log_path=log, stop_timeout=30)
    try:
        _wait_until_serving(process, address, log)
        yield address
    finally:
        process.stop()


def _wait_until_serving(process: GuardedProcess, address: str, log: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline and process.exit_status is None:
            try:
                answer = health.Check(health_pb2.HealthCheckRequest(), timeout=1.0)
            except grpc.RpcError:
                time.sleep(0.1)
                continue
            if answer.status == health_pb2.HealthCheckResponse.SERVING:
                return
            time.sleep(0.1)
    raise ServerFailed(f"the gateway does not serve; the end of its log:\n{log.read_text()[-2000:]}")
