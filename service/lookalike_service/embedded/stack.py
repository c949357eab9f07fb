"""The whole service on one machine: Triton, Milvus Lite, SQLite, a folder of images, and the gateway over them."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from lookalike_service.embedded.errors import ServerFailed
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.embedded.ports import check_port, free_ports
from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.embedded.triton import EmbeddedTriton
from lookalike_service.errors import StartupError
from lookalike_service.server import run
from lookalike_service.settings import Settings

__all__ = ["MODEL_REPOSITORY", "serve", "serving"]

MODEL_REPOSITORY = Path(__file__).parents[3] / "model_repository"
_QUOTED_LINES = 12
_POLL_SECONDS = 0.1


def serve(directory: Path, *, address: str, repository: Path = MODEL_REPOSITORY) -> None:
    """Run everything until SIGTERM or Ctrl-C.

    `directory` keeps the catalog: vectors, database and images; logs lie in its `run`. `address` is host:port of the
    gateway. Raises StartupError with a sentence that says what to do.
    """
    directory = directory.resolve()
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise StartupError(f"the address {address} is not host:port, as in 127.0.0.1:50051")
    if int(port):
        check_port(int(port), host=host, purpose="the gateway")
    logs = directory / "run"
    triton = EmbeddedTriton(repository, run_directory=logs / "triton")
    milvus = EmbeddedMilvus(directory / "vectors", run_directory=logs / "milvus")
    with ExitStack() as stack:
        stack.callback(triton.stop)
        stack.callback(milvus.stop)
        with ThreadPoolExecutor(2) as pool:
            starting: list[Future[object]] = [pool.submit(triton.start), pool.submit(milvus.start)]
            for started in starting:
                started.result()
        settings = Settings(
            address=address,
            triton_address=triton.grpc_address,
            milvus_uri=milvus.uri,
            database_url=f"sqlite+aiosqlite:///{directory / 'catalog.db'}",
            images_url=f"file://{directory / 'images'}",
            token_keys=(SecretStr(_token_key(directory / "token.key")),),
        )
        asyncio.run(run(settings))


def _token_key(path: Path) -> str:
    """The secret of garment and page tokens, kept so that they outlive a restart; made on the first start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
    return path.read_text()


@contextmanager
def serving(directory: Path, *, repository: Path = MODEL_REPOSITORY, timeout: float = 150.0) -> Iterator[str]:
    """Have a process of its own `serve` on a free port of this machine during a `with` block; yields host:port.

    Raises ServerFailed, with the end of the log, when it does not serve within `timeout` seconds.
    """
    directory = directory.resolve()
    logs = directory / "run"
    logs.mkdir(parents=True, exist_ok=True)
    address = f"127.0.0.1:{free_ports(1, host='127.0.0.1')[0]}"
    command = [sys.executable, "-m", "lookalike_service.embedded", "--directory", str(directory)]
    command += ["--address", address, "--repository", str(repository.resolve())]
    log = logs / "gateway.log"
    process = GuardedProcess(command, environment=os.environ, directory=directory, log_path=log, stop_timeout=60.0)
    try:
        _wait_until_serving(process, address, log, timeout)
        yield address
    finally:
        process.stop()


def _wait_until_serving(process: GuardedProcess, address: str, log: Path, timeout: float) -> None:
    deadline = time.monotonic() + timeout
    with grpc.insecure_channel(address) as channel:
        health = health_pb2_grpc.HealthStub(channel)
        while time.monotonic() < deadline and process.exit_status is None:
            try:
                if (
                    health.Check(health_pb2.HealthCheckRequest(), timeout=1.0).status
                    == health_pb2.HealthCheckResponse.SERVING
                ):
                    return
            except grpc.RpcError:
                pass  # not yet listening
            time.sleep(_POLL_SECONDS)
    with log.open(encoding="utf-8", errors="replace") as lines:
        end = "".join(deque(lines, maxlen=_QUOTED_LINES)).rstrip()
    raise ServerFailed(f"the embedded stack did not serve within {timeout:.0f} s; the end of {log}:\n{end}")
