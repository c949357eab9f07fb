"""The real tritonserver on one machine without Docker, from the nvidia-pytriton wheel."""

from __future__ import annotations

import fcntl
import hashlib
import http.client
import json
import os
import re
import shutil
import socket
import time
from pathlib import Path
from types import TracebackType
from typing import Self

from lookalike_service.embedded.errors import PortTaken, RunDirectoryBusy, ServerFailed, SharedMemoryTooSmall
from lookalike_service.embedded.installation import find_installation, lay_out_backends, server_environment
from lookalike_service.embedded.ports import check_port, free_ports, is_free
from lookalike_service.embedded.processes import GuardedProcess
from lookalike_service.embedded.stubs import end_stubs, living_stubs

__all__ = ["EmbeddedTriton"]

SHARED_MEMORY = Path("/dev/shm")
# Each instance holds 1 MiB, grows with the largest batch or photo it has seen and never shrinks: the twelve of the
# repository held 12 MiB when idle, 60 to 120 under load, and 200 after photos of the greatest size allowed.
MINIMUM_SHARED_MEMORY = 256 * 1024 * 1024
# A stub imports numpy and ONNX Runtime before it answers, a dozen of them at once on perhaps one core.
_STUB_TIMEOUT_SECONDS = 120
_ATTEMPTS = 5
# Stubs that start at once on a busy machine wait for each other until one gives up (lock_exception) and takes the
# server with it. With 20 processes waiting for two cores, 3 of 3 starts failed so with four models at once, which is
# Triton's own choice, 1 of 3 with two, and none with one; that took 4 to 5 s.
_LOADING_AT_ONCE = 1
# Engines that are built take minutes each, and a machine with a GPU has more cores.
_BUILDING_AT_ONCE = 4
# Exit statuses above this one mean that a signal ended the server (as in a shell, and as guard.py says it).
_DIED_OF_SIGNAL = 128
_QUOTED_LINES = 12


