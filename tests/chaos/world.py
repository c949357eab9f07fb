"""What is broken on purpose: the embedded stack, and a gateway with two workers over a real Milvus."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import psutil

from lookalike_service.embedded.ports import free_ports
from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.embedded.stack import MODEL_REPOSITORY, wait_until_serving
from lookalike_service.embedded.triton import EmbeddedTriton
from support_engines import MilvusServer

__all__ = ["CATALOGS", "Embedded", "Production", "embedded", "ended", "production"]

HOST: Final = "127.0.0.1"
# Searches go to a catalog that nobody writes to, so that it is known what they must find.
CATALOGS: Final = ("default", "written")
START_SECONDS: Final = 180.0


def ended(process: psutil.Process) -> None:
    """Kill a process as the kernel does when memory runs out."""
    process.send_signal(signal.SIGKILL)


class _Served:
    """A server process with its descendants, found by what they are."""

    def __init__(self, directory: Path, *, command: list[str], environment: dict[str, str]) -> None:
        self.directory = directory
        self.address = f"{HOST}:{free_ports(1, host=HOST)[0]}"
        self._command = command
        self._environment = {
            **os.environ,
            "LOOKALIKE_CATALOGS": ",".join(CATALOGS),
            "LOOKALIKE_METRICS_ADDRESS": f"{HOST}:0",
            "LOOKALIKE_PAGE_ADDRESS": "",
            # Every photo needs the models.
            "LOOKALIKE_RECENT_MEBIBYTES": "0",
            **environment,
        }
        self._process: GuardedProcess | None = None

    def start(self) -> None:
        """Start it where it was before, and wait until it serves."""
        log = self.directory / "gateway.log"
        self._process = GuardedProcess(
            [sys.executable, "-m", *self._command],
            environment={**self._environment, "LOOKALIKE_ADDRESS": self.address},
            directory=self.directory,
            log_path=log,
            stop_timeout=60.0,
        )
        wait_until_serving(self._process, self.address, log, START_SECONDS)

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            self._process.stop()

    @property
    def supervisor(self) -> psutil.Process:
        """The process that keeps the others."""
        pid = self._process.pid if self._process else None
        assert pid is not None, "the supervisor has died"
        return psutil.Process(pid)

    def find(self, *words: str) -> list[psutil.Process]:
        """The living descendants whose command lines hold all these words, guards left out."""
        found = []
        for process in self.supervisor.children(recursive=True):
            try:
                line = process.cmdline()
            except psutil.NoSuchProcess:
                continue
            if (
                line
                and not any(part.endswith("guard.py") for part in line)
                and all(any(word in part for part in line) for word in words)
            ):
                found.append(process)
        return found


class Embedded(_Served):
    """Triton, Milvus Lite, SQLite and one gateway under the embedded supervisor."""

    def __init__(self, directory: Path, *, repository: Path = MODEL_REPOSITORY, workers: int = 1) -> None:
        self.repository = repository
        command = ["lookalike_service.embedded", "--directory", str(directory), "--repository", str(repository)]
        super().__init__(directory, command=command, environment={"LOOKALIKE_WORKERS": str(workers)})
        self._command += ["--address", self.address]

    def environment(self) -> dict[str, str]:
        """The settings of the running stack, for commands beside it."""
        lines = (self.directory / "run" / "environment").read_text().splitlines()
        return {**self._environment, **dict(line.split("=", 1) for line in lines)}

    def victims(self, what: str) -> list[psutil.Process]:
        """The processes of a kind: stub, triton, gateway, milvus, guard, or supervisor."""
        match what:
            case "stub":
                return self.find("triton_python_backend_stub")
            case "triton":
                return [each for each in self.find("--model-repository") if each.name() == "tritonserver"]
            case "gateway":
                return self.find("lookalike_service", "worker")
            case "milvus":
                return self.find("lite_server.py")
            case "guard":
                return [each for each in self.supervisor.children() if "guard.py" in " ".join(each.cmdline())]
            case "supervisor":
                return [self.supervisor]
            case _:
                raise ValueError(what)


class Production(_Served):
    """Two gateways over one Triton, a real Milvus and SQLite."""

    def __init__(self, directory: Path, *, triton: EmbeddedTriton, milvus: MilvusServer) -> None:
        self.triton, self.milvus = triton, milvus
        settings = {
            "WORKERS": "2",
            "TRITON_ADDRESS": triton.grpc_address,
            "MILVUS_URI": milvus.access.uri,
            "MILVUS_TOKEN": milvus.access.token,
            "DATABASE_URL": f"sqlite+aiosqlite:///{directory / 'catalog.db'}",
            "IMAGES_URL": f"file://{directory / 'images'}",
        }
        environment = {f"LOOKALIKE_{name}": value for name, value in settings.items()}
        super().__init__(directory, command=["lookalike_service", "serve"], environment=environment)

    def environment(self) -> dict[str, str]:
        """The settings of the running gateways, for commands beside them."""
        return self._environment

    def victims(self, what: str) -> list[psutil.Process]:
        """The processes of a kind: gateway, or the real milvus."""
        if what == "gateway":
            return self.find("lookalike_service", "worker")
        pid = self.milvus.pid
        return [psutil.Process(pid)] if pid else []


@contextmanager
def production(directory: Path) -> Iterator[Production]:
    """All of it during a `with` block."""
    with ExitStack() as stack:
        triton = stack.enter_context(EmbeddedTriton(MODEL_REPOSITORY, run_directory=directory / "triton"))
        milvus = MilvusServer(directory / "milvus")
        milvus.start()
        stack.callback(milvus.stop)
        world = Production(directory, triton=triton, milvus=milvus)
        stack.callback(world.stop)
        world.start()
        yield world


@contextmanager
def embedded(directory: Path, *, repository: Path = MODEL_REPOSITORY, workers: int = 1) -> Iterator[Embedded]:
    """The embedded stack during a `with` block."""
    directory.mkdir(parents=True, exist_ok=True)
    world = Embedded(directory, repository=repository, workers=workers)
    try:
        world.start()
        yield world
    finally:
        world.stop()
