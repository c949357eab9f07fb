"""What a command cannot do as it was asked."""

from __future__ import annotations

__all__ = ["UsageError"]


class UsageError(Exception):
    """What was asked cannot be done; the text is a sentence that says why."""
