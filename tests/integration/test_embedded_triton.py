"""The embedded tritonserver: how it starts, what it says when it cannot, and that it leaves nothing behind."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from pathlib import Path

import pytest

from lookalike_service.embedded import (
    EmbeddedTriton,
    PackageMissing,
    PortTaken,
    RunDirectoryBusy,
    ServerFailed,
    SharedMemoryTooSmall,
)
from support_glue import REPOSITORY
from support_models import copy_repository


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real repository with stand-ins for the graphs, so that starting takes little."""
    return copy_repository(REPOSITORY, tmp_path_factory.mktemp("models") / "repository")


@pytest.fixture(scope="module")
def only_decode(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A repository of one model, for tests that only start and stop."""
    folder = tmp_path_factory.mktemp("decode-only")
    shutil.copytree(repository / "decode", folder / "decode")
    return folder


def eventually(condition: Callable[[], bool], seconds: float = 20.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and not condition():
        time.sleep(0.1)
    return condition()


def processes(marker: Path) -> set[int]:
    """Every live process, stubs included, whose command line names a path below `marker`."""
    found = set()
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            if str(marker).encode() in (directory / "cmdline").read_bytes():
                found.add(int(directory.name))
        except OSError:
            continue
    return found


def is_server(pid: int) -> bool:
    return Path(f"/proc/{pid}/comm").read_text().strip() == "tritonserver"


def shared_memory(pids: set[int]) -> set[Path]:
    """The files of /dev/shm that processes have mapped; other servers of this machine have their own."""
    found = set()
    for pid in pids:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            if "/dev/shm/" in line:
                found.add(Path(line.split(maxsplit=5)[5]))
    return found


def test_start_and_stop_leave_nothing_behind(repository: Path, tmp_path: Path) -> None:
    with EmbeddedTriton(repository, run_directory=tmp_path) as triton:
        shared = shared_memory(processes(tmp_path))
        assert triton.running and len(processes(tmp_path)) >= 14
        assert len(shared) >= 12 and all(path.exists() for path in shared)
        for address in (triton.grpc_address, triton.http_address, triton.metrics_address):
            host, _, port = address.rpartition(":")
            socket.create_connection((host, int(port)), timeout=5).close()
        assert "READY" in triton.log_path.read_text()
    assert processes(tmp_path) == set() and not any(path.exists() for path in shared)


def test_a_killed_server_takes_its_stubs_along_and_starts_again_where_it_was(only_decode: Path, tmp_path: Path) -> None:
    triton = EmbeddedTriton(only_decode, run_directory=tmp_path)
    with triton:
        address = triton.grpc_address
        (server,) = [pid for pid in processes(tmp_path) if is_server(pid)]
        os.kill(server, signal.SIGKILL)
        assert eventually(lambda: not triton.running and processes(tmp_path) == set())
        triton.start()
        assert triton.running and triton.grpc_address == address
        assert (tmp_path / "triton.previous.log").exists()


def test_two_servers_share_a_machine_but_not_a_run_directory(only_decode: Path, tmp_path: Path) -> None:
    with EmbeddedTriton(only_decode, run_directory=tmp_path / "one") as first:
        with pytest.raises(RunDirectoryBusy, match="choose another run directory"):
            EmbeddedTriton(only_decode, run_directory=tmp_path / "one").start()
        with EmbeddedTriton(only_decode, run_directory=tmp_path / "two") as second:
            assert first.running and second.running and first.grpc_address != second.grpc_address
        assert first.running


def test_whoever_follows_a_killed_owner_waits_for_its_server_to_go(only_decode: Path, tmp_path: Path) -> None:
    script = f"""
import time
from pathlib import Path
from lookalike_service.embedded import EmbeddedTriton
with EmbeddedTriton(Path({str(only_decode)!r}), run_directory=Path({str(tmp_path)!r})):
    Path({str(tmp_path / "ready")!r}).touch()
    time.sleep(60)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    owner = subprocess.Popen([sys.executable, "-c", script], env=environment)
    assert eventually((tmp_path / "ready").exists, seconds=60)
    owner.kill()
    owner.wait()
    with EmbeddedTriton(only_decode, run_directory=tmp_path) as triton:
        assert triton.running
        assert len([pid for pid in processes(tmp_path) if is_server(pid)]) == 1


def test_a_taken_port_is_refused_before_anything_starts(only_decode: Path, tmp_path: Path) -> None:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} for Triton's HTTP is taken by .* choose another port"):
            EmbeddedTriton(only_decode, run_directory=tmp_path, http_port=port).start()
    assert not (tmp_path / "triton.log").exists()


