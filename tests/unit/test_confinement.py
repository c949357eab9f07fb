"""The decode step gives up what it does not need; tried in a process of its own each time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

DECODE = Path(__file__).parents[2] / "model_repository" / "decode" / "1"


def tried(code: str) -> subprocess.CompletedProcess[str]:
    """Run code beside the decode step's modules."""
    return subprocess.run([sys.executable, "-c", code], cwd=DECODE, capture_output=True, text=True, timeout=60)


def said(code: str) -> str:
    done = tried(code)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


CONFINED = "from confinement import *; deny_network_and_processes()\n"
ATTEMPTS = {
    "a TCP socket": "import socket; socket.socket()",
    "a socket of this machine": "import socket; socket.socket(socket.AF_UNIX)",
    "a pair of sockets": "import socket; socket.socketpair()",
    "a fork": "import os; os.fork()",
    "another program": "import os; os.execv('/bin/true', ['true'])",
    "a spawned program": "import subprocess; subprocess.run(['/bin/true'])",
    "a shell": "import os; assert os.system('exit 0') == 0 or 1/0",
    "a raw clone": "import ctypes, os\nif ctypes.CDLL(None, use_errno=True).syscall(56, 17, 0, 0, 0, 0) < 0:"
    "\n    raise OSError(ctypes.get_errno(), 'clone')",
    "a thread of another ABI": "import ctypes\nif ctypes.CDLL(None, use_errno=True).syscall(0x40000029, 2, 1, 0) < 0:"
    "\n    raise OSError(ctypes.get_errno(), 'x32')",
}


@pytest.mark.parametrize("attempt", ATTEMPTS.values(), ids=ATTEMPTS)
def test_no_network_and_no_processes(attempt: str) -> None:
    body = "\n".join(f"    {line}" for line in attempt.splitlines())
    code = f"try:\n{body}\nexcept (PermissionError, ZeroDivisionError):\n    print('refused')\nelse:\n    print('done')"
    assert said(CONFINED + code) == "refused"


def test_the_attempts_would_succeed_elsewhere() -> None:
    assert said(ATTEMPTS["a TCP socket"] + "; print('done')") == "done"
    assert said("import os\nif os.fork() == 0: os._exit(0)\nprint('done')") == "done"


def test_threads_that_run_already_are_confined_too() -> None:
    code = """
import socket, threading
from confinement import deny_network_and_processes
confined, answers = threading.Event(), []
def work():
    confined.wait()
    try:
        socket.socket()
    except PermissionError:
        answers.append("refused")
thread = threading.Thread(target=work)
thread.start()
deny_network_and_processes()
confined.set()
thread.join()
print(*answers)
"""
    assert said(code) == "refused"


def test_work_goes_on() -> None:
    """Pictures are decoded, threads begin, memory comes and goes, files are read."""
    code = CONFINED + (
        "import io, threading, numpy as np\nfrom PIL import Image\nfrom decoding import Limits, decode, letterbox\n"
        "limit_memory(2048); limit_time(30)\n"
        "buffer = io.BytesIO(); Image.new('RGB', (900, 700), 'teal').save(buffer, 'JPEG')\n"
        "thread = threading.Thread(target=lambda: decode(buffer.getvalue(), limits=Limits())); thread.start()\n"
        "thread.join()\n"
        "print(letterbox(decode(buffer.getvalue(), limits=Limits()), size=352)[0].shape)"
    )
    assert said(code) == "(1, 3, 352, 352)"


def test_memory_has_a_bound() -> None:
    code = (
        "from confinement import limit_memory\nlimit_memory(64)\n"
        "kept = bytearray(32 << 20)\n"
        "try:\n    bytearray(128 << 20)\nexcept MemoryError:\n    print('refused')"
    )
    assert said(code) == "refused"


def test_time_has_a_bound_that_moves_on() -> None:
    moved = (
        "import time\nfrom confinement import limit_time\n"
        "for _ in range(3):\n"
        "    limit_time(1); end = time.process_time() + 0.6\n"
        "    while time.process_time() < end: pass\n"
        "print('done')\n"
    )
    assert said(moved) == "done"
    assert tried(moved + "while True: pass").returncode == -24  # SIGXCPU
