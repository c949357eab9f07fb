"""Milvus Lite as a process of its own, so that neither its searches nor its writes hold up the gateway."""

from __future__ import annotations

import importlib.util
import os
import sys
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Self

import grpc

from lookalike_service.embedded.errors import PackageMissing, ServerFailed
from lookalike_service.embedded.ports import check_port, free_ports, is_free
from lookalike_service.embedded.processes import GuardedProcess

__all__ = ["EmbeddedMilvus"]

_SCRIPT = Path(__file__).with_name("lite_server.py")
_PORT_ATTEMPTS = 3
_QUOTED_LINES = 12


class EmbeddedMilvus:
    """A Milvus Lite of our own, started on entering and stopped on leaving a `with` block.

    Starting and stopping block for a second or two; from a running event loop call `start` and `stop` in a thread.
    `data_directory` holds the vectors and belongs to one process at a time (Lite locks it); the log lies in
    `run_directory`. Both are created when they are missing. Port 0 means any free one.
    """

    def __init__(
        self,
        data_directory: Path,
        *,
        run_directory: Path,
        host: str = "127.0.0.1",
        port: int = 0,
        start_timeout: float = 60.0,
        stop_timeout: float = 10.0,
    ) -> None:
        self.data_directory = data_directory.resolve()
        self.run_directory = run_directory.resolve()
        self.log_path = self.run_directory / "milvus.log"
        self._host = host
        self._wanted_port = port
        self._port = 0
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._process: GuardedProcess | None = None

    @property
    def uri(self) -> str:
        """The address as LOOKALIKE_MILVUS_URI takes it, known once started."""
        return f"http://{self._host}:{self._port}"

    @property
    def running(self) -> bool:
        """Whether its process is alive."""
        return self._process is not None and self._process.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """How its process ended; None while it runs, or before it was started."""
        return self._process.exit_status if self._process is not None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start and wait until it answers, where it was before if that can be; does nothing when it runs.

        Raises PackageMissing, PortTaken, ServerFailed.
        """
        if self.running:
            return
        if importlib.util.find_spec("milvus_lite") is None:
            raise PackageMissing("Milvus Lite is not installed; run: pip install 'lookalike[embedded]'")
        for directory in (self.data_directory, self.run_directory):
            directory.mkdir(parents=True, exist_ok=True)
        for attempt in range(_PORT_ATTEMPTS):
            self._launch()
            if self._ready():
                return
            taken = not is_free(self._port, host=self._host)
            self.stop()
            if self._wanted_port or not taken or attempt == _PORT_ATTEMPTS - 1:
                break
        raise ServerFailed(
            f"Milvus Lite did not start within {self._start_timeout:.0f} s, or another process uses "
            f"{self.data_directory}. The end of {self.log_path}:\n{self._log_end()}"
        )

    def stop(self) -> None:
        """End it and wait until it is gone; stopping twice does no harm. What was acknowledged is on disk."""
        if self._process is not None:
            self._process.stop()
            self._process = None

    def _launch(self) -> None:
        if self._wanted_port:
            check_port(self._wanted_port, host=self._host, purpose="Milvus Lite")
        # After a crash the address stays what it was, so that whoever is connected finds the server again.
        known = self._port if self._port and is_free(self._port, host=self._host) else 0
        self._port = self._wanted_port or known or free_ports(1, host=self._host)[0]
        command = [sys.executable, "-I", str(_SCRIPT), str(self.data_directory), self._host, str(self._port)]
        self._process = GuardedProcess(
            command,
            environment=os.environ,
            directory=self.run_directory,
            log_path=self.log_path,
            stop_timeout=self._stop_timeout,
        )

    def _ready(self) -> bool:
        deadline = time.monotonic() + self._start_timeout
        with grpc.insecure_channel(f"{self._host}:{self._port}") as channel:
            ready = grpc.channel_ready_future(channel)
            while time.monotonic() < deadline:
                try:
                    ready.result(timeout=0.1)
                    # Whoever answers on the port must be the one that we have started.
                    return self._process is not None and self._process.exit_status is None
                except grpc.FutureTimeoutError:
                    if self._process is None or self._process.exit_status is not None:
                        return False
        return False

    def _log_end(self) -> str:
        with self.log_path.open(encoding="utf-8", errors="replace") as log:
            return "".join(deque(log, maxlen=_QUOTED_LINES)).rstrip()