def test_a_model_that_does_not_load_is_named(only_decode: Path, tmp_path: Path) -> None:
    broken = tmp_path / "repository"
    shutil.copytree(only_decode, broken)
    (broken / "decode" / "1" / "headers.py").write_text("raise RuntimeError('the reason')\n")
    with pytest.raises(ServerFailed, match=r"(?s)triton\.log.*'decode'.*the reason"):
        EmbeddedTriton(broken, run_directory=tmp_path / "run").start()
    assert processes(tmp_path / "run") == set()


def test_waiting_has_a_bound(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match=r"not ready within 0\.3 s"):
        EmbeddedTriton(repository, run_directory=tmp_path, start_timeout=0.3, stop_timeout=3).start()
    assert processes(tmp_path) == set()


def test_a_folder_without_models_is_no_repository(tmp_path: Path) -> None:
    with pytest.raises(ServerFailed, match="no model repository"):
        EmbeddedTriton(tmp_path, run_directory=tmp_path / "run").start()


def test_too_little_shared_memory_says_how_to_get_more(only_decode: Path, tmp_path: Path) -> None:
    with pytest.raises(SharedMemoryTooSmall, match="--shm-size=1g"):
        EmbeddedTriton(only_decode, run_directory=tmp_path, minimum_shared_memory=2**60).start()


@pytest.mark.parametrize("module", ["pytriton", "onnxruntime", "cv2"])
def test_a_missing_package_says_what_to_install(
    only_decode: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, module: str
) -> None:
    find_spec = importlib.util.find_spec

    def without(name: str, package: str | None = None) -> ModuleSpec | None:
        return None if name == module else find_spec(name, package)

    monkeypatch.setattr(importlib.util, "find_spec", without)
    with pytest.raises(PackageMissing, match=r"pip install 'lookalike\[embedded\]'"):
        EmbeddedTriton(only_decode, run_directory=tmp_path).start()


def test_numpy_2_is_refused_before_it_answers_empty_tensors(
    only_decode: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = importlib.metadata.version

    def newer(name: str) -> str:
        return "2.1.0" if name == "numpy" else version(name)

    monkeypatch.setattr(importlib.metadata, "version", newer)
    with pytest.raises(PackageMissing, match="pip install 'numpy<2'"):
        EmbeddedTriton(only_decode, run_directory=tmp_path).start()


def test_a_crash_while_starting_is_tried_again(only_decode: Path, tmp_path: Path) -> None:
    """The stub of the first attempt takes the server down with it; the second attempt comes up."""
    once = tmp_path / "repository"
    shutil.copytree(only_decode, once)
    marker = tmp_path / "crashed"
    glue = once / "decode" / "1" / "model.py"
    crash = f"""
import os, signal
from pathlib import Path
try:
    Path({str(marker)!r}).touch(exist_ok=False)
except FileExistsError:
    pass
else:
    os.kill(os.getppid(), signal.SIGSEGV)
"""
    glue.write_text(glue.read_text().replace("import json\n", f"import json\n{crash}", 1))
    with EmbeddedTriton(once, run_directory=tmp_path / "run") as triton:
        assert triton.running and marker.exists()
        assert triton.log_path.with_suffix(".previous.log").exists()