class EmbeddedTriton:
    """A tritonserver of our own, started on entering and stopped on leaving a `with` block.

    Starting and stopping block for seconds; from a running event loop call `start` and `stop` in a thread.
    `repository` is Triton's model repository. `run_directory` is created when it is missing and belongs to one
    server at a time; the log lies there. A port of 0 means any free one. `model_config_name` chooses
    `configs/<name>.pbtxt` where a model has one.
    """

    def __init__(
        self,
        repository: Path,
        *,
        run_directory: Path,
        host: str = "127.0.0.1",
        grpc_port: int = 0,
        http_port: int = 0,
        metrics_port: int = 0,
        model_config_name: str = "",
        start_timeout: float = 120.0,
        stop_timeout: float = 15.0,
        minimum_shared_memory: int = MINIMUM_SHARED_MEMORY,
        extra_arguments: tuple[str, ...] = (),
    ) -> None:
        self.repository = repository.resolve()
        self.run_directory = run_directory.resolve()
        self.log_path = self.run_directory / "triton.log"
        self._host = host
        self._wanted_ports = {"gRPC": grpc_port, "HTTP": http_port, "metrics": metrics_port}
        self._ports: dict[str, int] = {}
        self._model_config_name = model_config_name
        self._start_timeout = start_timeout
        self._stop_timeout = stop_timeout
        self._minimum_shared_memory = minimum_shared_memory
        self._extra_arguments = extra_arguments
        self._process: GuardedProcess | None = None
        self._lock: int | None = None
        self._instances: dict[str, int] = {}

    @property
    def grpc_address(self) -> str:
        """Host and port of gRPC, known once started."""
        return f"{self._host}:{self._ports['gRPC']}"

    @property
    def http_address(self) -> str:
        """Host and port of HTTP, known once started."""
        return f"{self._host}:{self._ports['HTTP']}"

    @property
    def metrics_address(self) -> str:
        """Host and port of the Prometheus metrics, known once started."""
        return f"{self._host}:{self._ports['metrics']}"

    @property
    def running(self) -> bool:
        """Whether the server's process is alive; it may still be loading."""
        return self._process is not None and self._process.exit_status is None

    @property
    def exit_status(self) -> int | None:
        """How its process ended; None while it runs, or before it was started."""
        return self._process.exit_status if self._process is not None else None

    def start(self) -> Self:
        """Start the server and wait until all its models are ready; does nothing when it runs.

        Raises StartupError with a sentence that says what to do: PackageMissing, PortTaken, SharedMemoryTooSmall,
        RunDirectoryBusy, or ServerFailed with the last lines of the log. Nothing is left running then.
        """
        if self.running:
            return self
        self.stop()
        installation = find_installation()
        environment = server_environment(installation)
        self._check_repository()
        self._check_shared_memory()
        self._take_run_directory()
        try:
            backends = lay_out_backends(installation, self.run_directory / "triton")
            self._keep_previous_log()
            self._launch([str(installation.server), *self._arguments(backends, installation.caches)], environment)
        except BaseException:
            self.stop()
            raise
        return self

    def choose_address(self) -> None:
        """Take the ports at which it will be started, so that its addresses are known before."""
        if not self._ports:
            self._choose_ports()

    def dead_models(self) -> set[str]:
        """The models that have fewer processes than instances: Triton calls them ready, and their calls fail."""
        server = self._process.pid if self._process is not None else None
        if server is None:
            return set()
        living = living_stubs(server)
        for model in living.keys() - self._instances.keys():
            self._instances[model] = self._configured(model)
        short = {model for model, count in self._instances.items() if living[model] < count}
        # A model that was exchanged meanwhile may have fewer instances than the one before.
        self._instances.update({model: self._configured(model) for model in short})
        return {model for model in short if living[model] < self._instances[model]}

    def _configured(self, model: str) -> int:
        """How many instances Triton has made of a model by its configuration; 0 when it does not say."""
        host, _, port = self.http_address.rpartition(":")
        connection = http.client.HTTPConnection(host, int(port), timeout=2)
        try:
            connection.request("GET", f"/v2/models/{model}/config")
            groups = json.loads(connection.getresponse().read()).get("instance_group", [])
            return sum(int(group.get("count", 1)) * max(1, len(group.get("gpus", []))) for group in groups)
        except (OSError, http.client.HTTPException, ValueError):
            return 0
        finally:
            connection.close()

    def kill(self) -> None:
        """End the server at once; with a dead stub it would take the whole of its grace to end by itself."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """Finish the requests in flight, end the server and all its children, and free what they shared."""
        if self._process is not None:
            self._process.stop()
            self._process = None
            self._clear_shared_memory()
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop."""
        self.stop()

    def _check_repository(self) -> None:
        if not any(self.repository.glob("*/config.pbtxt")):
            raise ServerFailed(
                f"{self.repository} holds no */config.pbtxt: it is no model repository; give another path"
            )

    def _check_shared_memory(self) -> None:
        # What an earlier server of ours left behind is cleared before this one starts.
        left = sum(path.stat().st_size for path in self._shared_memory_files())
        free = shutil.disk_usage(SHARED_MEMORY).free + left
        if free < self._minimum_shared_memory:
            wanted = self._minimum_shared_memory // 2**20
            message = f"{SHARED_MEMORY} has {free // 2**20} MiB free, and Triton's Python backend needs {wanted} MiB"
            remedy = f"mount -o remount,size=1g {SHARED_MEMORY}, or run the container with --shm-size=1g"
            raise SharedMemoryTooSmall(f"{message}; make it larger: {remedy}")

    def _take_run_directory(self) -> None:
        """Lock the run directory; the guard holds the lock, too, so that it lasts as long as the server does."""
        self.run_directory.mkdir(parents=True, exist_ok=True)
        lock = os.open(self.run_directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        deadline = time.monotonic() + self._stop_timeout + 5
        while not _locked(lock):
            owner = os.pread(lock, 20, 0).decode()
            # The server of an owner who died is on its way out; another one stays.
            if time.monotonic() > deadline or (owner.isdigit() and Path(f"/proc/{owner}").exists()):
                os.close(lock)
                message = f"another embedded Triton (of process {owner}) uses {self.run_directory}"
                raise RunDirectoryBusy(f"{message}; stop it, or choose another run directory")
            time.sleep(0.1)
        os.truncate(lock, 0)
        os.pwrite(lock, str(os.getpid()).encode(), 0)
        self._lock = lock

    def _keep_previous_log(self) -> None:
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".previous.log"))

    def _arguments(self, backends: Path, caches: Path) -> list[str]:
        name = [f"--model-config-name={self._model_config_name}"] if self._model_config_name else []
        return [
            f"--model-repository={self.repository}",
            f"--backend-directory={backends}",
            f"--cache-directory={caches}",
            f"--model-load-thread-count={_BUILDING_AT_ONCE if self._model_config_name else _LOADING_AT_ONCE}",
            # Every configuration is complete; completing it again would start each stub twice.
            "--disable-auto-complete-config",
            f"--backend-config=python,shm-region-prefix-name={self._shared_memory_prefix}",
            f"--backend-config=python,stub-timeout-seconds={_STUB_TIMEOUT_SECONDS}",
            f"--http-address={self._host}",
            f"--grpc-address={self._host}",
            f"--metrics-address={self._host}",
            f"--exit-timeout-secs={max(1, int(self._stop_timeout) - 2)}",
            *name,
            *self._extra_arguments,
        ]

    def _launch(self, command: list[str], environment: dict[str, str]) -> None:
        """Start and wait; a lost race for a port and a crash while the stubs start are worth another try."""
        for attempt in range(1, _ATTEMPTS + 1):
            self._choose_ports()
            self._clear_shared_memory()
            self._process = GuardedProcess(
                [*command, *self._port_arguments()],
                environment=environment,
                directory=self._working_directory(),
                log_path=self.log_path,
                stop_timeout=self._stop_timeout,
                keep_open=[self._lock] if self._lock is not None else [],
            )
            try:
                self._wait_until_ready()
                self._instances.clear()
                return
            except (PortTaken, ServerFailed) as error:
                crashed = (self._process.exit_status or 0) > _DIED_OF_SIGNAL
                lost_race = isinstance(error, PortTaken) and not all(self._wanted_ports.values())
                if attempt == _ATTEMPTS or not (crashed or lost_race):
                    raise
                self._process.stop()
                self._keep_previous_log()
                self._ports = {} if lost_race else self._ports

    def _working_directory(self) -> Path:
        """An empty one: the stubs import from where they run, and would take a `model.py` there for their own."""
        directory = self.run_directory / "triton" / "empty"
        directory.mkdir(exist_ok=True)
        return directory

    def _choose_ports(self) -> None:
        for purpose, port in self._wanted_ports.items():
            if port:
                check_port(port, host=self._host, purpose=f"Triton's {purpose}")
        free = iter(free_ports(len(self._wanted_ports), host=self._host))
        # After a crash the addresses stay what they were, so that whoever is connected finds the server again.
        known = {purpose: port for purpose, port in self._ports.items() if is_free(port, host=self._host)}
        self._ports = {
            purpose: port or known.get(purpose) or next(free) for purpose, port in self._wanted_ports.items()
        }

    def _port_arguments(self) -> list[str]:
        ports = self._ports
        return [f"--grpc-port={ports['gRPC']}", f"--http-port={ports['HTTP']}", f"--metrics-port={ports['metrics']}"]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + self._start_timeout
        while time.monotonic() < deadline:
            if not self.running:
                self._raise_failure("tritonserver ended while it started")
            if _is_ready(self._host, self._ports["HTTP"]) and _listens(self._host, self._ports["metrics"]):
                return
            time.sleep(0.1)
        self._raise_failure(f"tritonserver was not ready within {self._start_timeout:g} s")

    def _raise_failure(self, what: str) -> None:
        """Quote the lines of the log that matter: its errors and its very last words."""
        lines = self.log_path.read_text(errors="replace").splitlines() if self.log_path.exists() else []
        taken = next((line for line in lines if "already in use" in line), None)
        if taken is not None:
            raise PortTaken(f"{taken.strip()}; stop what listens there, or choose another port (0 picks one)")
        errors = [line for line in lines[:-2] if re.match(r"E\d{4} |error:|.*UNAVAILABLE: ", line)]
        quoted = "\n".join([*errors[-_QUOTED_LINES:], *lines[-2:]])
        raise ServerFailed(f"{what}; its whole log is in {self.log_path}, and the lines that matter are:\n{quoted}")

    @property
    def _shared_memory_prefix(self) -> str:
        return f"lookalike_{hashlib.sha256(str(self.run_directory).encode()).hexdigest()[:12]}_"

    def _shared_memory_files(self) -> list[Path]:
        return list(SHARED_MEMORY.glob(f"{self._shared_memory_prefix}*"))

    def _clear_shared_memory(self) -> None:
        """Free what a server that was killed has left, stubs and /dev/shm; the prefix is this run directory's own."""
        end_stubs(self._shared_memory_prefix)
        for path in self._shared_memory_files():
            path.unlink(missing_ok=True)


def _locked(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _is_ready(host: str, port: int) -> bool:
    connection = http.client.HTTPConnection(host, port, timeout=2)
    try:
        connection.request("GET", "/v2/health/ready")
        return connection.getresponse().status == http.HTTPStatus.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _listens(host: str, port: int) -> bool:
    """The metrics come up last, a moment after everything else."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True
