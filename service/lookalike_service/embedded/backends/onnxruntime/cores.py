"""The cores of the machine: no more graphs run at once than there are cores, over all instances of all models.

Instances are processes, and a dozen of them share perhaps two cores. Where the kernel lets them alternate every few
milliseconds, each finds its weights gone from the caches, which costs a twentieth of everything; so who runs, runs to
the end, and the others wait.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

__all__ = ["Cores"]


class Cores:
    """One byte of a file for each core, locked by who runs there; the kernel frees what a dead process held."""

    def __init__(self, path: Path, *, instance: int, threads: int = 1) -> None:
        """`path` is shared by all who run here; a run uses `threads` cores. Raises OSError when it is not there."""
        self._file = os.open(path, os.O_RDWR)
        places = max(1, len(os.sched_getaffinity(0)) // threads)
        # Each instance waits for a core of its own, so that those that wait are spread.
        self._places = [(instance + place) % places for place in range(places)]

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Run on a free core; without one, wait for the own."""
        place = next((place for place in self._places if self._take(place)), None)
        if place is None:
            place = self._places[0]
            fcntl.lockf(self._file, fcntl.LOCK_EX, 1, place)
        try:
            yield
        finally:
            fcntl.lockf(self._file, fcntl.LOCK_UN, 1, place)

    def _take(self, place: int) -> bool:
        try:
            fcntl.lockf(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, place)
        except OSError:
            return False
        return True
