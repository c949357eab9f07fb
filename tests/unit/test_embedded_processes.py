"""Ports and guarded processes: what keeps the embedded servers from colliding and from being orphaned."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from lookalike_service.embedded import PortTaken
from lookalike_service.embedded.ports import check_port, free_ports, port_owner
from lookalike_service.embedded.processes import GuardedProcess

HOST = "127.0.0.1"


def eventually(condition: Callable[[], bool], seconds: float = 10.0) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()


def alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def guarded(tmp_path: Path, script: str, *, stop_timeout: float = 5.0) -> GuardedProcess:
    return GuardedProcess(
        [sys.executable, "-c", script],
        directory=tmp_path,
        environment=os.environ,
        log_path=tmp_path / "log",
        stop_timeout=stop_timeout,
    )


def pids(tmp_path: Path, count: int) -> list[int]:
    """The process ids that a script has written, one a line."""
    path = tmp_path / "pids"
    assert eventually(lambda: path.exists() and len(path.read_text().split()) == count)
    return [int(line) for line in path.read_text().split()]


SLEEP = "import os, time; open('pids', 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"
WITH_CHILD = "import os, time; os.fork(); open('pids', 'a').write(f'{os.getpid()}\\n'); time.sleep(60)"
STUBBORN = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); " + SLEEP


def test_free_ports_are_distinct_and_free() -> None:
    ports = free_ports(5, host=HOST)
    assert len(set(ports)) == 5
    for port in ports:
        check_port(port, host=HOST, purpose="a test")


def test_a_taken_port_is_named_with_who_holds_it() -> None:
    with socket.socket() as sock:
        sock.bind((HOST, 0))
        sock.listen()
        port = sock.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"port {port} for Triton's gRPC is taken by .*process {os.getpid()}\)"):
            check_port(port, host=HOST, purpose="Triton's gRPC")
    assert port_owner(port) is None


def test_stop_ends_the_server_and_its_children(tmp_path: Path) -> None:
    process = guarded(tmp_path, WITH_CHILD)
    children = pids(tmp_path, 2)
    assert all(alive(pid) for pid in children)
    process.stop()
    process.stop()
    assert process.exit_status == 128 + signal.SIGTERM
    assert eventually(lambda: not any(alive(pid) for pid in children))


def test_what_does_not_listen_is_killed_after_its_time(tmp_path: Path) -> None:
    process = guarded(tmp_path, STUBBORN, stop_timeout=0.5)
    (pid,) = pids(tmp_path, 1)
    started = time.monotonic()
    process.stop()
    assert time.monotonic() - started < 5 and eventually(lambda: not alive(pid))


def test_output_and_exit_status_are_kept(tmp_path: Path) -> None:
    process = guarded(tmp_path, "import sys; print('out'); print('err', file=sys.stderr); sys.exit(7)")
    assert eventually(lambda: process.exit_status is not None)
    assert process.exit_status == 7
    assert set((tmp_path / "log").read_text().split()) == {"out", "err"}


@pytest.mark.parametrize("in_thread", [False, True])
def test_the_server_dies_with_whoever_started_it_and_not_with_the_thread_that_did(
    tmp_path: Path, in_thread: bool
) -> None:
    script = f"""
import os, sys, threading, time
from pathlib import Path
from lookalike_service.embedded.processes import GuardedProcess
def start():
    GuardedProcess([sys.executable, "-c", {WITH_CHILD!r}], directory=Path("."), environment=os.environ,
                   log_path=Path("log"), stop_timeout=2)
if {in_thread}:
    thread = threading.Thread(target=start); thread.start(); thread.join()
else:
    start()
time.sleep(60)
"""
    path = os.pathsep.join(sys.path)
    parent = subprocess.Popen([sys.executable, "-c", script], cwd=tmp_path, env={**os.environ, "PYTHONPATH": path})
    children = pids(tmp_path, 2)
    time.sleep(0.5)
    assert all(alive(pid) for pid in children)
    parent.kill()
    parent.wait()
    assert eventually(lambda: not any(alive(pid) for pid in children))


def test_killing_the_guard_takes_the_server_along(tmp_path: Path) -> None:
    process = guarded(tmp_path, "import os; open('guard', 'w').write(str(os.getppid())); " + SLEEP)
    (pid,) = pids(tmp_path, 1)
    os.kill(int((tmp_path / "guard").read_text()), signal.SIGKILL)
    assert eventually(lambda: not alive(pid))
    assert process.exit_status == -signal.SIGKILL
