"""Start and stop a server that must not outlive us."""

from __future__ import annotations

import contextlib
import os
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
        log_path: Path,
        stop_timeout: float,
        keep_open: Sequence[int] = (),
    ) -> None:
        """Start the command in `directory`; its output is appended to `log_path`.

        `stop_timeout` is how many seconds the server has to finish its work once told to stop. The guard keeps the
        descriptors `keep_open` until the server is gone.
        """
        self.log_path = log_path
        self._stop_timeout = stop_timeout
        guard = [sys.executable, "-I", str(_GUARD), str(os.getpid()), str(stop_timeout), *command]
        with log_path.open("ab") as log:
            self._process = subprocess.Popen(
                guard,
                cwd=directory,
                env=dict(environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C in a terminal must reach us first, not the server
                pass_fds=keep_open,
            )

    @property
    def exit_status(self) -> int | None:
        """The server's exit status, or None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """Let the server finish and wait until it and its children are gone; stopping twice does no harm."""
        if self._process.poll() is None:
            self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(self._stop_timeout + 5)
        if self._process.poll() is None:
            self._process.kill()  # takes the server along: it has asked the kernel for that
            self._process.wait()
