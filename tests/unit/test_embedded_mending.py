"""Which Tritons are replaced although they run: those that have lost a stub, and those that see nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health, health_pb2

from fakes import FakeFinder
from lookalike_service.embedded import mending
from lookalike_service.embedded.mending import Mender, gateway_sees
from lookalike_service.embedded.stack import with_plain_health
from lookalike_service.embedded.stubs import end_stubs, living_stubs
from lookalike_service.errors import ModelUnavailable
from lookalike_service.keeping import Keeper
from lookalike_service.listening import health_server, is_local
from lookalike_service.settings import Settings
from support_gateway import eventually, open_shop
from support_keys import Authority


class Triton:
    """Is told what has died; counts how often it was replaced."""

    def __init__(self) -> None:
        self.running = True
        self.exit_status: int | None = None
        self.dead: set[str] = set()
        self.kills = 0

    def dead_models(self) -> set[str]:
        return self.dead

    def kill(self) -> None:
        self.kills += 1
        self.dead = set()

    def start(self) -> None:
        self.running = True


class World:
    """A mender over such a Triton."""

    def __init__(self) -> None:
        self.triton: Any = Triton()
        self.seeing = True
        self.keeper = Keeper("Triton", self.triton)

    async def sees(self) -> bool:
        return self.seeing

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(5):
            while not condition():
                await asyncio.sleep(0.01)


@pytest.fixture
async def world(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[World]:
    for name, seconds in (("POLL_SECONDS", 0.01), ("ASK_SECONDS", 0.01), ("BLIND_SECONDS", 0.2)):
        monkeypatch.setattr(mending, name, seconds)
    opened = World()
    mender = Mender(opened.triton, keeper=opened.keeper, sees=opened.sees)
    task = asyncio.create_task(mender.mend())
    yield opened
    assert not task.done()
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_dead_stub_has_triton_replaced_once(world: World) -> None:
    world.triton.dead = {"detect"}
    await world.until(lambda: world.triton.kills == 1)
    await asyncio.sleep(0.1)
    assert world.triton.kills == 1


async def test_a_triton_that_sees_nothing_is_replaced_after_a_while(world: World) -> None:
    begin = time.monotonic()
    world.seeing = False
    await world.until(lambda: world.triton.kills > 0)
    assert time.monotonic() - begin >= 0.15
    world.seeing = True


async def test_one_that_is_being_started_is_left_alone(world: World) -> None:
    async with world.keeper.lock:
        world.seeing, world.triton.dead = False, {"detect"}
        await asyncio.sleep(0.4)
        assert world.triton.kills == 0
        world.seeing, world.triton.dead = True, set()
    world.triton.running = False
    world.triton.dead = {"embed"}
    await asyncio.sleep(0.1)
    assert world.triton.kills == 0


async def test_the_gateway_is_asked_and_its_silence_is_not_held_against_triton() -> None:
    finder = FakeFinder()
    async with open_shop(finder=finder, probe_seconds=0.02) as shop:
        sees = gateway_sees(shop.channel)
        assert await sees()
        finder.failure = ModelUnavailable("gone")

        async def blind() -> None:
            assert not await sees()

        await eventually(blind)
    async with grpc.aio.insecure_channel("127.0.0.1:9") as nobody:
        assert await gateway_sees(nobody)()


async def test_a_long_silence_of_the_gateway_is_said_once(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with grpc.aio.insecure_channel("127.0.0.1:9") as nobody:
        sees = gateway_sees(nobody)
        assert await sees()
        assert caplog.text == ""
        monkeypatch.setattr(mending, "SILENT_SECONDS", 0.0)
        assert await sees()
        assert await sees()
    [record] = [each for each in caplog.records if each.levelname == "ERROR"]
    assert "UNAVAILABLE" in record.getMessage()
    assert "is not replaced" in record.getMessage()


async def test_models_behind_tls_are_watched_without_any_setting(tmp_path: Path) -> None:
    """As the embedded stack does it: a port of loopback, shared by the gateways, that needs no certificate."""
    certificate, key = Authority("us").certify("gateway").write(tmp_path, "gateway")
    given = Settings(tls_certificate=certificate, tls_key=key)
    with with_plain_health(given) as settings:
        assert is_local(settings.health_address)
        servicer = health.aio.HealthServicer()
        server = health_server(servicer, settings, shared_port=True)
        assert server is not None
        await server.start()
        try:
            async with grpc.aio.insecure_channel(settings.health_address) as channel:
                sees = gateway_sees(channel)
                await servicer.set(mending.SERVICE, health_pb2.HealthCheckResponse.SERVING)
                assert await sees()
                await servicer.set(mending.SERVICE, health_pb2.HealthCheckResponse.NOT_SERVING)
                assert not await sees()
        finally:
            await server.stop(None)


def test_where_nobody_needs_it_health_has_no_port_of_its_own() -> None:
    plain = Settings()
    with with_plain_health(plain) as settings:
        assert settings is plain
    chosen = Settings(tls_certificate="a.pem", tls_key="a.key", health_address="127.0.0.1:1")
    with with_plain_health(chosen) as settings:
        assert settings is chosen


def counted(wanted: dict[str, int]) -> None:
    """Wait for so many stubs: a process has its command line a moment after it was started."""
    deadline = time.monotonic() + 5
    while living_stubs(os.getpid()) != wanted and time.monotonic() < deadline:
        time.sleep(0.01)
    assert living_stubs(os.getpid()) == wanted


@contextlib.contextmanager
def stubs(folder: Path, *arguments: tuple[str, ...]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Processes with the command lines of stubs, children of this one."""
    stub = folder / "triton_python_backend_stub"
    stub.symlink_to(Path(sys.executable).resolve())
    script = ["-c", "import time; time.sleep(60)"]
    children = [subprocess.Popen([stub, *script, *each]) for each in arguments]
    try:
        yield children
    finally:
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                child.kill()
            child.wait()


def test_stubs_are_counted_by_model_and_the_dead_are_not(tmp_path: Path) -> None:
    """One that died waits to be reaped."""
    with stubs(tmp_path, *((name, "DEFAULT") for name in ("detect_0_0", "detect_0_1", "my_model_0_0"))) as children:
        counted({"detect": 2, "my_model": 1})
        children[1].kill()
        counted({"detect": 1, "my_model": 1})
    assert living_stubs(os.getpid()) == {}


def test_stubs_that_outlive_their_server_are_ended_and_no_others(tmp_path: Path) -> None:
    regions = ("lookalike_ours_1", "lookalike_theirs_1")
    with stubs(tmp_path, *((region, "detect_0_0", "DEFAULT") for region in regions)) as (ours, theirs):
        counted({"detect": 2})
        end_stubs("lookalike_ours_")
        assert ours.wait(5) == -signal.SIGKILL
        assert theirs.poll() is None
