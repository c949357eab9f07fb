"""The whole service on one machine: Triton, Milvus Lite, SQLite, a folder of images, and the gateway over them."""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
import time
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from pydantic import SecretStr

from lookalike_service.embedded.control import listening
from lookalike_service.embedded.errors import ServerFailed
from lookalike_service.embedded.mending import Mender, gateway_sees
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.embedded.pair import TritonPair
from lookalike_service.embedded.ports import check_port, free_ports, is_free
from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.embedded.swap import swap
from lookalike_service.errors import StartupError
from lookalike_service.keeping import Keeper
from lookalike_service.listening import check_callers
from lookalike_service.settings import Settings, read_settings
from lookalike_service.workers import Workers, reserved, reserved_page, supervise

__all__ = [
    "MODEL_REPOSITORY",
    "serve",
    "serving",
    "trace_arguments",
    "wait_until_serving",
    "with_free_metrics_port",
    "with_page",
    "with_plain_health",
]

MODEL_REPOSITORY = Path(__file__).parents[3] / "model_repository"
PAGE = "127.0.0.1:8080"
_QUOTED_LINES = 12
_POLL_SECONDS = 0.1
# A configuration for a GPU has TensorRT build its engines at the first start, which takes minutes.
_BUILD_SECONDS = 1800.0


def serve(directory: Path, *, address: str, repository: Path = MODEL_REPOSITORY, model_config_name: str = "") -> None:
    """Run everything until SIGTERM or Ctrl-C.

    `directory` keeps the catalog: vectors, database and images; logs lie in its `run`. `address` is host:port of the
    gateway. `model_config_name` chooses `configs/<name>.pbtxt` where a model has one (gpu). Raises StartupError with a
    sentence that says what to do.
    """
    directory = directory.resolve()
    host, _, port = address.rpartition(":")
    if not (host and port.isdecimal()):
        raise StartupError(f"the address {address} is not host:port, as in 127.0.0.1:50051")
    if int(port):
        check_port(int(port), host=host, purpose="the gateway")
    logs = directory / "run"
    settings = with_page(read_settings(address=address))
    check_callers(settings)
    host, _, port = settings.page_address.rpartition(":")
    if int(port or 0):
        check_port(int(port), host=host.strip("[]"), purpose="the page (LOOKALIKE_PAGE_ADDRESS)")
    traces = trace_arguments(settings.traces_url)
    triton = TritonPair(
        repository,
        run_directory=logs / "triton",
        model_config_name=model_config_name,
        start_timeout=_BUILD_SECONDS if model_config_name else 120.0,
        extra_arguments=traces,
    )
    milvus = EmbeddedMilvus(directory / "vectors", run_directory=logs / "milvus")
    with ExitStack() as stack:
        stack.callback(triton.stop)
        stack.callback(milvus.stop)
        with ThreadPoolExecutor(2) as pool:
            starting: list[Future[object]] = [pool.submit(triton.start), pool.submit(milvus.start)]
            for started in starting:
                started.result()
        settings = with_free_metrics_port(
            read_settings(
                address=address,
                page_address=settings.page_address,
                page_records_views=settings.page_records_views,
                triton_address=triton.address,
                milvus_uri=milvus.uri,
                database_url=f"sqlite+aiosqlite:///{directory / 'catalog.db'}",
                images_url=f"file://{directory / 'images'}",
                token_keys=(SecretStr(_secret(directory / "token.key")),),
                session_key=SecretStr(_secret(directory / "session.key")),
            )
        )
        (logs / "pid").write_text(f"{os.getpid()}\n")
        _write_environment(logs / "environment", settings)
        settings = stack.enter_context(with_plain_health(settings))
        asyncio.run(_supervised(settings, logs, triton=triton, milvus=milvus))


