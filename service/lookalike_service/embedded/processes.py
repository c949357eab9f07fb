"""Start and stop a server that must not outlive us."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

__all__ = ["GuardedProcess"]

_GUARD = Path(__file__).with_name("guard.py")


class GuardedProcess:
    """A server under guard.py: it ends when told to, and when this process dies in whatever way."""

    def __init__(
        self,
        command: Sequence[str],
        *,
        environment: Mapping[str, str],
        directory: Path,
        log_path: Path | None,
        stop_timeout: float,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start the command in `directory`; its output is appended to `log_path`, or goes where ours does.

        `stop_timeout` is how many seconds the server has to finish its work once told to stop. The guard keeps the
        descriptors `keep_open` until the server is gone.
        """
        self.log_path = log_path
        self._stop_timeout = stop_timeout
        guard = [sys.executable, "-I", str(_GUARD), str(os.getpid()), str(stop_timeout), *command]
        with contextlib.ExitStack() as stack:
            log = stack.enter_context(log_path.open("ab")) if log_path else None
            self._process = subprocess.Popen(
                guard,
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,  # Ctrl-C in a terminal must reach us first, not the server
                pass_fds=keep_open,
            )

    @property
    def exit_status(self) -> int | None:
        """The server's exit status, or None while it runs."""
        return self._process.poll()

    @property
    def pid(self) -> int | None:
        """The server's own process id, or None when it is gone."""
        with contextlib.suppress(OSError):
            children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text().split()
            return int(children[0]) if children else None
        return None

    def kill(self) -> None:
        """End the server and its children at once, whatever they are doing, and wait until they are gone."""
        if (pid := self.pid) is not None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)  # the guard sees to the children
        self.stop()

    def stop(self) -> None:
        """Let the server finish and wait until it and its children are gone; stopping twice does no harm."""
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._stop_timeout + 5)
        if self._process.poll() is None:
            self._process.kill()  # takes the server along: it has asked the kernel for that
            self._process.wait()
