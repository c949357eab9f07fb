"""The interface of both rivals: how they are started, and a caller that costs the machine little.

POST /search with the encoded photo as the body, `x-deadline-ms` for the milliseconds that the caller waits at most;
200 with JSON (`x-garments` says how many), 400 for what is no image, 503 at once when too many wait, 504 for a photo
whose turn came too late to answer it in time. GET /health answers 200 once searches are answered.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from lookalike.bench.load import Answer
from lookalike_service.embedded.ports import free_ports
from lookalike_service.embedded.processes import GuardedProcess

__all__ = ["Caller", "Response", "serving"]

HOST = "127.0.0.1"
TESTS = Path(__file__).resolve().parent.parent
_START_SECONDS = 120.0
_STOP_SECONDS = 20.0


@contextlib.contextmanager
def serving(module: str, directory: Path, options: Sequence[str], *, processes: int = 1) -> Iterator[str]:
    """Run `python -m MODULE DIRECTORY PORT OPTIONS` that many times and wait until all are ready.

    Gives the base URLs, joined by commas. Raises RuntimeError with the log's end when one does not come up.
    """
    environment = {**os.environ, "PYTHONPATH": str(TESTS), "OMP_NUM_THREADS": "1"}
    with contextlib.ExitStack() as stack:
        ports = free_ports(processes, host=HOST)
        for port in ports:
            log = directory / f"{module.rpartition('.')[2]}.log"
            process = GuardedProcess(
                [sys.executable, "-m", module, str(directory), str(port), *options],
                environment=environment,
                directory=directory,
                log_path=log,
                stop_timeout=_STOP_SECONDS,
            )
            stack.callback(process.stop)
            _wait(process, f"http://{HOST}:{port}/health", log)
        yield ",".join(f"http://{HOST}:{port}" for port in ports)


def _wait(process: GuardedProcess, url: str, log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline and process.exit_status is None:
        try:
            with urllib.request.urlopen(url, timeout=1):
                return
        except OSError:  # nobody listens yet, or not ready
            time.sleep(0.1)
    ending = "\n".join(log.read_text(errors="replace").splitlines()[-20:])
    raise RuntimeError(f"{url} was not ready within {_START_SECONDS:.0f} s; the end of {log}:\n{ending}")


@dataclass(frozen=True, slots=True)
class Response:
    """Status, body, and the garments that the header counts."""

    status: int
    body: bytes
    garments: int


class _Connection(asyncio.Protocol):
    """One keep-alive connection, one request at a time; knows as much of HTTP/1.1 as these servers speak."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._response: asyncio.Future[Response] | None = None
        self.open = True

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._received += data
        head_end = self._received.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = bytes(self._received[:head_end]).lower()
        body_begin, length = head_end + 4, _number(head, b"content-length")
        if len(self._received) < body_begin + length or self._response is None:
            return
        response = Response(int(head[9:12]), bytes(self._received[body_begin:]), _number(head, b"x-garments"))
        self._received.clear()
        if not self._response.done():
            self._response.set_result(response)

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self._response is not None and not self._response.done():
            self._response.set_exception(error or ConnectionResetError("the server closed the connection"))

    async def send(self, request: bytes) -> Response:
        assert self._transport is not None
        self._response = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return await self._response

    def close(self) -> None:
        self.open = False
        if self._transport is not None:
            self._transport.abort()


@dataclass(slots=True)
class _Server:
    """One process of a rival and the connections to it."""

    host: str
    port: int
    idle: list[_Connection] = field(default_factory=list)
    busy: int = 0

    async def send(self, request: bytes) -> Response:
        self.busy += 1
        connection: _Connection | None = None
        try:
            while self.idle and connection is None:
                candidate = self.idle.pop()
                connection = candidate if candidate.open else None
            if connection is None:
                loop = asyncio.get_running_loop()
                _, connection = await loop.create_connection(_Connection, self.host, self.port)
            response = await connection.send(request)
            self.idle.append(connection)
            return response
        except BaseException:
            # What was asked on it may still be answered; nobody else must read that.
            if connection is not None:
                connection.close()
            raise
        finally:
            self.busy -= 1


class Caller:
    """Sends photos in turn: a `Call` of the load engine, usable in one event loop until `close`.

    Among several processes it chooses the one with the fewest requests under way, a perfect balancer free of charge.
    """

    def __init__(self, url: str, photos: Sequence[bytes], *, deadline: float | None = None) -> None:
        """`url` as `serving` gives it, `deadline` in seconds. Requests are written beforehand."""
        addresses = [part.rpartition("//")[2].rpartition(":") for part in url.split(",")]
        self._servers = [_Server(host, int(port)) for host, _, port in addresses]
        self._requests = [_request(photo, deadline) for photo in photos]

    async def __call__(self, number: int) -> Answer:
        response = await self.post(number)
        if response.status == 200:
            return Answer(garments=response.garments)
        return Answer(code=f"HTTP {response.status}")

    async def post(self, number: int) -> Response:
        """Send the photo of that number (counted round) and wait for the answer. Raises ConnectionError."""
        server = min(self._servers, key=lambda each: each.busy)
        return await server.send(self._requests[number % len(self._requests)])

    def close(self) -> None:
        """Close the connections that are idle; call it inside the event loop."""
        for server in self._servers:
            while server.idle:
                server.idle.pop().close()


def _request(photo: bytes, deadline: float | None) -> bytes:
    late = f"x-deadline-ms: {round(deadline * 1000)}\r\n" if deadline is not None else ""
    fields = f"host: rival\r\ncontent-type: image/jpeg\r\ncontent-length: {len(photo)}\r\n{late}"
    return f"POST /search HTTP/1.1\r\n{fields}\r\n".encode() + photo


def _number(head: bytes, name: bytes) -> int:
    """The number in a header, 0 where it is missing."""
    begin = head.find(b"\r\n" + name + b":")
    return int(head[begin + len(name) + 3 :].split(b"\r\n", 1)[0]) if begin >= 0 else 0
