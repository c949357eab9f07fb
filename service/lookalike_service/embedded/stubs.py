"""The processes in which Triton runs Python: Triton goes on calling a model ready whose processes have died."""

from __future__ import annotations

import contextlib
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Final

__all__ = ["end_stubs", "living_stubs"]

PROC: Final = Path("/proc")
# The arguments of a stub end with the name of its instance, as in detect_0_1, and the folder of its backend.
INSTANCE: Final = -2


def living_stubs(server: int) -> Counter[str]:
    """How many stubs of a tritonserver live, by model; one that died has no command line any more."""
    found: Counter[str] = Counter()
    for pid in _children(server):
        if arguments := _stub(pid):
            found[arguments[INSTANCE].rsplit("_", 2)[0]] += 1
    return found


def end_stubs(prefix: str) -> None:
    """End the stubs whose shared memory has this prefix: now and then one outlives a server that was killed."""
    for entry in PROC.iterdir():
        if entry.name.isdigit() and any(argument.startswith(prefix) for argument in _stub(int(entry.name))):
            with contextlib.suppress(OSError):
                os.kill(int(entry.name), signal.SIGKILL)


def _stub(pid: int) -> list[str]:
    """The arguments of a stub; none of another process, or of one that is gone."""
    with contextlib.suppress(OSError):
        arguments = (PROC / str(pid) / "cmdline").read_text(errors="replace").rstrip("\0").split("\0")
        if arguments[0].endswith("triton_python_backend_stub") and len(arguments) >= -INSTANCE:
            return arguments
    return []


def _children(pid: int) -> list[int]:
    """The children of all its threads: Triton starts stubs from several."""
    found: list[int] = []
    with contextlib.suppress(OSError):
        for task in (PROC / str(pid) / "task").iterdir():
            with contextlib.suppress(OSError):
                found += map(int, (task / "children").read_text().split())
    return found
