"""One port for several gateways: who may have it, how a worker says that it is ready, and how all are renewed."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from pathlib import Path

import pytest

from lookalike_service import workers as module
from lookalike_service.errors import StartupError
from lookalike_service.notifying import notify
from lookalike_service.settings import Settings
from lookalike_service.workers import Worker, Workers, of_worker, reserved, supervise

READY = """
import os, signal, sys, time
from lookalike_service.notifying import notify
open("started", "a").write(f"{os.environ['LOOKALIKE_ADDRESS']} {sys.argv[1]} {os.environ['LOOKALIKE_TOKEN_KEYS']}\\n")
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
notify("READY=1")
time.sleep(60)
"""


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A program in the place of the gateway; its text may be written anew."""
    path = tmp_path / "program.py"
    path.write_text(READY)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "COMMAND", (str(path),))
    return path


def environment() -> dict[str, str]:
    import sys

    return {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}


def started(program: Path) -> list[str]:
    path = program.with_name("started")
    return path.read_text().splitlines() if path.exists() else []


def listening(port: int, *, shared: bool) -> socket.socket:
    sock = socket.socket()
    if shared:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    try:
        sock.bind(("127.0.0.1", port))
        sock.listen()
    except OSError:
        sock.close()
        raise
    return sock


def test_a_reserved_port_is_for_those_who_mean_to_share_it() -> None:
    address, holding = reserved("127.0.0.1:0")
    port = int(address.rpartition(":")[2])
    with holding:
        with listening(port, shared=True), listening(port, shared=True):
            pass
        with pytest.raises(OSError, match="in use"):
            listening(port, shared=False)


def test_a_port_that_somebody_has_is_refused_even_if_he_would_share() -> None:
    with listening(0, shared=True) as sock:
        address = f"127.0.0.1:{sock.getsockname()[1]}"
        with pytest.raises(StartupError, match=r"cannot listen on 127.* LOOKALIKE_ADDRESS"):
            reserved(address)
    address, holding = reserved("127.0.0.1:0")
    with holding, pytest.raises(StartupError, match="the port is taken"):
        reserved(address)


@pytest.mark.parametrize("address", ["nowhere", "unix:/tmp/x.sock", "203.0.113.7:50051"])
def test_an_address_that_cannot_be_shared_is_refused(address: str) -> None:
    with pytest.raises(StartupError, match="another host:port"):
        reserved(address)


def test_each_worker_shows_its_metrics_elsewhere() -> None:
    assert of_worker(Settings(metrics_address="127.0.0.1:9464"), 2).metrics_address == "127.0.0.1:9466"
    for address in ("127.0.0.1:0", ""):
        assert of_worker(Settings(metrics_address=address), 2).metrics_address == address


def test_nobody_hears_a_notice_when_nobody_listens(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "gone"))
    notify("READY=1")


def test_an_abstract_socket_is_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing:
        name = f"lookalike-test-{os.getpid()}"
        hearing.bind(f"\0{name}")
        hearing.settimeout(5)
        monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
        notify("READY=1")
        assert hearing.recv(100) == b"READY=1"


@pytest.mark.parametrize(
    ("text", "why"), [("raise SystemExit(1)", "ended before it served"), ("import time; time.sleep(60)", "within 1 s")]
)
def test_a_worker_that_does_not_serve_is_an_error(program: Path, text: str, why: str) -> None:
    program.write_text(text)
    worker = Worker(0, environment=environment(), start_seconds=1, stop_seconds=1)
    with pytest.raises(StartupError, match=why):
        worker.start()
    assert not worker.running


async def test_workers_are_kept_renewed_and_ended(program: Path) -> None:
    """Two start with one address and one key; one that is killed comes back; SIGHUP replaces both; SIGTERM ends all."""
    settings = Settings(workers=2, startup_seconds=20)
    workers = Workers(settings, address="127.0.0.1:1234", environment=environment())
    supervising = asyncio.create_task(supervise(workers))

    async def until(count: int) -> None:
        async with asyncio.timeout(20):
            while len(started(program)) < count:
                await asyncio.sleep(0.05)
                assert not supervising.done(), supervising.result()

    await until(2)
    lines = [line.split() for line in started(program)]
    assert {address for address, _, _ in lines} == {"127.0.0.1:1234"}
    assert [number for _, number, _ in lines] == ["0", "1"]
    assert len({key for _, _, key in lines}) == 1
    assert len(lines[0][2]) >= 16
    await asyncio.sleep(0.3)
    os.kill(workers.pids()[1], signal.SIGKILL)
    await until(3)
    assert started(program)[-1].split()[1] == "1"
    await asyncio.sleep(0.3)
    os.kill(os.getpid(), signal.SIGHUP)
    await until(5)
    assert [line.split()[1] for line in started(program)[-2:]] == ["0", "1"]
    os.kill(os.getpid(), signal.SIGTERM)
    async with asyncio.timeout(20):
        await supervising
    assert workers.pids() == []


async def test_a_worker_that_cannot_start_ends_the_start(program: Path) -> None:
    program.write_text("raise SystemExit(1)")
    workers = Workers(Settings(workers=2), address="127.0.0.1:1234", environment=environment())
    with pytest.raises(StartupError, match="gateway 0 ended before it served"):
        await supervise(workers)
