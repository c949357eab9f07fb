"""What the processes of a server cost: processor time and memory of whole families."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

import psutil

__all__ = ["Family", "watching"]

Server = TypeVar("Server")
MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Family:
    """Child processes of this one with all their descendants."""

    roots: tuple[int, ...]

    def members(self) -> list[psutil.Process]:
        """All of them that live."""
        found = []
        for root in self.roots:
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(root)
                found += [process, *process.children(recursive=True)]
        return found

    def cpu_seconds(self) -> float:
        """User and system time that the living members have used."""
        total = 0.0
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                times = process.cpu_times()
                total += times.user + times.system
        return total

    def pss_mib(self) -> dict[str, float]:
        """MiB by program. PSS divides a page by how many share it, so the sum counts everything once."""
        found: dict[str, float] = {}
        for process in self.members():
            with suppress(psutil.NoSuchProcess):
                name = process.name()
                found[name] = found.get(name, 0.0) + process.memory_full_info().pss / MEBIBYTE
        return found

    def confine(self, cores: set[int]) -> None:
        """Let all threads that there are run on these cores only; new ones inherit that."""
        for process in self.members():
            for thread in process.threads():
                with suppress(ProcessLookupError):
                    os.sched_setaffinity(thread.id, cores)


@contextmanager
def watching(server: AbstractContextManager[Server]) -> Iterator[tuple[Server, Family]]:
    """Enter `server`, and tell which processes that has started."""
    before = {child.pid for child in psutil.Process().children()}
    with server as value:
        started = tuple(child.pid for child in psutil.Process().children() if child.pid not in before)
        yield value, Family(started)
