"""Ends an embedded Triton that calls itself ready but has lost a process or sees nothing, so that it is started again.

Loading the step anew instead takes as long and is not safe: with a dead stub among its instances Triton 2.51 held up
other photos for ten seconds, and then crashed (docs/decisions.md).
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import Final

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from lookalike_service.embedded.pair import TritonPair
from lookalike_service.keeping import POLL_SECONDS, Keeper

__all__ = ["Mender", "gateway_sees"]

logger = logging.getLogger(__name__)

# The gateway's probe; see probe.py and server.py.
SERVICE: Final = "lookalike.v1.SearchService"
ASK_SECONDS: Final = 0.5
# The last resort: on a machine that is overrun the first photos after a start take longer than the probe waits.
BLIND_SECONDS: Final = 20.0
# A gateway that starts is silent for a while; one that is silent for longer leaves us without knowledge.
SILENT_SECONDS: Final = 60.0


class Mender:
    """Watches what does not end the server's process."""

    def __init__(self, triton: TritonPair, *, keeper: Keeper, sees: Callable[[], Awaitable[bool]]) -> None:
        """`keeper` starts the server again when it has ended; `sees` asks whether photos are looked at."""
        self._triton = triton
        self._keeper = keeper
        self._sees = sees

    async def mend(self) -> None:
        """Watch until cancelled."""
        sighted = asked = time.monotonic()
        suspects: set[str] = set()
        while True:
            await asyncio.sleep(POLL_SECONDS)
            if self._keeper.lock.locked() or not self._triton.running:
                sighted = time.monotonic()
                continue
            # Seen twice: a process that was started a moment ago has no command line yet.
            before, suspects = suspects, await asyncio.to_thread(self._triton.dead_models)
            if dead := before & suspects:
                logger.error("a process of %s has died; Triton is replaced", " and ".join(sorted(dead)))
                await asyncio.to_thread(self._triton.kill)
                suspects = set()
            elif time.monotonic() - asked >= ASK_SECONDS:
                asked = time.monotonic()
                if await self._sees():
                    sighted = time.monotonic()
                elif time.monotonic() - sighted > BLIND_SECONDS:
                    logger.error("Triton runs but sees nothing; it is replaced")
                    await asyncio.to_thread(self._triton.kill)


def gateway_sees(channel: grpc.aio.Channel) -> Callable[[], Awaitable[bool]]:
    """Asks a gateway whether its probe is answered; no answer counts as yes, since the gateway has its own keeper.

    Of a silence that lasts the log speaks once: until it ends, a Triton that runs and sees nothing is not noticed.
    """
    health = health_pb2_grpc.HealthStub(channel)
    heard, said = time.monotonic(), False

    async def sees() -> bool:
        nonlocal heard, said
        try:
            answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=2.0)
        except grpc.aio.AioRpcError as error:
            if not said and time.monotonic() - heard > SILENT_SECONDS:
                said = True
                logger.error(
                    "no gateway has answered for %.0f s whether its models see (%s: %s); until one does, a Triton that "
                    "runs and sees nothing is not replaced", SILENT_SECONDS, error.code().name, error.details(),
                )  # fmt: skip
            return True
        if said:
            logger.info("a gateway answers again whether its models see")
        heard, said = time.monotonic(), False
        return bool(answer.status != health_pb2.HealthCheckResponse.NOT_SERVING)

    return sees
