"""Run a server so that it never outlives whoever started it. Run as a script, with the standard library alone.

    python guard.py PARENT_PID GRACE_SECONDS COMMAND...

The server gets a process group of its own. When it is told to stop (SIGTERM), or when the parent is gone, the guard
sends SIGTERM to the server, waits, kills the whole group, and ends with the server's exit status. A death signal
tied to the parent would not do in its place: the kernel ties it to the thread that started the child, and a server
started from a worker thread would die with that thread.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from types import FrameType

_POLL_SECONDS = 0.1
_PR_SET_PDEATHSIG = 1


def main(arguments: list[str]) -> int:
    """Run the command until it ends or until it should; returns its exit status as a shell would."""
    parent, grace, command = int(arguments[0]), float(arguments[1]), arguments[2:]
    stop_wanted = False

    def want_stop(number: int, frame: FrameType | None) -> None:
        nonlocal stop_wanted
        stop_wanted = True

    signal.signal(signal.SIGTERM, want_stop)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_die_with_the_guard)
    while child.poll() is None and not stop_wanted and os.getppid() == parent:
        time.sleep(_POLL_SECONDS)
    if child.poll() is None:
        child.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(grace)
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGKILL)
    status = child.wait()
    return status if status >= 0 else 128 - status


def _die_with_the_guard() -> None:
    # The guard has one thread, so here the death signal means what it says.
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