async def _supervised(settings: Settings, run_directory: Path, *, triton: TritonPair, milvus: EmbeddedMilvus) -> None:
    """Serve with gateways of their own processes; whatever dies is started again."""
    address, holding = reserved(settings.address)
    names = (
        "triton_address",
        "milvus_uri",
        "database_url",
        "images_url",
        "metrics_address",
        "page_records_views",
        "health_address",
    )
    given = {_variable(name): str(getattr(settings, name)) for name in names}
    renewals: set[asyncio.Task[None]] = set()

    def moved() -> None:
        """A server that has come back elsewhere, because somebody took its port, is told to the gateways."""
        told = {"triton_address": triton.address, "milvus_uri": milvus.uri}
        if workers.tell(**{_variable(name): value for name, value in told.items()}):
            _write_environment(run_directory / "environment", settings.model_copy(update=told))
            renewals.add(asyncio.create_task(workers.renew()))

    of_triton = Keeper("Triton", triton, restarted=moved)
    of_milvus = Keeper("Milvus Lite", milvus, restarted=moved)

    async def exchange() -> None:
        async with of_triton.lock:
            await asyncio.to_thread(triton.exchange)
        moved()

    async def obey(command: Mapping[str, str]) -> str:
        if command["command"] != "swap":
            raise ValueError(command["command"])
        return await swap(command["stage"], Path(command["model"]), repository=triton.repository, exchange=exchange)

    with holding, reserved_page(settings.page_address) as page:
        given[_variable("page_address")] = page
        (run_directory / "page").write_text(f"{page}\n")
        workers = Workers(settings, address=address, environment={**os.environ, **given})
        watched = settings.health_address or address
        async with grpc.aio.insecure_channel(watched) as channel, listening(run_directory, obey):
            mender = Mender(triton, keeper=of_triton, sees=gateway_sees(channel))
            await supervise(workers, of_triton.keep(), of_milvus.keep(), mender.mend())


def _variable(setting: str) -> str:
    return f"LOOKALIKE_{setting.upper()}"


def _write_environment(path: Path, settings: Settings) -> None:
    """Where everything is this time, for commands beside the gateway: `env $(cat FILE) lookalike reindex 2`."""
    names = ("triton_address", "milvus_uri", "database_url", "images_url")
    path.write_text("".join(f"LOOKALIKE_{name.upper()}={getattr(settings, name)}\n" for name in names))


def trace_arguments(url: str) -> tuple[str, ...]:
    """What makes Triton send spans to the same collector: for the calls that name a parent, and no others."""
    if not url:
        return ()
    settings = ("mode=opentelemetry", "rate=0", "level=TIMESTAMPS")
    exporting = (f"opentelemetry,url={url}", "opentelemetry,resource=service.name=triton")
    return tuple(f"--trace-config={setting}" for setting in (*settings, *exporting))


def with_free_metrics_port(settings: Settings) -> Settings:
    """Another stack on this machine may have the port that nobody chose; its metrics are no reason not to start."""
    host, _, port = settings.metrics_address.rpartition(":")
    if "metrics_address" in settings.model_fields_set or is_free(int(port), host=host):
        return settings
    return settings.model_copy(update={"metrics_address": f"{host}:0"})


def with_page(settings: Settings) -> Settings:
    """Whoever tries the service out sees it in a browser, "others also viewed" included, unless he says otherwise."""
    usual = {"page_address": PAGE, "page_records_views": True}
    given = settings.model_fields_set
    return settings.model_copy(update={name: value for name, value in usual.items() if name not in given})


@contextmanager
def with_plain_health(settings: Settings) -> Iterator[Settings]:
    """Where the gateways speak TLS, whoever keeps them has no certificate to show: health gets a port of loopback.

    The port is held during the block, for the gateways alone.
    """
    if settings.health_address or not settings.tls_certificate:
        yield settings
        return
    address, holding = reserved("127.0.0.1:0")
    with holding:
        yield settings.model_copy(update={"health_address": address})


def _secret(path: Path) -> str:
    """A secret, of tokens or of hashed sessions, kept so that they outlive a restart; made on the first start."""
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
    # The log says which ports the metrics and the page have got.
    free = "127.0.0.1:0"
    environment = {"LOOKALIKE_METRICS_ADDRESS": free, "LOOKALIKE_PAGE_ADDRESS": free, **os.environ}
    process = GuardedProcess(command, environment=environment, directory=directory, log_path=log, stop_timeout=60.0)
    try:
        wait_until_serving(process, address, log, timeout)
        yield address
    finally:
        process.stop()


def wait_until_serving(process: GuardedProcess, address: str, log: Path, timeout: float) -> None:
    """Wait for the gateway at host:port to say SERVING. Raises ServerFailed, with the end of the log."""
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
