"""What a command cannot do as it was asked."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

__all__ = ["UsageError", "check_picture"]


class UsageError(Exception):
    """What was asked cannot be done; the text is a sentence that says why."""


def check_picture(name: str, *, endings: Sequence[str], kind: str = "picture") -> None:
    """Raise UsageError where nothing could be written at the end: for another ending, or without the folder."""
    target = Path(name)
    if target.suffix.lower() not in endings:
        raise UsageError(f"{target} is no {kind}'s name; end it with one of {', '.join(endings)}")
    if not target.absolute().parent.is_dir():
        raise UsageError(f"the folder of {target} does not exist")
