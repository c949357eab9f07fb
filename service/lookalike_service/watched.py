"""Files that are read again when they change, without a restart."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from lookalike_service.errors import StartupError

__all__ = ["Watched"]

logger = logging.getLogger(__name__)

Value = TypeVar("Value")


class Watched(Generic[Value]):
    """What files say now. A change that cannot be read is logged once, and what they said before holds."""

    def __init__(self, paths: Sequence[Path], read: Callable[[], Value]) -> None:
        """`read` reads all of them. Raises StartupError when it does."""
        self._paths = paths
        self._read = read
        # Before reading: what is written meanwhile is a change.
        self._seen = self._state()
        self._value = read()

    def value(self) -> Value:
        """What the files say; looks at their times of change, which takes microseconds."""
        state = self._state()
        if state != self._seen:
            self._seen = state
            names = ", ".join(map(str, self._paths))
            try:
                self._value = self._read()
                logger.info("read %s again", names)
            except StartupError as error:
                logger.error("%s changed, and what was there before still holds: %s", names, error)
        return self._value

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state(path) for path in self._paths]


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
