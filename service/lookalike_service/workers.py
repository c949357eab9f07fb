"""Several gateways behind one port, each a process of its own: one dies and is started again, or all are renewed."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Coroutine, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Self

from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.errors import StartupError
from lookalike_service.keeping import Keeper
from lookalike_service.notifying import notify
from lookalike_service.settings import Settings

__all__ = ["Worker", "Workers", "of_worker", "reserved", "reserved_page", "serve", "supervise"]

logger = logging.getLogger(__name__)

COMMAND: Final = ("-m", "lookalike_service", "worker")
# What a start takes beside waiting for Triton, Milvus and the database, with both cores busy.
BESIDE_SECONDS: Final = 60.0
# How much longer than the calls under way a worker may take to close its connections.
CLOSING_SECONDS: Final = 20.0


def reserved(address: str, *, setting: str = "LOOKALIKE_ADDRESS") -> tuple[str, socket.socket]:
    """Take a port for ourselves and our workers; returns host:port and the socket that holds it.

    Nobody listens on that socket. It was bound as if alone, so a port in use is refused; sharing is allowed only
    afterwards, and only to processes of the same user that ask for it, which other servers do not. Raises StartupError.
    """
    host, _, port = address.rpartition(":")
    try:
        kind, _, _, _, bound = socket.getaddrinfo(
            host.strip("[]"), int(port), type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        holding = _bound(kind, bound)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"cannot listen on {address}: the port is taken, or the address is not this machine's; set "
            f"{setting} to another host:port (port 0 takes any that is free)"
        ) from error
    return f"{host}:{holding.getsockname()[1]}", holding


@contextlib.contextmanager
def reserved_page(address: str) -> Iterator[str]:
    """As `reserved`, for the page and a block; an empty address stays empty."""
    if not address:
        yield ""
        return
    found, holding = reserved(address, setting="LOOKALIKE_PAGE_ADDRESS")
    with holding:
        yield found


def _bound(kind: int, address: Any) -> socket.socket:  # noqa: ANN401 - host and port, and two more with IPv6
    """A socket that holds the address and lets others of ours share it. Raises OSError."""
    # Connections that ended a moment ago keep a port from whoever does not say that he reuses addresses; whoever says
    # so at once may get one that is held but not listened on.
    for reusing in (False, True):
        holding = socket.socket(kind, socket.SOCK_STREAM)
        try:
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reusing)
            holding.bind(address)
            holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        except OSError:
            holding.close()
            if reusing:
                raise
        else:
            return holding
    raise AssertionError("the second attempt returns or raises")


class Worker:
    """One gateway in a process of its own; ready when it says so. Its methods block."""

    def __init__(
        self, number: int, *, environment: Mapping[str, str], start_seconds: float, stop_seconds: float
    ) -> None:
        """`number` counts from 0; `environment` holds the settings."""
        self._number = number
        self._environment = environment
        self._start_seconds = start_seconds
        self._stop_seconds = stop_seconds
        self._process: GuardedProcess | None = None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """How its process ended; None while it runs, or before it was started."""
        return self._process.exit_status if self._process is not None else None

    @property
    def pid(self) -> int | None:
        """Its process id, or None while it is gone."""
        return self._process.pid if self._process is not None else None

    def start(self) -> Self:
        """Start it and wait until it serves. Raises StartupError; it has said why itself."""
        with (
            tempfile.TemporaryDirectory(prefix="lookalike-") as folder,
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as hearing,
        ):
            path = Path(folder, "ready")
            hearing.bind(str(path))
            hearing.settimeout(0.1)
            self._process = GuardedProcess(
                [sys.executable, *COMMAND, str(self._number)],
                environment={**self._environment, "NOTIFY_SOCKET": str(path)},
                directory=Path.cwd(),
                log_path=None,
                stop_timeout=self._stop_seconds,
            )
            self._wait(hearing)
        return self

    def stop(self) -> None:
        """Let it finish the calls under way, and wait until it is gone."""
        if self._process is not None:
            self._process.stop()

    def _wait(self, hearing: socket.socket) -> None:
        end = time.monotonic() + self._start_seconds
        while self.running and time.monotonic() < end:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in hearing.recv(256):
                    return
        why = f"did not serve within {self._start_seconds:.0f} s" if self.running else "ended before it served"
        self.stop()
        raise StartupError(f"gateway {self._number} {why}; its last lines say why")


class Workers:
    """All gateways of one port."""

    def __init__(self, settings: Settings, *, address: str, environment: Mapping[str, str]) -> None:
        """`address` is reserved; `environment` holds the settings beside it."""
        self._environment = {
            **environment,
            "LOOKALIKE_ADDRESS": address,
            # Tokens of one worker must be good for the others.
            "LOOKALIKE_TOKEN_KEYS": ",".join(key.get_secret_value() for key in settings.token_keys)
            or secrets.token_hex(32),
            # A session is one session, whichever worker hears of it.
            "LOOKALIKE_SESSION_KEY": settings.session_key.get_secret_value() or secrets.token_hex(32),
        }
        self._workers = [
            Worker(
                number,
                environment=self._environment,
                start_seconds=settings.startup_seconds + BESIDE_SECONDS,
                stop_seconds=settings.grace_seconds + CLOSING_SECONDS,
            )
            for number in range(settings.workers)
        ]
        self._keepers = [Keeper(f"gateway {number}", worker) for number, worker in enumerate(self._workers)]
        self._renewing = asyncio.Lock()

    async def start(self) -> None:
        """Start all of them. Raises StartupError when one does not serve; the caller stops the others."""
        # One after the other: the first one makes tables and collections.
        for worker in self._workers:
            await asyncio.to_thread(worker.start)

    async def keep(self) -> None:
        """Start again what dies, until cancelled."""
        await asyncio.gather(*(keeper.keep() for keeper in self._keepers))

    def pids(self) -> list[int]:
        """The process ids of those that live."""
        return [pid for worker in self._workers if (pid := worker.pid) is not None]

    def tell(self, **environment: str) -> bool:
        """Give new workers these variables; whether that changes anything."""
        changed = any(self._environment.get(name) != value for name, value in environment.items())
        self._environment.update(environment)
        return changed

    async def renew(self) -> None:
        """Replace one after the other, so that the others serve meanwhile; each finishes its calls first."""
        async with self._renewing:
            for keeper, worker in zip(self._keepers, self._workers, strict=True):
                async with keeper.lock:
                    await asyncio.to_thread(worker.stop)
                    try:
                        await asyncio.to_thread(worker.start)
                    except StartupError as error:
                        logger.error("the renewal ends here: %s", error)
                        return
            logger.info("all gateways are new")

    async def stop(self) -> None:
        """End all of them; calls under way are finished."""
        await asyncio.gather(*(asyncio.to_thread(worker.stop) for worker in self._workers))


def of_worker(settings: Settings, number: int) -> Settings:
    """The settings of one worker: its metrics have a port of their own, unless any will do."""
    host, _, port = settings.metrics_address.rpartition(":")
    if not int(port or 0):
        return settings
    return settings.model_copy(update={"metrics_address": f"{host}:{int(port) + number}"})


async def serve(settings: Settings) -> None:
    """Serve with `settings.workers` processes until SIGTERM or SIGINT; SIGHUP renews them. Raises StartupError."""
    address, holding = reserved(settings.address)
    with holding, reserved_page(settings.page_address) as page:
        environment = {**os.environ, "LOOKALIKE_PAGE_ADDRESS": page}
        await supervise(Workers(settings, address=address, environment=environment))


async def supervise(workers: Workers, *others: Coroutine[Any, Any, None]) -> None:
    """Start the workers, keep them and run `others` beside until SIGTERM or SIGINT, then let them finish."""
    ended, loop = asyncio.Event(), asyncio.get_running_loop()
    tasks: set[asyncio.Task[None]] = set()

    def renew() -> None:
        task = asyncio.create_task(workers.renew())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    for number, handler in ((signal.SIGTERM, ended.set), (signal.SIGINT, ended.set), (signal.SIGHUP, renew)):
        loop.add_signal_handler(number, handler)
    try:
        tasks.add(asyncio.create_task(_started(workers)))
        tasks.update(asyncio.create_task(other) for other in others)
        waiting = asyncio.create_task(ended.wait())
        while not ended.is_set():
            done, _ = await asyncio.wait([waiting, *tasks], return_when=asyncio.FIRST_COMPLETED)
            for task in done - {waiting}:
                tasks.discard(task)
                task.result()
    finally:
        for task in [*tasks, waiting]:
            task.cancel()
        await asyncio.gather(*tasks, waiting, return_exceptions=True)
        await workers.stop()


async def _started(workers: Workers) -> None:
    await workers.start()
    notify("READY=1")
    await workers.keep()
